//! What a user writes: `ExtractJob`, one window of one table, published once.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]
#![expect(clippy::zero_sized_map_values, reason = "extract.types has one type so far")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use crate::consistency::{Consistency, ConsistencyLock};
pub use crate::fidelity::FidelityPolicy;
use crate::output::{Output, Tracking};
pub use crate::partition::{Partition, Strategy};
use crate::rules;
use crate::source::Source;
use crate::status::ExtractJobStatus;
pub use crate::watermark::{NullPolicy, StampedBy, Watermark, WatermarkType};

/// One window of one table, extracted to Parquet on S3 and published once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidemark.dev",
    version = "v1alpha1",
    kind = "ExtractJob",
    namespaced,
    status = "ExtractJobStatus",
    shortname = "ej",
    category = "all",
    category = "tidemark",
    derive = "PartialEq",
    doc = "One window of one table, extracted to Parquet on S3 and published once.",
    validation = ("size(self.metadata.name) <= 63", "metadata.name must have at most 63 characters, since labels carry it"),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.extract.type"}"#,
    printcolumn = r#"{"name":"Table","type":"string","jsonPath":".spec.extract.table"}"#,
    printcolumn = r#"{"name":"Watermark","type":"string","jsonPath":".status.watermark"}"#,
    printcolumn = r#"{"name":"Rows","type":"integer","jsonPath":".status.rows"}"#,
    printcolumn = r#"{"name":"Progress","type":"string","jsonPath":".status.progress"}"#,
    printcolumn = r#"{"name":"Last success","type":"date","jsonPath":".status.lastSuccess.time"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.source.engine == oldSelf.source.engine", "source.engine is immutable: create another ExtractJob"))]
#[x_kube(validation = ("self.source.database == oldSelf.source.database", "source.database is immutable: create another ExtractJob"))]
#[x_kube(validation = ("self.extract.table == oldSelf.extract.table", "extract.table is immutable: create another ExtractJob"))]
#[x_kube(validation = ("self.output.uri == oldSelf.output.uri", "output.uri is immutable: create another ExtractJob"))]
#[x_kube(validation = (
    "has(self.tracking) == has(oldSelf.tracking) && (!has(self.tracking) || self.tracking == oldSelf.tracking)",
    "tracking is immutable, present or absent: create another ExtractJob"
))]
#[x_kube(validation = (
    rules::TABLE_FITS,
    "table: an identifier has at most 63 bytes in Postgres, which would cut it in silence, and 64 characters in MySQL"
))]
#[x_kube(validation = (
    "self.source.engine != 'postgres' || !has(self.extract.watermark) || size(bytes(self.extract.watermark.column)) <= 63",
    "watermark.column: an identifier has at most 63 bytes in Postgres"
))]
#[x_kube(validation = (
    "self.source.engine != 'postgres' || !has(self.extract.partition) || !has(self.extract.partition.column) || size(bytes(self.extract.partition.column)) <= 63",
    "partition.column: an identifier has at most 63 bytes in Postgres"
))]
#[x_kube(validation = (
    "self.source.engine == 'postgres' || !has(self.extract.partition) || !has(self.extract.partition.strategy) || self.extract.partition.strategy != 'ctid'",
    "partition.strategy ctid is for Postgres: set auto, quantile or hash"
))]
#[x_kube(validation = (
    "!has(self.extract.zeroDates) || self.source.engine == 'mysql'",
    "extract.zeroDates is for MySQL and MariaDB: leave it out"
))]
#[x_kube(validation = (
    "!has(self.extract.consistencyLock) || self.source.engine == 'mysql'",
    "extract.consistencyLock is for MySQL: remove it"
))]
#[x_kube(validation = (rules::KEY_IS_FREE, "database and table must not hold '#tidemark', which marks our own items: set tracking.key"))]
pub struct ExtractJobSpec {
    /// The database that holds the table.
    pub source: Source,
    /// What to take from it.
    pub extract: Extract,
    /// Where the Parquet files go.
    pub output: Output,
    /// Where the watermark is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// How the pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// How often a failed run is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Stops the run that is under way, if it is not being published yet, and starts none until this
    /// is false or absent again; then the same window is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Seconds after which a run is stopped and failed; 86400 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 2_592_000))]
    pub active_deadline_seconds: Option<i64>,
}

/// What to take from the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.type != 'PE' || has(self.watermark)",
    "a PE extract takes the rows above a watermark: set extract.watermark.column and .type, or use type FE"
))]
#[x_kube(validation = (
    "!has(self.reingest) || !self.reingest || has(self.watermark)",
    "reingest sets the watermark anew: set extract.watermark.column and .type, or use type FE without reingest"
))]
#[x_kube(validation = (
    "!has(self.columns) || !has(self.excludeColumns)",
    "extract.columns says what is taken: leave excludeColumns out"
))]
#[x_kube(validation = (
    "!has(self.types) || !has(self.watermark) || !(self.watermark.column in self.types)",
    "extract.types must not name the watermark column: a run compares its values in their own type"
))]
#[x_kube(validation = (
    "!has(self.consistency) || self.consistency != 'perPartition' || !has(self.partition) || !has(self.partition.strategy) || self.partition.strategy != 'ctid'",
    "partition.strategy ctid needs consistency snapshot: a row that is updated moves to another block"
))]
#[x_kube(validation = (
    "!has(self.consistencyLock) || (has(self.consistency) && self.consistency == 'snapshot')",
    "extract.consistencyLock needs extract.consistency: snapshot"
))]
pub struct Extract {
    /// The table: `schema.table` or `table`; a part that holds a dot is put in double quotes.
    #[schemars(length(min = 1, max = 257))]
    #[x_kube(validation = (
        rules::TABLE_FORM,
        "table must be <table> or <schema>.<table>; put a part that holds a dot in double quotes"
    ))]
    pub table: String,
    /// `FE` takes everything and replaces the earlier extract; `PE` takes the rows above the
    /// watermark and appends.
    #[serde(rename = "type")]
    pub extract_type: ExtractType,
    /// The column that grows, and where the window starts and ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// Take the table from its beginning and replace what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reingest: Option<bool>,
    /// The columns to take, all when left out; they are written in the table's order. Watermark and
    /// partition column must be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_names")]
    pub columns: Option<Vec<String>>,
    /// The columns to leave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_names")]
    pub exclude_columns: Option<Vec<String>>,
    /// Overrides the type mapping of single columns, by column name. The value `string` writes each
    /// value as the database's own text, for any column type. Defaults to no overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_types")]
    pub types: Option<BTreeMap<String, TargetType>>,
    /// A condition of the database's own SQL: the run takes the table as if it had no other rows. The
    /// operator must allow it.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub filter: Option<String>,
    /// What to do about dates such as `0000-00-00` and `2023-00-15`, which MySQL stores and no
    /// calendar has: `fail` (when left out) names the column and row; `null` writes NULL;
    /// `string` writes all columns of type date, datetime and timestamp but the watermark as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_dates: Option<ZeroDates>,
    /// What to do about a column of whose values something would be lost (`lossy` in the mapping
    /// tables of the documentation): `report` (when left out) extracts it and counts it in status;
    /// `strict` refuses the table before a row is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<FidelityPolicy>,
    /// What to do when the table's columns are not those of the last run: `evolve` (when left out)
    /// goes on and says so, `additiveOnly` takes new columns and texts of another length, `freeze` nothing. A run that may not
    /// go on fails before a row is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_policy: Option<SchemaPolicy>,
    /// How the table is cut into ranges, one pod each; one range when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Whether all ranges show the table as it was at one instant. Postgres: `snapshot` when left
    /// out. MySQL: `perPartition` when left out, each range at an instant of its own, since its
    /// sessions cannot share a snapshot; with `snapshot` one pod reads all ranges, in sessions that
    /// began at the same point of the binary log, and the run fails where that cannot be proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// Whether the run may lock the table so that all sessions start the same snapshot. Needs `engine: mysql` and
    /// `consistency: snapshot`. Without it, `consistency: snapshot` is refused on MySQL, which does not
    /// show at which position of the binary log a snapshot starts. MariaDB shows it, and is never locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency_lock: Option<ConsistencyLock>,
}

/// Names, each once.
fn column_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "nullable": true,
        "minItems": 1,
        "maxItems": 1600,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 64 },
    })
}

/// Types by the names of columns.
fn column_types(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "minProperties": 1,
        "maxProperties": 1600,
        "additionalProperties": { "type": "string", "enum": ["string"] },
    })
}

/// How a column is written instead of by its mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetType {
    /// As the database's own text.
    String,
}

/// What to do about zero and incomplete dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ZeroDates {
    /// The run fails.
    #[default]
    Fail,
    /// NULL stands for them.
    Null,
    /// The columns are written as text.
    String,
}

/// What to do when the table's columns are not those of the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SchemaPolicy {
    /// It goes on.
    #[default]
    Evolve,
    /// It goes on if columns were only added.
    AdditiveOnly,
    /// It fails.
    Freeze,
}

/// Full or incremental.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExtractType {
    /// Full extract: replaces the earlier one.
    FE,
    /// Partial (incremental) extract: appends the rows above the watermark.
    PE,
}

impl ExtractType {
    /// The word used in manifests and items.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FE => "FE",
            Self::PE => "PE",
        }
    }
}

/// How the pods run: an allow-list, never image, command, volumes or security context.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// How many pods at a time; the smaller of the number of ranges and 8 when left out. Where one
    /// pod reads all ranges (MySQL with `consistency: snapshot`): its sessions, 4 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: Option<i32>,
    /// Requests and limits of each pod; the memory limit is the worker's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// ServiceAccount of the pods; it must carry the label `tidemark.dev/extract: allowed`.
    /// `tidemark-extract` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Node labels that the pods need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Node taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Labels for Jobs and pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = (
        rules::LABELS_ARE_FREE,
        "worker.labels must not set keys of tidemark.dev/ or batch.kubernetes.io/: they are how runs are found"
    ))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = (
        "self.all(key, !key.startsWith('tidemark.dev/'))",
        "worker.annotations must not set keys of tidemark.dev/: the operator does"
    ))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Seconds to keep finished Jobs and their logs; 3600 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// Labels with values as Kubernetes takes them.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": 20,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$",
        },
    })
}

/// Requests and limits as people write them, `cpu: 2` among them; no claims.
fn resources(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "limits": quantities("What each pod may use at most."),
            "requests": quantities("What each pod is promised."),
        },
    })
}

fn quantities(description: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "object",
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "pattern": "^[+-]?([0-9]+|[0-9]+[.][0-9]*|[.][0-9]+)([KMGTPE]i|[mkMGTPE]|[eE][+-]?[0-9]+)?$",
        },
    })
}

/// How often a failed run is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Runs each time the object becomes due; 3 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub runs: Option<u32>,
    /// How often one range is tried again inside a run; 3 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit_per_index: Option<i32>,
}

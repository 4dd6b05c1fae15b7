//! What a user writes: `ExtractJob`, one window of one table, published once.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]
#![expect(clippy::zero_sized_map_values, reason = "extract.types has one type so far")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
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

/// Source, window and output of the extract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidemark.dev",
    version = "v1alpha1",
    kind = "ExtractJob",
    namespaced,
    status = "ExtractJobStatus",
    shortname = "ej",
    category = "tidemark",
    derive = "PartialEq",
    doc = "An ExtractJob extracts one window of one database table to Parquet on S3 and publishes it once.",
    validation = ("size(self.metadata.name) <= 63", "metadata.name must have at most 63 characters, because labels contain it"),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Reconciling')].reason"}"#,
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
    rules::TRACKING_IS_SAME,
    "tracking is immutable, except for secretRef; it cannot be added or removed: create another ExtractJob"
))]
#[x_kube(validation = (
    rules::TABLE_FITS,
    "extract.table: an identifier has at most 63 bytes in Postgres, which truncates longer ones without an error, and 64 characters in MySQL"
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
    "extract.consistencyLock is for MySQL: leave it out"
))]
#[x_kube(validation = (rules::KEY_IS_FREE, "source.database and extract.table must not contain '#tidemark', which marks items of Tidemark: set tracking.key"))]
pub struct ExtractJobSpec {
    /// Database that has the table.
    pub source: Source,
    /// Table, columns and rows to extract.
    pub extract: Extract,
    /// Where and how the Parquet files are written.
    pub output: Output,
    /// DynamoDB table that keeps the watermark. Defaults to the table that the operator is configured with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// Settings of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// How often a failed run or partition is retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// If true, stops the current run, unless it is being published, and starts no other run. The next run extracts
    /// the same window. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Number of seconds after which a run is stopped and fails. Defaults to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 2_592_000))]
    pub active_deadline_seconds: Option<i64>,
}

/// Table, columns and rows to extract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.type != 'PE' || has(self.watermark)",
    "extract.type PE needs a watermark: set extract.watermark.column and .type, or use type FE"
))]
#[x_kube(validation = (
    "!has(self.reingest) || !self.reingest || has(self.watermark)",
    "extract.reingest needs a watermark: set extract.watermark.column and .type, or use type FE without reingest"
))]
#[x_kube(validation = (
    "!has(self.columns) || !has(self.excludeColumns)",
    "extract.columns and excludeColumns must not both be set: leave one of them out"
))]
#[x_kube(validation = (
    "!has(self.types) || !has(self.watermark) || !(self.watermark.column in self.types)",
    "extract.types must not name the watermark column, because a run compares its values in their own type"
))]
#[x_kube(validation = (
    "!has(self.consistency) || self.consistency != 'perPartition' || !has(self.partition) || !has(self.partition.strategy) || self.partition.strategy != 'ctid'",
    "partition.strategy ctid needs consistency snapshot, because an updated row moves to another block"
))]
#[x_kube(validation = (
    "!has(self.consistencyLock) || (has(self.consistency) && self.consistency == 'snapshot')",
    "extract.consistencyLock needs extract.consistency: snapshot"
))]
pub struct Extract {
    /// Table, as `schema.table` or `table`. Put a part that contains a dot in double quotes.
    #[schemars(length(min = 1, max = 257))]
    #[x_kube(validation = (
        rules::TABLE_FORM,
        "extract.table must be <table> or <schema>.<table>: put a part that contains a dot in double quotes"
    ))]
    pub table: String,
    /// Whether the run extracts the whole table or only new rows.
    #[serde(rename = "type")]
    pub extract_type: ExtractType,
    /// Column by which Tidemark finds new rows, and the start and end of the window. Required for type PE and for
    /// reingest. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// If true, extracts the table from its beginning, replaces all files, and sets the watermark to the maximum that
    /// was read. Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reingest: Option<bool>,
    /// Columns to extract. They are written in the order of the table. The watermark column and the partition
    /// column must be among them. Defaults to all columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_names")]
    pub columns: Option<Vec<String>>,
    /// Columns to leave out. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_names")]
    pub exclude_columns: Option<Vec<String>>,
    /// Overrides the type mapping of single columns, by column name. The value `string` writes each
    /// value as the database's own text, for any column type. Defaults to no overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "column_types")]
    pub types: Option<BTreeMap<String, TargetType>>,
    /// Condition in the SQL of the database. The run extracts only the rows for which it is true. The operator must
    /// run with `--allow-where`. Defaults to none.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub filter: Option<String>,
    /// What happens to dates that MySQL can store but that do not exist, such as `0000-00-00` and `2023-00-15`.
    /// Defaults to `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_dates: Option<ZeroDates>,
    /// What happens if a column has the fidelity `lossy`: its type mapping loses a part of the values. Defaults to
    /// `report`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<FidelityPolicy>,
    /// What happens if the columns of the table differ from those of the last published run. A run that is refused
    /// fails before it reads a row. Defaults to `evolve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_policy: Option<SchemaPolicy>,
    /// How the table is divided into partitions. If it is not set, Tidemark chooses a strategy other than `hash`. It
    /// then divides only a table of more than 5 million rows or 1 GiB whose partitions can be read from one
    /// consistent snapshot. Defaults to one partition for all other tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Whether all partitions are read from one consistent snapshot. Defaults to `snapshot` for Postgres and for
    /// tables without `partition`, and to `perPartition` for MySQL and MariaDB tables with `partition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// Whether the run locks the table while its sessions start the same snapshot. Needs `engine: mysql` and
    /// `consistency: snapshot`. Without the lock, MySQL cannot read several partitions from one snapshot. MariaDB
    /// does not need the lock and ignores this field. Defaults to no lock.
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

/// What happens to dates that no calendar has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ZeroDates {
    /// The run fails and names column and row.
    #[default]
    Fail,
    /// They are written as NULL.
    Null,
    /// All columns of type date, datetime and timestamp except the watermark are written as text.
    String,
}

/// What happens if the columns of the table changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SchemaPolicy {
    /// The run continues and reports the change.
    #[default]
    Evolve,
    /// The run continues if columns were only added, or if a text column only has another text type or length.
    AdditiveOnly,
    /// The run fails.
    Freeze,
}

/// Full or incremental.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExtractType {
    /// Full extract. It replaces the files of the earlier extract.
    FE,
    /// Incremental (partial) extract. It adds the rows above the watermark.
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

/// Settings of the pods. Image, command, volumes and security context cannot be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Number of pods that run at the same time. Defaults to the smaller of 8 and the number of partitions. If
    /// one pod reads all partitions (MySQL and MariaDB with `consistency: snapshot`, or without `partition`), it is
    /// the number of its sessions and defaults to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub parallelism: Option<i32>,
    /// Requests and limits of each pod. The worker adapts its buffers to the memory limit. Defaults to the flag
    /// `--worker-resources` of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources")]
    pub resources: Option<ResourceRequirements>,
    /// ServiceAccount of the pods. It must have the label `tidemark.dev/extract: allowed`. Defaults to
    /// `tidemark-extract`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Labels that a node must have to run the pods. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Node taints that the pods tolerate. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity of the pods to nodes and to other pods. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the pods are spread over topology domains. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Name of the PriorityClass of the pods. Defaults to the global default PriorityClass of the cluster, or
    /// to priority 0 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Name of the scheduler of the pods. Defaults to `default-scheduler`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub scheduler_name: Option<String>,
    /// Labels to add to Jobs and pods. Labels of Kueue (`kueue.x-k8s.io/`) are added to extract Jobs and their pods
    /// only, so that other Jobs are not queued. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = (
        rules::LABELS_ARE_FREE,
        "worker.labels must not set keys of tidemark.dev/ or batch.kubernetes.io/, because the operator finds its Jobs by them"
    ))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations to add to pods. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = (
        "self.all(key, !key.startsWith('tidemark.dev/'))",
        "worker.annotations must not set keys of tidemark.dev/, because the operator sets them"
    ))]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Number of seconds for which finished Jobs and their logs are kept. Defaults to 3600.
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
            "limits": quantities("Maximum of each resource that a pod may use, such as `memory: 512Mi`."),
            "requests": quantities("Amount of each resource that is reserved for a pod, such as `cpu: 500m`."),
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

/// How often a failed run is retried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Maximum number of runs for each request, including the first one. A change of the object starts the count
    /// again. Defaults to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub runs: Option<u32>,
    /// Number of times that one partition is retried within a run. Defaults to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit_per_index: Option<i32>,
}

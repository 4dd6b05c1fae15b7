//! Where the Parquet files go, and where the watermark is kept: `spec.output`, `spec.tracking`.
#![expect(unreachable_pub, reason = "the derive of KubeSchema copies each struct into a function")]

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules;
use crate::source::SecretRef;

/// Where and how the Parquet files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (rules::FOLDER_IS_NO_COLUMN, "output.columns must not use the name of the run's directory (extract_run; with runFolder time: jdbc_extract_time), because readers show it as a column"))]
#[x_kube(validation = ("!has(self.partitionSort) || has(self.partitionBy)", "output.partitionSort needs output.partitionBy: set it, or leave partitionSort out"))]
pub struct Output {
    /// Prefix of the files, as `s3://<bucket>/<prefix>`. A prefix belongs to one source.
    #[schemars(length(min = 6, max = 900))]
    #[x_kube(validation = (
        "self.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*[^/]$|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/]$')",
        "output.uri must be s3://<bucket>/<prefix>, without a slash at the end"
    ))]
    #[x_kube(validation = (
        "!self.contains('..') && !self.matches('[[:cntrl:]]') && !self.substring(5).contains('//')",
        "output.uri must not contain '..', '//' or control characters"
    ))]
    pub uri: String,
    /// Endpoint of an S3 server other than AWS, such as `http://s3.example:8333`. Defaults to AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
    /// Whether requests have the bucket in the path instead of the host name. Defaults to true if `endpoint` is
    /// set, otherwise to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// AWS region of the bucket. Defaults to the region of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Number of seconds for which the files that a full extract or a reingest replaced are kept. Readers that
    /// still use an earlier `current.json` need them. Readers that list the prefix see the old and the new
    /// files until then. The files are also removed if the source moves to another URI or this object is
    /// deleted earlier. Defaults to 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 31_536_000))]
    pub retain_replaced_seconds: Option<u64>,
    /// Secret of this namespace with the keys `accessKeyId` and `secretAccessKey`. Defaults to the AWS identity
    /// of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Columns to add to those of the table. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<OutputColumns>,
    /// Columns whose values name Hive partition directories (`region=EU/`) below the directory of the run. The
    /// files do not contain these columns. Types: integer, decimal, text, boolean, date, timestamp and uuid.
    /// Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "partition_columns")]
    pub partition_by: Option<Vec<String>>,
    /// Whether the database sorts the rows of each partition by `partitionBy`, so that each directory is written at
    /// once. Sorting costs the database time and temporary space for the partition. Defaults to `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_sort: Option<PartitionSort>,
    /// How the directory of a run is named. Defaults to `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_folder: Option<RunFolder>,
    /// Id, ARN or alias of the KMS key with which S3 encrypts all objects of the prefix. Defaults to the default
    /// encryption of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = ("self.matches('^[a-zA-Z0-9:/_-]+$')", "output.kmsKeyId must be the id, the ARN or an alias of a KMS key"))]
    pub kms_key_id: Option<String>,
    /// How the pages of the Parquet files are compressed. Compression needs memory for each column: in a pod
    /// with 128 MiB, a table with more than 120 columns is compressed with `lz4` instead of `zstd`. Defaults to
    /// `zstd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Size of a row group in the memory of the encoder, in bytes. It is smaller if the memory of the pod or
    /// `targetFileBytes` requires it. Defaults to 67108864 (64 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_048_576, max = 1_073_741_824))]
    pub row_group_bytes: Option<u64>,
    /// Size in bytes after which the next file begins. A file is at most 20 % larger. Defaults to 536870912 (512
    /// MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_048_576, max = 10_737_418_240_u64))]
    pub target_file_bytes: Option<u64>,
}

/// Whether the database sorts the rows by their Hive partition directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartitionSort {
    /// The database sorts the rows if the first 20,000 rows belong to 64 directories or more.
    #[default]
    Auto,
    /// The database sorts the rows.
    Always,
    /// The database does not sort the rows.
    Never,
}

/// A few names, each once.
fn partition_columns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "nullable": true,
        "minItems": 1,
        "maxItems": 8,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 64 },
    })
}

/// How the pages of the Parquet files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// zstd, level 3, or level 1 if a wide table needs more memory than the pod has.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// gzip, level 6.
    Gzip,
    /// LZ4 without frames (`LZ4_RAW`).
    Lz4,
    /// No compression.
    None,
}

/// Names of columns to add to those of the table. A column without a name is not added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (rules::COLUMNS_DIFFER, "output.columns: two added columns must not have the same name"))]
pub struct OutputColumns {
    /// Name of an added column with the time at which the run started (UTC, microseconds). All rows of a run have the
    /// same value. Defaults to no such column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = ("!self.matches('[[:cntrl:]]')", "output.columns.extractTime must not contain control characters"))]
    pub extract_time: Option<String>,
    /// Name of an added column with the SHA-256 of the row in hexadecimal. NULL and the empty text have different
    /// hashes, and so have ('ab', 'c') and ('a', 'bc'). Defaults to no such column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = ("!self.matches('[[:cntrl:]]')", "output.columns.rowHash must not contain control characters"))]
    pub row_hash: Option<String>,
    /// Name of an added column with the id of the run. Defaults to no such column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = ("!self.matches('[[:cntrl:]]')", "output.columns.runId must not contain control characters"))]
    pub run_id: Option<String>,
}

impl OutputColumns {
    /// The names, in the order in which the columns are added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.extract_time, &self.row_hash, &self.run_id].into_iter().flatten().map(String::as_str)
    }
}

/// How the directory of a run is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunFolder {
    /// `extract_run=<run id>`.
    #[default]
    Run,
    /// `jdbc_extract_time=<yyyy-MM-dd_HH-mm-ss>` in UTC, as the legacy job named it. Two runs that start in the
    /// same second share the directory. Their file names contain the run id.
    Time,
}

impl RunFolder {
    /// The column that readers make of it.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Run => "extract_run",
            Self::Time => "jdbc_extract_time",
        }
    }

    /// The word in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Time => "time",
        }
    }

    /// The one that it is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Run => Self::Time,
            Self::Time => Self::Run,
        }
    }
}

/// DynamoDB table that keeps the watermark. The settings of the operator apply to fields that are not set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracking {
    /// Name of the table. Its hash key is `source`, of type string. Defaults to the setting of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 255))]
    pub table: Option<String>,
    /// AWS region of the table. Defaults to the setting of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub region: Option<String>,
    /// Endpoint of a DynamoDB server other than AWS. Defaults to the setting of the operator, or to AWS if the
    /// operator has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = ("self.matches('^https?://[^/]+$')", "endpoint must be http(s)://<host>[:<port>]"))]
    pub endpoint: Option<String>,
    /// Secret of this namespace with the keys `accessKeyId` and `secretAccessKey`, for the pods. The operator
    /// uses its own identity. Defaults to the AWS identity of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Key of the source in the table. Defaults to `<database>.<table>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = ("!self.contains('#')", "tracking.key must not contain '#', which separates items of Tidemark from the source"))]
    pub key: Option<String>,
}

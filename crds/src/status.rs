//! What the operator says about an `ExtractJob`: derived from the tracking items first and from
//! the Jobs second; it may suppress a run, never start one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fidelity::FidelityCounts;
use crate::guard::Guard;
use crate::tracking::TrackedOutcome;
use crate::units::RunId;

/// State of an `ExtractJob`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtractJobStatus {
    /// State of the object in one word, for people. Programs should read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Conditions `Planned`, `Running`, `Committed`, `Complete`, `Failed` and `Suspended`, and `Reconciling`
    /// and `Stalled` of kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation of the object that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Outcome of the last request that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<StatusOutcome>,
    /// Tracking table of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_table: Option<String>,
    /// Endpoint of the tracking table in `trackingTable`, if it is not AWS. A current run is read there even if
    /// the default of the operator changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_endpoint: Option<String>,
    /// Id of the current run, or of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Number of the current attempt, or of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Number of failed attempts since the object was last changed or requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
    /// Time before which the next attempt does not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Window of the current run, or of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<StatusWindow>,
    /// Where the next incremental run starts: the low watermark that the tracking table stores. It is read
    /// after each run and every 10 minutes (setting of the operator), so it also shows what the command
    /// `tidemark watermark`, the legacy job or another ExtractJob wrote. Absent if none is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// Watermark item of the source in the tracking table, as it was when it was read last. Absent if there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<StatusTracking>,
    /// Attribute `extract_successful` of the watermark item: `Y` after a published run, otherwise `N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_successful: Option<String>,
    /// Partitions of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Partitions>,
    /// Number of partitions that were read completely, and number of all partitions, such as `3/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Table of the last published run, with its schema (MySQL and MariaDB: its database).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Number of rows of the last published run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Size in bytes of the files of the last published run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Number of files of the last published run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// `snapshot` if all partitions were read from one consistent snapshot, otherwise `perPartition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// Time for which the last published run locked the table (`extract.consistencyLock`), in milliseconds.
    /// Absent if it did not lock the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_lock_milliseconds: Option<i64>,
    /// Number of columns by what the type mapping keeps of their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<FidelityCounts>,
    /// Last published run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<LastSuccess>,
    /// Time at which the files that the run replaced are removed (`output.retainReplacedSeconds`). Absent once they
    /// are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_due: Option<Time>,
    /// Time at which the first attempt of the current request started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Time at which the current request ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// State of the object in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The operator has not read the object yet, or a cause outside Tidemark prevents the run.
    Pending,
    /// The object waits for the source or for the next attempt.
    Waiting,
    /// The coordinator starts, claims the source and plans.
    Planning,
    /// Partitions are read.
    Running,
    /// The run is being published.
    Committing,
    /// The run is published, and its cleanup is done.
    Complete,
    /// The request failed, and no attempt follows by itself.
    Failed,
    /// `spec.suspend` is true.
    Suspended,
    /// The object is being deleted.
    Deleting,
}

/// Outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusOutcome {
    /// Whether the request is complete or failed.
    pub result: TrackedOutcome,
    /// Hash of the fields that define the data.
    pub request: String,
    /// Version of the hash in `request`.
    pub hash_version: u32,
    /// Generation of the object when the attempt started.
    pub generation: i64,
    /// Latest annotation `tidemark.dev/requested-at` that was honoured: an RFC 3339 time. Only a later time
    /// starts another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
}

/// The window of a run, as text of the watermark's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusWindow {
    /// Start of the window: exclusive for PE, inclusive for FE. Absent if the window starts at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<String>,
    /// End of the window, inclusive. Absent if the window has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<String>,
    /// What keeps rows that are committed late above the end of the window, where the next run reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// Partitions of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partitions {
    /// Number of all partitions.
    pub total: u32,
    /// Number of partitions that were read completely.
    pub succeeded: u32,
    /// Number of partitions that failed.
    pub failed: u32,
    /// Strategy that was used, once the run is published: `range`, `quantile`, `ctid`, `hash` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Why this strategy was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Row count of the largest partition divided by the median of all partitions, such as `1.04`, as predicted
    /// before the rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_skew: Option<String>,
    /// Row count of the largest partition divided by the median of all partitions, such as `1.04`, after the rows
    /// were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_skew: Option<String>,
}

/// Last published run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastSuccess {
    /// Id of the run.
    pub run_id: RunId,
    /// Time at which the operator observed that the run was published.
    pub time: Time,
    /// Number of rows that it published.
    pub rows: i64,
}

/// The watermark item of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusTracking {
    /// Start of the next incremental window, exclusive (`lwm_value`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_watermark: Option<String>,
    /// End of the next incremental window, inclusive (`hwm_value`). `-1` means no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_watermark: Option<String>,
    /// `Y` if the last run was published, `N` if it failed or is in progress (`extract_successful`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_successful: Option<String>,
    /// Number of rows of the last run. `-1` if it failed or is in progress (`extract_metadata`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<i64>,
    /// Time at which the item was written last (`updated_at`). Absent if the item has no valid time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
    /// Who wrote the item last.
    pub written_by: TrackingWriter,
}

/// A writer of the watermark item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TrackingWriter {
    /// A run of this ExtractJob.
    ThisExtractJob,
    /// A run of another ExtractJob on the same source.
    AnotherExtractJob,
    /// A run of the command `tidemark run`.
    RunCommand,
    /// The command `tidemark watermark set` or `tidemark watermark rewind`.
    WatermarkCommand,
    /// Another program, such as the legacy job.
    Other,
}

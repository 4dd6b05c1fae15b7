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
    /// One word for people and printer columns; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// `Planned, Running, Committed, Complete, Failed, Suspended`, and kstatus' `Reconciling, Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The outcome of the last request that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<StatusOutcome>,
    /// The tracking table that the object was run against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_table: Option<String>,
    /// Its endpoint when the last attempt began, where that is no server of AWS: a run in flight is
    /// read there, though the operator's default has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_endpoint: Option<String>,
    /// The run that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The attempt that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How many attempts failed since the object became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<u32>,
    /// The next attempt is not made before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// The window of that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<StatusWindow>,
    /// Where the next incremental run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// `Y` or `N`, as in the tracking table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_successful: Option<String>,
    /// Ranges of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Partitions>,
    /// `succeeded/total`, for a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The table that the last published run read, with its schema (MySQL: its database).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Rows published by the last run that ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Number of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// `snapshot`: all ranges were read at one instant. `perPartition`: each at its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// How long the last published run locked the table (`extract.consistencyLock`), in milliseconds. Absent if it
    /// did not lock the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_lock_milliseconds: Option<i64>,
    /// How much of their values' meaning the columns kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<FidelityCounts>,
    /// The last run that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<LastSuccess>,
    /// When the files that the run replaced are removed (`output.retainReplaced`); absent once they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal_due: Option<Time>,
    /// When the first attempt of the present request began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the present request ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// One word for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not looked at yet, or something outside must change first.
    Pending,
    /// Waiting for the source or for the next attempt.
    Waiting,
    /// The coordinator starts, claims and plans.
    Planning,
    /// Rows are read.
    Running,
    /// The run is being published.
    Committing,
    /// Published, pointer and removal included.
    Complete,
    /// Given up.
    Failed,
    /// Held back by `spec.suspend`.
    Suspended,
    /// Being deleted.
    Deleting,
}

/// The outcome of a request, and for which object it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusOutcome {
    /// Complete or Failed.
    pub result: TrackedOutcome,
    /// Hash of the fields that define the data.
    pub request: String,
    /// Version of that hash.
    pub hash_version: u32,
    /// Generation of the object when the attempt began.
    pub generation: i64,
    /// The annotation `tidemark.dev/requested-at` when the attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
}

/// The window of a run, as text of the watermark's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusWindow {
    /// Start, not included; absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<String>,
    /// End, included; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<String>,
    /// What kept the end below rows that were not committed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// Ranges of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partitions {
    /// All.
    pub total: u32,
    /// With a record.
    pub succeeded: u32,
    /// Given up.
    pub failed: u32,
    /// How the table was cut, once the run is published: `range`, `quantile`, `ctid`, `hash`, `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Why it was cut so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Most rows of a range by the median of all, such as `1.04`, as foretold before rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_skew: Option<String>,
    /// The same of the rows that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_skew: Option<String>,
}

/// The last run that was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastSuccess {
    /// Its id.
    pub run_id: RunId,
    /// When it was seen as published.
    pub time: Time,
    /// Its rows.
    pub rows: i64,
}

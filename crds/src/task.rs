//! What a pod must do: one JSON environment variable without secrets.

use serde::{Deserialize, Serialize};

use crate::condition::Report;
use crate::extract_job::ExtractJobSpec;
use crate::tracking::Owner;
use crate::units::RunId;

/// Schema version of the task; a pod refuses a higher one.
pub const TASK_VERSION: u32 = 1;

/// Environment variable with the [`Task`].
pub const TASK_ENV: &str = "TIDEMARK_TASK";
/// Environment variable with the [`RecoverOrder`] of a recovery pod.
pub const RECOVER_ENV: &str = "TIDEMARK_RECOVER";
/// Environment variable with the run id of an extract pod.
pub const RUN_ENV: &str = "TIDEMARK_RUN";
/// Environment variable with the index of an extract pod; Kubernetes sets it.
pub const INDEX_ENV: &str = "JOB_COMPLETION_INDEX";

/// Folder with the files `username`, `password` and, if any, `host`.
pub const CREDENTIALS_DIR: &str = "/etc/tidemark/credentials";
/// Folder with the files `accessKeyId` and `secretAccessKey` for S3.
pub const OUTPUT_SECRET_DIR: &str = "/etc/tidemark/output";
/// Folder with the files `accessKeyId` and `secretAccessKey` for DynamoDB.
pub const TRACKING_SECRET_DIR: &str = "/etc/tidemark/tracking";
/// File with the certificate authority of the database.
pub const CA_FILE: &str = "/etc/tidemark/ca/ca.crt";
/// File whose existence says that the coordinator is Ready: claimed, planned, snapshot held.
pub const READY_FILE: &str = "/run/tidemark/ready";
/// File that a pod writes its [`Report`] to.
pub const TERMINATION_FILE: &str = "/dev/termination-log";

/// The annotation that asks for another run of an object that has an outcome.
pub const REQUESTED_AT: &str = "tidemark.dev/requested-at";
/// The label that a ServiceAccount must have, with the value [`EXTRACT_ALLOWED`].
pub const EXTRACT_LABEL: &str = "tidemark.dev/extract";
/// The value of that label.
pub const EXTRACT_ALLOWED: &str = "allowed";

/// The task to coordinator, extract and recovery pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// [`TASK_VERSION`] of the release that wrote it.
    pub version: u32,
    /// What to extract, with the tracking table resolved.
    pub spec: ExtractJobSpec,
    /// Where the watermark is, chart defaults filled in.
    pub tracking: TaskTracking,
    /// For whom.
    pub owner: Owner,
    /// Which attempt of that owner this is, from 1.
    pub attempt: u32,
    /// How many attempts failed since the object became due.
    pub retry: u32,
    /// Name and namespace of the object, for logs and `application_name`.
    pub name: String,
}

/// Where the watermark is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskTracking {
    /// The DynamoDB table.
    pub table: String,
    /// Its region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Endpoint of a server other than AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Key of the source: the hash key of the watermark item.
    pub key: String,
}

/// What a recovery pod gets in addition to the task of the stopped coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoverOrder {
    /// Whether no further attempt follows: the outcome is written as Failed.
    pub last: bool,
    /// Whether the run is ended by a request (deletion, suspend) and not by a failure.
    pub aborted: bool,
    /// Why the run is ended.
    pub report: Report,
}

/// What an extract pod gets in addition to the task: the run that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractOrder {
    /// The run.
    pub run: RunId,
    /// The partition to read.
    pub index: u32,
}

//! `tasks/<index>.json`: what one range left behind. The first one written for an index counts.

use crds::RunId;
use serde::{Deserialize, Serialize};

/// The record of one range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// [`crate::plan::CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The range.
    pub index: u32,
    /// Random, one per process: tells which process's record this is.
    pub token: String,
    /// SHA-256 of the plan that was followed.
    pub plan_hash: String,
    /// The snapshot that was imported.
    pub snapshot: Option<String>,
    /// Fingerprint of the columns as the reader found them.
    pub schema: String,
    /// Rows read from the database.
    pub rows: u64,
    /// Greatest watermark seen, as text of its type; absent where no row had one.
    pub watermark_max: Option<String>,
    /// Least watermark seen.
    pub watermark_min: Option<String>,
    /// The files, each an upload that is not completed.
    pub files: Vec<PendingFile>,
}

/// A Parquet file whose parts lie on S3 and which nobody can see yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingFile {
    /// Key in the bucket.
    pub key: String,
    /// The multipart upload.
    pub upload_id: String,
    /// ETags of parts 1, 2, ...
    pub parts: Vec<String>,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Rows by the file's own footer.
    pub rows: u64,
}

impl TaskRecord {
    /// Rows in the footers of all files.
    pub fn footer_rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

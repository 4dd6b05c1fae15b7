//! `tasks/<index>.json`: what one range left behind. The first one written for an index counts.

use std::collections::BTreeSet;

use crds::{Reason, RunId};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::plan::Plan;

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
    /// Files that were closed before they had their size, since those of other folders needed the
    /// memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub closed_early: u64,
    /// The files, each an upload that is not completed.
    pub files: Vec<PendingFile>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) const fn is_zero(number: &u64) -> bool {
    *number == 0
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
    /// Checksum of each part, `<algorithm>:<base64>`; none where the store answered with none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<String>,
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

/// Whether `records` are all of the plan's, of one snapshot and one schema, and count the same
/// rows as read and as written.
///
/// # Errors
/// `RecordMissing`, `RecordMismatch`, `RowCountMismatch`: none of them is cured by waiting, all of
/// them by another run.
pub fn check(plan: &Plan, plan_hash: &str, records: &[TaskRecord]) -> Result<(), Failure> {
    let again = "the next attempt reads the window anew; if it happens again, report it";
    let indexes: BTreeSet<u32> = records.iter().map(|record| record.index).collect();
    let all =
        (0..u32::try_from(plan.ranges.len()).unwrap_or(u32::MAX)).all(|i| indexes.contains(&i));
    if !all || records.len() != plan.ranges.len() {
        let message = format!("{} of {} ranges left a record", indexes.len(), plan.ranges.len());
        return Err(Failure::transient(Reason::RecordMissing, message, again));
    }
    for record in records {
        let mismatch = |what: &str| {
            let message = format!("the record of range {} is of another {what}", record.index);
            Err(Failure::transient(Reason::RecordMismatch, message, again))
        };
        if record.run != plan.run {
            return mismatch("run");
        }
        if record.plan_hash != plan_hash {
            return mismatch("plan");
        }
        if record.snapshot != plan.snapshot {
            return mismatch("snapshot");
        }
        if record.schema != records[0].schema {
            return mismatch("schema");
        }
        if record.rows != record.footer_rows() {
            let message = format!(
                "range {}: {} rows were read and {} written",
                record.index,
                record.rows,
                record.footer_rows()
            );
            return Err(Failure::transient(Reason::RowCountMismatch, message, again));
        }
    }
    Ok(())
}

//! `partitions/<index>.json`: the partition record of one partition. The first record written for an index counts.

use std::collections::BTreeSet;

use crds::{Reason, RunId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::errors::failure::Failure;
use crate::layout::body::to_body;
use crate::planning::plan::{Plan, hex};
use crate::planning::watermark::Value;

/// The record of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionRecord {
    /// [`crate::planning::plan::CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Index of the partition.
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
    /// Files that were closed before they had their size, since those of other directories needed the
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
#[serde(rename_all = "camelCase")]
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

impl PartitionRecord {
    /// Reads the body of a record.
    ///
    /// # Errors
    /// For what is not a record.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// Rows in the footers of all files.
    pub fn footer_rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The sums of all records of a run, independent of the number of their files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Rows of each partition, in order.
    pub rows: Vec<u64>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Sum of [`PartitionRecord::closed_early`].
    pub closed_early: u64,
    /// Greatest watermark seen.
    pub watermark_max: Option<String>,
    /// [`RecordsHash`] of the records.
    pub hash: String,
}

/// SHA-256 over the records of a run in the order of their partitions: tells whether records that
/// are read again are those that were checked.
#[derive(Debug, Clone, Default)]
pub struct RecordsHash(Sha256);

impl RecordsHash {
    /// Takes the next record.
    pub fn add(&mut self, record: &PartitionRecord) {
        self.0.update(to_body(record));
    }

    /// The hash, in hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Checks the records of a plan one by one, in the order of their partitions, and adds them up. Holds
/// a few bytes for each partition and none for a file.
#[derive(Debug, Clone, Default)]
pub struct Tallying {
    tally: Tally,
    schema: Option<String>,
    greatest: Option<Value>,
    hash: RecordsHash,
}

const AGAIN: &str = "Wait for the next attempt, which reads the window again. If the error returns, report \
     it as a bug of Tidemark.";

impl Tallying {
    /// The partition whose record comes next.
    pub fn next(&self) -> u32 {
        u32::try_from(self.tally.rows.len()).unwrap_or(u32::MAX)
    }

    /// Takes the next record: of this plan, of the schema of the others, and with the same rows as read
    /// and as written.
    ///
    /// # Errors
    /// `RecordMismatch`, `RowCountMismatch`: none of them is cured by waiting, all of them by another
    /// run.
    pub fn add(
        &mut self,
        plan: &Plan,
        plan_hash: &str,
        record: &PartitionRecord,
    ) -> Result<(), Failure> {
        let schema = self.schema.get_or_insert_with(|| record.schema.clone());
        let other = [
            ("run", record.run != plan.run),
            ("plan", record.plan_hash != plan_hash),
            ("snapshot", record.snapshot != plan.snapshot),
            ("schema", record.schema != *schema),
        ];
        if let Some((what, _)) = other.iter().find(|(_, other)| *other) {
            let message = format!(
                "the partition record of partition {} belongs to another {what}",
                record.index
            );
            return Err(Failure::transient(Reason::RecordMismatch, message, AGAIN));
        }
        if record.index != self.next() {
            let message = format!(
                "the partition record of partition {} contains the index {}",
                self.next(),
                record.index
            );
            return Err(Failure::transient(Reason::RecordMismatch, message, AGAIN));
        }
        if record.rows != record.footer_rows() {
            let message = format!(
                "partition {}: {} rows were read, but {} rows were written",
                record.index,
                record.rows,
                record.footer_rows()
            );
            return Err(Failure::transient(Reason::RowCountMismatch, message, AGAIN));
        }
        self.tally.rows.push(record.rows);
        self.tally.bytes += record.bytes();
        self.tally.files += record.files.len() as u64;
        self.tally.closed_early += record.closed_early;
        self.maximum(plan, record);
        self.hash.add(record);
        Ok(())
    }

    /// The greatest of watermark texts, by value and not by text.
    fn maximum(&mut self, plan: &Plan, record: &PartitionRecord) {
        let Some(watermark) = &plan.watermark else { return };
        let Some(text) = &record.watermark_max else { return };
        let Ok(value) = Value::parse(watermark.value_type, text) else { return };
        if self.greatest.as_ref().is_none_or(|greatest| value >= *greatest) {
            self.greatest = Some(value);
            self.tally.watermark_max = Some(text.clone());
        }
    }

    /// The sums, if every partition of the plan left a record.
    ///
    /// # Errors
    /// `RecordMissing`.
    pub fn finish(self, plan: &Plan) -> Result<Tally, Failure> {
        let (found, planned) = (self.tally.rows.len(), plan.partitions.len());
        if found != planned {
            let message = format!("only {found} of {planned} partitions have a partition record");
            return Err(Failure::transient(Reason::RecordMissing, message, AGAIN));
        }
        Ok(Tally { hash: self.hash.finish(), ..self.tally })
    }
}

/// The sums of records in any order.
///
/// # Errors
/// As [`Tallying`].
pub fn tally<'a>(
    plan: &Plan,
    plan_hash: &str,
    records: impl IntoIterator<Item = &'a PartitionRecord>,
) -> Result<Tally, Failure> {
    let mut sorted: Vec<&PartitionRecord> = records.into_iter().collect();
    sorted.sort_by_key(|record| record.index);
    let indexes: BTreeSet<u32> = sorted.iter().map(|record| record.index).collect();
    let mut tallying = Tallying::default();
    if indexes.len() == plan.partitions.len() {
        for record in sorted {
            tallying.add(plan, plan_hash, record)?;
        }
    }
    tallying.finish(plan)
}

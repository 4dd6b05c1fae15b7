//! In: the watermark item as it was read. Out: `status.watermark` and `status.tracking`, which repeat it;
//! and which items the slow resync reads. Bound: [`KEYS_MAX`] keys in a batch. Fails: never.
//!
//! Other writers move the watermark too: `tidemark watermark`, the legacy job, another ExtractJob. No
//! decision depends on what is repeated here.

use std::collections::{BTreeMap, BTreeSet};

use crds::status::{StatusTracking, TrackingWriter};
use crds::task::TaskTracking;
use crds::tracking::{RunItem, WatermarkItem};
use crds::{ExtractJob, ExtractJobStatus};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::observed::TrackingRead;
use crate::settings::TrackingSettings;
use crate::valid::tracking;

/// Keys in one `BatchGetItem`, as DynamoDB allows.
pub const KEYS_MAX: usize = 100;

/// Items of one table that are read with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table; its key is the first of the keys.
    pub at: TaskTracking,
    /// Keys of the watermark items, each once.
    pub keys: Vec<String>,
}

/// What to read for these objects. An object whose tracking table is not allowed has nothing to read.
pub fn batches<'a>(
    jobs: impl IntoIterator<Item = &'a ExtractJob>,
    settings: &TrackingSettings,
) -> Vec<Batch> {
    let mut tables: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for TaskTracking { table, region, endpoint, key } in
        jobs.into_iter().filter_map(|job| place(job, settings))
    {
        tables.entry((table, region, endpoint)).or_default().insert(key);
    }
    let mut batches = Vec::new();
    for ((table, region, endpoint), keys) in tables {
        let keys: Vec<String> = keys.into_iter().collect();
        for keys in keys.chunks(KEYS_MAX) {
            let key = keys.first().cloned().unwrap_or_default();
            let (table, region, endpoint) = (table.clone(), region.clone(), endpoint.clone());
            let at = TaskTracking { table, region, endpoint, key };
            batches.push(Batch { at, keys: keys.to_vec() });
        }
    }
    batches
}

/// Where the watermark item of an object is. `None` if it is being deleted, or may not name that table.
pub fn place(job: &ExtractJob, settings: &TrackingSettings) -> Option<TaskTracking> {
    let deleted = job.metadata.deletion_timestamp.is_some();
    tracking(job, settings).ok().filter(|_| !deleted)
}

/// Whether status repeats another item than this one. Who wrote it is not compared: every write changes
/// the item itself.
pub fn differs(status: &ExtractJobStatus, item: Option<&WatermarkItem>) -> bool {
    let writer = status.tracking.as_ref().map(|shown| shown.written_by);
    let shown = item.map(|item| repeated(item, writer.unwrap_or(TrackingWriter::Other)));
    (&status.watermark, &status.tracking) != (&item.and_then(watermark), &shown)
}

/// The status with what was read.
pub(crate) fn mirrored(
    status: ExtractJobStatus,
    uid: &str,
    read: &TrackingRead,
) -> ExtractJobStatus {
    let item = read.watermark_item.as_ref();
    ExtractJobStatus {
        watermark: item.and_then(watermark),
        tracking: item.map(|item| repeated(item, writer(uid, item, read.run.as_ref()))),
        ..status
    }
}

/// Where the next incremental run starts. An item without a column stores no watermark yet.
fn watermark(item: &WatermarkItem) -> Option<String> {
    let has_column = item.hwm_col_name.as_deref().is_some_and(|column| !column.is_empty());
    item.lwm_value.clone().filter(|low| has_column && !low.is_empty())
}

fn repeated(item: &WatermarkItem, written_by: TrackingWriter) -> StatusTracking {
    StatusTracking {
        low_watermark: item.lwm_value.clone(),
        high_watermark: item.hwm_value.clone(),
        extract_successful: item.extract_successful.clone(),
        row_count: item.extract_metadata.as_deref().and_then(row_count),
        updated_at: item.updated_at.as_deref().and_then(instant).map(Time),
        written_by,
    }
}

/// The number in `{"row_count": n}`.
fn row_count(metadata: &str) -> Option<i64> {
    serde_json::from_str::<serde_json::Value>(metadata).ok()?.get("row_count")?.as_i64()
}

/// `%Y-%m-%d %H:%M:%S`, UTC.
fn instant(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Who wrote the item: the run item has a copy of what Tidemark wrote.
fn writer(uid: &str, item: &WatermarkItem, run: Option<&RunItem>) -> TrackingWriter {
    let Some(run) = run.filter(|run| run.watermark_item.as_ref() == Some(item)) else {
        return TrackingWriter::Other;
    };
    let set = run.set.as_ref().is_some_and(|set| {
        let at = Timestamp::from_second(set.at).ok();
        item.lwm_value.as_ref() == Some(&set.to)
            && item.updated_at.as_deref().and_then(instant) == at
    });
    match run.owner.uid.as_str() {
        _ if set => TrackingWriter::WatermarkCommand,
        owner if owner == uid => TrackingWriter::ThisExtractJob,
        owner if owner.starts_with("cli/") => TrackingWriter::RunCommand,
        _ => TrackingWriter::AnotherExtractJob,
    }
}

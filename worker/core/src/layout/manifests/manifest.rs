//! What a manifest holds.

use crds::RunId;
use crds::extract_job::Consistency;
use crds::fidelity::FidelityCounts;
use crds::tracking::{Mode, RunItem, TrackedPartitioning, Window};
use serde::{Deserialize, Serialize};

use crate::decoding::columns::Column;
use crate::layout::records::{PartitionRecord, Tally};
use crate::planning::consistency;
use crate::planning::fidelity;
use crate::planning::partitions::Skew;
use crate::planning::plan::{CONTROL_VERSION, OutputLayout, Plan, PlannedWatermark, TableName};

/// `_tidemark/<run>/manifest.json`: one published (or decided) run. `Files` and `Earlier` are its lists,
/// or what is known of them: see [`ManifestHead`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest<Files = Vec<ManifestFile>, Earlier = Listing> {
    /// [`crate::planning::plan::CONTROL_VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Its place in the order of publications.
    pub commit: u64,
    /// Key of the source.
    pub source: String,
    /// What kind of run.
    pub mode: Mode,
    /// The table, by the names that the catalog has.
    pub table: TableName,
    /// Of Postgres: the database that the table is in. Absent on MySQL, where the schema is the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The run whose files come before these (PE); none: these are all.
    pub parent: Option<RunId>,
    /// Runs whose files this one replaces (FE, reingest), oldest first.
    pub replaces: Vec<RunId>,
    /// The window.
    pub window: Window,
    /// The watermark column, if any.
    pub watermark: Option<PlannedWatermark>,
    /// The columns.
    pub columns: Vec<Column>,
    /// Columns that were added to these, and the naming of the folder.
    #[serde(default, skip_serializing_if = "OutputLayout::is_plain")]
    pub layout: OutputLayout,
    /// How much of their values' meaning the columns keep.
    #[serde(default)]
    pub fidelity: FidelityCounts,
    /// SHA-256 of the plan.
    pub plan_hash: String,
    /// The snapshot that all partitions were read under. Of MySQL and MariaDB: a point of the binary log,
    /// `file:position`, or the time (UTC) at which the table was locked.
    pub snapshot: Option<String>,
    /// How long the table was locked, in milliseconds; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_lock_milliseconds: Option<u64>,
    /// Whether all partitions are from one consistent snapshot.
    pub consistency: Consistency,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Partitions.
    pub partitions: u32,
    /// Files that were closed before they had their size, since those of other directories
    /// (`output.partitionBy`) needed the memory.
    #[serde(default, skip_serializing_if = "crate::layout::records::is_zero")]
    pub closed_early: u64,
    /// How the table was cut into them, and how even they turned out; absent if the window was empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<TrackedPartitioning>,
    /// Greatest watermark seen.
    pub watermark_max: Option<String>,
    /// The files, by partition and number.
    pub files: Files,
    /// In every 20th of a chain: all that lies before these files, so that readers need not walk
    /// the parents.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
}

const fn none<T>() -> Option<T> {
    None
}

/// A manifest without its lists of files: what the protocol decides by, however many files there are.
pub type ManifestHead = Manifest<FileCount, Listing<FileCount>>;

/// How many files a list has. Read, it counts them; written, it is an empty list, into which [`super::Lists`]
/// puts the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileCount(pub u64);

/// All runs and files of a chain up to some run, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing<Files = Vec<ListedFile>> {
    /// The runs.
    pub runs: Vec<RunId>,
    /// Their files.
    pub files: Files,
}

/// A file of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedFile {
    /// Key in the bucket.
    pub key: String,
    /// Rows by its footer.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

impl ManifestFile {
    /// The files of a record.
    pub fn of(record: PartitionRecord) -> impl Iterator<Item = Self> {
        let PartitionRecord { token, files, .. } = record;
        files.into_iter().map(move |file| Self {
            key: file.key,
            rows: file.rows,
            bytes: file.bytes,
            token: token.clone(),
            upload_id: file.upload_id,
            parts: file.parts,
            checksums: file.checksums,
        })
    }
}

/// Every how many runs of a chain a manifest lists all that came before.
const LISTS_EVERY: u32 = 20;

/// Whether the manifest of a run with so many runs before it lists them all.
pub const fn lists_all(depth: u32) -> bool {
    depth > 0 && depth.is_multiple_of(LISTS_EVERY)
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestFile {
    /// Key in the bucket.
    pub key: String,
    /// Rows by its footer.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Token of the process that wrote it; also in the metadata of the object.
    pub token: String,
    /// The upload, which the committer of the run completes.
    pub upload_id: String,
    /// ETags of its parts.
    pub parts: Vec<String>,
    /// Checksums of its parts, as [`crate::layout::records::PendingFile::checksums`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<String>,
}

/// `_tidemark/current.json`: the published end of the chain. The only object ever overwritten,
/// under `If-Match`, and only to a higher commit number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// [`crate::planning::plan::CONTROL_VERSION`].
    pub version: u32,
    /// Key of the source.
    pub source: String,
    /// The run.
    pub run: RunId,
    /// Its commit number.
    pub commit: u64,
    /// Key of its manifest.
    pub manifest: String,
}

/// `_tidemark/source.json`: whose prefix this is, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceIdentity {
    /// [`crate::planning::plan::CONTROL_VERSION`].
    pub version: u32,
    /// Partition, region and account of the tracking table, by its ARN.
    pub tracking: String,
    /// The tracking table.
    pub table: String,
    /// Key of the source.
    pub source: String,
}

/// Metadata key of the process token of a data object.
pub const TOKEN_METADATA: &str = "tidemark-token";

/// What a run follows: the runs that it replaces, or, in every 20th of a chain, all before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// [`Manifest::replaces`].
    pub replaces: Vec<RunId>,
    /// Where [`Manifest::earlier`] comes from.
    pub earlier: Option<Earlier>,
}

/// A chain up to some run, whose files stand in its manifests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Earlier {
    /// All runs, oldest first.
    pub runs: Vec<RunId>,
    /// Runs whose manifests name the files of all of them, oldest first. The first may list those
    /// before it.
    pub manifests: Vec<RunId>,
}

impl Earlier {
    /// Puts a run before all that are known: itself, and what it lists.
    pub fn prepend(&mut self, head: &ManifestHead) {
        let listed = head.earlier.as_ref().map_or(&[][..], |earlier| &earlier.runs);
        self.runs.splice(0..0, listed.iter().copied().chain([head.run]));
        self.manifests.insert(0, head.run);
    }
}

/// The manifest of a run but for its lists: a pure function of the plan and of what its records come
/// to.
pub fn head(
    run: &RunItem,
    plan: &Plan,
    plan_hash: &str,
    tally: &Tally,
    replaces: Vec<RunId>,
) -> ManifestHead {
    Manifest {
        version: CONTROL_VERSION,
        run: run.run,
        commit: run.commit,
        source: plan.source.clone(),
        mode: plan.mode,
        table: plan.table.clone(),
        database: plan.database.clone(),
        parent: run.head.as_ref().map(|head| head.run).filter(|_| !plan.mode.replaces()),
        replaces,
        window: plan.window.clone(),
        watermark: plan.watermark.clone(),
        columns: plan.columns.clone(),
        fidelity: fidelity::counts(&plan.columns),
        layout: plan.layout.clone(),
        plan_hash: plan_hash.to_owned(),
        snapshot: plan.snapshot.clone(),
        table_lock_milliseconds: plan.table_lock_milliseconds,
        consistency: consistency::reached(plan),
        rows: tally.rows.iter().sum(),
        bytes: tally.bytes,
        partitions: u32::try_from(plan.partitions.len()).unwrap_or(u32::MAX),
        closed_early: tally.closed_early,
        partitioning: partitioning(plan, &tally.rows),
        watermark_max: tally.watermark_max.clone(),
        files: FileCount(tally.files),
        earlier: None,
    }
}

/// The prediction, together with the numbers of the records.
fn partitioning(plan: &Plan, rows: &[u64]) -> Option<TrackedPartitioning> {
    let how = plan.partitioning.as_ref()?;
    Some(TrackedPartitioning {
        strategy: how.strategy,
        columns: how.columns.iter().map(|column| column.name.clone()).collect(),
        reason: how.reason.clone(),
        predicted_skew: how.predicted_skew.clone(),
        actual_skew: Skew::of(rows).to_string(),
    })
}

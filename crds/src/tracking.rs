//! The items of the DynamoDB tracking table: the watermark item (shared with the legacy job), the run item and the
//! outcome item (for one object). Both binaries read them; only coordinator, recovery and `run` write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Report;
use crate::consistency::Consistency;
use crate::fidelity::FidelityCounts;
pub use crate::guard::Guard;
use crate::partition::Strategy;
use crate::units::RunId;
pub use crate::watermark::Provisional;

pub use crate::removals::{ObjectStore, PendingCleanup, Removal};

/// Schema version of the run item and the outcome item; a higher one is left alone (`NewerRelease`).
pub const ITEM_VERSION: u32 = 1;

/// Days that an outcome is kept, by the table's time to live on `expiresAt`.
pub const OUTCOME_DAYS: i64 = 90;

/// Key of the run item of the source `key`.
pub fn run_key(key: &str) -> String {
    format!("{key}#tidemark")
}

/// Key of the outcome item of the source `key` for the object `uid`.
pub fn outcome_key(key: &str, uid: &str) -> String {
    format!("{key}#tidemark#{uid}")
}

/// The watermark item: the item of the legacy job, exactly its attributes, all of them text. People and the
/// legacy job read it and may write it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatermarkItem {
    /// Hash key `<database>.<table>`.
    pub source: String,
    /// End of the next window; `-1`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwm_value: Option<String>,
    /// Start of the next window, not included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lwm_value: Option<String>,
    /// Name of the watermark column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwm_col_name: Option<String>,
    /// Type of the watermark column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwm_column_type: Option<String>,
    /// `FE` or `PE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_type: Option<String>,
    /// `%Y-%m-%d %H:%M:%S`, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// `Y` or `N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_successful: Option<String>,
    /// JSON text `{"row_count": n}`; -1 while running and after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_metadata: Option<String>,
}

impl WatermarkItem {
    /// Every attribute but the key, by its name in the table.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        [
            ("hwm_value", &self.hwm_value),
            ("lwm_value", &self.lwm_value),
            ("hwm_col_name", &self.hwm_col_name),
            ("hwm_column_type", &self.hwm_column_type),
            ("extract_type", &self.extract_type),
            ("updated_at", &self.updated_at),
            ("extract_successful", &self.extract_successful),
            ("extract_metadata", &self.extract_metadata),
        ]
        .into_iter()
        .map(|(name, value)| (name, value.as_deref()))
    }
}

/// The run item: the run that holds the source, or held it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunItem {
    /// Hash key, [`run_key`].
    pub source: String,
    /// [`ITEM_VERSION`] of the release that wrote it.
    pub schema: u32,
    /// Counts the writes of this item.
    pub revision: u64,
    /// Where the run stands.
    pub state: RunState,
    /// The run.
    pub run: RunId,
    /// Where its files go.
    pub uri: String,
    /// The last published run, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// For whom it runs.
    pub owner: Owner,
    /// Which attempt of that owner it is.
    pub attempt: u32,
    /// Seconds since 1970, UTC, after which others may take the source over.
    pub deadline: i64,
    /// Records seen when the coordinator last renewed.
    pub records: u32,
    /// The number that this run's publication has in `current.json`.
    pub commit: u64,
    /// What kind of run.
    pub mode: Mode,
    /// The window, from PIN on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// SHA-256 of `plan.json`, from PIN on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// Number of partitions that are pods' work, from PIN on; 1 where the coordinator reads all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// The window that the next incremental run must take, since a run that pinned it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_window: Option<Window>,
    /// What is still to do after PUBLISH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_cleanup: Option<PendingCleanup>,
    /// Seconds that files replaced by this run are kept; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_seconds: Option<u64>,
    /// Who last moved the watermark manually.
    #[serde(rename = "watermarkSet", default, skip_serializing_if = "Option::is_none")]
    pub set: Option<WatermarkSet>,
    /// The watermark item as we last wrote it. Where the table's differs, somebody else wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_item: Option<WatermarkItem>,
    /// What of it no published run stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional: Option<Provisional>,
    /// Why the run failed, or what a person should know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// States of a run. `claimed` and `running` may fail; `committing` only goes forward; `published`,
/// `failed` and `aborted` are ends. All survive a restart of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunState {
    /// Set by CLAIM.
    #[serde(rename = "claimed")]
    Claimed,
    /// Set by PIN: window and plan stand.
    #[serde(rename = "running")]
    Running,
    /// Set by DECIDE: any process that finds the run finishes it.
    #[serde(rename = "committing")]
    Committing,
    /// Set by PUBLISH: published.
    #[serde(rename = "published")]
    Published,
    /// Set by FAIL.
    #[serde(rename = "failed")]
    Failed,
    /// Set by FAIL on suspend and deletion.
    #[serde(rename = "aborted")]
    Aborted,
    /// Set by FORCE: a person undid DECIDE. Any process that finds the run finishes the undo.
    #[serde(rename = "reverting")]
    Reverting,
}

impl RunState {
    /// The word in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Committing => "committing",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Reverting => "reverting",
        }
    }

    /// Whether a coordinator may still be at work that has not decided yet.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Claimed | Self::Running)
    }

    /// Whether recovery has something left to do about a run of its own.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Claimed | Self::Running | Self::Committing | Self::Reverting)
    }
}

/// What kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Full: replaces, the watermark is not moved.
    FE,
    /// Incremental: appends, the watermark moves to the maximum seen.
    PE,
    /// From the beginning: replaces, the watermark is set to the maximum seen.
    #[serde(rename = "reingest")]
    Reingest,
}

impl Mode {
    /// Whether the run replaces what is there.
    pub const fn replaces(self) -> bool {
        matches!(self, Self::FE | Self::Reingest)
    }

    /// Whether the watermark moves to the maximum seen.
    pub const fn moves_watermark(self) -> bool {
        matches!(self, Self::PE | Self::Reingest)
    }
}

/// For whom a run is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Uid of the `ExtractJob`, or `cli/<uuid>`.
    pub uid: String,
    /// Hash of the fields that define the data.
    pub request: String,
    /// Version of that hash.
    pub hash_version: u32,
    /// Generation of the object when the attempt began.
    pub generation: i64,
    /// The latest `tidemark.dev/requested-at` that was honoured when the attempt began, its own included:
    /// an RFC 3339 time. Only a later one asks for another run ([`crate::requested`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
}

/// A published run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Its id.
    pub run: RunId,
    /// Where it lies.
    pub uri: String,
    /// Its commit number.
    pub commit: u64,
    /// Runs of its chain before it: 0 for one that replaces, or is the first.
    #[serde(default)]
    pub depth: u32,
}

/// A pinned window: rows with `low < watermark <= high`, in text of the watermark's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Start; absent: from the beginning. Included for FE, not included for PE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<String>,
    /// `lwm_value` of the watermark item byte for byte as CLAIM read it; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_text: Option<String>,
    /// End, included; absent: no bound (FE), or nothing to take (an empty PE window).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<String>,
    /// Whether no row can be in it.
    pub empty: bool,
    /// What kept the end below rows that were not committed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// A watermark that a person moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatermarkSet {
    /// Who, in their own words.
    pub by: String,
    /// Seconds since 1970, UTC.
    pub at: i64,
    /// `lwm_value` of the watermark item before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `lwm_value` of the watermark item since.
    pub to: String,
}

/// Complete or Failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrackedOutcome {
    /// A run published the window.
    Complete,
    /// The request failed.
    Failed,
}

/// The outcome item: the outcome for one `ExtractJob`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeItem {
    /// Hash key, [`outcome_key`].
    pub source: String,
    /// [`ITEM_VERSION`] of the release that wrote it.
    pub schema: u32,
    /// The highest attempt that claimed or was recovered.
    pub attempt: u32,
    /// The run that this attempt claimed; recovery aborts its uploads even when the run item is another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The outcome; absent while the first attempt runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<OutcomeResult>,
    /// Seconds since 1970, for the table's time to live.
    pub expires_at: i64,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeResult {
    /// Complete or Failed.
    pub outcome: TrackedOutcome,
    /// The owner as the task had it: request, hash version, generation. Its `requested_at` never goes
    /// back: it is the later one of the task's and the one that was here.
    pub owner: Owner,
    /// The run, if one was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why it failed, or what was odd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// The window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Where the next incremental run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// The table that was read, with its schema; absent if the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Rows published.
    #[serde(default)]
    pub rows: u64,
    /// Bytes published.
    #[serde(default)]
    pub bytes: u64,
    /// Files published.
    #[serde(default)]
    pub files: u64,
    /// Partitions.
    #[serde(default)]
    pub partitions: u32,
    /// Whether they were from one consistent snapshot; absent if the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
    /// How long the table was locked, in milliseconds; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_lock_milliseconds: Option<u64>,
    /// How much of their values' meaning the columns kept; absent if the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<FidelityCounts>,
    /// How the table was cut into partitions; absent if the window was empty or the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<TrackedPartitioning>,
}

/// How a table was cut into partitions, and how even they turned out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackedPartitioning {
    /// The way that was taken, never `auto`.
    pub strategy: Strategy,
    /// Names of the columns that it went by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Why.
    pub reason: String,
    /// Most rows of a partition by the median of all, such as `1.04`, as predicted before the rows were
    /// read; absent where nothing predicted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_skew: Option<String>,
    /// The same of the rows that were read.
    pub actual_skew: String,
}

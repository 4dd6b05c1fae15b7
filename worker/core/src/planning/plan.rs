//! `plan.json`: what one run will read, fixed before the first row is read.

use crds::RunId;
use crds::extract_job::{NullPolicy, WatermarkType};
use crds::output::{Compression, Output, OutputColumns, RunFolder};
use crds::source::Engine;
use crds::tracking::{Head, Mode, Window};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decoding::columns::Column;
use crate::planning::filtering::Settings;
use crate::planning::partitioning::Partitioning;
use crate::planning::partitions::PlannedPartition;
pub use crate::planning::table_name::TableName;

/// Schema version of plan, task record, manifest and pointer.
pub const CONTROL_VERSION: u32 = 1;

/// The plan of one run. Written once, under `If-None-Match`; its hash is pinned in the run item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`CONTROL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// Key of the source in the tracking table.
    pub source: String,
    /// The kind of database: which SQL it takes and how its rows come. Absent for Postgres.
    #[serde(default = "postgres", skip_serializing_if = "is_postgres")]
    pub engine: Engine,
    /// What kind of run.
    pub mode: Mode,
    /// The table.
    pub table: TableName,
    /// Of Postgres: the database that the table is in, by the server's own name. Absent on MySQL, where the
    /// schema is the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Its columns, in the order they are written.
    pub columns: Vec<Column>,
    /// The watermark column, if the run has one.
    pub watermark: Option<PlannedWatermark>,
    /// `extract.where`: the table is taken as if it had no other rows.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Settings of a plain session of the database user, under which `filter` is read.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub filter_settings: Settings,
    /// Rows of the table that `filter` leaves, by the database's own estimate, -1 where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered_rows: Option<i64>,
    /// The window.
    pub window: Window,
    /// The column that `partitions` cut, if any.
    pub partition_column: Option<String>,
    /// How and why; absent if the window is empty, because nothing is divided then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<Partitioning>,
    /// The partitions: disjoint, and together the whole window. None: there is nothing to read.
    pub partitions: Vec<PlannedPartition>,
    /// The snapshot that all partitions are read under. Postgres: the exported one. MySQL: the point of the
    /// binary log at which each session of the coordinator began, or the time (UTC, by the server's clock) at which
    /// the table was locked for all of them.
    pub snapshot: Option<String>,
    /// How long the table was locked until all sessions had their snapshot, in milliseconds; absent if it was
    /// not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_lock_milliseconds: Option<u64>,
    /// Why the partitions are not one consistent snapshot, though they may share one: it does not cover
    /// all that they read. Absent where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
    /// Whether a NOT NULL of the catalog may be one that nobody enforces (a foreign table's): then no
    /// test for NULL may be answered from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unenforced: bool,
    /// Rows of the table by the database's own estimate, -1 where it has none.
    pub estimated_rows: i64,
    /// What people should know: a weak guard, columns written as text.
    pub warnings: Vec<String>,
    /// What the manifest asks of the files.
    #[serde(default, skip_serializing_if = "OutputLayout::is_plain")]
    pub layout: OutputLayout,
}

impl Plan {
    /// Partitions that pods read, one each. Sessions of MySQL that share a snapshot cannot be joined from
    /// outside: there the coordinator reads all, as it does where there is but one.
    pub fn pods(&self) -> usize {
        match (self.engine, &self.snapshot) {
            (Engine::Mysql, Some(_)) => self.partitions.len().min(1),
            _ => self.partitions.len(),
        }
    }
}

const fn postgres() -> Engine {
    Engine::Postgres
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_postgres(engine: &Engine) -> bool {
    matches!(engine, Engine::Postgres)
}

/// What the manifest asks of the files beyond the table's own columns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputLayout {
    /// How the run's folder is named.
    pub run_folder: RunFolder,
    /// Columns that are added.
    pub columns: OutputColumns,
    /// The columns whose values name directories; the files go without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Whether the database sorts each partition's rows by these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sorted: bool,
    /// How pages are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Bytes at which a row group is closed; absent: as memory has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_group_bytes: Option<u64>,
    /// Bytes at which the next file begins; absent: [`crate::encoding::files::FILE_BYTES_TARGET`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_file_bytes: Option<u64>,
}

impl OutputLayout {
    /// Of an output.
    pub fn of(output: &Output) -> Self {
        Self {
            run_folder: output.run_folder.unwrap_or_default(),
            columns: output.columns.clone().unwrap_or_default(),
            partition_by: output.partition_by.clone().unwrap_or_default(),
            sorted: false,
            compression: output.compression.unwrap_or_default(),
            row_group_bytes: output.row_group_bytes,
            target_file_bytes: output.target_file_bytes,
        }
    }

    /// Whether nothing is asked for.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The watermark column of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWatermark {
    /// The column.
    pub column: String,
    /// Type of its values, as the user named it.
    pub value_type: WatermarkType,
    /// What to do about NULLs.
    pub null_policy: NullPolicy,
}

/// What CLAIM passes to the planner: where the window starts, and what may limit its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOrder {
    /// The run.
    pub run: RunId,
    /// What kind of run.
    pub mode: Mode,
    /// Key of the source.
    pub source: String,
    /// Start as text; absent: from the beginning.
    pub low: Option<String>,
    /// `lwm_value` of the watermark item as read; goes into the window unchanged.
    pub low_text: Option<String>,
    /// A given end; absent: everything there is.
    pub high: Option<String>,
    /// How far below `low` rows are taken again: seconds, or a distance between numbers.
    pub lookback: Option<i64>,
    /// A window to take as it is, since an earlier run pinned it and failed.
    pub pending_window: Option<Window>,
    /// The published run of the source, perhaps under another uri.
    pub head: Option<Head>,
}

/// SHA-256 of a plan's bytes, in lower-case hexadecimal.
pub fn hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

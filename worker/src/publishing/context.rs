//! What the acts of one process need, and what is in flight meanwhile.

use std::sync::Arc;

use crds::tracking::ObjectStore;
use crds::{RunId, Task};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use worker_core::encoding::batches::{Asked, MemoryBudget};
use worker_core::errors::failure::Failure;
use worker_core::layout::records::Tallying;

use crate::base::pause::Pause;
use crate::base::shutdown::Stop;
use crate::extraction::counters::Counters;
use crate::extraction::extract::Extraction;
use crate::extraction::kept_records::KeptRecords;
use crate::planning::snapshot_session::SnapshotSession;
use crate::publishing::durations::Durations;
use crate::source::login::Login;
use crate::stores::clients::Stores;
use crate::stores::control::{Control, at_once};
use crate::stores::tracking::TrackingTable;

/// Writes of one act that are in flight at a time.
pub(super) const WRITES_AT_ONCE: usize = 16;
/// Maximum number of uploads that are checked or completed at a time. A commit mostly waits for replies of the store.
/// Calculated for 20,000 files and 30 ms for each reply: 20 s with 64 at a time, 77 s with 16.
pub(super) const UPLOADS_AT_ONCE: usize = 64;
/// Files and uploads of one act, about: the next ones are listed once these are done with.
pub(super) const AT_ONCE: usize = 5_000;

/// Seconds since 1970, UTC.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Who reads the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// This process.
    Here {
        /// Partitions to be read at a time, where the memory has room for them.
        asked: Asked,
        /// Memory for all of them.
        budget: MemoryBudget,
    },
    /// Pods of an extract Job; this process still reads a plan of at most one partition.
    Pods,
}

/// Everything that the acts of one process need.
pub struct Context {
    /// For whom.
    pub task: Task,
    /// S3 and DynamoDB.
    pub stores: Stores,
    /// How to connect to the database; absent in recovery.
    pub login: Option<Login>,
    /// Who reads the partitions.
    pub readers: Readers,
    /// Flags.
    pub durations: Durations,
    /// Signals.
    pub stop: Stop,
    /// Pause points for tests.
    pub pause: Pause,
    /// Called once the run is pinned and the snapshot held.
    pub ready: Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>,
    /// What goes on meanwhile.
    pub in_flight: InFlight,
    /// What this process has read.
    pub counters: Arc<Counters>,
}

/// What a process has going on besides the act it performs.
#[derive(Default)]
pub struct InFlight {
    /// The database is being asked.
    pub(super) planning: Option<Planning>,
    /// Whether the process has become Ready.
    pub(super) is_ready: bool,
    /// Partitions that are read here.
    pub(super) extraction: Option<Extraction>,
    /// The session that exported the snapshot.
    pub(super) snapshot_session: Option<SnapshotSession>,
    /// How far the records have been read.
    pub(super) reading: Option<Reading>,
    /// When the deadline in tracking must be prolonged.
    pub(super) renew_at: Option<Instant>,
    /// Where the tracking table is: account and region.
    pub(super) place: OnceCell<String>,
}

/// The database, being asked.
pub(super) struct Planning {
    pub(super) task: JoinHandle<Result<SnapshotSession, Failure>>,
    pub(super) stop: watch::Sender<bool>,
}

/// How far the records of the run have been read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) run: RunId,
    pub(super) tallying: Tallying,
    pub(super) kept_records: KeptRecords,
    /// Records to be read at a time.
    pub(super) at_once: usize,
}

impl Reading {
    /// Of a run whose records were kept as they were made.
    pub(super) fn of(run: RunId, kept_records: KeptRecords) -> Self {
        Self { run, tallying: Tallying::default(), kept_records, at_once: 4 }
    }

    /// Of a run whose largest record has so many bytes.
    pub(super) fn of_size(run: RunId, largest: u64) -> Self {
        Self { at_once: at_once(largest), ..Self::of(run, KeptRecords::default()) }
    }
}

impl Context {
    /// The control objects under `uri`.
    pub(super) fn control(&self, uri: &str) -> Result<Control, Failure> {
        Control::new(self.stores.s3.clone(), uri)
    }

    /// The same in another object store, if one is named.
    pub(super) async fn control_at(
        &self,
        uri: &str,
        store: Option<&ObjectStore>,
    ) -> Result<Control, Failure> {
        match store {
            Some(store) => Control::new(self.stores.s3_at(store).await?, uri),
            None => self.control(uri),
        }
    }

    /// The tracking table.
    pub(super) fn table(&self) -> TrackingTable {
        TrackingTable::new(self.stores.dynamodb.clone(), self.task.tracking.table.clone())
    }
}

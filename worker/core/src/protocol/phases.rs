//! What the protocol is a function of: the process, and where it stands.

use crds::task::RecoverOrder;
use crds::tracking::{ObjectStore, RunItem};
use crds::{RunId, Task};

use super::effects::Transaction;
use crate::errors::failure::Failure;
use crate::layout::manifests::{ManifestHead, Pointer, SourceIdentity};
use crate::layout::records::Tally;
use crate::planning::plan::{Plan, PlanOrder};

/// How often a step that lost a race is tried again before the process gives way.
pub const TRIES_MAX: u32 = 8;

/// What this process is here for.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// Claim, plan, extract, publish.
    Coordinate {
        /// For whom.
        task: Box<Task>,
        /// Whether no attempt follows, so that a failure is the outcome.
        last: bool,
    },
    /// End what a stopped coordinator left.
    Recover {
        /// The task of that coordinator.
        task: Box<Task>,
        /// How and why.
        order: Box<RecoverOrder>,
    },
    /// Undo a decided run that cannot be completed: a person's request.
    Force {
        /// The source, and how to reach it.
        task: Box<Task>,
        /// The run that the person named.
        run: RunId,
        /// Who.
        by: String,
    },
}

impl Role {
    /// The task.
    pub fn task(&self) -> &Task {
        match self {
            Self::Coordinate { task, .. }
            | Self::Recover { task, .. }
            | Self::Force { task, .. } => task,
        }
    }
}

/// A process and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// What it is here for.
    pub role: Role,
    /// Seconds that a claim or renewal lasts.
    pub lease_seconds: i64,
    /// Seconds that must have passed since a dead run began before what it left is removed.
    pub grace_seconds: i64,
    /// Seconds since 1970, UTC, of the last event.
    pub now: i64,
    /// Where it stands. Lost with the process; all that must survive is in the stores.
    pub phase: Phase,
    /// The manifest of our own run, once published.
    pub kept: Option<Box<ManifestHead>>,
    /// Until when a lock protects a file of the removal that is in flight, seconds since 1970, UTC.
    pub locked: Option<i64>,
}

impl Process {
    /// The object store that the process writes to.
    pub fn store(&self) -> ObjectStore {
        ObjectStore::of(&self.role.task().spec.output)
    }
}

/// A decided run that is not published yet.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedRun {
    /// The run item as last read or written.
    pub run: RunItem,
    /// Its manifest.
    pub manifest: ManifestHead,
    /// What comes after.
    pub then: Then,
}

/// What comes after a run was finished or cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It was our own.
    Finish,
    /// Claim, at last.
    Claim,
    /// Recover what is left.
    Recover,
}

/// A run that is held, with what has been found out about it.
#[derive(Debug, Clone, PartialEq)]
pub struct CoordinatedRun {
    /// The run item as last read or written.
    pub run: RunItem,
    /// The plan.
    pub plan: Plan,
    /// Its SHA-256.
    pub plan_hash: String,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nothing done yet.
    Start,
    /// Reading, and why.
    Reading(Why),
    /// CLAIM is being written.
    Claiming(Box<Claimed>, u32),
    /// The database is being asked.
    Planning(Box<Claimed>),
    /// RENEW of a claim is being written, while the database is being asked.
    RenewingClaim(Box<Claimed>, Box<RunItem>),
    /// `source.json` is being written.
    Identifying(Box<CoordinatedRun>),
    /// `plan.json` is being written.
    PuttingPlan(Box<CoordinatedRun>),
    /// PIN is being written.
    Pinning(Box<CoordinatedRun>, Box<RunItem>),
    /// Rows are read; the snapshot is held.
    Running(Box<CoordinatedRun>),
    /// RENEW is being written.
    Renewing(Box<CoordinatedRun>, Box<RunItem>),
    /// The snapshot's session is asked once more, for the last time, and the uploads.
    Assuring(Box<CoordinatedRun>, Box<Tally>),
    /// The chain that is to be replaced is read.
    Chaining(Box<CoordinatedRun>, Box<Tally>),
    /// The manifest is being written.
    PuttingManifest(Box<CoordinatedRun>, Box<ManifestHead>),
    /// DECIDE is being written.
    Deciding(Box<CoordinatedRun>, Box<ManifestHead>, Box<RunItem>, u32),
    /// The manifest of another's decided run is read.
    Fetching(Box<RunItem>, Then),
    /// Uploads are being completed.
    Completing(Box<DecidedRun>),
    /// PUBLISH is being written.
    Publishing(Box<DecidedRun>, Box<RunItem>, u32),
    /// The pointer is read, and replaced files are listed.
    ReadingCleanup(Box<RunItem>, Then, u32),
    /// The pointer is being moved.
    Pointing(Box<RunItem>, Box<Cleanup>, Then, u32),
    /// Replaced files are being deleted; more come after this run's file.
    Removing(Box<RunItem>, Then, Option<(RunId, String)>),
    /// `pending_cleanup` is being cleared; what is left of it stands in the item.
    RecordingCleanup(Box<RunItem>, Then),
    /// FAIL is being written.
    Failing(Box<Failure>, Box<RunItem>, u32),
    /// Open uploads are listed.
    Listing(Box<Sweep>),
    /// Open uploads are aborted.
    Aborting(Box<Sweep>),
    /// The attempt is being fenced.
    Raising(u32),
    /// FORCE is being written.
    Forcing(u32),
    /// Files of a run that is being undone are listed.
    ListingFiles(Box<RunItem>, Then, bool),
    /// They are being deleted; more come after this one.
    Undoing(Box<RunItem>, Then, bool, Option<String>),
    /// The end of the undo is being written.
    Reverting(Then),
    /// Old runs are listed.
    ListingRuns(After),
    /// The runs that must be kept are read.
    Keeping(Vec<RunId>, After),
    /// What these dead runs left is read.
    Finding(Vec<RunId>, After),
    /// It is being removed; the plans come last. What the other runs left is read after that.
    Sweeping(Vec<String>, Vec<RunId>, After),
    /// The plans of dead runs are being removed, then the other runs follow.
    Forgetting(Vec<RunId>, After),
    /// Nothing more to do.
    Ended,
}

/// Why the stores are read.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// To claim.
    Claim(u32),
    /// Whether a refused CLAIM was our own.
    Claimed(Box<Claimed>, u32),
    /// Whose `source.json` it is.
    Identified(Box<CoordinatedRun>),
    /// Whether a refused RENEW of the claim was our own.
    RenewedClaim(Box<Claimed>),
    /// Whether a refused PIN was our own.
    Pinned(Box<CoordinatedRun>),
    /// Whether a refused RENEW was our own.
    Renewed(Box<CoordinatedRun>),
    /// Whether a refused DECIDE was our own.
    Decided(Box<CoordinatedRun>, Box<ManifestHead>, u32),
    /// An upload was missing: reads whether another process finished the run.
    Gone(Box<DecidedRun>),
    /// What PUBLISH must find.
    Publish(Box<DecidedRun>, u32),
    /// To give the run up.
    Fail(Box<Failure>, Box<RunItem>, u32),
    /// Which of the old runs are alive.
    Orphans(Vec<RunId>, After),
    /// To undo a decided run.
    Force(u32),
    /// To recovery; whether uploads were aborted already.
    Recover {
        /// They were.
        swept: bool,
        /// Times the stores were read.
        tries: u32,
    },
}

/// Open uploads of one run that are to go.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Where.
    pub uri: String,
    /// Whose.
    pub run: RunId,
    /// How many times they are still listed.
    pub passes: u32,
    /// Whether the last listing had no room for all of them.
    pub more: bool,
    /// What comes after.
    pub then: AfterSweep,
}

impl Sweep {
    /// A sweep that has listed nothing yet.
    pub fn new(uri: String, run: RunId, passes: u32, then: AfterSweep) -> Self {
        Self { uri, run, passes, more: false, then }
    }
}

/// What comes after a run's open uploads are gone.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterSweep {
    /// The coordinator ends with its failure.
    Fail(Failure),
    /// Recovery goes on.
    Recover {
        /// Whether it may not go on without: the run was given up.
        must: bool,
    },
    /// The coordinator's run is published: what was left belonged to pods that lost their partition.
    Publish,
    /// The run is undone: its completed files are next; whether they were checked before.
    Revert(Box<RunItem>, Then, bool),
}

/// What [`Act::ReadCleanup`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleanup {
    /// `current.json` under that uri, with its `ETag`.
    pub pointer: Option<(Pointer, String)>,
    /// Data files of the runs that the run replaces, as far as they are there, in a fixed order.
    pub replaced: Vec<(RunId, String)>,
    /// Whether more come after them.
    pub more: bool,
}

/// A claim to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The run item once the transaction holds.
    pub item: RunItem,
    /// The transaction.
    pub transaction: Transaction,
    /// What to plan.
    pub order: PlanOrder,
    /// What `source.json` must say.
    pub identity: SourceIdentity,
}

/// What the process was about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Its run is published.
    Publish,
    /// It has recovered.
    Recover,
}

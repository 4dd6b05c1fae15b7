//! What the protocol may request, which events it gets, and how it ends.

use std::collections::BTreeSet;

use crds::RunId;
use crds::tracking::ObjectStore;

use super::effects::{Effect, Reply};
use super::observed::ObservedItems;
use super::phases::{Cleanup, CoordinatedRun};
use crate::errors::failure::Failure;
use crate::layout::manifests::{Earlier, ManifestHead};
use crate::layout::records::Tally;
use crate::planning::plan::{Plan, PlanOrder};

/// What the process must do next, and answer with an [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Read the stores: [`Event::Observed`].
    Read,
    /// Write; the order does not matter: [`Event::Replied`], a reply each.
    Write(Vec<Effect>),
    /// Ask the database, take the snapshot: [`Event::Planned`], or meanwhile [`Event::RenewDue`].
    /// Asked for again after a renewal, it goes on where it was.
    Plan(PlanOrder),
    /// Be Ready, have all partitions read, add up their records: [`Event::Recorded`], or meanwhile
    /// [`Event::RenewDue`].
    Extract(Box<CoordinatedRun>),
    /// Ask the snapshot's session, which may end then, and for every upload's parts: [`Event::Assured`].
    Assure {
        /// Where.
        uri: String,
        /// Whose records name the uploads.
        run: RunId,
        /// How many records.
        records: u32,
        /// [`Tally::hash`] of the records that were checked.
        hash: String,
    },
    /// Read a chain, oldest run first: [`Event::Chain`].
    ReadChain {
        /// Where.
        uri: String,
        /// Its end; absent: what `current.json` there names, if it is there.
        run: Option<RunId>,
        /// A run whose replaced files have not been removed yet.
        pending: Option<RunId>,
    },
    /// Find where all files since the last run that replaced stand: [`Event::All`].
    ReadAll {
        /// Where.
        uri: String,
        /// The end of the chain.
        run: RunId,
    },
    /// List runs that began before that time, seconds since 1970, UTC: [`Event::Runs`].
    ListRuns {
        /// Where.
        uri: String,
        /// That time.
        before: i64,
    },
    /// Read `current.json`, its chain and the head's, and what `pending` has yet to remove:
    /// [`Event::Kept`].
    ReadKept {
        /// Where.
        uri: String,
        /// The head, where it lies there.
        head: Option<RunId>,
        /// A run whose replaced files have not been removed yet.
        pending: Option<RunId>,
    },
    /// Read what these runs left, in order, for as many runs as fit in memory, but at least one:
    /// [`Event::Orphans`].
    ReadOrphans {
        /// Where.
        uri: String,
        /// The runs.
        runs: Vec<RunId>,
    },
    /// List the data files of a run that are there: [`Event::Files`].
    ListFiles {
        /// Where.
        uri: String,
        /// Whose.
        run: RunId,
        /// Only those whose keys come after this one.
        after: Option<String>,
    },
    /// Read one manifest but for its lists: [`Event::Fetched`].
    ReadManifest {
        /// Where.
        uri: String,
        /// Whose.
        run: RunId,
    },
    /// Read the pointer and, with `removal`, list the files of what the run replaces:
    /// [`Event::CleanupRead`].
    ReadCleanup {
        /// Where.
        uri: String,
        /// In which store; absent: in the process's own.
        store: Option<ObjectStore>,
        /// The run whose replaced files are to go.
        run: RunId,
        /// Whether replaced files are wanted.
        removal: bool,
        /// Only those after this run's file.
        after: Option<(RunId, String)>,
    },
    /// List a run's open uploads: [`Event::Uploads`].
    ListUploads {
        /// Where.
        uri: String,
        /// Whose.
        run: RunId,
    },
    /// Stop.
    End(Ending),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The process began.
    Begin,
    /// The stores were read; a fresh run id comes along.
    Observed(Box<ObservedItems>, RunId),
    /// Effects were applied, with a reply for each.
    Replied(Vec<Reply>),
    /// The plan stands, the snapshot is held.
    Planned(Box<Plan>, i64),
    /// All records are there, and fit the plan; what they come to.
    Recorded(Box<Tally>),
    /// The deadline must be prolonged: now, and how many records there are.
    RenewDue(i64, u32),
    /// Uploads and snapshot are still there; now.
    Assured(i64),
    /// Runs of the chain, and those whose removal is still to come, oldest first.
    Chain(Vec<RunId>),
    /// Where all files since the last run that replaced stand.
    All(Box<Earlier>),
    /// Old runs.
    Runs(Vec<RunId>),
    /// Runs that must be kept; absent: the prefix is not marked as this source's.
    Kept(Option<BTreeSet<RunId>>),
    /// What dead runs left: the first ones of those that were asked for.
    Orphans(Vec<Orphan>),
    /// Keys of data files, in their order, and whether more come after them.
    Files(Vec<String>, bool),
    /// The manifest.
    Fetched(Box<ManifestHead>),
    /// Pointer and replaced files.
    CleanupRead(Box<Cleanup>),
    /// Open uploads, key and id, and whether there are more.
    Uploads(Vec<(String, String)>, bool),
    /// What was asked for cannot be done.
    Failed(Failure),
}

impl Event {
    /// The time that came along, seconds since 1970, UTC.
    pub fn now(&self) -> Option<i64> {
        match self {
            Self::Observed(observed, _) => Some(observed.now),
            Self::Planned(_, now) | Self::RenewDue(now, _) | Self::Assured(now) => Some(*now),
            Self::Begin
            | Self::Replied(_)
            | Self::Recorded(_)
            | Self::Chain(_)
            | Self::All(_)
            | Self::Runs(_)
            | Self::Kept(_)
            | Self::Orphans(_)
            | Self::Files(..)
            | Self::Fetched(_)
            | Self::CleanupRead(_)
            | Self::Uploads(..)
            | Self::Failed(_) => None,
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The run is published, pointer and removal included.
    Published(Box<ManifestHead>),
    /// Published by another committer of the same run.
    FinishedByAnother,
    /// The request had been answered before.
    Answered,
    /// Nothing of the given attempt is open any more.
    Recovered,
    /// It failed.
    Failed(Failure),
}

/// What a dead run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The run.
    pub run: RunId,
    /// Key of the source by its plan; absent where there is none.
    pub source: Option<String>,
    /// Open uploads: key and id.
    pub uploads: Vec<(String, String)>,
    /// Keys of its objects but for the plan.
    pub keys: Vec<String>,
    /// Whether there is more than one process removes: then the plan stays too.
    pub more: bool,
    /// Key of the plan.
    pub plan: String,
}

//! What the protocol may ask for, what it may be told, how it ends.

use std::collections::BTreeSet;

use crds::RunId;

use super::effects::{Effect, Reply};
use super::orphans::Orphan;
use super::phases::{Held, Tidy};
use super::seen::Seen;
use crate::error::Failure;
use crate::manifests::{Listing, Manifest};
use crate::plan::{Plan, PlanOrder};
use crate::records::TaskRecord;

/// What the process must do next, and answer with an [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Read the stores: [`Event::Seen`].
    Read,
    /// Write; the order does not matter: [`Event::Replied`], a reply each.
    Write(Vec<Effect>),
    /// Ask the database, take the snapshot: [`Event::Planned`], or meanwhile [`Event::RenewDue`].
    /// Asked for again after a renewal, it goes on where it was.
    Plan(PlanOrder),
    /// Be Ready, have all ranges read: [`Event::Recorded`], or meanwhile [`Event::RenewDue`].
    Extract(Box<Held>),
    /// Ask the snapshot's session, which may end then, and for every upload's parts: [`Event::Assured`].
    Assure(Vec<TaskRecord>),
    /// Read a chain, oldest run first: [`Event::Chain`].
    ReadChain {
        /// Where.
        uri: String,
        /// Its end; absent: what `current.json` there names, if it is there.
        run: Option<RunId>,
        /// A run whose replaced files have not been removed yet.
        pending: Option<RunId>,
    },
    /// Read all files since the last run that replaced: [`Event::All`].
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
    /// Read what these runs left: [`Event::Orphans`].
    ReadOrphans {
        /// Where.
        uri: String,
        /// The runs.
        runs: Vec<RunId>,
    },
    /// List the data files that a run may have completed: [`Event::Files`].
    ListFiles {
        /// Where.
        uri: String,
        /// Whose.
        run: RunId,
    },
    /// Read one manifest: [`Event::Fetched`].
    ReadManifest {
        /// Where.
        uri: String,
        /// Whose.
        run: RunId,
    },
    /// Read the pointer and, with `removal`, what the run replaces: [`Event::Tidied`].
    ReadTidy {
        /// Where.
        uri: String,
        /// The run whose replaced files are to go.
        run: RunId,
        /// Whether replaced manifests are wanted.
        removal: bool,
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
    Seen(Box<Seen>, RunId),
    /// Effects were carried out, a reply each.
    Replied(Vec<Reply>),
    /// The plan stands, the snapshot is held.
    Planned(Box<Plan>, i64),
    /// All records are there.
    Recorded(Vec<TaskRecord>),
    /// The deadline must be prolonged: now, and how many records there are.
    RenewDue(i64, u32),
    /// Uploads and snapshot are still there; now.
    Assured(i64),
    /// Runs of the chain, and those whose removal is still to come, oldest first.
    Chain(Vec<RunId>),
    /// All files since the last run that replaced.
    All(Box<Listing>),
    /// Old runs.
    Runs(Vec<RunId>),
    /// Runs that must be kept; absent: the prefix is not marked as this source's.
    Kept(Option<BTreeSet<RunId>>),
    /// What dead runs left.
    Orphans(Vec<Orphan>),
    /// Keys of data files.
    Files(Vec<String>),
    /// The manifest.
    Fetched(Box<Manifest>),
    /// Pointer and replaced manifests.
    Tidied(Box<Tidy>),
    /// Open uploads: key and id.
    Uploads(Vec<(String, String)>),
    /// What was asked for cannot be done.
    Failed(Failure),
}

impl Event {
    /// The time that came along, seconds since 1970, UTC.
    pub fn now(&self) -> Option<i64> {
        match self {
            Self::Seen(seen, _) => Some(seen.now),
            Self::Planned(_, now) | Self::RenewDue(now, _) | Self::Assured(now) => Some(*now),
            Self::Begin
            | Self::Replied(_)
            | Self::Recorded(_)
            | Self::Chain(_)
            | Self::All(_)
            | Self::Runs(_)
            | Self::Kept(_)
            | Self::Orphans(_)
            | Self::Files(_)
            | Self::Fetched(_)
            | Self::Tidied(_)
            | Self::Uploads(_)
            | Self::Failed(_) => None,
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The run is published, pointer and removal included.
    Published(Box<Manifest>),
    /// Published by another carrier of the same run.
    CarriedByAnother,
    /// The request had been answered before.
    Answered,
    /// Nothing of the given attempt is open any more.
    Settled,
    /// It failed.
    Failed(Failure),
}

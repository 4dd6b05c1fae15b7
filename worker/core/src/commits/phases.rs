//! What the protocol is a function of: the process and its phase, what it may be told, what it may
//! be asked to do.

use crds::task::SettleOrder;
use crds::tracking::RunItem;
use crds::{RunId, Task};

use super::claim::Claimed;
use super::effects::{Effect, Reply};
use super::seen::Seen;
use crate::error::Failure;
use crate::manifests::{Manifest, Pointer};
use crate::plan::{Plan, PlanOrder};
use crate::records::TaskRecord;

/// How often a step that lost a race is tried again before the process gives way.
pub const TRIES_MAX: u32 = 8;

/// What this process is here for.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// Claim, plan, extract, publish.
    Hold {
        /// For whom.
        task: Box<Task>,
        /// Whether no attempt follows, so that a failure is the outcome.
        last: bool,
    },
    /// End what a stopped coordinator left.
    Settle {
        /// The task of that coordinator.
        task: Box<Task>,
        /// How and why.
        order: Box<SettleOrder>,
    },
}

impl Role {
    /// The task.
    pub fn task(&self) -> &Task {
        match self {
            Self::Hold { task, .. } | Self::Settle { task, .. } => task,
        }
    }
}

/// A process and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Carrier {
    /// What it is here for.
    pub role: Role,
    /// Seconds that a claim or renewal lasts.
    pub lease_seconds: i64,
    /// Where it stands. Lost with the process; all that must survive is in the stores.
    pub phase: Phase,
    /// The manifest of our own run, once published.
    pub kept: Option<Box<Manifest>>,
}

/// A decided run on its way to `Y`.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// `R` as last read or written.
    pub run: RunItem,
    /// Its manifest.
    pub manifest: Manifest,
    /// What comes after.
    pub then: Then,
}

/// What comes after a run was carried or tidied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It was our own.
    Finish,
    /// Claim, at last.
    Claim,
    /// Settle what is left.
    Settle,
}

/// A run that is held, with what has been found out about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// `R` as last read or written.
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
    Look(Why),
    /// CLAIM is being written.
    Claiming(Box<Claimed>, u32),
    /// `source.json` is being written.
    Identifying(Box<Claimed>),
    /// The database is being asked.
    Planning(Box<Claimed>),
    /// RENEW of a claim is being written, while the database is being asked.
    RenewingClaim(Box<Claimed>, Box<RunItem>),
    /// `plan.json` is being written.
    PuttingPlan(Box<Held>),
    /// PIN is being written.
    Pinning(Box<Held>, Box<RunItem>),
    /// Rows are read; the snapshot is held.
    Running(Box<Held>),
    /// RENEW is being written.
    Renewing(Box<Held>, Box<RunItem>),
    /// Uploads and the snapshot's session are asked once more.
    Assuring(Box<Held>, Vec<TaskRecord>),
    /// The chain that is to be replaced is read.
    Chaining(Box<Held>, Vec<TaskRecord>),
    /// The manifest is being written.
    PuttingManifest(Box<Held>, Box<Manifest>),
    /// DECIDE is being written.
    Deciding(Box<Held>, Box<Manifest>, Box<RunItem>, u32),
    /// The manifest of another's decided run is read.
    Fetching(Box<RunItem>, Then),
    /// Uploads are being completed.
    Completing(Box<Carried>),
    /// Y is being written.
    Publishing(Box<Carried>, Box<RunItem>, u32),
    /// Pointer and replaced manifests are read.
    Tidying(Box<RunItem>, Then, u32),
    /// The pointer is being moved.
    Pointing(Box<RunItem>, Box<Tidy>, Then, u32),
    /// Replaced files are being deleted.
    Removing(Box<RunItem>, Then),
    /// `todo` is being cleared.
    Clearing(Then),
    /// FAIL is being written.
    Failing(Box<Failure>, Box<RunItem>, u32),
    /// Open uploads are listed.
    Listing(Box<Sweep>),
    /// Open uploads are aborted.
    Aborting(Box<Sweep>),
    /// The attempt is being fenced.
    Raising(u32),
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
    Identified(Box<Claimed>),
    /// Whether a refused RENEW of the claim was our own.
    RenewedClaim(Box<Claimed>),
    /// Whether a refused PIN was our own.
    Pinned(Box<Held>),
    /// Whether a refused RENEW was our own.
    Renewed(Box<Held>),
    /// Whether a refused DECIDE was our own.
    Decided(Box<Held>, Box<Manifest>, u32),
    /// An upload was gone: whether somebody else carried the run.
    Gone(Box<Carried>),
    /// What Y must find.
    Yes(Box<Carried>, u32),
    /// To give the run up.
    Fail(Box<Failure>, Box<RunItem>, u32),
    /// To settle; whether uploads were swept already.
    Settle {
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
    /// What comes after.
    pub then: AfterSweep,
}

/// What comes after a run's open uploads are gone.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterSweep {
    /// The holder ends with its failure.
    Fail(Failure),
    /// Settle goes on.
    Settle {
        /// Whether it may not go on without: the run was given up.
        must: bool,
    },
    /// The holder's run is published: what was left belonged to pods that lost their range.
    Publish,
}

/// What [`Act::ReadTidy`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Tidy {
    /// `current.json` under the run's uri, with its `ETag`.
    pub pointer: Option<(Pointer, String)>,
    /// Manifests of the runs that the head replaces, as far as they are there.
    pub replaced: Vec<Manifest>,
}

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
    /// Ask for every upload's parts, then the snapshot's session: [`Event::Assured`].
    Assure(Vec<TaskRecord>),
    /// Read a chain, oldest run first: [`Event::Chain`].
    ReadChain {
        /// Where.
        uri: String,
        /// Its end; absent: what `current.json` there names, if it is there.
        run: Option<RunId>,
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
        /// The head.
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
    /// Runs of the chain and all that they replace, oldest first.
    Chain(Vec<RunId>),
    /// The manifest.
    Fetched(Box<Manifest>),
    /// Pointer and replaced manifests.
    Tidied(Box<Tidy>),
    /// Open uploads: key and id.
    Uploads(Vec<(String, String)>),
    /// What was asked for cannot be done.
    Failed(Failure),
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

//! In: task records. Out: commits. Bound: one act at a time; every re-read is counted. Fails:
//! [`Failure`] of the step that failed.
//!
//! The protocol of a run, from CLAIM to the pointer, and of settle: `step(state, event) -> (state,
//! act)`. Coordinator, settle and `run` all drive this one function; an [`Effect`] is one external
//! write, and every prefix of them is safe to die after.

pub mod effects;
pub mod seen;
pub mod claim;
pub mod transitions;
mod carry;
mod hold;
mod settle;

pub use effects::{Effect, Expect, Item, ItemWrite, Reply, Step, Transaction};
pub use seen::Seen;

use crds::task::SettleOrder;
use crds::tracking::RunItem;
use crds::{RunId, Task};

use crate::error::Failure;
use crate::manifests::{Manifest, Pointer};
use crate::plan::{Plan, PlanOrder};
use crate::records::TaskRecord;
use claim::Claimed;

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
    Planning(Box<RunItem>),
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
    /// The failure to end with (hold); none: settle goes on.
    pub failure: Option<Failure>,
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
    /// Ask the database, take the snapshot: [`Event::Planned`].
    Plan(PlanOrder),
    /// Be Ready, have all ranges read: [`Event::Recorded`], or meanwhile [`Event::RenewDue`].
    Extract(Box<Held>),
    /// Ask for every upload's parts, then the snapshot's session: [`Event::Assured`].
    Assure(Vec<TaskRecord>),
    /// Read the chain that ends at this run, oldest first: [`Event::Chain`].
    ReadChain {
        /// Where.
        uri: String,
        /// Its end.
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

impl Carrier {
    /// A process that has done nothing yet.
    pub fn new(role: Role, lease_seconds: i64) -> Self {
        Self { role, lease_seconds, phase: Phase::Start, kept: None }
    }

    fn task(&self) -> &Task {
        self.role.task()
    }

    fn go(self, phase: Phase, act: Act) -> (Self, Act) {
        (Self { phase, ..self }, act)
    }

    fn keep(self, manifest: Manifest) -> Self {
        Self { kept: Some(Box::new(manifest)), ..self }
    }

    fn end(self, ending: Ending) -> (Self, Act) {
        self.go(Phase::Ended, Act::End(ending))
    }

    fn look(self, why: Why) -> (Self, Act) {
        self.go(Phase::Look(why), Act::Read)
    }

    fn track(self, phase: Phase, transaction: Transaction) -> (Self, Act) {
        self.go(phase, Act::Write(vec![Effect::Track(transaction)]))
    }
}

/// The protocol: from where a process stands and what happened, to where it stands then and what it
/// must do. Pure and total: an event that does not fit the phase ends the process as a defect.
pub fn step(carrier: Carrier, event: Event) -> (Carrier, Act) {
    match event {
        Event::Failed(failure) => failed(carrier, failure),
        Event::Seen(seen, fresh) => looked(carrier, &seen, fresh),
        Event::Replied(replies) => replied(carrier, &replies),
        Event::Begin
        | Event::Planned(..)
        | Event::Recorded(_)
        | Event::RenewDue(..)
        | Event::Assured(_)
        | Event::Chain(_)
        | Event::Fetched(_)
        | Event::Tidied(_)
        | Event::Uploads(_) => answered(carrier, event),
    }
}

fn answered(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    match (phase, event) {
        (Phase::Start, Event::Begin) => match carrier.role {
            Role::Hold { .. } => carrier.look(Why::Claim(0)),
            Role::Settle { .. } => carrier.look(Why::Settle { swept: false, tries: 0 }),
        },
        (Phase::Planning(run), Event::Planned(plan, _)) => hold::planned(carrier, *run, *plan),
        (Phase::Running(held), Event::RenewDue(now, records)) => {
            hold::renew(carrier, *held, now, records)
        }
        (Phase::Running(held), Event::Recorded(records)) => hold::recorded(carrier, *held, records),
        (Phase::Assuring(held, records), Event::Assured(_)) => {
            hold::assured(carrier, *held, records)
        }
        (Phase::Chaining(held, records), Event::Chain(runs)) => {
            hold::manifest(carrier, *held, &records, runs)
        }
        (Phase::Fetching(run, then), Event::Fetched(manifest)) => {
            carry::complete(carrier, Carried { run: *run, manifest: *manifest, then })
        }
        (Phase::Tidying(run, then, tries), Event::Tidied(tidy)) => {
            carry::tidied(carrier, *run, *tidy, then, tries)
        }
        (Phase::Listing(sweep), Event::Uploads(uploads)) => {
            settle::uploads(carrier, *sweep, &uploads)
        }
        (phase, event) => defect(carrier, &phase, &format!("{event:?}")),
    }
}

fn looked(carrier: Carrier, seen: &Seen, fresh: RunId) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    let Phase::Look(why) = phase else { return defect(carrier, &phase, "Seen") };
    match why {
        Why::Claim(tries) => hold::claim(carrier, seen, fresh, tries),
        Why::Claimed(claimed, tries) => hold::claimed(carrier, *claimed, seen, fresh, tries),
        Why::Identified(claimed) => hold::identified(carrier, *claimed, seen),
        Why::Pinned(held) => hold::pinned(carrier, *held, seen),
        Why::Renewed(held) => hold::renewed(carrier, *held, seen),
        Why::Decided(held, manifest, tries) => {
            hold::decided(carrier, *held, *manifest, seen, tries)
        }
        Why::Gone(carried) => carry::gone(carrier, &carried, seen),
        Why::Yes(carried, tries) => carry::yes(carrier, *carried, seen, tries),
        Why::Fail(failure, run, tries) => hold::fail(carrier, *failure, &run, seen, tries),
        Why::Settle { swept, tries } => settle::settle(carrier, seen, swept, tries),
    }
}

fn replied(carrier: Carrier, replies: &[Reply]) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    let done = replies.iter().all(|reply| *reply == Reply::Done);
    match phase {
        Phase::Claiming(claimed, _) if done => hold::identify(carrier, *claimed, false),
        Phase::Claiming(claimed, tries) => carrier.look(Why::Claimed(claimed, tries + 1)),
        Phase::Identifying(claimed) if done => hold::plan(carrier, *claimed),
        Phase::Identifying(claimed) => carrier.look(Why::Identified(claimed)),
        Phase::PuttingPlan(held) => hold::pin(carrier, *held),
        Phase::Pinning(held, run) if done => hold::running(carrier, Held { run: *run, ..*held }),
        Phase::Pinning(held, _) => carrier.look(Why::Pinned(held)),
        Phase::Renewing(held, run) if done => hold::running(carrier, Held { run: *run, ..*held }),
        Phase::Renewing(held, _) => carrier.look(Why::Renewed(held)),
        Phase::PuttingManifest(held, manifest) => hold::decide(carrier, *held, *manifest, 0),
        Phase::Deciding(_, manifest, run, _) if done => {
            let carried = Carried { run: *run, manifest: *manifest, then: Then::Finish };
            carry::complete(carrier, carried)
        }
        Phase::Deciding(held, manifest, _, tries) => {
            carrier.look(Why::Decided(held, manifest, tries + 1))
        }
        Phase::Completing(carried) if done => carrier.look(Why::Yes(carried, 0)),
        Phase::Completing(carried) => carrier.look(Why::Gone(carried)),
        Phase::Publishing(carried, run, _) if done => {
            carry::tidy(carrier, *run, carried.then, Some(carried.manifest), 0)
        }
        Phase::Publishing(carried, _, tries) => carrier.look(Why::Yes(carried, tries + 1)),
        Phase::Pointing(run, tidy, then, _) if done => carry::remove(carrier, *run, &tidy, then),
        Phase::Pointing(run, _, then, tries) => carry::tidy(carrier, *run, then, None, tries + 1),
        Phase::Removing(run, then) => carry::clear(carrier, &run, then),
        Phase::Clearing(then) => carry::finish(carrier, then),
        Phase::Failing(failure, run, _) if done => hold::abandon(carrier, *failure, &run),
        Phase::Failing(failure, run, tries) => carrier.look(Why::Fail(failure, run, tries + 1)),
        Phase::Aborting(sweep) => settle::aborted(carrier, *sweep),
        Phase::Raising(tries) if done || tries > TRIES_MAX => carrier.end(Ending::Settled),
        Phase::Raising(tries) => carrier.look(Why::Settle { swept: true, tries: tries + 1 }),
        phase => defect(carrier, &phase, "Replied"),
    }
}

/// What was asked for cannot be done: before CLAIM nothing is left behind; until DECIDE the run is
/// given up; after it the run waits for the next carrier.
fn failed(carrier: Carrier, failure: Failure) -> (Carrier, Act) {
    let run = match &carrier.phase {
        Phase::Identifying(claimed) | Phase::Look(Why::Identified(claimed)) => &claimed.item,
        Phase::Planning(run) => &**run,
        Phase::PuttingPlan(held)
        | Phase::Pinning(held, _)
        | Phase::Running(held)
        | Phase::Renewing(held, _)
        | Phase::Assuring(held, _)
        | Phase::Chaining(held, _)
        | Phase::PuttingManifest(held, _)
        | Phase::Look(Why::Pinned(held) | Why::Renewed(held)) => &held.run,
        Phase::Failing(earlier, ..) | Phase::Look(Why::Fail(earlier, ..)) => {
            let earlier = (**earlier).clone();
            return carrier.end(Ending::Failed(earlier));
        }
        Phase::Listing(sweep) | Phase::Aborting(sweep) => {
            let ending = sweep.failure.clone().unwrap_or(failure);
            return carrier.end(Ending::Failed(ending));
        }
        Phase::Start
        | Phase::Look(_)
        | Phase::Claiming(..)
        | Phase::Deciding(..)
        | Phase::Fetching(..)
        | Phase::Completing(_)
        | Phase::Publishing(..)
        | Phase::Tidying(..)
        | Phase::Pointing(..)
        | Phase::Removing(..)
        | Phase::Clearing(_)
        | Phase::Raising(_)
        | Phase::Ended => return carrier.end(Ending::Failed(failure)),
    };
    let run = Box::new(run.clone());
    carrier.look(Why::Fail(Box::new(failure), run, 0))
}

fn defect(carrier: Carrier, phase: &Phase, event: &str) -> (Carrier, Act) {
    let name = |text: String| text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
    let message = format!(
        "event {} does not fit phase {}",
        name(event.to_owned()),
        name(format!("{phase:?}"))
    );
    carrier.end(Ending::Failed(Failure::transient(crds::Reason::Internal, message, "report this")))
}

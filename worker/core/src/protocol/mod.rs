//! The protocol of a run, and of recovery: `step(state, event) -> (state, act)`.
//!
//! Coordinator, recovery and `tidemark run` all drive this one function. An [`Act`] is what the process does
//! next, an [`Effect`] one write of it, and an [`Event`] what came of it. Every prefix of the writes is safe
//! to die after. A run of which nothing goes wrong takes this path:
//!
//! | state ([`Phase`]) | event | effect | next state | stage |
//! |---|---|---|---|---|
//! | `Start` | `Begin` | read items and prefix | `Look(Claim)` | |
//! | `Look(Claim)` | `Seen` | CLAIM: `R` claimed | `Claiming` | `claim` |
//! | `Claiming` | `Replied` | ask the database | `Planning` | `plan` |
//! | `Planning` | `Planned` | put `source.json` | `Identifying` | |
//! | `Identifying` | `Replied` | put `plan.json` | `PuttingPlan` | |
//! | `PuttingPlan` | `Replied` | PIN: `R` running | `Pinning` | |
//! | `Pinning` | `Replied` | read the partitions | `Running` | `extract` |
//! | `Running` | `RenewDue` | RENEW: a later deadline | `Renewing`, then `Running` | |
//! | `Running` | `Recorded` | ask snapshot session and uploads | `Assuring` | |
//! | `Assuring` | `Assured` | read the chain that is replaced or listed | `Chaining` | |
//! | `Chaining` (`Assuring`, if nothing is to be read) | `Chain`, `All` | put `manifest.json` | `PuttingManifest` | `publish` |
//! | `PuttingManifest` | `Replied` | DECIDE: `R` committing | `Deciding` | |
//! | `Deciding` | `Replied` | complete all uploads | `Completing` | |
//! | `Completing` | `Replied` | read the items | `Look(Publish)` | |
//! | `Look(Publish)` | `Seen` | PUBLISH: `R` published, `O` complete, `L` moved | `Publishing` | |
//! | `Publishing` | `Replied` | read pointer and replaced files | `ReadingCleanup` | `cleanup` |
//! | `ReadingCleanup` | `CleanupRead` | put `current.json` | `Pointing` | |
//! | `Pointing` | `Replied` | delete replaced files | `Removing` | |
//! | `Removing` | `Replied` | CLEANUP: nothing left to do | `RecordingCleanup` | |
//! | `RecordingCleanup` | `Replied` | list open uploads | `Listing` | `sweep` |
//! | `Listing` | `Uploads` | abort them | `Aborting` | |
//! | `Aborting` | `Replied` | list old runs | `ListingRuns` | `orphans` |
//! | `ListingRuns` and what follows | | remove what dead runs left | `Ended` | |
//!
//! A refused write is followed by a read that tells whether it was our own (`Look`). A failure before DECIDE
//! gives the run up (`fail`); after it, whoever comes next finishes the run (`publish`), unless a person
//! undoes it (`revert`). `recover` is for runs whose coordinator is gone. A state without an effect of its own
//! (nothing to replace, no file) is passed over.
//!
//! Bound: one act at a time, and every read that follows a refusal is counted. Fails: [`Failure`] of the
//! stage that failed.

pub mod effects;
pub mod seen;
pub mod claim_rules;
mod claim;
pub mod transitions;
pub mod phases;
pub mod acts;
mod enter;
mod plan;
mod extract;
mod publish;
mod fail;
mod cleanup;
mod sweep;
pub mod orphans;
mod provisional;
pub mod removals;
mod revert;
mod recover;
pub mod watermark;

pub use acts::{Act, Ending, Event, Orphan};
pub use effects::{Effect, Expect, Item, ItemWrite, NewManifest, Reply, Step, Transaction};
pub use enter::GRACE_SECONDS;
pub use phases::{
    After, AfterSweep, Carried, Carrier, Cleanup, Held, Phase, Role, Sweep, TRIES_MAX, Then, Why,
};
pub use seen::Seen;

use crds::RunId;

use self::phases::Claimed;
use crate::errors::failure::{Failure, REPORT};
use crate::layout::manifests::Before;

impl Carrier {
    /// Whether the process holds, or may hold, a run that is lost to it if it ends now: then an
    /// outage of a store is to be waited out. What may be put off is not waited for.
    pub fn holds(&self) -> bool {
        let holder = matches!(self.role, Role::Hold { .. });
        if let Phase::ReadingCleanup(run, then, _) | Phase::Removing(run, then, _) = &self.phase
            && cleanup::may_wait(self, run, *then)
        {
            return false;
        }
        let before = matches!(
            self.phase,
            Phase::Start
                | Phase::Look(Why::Claim(_) | Why::Recover { .. } | Why::Orphans(..))
                | Phase::Fetching(_, Then::Claim | Then::Recover)
                | Phase::ReadingCleanup(_, Then::Claim | Then::Recover, _)
                | Phase::ListingFiles(..)
                | Phase::Undoing(..)
                | Phase::Reverting(_)
                | Phase::ListingRuns(_)
                | Phase::Keeping(..)
                | Phase::Finding(..)
                | Phase::Sweeping(..)
                | Phase::Forgetting(..)
                | Phase::Ended
        );
        holder && !before
    }

    /// Whether partitions may still be read under the snapshot: from planning until the last record is
    /// verified. As soon as that is over, in success or failure, the session that exported it can end.
    pub const fn needs_snapshot(&self) -> bool {
        // each phase is named, so that a new one is decided about
        match &self.phase {
            Phase::Planning(_)
            | Phase::RenewingClaim(..)
            | Phase::Identifying(_)
            | Phase::PuttingPlan(_)
            | Phase::Pinning(..)
            | Phase::Running(_)
            | Phase::Renewing(..)
            | Phase::Assuring(..) => true,
            Phase::Look(why) => matches!(
                why,
                Why::Identified(_) | Why::RenewedClaim(_) | Why::Pinned(_) | Why::Renewed(_)
            ),
            Phase::Start
            | Phase::Claiming(..)
            | Phase::Chaining(..)
            | Phase::PuttingManifest(..)
            | Phase::Deciding(..)
            | Phase::Fetching(..)
            | Phase::Completing(_)
            | Phase::Publishing(..)
            | Phase::ReadingCleanup(..)
            | Phase::Pointing(..)
            | Phase::Removing(..)
            | Phase::RecordingCleanup(..)
            | Phase::Failing(..)
            | Phase::Listing(_)
            | Phase::Aborting(_)
            | Phase::Raising(_)
            | Phase::Forcing(_)
            | Phase::ListingFiles(..)
            | Phase::Undoing(..)
            | Phase::Reverting(_)
            | Phase::ListingRuns(_)
            | Phase::Keeping(..)
            | Phase::Finding(..)
            | Phase::Sweeping(..)
            | Phase::Forgetting(..)
            | Phase::Ended => false,
        }
    }
}

/// The protocol: from where a process stands and what happened, to where it stands then and what it
/// must do. Pure and total: an event that does not fit the phase ends the process as a defect.
pub fn step(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let carrier = Carrier { now: event.now().unwrap_or(carrier.now), ..carrier };
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
        | Event::Files(..)
        | Event::All(_)
        | Event::Runs(_)
        | Event::Kept(_)
        | Event::Orphans(_)
        | Event::Fetched(_)
        | Event::CleanupRead(_)
        | Event::Uploads(..) => answered(carrier, event),
    }
}

fn answered(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    match (phase, event) {
        (Phase::Start, Event::Begin) => match carrier.role {
            Role::Hold { .. } => carrier.look(Why::Claim(0)),
            Role::Recover { .. } => carrier.look(Why::Recover { swept: false, tries: 0 }),
            Role::Force { .. } => carrier.look(Why::Force(0)),
        },
        (Phase::Planning(claimed), Event::Planned(plan, now)) => {
            plan::planned(carrier, *claimed, *plan, now)
        }
        (Phase::Planning(claimed), Event::RenewDue(now, _)) => {
            plan::renew_claim(carrier, *claimed, now)
        }
        (Phase::Running(held), Event::RenewDue(now, records)) => {
            extract::renew(carrier, *held, now, records)
        }
        (Phase::Running(held), Event::Recorded(tally)) => extract::recorded(carrier, held, tally),
        (Phase::Assuring(held, tally), Event::Assured(_)) => extract::assured(carrier, held, tally),
        (Phase::Chaining(held, tally), Event::Chain(runs)) => {
            carrier.put_manifest(held, &tally, Before { replaces: runs, earlier: None })
        }
        (Phase::Chaining(held, tally), Event::All(earlier)) => {
            let before = Before { replaces: Vec::new(), earlier: Some(*earlier) };
            carrier.put_manifest(held, &tally, before)
        }
        (Phase::ListingRuns(after), Event::Runs(runs)) => orphans::listed(carrier, runs, after),
        (Phase::Keeping(runs, after), Event::Kept(kept)) => {
            orphans::kept(carrier, runs, kept.as_ref(), after)
        }
        (Phase::Finding(runs, after), Event::Orphans(found)) => {
            orphans::found(carrier, runs, found, after)
        }
        (Phase::Fetching(run, then), Event::Fetched(manifest)) => {
            carrier.complete(Carried { run: *run, manifest: *manifest, then })
        }
        (Phase::ReadingCleanup(run, then, tries), Event::CleanupRead(cleanup)) => {
            cleanup::cleanup_read(carrier, *run, *cleanup, then, tries)
        }
        (Phase::ListingFiles(run, then, again), Event::Files(keys, more)) => {
            revert::delete(carrier, *run, keys, (then, again, more))
        }
        (Phase::Listing(sweep), Event::Uploads(uploads, more)) => {
            sweep::uploads(carrier, Sweep { more, ..*sweep }, &uploads)
        }
        (phase, event) => defect(carrier, &phase, &format!("{event:?}")),
    }
}

fn looked(carrier: Carrier, seen: &Seen, fresh: RunId) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    let Phase::Look(why) = phase else { return defect(carrier, &phase, "Seen") };
    if let Some(failure) = seen::newer(seen) {
        return carrier.end(Ending::Failed(failure));
    }
    match why {
        Why::Claim(tries) => claim::claim(carrier, seen, fresh, tries),
        Why::Claimed(claimed, tries) => claim::claimed(carrier, *claimed, seen, fresh, tries),
        Why::Identified(held) => plan::identified(carrier, *held, seen),
        Why::RenewedClaim(claimed) => plan::renewed_claim(carrier, *claimed, seen),
        Why::Pinned(held) => extract::pinned(carrier, *held, seen),
        Why::Renewed(held) => extract::renewed(carrier, *held, seen),
        Why::Decided(held, manifest, tries) => {
            publish::decided(carrier, *held, *manifest, seen, tries)
        }
        Why::Gone(carried) => publish::gone(carrier, &carried, seen),
        Why::Publish(carried, tries) => publish::publish(carrier, *carried, seen, tries),
        Why::Fail(failure, run, tries) => fail::fail(carrier, *failure, &run, seen, tries),
        Why::Orphans(runs, after) => orphans::seen(carrier, seen, runs, after),
        Why::Force(tries) => revert::force(carrier, seen, tries),
        Why::Recover { swept, tries } => recover::recover(carrier, seen, swept, tries),
    }
}

fn replied(carrier: Carrier, replies: &[Reply]) -> (Carrier, Act) {
    let phase = carrier.phase.clone();
    let done = replies.iter().all(|reply| *reply == Reply::Done);
    match phase {
        Phase::Claiming(claimed, _) if done => carrier.plan(*claimed),
        Phase::Claiming(claimed, tries) => carrier.look(Why::Claimed(claimed, tries + 1)),
        Phase::Identifying(held) if done => plan::put_plan(carrier, *held),
        Phase::Identifying(held) => carrier.look(Why::Identified(held)),
        Phase::RenewingClaim(claimed, run) if done => {
            carrier.plan(Claimed { item: *run, ..*claimed })
        }
        Phase::RenewingClaim(claimed, _) => carrier.look(Why::RenewedClaim(claimed)),
        Phase::PuttingPlan(held) => plan::pin(carrier, *held),
        Phase::Pinning(held, run) if done => carrier.run(Held { run: *run, ..*held }),
        Phase::Pinning(held, _) => carrier.look(Why::Pinned(held)),
        Phase::Renewing(held, run) if done => carrier.run(Held { run: *run, ..*held }),
        Phase::Renewing(held, _) => carrier.look(Why::Renewed(held)),
        Phase::PuttingManifest(held, manifest) => publish::decide(carrier, *held, *manifest, 0),
        Phase::Deciding(_, manifest, run, _) if done => {
            let carried = Carried { run: *run, manifest: *manifest, then: Then::Finish };
            carrier.complete(carried)
        }
        Phase::Deciding(held, manifest, _, tries) => {
            carrier.look(Why::Decided(held, manifest, tries + 1))
        }
        Phase::Completing(carried) if done => carrier.look(Why::Publish(carried, 0)),
        Phase::Completing(carried) => carrier.look(Why::Gone(carried)),
        Phase::Publishing(carried, run, _) if done => {
            carrier.cleanup(*run, carried.then, Some(carried.manifest), 0)
        }
        Phase::Publishing(carried, _, tries) => carrier.look(Why::Publish(carried, tries + 1)),
        Phase::Pointing(run, cleanup, then, _) if done => {
            cleanup::remove(carrier, *run, &cleanup, then)
        }
        Phase::Pointing(run, _, then, tries) => carrier.cleanup(*run, then, None, tries + 1),
        Phase::Removing(run, then, after) => cleanup::removed(carrier, *run, then, after, replies),
        // another removal may be due; a refused CLEANUP means that somebody else is at it
        Phase::RecordingCleanup(run, then) if done => carrier.cleanup(*run, then, None, 0),
        Phase::RecordingCleanup(_, then) => carrier.finish(then),
        Phase::Failing(failure, run, _) if done => fail::abandon(carrier, *failure, &run),
        Phase::Failing(failure, run, tries) => carrier.look(Why::Fail(failure, run, tries + 1)),
        Phase::Aborting(sweep) => sweep::aborted(carrier, *sweep),
        // a run whose files are locked keeps its plan, so that a later process comes back to it
        Phase::Sweeping(_, rest, after) if Reply::locked(replies).is_some() => {
            orphans::next(carrier, rest, after)
        }
        Phase::Sweeping(plans, rest, after) => orphans::forget(carrier, plans, rest, after),
        Phase::Forgetting(rest, after) => orphans::next(carrier, rest, after),
        Phase::Forcing(tries) => carrier.look(Why::Force(tries + 1)),
        Phase::Undoing(..) if Reply::locked(replies).is_some() => {
            carrier.end(Ending::Failed(revert::locked()))
        }
        Phase::Undoing(run, then, again, None) => revert::deleted(carrier, &run, then, again),
        Phase::Undoing(run, then, again, after) => carrier.list_files(*run, (then, again), after),
        Phase::Reverting(then) => revert::ended(carrier, then),
        Phase::Raising(tries) if done || tries > TRIES_MAX => carrier.list_orphans(After::Recover),
        Phase::Raising(tries) => carrier.look(Why::Recover { swept: false, tries: tries + 1 }),
        phase => defect(carrier, &phase, "Replied"),
    }
}

/// What was asked for cannot be done: before CLAIM nothing is left behind; until DECIDE the run is
/// given up; after it the run waits for the next carrier.
fn failed(carrier: Carrier, failure: Failure) -> (Carrier, Act) {
    let run = match &carrier.phase {
        Phase::Planning(claimed)
        | Phase::RenewingClaim(claimed, _)
        | Phase::Look(Why::RenewedClaim(claimed)) => &claimed.item,
        Phase::Identifying(held)
        | Phase::PuttingPlan(held)
        | Phase::Pinning(held, _)
        | Phase::Running(held)
        | Phase::Renewing(held, _)
        | Phase::Assuring(held, _)
        | Phase::Chaining(held, _)
        | Phase::PuttingManifest(held, _)
        | Phase::Look(Why::Identified(held) | Why::Pinned(held) | Why::Renewed(held)) => &held.run,
        Phase::ReadingCleanup(run, then, _) | Phase::Removing(run, then, _)
            if cleanup::may_wait(&carrier, run, *then) =>
        {
            let (run, then) = (run.clone(), *then);
            return cleanup::put_off(carrier, &run, then, &failure);
        }
        Phase::Failing(earlier, ..) | Phase::Look(Why::Fail(earlier, ..)) => {
            let earlier = (**earlier).clone();
            return carrier.end(Ending::Failed(earlier));
        }
        Phase::Listing(sweep) | Phase::Aborting(sweep) => {
            return match sweep.then.clone() {
                AfterSweep::Fail(earlier) => carrier.end(Ending::Failed(earlier)),
                // a published run needs no sweep to be recovered
                AfterSweep::Recover { must: false } => {
                    carrier.look(Why::Recover { swept: true, tries: 1 })
                }
                AfterSweep::Recover { must: true } | AfterSweep::Revert(..) => {
                    carrier.end(Ending::Failed(failure))
                }
                // the run stands; whoever runs next may sweep
                AfterSweep::Publish => carrier.published(),
            };
        }
        Phase::ListingRuns(after)
        | Phase::Keeping(_, after)
        | Phase::Finding(_, after)
        | Phase::Sweeping(_, _, after)
        | Phase::Forgetting(_, after)
        | Phase::Look(Why::Orphans(_, after)) => return orphans::end(carrier.clone(), *after),
        Phase::Start
        | Phase::Look(_)
        | Phase::Claiming(..)
        | Phase::Deciding(..)
        | Phase::Fetching(..)
        | Phase::Completing(_)
        | Phase::Publishing(..)
        | Phase::ReadingCleanup(..)
        | Phase::Pointing(..)
        | Phase::Removing(..)
        | Phase::RecordingCleanup(..)
        | Phase::Raising(_)
        | Phase::Forcing(_)
        | Phase::ListingFiles(..)
        | Phase::Undoing(..)
        | Phase::Reverting(_)
        | Phase::Ended => return carrier.end(Ending::Failed(failure)),
    };
    let run = Box::new(run.clone());
    carrier.look(Why::Fail(Box::new(failure), run, 0))
}

fn defect(carrier: Carrier, phase: &Phase, event: &str) -> (Carrier, Act) {
    let name = |text: String| text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
    let message = format!(
        "event {} is not valid in phase {}",
        name(event.to_owned()),
        name(format!("{phase:?}"))
    );
    carrier.end(Ending::Failed(Failure::transient(crds::Reason::Internal, message, REPORT)))
}

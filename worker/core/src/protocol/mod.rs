//! The protocol of a run, and of recovery: `step(state, event) -> (state, act)`.
//!
//! Coordinator, recovery and `tidemark run` all drive this one function. An [`Act`] is what the process does
//! next, an [`Effect`] one write of it, and an [`Event`] what came of it. A process may be
//! killed after any of its writes. A run without failures takes this path:
//!
//! | state ([`Phase`]) | event | effect | next state | stage |
//! |---|---|---|---|---|
//! | `Start` | `Begin` | read items and prefix | `Reading(Claim)` | |
//! | `Reading(Claim)` | `Observed` | CLAIM: run item claimed | `Claiming` | `claim` |
//! | `Claiming` | `Replied` | ask the database | `Planning` | `plan` |
//! | `Planning` | `Planned` | put `source.json` | `Identifying` | |
//! | `Identifying` | `Replied` | put `plan.json` | `PuttingPlan` | |
//! | `PuttingPlan` | `Replied` | PIN: run item running | `Pinning` | |
//! | `Pinning` | `Replied` | read the partitions | `Running` | `extract` |
//! | `Running` | `RenewDue` | RENEW: a later deadline | `Renewing`, then `Running` | |
//! | `Running` | `Recorded` | ask snapshot session and uploads | `Assuring` | |
//! | `Assuring` | `Assured` | read the chain that is replaced or listed | `Chaining` | |
//! | `Chaining` (`Assuring`, if nothing is to be read) | `Chain`, `All` | put `manifest.json` | `PuttingManifest` | `publish` |
//! | `PuttingManifest` | `Replied` | DECIDE: run item committing | `Deciding` | |
//! | `Deciding` | `Replied` | complete all uploads | `Completing` | |
//! | `Completing` | `Replied` | read the items | `Reading(Publish)` | |
//! | `Reading(Publish)` | `Observed` | PUBLISH: run item published, outcome item complete, watermark item moved | `Publishing` | |
//! | `Publishing` | `Replied` | read pointer and replaced files | `ReadingCleanup` | `cleanup` |
//! | `ReadingCleanup` | `CleanupRead` | put `current.json` | `Pointing` | |
//! | `Pointing` | `Replied` | delete replaced files | `Removing` | |
//! | `Removing` | `Replied` | CLEANUP: nothing left to do | `RecordingCleanup` | |
//! | `RecordingCleanup` | `Replied` | list open uploads | `Listing` | `sweep` |
//! | `Listing` | `Uploads` | abort them | `Aborting` | |
//! | `Aborting` | `Replied` | list old runs | `ListingRuns` | `orphans` |
//! | `ListingRuns` and what follows | | remove what dead runs left | `Ended` | |
//!
//! After a refused write, a read shows whether an earlier try had succeeded (`Reading`). A failure before DECIDE
//! ends the run (`fail`). After DECIDE, the next process finishes the run (`publish`), unless a person
//! undoes it (`revert`). `recover` is for runs whose coordinator is gone. A state without an effect of its own
//! (nothing to replace, no file) is passed over.
//!
//! Bound: one act at a time, and every read that follows a refusal is counted. Fails: [`Failure`] of the
//! stage that failed.

pub mod effects;
pub mod observed;
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
pub use observed::ObservedItems;
pub use phases::{
    After, AfterSweep, Cleanup, CoordinatedRun, DecidedRun, Phase, Process, Role, Sweep, TRIES_MAX,
    Then, Why,
};

use crds::RunId;

use self::phases::Claimed;
use crate::errors::failure::{Failure, REPORT};
use crate::layout::manifests::Before;

impl Process {
    /// Whether the process holds, or may hold, a run that is lost to it if it ends now: then an
    /// outage of a store is to be waited out. What may be postponed is not waited for.
    pub fn holds(&self) -> bool {
        let coordinator = matches!(self.role, Role::Coordinate { .. });
        if let Phase::ReadingCleanup(run, then, _) | Phase::Removing(run, then, _) = &self.phase
            && cleanup::may_wait(self, run, *then)
        {
            return false;
        }
        let before = matches!(
            self.phase,
            Phase::Start
                | Phase::Reading(Why::Claim(_) | Why::Recover { .. } | Why::Orphans(..))
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
        coordinator && !before
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
            Phase::Reading(why) => matches!(
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
pub fn step(process: Process, event: Event) -> (Process, Act) {
    let process = Process { now: event.now().unwrap_or(process.now), ..process };
    match event {
        Event::Failed(failure) => failed(process, failure),
        Event::Observed(observed, fresh) => after_read(process, &observed, fresh),
        Event::Replied(replies) => replied(process, &replies),
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
        | Event::Uploads(..) => answered(process, event),
    }
}

fn answered(mut process: Process, event: Event) -> (Process, Act) {
    let phase = process.take_phase();
    match (phase, event) {
        (Phase::Start, Event::Begin) => match process.role {
            Role::Coordinate { .. } => process.read(Why::Claim(0)),
            Role::Recover { .. } => process.read(Why::Recover { swept: false, tries: 0 }),
            Role::Force { .. } => process.read(Why::Force(0)),
        },
        (Phase::Planning(claimed), Event::Planned(plan, now)) => {
            plan::planned(process, *claimed, *plan, now)
        }
        (Phase::Planning(claimed), Event::RenewDue(now, _)) => {
            plan::renew_claim(process, *claimed, now)
        }
        (Phase::Running(active), Event::RenewDue(now, records)) => {
            extract::renew(process, *active, now, records)
        }
        (Phase::Running(active), Event::Recorded(tally)) => {
            extract::recorded(process, active, tally)
        }
        (Phase::Assuring(active, tally), Event::Assured(_)) => {
            extract::assured(process, active, tally)
        }
        (Phase::Chaining(active, tally), Event::Chain(runs)) => {
            process.put_manifest(active, &tally, Before { replaces: runs, earlier: None })
        }
        (Phase::Chaining(active, tally), Event::All(earlier)) => {
            let before = Before { replaces: Vec::new(), earlier: Some(*earlier) };
            process.put_manifest(active, &tally, before)
        }
        (Phase::ListingRuns(after), Event::Runs(runs)) => orphans::listed(process, runs, after),
        (Phase::Keeping(runs, after), Event::Kept(kept)) => {
            orphans::kept(process, runs, kept.as_ref(), after)
        }
        (Phase::Finding(runs, after), Event::Orphans(found)) => {
            orphans::found(process, runs, found, after)
        }
        (Phase::Fetching(run, then), Event::Fetched(manifest)) => {
            process.complete(DecidedRun { run: *run, manifest: *manifest, then })
        }
        (Phase::ReadingCleanup(run, then, tries), Event::CleanupRead(cleanup)) => {
            cleanup::cleanup_read(process, *run, *cleanup, then, tries)
        }
        (Phase::ListingFiles(run, then, again), Event::Files(keys, more)) => {
            revert::delete(process, *run, keys, (then, again, more))
        }
        (Phase::Listing(sweep), Event::Uploads(uploads, more)) => {
            sweep::uploads(process, Sweep { more, ..*sweep }, &uploads)
        }
        (phase, event) => defect(process, &phase, &format!("{event:?}")),
    }
}

fn after_read(mut process: Process, observed: &ObservedItems, fresh: RunId) -> (Process, Act) {
    let phase = process.take_phase();
    let Phase::Reading(why) = phase else { return defect(process, &phase, "Observed") };
    if let Some(failure) = observed::newer(observed) {
        return process.end(Ending::Failed(failure));
    }
    match why {
        Why::Claim(tries) => claim::claim(process, observed, fresh, tries),
        Why::Claimed(claimed, tries) => claim::claimed(process, *claimed, observed, fresh, tries),
        Why::Identified(active) => plan::identified(process, *active, observed),
        Why::RenewedClaim(claimed) => plan::renewed_claim(process, *claimed, observed),
        Why::Pinned(active) => extract::pinned(process, *active, observed),
        Why::Renewed(active) => extract::renewed(process, *active, observed),
        Why::Decided(active, manifest, tries) => {
            publish::decided(process, *active, *manifest, observed, tries)
        }
        Why::Gone(decided) => publish::gone(process, &decided, observed),
        Why::Publish(decided, tries) => publish::publish(process, *decided, observed, tries),
        Why::Fail(failure, run, tries) => fail::fail(process, *failure, &run, observed, tries),
        Why::Orphans(runs, after) => orphans::observed(process, observed, runs, after),
        Why::Force(tries) => revert::force(process, observed, tries),
        Why::Recover { swept, tries } => recover::recover(process, observed, swept, tries),
    }
}

fn replied(mut process: Process, replies: &[Reply]) -> (Process, Act) {
    let phase = process.take_phase();
    let done = replies.iter().all(|reply| *reply == Reply::Done);
    match phase {
        Phase::Claiming(claimed, _) if done => process.plan(*claimed),
        Phase::Claiming(claimed, tries) => process.read(Why::Claimed(claimed, tries + 1)),
        Phase::Identifying(active) if done => plan::put_plan(process, *active),
        Phase::Identifying(active) => process.read(Why::Identified(active)),
        Phase::RenewingClaim(claimed, run) if done => {
            process.plan(Claimed { item: *run, ..*claimed })
        }
        Phase::RenewingClaim(claimed, _) => process.read(Why::RenewedClaim(claimed)),
        Phase::PuttingPlan(active) => plan::pin(process, *active),
        Phase::Pinning(active, run) if done => process.run(CoordinatedRun { run: *run, ..*active }),
        Phase::Pinning(active, _) => process.read(Why::Pinned(active)),
        Phase::Renewing(active, run) if done => {
            process.run(CoordinatedRun { run: *run, ..*active })
        }
        Phase::Renewing(active, _) => process.read(Why::Renewed(active)),
        Phase::PuttingManifest(active, manifest) => publish::decide(process, *active, *manifest, 0),
        Phase::Deciding(_, manifest, run, _) if done => {
            let decided = DecidedRun { run: *run, manifest: *manifest, then: Then::Finish };
            process.complete(decided)
        }
        Phase::Deciding(active, manifest, _, tries) => {
            process.read(Why::Decided(active, manifest, tries + 1))
        }
        Phase::Completing(decided) if done => process.read(Why::Publish(decided, 0)),
        Phase::Completing(decided) => process.read(Why::Gone(decided)),
        Phase::Publishing(decided, run, _) if done => {
            process.cleanup(*run, decided.then, Some(decided.manifest), 0)
        }
        Phase::Publishing(decided, _, tries) => process.read(Why::Publish(decided, tries + 1)),
        Phase::Pointing(run, cleanup, then, _) if done => {
            cleanup::remove(process, *run, &cleanup, then)
        }
        Phase::Pointing(run, _, then, tries) => process.cleanup(*run, then, None, tries + 1),
        Phase::Removing(run, then, after) => cleanup::removed(process, *run, then, after, replies),
        // another removal may be due; a refused CLEANUP means that somebody else is at it
        Phase::RecordingCleanup(run, then) if done => process.cleanup(*run, then, None, 0),
        Phase::RecordingCleanup(_, then) => process.finish(then),
        Phase::Failing(failure, run, _) if done => fail::abandon(process, *failure, &run),
        Phase::Failing(failure, run, tries) => process.read(Why::Fail(failure, run, tries + 1)),
        Phase::Aborting(sweep) => sweep::aborted(process, *sweep),
        // a run whose files are locked keeps its plan, so that a later process comes back to it
        Phase::Sweeping(_, rest, after) if Reply::locked(replies).is_some() => {
            orphans::next(process, rest, after)
        }
        Phase::Sweeping(plans, rest, after) => orphans::forget(process, plans, rest, after),
        Phase::Forgetting(rest, after) => orphans::next(process, rest, after),
        Phase::Forcing(tries) => process.read(Why::Force(tries + 1)),
        Phase::Undoing(..) if Reply::locked(replies).is_some() => {
            process.end(Ending::Failed(revert::locked()))
        }
        Phase::Undoing(run, then, again, None) => revert::deleted(process, &run, then, again),
        Phase::Undoing(run, then, again, after) => process.list_files(*run, (then, again), after),
        Phase::Reverting(then) => revert::ended(process, then),
        Phase::Raising(tries) if done || tries > TRIES_MAX => process.list_orphans(After::Recover),
        Phase::Raising(tries) => process.read(Why::Recover { swept: false, tries: tries + 1 }),
        phase => defect(process, &phase, "Replied"),
    }
}

/// What was asked for cannot be done: before CLAIM nothing is left behind; until DECIDE the run is
/// given up; after it the run waits for the next committer.
fn failed(process: Process, failure: Failure) -> (Process, Act) {
    let run = match &process.phase {
        Phase::Planning(claimed)
        | Phase::RenewingClaim(claimed, _)
        | Phase::Reading(Why::RenewedClaim(claimed)) => &claimed.item,
        Phase::Identifying(active)
        | Phase::PuttingPlan(active)
        | Phase::Pinning(active, _)
        | Phase::Running(active)
        | Phase::Renewing(active, _)
        | Phase::Assuring(active, _)
        | Phase::Chaining(active, _)
        | Phase::PuttingManifest(active, _)
        | Phase::Reading(Why::Identified(active) | Why::Pinned(active) | Why::Renewed(active)) => {
            &active.run
        }
        Phase::ReadingCleanup(run, then, _) | Phase::Removing(run, then, _)
            if cleanup::may_wait(&process, run, *then) =>
        {
            let (run, then) = (run.clone(), *then);
            return cleanup::postponed(process, &run, then, &failure);
        }
        Phase::Failing(earlier, ..) | Phase::Reading(Why::Fail(earlier, ..)) => {
            let earlier = (**earlier).clone();
            return process.end(Ending::Failed(earlier));
        }
        Phase::Listing(sweep) | Phase::Aborting(sweep) => {
            return match sweep.then.clone() {
                AfterSweep::Fail(earlier) => process.end(Ending::Failed(earlier)),
                // a published run needs no sweep to be recovered
                AfterSweep::Recover { must: false } => {
                    process.read(Why::Recover { swept: true, tries: 1 })
                }
                AfterSweep::Recover { must: true } | AfterSweep::Revert(..) => {
                    process.end(Ending::Failed(failure))
                }
                // the run is published; the next process may remove abandoned runs
                AfterSweep::Publish => process.published(),
            };
        }
        Phase::ListingRuns(after)
        | Phase::Keeping(_, after)
        | Phase::Finding(_, after)
        | Phase::Sweeping(_, _, after)
        | Phase::Forgetting(_, after)
        | Phase::Reading(Why::Orphans(_, after)) => {
            let after = *after;
            return orphans::end(process, after);
        }
        Phase::Start
        | Phase::Reading(_)
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
        | Phase::Ended => return process.end(Ending::Failed(failure)),
    };
    let run = Box::new(run.clone());
    process.read(Why::Fail(Box::new(failure), run, 0))
}

fn defect(process: Process, phase: &Phase, event: &str) -> (Process, Act) {
    let name = |text: String| text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
    let message = format!(
        "event {} is not valid in phase {}",
        name(event.to_owned()),
        name(format!("{phase:?}"))
    );
    process.end(Ending::Failed(Failure::transient(crds::Reason::Internal, message, REPORT)))
}

//! Asks the database for a plan, marks the prefix, writes the plan, and pins the run to it.

use crds::Reason;
use crds::tracking::{RunItem, RunState};

use super::acts::{Act, Ending};
use super::claim_rules::{not_ours, prefix_taken};
use super::effects::Effect;
use super::observed::ObservedItems;
use super::phases::{Claimed, CoordinatedRun, Phase, Process, Why};
use super::transitions;
use crate::errors::failure::Failure;
use crate::layout::body::to_body;
use crate::layout::objects::Prefix;
use crate::planning::plan::Plan;

/// A guard that waits, or a large table, may take longer than a claim lasts.
pub(super) fn renew_claim(process: Process, claimed: Claimed, now: i64) -> (Process, Act) {
    let change = transitions::renew(&claimed.item, now + process.lease_seconds, 0);
    let phase = Phase::RenewingClaim(Box::new(claimed), Box::new(change.item));
    process.track(phase, change.transaction)
}

pub(super) fn renewed_claim(
    process: Process,
    claimed: Claimed,
    observed: &ObservedItems,
) -> (Process, Act) {
    match &observed.run {
        Some(run) if run.run == claimed.item.run && run.state == RunState::Claimed => {
            process.plan(Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => {
            let failure = not_ours(process.task(), observed);
            process.end(Ending::Failed(failure))
        }
    }
}

/// Marks the prefix as this source's: only now, so that a run which cannot be planned leaves nothing
/// there, and its remedy may be another table, database or tracking table. An identity that is there was
/// compared by CLAIM, but another source may come in between.
pub(super) fn planned(process: Process, claimed: Claimed, plan: Plan, now: i64) -> (Process, Act) {
    // PIN starts the lease anew
    let run = RunItem { deadline: now + process.lease_seconds, ..claimed.item };
    let plan_hash = crate::planning::plan::hash(&to_body(&plan));
    let uri = run.uri.clone();
    match Prefix::parse(&uri) {
        Ok(prefix) => {
            let body = to_body(&claimed.identity);
            let effect = Effect::PutOnce { uri, key: prefix.source(), body };
            let active = Box::new(CoordinatedRun { run, plan, plan_hash });
            process.go(Phase::Identifying(active), Act::Write(vec![effect]))
        }
        Err(bad) => {
            let failure =
                Failure::permanent(Reason::InvalidSpec, bad.to_string(), "Correct output.uri.");
            process.read(Why::Fail(Box::new(failure), Box::new(run), 0))
        }
    }
}

pub(super) fn identified(
    process: Process,
    active: CoordinatedRun,
    observed: &ObservedItems,
) -> (Process, Act) {
    if observed.identity.as_ref() == Some(&observed.own_identity) {
        return put_plan(process, active);
    }
    process.read(Why::Fail(Box::new(prefix_taken()), Box::new(active.run), 0))
}

pub(super) fn put_plan(process: Process, active: CoordinatedRun) -> (Process, Act) {
    let uri = active.run.uri.clone();
    let key = match Prefix::parse(&uri) {
        Ok(prefix) => prefix.plan(active.run.run),
        Err(_) => String::new(),
    };
    let effect = Effect::PutOnce { uri, key, body: to_body(&active.plan) };
    process.go(Phase::PuttingPlan(Box::new(active)), Act::Write(vec![effect]))
}

/// A refused plan is our own, written before its reply was lost: run ids are never used twice.
pub(super) fn pin(process: Process, active: CoordinatedRun) -> (Process, Act) {
    let deadline = active.run.deadline;
    let change = transitions::pin(&active.run, &active.plan, &active.plan_hash, deadline);
    process.track(Phase::Pinning(Box::new(active), Box::new(change.item)), change.transaction)
}

//! The holder's part: from CLAIM to DECIDE, and giving up.

use crds::task::SettleOrder;
use crds::tracking::{Head, Mode, RunItem, RunState};
use crds::{Reason, RunId};

use super::acts::{Act, Ending};
use super::claim::claim as decide_claim;
use super::claim::mode as decide_mode;
use super::claim::{Claim, prefix_taken};
use super::effects::{Effect, NewManifest};
use super::phases::Claimed;
use super::phases::{AfterSweep, Carried, Carrier, Held, Phase, Role, Sweep, TRIES_MAX, Then, Why};
use super::seen::Seen;
use super::transitions;
use crate::errors::failure::Failure;
use crate::layout::body::to_body;
use crate::layout::manifests::{self, Before, ManifestHead, lists_all};
use crate::layout::objects::Prefix;
use crate::layout::records::Tally;
use crate::planning::plan::Plan;

fn fenced() -> Failure {
    Failure::fenced(Reason::Fenced, "another process has taken the source")
}

/// The holder's write was refused, and `R` is not its run any more. Where it is gone, nobody has
/// taken the source: somebody has deleted the item, and an incremental run must not begin anew.
fn not_ours(carrier: &Carrier, seen: &Seen) -> Failure {
    if seen.run.is_none() && decide_mode(carrier.task()) == Mode::PE {
        return Failure::permanent(
            Reason::TrackingLost,
            "the run item of the source was deleted while the run was under way",
            "restore the item, or run a reingest or FE, which starts a new chain",
        );
    }
    fenced()
}

pub(super) fn claim(carrier: Carrier, seen: &Seen, fresh: RunId, tries: u32) -> (Carrier, Act) {
    if tries > TRIES_MAX {
        let failure = Failure::fenced(Reason::SourceBusy, "others keep taking the source");
        return carrier.end(Ending::Failed(failure));
    }
    let run = seen.run.clone();
    match (decide_claim(carrier.task(), seen, fresh, carrier.lease_seconds), run) {
        (Claim::Answered, _) => carrier.end(Ending::Answered),
        (Claim::Refused(failure), _) => carrier.end(Ending::Failed(failure)),
        (Claim::CarryFirst, Some(run)) if run.state == RunState::Reverting => {
            carrier.revert(&run, Then::Claim)
        }
        (Claim::CarryFirst, Some(run)) => carrier.fetch_manifest(run, Then::Claim),
        (Claim::TidyFirst, Some(run)) => carrier.tidy(run, Then::Claim, None, 0),
        (Claim::CarryFirst | Claim::TidyFirst, None) => carrier.end(Ending::Failed(fenced())),
        (Claim::Write(claimed), _) => {
            let transaction = claimed.transaction.clone();
            carrier.track(Phase::Claiming(claimed, tries), transaction)
        }
    }
}

/// CLAIM was refused: by our own write whose reply was lost, or by another's.
pub(super) fn claimed(
    carrier: Carrier,
    claimed: Claimed,
    seen: &Seen,
    fresh: RunId,
    tries: u32,
) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == claimed.item.run && run.state == RunState::Claimed => {
            plan(carrier, Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => claim(carrier, seen, fresh, tries),
    }
}

pub(super) fn plan(carrier: Carrier, claimed: Claimed) -> (Carrier, Act) {
    let act = Act::Plan(claimed.order.clone());
    carrier.go(Phase::Planning(Box::new(claimed)), act)
}

/// A guard that waits, or a large table, may take longer than a claim lasts.
pub(super) fn renew_claim(carrier: Carrier, claimed: Claimed, now: i64) -> (Carrier, Act) {
    let change = transitions::renew(&claimed.item, now + carrier.lease_seconds, 0);
    let phase = Phase::RenewingClaim(Box::new(claimed), Box::new(change.item));
    carrier.track(phase, change.transaction)
}

pub(super) fn renewed_claim(carrier: Carrier, claimed: Claimed, seen: &Seen) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == claimed.item.run && run.state == RunState::Claimed => {
            plan(carrier, Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => {
            let failure = not_ours(&carrier, seen);
            carrier.end(Ending::Failed(failure))
        }
    }
}

/// Marks the prefix as this source's: only now, so that a run which cannot be planned leaves nothing
/// there, and its remedy may be another table, database or tracking table. An identity that is there was
/// compared by CLAIM, but another source may come in between.
pub(super) fn planned(carrier: Carrier, claimed: Claimed, plan: Plan, now: i64) -> (Carrier, Act) {
    // PIN starts the lease anew
    let run = RunItem { deadline: now + carrier.lease_seconds, ..claimed.item };
    let plan_hash = crate::planning::plan::hash(&to_body(&plan));
    let uri = run.uri.clone();
    match Prefix::parse(&uri) {
        Ok(prefix) => {
            let body = to_body(&claimed.identity);
            let effect = Effect::PutOnce { uri, key: prefix.source(), body };
            let held = Box::new(Held { run, plan, plan_hash });
            carrier.go(Phase::Identifying(held), Act::Write(vec![effect]))
        }
        Err(bad) => {
            let failure =
                Failure::permanent(Reason::InvalidSpec, bad.to_string(), "correct output.uri");
            carrier.look(Why::Fail(Box::new(failure), Box::new(run), 0))
        }
    }
}

pub(super) fn identified(carrier: Carrier, held: Held, seen: &Seen) -> (Carrier, Act) {
    if seen.identity.as_ref() == Some(&seen.own_identity) {
        return put_plan(carrier, held);
    }
    carrier.look(Why::Fail(Box::new(prefix_taken()), Box::new(held.run), 0))
}

pub(super) fn put_plan(carrier: Carrier, held: Held) -> (Carrier, Act) {
    let uri = held.run.uri.clone();
    let key = match Prefix::parse(&uri) {
        Ok(prefix) => prefix.plan(held.run.run),
        Err(_) => String::new(),
    };
    let effect = Effect::PutOnce { uri, key, body: to_body(&held.plan) };
    carrier.go(Phase::PuttingPlan(Box::new(held)), Act::Write(vec![effect]))
}

/// A refused plan is our own, written before its reply was lost: run ids are never used twice.
pub(super) fn pin(carrier: Carrier, held: Held) -> (Carrier, Act) {
    let deadline = held.run.deadline;
    let change = transitions::pin(&held.run, &held.plan, &held.plan_hash, deadline);
    carrier.track(Phase::Pinning(Box::new(held), Box::new(change.item)), change.transaction)
}

pub(super) fn pinned(carrier: Carrier, held: Held, seen: &Seen) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == held.run.run && run.state == RunState::Running => {
            let run = run.clone();
            running(carrier, Held { run, ..held })
        }
        Some(_) | None => {
            let failure = not_ours(&carrier, seen);
            carrier.end(Ending::Failed(failure))
        }
    }
}

pub(super) fn running(carrier: Carrier, held: Held) -> (Carrier, Act) {
    let held = Box::new(held);
    carrier.go(Phase::Running(held.clone()), Act::Extract(held))
}

pub(super) fn renew(carrier: Carrier, held: Held, now: i64, records: u32) -> (Carrier, Act) {
    let change = transitions::renew(&held.run, now + carrier.lease_seconds, records);
    carrier.track(Phase::Renewing(Box::new(held), Box::new(change.item)), change.transaction)
}

pub(super) fn renewed(carrier: Carrier, held: Held, seen: &Seen) -> (Carrier, Act) {
    pinned(carrier, held, seen)
}

pub(super) fn recorded(carrier: Carrier, held: Box<Held>, tally: Box<Tally>) -> (Carrier, Act) {
    let act = Act::Assure {
        uri: held.run.uri.clone(),
        run: held.run.run,
        records: u32::try_from(tally.rows.len()).unwrap_or(u32::MAX),
        hash: tally.hash.clone(),
    };
    carrier.go(Phase::Assuring(held, tally), act)
}

pub(super) fn assured(carrier: Carrier, held: Box<Held>, tally: Box<Tally>) -> (Carrier, Act) {
    if !held.run.mode.replaces() {
        return match held.run.head.clone().filter(|head| lists_all(head.depth + 1)) {
            Some(Head { uri, run, .. }) => {
                carrier.go(Phase::Chaining(held, tally), Act::ReadAll { uri, run })
            }
            None => manifest(carrier, held, &tally, Before::default()),
        };
    }
    // the head may lie under another uri by now, and an earlier chain of ours still under this one
    let (uri, head) = (held.run.uri.clone(), held.run.head.as_ref());
    let run = head.filter(|head| head.uri == uri).map(|head| head.run);
    // what that chain replaced may still lie there, its removal put off
    let todo = held.run.todo.as_ref();
    let pending =
        todo.and_then(|todo| todo.removal_at(&uri, &carrier.store())).map(|removal| removal.run);
    carrier.go(Phase::Chaining(held, tally), Act::ReadChain { uri, run, pending })
}

pub(super) fn manifest(
    carrier: Carrier,
    held: Box<Held>,
    tally: &Tally,
    before: Before,
) -> (Carrier, Act) {
    let Before { replaces, earlier } = before;
    let head = manifests::head(&held.run, &held.plan, &held.plan_hash, tally, replaces);
    let uri = held.run.uri.clone();
    let key = Prefix::parse(&uri).map(|prefix| prefix.manifest(held.run.run)).unwrap_or_default();
    let new = NewManifest { uri, key, head: head.clone(), hash: tally.hash.clone(), earlier };
    let effect = Effect::PutManifest(Box::new(new));
    carrier.go(Phase::PuttingManifest(held, Box::new(head)), Act::Write(vec![effect]))
}

pub(super) fn decide(
    carrier: Carrier,
    held: Held,
    manifest: ManifestHead,
    tries: u32,
) -> (Carrier, Act) {
    let change = transitions::decide(&held.run, held.run.deadline, manifest.ranges);
    let phase = Phase::Deciding(Box::new(held), Box::new(manifest), Box::new(change.item), tries);
    carrier.track(phase, change.transaction)
}

/// DECIDE was refused: by our own write, by a moved watermark, or by another holder.
pub(super) fn decided(
    carrier: Carrier,
    held: Held,
    manifest: ManifestHead,
    seen: &Seen,
    tries: u32,
) -> (Carrier, Act) {
    let Some(run) = seen.run.as_ref().filter(|run| run.run == held.run.run) else {
        if seen.run.is_none() {
            let failure = not_ours(&carrier, seen);
            return carrier.end(Ending::Failed(failure));
        }
        // another claimant may have carried the run to its end: the outcome says so
        return carrier.end(Ending::CarriedByAnother);
    };
    match run.state {
        RunState::Committing => {
            let carried = Carried { run: run.clone(), manifest, then: Then::Finish };
            carrier.complete(carried)
        }
        RunState::Published => carrier.tidy(run.clone(), Then::Finish, Some(manifest), 0),
        RunState::Running => {
            let low = run.window.as_ref().and_then(|window| window.low_text.clone());
            let stored = seen.legacy.as_ref().and_then(|legacy| legacy.lwm_value.clone());
            if seen.legacy.is_none() || stored != low || tries > TRIES_MAX {
                let failure = moved(seen);
                let run = Box::new(run.clone());
                return carrier.look(Why::Fail(Box::new(failure), run, 0));
            }
            let held = Held { run: run.clone(), ..held };
            decide(carrier, held, manifest, tries)
        }
        RunState::Claimed | RunState::Failed | RunState::Aborted | RunState::Reverting => {
            carrier.end(Ending::Failed(fenced()))
        }
    }
}

fn moved(seen: &Seen) -> Failure {
    if seen.legacy.is_none() {
        return Failure::permanent(
            Reason::TrackingLost,
            "the tracking item of the source was deleted while the run was under way",
            "restore the item, or reingest",
        );
    }
    Failure::transient(
        Reason::WatermarkMoved,
        "somebody else moved the stored watermark while the run was under way",
        "let only one writer use the tracking item; the next attempt starts from the new watermark",
    )
}

/// Gives the run up, if it is still ours and undecided.
pub(super) fn fail(
    carrier: Carrier,
    failure: Failure,
    run: &RunItem,
    seen: &Seen,
    tries: u32,
) -> (Carrier, Act) {
    let own = seen.run.as_ref().filter(|found| found.run == run.run);
    if own.is_some_and(|found| matches!(found.state, RunState::Failed | RunState::Aborted)) {
        // our own FAIL, its reply lost
        return abandon(carrier, failure, run);
    }
    let found = own.filter(|found| found.state.is_live());
    let (Some(found), false) = (found, tries > TRIES_MAX) else {
        return carrier.end(Ending::Failed(failure));
    };
    let last = match &carrier.role {
        Role::Hold { last, .. } => *last || failure.exit == crds::condition::Exit::Permanent,
        Role::Settle { .. } | Role::Force { .. } => false,
    };
    let order = SettleOrder { last, aborted: false, report: failure.report.clone() };
    let change = transitions::fail(found, seen, carrier.task(), &order);
    let phase = Phase::Failing(Box::new(failure), Box::new(change.item), tries);
    carrier.track(phase, change.transaction)
}

/// FAIL holds: now the open uploads of the run may go.
pub(super) fn abandon(carrier: Carrier, failure: Failure, run: &RunItem) -> (Carrier, Act) {
    if let Role::Settle { .. } = carrier.role {
        return carrier.look(Why::Settle { swept: false, tries: 0 });
    }
    let sweep = Sweep::new(run.uri.clone(), run.run, 2, AfterSweep::Fail(failure));
    carrier.sweep(sweep)
}

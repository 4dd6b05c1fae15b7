//! Has the partitions read, renews the claim meanwhile, and then checks snapshot and uploads again.

use crds::tracking::{Head, RunState};

use super::acts::{Act, Ending};
use super::claim_rules::not_ours;
use super::observed::ObservedItems;
use super::phases::{CoordinatedRun, Phase, Process};
use super::transitions;
use crate::layout::manifests::{Before, lists_all};
use crate::layout::records::Tally;

pub(super) fn pinned(
    process: Process,
    active: CoordinatedRun,
    observed: &ObservedItems,
) -> (Process, Act) {
    match &observed.run {
        Some(run) if run.run == active.run.run && run.state == RunState::Running => {
            let run = run.clone();
            process.run(CoordinatedRun { run, ..active })
        }
        Some(_) | None => {
            let failure = not_ours(process.task(), observed);
            process.end(Ending::Failed(failure))
        }
    }
}

pub(super) fn renew(
    process: Process,
    active: CoordinatedRun,
    now: i64,
    records: u32,
) -> (Process, Act) {
    let change = transitions::renew(&active.run, now + process.lease_seconds, records);
    process.track(Phase::Renewing(Box::new(active), Box::new(change.item)), change.transaction)
}

pub(super) fn renewed(
    process: Process,
    active: CoordinatedRun,
    observed: &ObservedItems,
) -> (Process, Act) {
    pinned(process, active, observed)
}

pub(super) fn recorded(
    process: Process,
    active: Box<CoordinatedRun>,
    tally: Box<Tally>,
) -> (Process, Act) {
    let act = Act::Assure {
        uri: active.run.uri.clone(),
        run: active.run.run,
        records: u32::try_from(tally.rows.len()).unwrap_or(u32::MAX),
        hash: tally.hash.clone(),
    };
    process.go(Phase::Assuring(active, tally), act)
}

pub(super) fn assured(
    process: Process,
    active: Box<CoordinatedRun>,
    tally: Box<Tally>,
) -> (Process, Act) {
    if !active.run.mode.replaces() {
        return match active.run.head.clone().filter(|head| lists_all(head.depth + 1)) {
            Some(Head { uri, run, .. }) => {
                process.go(Phase::Chaining(active, tally), Act::ReadAll { uri, run })
            }
            None => process.put_manifest(active, &tally, Before::default()),
        };
    }
    // the head may lie under another uri by now, and an earlier chain of this source still under this one
    let (uri, head) = (active.run.uri.clone(), active.run.head.as_ref());
    let run = head.filter(|head| head.uri == uri).map(|head| head.run);
    // what that chain replaced may still lie there, its removal postponed
    let pending_cleanup = active.run.pending_cleanup.as_ref();
    let pending = pending_cleanup
        .and_then(|pending_cleanup| pending_cleanup.removal_at(&uri, &process.store()))
        .map(|removal| removal.run);
    process.go(Phase::Chaining(active, tally), Act::ReadChain { uri, run, pending })
}

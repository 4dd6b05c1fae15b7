//! Has the partitions read, renews the claim meanwhile, and looks once more at snapshot and uploads.

use crds::tracking::{Head, RunState};

use super::acts::{Act, Ending};
use super::claim_rules::not_ours;
use super::phases::{Carrier, Held, Phase};
use super::seen::Seen;
use super::transitions;
use crate::layout::manifests::{Before, lists_all};
use crate::layout::records::Tally;

pub(super) fn pinned(carrier: Carrier, held: Held, seen: &Seen) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == held.run.run && run.state == RunState::Running => {
            let run = run.clone();
            carrier.run(Held { run, ..held })
        }
        Some(_) | None => {
            let failure = not_ours(carrier.task(), seen);
            carrier.end(Ending::Failed(failure))
        }
    }
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
            None => carrier.put_manifest(held, &tally, Before::default()),
        };
    }
    // the head may lie under another uri by now, and an earlier chain of ours still under this one
    let (uri, head) = (held.run.uri.clone(), held.run.head.as_ref());
    let run = head.filter(|head| head.uri == uri).map(|head| head.run);
    // what that chain replaced may still lie there, its removal put off
    let pending_cleanup = held.run.pending_cleanup.as_ref();
    let pending = pending_cleanup
        .and_then(|pending_cleanup| pending_cleanup.removal_at(&uri, &carrier.store()))
        .map(|removal| removal.run);
    carrier.go(Phase::Chaining(held, tally), Act::ReadChain { uri, run, pending })
}

//! Claims the source: `R` names the run, `O` the attempt, `L` that a run is under way.

use crds::tracking::RunState;
use crds::{Reason, RunId};

use super::acts::{Act, Ending};
use super::claim_rules::{Claim, claim as decide};
use super::phases::{Carrier, Claimed, Phase, TRIES_MAX, Then};
use super::seen::{Seen, fenced};
use crate::errors::failure::Failure;

pub(super) fn claim(carrier: Carrier, seen: &Seen, fresh: RunId, tries: u32) -> (Carrier, Act) {
    if tries > TRIES_MAX {
        let failure = Failure::fenced(
            Reason::SourceBusy,
            "other processes repeatedly claimed the source first",
        );
        return carrier.end(Ending::Failed(failure));
    }
    let run = seen.run.clone();
    match (decide(carrier.task(), seen, fresh, carrier.lease_seconds), run) {
        (Claim::Answered, _) => carrier.end(Ending::Answered),
        (Claim::Refused(failure), _) => carrier.end(Ending::Failed(failure)),
        (Claim::CarryFirst, Some(run)) if run.state == RunState::Reverting => {
            carrier.revert(&run, Then::Claim)
        }
        (Claim::CarryFirst, Some(run)) => carrier.fetch_manifest(run, Then::Claim),
        (Claim::CleanupFirst, Some(run)) => carrier.cleanup(run, Then::Claim, None, 0),
        (Claim::CarryFirst | Claim::CleanupFirst, None) => carrier.end(Ending::Failed(fenced())),
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
            carrier.plan(Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => claim(carrier, seen, fresh, tries),
    }
}

//! Claims the source: `R` names the run, `O` the attempt, `L` that a run is under way.

use crds::tracking::RunState;
use crds::{Reason, RunId};

use super::acts::{Act, Ending};
use super::claim_rules::{Claim, claim as decide};
use super::phases::{Claimed, Phase, Process, TRIES_MAX, Then};
use super::seen::{Seen, fenced};
use crate::errors::failure::Failure;

pub(super) fn claim(process: Process, seen: &Seen, fresh: RunId, tries: u32) -> (Process, Act) {
    if tries > TRIES_MAX {
        let failure = Failure::fenced(
            Reason::SourceBusy,
            "other processes repeatedly claimed the source first",
        );
        return process.end(Ending::Failed(failure));
    }
    let run = seen.run.clone();
    match (decide(process.task(), seen, fresh, process.lease_seconds), run) {
        (Claim::Answered, _) => process.end(Ending::Answered),
        (Claim::Refused(failure), _) => process.end(Ending::Failed(failure)),
        (Claim::FinishFirst, Some(run)) if run.state == RunState::Reverting => {
            process.revert(&run, Then::Claim)
        }
        (Claim::FinishFirst, Some(run)) => process.fetch_manifest(run, Then::Claim),
        (Claim::CleanupFirst, Some(run)) => process.cleanup(run, Then::Claim, None, 0),
        (Claim::FinishFirst | Claim::CleanupFirst, None) => process.end(Ending::Failed(fenced())),
        (Claim::Write(claimed), _) => {
            let transaction = claimed.transaction.clone();
            process.track(Phase::Claiming(claimed, tries), transaction)
        }
    }
}

/// CLAIM was refused: by our own write whose reply was lost, or by another's.
pub(super) fn claimed(
    process: Process,
    claimed: Claimed,
    seen: &Seen,
    fresh: RunId,
    tries: u32,
) -> (Process, Act) {
    match &seen.run {
        Some(run) if run.run == claimed.item.run && run.state == RunState::Claimed => {
            process.plan(Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => claim(process, seen, fresh, tries),
    }
}

//! Claims the source: the run item names the run, the outcome item the attempt, the watermark item that a run is in flight.

use crds::tracking::RunState;
use crds::{Reason, RunId};

use super::acts::{Act, Ending};
use super::claim_rules::{Claim, claim as decide};
use super::observed::{ObservedItems, fenced};
use super::phases::{Claimed, Phase, Process, TRIES_MAX, Then};
use crate::errors::failure::Failure;

pub(super) fn claim(
    process: Process,
    observed: &ObservedItems,
    fresh: RunId,
    tries: u32,
) -> (Process, Act) {
    if tries > TRIES_MAX {
        let failure = Failure::fenced(
            Reason::SourceBusy,
            "other processes repeatedly claimed the source first",
        );
        return process.end(Ending::Failed(failure));
    }
    let run = observed.run.clone();
    match (decide(process.task(), observed, fresh, process.lease_seconds), run) {
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
    observed: &ObservedItems,
    fresh: RunId,
    tries: u32,
) -> (Process, Act) {
    match &observed.run {
        Some(run) if run.run == claimed.item.run && run.state == RunState::Claimed => {
            process.plan(Claimed { item: run.clone(), ..claimed })
        }
        Some(_) | None => claim(process, observed, fresh, tries),
    }
}

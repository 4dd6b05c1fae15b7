//! Decides the run, completes its uploads, and publishes it (`published`). Any process that finds a decided run finishes it.

use crds::tracking::{RunItem, RunState};
use crds::{Reason, Report};

use super::acts::{Act, Ending};
use super::claim_rules::not_ours;
use super::observed::{ObservedItems, fenced};
use super::phases::{CoordinatedRun, DecidedRun, Phase, Process, TRIES_MAX, Then, Why};
use super::transitions;
use crate::errors::failure::Failure;
use crate::layout::manifests::ManifestHead;

pub(super) fn decide(
    process: Process,
    active: CoordinatedRun,
    manifest: ManifestHead,
    tries: u32,
) -> (Process, Act) {
    let change = transitions::decide(&active.run, active.run.deadline, manifest.partitions);
    let phase = Phase::Deciding(Box::new(active), Box::new(manifest), Box::new(change.item), tries);
    process.track(phase, change.transaction)
}

/// DECIDE was refused: by our own write, by a moved watermark, or by another coordinator.
pub(super) fn decided(
    process: Process,
    active: CoordinatedRun,
    manifest: ManifestHead,
    observed: &ObservedItems,
    tries: u32,
) -> (Process, Act) {
    let Some(run) = observed.run.as_ref().filter(|run| run.run == active.run.run) else {
        if observed.run.is_none() {
            let failure = not_ours(process.task(), observed);
            return process.end(Ending::Failed(failure));
        }
        // another process may have finished the run: then the outcome says so
        return process.end(Ending::FinishedByAnother);
    };
    match run.state {
        RunState::Committing => {
            let decided = DecidedRun { run: run.clone(), manifest, then: Then::Finish };
            process.complete(decided)
        }
        RunState::Published => process.cleanup(run.clone(), Then::Finish, Some(manifest), 0),
        RunState::Running => {
            let low = run.window.as_ref().and_then(|window| window.low_text.clone());
            let stored = observed
                .watermark_item
                .as_ref()
                .and_then(|watermark_item| watermark_item.lwm_value.clone());
            if observed.watermark_item.is_none() || stored != low || tries > TRIES_MAX {
                let failure = moved_while_running(observed);
                let run = Box::new(run.clone());
                return process.read(Why::Fail(Box::new(failure), run, 0));
            }
            let active = CoordinatedRun { run: run.clone(), ..active };
            decide(process, active, manifest, tries)
        }
        RunState::Claimed | RunState::Failed | RunState::Aborted | RunState::Reverting => {
            process.end(Ending::Failed(fenced()))
        }
    }
}

fn moved_while_running(observed: &ObservedItems) -> Failure {
    if observed.watermark_item.is_none() {
        return Failure::permanent(
            Reason::TrackingLost,
            "the watermark item of the source was deleted during the run",
            "Restore the item from a backup of the tracking table, or set extract.reingest: true.",
        );
    }
    Failure::transient(
        Reason::WatermarkMoved,
        "another writer moved the stored watermark during the run",
        "Make sure that only one writer changes the watermark item. The next attempt starts from the new \
         watermark.",
    )
}

fn stuck(run: &RunItem, what: &str) -> Failure {
    Failure::permanent(
        Reason::CommitStuck,
        format!("the decided run {} cannot be completed: {what}", run.run),
        "Check whether a lifecycle rule of the bucket aborts uploads too early, and restore the objects \
         that the run's manifest names. Otherwise undo the run with `tidemark recover --force`.",
    )
}

/// An upload is missing. This is fine if another process has finished the run in the meantime.
pub(super) fn gone(
    process: Process,
    decided: &DecidedRun,
    observed: &ObservedItems,
) -> (Process, Act) {
    match &observed.run {
        Some(run) if run.run == decided.run.run && run.state == RunState::Committing => process
            .end(Ending::Failed(stuck(
                run,
                "an upload is missing or contains other parts, and its object does not exist",
            ))),
        Some(_) | None => passed(process, decided.then),
    }
}

/// Another process has finished the run.
fn passed(process: Process, then: Then) -> (Process, Act) {
    match then {
        Then::Finish => process.end(Ending::FinishedByAnother),
        Then::Claim => process.read(Why::Claim(1)),
        Then::Recover => process.read(Why::Recover { swept: false, tries: 1 }),
    }
}

pub(super) fn publish(
    process: Process,
    decided: DecidedRun,
    observed: &ObservedItems,
    tries: u32,
) -> (Process, Act) {
    let Some(run) = observed.run.as_ref().filter(|run| run.run == decided.run.run) else {
        return passed(process, decided.then);
    };
    match run.state {
        RunState::Committing if tries <= TRIES_MAX => {
            let change =
                transitions::publish(run, &decided.manifest, observed, process.task(), &moved());
            let phase = Phase::Publishing(Box::new(decided), Box::new(change.item), tries);
            process.track(phase, change.transaction)
        }
        RunState::Published => {
            process.cleanup(run.clone(), decided.then, Some(decided.manifest), 0)
        }
        RunState::Committing
        | RunState::Claimed
        | RunState::Running
        | RunState::Failed
        | RunState::Aborted
        | RunState::Reverting => process.end(Ending::Failed(Failure::transient(
            Reason::Committing,
            "the run is decided, but its outcome is not written yet",
            "",
        ))),
    }
}

fn moved() -> Report {
    Report::new(
        Reason::WatermarkMoved,
        "another writer moved the stored watermark after the run was decided, and the value of the other \
         writer was kept",
        "Make sure that only one writer changes the watermark item. The next run may extract rows of this \
         run again.",
    )
}

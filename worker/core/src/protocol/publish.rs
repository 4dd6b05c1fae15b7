//! Decides the run, completes its uploads, and publishes it (`published`). Whoever finds a decided run finishes it.

use crds::tracking::{RunItem, RunState};
use crds::{Reason, Report};

use super::acts::{Act, Ending};
use super::claim_rules::not_ours;
use super::phases::{Carried, Carrier, Held, Phase, TRIES_MAX, Then, Why};
use super::seen::{Seen, fenced};
use super::transitions;
use crate::errors::failure::Failure;
use crate::layout::manifests::ManifestHead;

pub(super) fn decide(
    carrier: Carrier,
    held: Held,
    manifest: ManifestHead,
    tries: u32,
) -> (Carrier, Act) {
    let change = transitions::decide(&held.run, held.run.deadline, manifest.partitions);
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
            let failure = not_ours(carrier.task(), seen);
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
        RunState::Published => carrier.cleanup(run.clone(), Then::Finish, Some(manifest), 0),
        RunState::Running => {
            let low = run.window.as_ref().and_then(|window| window.low_text.clone());
            let stored = seen.legacy.as_ref().and_then(|legacy| legacy.lwm_value.clone());
            if seen.legacy.is_none() || stored != low || tries > TRIES_MAX {
                let failure = moved_while_running(seen);
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

fn moved_while_running(seen: &Seen) -> Failure {
    if seen.legacy.is_none() {
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
pub(super) fn gone(carrier: Carrier, carried: &Carried, seen: &Seen) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == carried.run.run && run.state == RunState::Committing => carrier
            .end(Ending::Failed(stuck(
                run,
                "an upload is missing or contains other parts, and its object does not exist",
            ))),
        Some(_) | None => passed(carrier, carried.then),
    }
}

/// Another process has finished the run.
fn passed(carrier: Carrier, then: Then) -> (Carrier, Act) {
    match then {
        Then::Finish => carrier.end(Ending::CarriedByAnother),
        Then::Claim => carrier.look(Why::Claim(1)),
        Then::Recover => carrier.look(Why::Recover { swept: false, tries: 1 }),
    }
}

pub(super) fn publish(
    carrier: Carrier,
    carried: Carried,
    seen: &Seen,
    tries: u32,
) -> (Carrier, Act) {
    let Some(run) = seen.run.as_ref().filter(|run| run.run == carried.run.run) else {
        return passed(carrier, carried.then);
    };
    match run.state {
        RunState::Committing if tries <= TRIES_MAX => {
            let change =
                transitions::publish(run, &carried.manifest, seen, carrier.task(), &moved());
            let phase = Phase::Publishing(Box::new(carried), Box::new(change.item), tries);
            carrier.track(phase, change.transaction)
        }
        RunState::Published => {
            carrier.cleanup(run.clone(), carried.then, Some(carried.manifest), 0)
        }
        RunState::Committing
        | RunState::Claimed
        | RunState::Running
        | RunState::Failed
        | RunState::Aborted
        | RunState::Reverting => carrier.end(Ending::Failed(Failure::transient(
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

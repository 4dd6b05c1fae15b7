//! FORCE: a person undoes a decided run that cannot be completed. From state `reverting` on, any process that
//! reads the run continues the undo: it aborts all uploads, deletes the completed files, and then fails the run.

use crds::tracking::{RunItem, RunState};
use crds::{Reason, Report, RunId};

use super::acts::{Act, Ending};
use super::effects::Effect;
use super::observed::ObservedItems;
use super::phases::{Phase, Process, Role, TRIES_MAX, Then, Why};
use super::transitions;
use crate::errors::failure::Failure;

/// FORCE, if the run is the one that the person named, and is still decided.
pub(super) fn force(process: Process, observed: &ObservedItems, tries: u32) -> (Process, Act) {
    let Role::Force { run: named, by, .. } = process.role.clone() else {
        return process.end(Ending::Recovered);
    };
    let Some(run) = observed.run.clone().filter(|run| run.run == named && tries <= TRIES_MAX)
    else {
        return process.end(Ending::Failed(not_stuck(named, "has not claimed the source")));
    };
    match run.state {
        RunState::Committing => {
            let change = transitions::force(&run, undone(&by));
            process.track(Phase::Forcing(tries), change.transaction)
        }
        RunState::Reverting => process.revert(&run, Then::Finish),
        // undone before, or by another meanwhile
        RunState::Failed => process.end(Ending::Recovered),
        RunState::Published => {
            process.end(Ending::Failed(not_stuck(named, "is already published")))
        }
        RunState::Claimed | RunState::Running | RunState::Aborted => process
            .end(Ending::Failed(not_stuck(named, "is not decided, so it does not need --force"))),
    }
}

fn not_stuck(run: RunId, what: &str) -> Failure {
    Failure::permanent(
        Reason::NotStuck,
        format!("run {run} {what}"),
        "Check the run with `tidemark watermark get`.",
    )
}

fn undone(by: &str) -> Report {
    Report::new(
        Reason::Reverted,
        format!("{by} undid the decided run, and its window is extracted again"),
        "Set the annotation tidemark.dev/requested-at to start the next attempt.",
    )
}

/// Readers would read a remaining file of the undone run together with the rows of the next run.
pub(super) fn locked() -> Failure {
    Failure::permanent(
        Reason::StorageDenied,
        "cannot undo the run: an Object Lock protects one of its files",
        "Remove the legal hold, or wait until the retention of the file ends. Then undo the run again.",
    )
}

pub(super) fn delete(
    process: Process,
    run: RunItem,
    keys: Vec<String>,
    (then, again, more): (Then, bool, bool),
) -> (Process, Act) {
    if keys.is_empty() {
        return deleted(process, &run, then, again);
    }
    let after = keys.last().filter(|_| more).cloned();
    let effects = keys
        .into_iter()
        .map(|key| Effect::Delete { uri: run.uri.clone(), store: None, key })
        .collect();
    process.go(Phase::Undoing(Box::new(run), then, again, after), Act::Write(effects))
}

pub(super) fn deleted(process: Process, run: &RunItem, then: Then, again: bool) -> (Process, Act) {
    if again { reverted(process, run, then) } else { process.revert_pass(run, then, true) }
}

pub(super) fn reverted(process: Process, run: &RunItem, then: Then) -> (Process, Act) {
    let change = transitions::reverted(run);
    process.track(Phase::Reverting(then), change.transaction)
}

/// The undo holds, or another committer of it was faster.
pub(super) fn ended(process: Process, then: Then) -> (Process, Act) {
    match then {
        Then::Finish => process.read(Why::Force(1)),
        Then::Claim | Then::Recover => process.finish(then),
    }
}

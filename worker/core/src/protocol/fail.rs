//! Gives a run up that is not decided, and removes its uploads.

use crds::task::RecoverOrder;
use crds::tracking::{RunItem, RunState};

use super::acts::{Act, Ending};
use super::observed::ObservedItems;
use super::phases::{AfterSweep, Phase, Process, Role, Sweep, TRIES_MAX, Why};
use super::transitions;
use crate::errors::failure::Failure;

/// Gives the run up, if it is still ours and undecided.
pub(super) fn fail(
    process: Process,
    failure: Failure,
    run: &RunItem,
    observed: &ObservedItems,
    tries: u32,
) -> (Process, Act) {
    let own = observed.run.as_ref().filter(|found| found.run == run.run);
    if own.is_some_and(|found| matches!(found.state, RunState::Failed | RunState::Aborted)) {
        // our own FAIL, its reply lost
        return abandon(process, failure, run);
    }
    let found = own.filter(|found| found.state.is_live());
    let (Some(found), false) = (found, tries > TRIES_MAX) else {
        return process.end(Ending::Failed(failure));
    };
    let last = match &process.role {
        Role::Coordinate { last, .. } => *last || failure.exit == crds::condition::Exit::Permanent,
        Role::Recover { .. } | Role::Force { .. } => false,
    };
    let order = RecoverOrder { last, aborted: false, report: failure.report.clone() };
    let change = transitions::fail(found, observed, process.task(), &order);
    let phase = Phase::Failing(Box::new(failure), Box::new(change.item), tries);
    process.track(phase, change.transaction)
}

/// FAIL holds: now the open uploads of the run may go.
pub(super) fn abandon(process: Process, failure: Failure, run: &RunItem) -> (Process, Act) {
    if let Role::Recover { .. } = process.role {
        return process.read(Why::Recover { swept: false, tries: 0 });
    }
    let sweep = Sweep::new(run.uri.clone(), run.run, 2, AfterSweep::Fail(failure));
    process.sweep(sweep)
}

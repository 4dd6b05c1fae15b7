//! Recovers what a stopped coordinator left: after it no run of the given owner and attempt is open any more.

use crds::tracking::{RunItem, RunState};

use super::acts::{Act, Ending};
use super::observed::ObservedItems;
use super::phases::After;
use super::phases::{AfterSweep, Phase, Process, Role, Sweep, TRIES_MAX, Then};
use super::removals;
use super::transitions;
use crate::errors::failure::Failure;

pub(super) fn recover(
    process: Process,
    observed: &ObservedItems,
    swept: bool,
    tries: u32,
) -> (Process, Act) {
    let Role::Recover { task, order } = process.role.clone() else {
        return process.end(Ending::Recovered);
    };
    if tries > TRIES_MAX {
        let failure = Failure::transient(
            crds::Reason::RecoveryFailed,
            "other processes repeatedly changed the tracking items first",
            "",
        );
        return process.end(Ending::Failed(failure));
    }
    let Some(run) = observed.run.clone() else { return raise(process, observed, tries) };
    if !run.state.is_open() && removals::has_pending_cleanup(&run, observed.now) {
        return process.cleanup(run, Then::Recover, None, 0);
    }
    if run.owner.uid != task.owner.uid || run.attempt > task.attempt {
        return of_another(process, observed, &run, swept, tries);
    }
    match run.state {
        // the fence comes first: only a run that is failed can lose its uploads
        RunState::Claimed | RunState::Running => fail(process, &run, observed, tries),
        // a coordinator that was asked to stop does not know why, and wrote `failed`
        RunState::Failed if order.aborted && was_stopped(&run) => {
            fail(process, &run, observed, tries)
        }
        RunState::Committing => process.fetch_manifest(run, Then::Recover),
        RunState::Reverting => process.revert(&run, Then::Recover),
        RunState::Published | RunState::Failed | RunState::Aborted if swept => {
            raise(process, observed, tries)
        }
        // of a published run, what is still open belongs to pods that died or came second
        RunState::Published | RunState::Failed | RunState::Aborted => process.sweep(Sweep::new(
            run.uri.clone(),
            run.run,
            2,
            AfterSweep::Recover { must: run.state != RunState::Published },
        )),
    }
}

fn was_stopped(run: &RunItem) -> bool {
    run.report.as_ref().is_some_and(|report| report.reason == crds::Reason::Stopped)
}

fn fail(process: Process, run: &RunItem, observed: &ObservedItems, tries: u32) -> (Process, Act) {
    let Role::Recover { task, order } = process.role.clone() else {
        return process.end(Ending::Recovered);
    };
    let change = transitions::fail(run, observed, &task, &order);
    let failure = Failure { exit: crds::condition::Exit::Done, report: order.report };
    let phase = Phase::Failing(Box::new(failure), Box::new(change.item), tries);
    process.track(phase, change.transaction)
}

/// The run item is another's: the run of this object before it may have left uploads.
fn of_another(
    process: Process,
    observed: &ObservedItems,
    run: &RunItem,
    swept: bool,
    tries: u32,
) -> (Process, Act) {
    let ours = observed.outcome.as_ref().and_then(|outcome| outcome.run);
    let complete =
        observed.outcome.as_ref().and_then(|outcome| outcome.result.as_ref()).is_some_and(
            |result| result.run == ours && transitions::answers_complete(result, process.task()),
        );
    match ours.filter(|ours| *ours != run.run && !swept && !complete) {
        Some(ours) => {
            let uri = process.task().spec.output.uri.clone();
            process.sweep(Sweep::new(uri, ours, 2, AfterSweep::Recover { must: true }))
        }
        None => raise(process, observed, tries),
    }
}

fn raise(process: Process, observed: &ObservedItems, tries: u32) -> (Process, Act) {
    let Role::Recover { task, order } = &process.role else {
        return process.end(Ending::Recovered);
    };
    match transitions::raise(task, observed, order) {
        Some(transaction) => process.track(Phase::Raising(tries), transaction),
        None => process.list_orphans(After::Recover),
    }
}

//! Mistakes in RECOVER and FAIL.

use crds::RunId;
use crds::tracking::{Mode, RunState};
use uuid::Uuid;
use worker_core::protocol::{Act, AfterSweep, Event, Phase, Process, Role, Step, Sweep, Why};

use super::tools::{id_only, no_conditions, product, put_run, recover_sees, with};

fn committing_becomes(state: RunState, process: Process, event: Event) -> (Process, Event) {
    recover_sees(process, event, |_, observed| {
        if let Some(run) = observed.run.as_mut().filter(|run| run.state == RunState::Committing) {
            run.state = state;
        }
    })
}

pub(super) fn recover_fails_committing(process: Process, event: Event) -> (Process, Act) {
    let observed = committing_becomes(RunState::Running, process, event);
    with(observed, Step::Fail, |_, fail| id_only(fail))
}

pub(super) fn recover_aborts_committing(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = committing_becomes(RunState::Failed, process, event);
    product(process, event)
}

pub(super) fn abort_before_fence(process: Process, event: Event) -> (Process, Act) {
    let first = matches!(process.phase, Phase::Reading(Why::Recover { swept: false, .. }));
    let run = match &event {
        Event::Observed(observed, _) => observed.run.clone(),
        _ => None,
    };
    let (process, act) = product(process, event);
    match (&process.phase, run) {
        (Phase::Failing(..), Some(run)) if first => {
            let then = AfterSweep::Recover { must: true };
            let sweep = Sweep::new(run.uri.clone(), run.run, 1, then);
            let act = Act::ListUploads { uri: run.uri, run: run.run };
            (Process { phase: Phase::Listing(Box::new(sweep)), ..process }, act)
        }
        _ => (process, act),
    }
}

pub(super) fn recover_without_owner(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = recover_sees(process, event, |process, observed| {
        if let Some(run) = &mut observed.run {
            run.owner.uid.clone_from(&process.role.task().owner.uid);
            run.attempt = run.attempt.min(process.role.task().attempt);
        }
    });
    product(process, event)
}

pub(super) fn recover_without_attempt(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = recover_sees(process, event, |process, observed| {
        if let Some(run) = &mut observed.run {
            run.attempt = run.attempt.min(process.role.task().attempt);
        }
    });
    product(process, event)
}

/// Recovery has read the run item, and then lists the uploads of any run.
pub(super) fn recover_reads_then_lists(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match (&process.role, act) {
        (Role::Recover { .. }, Act::ListUploads { uri, .. }) => {
            (process, Act::ListUploads { uri, run: RunId(Uuid::nil()) })
        }
        (_, act) => (process, act),
    }
}

pub(super) fn fail_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Fail, |_, fail| no_conditions(fail))
}

pub(super) fn pending_window_dropped_on_fail(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail) {
            run.pending_window = None;
            run.window = None;
        }
    })
}

/// The same, while the failed run still shows its window.
pub(super) fn pending_window_field_dropped_on_fail(
    process: Process,
    event: Event,
) -> (Process, Act) {
    with((process, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail) {
            run.pending_window = None;
        }
    })
}

pub(super) fn full_leaves_pending_window(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail).filter(|run| run.mode == Mode::FE) {
            run.pending_window.clone_from(&run.window);
        }
    })
}

/// An attempt that has not claimed yet is left unfenced.
pub(super) fn recover_raises_nothing(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match process.phase {
        Phase::Raising(_) => (
            Process { phase: Phase::Ended, ..process },
            Act::End(worker_core::protocol::Ending::Recovered),
        ),
        _ => (process, act),
    }
}

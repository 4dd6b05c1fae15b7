//! Mistakes in RECOVER and FAIL.

use crds::RunId;
use crds::tracking::{Mode, RunState};
use uuid::Uuid;
use worker_core::protocol::{Act, AfterSweep, Carrier, Event, Phase, Role, Step, Sweep, Why};

use super::tools::{id_only, no_conditions, product, put_run, recover_sees, with};

fn committing_becomes(state: RunState, carrier: Carrier, event: Event) -> (Carrier, Event) {
    recover_sees(carrier, event, |_, seen| {
        if let Some(run) = seen.run.as_mut().filter(|run| run.state == RunState::Committing) {
            run.state = state;
        }
    })
}

pub(super) fn recover_fails_committing(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let seen = committing_becomes(RunState::Running, carrier, event);
    with(seen, Step::Fail, |_, fail| id_only(fail))
}

pub(super) fn recover_aborts_committing(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, event) = committing_becomes(RunState::Failed, carrier, event);
    product(carrier, event)
}

pub(super) fn abort_before_fence(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let first = matches!(carrier.phase, Phase::Look(Why::Recover { swept: false, .. }));
    let run = match &event {
        Event::Seen(seen, _) => seen.run.clone(),
        _ => None,
    };
    let (carrier, act) = product(carrier, event);
    match (&carrier.phase, run) {
        (Phase::Failing(..), Some(run)) if first => {
            let then = AfterSweep::Recover { must: true };
            let sweep = Sweep::new(run.uri.clone(), run.run, 1, then);
            let act = Act::ListUploads { uri: run.uri, run: run.run };
            (Carrier { phase: Phase::Listing(Box::new(sweep)), ..carrier }, act)
        }
        _ => (carrier, act),
    }
}

pub(super) fn recover_without_owner(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, event) = recover_sees(carrier, event, |carrier, seen| {
        if let Some(run) = &mut seen.run {
            run.owner.uid.clone_from(&carrier.role.task().owner.uid);
            run.attempt = run.attempt.min(carrier.role.task().attempt);
        }
    });
    product(carrier, event)
}

pub(super) fn recover_without_attempt(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, event) = recover_sees(carrier, event, |carrier, seen| {
        if let Some(run) = &mut seen.run {
            run.attempt = run.attempt.min(carrier.role.task().attempt);
        }
    });
    product(carrier, event)
}

/// Recovery has read `R`, and then lists the uploads of whatever run.
pub(super) fn recover_reads_then_lists(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match (&carrier.role, act) {
        (Role::Recover { .. }, Act::ListUploads { uri, .. }) => {
            (carrier, Act::ListUploads { uri, run: RunId(Uuid::nil()) })
        }
        (_, act) => (carrier, act),
    }
}

pub(super) fn fail_without_condition(carrier: Carrier, event: Event) -> (Carrier, Act) {
    with((carrier, event), Step::Fail, |_, fail| no_conditions(fail))
}

pub(super) fn pending_window_dropped_on_fail(carrier: Carrier, event: Event) -> (Carrier, Act) {
    with((carrier, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail) {
            run.pending_window = None;
            run.window = None;
        }
    })
}

/// The same, while the failed run still shows its window.
pub(super) fn pending_window_field_dropped_on_fail(
    carrier: Carrier,
    event: Event,
) -> (Carrier, Act) {
    with((carrier, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail) {
            run.pending_window = None;
        }
    })
}

pub(super) fn full_leaves_pending_window(carrier: Carrier, event: Event) -> (Carrier, Act) {
    with((carrier, event), Step::Fail, |_, fail| {
        if let Some(run) = put_run(fail).filter(|run| run.mode == Mode::FE) {
            run.pending_window.clone_from(&run.window);
        }
    })
}

/// An attempt that has not claimed yet is left unfenced.
pub(super) fn recover_raises_nothing(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match carrier.phase {
        Phase::Raising(_) => (
            Carrier { phase: Phase::Ended, ..carrier },
            Act::End(worker_core::protocol::Ending::Recovered),
        ),
        _ => (carrier, act),
    }
}

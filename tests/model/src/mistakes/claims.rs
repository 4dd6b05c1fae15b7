//! Mistakes in CLAIM and PIN.

use crds::extract_job::WatermarkType;
use crds::tracking::{Mode, RunState, WatermarkItem, Window};
use worker_core::protocol::{Act, Event, Expect, Phase, Process, Step};

use super::tools::{claim_sees, id_only, no_conditions, product, put_run, run_only, with};
use crate::shop::KEY;
use crate::stores::ANY;

pub(super) fn claim_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, |_, claim| no_conditions(claim))
}

pub(super) fn claim_by_id_only(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, |_, claim| id_only(claim))
}

pub(super) fn takeover_in_committing(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |_, observed| {
        if let Some(run) = observed.run.as_mut().filter(|run| run.state == RunState::Committing) {
            run.state = RunState::Running;
        }
    });
    with(observed, Step::Claim, |_, claim| id_only(claim))
}

pub(super) fn claim_ignores_outcome(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |_, observed| observed.outcome = None);
    with(observed, Step::Claim, |_, claim| run_only(claim))
}

/// Any difference from the request that was honoured last starts a run.
pub(crate) fn claim_takes_older_requests(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |process, observed| {
        let asked = &process.role.task().owner.requested_at;
        if let Some(result) = observed.outcome.as_mut().and_then(|outcome| outcome.result.as_mut())
            && result.owner.requested_at != *asked
        {
            result.owner.requested_at = None;
        }
    });
    with(observed, Step::Claim, |_, claim| run_only(claim))
}

pub(super) fn claim_ignores_attempt(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |_, observed| {
        if let Some(outcome) = &mut observed.outcome {
            outcome.attempt = 0;
        }
        if let Some(run) = &mut observed.run {
            run.attempt = 0;
        }
    });
    with(observed, Step::Claim, |_, claim| run_only(claim))
}

pub(super) fn claim_skips_pending_cleanup(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = claim_sees(process, event, |_, observed| {
        if let Some(run) = &mut observed.run {
            run.pending_cleanup = None;
        }
    });
    product(process, event)
}

pub(super) fn lost_run_is_first(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = claim_sees(process, event, |_, observed| {
        if observed.run.is_none() {
            observed.identity = None;
        }
    });
    product(process, event)
}

pub(super) fn lost_mark_is_first(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |_, observed| {
        observed.watermark_item.get_or_insert_with(|| WatermarkItem {
            source: KEY.to_owned(),
            lwm_value: Some(WatermarkType::Int.minimum_text().to_owned()),
            hwm_value: Some("-1".to_owned()),
            hwm_col_name: Some("id".to_owned()),
            hwm_column_type: Some("int".to_owned()),
            ..WatermarkItem::default()
        });
    });
    with(observed, Step::Claim, |_, claim| run_only(claim))
}

pub(super) fn copy_forgotten(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = claim_sees(process, event, |_, observed| {
        if let Some(run) = &mut observed.run {
            run.watermark_item = None;
        }
    });
    product(process, event)
}

pub(super) fn pending_window_over_watermark_item(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = claim_sees(process, event, |_, observed| {
        if let Some(run) = &mut observed.run {
            run.watermark_item.clone_from(&observed.watermark_item);
        }
    });
    product(process, event)
}

/// The next attempt goes on with the run of the one before.
pub(super) fn resume_the_same_run(process: Process, event: Event) -> (Process, Act) {
    let event = match event {
        Event::Observed(observed, fresh) => {
            let held = observed.run.as_ref().filter(|run| run.state.is_live()).map(|run| run.run);
            Event::Observed(observed, held.unwrap_or(fresh))
        }
        event => event,
    };
    product(process, event)
}

/// No window is pending for a run that is about to claim.
pub(super) fn pending_window_dropped_on_takeover(process: Process, event: Event) -> (Process, Act) {
    let live = match &event {
        Event::Observed(observed, _) => {
            observed.run.as_ref().is_some_and(|run| run.state.is_live())
        }
        _ => false,
    };
    with((process, event), Step::Claim, |process, claim| {
        if live {
            owe_nothing(process, claim);
        }
    })
}

pub(super) fn new_window_on_retry(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, owe_nothing)
}

fn owe_nothing(process: &mut Process, claim: &mut worker_core::protocol::Transaction) {
    if let Some(run) = put_run(claim) {
        run.pending_window = None;
    }
    if let Phase::Claiming(claimed, _) = &mut process.phase {
        claimed.item.pending_window = None;
        claimed.order.pending_window = None;
    }
}

pub(super) fn pin_at_claim(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, |_, claim| {
        if let Some(run) = put_run(claim) {
            run.state = RunState::Running;
            run.window = Some(Window {
                low: None,
                low_text: run
                    .watermark_item
                    .as_ref()
                    .and_then(|watermark_item| watermark_item.lwm_value.clone()),
                high: Some("9".to_owned()),
                empty: false,
                guard: None,
            });
        }
    })
}

pub(super) fn pin_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Pin, |_, pin| no_conditions(pin))
}

pub(super) fn re_pin(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Renew, |process, renew| {
        let wider = |window: &mut Option<Window>| {
            if let Some(window) = window {
                window.high = Some("9".to_owned());
            }
        };
        if let Some(run) = put_run(renew) {
            wider(&mut run.window);
        }
        if let Phase::Renewing(_, run) = &mut process.phase {
            wider(&mut run.window);
        }
    })
}

pub(super) fn high_from_clock(process: Process, event: Event) -> (Process, Act) {
    let event = match event {
        Event::Planned(mut plan, now) => {
            plan.window.high = Some("99".to_owned());
            Event::Planned(plan, now)
        }
        event => event,
    };
    product(process, event)
}

/// A full extract takes the pending window of an incremental run.
pub(super) fn pending_window_mode_forgotten(process: Process, event: Event) -> (Process, Act) {
    let event = match (&process.phase, event) {
        (Phase::Planning(claimed), Event::Planned(mut plan, now)) if plan.mode == Mode::FE => {
            if let Some(pending_window) = &claimed.item.pending_window {
                plan.window = pending_window.clone();
            }
            Event::Planned(plan, now)
        }
        (_, event) => event,
    };
    product(process, event)
}

pub(super) fn renew_without_condition(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Renew, |_, renew| no_conditions(renew))
}

/// CLAIM does not mind that the watermark item was written after it was read.
pub(super) fn claim_without_mark(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, |_, claim| {
        for write in &mut claim.writes {
            if matches!(write.expect, Expect::Watermark(_)) {
                write.expect = Expect::WatermarkLow(ANY.to_owned());
            }
        }
    })
}

/// Attempts begin anew with every request.
pub(super) fn attempts_per_request(process: Process, event: Event) -> (Process, Act) {
    let observed = claim_sees(process, event, |process, observed| {
        let request = &process.role.task().owner.requested_at;
        if let Some(run) = observed.run.as_mut().filter(|run| run.owner.requested_at != *request) {
            run.attempt = 0;
            if let Some(outcome) = &mut observed.outcome {
                outcome.attempt = 0;
            }
        }
    });
    with(observed, Step::Claim, |_, claim| run_only(claim))
}

/// A request that failed is refused, even if it was corrected since.
pub(super) fn failed_for_ever(process: Process, event: Event) -> (Process, Act) {
    let (process, event) = claim_sees(process, event, |_, observed| {
        if let Some(result) = observed.outcome.as_mut().and_then(|outcome| outcome.result.as_mut())
        {
            result.owner.generation = i64::MAX;
        }
    });
    product(process, event)
}

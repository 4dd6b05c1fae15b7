//! In: the annotation `requested-at`, the latest attempt, the tracking items. Out: the value that the next
//! attempt honours. Bound: none. Fails: `InvalidRequest`, for a value that is not a time or too far ahead.

use std::fmt::Write as _;

use crds::requested::{check, is_later, latest};
use crds::tracking::Owner;
use crds::{ConditionType, Reason, Report};

use crate::attempt::{Attempt, TaskText};
use crate::decision::{Decision, Validity};
use crate::observed::{Observed, TrackingRead};
use crate::valid::{ValidExtractJob, requested_at};

/// What the object asks for: its annotation or, if that is later, the value of the latest attempt. A run
/// in flight therefore ends as it was asked for, although somebody restores an older value.
///
/// # Errors
/// `InvalidRequest`.
pub(crate) fn requested(
    observed: &Observed,
    mut valid: ValidExtractJob,
    attempt: Option<&Attempt>,
) -> Result<ValidExtractJob, Report> {
    let annotation = requested_at(&observed.job);
    if let Some(text) = annotation {
        check(text, observed.now)?;
    }
    let in_flight = attempt.and_then(Attempt::task_text).and_then(|it| it.task.owner.requested_at);
    valid.owner.requested_at = latest([annotation, in_flight.as_deref()]).map(ToOwned::to_owned);
    Ok(valid)
}

/// The owner of the next attempt. It repeats the latest value that was ever honoured, since a run for an
/// edited spec must not make an older value count again.
pub(crate) fn honouring(observed: &Observed, owner: &Owner, read: &TrackingRead) -> Owner {
    let status = observed.status().outcome.and_then(|outcome| outcome.requested_at);
    let result = read.outcome.as_ref().and_then(|outcome| outcome.result.as_ref());
    let run = read.run_of(observed.uid());
    let known = [
        owner.requested_at.as_deref(),
        status.as_deref(),
        result.and_then(|result| result.owner.requested_at.as_deref()),
        run.and_then(|run| run.owner.requested_at.as_deref()),
    ];
    Owner { requested_at: latest(known).map(ToOwned::to_owned), ..owner.clone() }
}

/// A run goes on as it was begun; what the object asks for since then follows it, and is said so.
pub(crate) fn mention_what_waits(
    valid: Validity,
    task_text: &TaskText,
    mut decision: Decision,
) -> Decision {
    let waits = match valid {
        Ok(valid) => what_waits(&valid.owner, &task_text.task.owner),
        Err(report) if report.reason == Reason::InvalidRequest => Some(report.message.clone()),
        Err(_) => None,
    };
    let Some(waits) = waits else { return decision };
    let kinds = [ConditionType::Running, ConditionType::Reconciling].map(ConditionType::name);
    for condition in &mut decision.status.conditions {
        if condition.status == "True" && kinds.contains(&condition.type_.as_str()) {
            let _ = write!(condition.message, "; {waits}");
        }
    }
    decision
}

fn what_waits(now: &Owner, then: &Owner) -> Option<String> {
    let asked = now.requested_at.as_deref();
    let asked = asked.filter(|_| is_later(asked, then.requested_at.as_deref()));
    let run = match asked {
        Some(time) => format!("a run for requested-at {time}"),
        None if now.request != then.request => format!("a run of generation {}", now.generation),
        None => return None,
    };
    Some(format!("{run} follows when this one has ended"))
}

//! In: an attempt that ended. Out: its Jobs stopped, its run recovered, and what follows.
//! Bound: one recovery Job at a time, a few in a row. Fails: `RecoveryFailed`, which a person corrects.

use std::time::Duration;

use crds::task::RecoverOrder;
use crds::tracking::{RunState, TrackedOutcome};
use crds::{ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::attempt::{Attempt, TaskText, name};
use crate::decision::{
    Blocked, Decision, End, Ended, Validity, has_moved_on, later, refused, suspended, tracking,
    until,
};
use crate::due::{Answer, answer, status_outcome};
use crate::effects::Effect;
use crate::ending::{Ending, EndingKind, recorded};
use crate::observed::{Observed, TrackingRead};
use crate::recover_jobs::{Progress, steps};
use crate::retry::{backoff, spread};
use crate::status::{Health, failed};
use crate::{concluding, in_doubt};

/// Attempts each time an object becomes due, where it names no number.
const RUNS: u32 = 3;
/// Ends an attempt and says what follows.
pub(crate) fn end<'v>(
    observed: &Observed,
    valid: Validity<'v>,
    End { attempt, task_text, ending }: &End,
) -> Result<Ended<'v>, Blocked> {
    let mut effects = Vec::new();
    if let Some(anchor) = attempt.anchor().filter(|_| recorded(attempt).is_none()) {
        effects.push(Effect::RecordEnding { job: name(anchor), ending: ending.clone() });
    }
    let last = is_last(observed, task_text, ending);
    let aborted = ending.report.reason == Reason::Suspended;
    let order = RecoverOrder { last, aborted, report: ending.report.clone() };
    let (steps, progress) = steps(observed, attempt, task_text, ending.at, &order);
    effects.extend(steps);
    match progress {
        Progress::Waiting(pause) => {
            let base = ExtractJobStatus { attempt: Some(attempt.number), ..observed.status() };
            let phase = match base.phase {
                Some(phase @ (Phase::Planning | Phase::Running | Phase::Committing)) => phase,
                _ => Phase::Planning,
            };
            let decision =
                Decision::report(observed, base, phase, Health::Reconciling, &ending.report);
            Ok(Ended::of(decision.doing(effects).after(pause)))
        }
        Progress::Exhausted(pause) => {
            let next = exhausted(observed, valid, (attempt, task_text), ending)?;
            Ok(next.following(effects, Some(pause)))
        }
        Progress::Done(at) => {
            let next = recovered(observed, valid, (attempt, task_text), ending, at)?;
            Ok(next.following(effects, None))
        }
    }
}

fn budget(observed: &Observed) -> u32 {
    observed.job.spec.retry.as_ref().and_then(|retry| retry.runs).unwrap_or(RUNS)
}

/// Whether no attempt follows by itself.
fn is_last(observed: &Observed, task_text: &TaskText, ending: &Ending) -> bool {
    match ending.kind {
        EndingKind::Permanent => true,
        EndingKind::Yielded => false,
        EndingKind::Failed => task_text.task.retry + 1 >= budget(observed),
    }
}

/// Recovery failed for good. If a person changes the object, the next attempt still
/// starts, and takes the run over.
fn exhausted<'v>(
    observed: &Observed,
    valid: Validity<'v>,
    (attempt, task_text): (&Attempt, &TaskText),
    ending: &Ending,
) -> Result<Ended<'v>, Blocked> {
    if let Ok(valid) = valid
        && has_moved_on(Ok(valid), task_text)
        && !observed.is_suspended()
    {
        return Ok(Ended::start(valid, 0));
    }
    let task = &task_text.task;
    let read = tracking(observed, &task.tracking)?;
    let result = read.outcome.as_ref().and_then(|outcome| outcome.result.as_ref());
    let published = result.filter(|result| {
        result.outcome == TrackedOutcome::Complete
            && answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    // the run may be published anyway, and only its cleanup be pending
    if let Some(result) = published {
        return Ok(Ended::of(concluding::conclude(observed, attempt, task_text, (read, result))));
    }
    let report = in_doubt::report(observed, attempt, ending);
    let status = failed(observed, &task_text.task.owner, attempt.number, &report);
    Ok(Ended::of(Decision::of(observed, status, &report)))
}

/// The run is recovered: what the tracking table says comes first.
fn recovered<'v>(
    observed: &Observed,
    valid: Validity<'v>,
    (attempt, task_text): (&Attempt, &TaskText),
    ending: &Ending,
    at: Timestamp,
) -> Result<Ended<'v>, Blocked> {
    let status = observed.status();
    let moved_on = has_moved_on(valid, task_text);
    let rests = status.phase == Some(Phase::Suspended)
        && status.observed_generation == Some(observed.generation());
    if observed.is_suspended() && rests {
        return Ok(Ended::of(suspended(observed)));
    }
    let planned = status.not_before.as_ref().filter(|_| status.attempt == Some(attempt.number));
    let pause = planned.and_then(|planned| until(observed, planned.0)).filter(|_| !moved_on);
    if let Some(pause) = pause {
        return Ok(Ended::of(waiting(observed, (attempt.number, status.retry), ending, at, pause)));
    }
    let task = &task_text.task;
    let read = tracking(observed, &task.tracking)?;
    let result = read.outcome.as_ref().and_then(|outcome| outcome.result.as_ref());
    let answered = result.filter(|result| {
        answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    if let Some(result) = answered.filter(|result| result.outcome == TrackedOutcome::Complete) {
        return Ok(Ended::of(concluding::conclude(observed, attempt, task_text, (read, result))));
    }
    let valid = match valid {
        Ok(valid) if moved_on => return Ok(Ended::start(valid, 0)),
        Ok(valid) => valid,
        Err(report) => return Ok(Ended::of(refused(observed, report))),
    };
    if answered.is_some() || is_last(observed, task_text, ending) {
        let report = match ending.report.reason {
            // recovered in any case: a person undid it, if the run belongs to this object
            Reason::CommitStuck if was_undone(read, observed.uid(), attempt.number) => Report::new(
                Reason::Reverted,
                "the stuck run was undone manually, and nothing of it is published",
                "Set a new annotation tidemark.dev/requested-at on the object to read its window again.",
            ),
            _ => ending.report.clone(),
        };
        let status = failed(observed, &task.owner, attempt.number, &report);
        return Ok(Ended::of(Decision::of(observed, status, &report)));
    }
    let timing = &observed.settings.timing;
    let (retry, pause) = match ending.kind {
        EndingKind::Yielded => {
            (task.retry, spread(timing.busy_retry, observed.uid(), attempt.number))
        }
        EndingKind::Failed | EndingKind::Permanent => {
            (task.retry + 1, backoff(task.retry + 1, timing.retry_first, timing.retry_most))
        }
    };
    let not_before = later(at, pause);
    match until(observed, not_before) {
        Some(pause) => {
            let retry = (retry > 0).then_some(retry);
            Ok(Ended::of(waiting(observed, (attempt.number, retry), ending, not_before, pause)))
        }
        None => Ok(Ended::start(valid, retry)),
    }
}

fn waiting(
    observed: &Observed,
    (attempt, retry): (u32, Option<u32>),
    ending: &Ending,
    not_before: Timestamp,
    pause: Duration,
) -> Decision {
    let old = observed.status();
    let kept = old.not_before.clone().filter(|_| old.attempt == Some(attempt));
    let base = ExtractJobStatus {
        attempt: Some(attempt),
        retry,
        not_before: kept.or(Some(Time(not_before))),
        extract_successful: Some("N".to_owned()),
        ..old
    };
    let report = match ending.kind {
        EndingKind::Yielded => ending.report.clone(),
        EndingKind::Failed | EndingKind::Permanent => Report::new(
            Reason::RetryPending,
            format!(
                "attempt {attempt} failed, and the next one follows after a delay: {}: {}",
                ending.report.reason, ending.report.message
            ),
            ending.report.remedy.clone(),
        ),
    };
    Decision::report(observed, base, Phase::Waiting, Health::Reconciling, &report).after(pause)
}

/// Whether the run of that attempt is the one that failed after it had been decided.
fn was_undone(read: &TrackingRead, uid: &str, attempt: u32) -> bool {
    read.run.as_ref().is_some_and(|run| {
        run.owner.uid == uid && run.attempt == attempt && run.state == RunState::Failed
    })
}

//! In: an attempt that ended. Out: its Jobs stopped, its run recovered, and what follows.
//! Bound: one recovery Job at a time, a few in a row. Fails: `RecoveryFailed`, which a human mends.

use std::time::Duration;

use crds::task::RecoverOrder;
use crds::tracking::{RunState, TrackedOutcome};
use crds::{ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::attempt::{Attempt, Letter, name};
use crate::decision::{
    Decision, End, Ended, Pause, Validity, has_moved_on, later, refused, suspended, tracking, until,
};
use crate::due::{Answer, answer, status_outcome};
use crate::effects::Effect;
use crate::ending::{Ending, EndingKind, recorded};
use crate::observed::{Observed, TrackingRead};
use crate::recover_jobs::{Progress, steps};
use crate::retry::{backoff, spread};
use crate::status::{Mood, failed};
use crate::{concluding, in_doubt};

/// Attempts each time an object becomes due, where it names no number.
const RUNS: u32 = 3;
/// Ends an attempt and says what follows.
pub(crate) fn end<'v>(
    seen: &Observed,
    valid: Validity<'v>,
    End { attempt, letter, ending }: &End,
) -> Result<Ended<'v>, Pause> {
    let mut effects = Vec::new();
    if let Some(anchor) = attempt.anchor().filter(|_| recorded(attempt).is_none()) {
        effects.push(Effect::RecordEnding { job: name(anchor), ending: ending.clone() });
    }
    let last = is_last(seen, letter, ending);
    let aborted = ending.report.reason == Reason::Suspended;
    let order = RecoverOrder { last, aborted, report: ending.report.clone() };
    let (steps, progress) = steps(seen, attempt, letter, ending.at, &order);
    effects.extend(steps);
    match progress {
        Progress::Waiting(pause) => {
            let base = ExtractJobStatus { attempt: Some(attempt.number), ..seen.status() };
            let phase = match base.phase {
                Some(phase @ (Phase::Planning | Phase::Running | Phase::Committing)) => phase,
                _ => Phase::Planning,
            };
            let decision = Decision::say(seen, base, phase, Mood::Reconciling, &ending.report);
            Ok(Ended::of(decision.doing(effects).after(pause)))
        }
        Progress::Exhausted(pause) => {
            let next = exhausted(seen, valid, (attempt, letter), ending)?;
            Ok(next.following(effects, Some(pause)))
        }
        Progress::Done(at) => {
            let next = recovered(seen, valid, (attempt, letter), ending, at)?;
            Ok(next.following(effects, None))
        }
    }
}

fn budget(seen: &Observed) -> u32 {
    seen.job.spec.retry.as_ref().and_then(|retry| retry.runs).unwrap_or(RUNS)
}

/// Whether no attempt follows by itself.
fn is_last(seen: &Observed, letter: &Letter, ending: &Ending) -> bool {
    match ending.kind {
        EndingKind::Permanent => true,
        EndingKind::Yielded => false,
        EndingKind::Failed => letter.task.retry + 1 >= budget(seen),
    }
}

/// Recovery failed for good. A human's change of the object starts the next attempt all the same: it
/// takes the run over.
fn exhausted<'v>(
    seen: &Observed,
    valid: Validity<'v>,
    (attempt, letter): (&Attempt, &Letter),
    ending: &Ending,
) -> Result<Ended<'v>, Pause> {
    if let Ok(valid) = valid
        && has_moved_on(Ok(valid), letter)
        && !seen.is_suspended()
    {
        return Ok(Ended::start(valid, 0));
    }
    let task = &letter.task;
    let read = tracking(seen, &task.tracking)?;
    let result = read.o.as_ref().and_then(|outcome| outcome.result.as_ref());
    let published = result.filter(|result| {
        result.outcome == TrackedOutcome::Complete
            && answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    // the run may have been published all the same, and only what follows `published` be left
    if let Some(result) = published {
        return Ok(Ended::of(concluding::conclude(seen, attempt, letter, (read, result))));
    }
    let report = in_doubt::report(seen, attempt, ending);
    let status = failed(seen, &letter.task.owner, attempt.number, &report);
    Ok(Ended::of(Decision::of(seen, status, &report)))
}

/// The run is recovered: what the tracking table says comes first.
fn recovered<'v>(
    seen: &Observed,
    valid: Validity<'v>,
    (attempt, letter): (&Attempt, &Letter),
    ending: &Ending,
    at: Timestamp,
) -> Result<Ended<'v>, Pause> {
    let status = seen.status();
    let moved_on = has_moved_on(valid, letter);
    let rests = status.phase == Some(Phase::Suspended)
        && status.observed_generation == Some(seen.generation());
    if seen.is_suspended() && rests {
        return Ok(Ended::of(suspended(seen)));
    }
    let planned = status.not_before.as_ref().filter(|_| status.attempt == Some(attempt.number));
    let pause = planned.and_then(|planned| until(seen, planned.0)).filter(|_| !moved_on);
    if let Some(pause) = pause {
        return Ok(Ended::of(waiting(seen, (attempt.number, status.retry), ending, at, pause)));
    }
    let task = &letter.task;
    let read = tracking(seen, &task.tracking)?;
    let result = read.o.as_ref().and_then(|outcome| outcome.result.as_ref());
    let answered = result.filter(|result| {
        answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    if let Some(result) = answered.filter(|result| result.outcome == TrackedOutcome::Complete) {
        return Ok(Ended::of(concluding::conclude(seen, attempt, letter, (read, result))));
    }
    let valid = match valid {
        Ok(valid) if moved_on => return Ok(Ended::start(valid, 0)),
        Ok(valid) => valid,
        Err(report) => return Ok(Ended::of(refused(seen, report))),
    };
    if answered.is_some() || is_last(seen, letter, ending) {
        let report = match ending.report.reason {
            // recovered all the same: a human undid it, if the run was ours
            Reason::CommitStuck if was_undone(read, seen.uid(), attempt.number) => Report::new(
                Reason::Reverted,
                "the stuck run was undone manually, and nothing of it is published",
                "Set a new annotation tidemark.dev/requested-at on the object to read its window again.",
            ),
            _ => ending.report.clone(),
        };
        let status = failed(seen, &task.owner, attempt.number, &report);
        return Ok(Ended::of(Decision::of(seen, status, &report)));
    }
    let timing = &seen.settings.timing;
    let (retry, pause) = match ending.kind {
        EndingKind::Yielded => (task.retry, spread(timing.busy_retry, seen.uid(), attempt.number)),
        EndingKind::Failed | EndingKind::Permanent => {
            (task.retry + 1, backoff(task.retry + 1, timing.retry_first, timing.retry_most))
        }
    };
    let not_before = later(at, pause);
    match until(seen, not_before) {
        Some(pause) => {
            let retry = (retry > 0).then_some(retry);
            Ok(Ended::of(waiting(seen, (attempt.number, retry), ending, not_before, pause)))
        }
        None => Ok(Ended::start(valid, retry)),
    }
}

fn waiting(
    seen: &Observed,
    (attempt, retry): (u32, Option<u32>),
    ending: &Ending,
    not_before: Timestamp,
    pause: Duration,
) -> Decision {
    let old = seen.status();
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
    Decision::say(seen, base, Phase::Waiting, Mood::Reconciling, &report).after(pause)
}

/// Whether the run of that attempt is the one that failed after it had been decided.
fn was_undone(read: &TrackingRead, uid: &str, attempt: u32) -> bool {
    read.r.as_ref().is_some_and(|run| {
        run.owner.uid == uid && run.attempt == attempt && run.state == RunState::Failed
    })
}

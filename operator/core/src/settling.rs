//! In: an attempt that ended. Out: its Jobs stopped, its run settled, and what follows.
//! Bound: one settle Job at a time, a few in a row. Fails: `SettleFailed`, which a human mends.

use std::time::Duration;

use crds::task::{SettleOrder, TaskTracking};
use crds::tracking::{RunState, TrackedOutcome};
use crds::{ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::attempt::{
    Attempt, Letter, completed_at, failure, is_complete, is_finished, is_stopped, name,
};
use crate::decide::{Decision, Pause, Validity, later, left, refused, tracking, until};
use crate::due::{Answer, answer, status_outcome};
use crate::effects::Effect;
use crate::ending::{Ending, EndingKind, recorded};
use crate::labels::{ATTEMPT, ROLE, Role};
use crate::observed::{Observed, TrackingRead};
use crate::pods::is_live;
use crate::retry::{backoff, spread};
use crate::status::{Mood, failed};
use crate::workload::Maker;
use crate::{concluding, starting, unsettled};

/// Attempts each time an object becomes due, where it names no number.
const RUNS: u32 = 3;
/// Seconds that a failed settle Job is kept once a later one failed too.
const FAILED_SETTLE_TTL: i32 = 3600;

/// How far the end of a run has come.
pub(crate) enum Progress {
    /// Pods are ending or a settle Job is at work; look again then.
    Waiting(Duration),
    /// A settle Job did it.
    Done(Timestamp),
    /// All tries in a row failed; the next one is then.
    Exhausted(Duration),
}

/// Stops the Jobs of an attempt, waits for its pods up to a bound, then settles its run.
pub(crate) fn steps(
    seen: &Observed,
    attempt: &Attempt,
    letter: &Letter,
    since: Timestamp,
    order: &SettleOrder,
) -> (Vec<Effect>, Progress) {
    let unfinished = || attempt.workers().filter(|job| !is_finished(job));
    let mut effects: Vec<Effect> =
        unfinished().filter(|job| !is_stopped(job)).map(starting::stop).collect();
    let busy = unfinished().next().is_some() || has_live_pods(seen, attempt.number);
    let wait = left(seen, since, seen.settings.timing.pod_stop_wait);
    if let Some(wait) = wait.filter(|_| busy && attempt.anchor().is_some()) {
        return (effects, Progress::Waiting(wait));
    }
    let progress = settle(seen, attempt, letter, order, &mut effects);
    (effects, progress)
}

/// Whether a process of the attempt may still be at work.
pub(crate) fn has_live_pods(seen: &Observed, number: u32) -> bool {
    let number = number.to_string();
    seen.pods.iter().filter(|pod| is_live(pod)).any(|pod| {
        let labels = pod.metadata.labels.as_ref();
        let is = |key: &str, value: &str| {
            labels.and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        };
        is(ATTEMPT, &number) && !is(ROLE, Role::Settle.name())
    })
}

fn settle(
    seen: &Observed,
    attempt: &Attempt,
    letter: &Letter,
    order: &SettleOrder,
    effects: &mut Vec<Effect>,
) -> Progress {
    let timing = &seen.settings.timing;
    let earlier = attempt.settled_earlier;
    let last = attempt.settles.last().copied().filter(|(k, _)| *k > earlier);
    if let Some((_, job)) = last.filter(|(_, job)| is_complete(job)) {
        return Progress::Done(completed_at(job).unwrap_or(seen.now));
    }
    let newest = last.map_or(earlier, |(k, _)| k);
    let tries = newest - earlier;
    // what only a human can mend is not tried five times in a row
    let exhausted = tries >= timing.settle_tries || unsettled::is_stuck(seen, attempt);
    let at_work = |pause| {
        if exhausted { Progress::Exhausted(pause) } else { Progress::Waiting(pause) }
    };
    if let Some((_, job)) = last {
        if !is_finished(job) {
            // the last try in a row has its time too
            let pause = timing.settle_deadline;
            return if tries > timing.settle_tries {
                Progress::Exhausted(pause)
            } else {
                Progress::Waiting(pause)
            };
        }
        let pause = if exhausted {
            timing.settle_rest
        } else {
            backoff(tries, timing.settle_retry, timing.settle_deadline)
        };
        let failed_at = failure(job).and_then(|failure| failure.at).unwrap_or(seen.now);
        if let Some(pause) = left(seen, failed_at, pause) {
            return at_work(pause);
        }
    }
    let older =
        attempt.settles.iter().filter(|(k, job)| exhausted && *k < newest && is_finished(job));
    effects.extend(
        older
            .filter(|(_, job)| {
                job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_none())
            })
            .map(|(_, job)| Effect::SetTtl { job: name(job), seconds: FAILED_SETTLE_TTL }),
    );
    let image = attempt.image().unwrap_or(&seen.settings.worker_image);
    let maker = Maker { object: &seen.job, letter, image, settings: seen.settings };
    effects.push(Effect::CreateJob(Box::new(maker.settle(newest + 1, order))));
    at_work(timing.settle_deadline)
}

/// Ends an attempt and says what follows.
pub(crate) fn end(
    seen: &Observed,
    valid: Validity,
    attempt: &Attempt,
    letter: &Letter,
    ending: &Ending,
) -> Result<Decision, Pause> {
    let mut effects = Vec::new();
    if let Some(anchor) = attempt.anchor().filter(|_| recorded(attempt).is_none()) {
        effects.push(Effect::RecordEnding { job: name(anchor), ending: ending.clone() });
    }
    let last = is_last(seen, letter, ending);
    let aborted = ending.report.reason == Reason::Suspended;
    let order = SettleOrder { last, aborted, report: ending.report.clone() };
    let (steps, progress) = steps(seen, attempt, letter, ending.at, &order);
    effects.extend(steps);
    match progress {
        Progress::Waiting(pause) => {
            let base = ExtractJobStatus { attempt: Some(attempt.number), ..seen.status() };
            let phase = match base.phase {
                Some(phase @ (Phase::Planning | Phase::Running | Phase::Committing)) => phase,
                _ => Phase::Planning,
            };
            Ok(Decision::say(seen, base, phase, Mood::Reconciling, &ending.report)
                .doing(effects)
                .after(pause))
        }
        Progress::Exhausted(pause) => {
            let mut decision = exhausted(seen, valid, (attempt, letter), ending)?;
            effects.append(&mut decision.effects);
            Ok(decision.doing(effects).after(pause))
        }
        Progress::Done(at) => {
            let mut decision = settled(seen, valid, (attempt, letter), ending, at)?;
            effects.append(&mut decision.effects);
            Ok(decision.doing(effects))
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

/// Whether the object asks for something else than the attempt did.
pub(crate) fn has_moved_on(valid: Validity, letter: &Letter) -> bool {
    valid.is_ok_and(|valid| {
        let (now, then) = (&valid.owner, &letter.task.owner);
        now.generation != then.generation || now.requested_at != then.requested_at
    })
}

/// Settle failed for good. A human's change of the object starts the next attempt all the same: it
/// takes the run over.
fn exhausted(
    seen: &Observed,
    valid: Validity,
    (attempt, letter): (&Attempt, &Letter),
    ending: &Ending,
) -> Result<Decision, Pause> {
    if let Ok(valid) = valid
        && has_moved_on(Ok(valid), letter)
        && !seen.is_suspended()
    {
        return starting::next(seen, valid, 0);
    }
    let task = &letter.task;
    let read = tracking(seen, &task.tracking)?;
    let result = read.o.as_ref().and_then(|outcome| outcome.result.as_ref());
    let published = result.filter(|result| {
        result.outcome == TrackedOutcome::Complete
            && answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    // the run may have been published all the same, and only what follows `Y` be left
    if let Some(result) = published {
        return Ok(concluding::conclude(seen, attempt, letter, (read, result)));
    }
    let report = unsettled::report(seen, attempt, ending);
    let status = failed(seen, &letter.task.owner, attempt.number, &report);
    Ok(Decision::of(seen, status, &report))
}

/// The run is settled: what the tracking table says comes first.
fn settled(
    seen: &Observed,
    valid: Validity,
    (attempt, letter): (&Attempt, &Letter),
    ending: &Ending,
    at: Timestamp,
) -> Result<Decision, Pause> {
    let status = seen.status();
    let moved_on = has_moved_on(valid, letter);
    let rests = status.phase == Some(Phase::Suspended)
        && status.observed_generation == Some(seen.generation());
    if seen.is_suspended() && rests {
        return Ok(starting::suspended(seen));
    }
    let planned = status.not_before.as_ref().filter(|_| status.attempt == Some(attempt.number));
    let pause = planned.and_then(|planned| until(seen, planned.0)).filter(|_| !moved_on);
    if let Some(pause) = pause {
        return Ok(waiting(seen, (attempt.number, status.retry), ending, at, pause));
    }
    let task = &letter.task;
    let read = tracking(seen, &task.tracking)?;
    let result = read.o.as_ref().and_then(|outcome| outcome.result.as_ref());
    let answered = result.filter(|result| {
        answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    if let Some(result) = answered.filter(|result| result.outcome == TrackedOutcome::Complete) {
        return Ok(concluding::conclude(seen, attempt, letter, (read, result)));
    }
    let valid = match valid {
        Ok(valid) if moved_on => return starting::next(seen, valid, 0),
        Ok(valid) => valid,
        Err(report) => return Ok(refused(seen, report)),
    };
    if answered.is_some() || is_last(seen, letter, ending) {
        let report = match ending.report.reason {
            // settled all the same: a human undid it, if the run was ours
            Reason::CommitStuck if was_undone(read, seen.uid(), attempt.number) => Report::new(
                Reason::Reverted,
                "the stuck run was undone, nothing of it is published",
                "annotate the object with tidemark.dev/requested-at to take its window again",
            ),
            _ => ending.report.clone(),
        };
        let status = failed(seen, &task.owner, attempt.number, &report);
        return Ok(Decision::of(seen, status, &report));
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
            Ok(waiting(seen, (attempt.number, retry), ending, not_before, pause))
        }
        None => starting::next(seen, valid, retry),
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
                "attempt {attempt} failed, the next one follows after a pause: {}: {}",
                ending.report.reason, ending.report.message
            ),
            ending.report.remedy.clone(),
        ),
    };
    Decision::say(seen, base, Phase::Waiting, Mood::Reconciling, &report).after(pause)
}

/// The tracking table of an attempt.
pub(crate) fn table(letter: &Letter) -> &TaskTracking {
    &letter.task.tracking
}

/// Whether the run of that attempt is the one that failed after it had been decided.
fn was_undone(read: &TrackingRead, uid: &str, attempt: u32) -> bool {
    read.r.as_ref().is_some_and(|run| {
        run.owner.uid == uid && run.attempt == attempt && run.state == RunState::Failed
    })
}

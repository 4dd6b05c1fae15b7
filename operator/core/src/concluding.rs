//! In: what the tracking table says about a published or orphaned run. Out: status, or a settle Job.
//! Bound: one settle Job. Fails: never.

use std::time::Duration;

use crds::task::SettleOrder;
use crds::tracking::{OutcomeResult, RunItem};
use crds::{Phase, Reason, Report};

use crate::attempt::{Attempt, Letter, is_complete};
use crate::decide::{Decision, Pause};
use crate::ending::{Ending, EndingKind};
use crate::observed::{Observed, TrackingRead};
use crate::settling::{Progress, end, steps};
use crate::starting;
use crate::status::{Mood, complete, mark_committed, published, speak, success_report};
use crate::valid::ValidExtractJob;

/// The request is published. What is still to do about it, a settle Job does.
pub(crate) fn conclude(
    seen: &Observed,
    attempt: &Attempt,
    letter: &Letter,
    (read, result): (&TrackingRead, &OutcomeResult),
) -> Decision {
    let run = read.r.as_ref().filter(|run| Some(run.run) == result.run);
    let is_due = run.and_then(|run| run.todo.as_ref()).is_some_and(|todo| {
        todo.pointer || todo.removal_due.is_some_and(|due| due <= seen.now.as_second())
    });
    let report = success_report(result);
    let done = attempt.settles.last().is_some_and(|(_, job)| is_complete(job));
    if !is_due || done {
        return Decision::of(seen, complete(seen, result, attempt.number), &report);
    }
    let order = SettleOrder { last: false, aborted: false, report: report.clone() };
    let (effects, progress) = steps(seen, attempt, letter, seen.now, &order);
    let (mood, pause) = match progress {
        Progress::Waiting(pause) => (Mood::Reconciling, pause),
        Progress::Done(_) => (Mood::Reconciling, Duration::ZERO),
        Progress::Exhausted(pause) => (Mood::Stalled, pause),
    };
    let base = published(seen, result, attempt.number);
    let report = Report::new(Reason::Committing, report.message, "");
    let mut status = speak(seen, base, Phase::Committing, mood, &report);
    mark_committed(seen, &mut status, &report);
    Decision::of(seen, status, &report).doing(effects).after(pause)
}

/// A run of ours is open and none of its Jobs is left: it is settled by the letter it must have had.
pub(crate) fn orphan(
    seen: &Observed,
    valid: &ValidExtractJob,
    run: &RunItem,
    retry: u32,
) -> Result<Decision, Pause> {
    let letter = starting::letter(seen, valid, run.owner.clone(), (run.attempt, retry));
    let attempt = Attempt::without_jobs(run.attempt);
    let report = Report::new(
        Reason::PodLost,
        format!("the Jobs of attempt {} were deleted while its run was open", run.attempt),
        "",
    );
    let ending = Ending::new(seen, EndingKind::Failed, report);
    end(seen, Ok(valid), &attempt, &letter, &ending)
}

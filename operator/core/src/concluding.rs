//! In: what the tracking table says about a published or orphaned run. Out: status, or a recovery Job.
//! Bound: one recovery Job. Fails: never.

use std::time::Duration;

use crds::task::RecoverOrder;
use crds::tracking::{OutcomeResult, RunItem};
use crds::{ExtractJobStatus, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::attempt::{Attempt, TaskText, completed_at, is_complete};
use crate::decision::{Decision, until};
use crate::in_doubt;
use crate::observed::{Observed, TrackingRead};
use crate::postponed;
use crate::recover_jobs::{Progress, steps};
use crate::status::{Health, cleaning, complete, success_report};

/// The request is published. What is still to do about it, a recovery Job does.
pub(crate) fn conclude(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    (read, result): (&TrackingRead, &OutcomeResult),
) -> Decision {
    // a postponed removal may be pending during a later run of any ExtractJob at any URI
    let removal = postponed::removal(read, observed.uid());
    let ours = |run: &&RunItem| Some(run.run) == result.run || removal.is_some();
    let run = read.run.as_ref().filter(ours);
    let open = run.is_some_and(|run| run.state.is_open());
    let pending_cleanup = run.and_then(|run| run.pending_cleanup.as_ref());
    let overdue = removal.is_some_and(|at| at <= observed.now);
    let due = !open
        && (pending_cleanup.is_some_and(|pending_cleanup| pending_cleanup.pointer) || overdue);
    let report = success_report(result);
    // a postponed removal does not delay Complete; it is done when it is due
    let done = ExtractJobStatus {
        removal_due: removal.map(Time),
        ..complete(observed, result, attempt.number)
    };
    let busy = (open && overdue).then_some(observed.settings.timing.retry_most);
    let until_removal = removal.and_then(|at| until(observed, at)).or(busy);
    let attempt =
        Attempt { recovered_earlier: recovered_earlier(attempt, removal), ..attempt.clone() };
    let newest = attempt.recoveries.last().filter(|(k, _)| *k > attempt.recovered_earlier);
    if !due || newest.is_some_and(|(_, job)| is_complete(job)) {
        let decision = Decision::of(observed, done, &report);
        return match until_removal {
            Some(pause) => decision.after(pause),
            None => decision,
        };
    }
    let order = RecoverOrder { last: false, aborted: false, report: report.clone() };
    let (effects, progress) = steps(observed, &attempt, task_text, observed.now, &order);
    let (health, pause) = match progress {
        Progress::Waiting(pause) => (Health::Reconciling, pause),
        Progress::Done(_) => (Health::Reconciling, Duration::ZERO),
        Progress::Exhausted(pause) => (Health::Stalled, pause),
    };
    if observed.status().outcome == done.outcome {
        // it was Complete before, so it was postponed
        return Decision::of(observed, done, &report).doing(effects).after(pause);
    }
    let report = match health {
        Health::Stalled => in_doubt::cleanup_report(observed, &attempt, &report.message),
        Health::Reconciling | Health::Done => {
            let message = format!("{}; its cleanup is pending", report.message);
            Report::new(Reason::Committing, message, "")
        }
    };
    let status = cleaning(observed, result, attempt.number, (health, &report));
    Decision::of(observed, status, &report).doing(effects).after(pause)
}

/// The newest recovery Job that was done before the removal was due, and so did not see to it.
fn recovered_earlier(attempt: &Attempt, removal: Option<Timestamp>) -> u32 {
    let before = |job| completed_at(job).is_some_and(|at| removal.is_some_and(|due| at < due));
    attempt.recoveries.iter().filter(|(_, job)| before(job)).map(|(k, _)| *k).max().unwrap_or(0)
}

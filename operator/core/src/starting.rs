//! In: an object without an attempt in flight. Out: rest, a pause, or the next coordinator Job.
//! Bound: one Job. Fails: never.

use crds::tracking::{OutcomeItem, RunItem, TrackedOutcome};
use crds::{ConditionType, ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::attempt::{Attempt, TaskText, attempts, is_finished, is_stopped, name};
use crate::concluding;
use crate::decision::{
    Blocked, Decision, Flow, ReadRequest, left, refused, suspended, task_text, tracking, until,
};
use crate::due::{Answer, answer, status_outcome};
use crate::effects::Effect;
use crate::ending::{Ending, EndingKind};
use crate::observed::{Observed, ServiceAccountState, TrackingRead};
use crate::recover_jobs::stop;
use crate::reports::planning_report;
use crate::request::honouring;
use crate::status::{Health, failed, find, with_conditions};
use crate::valid::ValidExtractJob;
use crate::workload::Maker;

/// Seconds that finished Jobs are kept by objects that name no number.
const TTL_SECONDS: i32 = 3600;

/// Starts what is due, or leaves the object as it is.
pub(crate) fn start_or_rest(
    observed: &Observed,
    valid: &ValidExtractJob,
    latest: Option<&Attempt>,
) -> Result<Flow<'static>, Blocked> {
    let status = observed.status();
    if let Some(outcome) = &status.outcome {
        match answer(&observed.job.spec, &valid.owner, outcome) {
            Answer::Answered => {
                return answered_before(observed, valid, outcome.result).map(Flow::of);
            }
            Answer::Newer => return Err(Blocked::NewerRelease),
            Answer::Due => {}
        }
    }
    // only what is due meets the other table: what was answered stays as it is
    if status.tracking_table.as_ref().is_some_and(|table| *table != valid.tracking.table) {
        return Ok(Flow::of(refused(observed, &moved_report(&status, valid))));
    }
    let same = status.observed_generation == Some(observed.generation());
    if observed.is_suspended() && same && status.phase == Some(Phase::Suspended) {
        return Ok(Flow::of(suspended(observed)));
    }
    let pause = status.not_before.as_ref().and_then(|at| until(observed, at.0)).filter(|_| same);
    if let Some(pause) = pause {
        let report = present_report(&status);
        let decision =
            Decision::report(observed, status, Phase::Waiting, Health::Reconciling, &report);
        return Ok(Flow::of(decision.after(pause)));
    }
    // A count of an earlier request is not ours, and one of this request is never lost.
    let counts = !matches!(status.phase, Some(Phase::Complete | Phase::Failed) | None);
    let retry = if same && counts { status.retry.unwrap_or_default() } else { 0 };
    let read = tracking(observed, &valid.tracking)?;
    if let Some(run) = read.run_of(observed.uid()).filter(|run| run.state.is_open())
        && latest.is_none_or(|attempt| attempt.number < run.attempt)
    {
        return Ok(orphan(observed, valid, run, retry));
    }
    next(observed, valid, retry)
}

/// Makes the next coordinator Job, if nothing speaks against it.
pub(crate) fn next(
    observed: &Observed,
    valid: &ValidExtractJob,
    retry: u32,
) -> Result<Flow<'static>, Blocked> {
    let read = tracking(observed, &valid.tracking)?;
    if let Some(decision) = answered(observed, valid, read)? {
        return Ok(Flow::of(decision));
    }
    if observed.is_suspended() {
        // no next attempt comes to take over what one left whose Jobs are gone
        let latest =
            attempts(&observed.jobs, observed.uid()).last().map_or(0, |latest| latest.number);
        let left = |run: &&RunItem| run.state.is_open() && run.attempt > latest;
        return match read.run_of(observed.uid()).filter(left) {
            Some(run) => Ok(orphan(observed, valid, run, retry)),
            None => Ok(Flow::of(suspended(observed))),
        };
    }
    if let Some(run) = &read.run
        && is_busy(run, observed)
    {
        let report = busy_report(run);
        let base = ExtractJobStatus {
            retry: (retry > 0).then_some(retry),
            not_before: None,
            tracking_table: Some(valid.tracking.table.clone()),
            ..observed.status()
        };
        let decision =
            Decision::report(observed, base, Phase::Waiting, Health::Reconciling, &report);
        return Ok(Flow::of(decision.after(observed.settings.timing.busy_retry)));
    }
    match observed.service_account {
        ServiceAccountState::NotRead => {
            return Err(Blocked::Read(ReadRequest::ServiceAccount(valid.service_account.clone())));
        }
        ServiceAccountState::Absent | ServiceAccountState::Unlabelled => {
            let decision = refused(observed, &service_account_report(observed, valid));
            return Ok(Flow::of(decision.after(observed.settings.timing.busy_retry)));
        }
        ServiceAccountState::Allowed => {}
    }
    let number = 1 + highest_attempt(observed, read);
    let owner = honouring(observed, &valid.owner, read);
    let task_text = task_text(observed, valid, owner, (number, retry));
    Ok(Flow::of(start(observed, valid, &task_text)))
}

/// A run of the object is open and none of its Jobs is left: it is recovered by the task it must have had.
fn orphan(
    observed: &Observed,
    valid: &ValidExtractJob,
    run: &RunItem,
    retry: u32,
) -> Flow<'static> {
    let task_text = task_text(observed, valid, run.owner.clone(), (run.attempt, retry));
    let attempt = Attempt::without_jobs(run.attempt);
    let report = Report::new(
        Reason::PodLost,
        format!("the Jobs of attempt {} were deleted while its run was open", run.attempt),
        "",
    );
    // a suspended run is not a failure, even if its Jobs failed
    let ending = if observed.is_suspended() {
        let report = Report::new(Reason::Suspended, report.message, "");
        Ending::new(observed, EndingKind::Yielded, report)
    } else {
        Ending::new(observed, EndingKind::Failed, report)
    };
    Flow::end(&attempt, &task_text, ending)
}

/// Status holds the outcome: nothing is read, unless files are to be removed by now.
fn answered_before(
    observed: &Observed,
    valid: &ValidExtractJob,
    result: TrackedOutcome,
) -> Result<Decision, Blocked> {
    let status = observed.status();
    let postponed = status.removal_due.as_ref().filter(|_| result == TrackedOutcome::Complete);
    let Some(due) = postponed else { return Ok(rest(observed, result)) };
    if let Some(pause) = until(observed, due.0) {
        return Ok(rest(observed, result).after(pause));
    }
    let same_table = status.tracking_table.as_ref() == Some(&valid.tracking.table);
    if same_table
        && let Some(decision) = answered(observed, valid, tracking(observed, &valid.tracking)?)?
    {
        return Ok(decision);
    }
    // the outcome is gone or in another tracking table, and so is its pending cleanup
    let mut decision = rest(observed, result);
    decision.status.removal_due = None;
    Ok(decision)
}

/// What the tracking table already says about the request, if anything.
fn answered(
    observed: &Observed,
    valid: &ValidExtractJob,
    read: &TrackingRead,
) -> Result<Option<Decision>, Blocked> {
    let Some(OutcomeItem { result: Some(result), attempt, .. }) = &read.outcome else {
        return Ok(None);
    };
    match answer(&observed.job.spec, &valid.owner, &status_outcome(result)) {
        Answer::Due => Ok(None),
        Answer::Newer => Err(Blocked::NewerRelease),
        Answer::Answered => match result.outcome {
            TrackedOutcome::Complete => {
                let attempts = attempts(&observed.jobs, observed.uid());
                let of_jobs = attempts.into_iter().rfind(|known| known.number == *attempt);
                let known = of_jobs.unwrap_or(Attempt::without_jobs(*attempt));
                let task_text = known.task_text().unwrap_or_else(|| {
                    task_text(observed, valid, result.owner.clone(), (*attempt, 0))
                });
                Ok(Some(concluding::conclude(observed, &known, &task_text, (read, result))))
            }
            TrackedOutcome::Failed => {
                let report = result.report.clone().unwrap_or_else(|| {
                    Report::new(
                        Reason::Internal,
                        "the outcome in the tracking table is Failed but has no reason",
                        "",
                    )
                });
                let status = failed(observed, &result.owner, *attempt, &report);
                Ok(Some(Decision::of(observed, status, &report)))
            }
        },
    }
}

/// Whether somebody else may be at work on the source.
fn is_busy(run: &RunItem, observed: &Observed) -> bool {
    run.owner.uid != observed.uid()
        && run.state.is_live()
        && run.deadline > observed.now.as_second()
}

/// The highest attempt that anything shows.
fn highest_attempt(observed: &Observed, read: &TrackingRead) -> u32 {
    let of_jobs = attempts(&observed.jobs, observed.uid()).last().map(|attempt| attempt.number);
    let of_outcome = read.outcome.as_ref().map(|outcome| outcome.attempt);
    let of_run = read.run_of(observed.uid()).map(|run| run.attempt);
    [of_jobs, of_outcome, of_run, observed.status().attempt]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0)
}

/// The finalizer comes first: from the Job on, something may have to be recovered. Then the status takes
/// the attempt's number, which an old copy of the object cannot: no number is used twice.
fn start(observed: &Observed, valid: &ValidExtractJob, task_text: &TaskText) -> Decision {
    let image = &observed.settings.worker_image;
    let maker = Maker { object: &observed.job, task_text, image, settings: observed.settings };
    let mut effects = Vec::new();
    if !observed.has_finalizer() {
        effects.push(Effect::AddFinalizer);
    }
    effects.push(Effect::PutStatus);
    effects.push(Effect::CreateJob(Box::new(maker.coordinator())));
    let task = &task_text.task;
    let old = observed.status();
    let base = ExtractJobStatus {
        tracking_table: Some(valid.tracking.table.clone()),
        tracking_endpoint: valid.tracking.endpoint.clone(),
        run_id: None,
        attempt: Some(task.attempt),
        retry: (task.retry > 0).then_some(task.retry),
        not_before: None,
        partitions: None,
        progress: None,
        window: None,
        start_time: old.start_time.clone().filter(|_| task.retry > 0).or(Some(Time(observed.now))),
        completion_time: None,
        ..old
    };
    let report = planning_report(task.attempt);
    Decision::report(observed, base, Phase::Planning, Health::Reconciling, &report)
        .doing(effects)
        .after(observed.settings.timing.pod_start_wait)
}

/// The outcome stands: Jobs may go in time, and nothing holds the object any more.
fn rest(observed: &Observed, result: TrackedOutcome) -> Decision {
    let status = observed.status();
    let worker = observed.job.spec.worker.as_ref();
    let seconds =
        worker.and_then(|worker| worker.ttl_seconds_after_finished).unwrap_or(TTL_SECONDS);
    let ended = status.completion_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let linger = left(observed, ended, observed.settings.timing.pod_stop_wait);
    let mut effects = Vec::new();
    let mut all_finished = true;
    for attempt in attempts(&observed.jobs, observed.uid()) {
        for job in attempt.jobs() {
            let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
            if is_finished(job) {
                if ttl.is_none() {
                    effects.push(Effect::SetTtl { job: name(job), seconds });
                }
                continue;
            }
            all_finished = false;
            if linger.is_none() && !is_stopped(job) {
                effects.push(stop(job));
            }
        }
    }
    // where files are still to be removed, the object must not go without leaving that to somebody
    if all_finished && observed.has_finalizer() && status.removal_due.is_none() {
        effects.push(Effect::DropFinalizer);
    }
    let (phase, health) = match result {
        TrackedOutcome::Complete => (Phase::Complete, Health::Done),
        TrackedOutcome::Failed => (Phase::Failed, Health::Stalled),
    };
    let report =
        if status.phase == Some(phase) { present_report(&status) } else { outcome_report(result) };
    let status = if status.phase == Some(phase)
        && status.observed_generation == Some(observed.generation())
    {
        status
    } else {
        with_conditions(observed, status, phase, health, &report)
    };
    let mut decision = Decision::of(observed, status, &report).doing(effects);
    decision.events.clear();
    match linger.filter(|_| !all_finished) {
        Some(pause) => decision.after(pause),
        None => decision,
    }
}

/// What the status says now, said again.
pub(crate) fn present_report(status: &ExtractJobStatus) -> Report {
    let found = find(status, ConditionType::Reconciling);
    let known = found.and_then(|condition| {
        let reason = Reason::ALL.iter().find(|reason| reason.name() == condition.reason)?;
        Some(Report::new(*reason, condition.message.clone(), ""))
    });
    known.unwrap_or_else(|| match status.phase {
        Some(Phase::Complete) => outcome_report(TrackedOutcome::Complete),
        Some(Phase::Failed) => outcome_report(TrackedOutcome::Failed),
        _ => Report::new(Reason::RetryPending, "the next attempt follows after a delay", ""),
    })
}

/// Report of an outcome if only its result is known.
fn outcome_report(result: TrackedOutcome) -> Report {
    match result {
        TrackedOutcome::Complete => Report::new(Reason::Succeeded, "the request is complete", ""),
        TrackedOutcome::Failed => Report::new(
            Reason::RequestFailed,
            "the request failed before, and nothing has changed since",
            "Check the earlier events, fix what they name, then set a new annotation \
             tidemark.dev/requested-at on the object.",
        ),
    }
}

fn busy_report(run: &RunItem) -> Report {
    let owner = match run.owner.uid.strip_prefix("cli/") {
        Some(_) => format!("a command outside the cluster, {}", run.owner.uid),
        None => format!("another ExtractJob, uid {}", run.owner.uid),
    };
    Report::new(Reason::SourceBusy, format!("source is claimed by run {} ({owner})", run.run), "")
}

fn moved_report(status: &ExtractJobStatus, valid: &ValidExtractJob) -> Report {
    let old = status.tracking_table.as_deref().unwrap_or_default();
    Report::new(
        Reason::TrackingChanged,
        format!(
            "earlier runs of the object used tracking table {old}, and the settings now name {}",
            valid.tracking.table
        ),
        "Restore the operator's default tracking table, or create another ExtractJob.",
    )
}

fn service_account_report(observed: &Observed, valid: &ValidExtractJob) -> Report {
    let name = &valid.service_account;
    let message = match observed.service_account {
        ServiceAccountState::Absent => {
            format!("ServiceAccount {name} does not exist in this namespace")
        }
        ServiceAccountState::NotRead
        | ServiceAccountState::Unlabelled
        | ServiceAccountState::Allowed => format!(
            "ServiceAccount {name} lacks the label {}={}",
            crds::task::EXTRACT_LABEL,
            crds::task::EXTRACT_ALLOWED
        ),
    };
    let remedy = format!(
        "Create the ServiceAccount if it is missing, then run `kubectl label serviceaccount {name} {}={}`.",
        crds::task::EXTRACT_LABEL,
        crds::task::EXTRACT_ALLOWED
    );
    Report::new(Reason::ServiceAccountNotAllowed, message, remedy)
}

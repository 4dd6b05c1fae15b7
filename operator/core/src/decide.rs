//! In: [`Observed`]. Out: [`Step`]: a [`Decision`], or the one thing that must be read first.
//! Bound: four reads before a decision. Fails: never.

use crds::{Phase, Reason, Report};

use crate::attempt::{Attempt, TaskText, attempts};
use crate::decision::{
    Blocked, Decision, End, Ended, Flow, ReadRequest, Start, Step, Validity, is_in_doubt, refused,
};
use crate::due::{Answer, answer};
use crate::mirror::{mirrored, place};
use crate::observed::{Observed, Tracking};
use crate::request::requested;
use crate::retry::{backoff, spread};
use crate::status::Health;
use crate::valid::valid;
use crate::{deleting, recovering, running, starting};

/// Decides about one object.
pub fn decide(observed: &Observed) -> Step {
    let mut decision = match consider(observed) {
        Ok(decision) => decision,
        Err(Blocked::Read(request)) => return Step::Read(request),
        Err(Blocked::TrackingUnavailable(report)) => unreadable(observed, &report),
        Err(Blocked::NewerRelease) => newer(observed),
    };
    match &observed.tracking {
        Tracking::Read(read) => decision.status = mirrored(decision.status, observed.uid(), read),
        Tracking::NotRead if observed.watermark_changed => {
            if let Some(at) = place(&observed.job, &observed.settings.tracking) {
                return Step::Read(ReadRequest::Tracking(at));
            }
        }
        Tracking::NotRead | Tracking::Unreadable(_) => {}
    }
    Step::Act(Box::new(decision))
}

/// The report if a Job of another owner has the name of one of the operator's Jobs.
pub fn foreign_job(observed: &Observed, name: &str) -> Decision {
    let report = Report::new(
        Reason::ForeignJob,
        format!("Job {name} belongs to another owner"),
        format!("Find out who created the Job, then run `kubectl delete job {name}`."),
    );
    Decision::report(observed, observed.status(), Phase::Pending, Health::Stalled, &report)
        .after(observed.settings.timing.retry_most)
}

/// What to say when the API server refuses to make a Job.
pub fn refused_job(observed: &Observed, name: &str, answer: &str) -> Decision {
    let report = Report::new(
        Reason::PodNotStarted,
        format!(
            "the API server refuses Job {name}: {}",
            answer.chars().take(500).collect::<String>()
        ),
        "Raise the quota of the namespace, or fix what the message names. The operator tries again by itself.",
    );
    Decision::report(
        observed,
        observed.status(),
        present_phase(observed),
        Health::Reconciling,
        &report,
    )
    .after(observed.settings.timing.busy_retry)
}

fn consider(observed: &Observed) -> Result<Decision, Blocked> {
    let attempts = attempts(&observed.jobs, observed.uid());
    let latest = attempts.last();
    if latest.is_some_and(Attempt::is_newer) {
        return Err(Blocked::NewerRelease);
    }
    let open = latest.filter(|attempt| !is_resolved(observed, attempt));
    if observed.job.metadata.deletion_timestamp.is_some() {
        return deleting::deleting(observed, open);
    }
    let valid = valid(&observed.job, observed.settings)
        .and_then(|valid| requested(observed, valid, latest));
    let flow = match (open, &valid) {
        (Some(attempt), valid) => running::drive(observed, valid.as_ref(), attempt)?,
        (None, Ok(valid)) => starting::start_or_rest(observed, valid, latest)?,
        (None, Err(report)) => return Ok(refused(observed, report)),
    };
    follow(observed, valid.as_ref(), flow)
}

/// Goes on where a phase leaves the decision to another one.
fn follow(observed: &Observed, valid: Validity, flow: Flow) -> Result<Decision, Blocked> {
    let end: Box<End> = match flow {
        Flow::Decided(decision) => return Ok(*decision),
        Flow::End(end) => end,
    };
    let Start { valid, retry, effects, pause } = match recovering::end(observed, valid, &end)? {
        Ended::Decided(decision) => return Ok(*decision),
        Ended::Start(start) => start,
    };
    let next = starting::next(observed, valid, retry)?;
    Ok(follow(observed, Ok(valid), next)?.following(effects, pause))
}

/// Whether status already holds what became of the attempt.
fn is_resolved(observed: &Observed, attempt: &Attempt) -> bool {
    let status = observed.status();
    let Some(TaskText { task, .. }) = attempt.task_text() else {
        return false;
    };
    let known = status.attempt.is_some_and(|number| number >= attempt.number);
    let answered = status
        .outcome
        .as_ref()
        .is_some_and(|outcome| answer(&task.spec, &task.owner, outcome) == Answer::Answered);
    known && answered && !is_in_doubt(&status)
}

/// The phase to show while a decision cannot be reached.
fn present_phase(observed: &Observed) -> Phase {
    if observed.job.metadata.deletion_timestamp.is_some() {
        return Phase::Deleting;
    }
    match observed.status().phase {
        Some(phase @ (Phase::Waiting | Phase::Planning | Phase::Running | Phase::Committing)) => {
            phase
        }
        Some(
            Phase::Pending | Phase::Complete | Phase::Failed | Phase::Suspended | Phase::Deleting,
        )
        | None => Phase::Pending,
    }
}

fn unreadable(observed: &Observed, report: &Report) -> Decision {
    let health = match report.reason {
        Reason::TrackingUnreachable => Health::Reconciling,
        _ => Health::Stalled,
    };
    let timing = &observed.settings.timing;
    let pause = backoff(observed.unreadable, timing.retry_first, timing.retry_most);
    // an outage is met by all objects at once; they must not come back all at once
    let pause = spread(pause, observed.uid(), observed.unreadable);
    Decision::report(observed, observed.status(), present_phase(observed), health, report)
        .after(pause)
}

fn newer(observed: &Observed) -> Decision {
    let report = Report::new(
        Reason::NewerRelease,
        "a newer release of Tidemark wrote the task or the tracking items of this object",
        "Upgrade the operator to that release.",
    );
    Decision::report(observed, observed.status(), present_phase(observed), Health::Stalled, &report)
}

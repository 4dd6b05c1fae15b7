//! In: [`Observed`]. Out: [`Step`]: a [`Decision`], or the one thing that must be read first.
//! Bound: four reads before a decision. Fails: never.

use crds::{Phase, Reason, Report};

use crate::attempt::{Attempt, Letter, attempts};
use crate::decision::{
    Decision, End, Ended, Flow, Look, Pause, Start, Step, Validity, is_in_doubt, refused,
};
use crate::due::{Answer, answer};
use crate::mirror::{mirrored, place};
use crate::observed::{Observed, Tracking};
use crate::request::requested;
use crate::retry::{backoff, spread};
use crate::status::Mood;
use crate::valid::valid;
use crate::{deleting, recovering, running, starting};

/// Decides about one object.
pub fn decide(seen: &Observed) -> Step {
    let mut decision = match consider(seen) {
        Ok(decision) => decision,
        Err(Pause::Look(look)) => return Step::Look(look),
        Err(Pause::Unreadable(report)) => unreadable(seen, &report),
        Err(Pause::Newer) => newer(seen),
    };
    match &seen.tracking {
        Tracking::Read(read) => decision.status = mirrored(decision.status, seen.uid(), read),
        Tracking::NotRead if seen.watermark_changed => {
            if let Some(at) = place(&seen.job, &seen.settings.tracking) {
                return Step::Look(Look::Tracking(at));
            }
        }
        Tracking::NotRead | Tracking::Unreadable(_) => {}
    }
    Step::Act(Box::new(decision))
}

/// What to say when a Job of another owner has the name of one of ours.
pub fn foreign_job(seen: &Observed, name: &str) -> Decision {
    let report = Report::new(
        Reason::ForeignJob,
        format!("Job {name} belongs to another owner"),
        format!("Find out who created the Job, then run `kubectl delete job {name}`."),
    );
    Decision::say(seen, seen.status(), Phase::Pending, Mood::Stalled, &report)
        .after(seen.settings.timing.retry_most)
}

/// What to say when the API server refuses to make a Job.
pub fn refused_job(seen: &Observed, name: &str, told: &str) -> Decision {
    let report = Report::new(
        Reason::PodNotStarted,
        format!(
            "the API server refuses Job {name}: {}",
            told.chars().take(500).collect::<String>()
        ),
        "Raise the quota of the namespace, or fix what the message names. The operator tries again by itself.",
    );
    Decision::say(seen, seen.status(), present_phase(seen), Mood::Reconciling, &report)
        .after(seen.settings.timing.busy_retry)
}

fn consider(seen: &Observed) -> Result<Decision, Pause> {
    let attempts = attempts(&seen.jobs, seen.uid());
    let latest = attempts.last();
    if latest.is_some_and(Attempt::is_newer) {
        return Err(Pause::Newer);
    }
    let open = latest.filter(|attempt| !is_resolved(seen, attempt));
    if seen.job.metadata.deletion_timestamp.is_some() {
        return deleting::deleting(seen, open);
    }
    let valid = valid(&seen.job, seen.settings).and_then(|valid| requested(seen, valid, latest));
    let flow = match (open, &valid) {
        (Some(attempt), valid) => running::drive(seen, valid.as_ref(), attempt)?,
        (None, Ok(valid)) => starting::start_or_rest(seen, valid, latest)?,
        (None, Err(report)) => return Ok(refused(seen, report)),
    };
    follow(seen, valid.as_ref(), flow)
}

/// Goes on where a phase leaves the decision to another one.
fn follow(seen: &Observed, valid: Validity, flow: Flow) -> Result<Decision, Pause> {
    let end: Box<End> = match flow {
        Flow::Decided(decision) => return Ok(*decision),
        Flow::End(end) => end,
    };
    let Start { valid, retry, effects, pause } = match recovering::end(seen, valid, &end)? {
        Ended::Decided(decision) => return Ok(*decision),
        Ended::Start(start) => start,
    };
    let next = starting::next(seen, valid, retry)?;
    Ok(follow(seen, Ok(valid), next)?.following(effects, pause))
}

/// Whether status already holds what became of the attempt.
fn is_resolved(seen: &Observed, attempt: &Attempt) -> bool {
    let status = seen.status();
    let Some(Letter { task, .. }) = attempt.letter() else {
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
fn present_phase(seen: &Observed) -> Phase {
    if seen.job.metadata.deletion_timestamp.is_some() {
        return Phase::Deleting;
    }
    match seen.status().phase {
        Some(phase @ (Phase::Waiting | Phase::Planning | Phase::Running | Phase::Committing)) => {
            phase
        }
        Some(
            Phase::Pending | Phase::Complete | Phase::Failed | Phase::Suspended | Phase::Deleting,
        )
        | None => Phase::Pending,
    }
}

fn unreadable(seen: &Observed, report: &Report) -> Decision {
    let mood = match report.reason {
        Reason::TrackingUnreachable => Mood::Reconciling,
        _ => Mood::Stalled,
    };
    let timing = &seen.settings.timing;
    let pause = backoff(seen.unreadable, timing.retry_first, timing.retry_most);
    // an outage is met by all objects at once; they must not come back all at once
    let pause = spread(pause, seen.uid(), seen.unreadable);
    Decision::say(seen, seen.status(), present_phase(seen), mood, report).after(pause)
}

fn newer(seen: &Observed) -> Decision {
    let report = Report::new(
        Reason::NewerRelease,
        "a newer release of Tidemark wrote the task or the tracking items of this object",
        "Upgrade the operator to that release.",
    );
    Decision::say(seen, seen.status(), present_phase(seen), Mood::Stalled, &report)
}

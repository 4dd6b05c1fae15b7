//! In: [`Observed`]. Out: [`Step`]: a [`Decision`], or the one thing that must be read first.
//! Bound: four reads before a decision. Fails: never.

use std::time::Duration;

use crds::task::TaskTracking;
use crds::{ConditionType, ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;

use crate::attempt::{Attempt, Letter, attempts};
use crate::due::{Answer, answer};
use crate::effects::{Effect, Note};
use crate::observed::{Observed, Tracking, TrackingRead};
use crate::retry::{backoff, spread};
use crate::status::{Mood, find, speak};
use crate::valid::{ValidExtractJob, valid};
use crate::{deleting, running, starting};

/// What to do about one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Changes, in the order to make them.
    pub effects: Vec<Effect>,
    /// The status after them.
    pub status: ExtractJobStatus,
    /// What to tell people.
    pub notes: Vec<Note>,
    /// When to look again if nothing happens.
    pub requeue: Duration,
}

/// Something that costs a request, so it is read only when a decision turns on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The items of this source in this table.
    Tracking(TaskTracking),
    /// The ServiceAccount of this name.
    ServiceAccount(String),
    /// The warnings about the objects with these uids.
    Warnings(Vec<String>),
    /// Whether the namespace is being deleted.
    Namespace,
}

/// A decision, or what it still needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read this, then decide again.
    Look(Look),
    /// Do this.
    Act(Box<Decision>),
}

/// Why a decision is not reached on the usual way.
pub(crate) enum Pause {
    /// Something must be read first.
    Look(Look),
    /// The tracking table cannot be read.
    Unreadable(Report),
    /// A newer release wrote what is there: nothing is touched.
    Newer,
}

/// Decides about one object.
pub fn decide(seen: &Observed) -> Step {
    match consider(seen) {
        Ok(decision) => Step::Act(Box::new(decision)),
        Err(Pause::Look(look)) => Step::Look(look),
        Err(Pause::Unreadable(report)) => Step::Act(Box::new(unreadable(seen, &report))),
        Err(Pause::Newer) => Step::Act(Box::new(newer(seen))),
    }
}

/// What to say when a Job of another owner has the name of one of ours.
pub fn foreign_job(seen: &Observed, name: &str) -> Decision {
    let report = Report::new(
        Reason::ForeignJob,
        format!("the Job {name} belongs to somebody else"),
        format!("find out who made it, and delete it: kubectl delete job {name}"),
    );
    Decision::say(seen, seen.status(), Phase::Pending, Mood::Stalled, &report)
        .after(seen.settings.timing.retry_most)
}

/// What to say when the API server refuses to make a Job.
pub fn refused_job(seen: &Observed, name: &str, told: &str) -> Decision {
    let report = Report::new(
        Reason::PodNotStarted,
        format!("the Job {name} is refused: {}", told.chars().take(500).collect::<String>()),
        "raise the quota of the namespace, or mend what the message names; it is tried again by itself",
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
    let valid = valid(&seen.job, seen.settings);
    match (open, valid) {
        (Some(attempt), valid) => running::drive(seen, valid.as_ref(), attempt),
        (None, Ok(valid)) => starting::start_or_rest(seen, &valid, latest),
        (None, Err(report)) => Ok(refused(seen, &report)),
    }
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
    known && answered && !is_unsettled(&status)
}

/// Whether the last attempt's run could not be ended.
pub(crate) fn is_unsettled(status: &ExtractJobStatus) -> bool {
    find(status, ConditionType::Stalled).is_some_and(|condition| {
        let reasons = [Reason::SettleFailed, Reason::CommitStuck].map(Reason::name);
        condition.status == "True" && reasons.contains(&condition.reason.as_str())
    })
}

/// The items at `at`, if they can be read and understood.
pub(crate) fn tracking<'a>(
    seen: &'a Observed,
    at: &TaskTracking,
) -> Result<&'a TrackingRead, Pause> {
    match &seen.tracking {
        Tracking::NotRead => Err(Pause::Look(Look::Tracking(at.clone()))),
        Tracking::Unreadable(report) => Err(Pause::Unreadable(report.clone())),
        Tracking::Read(read) if read.is_newer() => Err(Pause::Newer),
        Tracking::Read(read) => Ok(read),
    }
}

/// Nothing may be started until somebody changes manifest or settings.
pub(crate) fn refused(seen: &Observed, report: &Report) -> Decision {
    Decision::say(seen, seen.status(), Phase::Pending, Mood::Stalled, report)
        .after(seen.settings.timing.retry_most)
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
        "a newer release of Tidemark works on this object",
        "upgrade this operator",
    );
    Decision::say(seen, seen.status(), present_phase(seen), Mood::Stalled, &report)
}

impl Decision {
    /// A decision that changes nothing but the status.
    pub(crate) fn say(
        seen: &Observed,
        base: ExtractJobStatus,
        phase: Phase,
        mood: Mood,
        report: &Report,
    ) -> Self {
        let status = speak(seen, base, phase, mood, report);
        Self::of(seen, status, report)
    }

    /// A decision with this status, in which `report` speaks.
    pub(crate) fn of(seen: &Observed, status: ExtractJobStatus, report: &Report) -> Self {
        let old = seen.job.status.as_ref();
        let reason_before = old
            .and_then(|old| find(old, ConditionType::Reconciling))
            .map(|old| old.reason.as_str());
        let is_new = old.and_then(|old| old.phase) != status.phase
            || reason_before != Some(report.reason.name());
        let warning = !report.remedy.is_empty() || status.phase == Some(Phase::Failed);
        let note = Note { warning, reason: report.reason, message: report.to_string() };
        Self {
            effects: Vec::new(),
            status,
            notes: if is_new { vec![note] } else { Vec::new() },
            requeue: seen.settings.timing.resync,
        }
    }

    /// The same, with these changes.
    pub(crate) fn doing(mut self, effects: Vec<Effect>) -> Self {
        self.effects = effects;
        self
    }

    /// The same, looking again after `pause` at the latest.
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.requeue = pause.min(self.requeue).max(Duration::from_millis(100));
        self
    }
}

/// How long until `at`; nothing once it has passed.
pub(crate) fn until(seen: &Observed, at: Timestamp) -> Option<Duration> {
    let left = at.duration_since(seen.now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// How long until `pause` has passed since `since`; nothing once it has.
pub(crate) fn left(seen: &Observed, since: Timestamp, pause: Duration) -> Option<Duration> {
    until(seen, later(since, pause))
}

/// `pause` after `since`, or the end of time.
pub(crate) fn later(since: Timestamp, pause: Duration) -> Timestamp {
    since.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// A manifest that may run, or why not.
pub(crate) type Validity<'a> = Result<&'a ValidExtractJob, &'a Report>;

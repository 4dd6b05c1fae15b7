//! What a decision is, and what its phases have in common.

use std::time::Duration;

use crds::requested::is_later;
use crds::task::TASK_VERSION;
use crds::task::TaskTracking;
use crds::tracking::Owner;
use crds::{ConditionType, ExtractJobStatus, Phase, Reason, Report, Task};
use jiff::Timestamp;

use crate::attempt::{Attempt, TaskText};
use crate::effects::{Effect, NewEvent};
use crate::ending::Ending;
use crate::observed::{Observed, Tracking, TrackingRead};
use crate::status::{Health, find, with_conditions};
use crate::valid::ValidExtractJob;

/// What to do about one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Changes, in the order to make them.
    pub effects: Vec<Effect>,
    /// The status after them.
    pub status: ExtractJobStatus,
    /// Events to publish.
    pub events: Vec<NewEvent>,
    /// When to decide again if no event arrives.
    pub requeue: Duration,
}

/// Something that costs a request, so it is read only when a decision turns on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadRequest {
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
    Read(ReadRequest),
    /// Do this.
    Act(Box<Decision>),
}

/// Why a decision is not reached on the usual way.
pub(crate) enum Blocked {
    /// Something must be read first.
    Read(ReadRequest),
    /// The tracking table cannot be read.
    TrackingUnavailable(Report),
    /// A newer release wrote what is there: nothing is touched.
    NewerRelease,
}

/// What follows in a phase: a decision, or what another phase decides.
pub(crate) enum Flow<'a> {
    /// This.
    Decided(Box<Decision>),
    /// An attempt ends.
    End(Box<End<'a>>),
}

/// An attempt that ends.
pub(crate) struct End<'a> {
    /// The attempt.
    pub(crate) attempt: Attempt<'a>,
    /// Its task.
    pub(crate) task_text: TaskText,
    /// Why it ends.
    pub(crate) ending: Ending,
}

impl<'a> Flow<'a> {
    /// A decision.
    pub(crate) fn of(decision: Decision) -> Self {
        Self::Decided(Box::new(decision))
    }

    /// The end of an attempt.
    pub(crate) fn end(attempt: &Attempt<'a>, task_text: &TaskText, ending: Ending) -> Self {
        Self::End(Box::new(End { attempt: attempt.clone(), task_text: task_text.clone(), ending }))
    }
}

/// What follows once an attempt has ended.
pub(crate) enum Ended<'v> {
    /// This.
    Decided(Box<Decision>),
    /// The next attempt.
    Start(Start<'v>),
}

/// The next attempt of a valid object.
pub(crate) struct Start<'v> {
    /// The object.
    pub(crate) valid: &'v ValidExtractJob,
    /// Attempts that failed before it.
    pub(crate) retry: u32,
    /// Changes that come first.
    pub(crate) effects: Vec<Effect>,
    /// When to decide again at the latest.
    pub(crate) pause: Option<Duration>,
}

impl<'v> Ended<'v> {
    /// A decision.
    pub(crate) fn of(decision: Decision) -> Self {
        Self::Decided(Box::new(decision))
    }

    /// The next attempt, with nothing before it.
    pub(crate) const fn start(valid: &'v ValidExtractJob, retry: u32) -> Self {
        Self::Start(Start { valid, retry, effects: Vec::new(), pause: None })
    }

    /// The same after these changes; decides again after `pause` at the latest.
    pub(crate) fn following(self, effects: Vec<Effect>, pause: Option<Duration>) -> Self {
        match self {
            Self::Decided(decision) => Self::of(decision.following(effects, pause)),
            Self::Start(start) => Self::Start(Start { effects, pause, ..start }),
        }
    }
}

/// Whether the last attempt's run could not be ended.
pub(crate) fn is_in_doubt(status: &ExtractJobStatus) -> bool {
    find(status, ConditionType::Stalled).is_some_and(|condition| {
        let reasons = [Reason::RecoveryFailed, Reason::CommitStuck].map(Reason::name);
        condition.status == "True" && reasons.contains(&condition.reason.as_str())
    })
}

/// The items at `at`, if they can be read and understood.
pub(crate) fn tracking<'a>(
    observed: &'a Observed,
    at: &TaskTracking,
) -> Result<&'a TrackingRead, Blocked> {
    match &observed.tracking {
        Tracking::NotRead => Err(Blocked::Read(ReadRequest::Tracking(at.clone()))),
        Tracking::Unreadable(report) => Err(Blocked::TrackingUnavailable(report.clone())),
        Tracking::Read(read) if read.is_newer() => Err(Blocked::NewerRelease),
        Tracking::Read(read) => Ok(read),
    }
}

/// Nothing may be started until somebody changes manifest or settings.
pub(crate) fn refused(observed: &Observed, report: &Report) -> Decision {
    Decision::report(observed, observed.status(), Phase::Pending, Health::Stalled, report)
        .after(observed.settings.timing.retry_most)
}

/// Nothing is started. The count of retries begins anew, since to resume is a change of the object.
pub(crate) fn suspended(observed: &Observed) -> Decision {
    let report = Report::new(
        Reason::Suspended,
        "spec.suspend is true: no run starts, and the window stays the same",
        "",
    );
    let base = ExtractJobStatus { retry: None, not_before: None, ..observed.status() };
    Decision::report(observed, base, Phase::Suspended, Health::Done, &report)
}

/// The task of an attempt, given its number and how many failed before it.
pub(crate) fn task_text(
    observed: &Observed,
    valid: &ValidExtractJob,
    owner: Owner,
    (attempt, retry): (u32, u32),
) -> TaskText {
    TaskText::new(Task {
        version: TASK_VERSION,
        spec: valid.spec.clone(),
        tracking: valid.tracking.clone(),
        owner,
        attempt,
        retry,
        name: format!("{}/{}", observed.namespace(), observed.name()),
    })
}

/// Whether the object asks for something else than the attempt did.
pub(crate) fn has_moved_on(valid: Validity, task_text: &TaskText) -> bool {
    valid.is_ok_and(|valid| {
        let (now, then) = (&valid.owner, &task_text.task.owner);
        now.generation != then.generation
            || is_later(now.requested_at.as_deref(), then.requested_at.as_deref())
    })
}

impl Decision {
    /// A decision that changes nothing but the status.
    pub(crate) fn report(
        observed: &Observed,
        base: ExtractJobStatus,
        phase: Phase,
        health: Health,
        report: &Report,
    ) -> Self {
        let status = with_conditions(observed, base, phase, health, report);
        Self::of(observed, status, report)
    }

    /// A decision with this status, in which `report` speaks.
    pub(crate) fn of(observed: &Observed, status: ExtractJobStatus, report: &Report) -> Self {
        let old = observed.job.status.as_ref();
        let reason_before = old
            .and_then(|old| find(old, ConditionType::Reconciling))
            .map(|old| old.reason.as_str());
        let is_new = old.and_then(|old| old.phase) != status.phase
            || reason_before != Some(report.reason.name());
        let warning = !report.remedy.is_empty() || status.phase == Some(Phase::Failed);
        let event = NewEvent { warning, reason: report.reason, message: report.to_string() };
        Self {
            effects: Vec::new(),
            status,
            events: if is_new { vec![event] } else { Vec::new() },
            requeue: observed.settings.timing.resync,
        }
    }

    /// The same, with these changes.
    pub(crate) fn doing(mut self, effects: Vec<Effect>) -> Self {
        self.effects = effects;
        self
    }

    /// The same after these changes; decides again after `pause` at the latest.
    pub(crate) fn following(mut self, mut effects: Vec<Effect>, pause: Option<Duration>) -> Self {
        effects.append(&mut self.effects);
        let decision = self.doing(effects);
        match pause {
            Some(pause) => decision.after(pause),
            None => decision,
        }
    }

    /// The same; decides again after `pause` at the latest.
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.requeue = pause.min(self.requeue).max(Duration::from_millis(100));
        self
    }
}

/// How long until `at`; nothing once it has passed.
pub(crate) fn until(observed: &Observed, at: Timestamp) -> Option<Duration> {
    let left = at.duration_since(observed.now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// How long until `pause` has passed since `since`; nothing once it has.
pub(crate) fn left(observed: &Observed, since: Timestamp, pause: Duration) -> Option<Duration> {
    until(observed, later(since, pause))
}

/// `pause` after `since`, or the end of time.
pub(crate) fn later(since: Timestamp, pause: Duration) -> Timestamp {
    since.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// A manifest that may run, or why not.
pub(crate) type Validity<'a> = Result<&'a ValidExtractJob, &'a Report>;

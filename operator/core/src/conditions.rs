//! In: the phase of an object and the report about it. Out: reason and message of each condition.
//! Bound: none. Fails: never.
//!
//! Each condition type has a reason and a message of its own. `Reconciling` has those of the report, True or False,
//! and later decisions read the report there.

use crds::{ConditionReason, ConditionType, Phase, Reason, Report, RunId};

/// Whether the operator is busy with the object, is done with it, or needs a manual change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The operator continues by itself.
    Reconciling,
    /// A manual change is needed.
    Stalled,
    /// Nothing is left to do.
    Done,
}

/// What the conditions of an object are derived from.
#[derive(Debug)]
pub(crate) struct State<'a> {
    pub(crate) phase: Phase,
    pub(crate) health: Health,
    pub(crate) attempt: Option<u32>,
    pub(crate) run: Option<RunId>,
    /// Whether `spec.suspend` is true.
    pub(crate) suspend: bool,
    pub(crate) report: &'a Report,
}

/// Reason and message.
type Explanation = (&'static str, String);

impl State<'_> {
    /// Whether the condition is True.
    pub(crate) fn holds(&self, kind: ConditionType) -> bool {
        let phase = self.phase;
        match kind {
            ConditionType::Planned => {
                matches!(phase, Phase::Running | Phase::Committing | Phase::Complete)
            }
            ConditionType::Running => phase == Phase::Running,
            ConditionType::Committed | ConditionType::Complete => phase == Phase::Complete,
            ConditionType::Failed => phase == Phase::Failed,
            ConditionType::Suspended => phase == Phase::Suspended,
            ConditionType::Reconciling => self.health == Health::Reconciling,
            ConditionType::Stalled => self.health == Health::Stalled,
        }
    }

    /// Why the condition is True, or why it is False.
    pub(crate) fn explain(&self, kind: ConditionType, holds: bool) -> Explanation {
        if holds { self.why(kind) } else { self.why_not(kind) }
    }

    fn why(&self, kind: ConditionType) -> Explanation {
        let own = |reason: ConditionReason, message: String| (reason.name(), message);
        let attempt = self.attempt();
        match kind {
            ConditionType::Planned => own(
                ConditionReason::WindowPlanned,
                format!("{attempt} claimed the source and planned its window"),
            ),
            ConditionType::Running if self.report.reason != Reason::Extracting => own(
                ConditionReason::AttemptInFlight,
                format!("{attempt} planned its window and is in flight"),
            ),
            ConditionType::Committed => {
                let run = self.run.map(|run| format!("run {run}"));
                let run = run.unwrap_or_else(|| "the run".to_owned());
                (Reason::Succeeded.name(), format!("{run} is published"))
            }
            ConditionType::Running
            | ConditionType::Complete
            | ConditionType::Failed
            | ConditionType::Suspended
            | ConditionType::Reconciling
            | ConditionType::Stalled => self.reported(""),
        }
    }

    fn why_not(&self, kind: ConditionType) -> Explanation {
        let (phase, because) = (self.phase, self.because());
        match kind {
            ConditionType::Planned => (
                self.report.reason.name(),
                format!("no attempt in flight has planned a window: {because}"),
            ),
            ConditionType::Running if phase == Phase::Complete => (
                ConditionReason::RequestComplete.name(),
                format!("no rows are being read: {because}"),
            ),
            ConditionType::Running => {
                (self.report.reason.name(), format!("no rows are being read: {because}"))
            }
            ConditionType::Committed => {
                (self.report.reason.name(), format!("no run is published: {because}"))
            }
            ConditionType::Complete => self.reported("the request is not complete: "),
            ConditionType::Failed => self.not_failed(),
            ConditionType::Suspended => self.not_suspended(),
            ConditionType::Reconciling => self.reported(""),
            ConditionType::Stalled => match phase {
                Phase::Complete => (
                    ConditionReason::RequestComplete.name(),
                    "nothing is left to do: the request is complete".to_owned(),
                ),
                Phase::Suspended => (
                    Reason::Suspended.name(),
                    "nothing is left to do while spec.suspend is true".to_owned(),
                ),
                _ => (
                    ConditionReason::OperatorContinues.name(),
                    "the operator continues by itself".to_owned(),
                ),
            },
        }
    }

    fn not_failed(&self) -> Explanation {
        let reason = match self.phase {
            Phase::Complete => ConditionReason::RequestComplete.name(),
            Phase::Planning | Phase::Running | Phase::Committing => {
                ConditionReason::AttemptInFlight.name()
            }
            Phase::Pending | Phase::Waiting | Phase::Failed => {
                ConditionReason::AttemptPending.name()
            }
            Phase::Suspended => Reason::Suspended.name(),
            Phase::Deleting => Reason::Deleting.name(),
        };
        let message = match self.phase {
            Phase::Complete => "the request has not failed: it is complete".to_owned(),
            Phase::Deleting => "the object is being deleted before its request ended".to_owned(),
            _ => format!("the request has not failed: {}", self.because()),
        };
        (reason, message)
    }

    fn not_suspended(&self) -> Explanation {
        let (reason, message) = match self.phase {
            _ if !self.suspend => (ConditionReason::NotSuspended, "spec.suspend is not true"),
            Phase::Planning | Phase::Running | Phase::Committing => (
                ConditionReason::Suspending,
                "spec.suspend is true and takes effect when the current attempt has ended",
            ),
            _ => (
                ConditionReason::NothingToSuspend,
                "spec.suspend is true, and no attempt is in flight",
            ),
        };
        (reason.name(), message.to_owned())
    }

    /// What the report says, after these words.
    fn reported(&self, before: &str) -> Explanation {
        (self.report.reason.name(), format!("{before}{}", self.report))
    }

    /// Where the object stands, in one clause.
    fn because(&self) -> String {
        let attempt = self.attempt();
        match self.phase {
            Phase::Pending | Phase::Waiting => "no attempt is in flight".to_owned(),
            Phase::Planning => format!("{attempt} is starting or planning"),
            Phase::Running => format!("{attempt} is in flight"),
            Phase::Committing => format!("{attempt} is publishing its run"),
            Phase::Complete => "the request is complete".to_owned(),
            Phase::Failed => "the request failed".to_owned(),
            Phase::Suspended => "spec.suspend is true".to_owned(),
            Phase::Deleting => "the object is being deleted".to_owned(),
        }
    }

    fn attempt(&self) -> String {
        match self.attempt {
            Some(number) => format!("attempt {number}"),
            None => "the attempt".to_owned(),
        }
    }
}

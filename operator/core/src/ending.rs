//! In: the Jobs and pods of an attempt. Out: [`Ending`]: how it ended, once it has.
//! Bound: one attempt. Fails: never; what left no trace is `PodLost`.

use crds::condition::Exit;
use crds::{Reason, Report};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, failure, is_deleted, name};
use crate::labels::ENDING;
use crate::observed::Observed;
use crate::pods::{PodEnd, end, pods_of};

/// What follows from an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndingKind {
    /// A person must correct something: no further attempt.
    Permanent,
    /// The attempt made way for others: the next one costs nothing.
    Yielded,
    /// It failed: the next one is tried while the budget lasts.
    Failed,
}

/// How an attempt ended. Recorded once, on its Job, since pods may be gone when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When it was seen.
    pub at: Timestamp,
    /// What follows.
    pub kind: EndingKind,
    /// Why.
    pub report: Report,
}

impl Ending {
    /// One seen now.
    pub fn new(observed: &Observed, kind: EndingKind, report: Report) -> Self {
        Self { at: observed.now, kind, report }
    }
}

/// The ending that was recorded on the attempt's Job.
pub fn recorded(attempt: &Attempt) -> Option<Ending> {
    attempt.workers().find_map(|job| {
        let annotations = job.metadata.annotations.as_ref()?;
        serde_json::from_str(annotations.get(ENDING)?).ok()
    })
}

/// The ending that Jobs and pods show; `None` while the attempt is alive.
pub fn shown(observed: &Observed, attempt: &Attempt) -> Option<Ending> {
    let gone = |what: &str| {
        let message = format!("the {what} Job of attempt {} was deleted", attempt.number);
        Some(Ending::new(observed, EndingKind::Failed, Report::new(Reason::PodLost, message, "")))
    };
    let Some(coordinator) = attempt.coordinator else {
        return gone("coordinator");
    };
    let failures = || attempt.workers().filter_map(failure);
    if failures().next().is_none() {
        return match attempt.extract {
            _ if is_deleted(coordinator) => gone("coordinator"),
            Some(extract) if is_deleted(extract) => gone("extract"),
            _ => None,
        };
    }
    let mut ends: Vec<PodEnd> =
        attempt.workers().flat_map(|job| pods_of(&observed.pods, job).filter_map(end)).collect();
    ends.sort_by_key(|end| (rank(end.exit), end.at));
    let deadline = failures().any(|failure| failure.deadline);
    Some(match ends.into_iter().next() {
        Some(PodEnd { exit: Exit::Permanent, report, .. }) => {
            Ending::new(observed, EndingKind::Permanent, report)
        }
        Some(PodEnd { exit: Exit::Fenced, report, .. }) => {
            Ending::new(observed, EndingKind::Yielded, report)
        }
        Some(PodEnd { exit: Exit::PartitionPermanent, report, .. }) => {
            Ending::new(observed, EndingKind::Failed, report)
        }
        _ if deadline => Ending::new(observed, EndingKind::Failed, deadline_report(observed)),
        Some(end) => Ending::new(observed, EndingKind::Failed, end.report),
        None => Ending::new(observed, EndingKind::Failed, lost_report(&name(coordinator))),
    })
}

/// What says most about a run comes first.
const fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::Permanent => 0,
        Exit::Fenced => 1,
        Exit::PartitionPermanent => 2,
        Exit::Transient => 3,
        Exit::Stopped => 4,
        Exit::Done => 5,
    }
}

fn deadline_report(observed: &Observed) -> Report {
    let seconds =
        observed.job.spec.active_deadline_seconds.unwrap_or(crate::workload::DEADLINE_SECONDS);
    Report::new(
        Reason::DeadlineExceeded,
        format!("the run took longer than {seconds} seconds"),
        "Raise spec.activeDeadlineSeconds, spec.worker.parallelism or spec.extract.partition.count.",
    )
}

fn lost_report(job: &str) -> Report {
    Report::new(
        Reason::PodLost,
        format!("a pod of Job {job} was deleted before it wrote a termination message"),
        "",
    )
}

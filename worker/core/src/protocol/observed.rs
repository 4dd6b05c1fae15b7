//! What a committer has read: one consistent read of the tracking items and the control objects.

use crds::Reason;
use crds::tracking::{ITEM_VERSION, OutcomeItem, RunItem, WatermarkItem};

use super::effects::Expect;
use crate::errors::failure::Failure;
use crate::layout::manifests::{Pointer, SourceIdentity};

/// One observation, by consistent reads in this order: `source.json` and `current.json`, the outcome item, the
/// run item, the watermark item, the outcome item of the coordinator. Others write in between, and no later
/// write checks some of the conclusions:
///
/// - the outcome item shows an attempt as claimed: then the run item, read later, shows its run or what came after it, and
///   recovery does not end during a run that has just been claimed;
/// - a marked prefix, and no run item read later: the run item was deleted;
/// - the run item, and no watermark item read later: the watermark item was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedItems {
    /// Seconds since 1970, UTC.
    pub now: i64,
    /// The run item.
    pub run: Option<RunItem>,
    /// The watermark item.
    pub watermark_item: Option<WatermarkItem>,
    /// The outcome item of the task's own uid.
    pub outcome: Option<OutcomeItem>,
    /// The outcome item of the uid that owns the run item, where that is another.
    pub owner_outcome: Option<OutcomeItem>,
    /// `current.json` under the task's uri.
    pub pointer: Option<Pointer>,
    /// `source.json` under the task's uri.
    pub identity: Option<SourceIdentity>,
    /// What `source.json` must say to be ours.
    pub own_identity: SourceIdentity,
}

impl ObservedItems {
    /// The commit number under the task's uri, 0 where nothing is published.
    pub fn pointer_commit(&self) -> u64 {
        self.pointer.as_ref().map_or(0, |pointer| pointer.commit)
    }

    /// The condition "the outcome item of the task's own uid as read".
    pub fn expect_outcome(&self) -> Expect {
        self.outcome.clone().map_or(Expect::Absent, |outcome| Expect::Outcome(Box::new(outcome)))
    }

    /// The outcome item of the uid that owns the run item.
    pub fn outcome_of_owner(&self, task_uid: &str) -> Option<&OutcomeItem> {
        match &self.run {
            Some(run) if run.owner.uid != task_uid => self.owner_outcome.as_ref(),
            Some(_) | None => self.outcome.as_ref(),
        }
    }
}

/// Items of a newer release are never changed: an older release would drop what it does not
/// know.
pub(super) fn newer(observed: &ObservedItems) -> Option<Failure> {
    let newer = observed.run.as_ref().is_some_and(|run| run.schema > ITEM_VERSION)
        || observed.outcome.as_ref().is_some_and(|outcome| outcome.schema > ITEM_VERSION);
    newer.then(newer_release)
}

/// The failure for items of a newer release.
pub(super) fn newer_release() -> Failure {
    Failure::permanent(
        Reason::NewerRelease,
        "a newer release wrote the tracking items of this source",
        "Upgrade Tidemark to that release.",
    )
}

/// The failure after another process has claimed the source.
pub(super) fn fenced() -> Failure {
    Failure::fenced(Reason::Fenced, "another process has claimed the source")
}

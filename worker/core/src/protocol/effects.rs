//! The external writes of the protocol, one effect each: what fault tests and the model enumerate.

use crds::RunId;
use crds::tracking::{ObjectStore, OutcomeItem, RunItem, RunState, WatermarkItem};

use crate::layout::manifests::{Earlier, ManifestFile, ManifestHead};

/// One external write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// One transaction on the tracking table.
    Track(Transaction),
    /// A control object that is written once. `Refused` when it is there already.
    PutOnce {
        /// Where.
        uri: String,
        /// Key in the bucket.
        key: String,
        /// The bytes.
        body: Vec<u8>,
    },
    /// The manifest of a run, which is written once. Its files stand in the records. `Refused` when it
    /// is there already.
    PutManifest(Box<NewManifest>),
    /// `current.json`. `Refused` when it is not at `etag` any more.
    PutPointer {
        /// Where.
        uri: String,
        /// Key in the bucket.
        key: String,
        /// The bytes.
        body: Vec<u8>,
        /// The version to replace; absent: there must be none.
        etag: Option<String>,
    },
    /// Completes every upload that the manifest of a run names, each by [`Self::Complete`]. `Gone` when
    /// that is what one of them comes to, or when the manifest is not there.
    CompleteAll {
        /// Where.
        uri: String,
        /// The run.
        run: RunId,
    },
    /// Completes a multipart upload. `Gone` when the upload is unknown and the object is not ours.
    Complete {
        /// Where.
        uri: String,
        /// The file.
        file: ManifestFile,
    },
    /// Aborts a multipart upload; one that is unknown counts as done.
    Abort {
        /// Where.
        uri: String,
        /// Key in the bucket.
        key: String,
        /// The upload.
        upload_id: String,
    },
    /// Deletes a completed file of a replaced run; one that is not there counts as done. `Locked` where
    /// the store locks it.
    Delete {
        /// Where.
        uri: String,
        /// In which store; absent: in the process's own.
        store: Option<ObjectStore>,
        /// Key in the bucket.
        key: String,
    },
}

/// A manifest that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewManifest {
    /// Where.
    pub uri: String,
    /// Key in the bucket.
    pub key: String,
    /// All but its lists.
    pub head: ManifestHead,
    /// The hash of the records that were checked: its files are theirs.
    pub hash: String,
    /// What it lists of the runs before.
    pub earlier: Option<Earlier>,
}

/// What became of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It holds.
    Done,
    /// Its condition did not hold, or may have held for our own lost write: read and see.
    Refused,
    /// The upload to complete is gone, and the object is not ours.
    Gone,
    /// The store locks the object to be deleted, until then at least: seconds since 1970, UTC.
    Locked(i64),
}

impl Reply {
    /// The latest known end of the locks that protected a file, if any.
    pub(super) fn locked(replies: &[Self]) -> Option<i64> {
        let until = |reply: &Self| match reply {
            Self::Locked(until) => Some(*until),
            Self::Done | Self::Refused | Self::Gone => None,
        };
        replies.iter().filter_map(until).max()
    }
}

/// Which step of the protocol a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Take the source.
    Claim,
    /// Fix window and plan.
    Pin,
    /// Prolong the deadline.
    Renew,
    /// From here only forward.
    Decide,
    /// Published.
    Publish,
    /// Nothing left to do after PUBLISH.
    Cleanup,
    /// Give the run up.
    Fail,
    /// Fence an attempt that has not claimed, or write its outcome.
    Raise,
    /// A person undoes DECIDE.
    Force,
    /// The undo is done.
    Reverted,
    /// A person moves the watermark.
    Set,
}

/// Writes that hold together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Which step it is.
    pub step: Step,
    /// Its writes, at most one for each item.
    pub writes: Vec<ItemWrite>,
}

/// A write, or only a check, of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemWrite {
    /// Hash key.
    pub key: String,
    /// What must be there.
    pub expect: Expect,
    /// What is put; absent: only the check.
    pub put: Option<Item>,
}

/// An item of the tracking table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The watermark item.
    Watermark(Box<WatermarkItem>),
    /// The run item.
    Run(Box<RunItem>),
    /// The outcome item.
    Outcome(Box<OutcomeItem>),
}

/// A condition on one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// The run item is at exactly this run, state and revision.
    Run {
        /// The run.
        run: RunId,
        /// Its state; the run id alone would let a woken process act twice.
        state: RunState,
        /// The revision, so that a coordinator who has just renewed is not overtaken.
        revision: u64,
    },
    /// The watermark item is as read, attribute by attribute.
    Watermark(WatermarkItem),
    /// `lwm_value` of the watermark item is this text, byte for byte.
    WatermarkLow(String),
    /// The outcome item is as read: attempt and result.
    Outcome(Box<OutcomeItem>),
}

impl Expect {
    /// The run item as read.
    pub fn run(item: &RunItem) -> Self {
        Self::Run { run: item.run, state: item.state, revision: item.revision }
    }

    /// Whether the condition holds for what is there: the meaning that every store must give it.
    pub fn holds(&self, there: Option<&Item>) -> bool {
        match (self, there) {
            (Self::Absent, there) => there.is_none(),
            (Self::Run { run, state, revision }, Some(Item::Run(item))) => {
                item.run == *run && item.state == *state && item.revision == *revision
            }
            (Self::Watermark(read), Some(Item::Watermark(item))) => **item == *read,
            (Self::WatermarkLow(low), Some(Item::Watermark(item))) => {
                item.lwm_value.as_deref() == Some(low)
            }
            (Self::Outcome(read), Some(Item::Outcome(item))) => {
                item.attempt == read.attempt && item.result == read.result
            }
            (
                Self::Run { .. } | Self::Watermark(_) | Self::WatermarkLow(_) | Self::Outcome(_),
                Some(Item::Watermark(_) | Item::Run(_) | Item::Outcome(_)) | None,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_is_retried_when_the_last_known_lock_ends() {
        let replies = [Reply::Done, Reply::Locked(7), Reply::Locked(9), Reply::Locked(8)];
        assert_eq!(Reply::locked(&replies), Some(9));
        assert_eq!(Reply::locked(&[Reply::Done, Reply::Gone, Reply::Refused]), None);
    }
}

//! In: nothing. Out: [`Alter`]: how a planted mistake differs from the product.
//! Bound: one mistake. Fails: never.

use crds::tracking::{RunItem, WatermarkItem};
use worker_core::errors::failure::Failure;
use worker_core::protocol::watermark::{WatermarkRequest, set};
use worker_core::protocol::{Act, Event, Process, Transaction, step};

/// What a mistake changes; the default changes nothing.
#[derive(Clone, Copy)]
pub struct Alter {
    /// The protocol.
    pub step: fn(Process, Event) -> (Process, Act),
    /// The name that a pod gives its files.
    pub token: fn(u8) -> String,
    /// How a person's request becomes a transaction.
    pub set: SetFn,
    /// How the stores lie.
    pub lie: Lie,
}

/// A move of the stored watermark: the run item, the watermark item, the request, now.
pub(crate) type SetFn = fn(
    Option<&RunItem>,
    Option<&WatermarkItem>,
    &WatermarkRequest,
    i64,
) -> Result<Transaction, Failure>;

/// How the stores, or the edges that write to them, lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// They do not.
    Never,
    /// A task record is put without condition.
    RecordsOverwritten,
    /// A repeated CompleteMultipartUpload re-creates a deleted object.
    CompletesAgain,
    /// The guard is read after the snapshot, and not before.
    GuardLate,
    /// An observation reads the run item first, and not after the outcome item and `source.json`.
    RunReadFirst,
    /// An observation reads the watermark item before the run item.
    MarkReadFirst,
    /// The session is not asked before DECIDE.
    NeverAssures,
    /// The cleanup of abandoned runs keeps the chain of the head only.
    KeepsByHead,
    /// The cleanup of abandoned runs keeps the chain of the pointer only.
    KeepsByPointer,
    /// The cleanup of abandoned runs does not keep what is still to be removed.
    KeepsNoReplaced,
    /// The cleanup of abandoned runs lists runs after it has read which runs are in use.
    ListsLast,
}

impl Default for Alter {
    fn default() -> Self {
        Self { step, token: |token| format!("t{token}"), set, lie: Lie::Never }
    }
}

impl Alter {
    /// Another protocol.
    pub fn step(step: fn(Process, Event) -> (Process, Act)) -> Self {
        Self { step, ..Self::default() }
    }

    /// Another way to move the watermark.
    pub fn set(set: SetFn) -> Self {
        Self { set, ..Self::default() }
    }

    /// Stores that lie.
    pub fn lie(lie: Lie) -> Self {
        Self { lie, ..Self::default() }
    }
}

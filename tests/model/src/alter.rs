//! In: nothing. Out: [`Alter`]: how a planted mistake differs from the product.
//! Bound: one mistake. Fails: never.

use worker_core::commits::{Act, Carrier, Event, step};

/// What a mistake changes; the default changes nothing.
#[derive(Clone, Copy)]
pub struct Alter {
    /// The protocol.
    pub step: fn(Carrier, Event) -> (Carrier, Act),
    /// The name that a pod gives its files.
    pub token: fn(u8) -> String,
    /// How the stores lie.
    pub lie: Lie,
}

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
    /// A look reads `R` first, and not after `O` and `source.json`.
    RunReadFirst,
    /// A look reads `L` before `R`.
    MarkReadFirst,
    /// The session is not asked before DECIDE.
    NeverAssures,
}

impl Default for Alter {
    fn default() -> Self {
        Self { step, token: |token| format!("t{token}"), lie: Lie::Never }
    }
}

impl Alter {
    /// Another protocol.
    pub fn step(step: fn(Carrier, Event) -> (Carrier, Act)) -> Self {
        Self { step, ..Self::default() }
    }

    /// Stores that lie.
    pub fn lie(lie: Lie) -> Self {
        Self { lie, ..Self::default() }
    }
}

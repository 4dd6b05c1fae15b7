//! In: nothing. Out: [`State`]: stores, processes, pods, clocks, what may still go wrong, and what
//! the rules must remember. Bound: a few hundred bytes. Fails: never.

use crate::asks::End;
use crate::config::Budget;
use crate::pool::NONE;
use crate::rules::Rules;

/// Sorted pairs of numbers.
pub(crate) type Pairs = Vec<(u32, u32)>;

/// The number of `key`.
pub(crate) fn get(pairs: &Pairs, key: u32) -> u32 {
    pairs.binary_search_by_key(&key, |pair| pair.0).map_or(NONE, |at| pairs[at].1)
}

/// Sets the number of `key` to `value`; `NONE` removes it.
pub(crate) fn set(pairs: &mut Pairs, key: u32, value: u32) {
    match pairs.binary_search_by_key(&key, |pair| pair.0) {
        Ok(at) if value == NONE => {
            pairs.remove(at);
        }
        Ok(at) => pairs[at].1 = value,
        Err(_) if value == NONE => {}
        Err(at) => pairs.insert(at, (key, value)),
    }
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Life {
    Idle,
    Live,
    Over(End),
    Dead,
}

/// A process: its local, perhaps stale, view is in its committer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Proc {
    pub(crate) life: Life,
    pub(crate) process: u32,
    pub(crate) ask: u32,
    /// Writes of the present act that were tried: bit by bit.
    pub(crate) tried: u8,
    /// Their replies.
    pub(crate) replies: Vec<u8>,
    /// Claims that were written, whether or not they held.
    pub(crate) claims: u8,
    /// What a read that takes several steps has found so far.
    pub(crate) found: Vec<u32>,
    /// Whether the session that holds the snapshot died.
    pub(crate) lost: bool,
}

impl Proc {
    pub(crate) const IDLE: Self = Self {
        life: Life::Idle,
        process: NONE,
        ask: NONE,
        tried: 0,
        replies: Vec::new(),
        claims: 0,
        found: Vec::new(),
        lost: false,
    };

    /// A process that has ended: nothing of its view remains.
    pub(crate) fn gone(life: Life) -> Self {
        Self { life, ..Self::IDLE }
    }
}

/// A pod that reads one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pod {
    pub(crate) run: u8,
    pub(crate) index: u8,
    pub(crate) token: u8,
    /// The plan as it read it, which may have been removed since.
    pub(crate) plan: u32,
    pub(crate) stage: Stage,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its parts lie on S3, its record is not written.
    Uploaded,
    /// Another's record was first: its upload is to go.
    Late,
    /// Done.
    Over,
}

/// What a person who moves the watermark has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Person {
    /// Nothing.
    #[default]
    Away,
    /// The revision.
    ReadRevision(u64),
    /// The command was given that revision, and has read the run item and the watermark item.
    Read(u64, [u32; 2]),
}

/// What the rules must remember.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Past {
    /// Runs that became `published`, in order.
    pub(crate) published: Vec<u8>,
    /// Bits: runs that were pinned.
    pub(crate) pinned: u64,
    /// Bits: runs whose session died before it was asked for the last time.
    pub(crate) lost: u64,
    /// The window that the next incremental run must take.
    pub(crate) pending_window: u32,
    /// Somebody else wrote the watermark.
    pub(crate) tampered: bool,
    /// The run item or the watermark item is gone, and nothing has started a new chain since.
    pub(crate) missing: bool,
    /// A run took the source over from a live one.
    pub(crate) overtaken: bool,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) items: Pairs,
    pub(crate) objects: Pairs,
    pub(crate) uploads: Vec<u32>,
    /// Key and upload of completed files.
    pub(crate) files: Pairs,
    pub(crate) procs: Vec<Proc>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) clock: u8,
    pub(crate) epoch: u8,
    pub(crate) left: Budget,
    pub(crate) person: Person,
    pub(crate) past: Past,
    pub(crate) broken: Rules,
}

pub(crate) fn bit(run: u8) -> u64 {
    1_u64.checked_shl(u32::from(run)).unwrap_or(0)
}

impl State {
    pub(crate) fn item(&self, key: u32) -> u32 {
        get(&self.items, key)
    }

    pub(crate) fn object(&self, key: u32) -> u32 {
        get(&self.objects, key)
    }

    pub(crate) fn open(&mut self, upload: u32) {
        if let Err(at) = self.uploads.binary_search(&upload) {
            self.uploads.insert(at, upload);
        }
    }

    /// Takes an open upload away; `false`: there is none.
    pub(crate) fn close(&mut self, upload: u32) -> bool {
        match self.uploads.binary_search(&upload) {
            Ok(at) => {
                self.uploads.remove(at);
                true
            }
            Err(_) => false,
        }
    }
}

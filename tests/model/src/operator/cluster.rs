//! In: nothing. Out: [`Cluster`]: objects, Jobs, processes, stores, and what may still go wrong.
//! Bound: a few hundred bytes. Fails: never.

use crate::state::State;

/// How often each misfortune, or request, may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Luck {
    /// A process dies.
    pub crashes: u8,
    /// An act of a process fails.
    pub faults: u8,
    /// A second pod of a coordinator Job starts, however late.
    pub twins: u8,
    /// The operator dies, or loses its connection, in the middle of a decision.
    pub cuts: u8,
    /// It decides from the version of the object before the present one.
    pub stale: u8,
    /// Another operator has decided, and acts later.
    pub thoughts: u8,
    /// Somebody asks for another run.
    pub requests: u8,
    /// A tool restores the first request, which the object had when it was made.
    pub restores: u8,
    /// Somebody edits the object.
    pub edits: u8,
    /// Somebody deletes the object.
    pub deletions: u8,
    /// Somebody deletes a Job.
    pub lost_jobs: u8,
    /// All leases run out.
    pub ticks: u8,
    /// Somebody suspends the object, or resumes it.
    pub suspends: u8,
}

/// One `ExtractJob`, by number: as it is, and as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub(crate) now: u32,
    pub(crate) before: u32,
}

/// A decision of another operator that is not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Thought {
    pub(crate) object: usize,
    pub(crate) copy: u32,
    pub(crate) decision: u32,
    /// Whether anything could show, when it was made, that a run of the object is or may be open.
    pub(crate) open: bool,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Stores and processes.
    pub(crate) base: State,
    pub(crate) objects: Vec<Object>,
    /// Slot of the process, and the Job.
    pub(crate) jobs: Vec<(usize, u32)>,
    pub(crate) thought: Option<Thought>,
    pub(crate) luck: Luck,
    /// Owners whose request was published.
    pub(crate) published: Vec<u32>,
    /// Bits: coordinator slots whose Job was made.
    pub(crate) made: u64,
    /// Object and generation of every attempt.
    pub(crate) tried: Vec<(usize, i64)>,
    pub(crate) broken: u16,
}

/// Promises of the operator, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// At most one run for a request.
    Twice,
    /// Status says Complete of a published request only.
    Status,
    /// There is an end to attempts.
    Endless,
    /// Nothing is left open of an object whose finalizer is removed.
    LetGo,
    /// No attempt has two coordinator Jobs.
    MadeTwice,
    /// A request that was never tried is not given up.
    Untried,
    /// Only what went wrong spends a retry or gives a request up, not others, and not
    /// `spec.suspend`.
    GivenUp,
    /// Nothing of an object that is called suspended is open.
    Suspended,
    /// Only a later request starts a run.
    Older,
}

impl Cluster {
    pub(crate) fn broke(&mut self, promise: Promise) {
        self.broken |= 1 << promise as u8;
    }

    /// Known, and not cured: an operator found neither an open run of a deleted object nor a Job at
    /// work, so it removes the finalizer without recovery, as it must where nothing can be recovered any
    /// more. A coordinator whose Job somebody deleted may claim right after that read, and so before
    /// or after the removal of the finalizer. It may publish its request once; without recovery nothing
    /// fences it, and its open uploads are the bucket's lifecycle rule's.
    pub(crate) fn forgive_let_go(&mut self) {
        self.broken &= !(1 << Promise::LetGo as u8);
    }

    pub(crate) fn has_broken(&self, promise: Promise) -> bool {
        self.broken & (1 << promise as u8) != 0
    }

    pub(crate) fn job(&self, slot: usize) -> Option<u32> {
        self.jobs.iter().find(|(of, _)| *of == slot).map(|(_, job)| *job)
    }

    pub(crate) fn set_job(&mut self, slot: usize, job: Option<u32>) {
        self.jobs.retain(|(of, _)| *of != slot);
        self.jobs.extend(job.map(|job| (slot, job)));
        self.jobs.sort_unstable();
    }
}

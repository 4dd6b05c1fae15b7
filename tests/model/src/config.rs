//! In: nothing. Out: [`Config`], one small case: who may run, what the table holds, what may go
//! wrong and how often. Bound: the budget of each misfortune. Fails: never.

use crds::tracking::Mode;
use worker_core::protocol::Step;

/// A row of the table: its watermark, and in which epochs of the database its transaction began
/// and could be seen.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its watermark.
    pub mark: i64,
    /// The epoch in which its transaction began.
    pub begun: u8,
    /// The epoch from which it can be seen.
    pub observed: u8,
}

/// Values of `requested-at`, from the earliest instant to the latest. As texts they are in the opposite
/// order.
pub const REQUESTS: [&str; 4] = [
    "1970-01-01T09:00:00+09:00",
    "1970-01-01T07:00:00+06:00",
    "1970-01-01T05:00:00+03:00",
    "1970-01-01T03:00:00Z",
];

/// How late a value of `requested-at` is: 0 for none.
pub(crate) fn rank(value: Option<&String>) -> usize {
    value.and_then(|value| REQUESTS.iter().position(|known| known == value)).map_or(0, |at| at + 1)
}

/// What a process is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Claim, plan, extract, publish; whether no attempt follows.
    Coordinate(bool),
    /// End what a coordinator left; whether no attempt follows.
    Recover(bool),
    /// The same, on suspend or deletion.
    Abort,
    /// A person's request: undo the run that the process of this slot claimed first.
    Force(usize),
}

/// One process that may start once.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The object.
    pub uid: &'static str,
    /// The attempt.
    pub attempt: u32,
    /// The request: which of [`REQUESTS`], counted from 1; 0 for none.
    pub request: u8,
    /// Generation of the object.
    pub generation: i64,
    /// What it does.
    pub part: Part,
    /// What kind of run.
    pub mode: Mode,
    /// Which prefix it writes to.
    pub prefix: u8,
    /// Watermark bounds of the manifest.
    pub bounds: (Option<i64>, Option<i64>),
    /// Whether what its run replaces is kept for a while: until the next tick of the clock.
    pub retains: bool,
    /// Slots that must have ended, or died, before.
    pub after: Vec<usize>,
    /// Whether it may start again and again.
    pub again: bool,
    /// Whether it may die.
    pub mortal: bool,
}

/// A coordinator of `uid`.
pub fn start(uid: &'static str, attempt: u32) -> Slot {
    Slot {
        uid,
        attempt,
        request: 0,
        generation: 1,
        part: Part::Coordinate(false),
        mode: Mode::PE,
        prefix: 0,
        bounds: (None, None),
        retains: false,
        after: Vec::new(),
        again: false,
        mortal: true,
    }
}

/// A recovery process of `uid`.
pub fn recover(uid: &'static str, attempt: u32) -> Slot {
    Slot { part: Part::Recover(false), ..start(uid, attempt) }
}

/// A person who undoes the run of slot `of`.
pub fn force(of: usize) -> Slot {
    Slot { part: Part::Force(of), ..start("a", 9) }
}

impl Slot {
    /// The same, keeping what it replaces for a while.
    #[must_use]
    pub fn retains(self) -> Self {
        Self { retains: true, ..self }
    }

    /// The same, asking by another `requested-at`.
    #[must_use]
    pub fn request(self, request: u8) -> Self {
        Self { request, ..self }
    }

    /// The same, of another kind.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same, in another part.
    #[must_use]
    pub fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The same, not before these slots have ended.
    #[must_use]
    pub fn after(self, after: &[usize]) -> Self {
        Self { after: after.to_vec(), ..self }
    }

    /// The same, as often as need be, and never dying.
    #[must_use]
    pub fn again(self) -> Self {
        Self { again: true, mortal: false, ..self }
    }

    /// The same, never dying.
    #[must_use]
    pub fn safe(self) -> Self {
        Self { mortal: false, ..self }
    }

    /// The same, to another prefix.
    #[must_use]
    pub fn prefix(self, prefix: u8) -> Self {
        Self { prefix, ..self }
    }

    /// The same, of an edited object.
    #[must_use]
    pub fn generation(self, generation: i64) -> Self {
        Self { generation, ..self }
    }

    /// The same, with watermark bounds.
    #[must_use]
    pub fn bounds(self, low: Option<i64>, high: Option<i64>) -> Self {
        Self { bounds: (low, high), ..self }
    }
}

/// How often each misfortune may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// A process dies.
    pub crashes: u8,
    /// A write holds, its reply is lost, and the client's own retry is refused.
    pub echoes: u8,
    /// An act fails for good, before or after it held.
    pub faults: u8,
    /// A coordinator renews.
    pub renews: u8,
    /// A second pod reads a partition.
    pub twins: u8,
    /// The session that holds the snapshot dies.
    pub sessions: u8,
    /// All leases run out.
    pub ticks: u8,
    /// The database goes on by one epoch.
    pub epochs: u8,
    /// The legacy job writes the watermark item: its watermark is moved up, by `put_item`.
    pub legacy: u8,
    /// Somebody deletes the run item; at any time where the configuration is `rash`, else while nothing of
    /// its run is in flight.
    pub lost_runs: u8,
    /// Somebody deletes the watermark item.
    pub lost_marks: u8,
    /// A pod of a run that is not held any more begins to read.
    pub zombies: u8,
    /// A rule of the bucket aborts an upload of a decided run.
    pub lapses: u8,
    /// A person moves the stored watermark.
    pub sets: u8,
}

/// What happens before the exploration begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// A process runs to its end.
    Ends(usize),
    /// A process runs until it has written this, and is then as it is.
    Until(usize, Step),
    /// A process runs until it is about to write this.
    Before(usize, Step),
    /// A process dies.
    Dies(usize),
    /// The database goes on.
    Epoch,
    /// Leases run out.
    Tick,
    /// An upload of the decided run is aborted.
    Lapse,
}

/// What keeps the end of a window below rows that cannot be seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarding {
    /// The oldest open transaction.
    Exact,
    /// Nothing.
    Nothing,
}

/// When abandoned runs are old enough to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweeping {
    /// No run of the case is ever older than the grace.
    AfterOutside,
    /// There is no grace.
    AtOnce,
}

/// One small case.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub name: &'static str,
    /// Who may run.
    pub slots: Vec<Slot>,
    /// The table.
    pub rows: Vec<Row>,
    /// What guards the end of windows.
    pub guard: Guarding,
    /// Partitions of a plan that has rows.
    pub partitions: u8,
    /// What may go wrong.
    pub budget: Budget,
    /// Whether writes of one act are tried in every order.
    pub any_order: bool,
    /// Whether an observation of the tracking items may be torn by a write between the run item and the others.
    pub torn: bool,
    /// Whether the run item may be deleted while its run is in flight.
    pub rash: bool,
    /// When abandoned runs are removed.
    pub sweeping: Sweeping,
    /// What happened before.
    pub seeds: Vec<Seed>,
}

/// Rows that all can be seen, at these watermarks.
pub fn rows(marks: &[i64]) -> Vec<Row> {
    marks.iter().map(|mark| Row { mark: *mark, begun: 0, observed: 0 }).collect()
}

impl Config {
    /// A case of these processes, in which nothing goes wrong, with one row in one partition.
    pub fn new(name: &'static str, slots: Vec<Slot>) -> Self {
        Self {
            name,
            slots,
            rows: rows(&[5]),
            guard: Guarding::Exact,
            partitions: 1,
            budget: Budget::default(),
            any_order: false,
            torn: false,
            rash: false,
            sweeping: Sweeping::AfterOutside,
            seeds: Vec::new(),
        }
    }

    /// The same, with these rows.
    #[must_use]
    pub fn rows(self, rows: Vec<Row>) -> Self {
        Self { rows, ..self }
    }

    /// The same, with this budget.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// The same, after all this.
    #[must_use]
    pub fn seeds(self, seeds: &[Seed]) -> Self {
        Self { seeds: seeds.to_vec(), ..self }
    }

    /// The same, with so many partitions.
    #[must_use]
    pub fn partitions(self, partitions: u8) -> Self {
        Self { partitions, ..self }
    }

    /// The same, without a guard.
    #[must_use]
    pub fn unguarded(self) -> Self {
        Self { guard: Guarding::Nothing, ..self }
    }

    /// The same, with writes in every order.
    #[must_use]
    pub fn any_order(self) -> Self {
        Self { any_order: true, ..self }
    }

    /// The same, where the run item may be deleted at any time.
    #[must_use]
    pub fn rash(self) -> Self {
        Self { rash: true, ..self }
    }

    /// The same, where abandoned runs are removed at once.
    #[must_use]
    pub fn sweeps(self) -> Self {
        Self { sweeping: Sweeping::AtOnce, ..self }
    }

    /// The same, with torn reads.
    #[must_use]
    pub fn torn(self) -> Self {
        Self { torn: true, ..self }
    }
}

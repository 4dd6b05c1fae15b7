//! In: what a write changed. Out: [`Rules`]: which promises it broke.
//! Bound: one write. Fails: never.

mod by_hand;
mod objects;
mod states;
mod track;

pub(crate) use by_hand::{moved, undone};
pub(crate) use objects::{Touched, aborted, put, removed, shown};
pub(crate) use states::text as states_text;
pub(crate) use states::{ended, properties};
pub(crate) use track::tracked;

/// Promises, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Rules(u32);

impl Rules {
    pub(crate) fn broke(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u32;
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn forget(&mut self, rules: &[Rule]) {
        for rule in rules {
            self.0 &= !(1 << *rule as u32);
        }
    }

    pub(crate) fn has_broken(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $text:literal),+ $(,)?) => {
        /// A promise that a single step may break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule { $($(#[$doc])* $rule),+ }

        impl Rule {
            /// What it says.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$rule => $text),+ }
            }
        }

        /// Each promise as a property.
        fn steps() -> Vec<stateright::Property<crate::protocol::Protocol>> {
            vec![$(stateright::Property::always($text, |_, state: &crate::state::State| {
                !state.broken.has_broken(Rule::$rule)
            })),+]
        }
    };
}

rules! {
    /// I2.
    Exclusive = "I2 a record is written once, and a manifest holds the recorded files and no other",
    /// I3.
    Pointer = "I3 the pointer names a published run and moves up only, along one chain",
    /// I4.
    WindowStable = "I4 a pending window is taken as it is",
    /// I5.
    Contiguous = "I5 a published window begins where the stored watermark stands",
    /// I6.
    Monotonic = "I6 the stored watermark falls only by reingest or given bounds",
    /// The watermark after PUBLISH.
    MaxSeen = "the stored watermark becomes the greatest one seen, and stays where no row was seen",
    /// I7.
    Once = "I7 a run and a request are published once, and no request after a later one",
    /// I8.
    Fenced = "I8 only the run that holds the source changes its item, from the right state",
    /// I8, takeover.
    Takeover = "a live run is overtaken only by its own next attempt or past its deadline",
    /// I9.
    Outcome = "I9 an outcome that is Complete names a published run of that request",
    /// Attempts.
    Attempt = "an attempt that was recovered or overtaken never claims",
    /// Answered.
    Answered = "a request that was answered is not claimed again",
    /// I11.
    Snapshot = "I11 all records of a decided run are of one snapshot, and of its plan",
    /// The session.
    Session = "a run whose snapshot's session died is never decided",
    /// I12.
    Removal = "I12 files of the chain or of the present run are never removed",
    /// Aborts.
    Abort = "uploads of a run that may yet be published are not aborted",
    /// Listing readers.
    Hidden = "no file of an undecided or replaced run comes into view",
    /// Todo.
    PendingCleanup = "todo is cleared, and the next run begins, only once pointer and removal are done",
    /// Lost items.
    LostItem = "a lost item is never taken for a first run",
    /// False alarms.
    FalseAlarm = "TrackingLost is said only where an item was deleted",
    /// Copies.
    Copy = "a lost watermark item is made from its copy, never from the minimum",
    /// Exit codes.
    Exit = "exit 0 only where the outcome answers, recovery's only where nothing of it is open",
    /// Leftovers.
    Leftovers = "recovery leaves no upload of a run that was given up",
    /// FORCE.
    Undone = "a run that was undone shows no file, and nothing that it needs to be completed is left",
    /// `retainReplacedSeconds`.
    Retained = "replaced files stay until their time has passed",
    /// `watermark set`.
    Asked = "a person moves only the watermark that they looked at, and of a source that nobody holds",
    /// No event is out of place.
    Total = "no event is out of place",
}

//! In: nothing. Out: [`Mistake`]s, each with the smallest case that shows it and the promise that
//! it breaks. Bound: some hundred. Fails: never.

mod claims;
pub mod lists;
mod planted;
mod publishing;
mod recovering;
mod sweeping;
mod tools;

use std::time::Duration;

use crate::alter::Alter;
use crate::cases;
use crate::config::Config;
use crate::explore::{Found, dead_ends, explore};
use crate::protocol::Protocol;

pub(crate) use claims::claim_takes_older_requests;
pub use planted::planted;
pub(crate) use publishing::exits_well;

/// The promise that from every state something good can be reached.
pub const NO_DEAD_END: &str = "no dead end";

/// A planted mistake of the run protocol.
#[derive(Clone)]
pub struct Mistake {
    /// What is done wrong.
    pub name: &'static str,
    /// Where it was named first.
    pub source: &'static str,
    /// The promise that catches it; empty: another defence of the product holds.
    pub caught_by: &'static str,
    /// Why it is not caught, or what else was taken away so that it is.
    pub note: &'static str,
    /// The mistake.
    pub alter: Alter,
    /// Where it shows.
    pub config: Config,
}

impl Mistake {
    /// Searches for a broken promise.
    pub fn look(&self) -> Found {
        let model = Protocol::new(self.config.clone(), self.alter);
        if self.caught_by != NO_DEAD_END {
            return explore(model, 1, Duration::from_mins(2));
        }
        let (states, dead, steps) = dead_ends(&model, |state| cases::is_done(&model, state));
        let broken = if dead == 0 { Vec::new() } else { vec![(NO_DEAD_END, steps)] };
        Found { states, made: states, broken, unreached: Vec::new(), whole: true }
    }

    /// Whether what was found is what was expected.
    pub fn is_as_expected(&self, found: &Found) -> bool {
        if self.caught_by.is_empty() {
            return found.broken.is_empty() && found.whole;
        }
        found.broken.iter().any(|(name, _)| *name == self.caught_by)
    }
}

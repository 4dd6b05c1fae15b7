//! In: nothing. Out: [`Mistake`]s, each with the smallest world that shows it and the promise that
//! it breaks. Bound: some seventy. Fails: never.

mod claims;
mod pending;
mod planted;
mod publishing;
mod settling;
mod tools;

use std::time::Duration;

use crate::alter::Alter;
use crate::config::Config;
use crate::explore::{Found, explore};
use crate::protocol::Protocol;

pub use pending::{Pending, pending};
pub use planted::planted;
pub(crate) use publishing::exits_well;

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
    /// Looks for a broken promise.
    pub fn look(&self) -> Found {
        let model = Protocol::new(self.config.clone(), self.alter);
        explore(model, 1, Duration::from_mins(2))
    }

    /// Whether what was found is what was expected.
    pub fn is_as_expected(&self, found: &Found) -> bool {
        if self.caught_by.is_empty() {
            return found.broken.is_empty() && found.whole;
        }
        found.broken.iter().any(|(name, _)| *name == self.caught_by)
    }
}

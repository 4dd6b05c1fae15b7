//! What item `R` keeps of what is still to do after `Y`: the pointer, and removals that are put off.

use serde::{Deserialize, Serialize};

use crate::units::RunId;

/// What is still to do after `Y`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Todo {
    /// Whether `current.json` has yet to be moved up to the head.
    pub pointer: bool,
    /// Replaced files that are still to be removed: one entry for each URI that holds some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
}

impl Todo {
    /// The removal at `uri`.
    pub fn removal_at(&self, uri: &str) -> Option<&Removal> {
        self.removals.iter().find(|removal| removal.uri == uri)
    }

    /// The removal that the object `uid` put off and that is due first.
    pub fn removal_by(&self, uid: &str) -> Option<&Removal> {
        self.removals.iter().filter(|removal| removal.uid == uid).min_by_key(|removal| removal.at())
    }
}

/// Replaced files that are to be removed once their retention has passed, wherever later runs of the
/// source go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Where they are.
    pub uri: String,
    /// The run whose manifest names the runs that it replaced.
    pub run: RunId,
    /// Seconds since 1970, UTC, from which they are to be removed.
    pub due: i64,
    /// Seconds since 1970, UTC, from which it is tried again, since it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// Uid of the owner of that run.
    pub uid: String,
}

impl Removal {
    /// From when on the next process does it.
    pub fn at(&self) -> i64 {
        self.due.max(self.retry.unwrap_or(i64::MIN))
    }

    /// Whether that time has come by `now`.
    pub fn is_due(&self, now: i64) -> bool {
        self.at() <= now
    }
}

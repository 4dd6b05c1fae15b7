//! What keeps rows that are committed late out of a window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kept the end of a window below rows that were not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    /// The start of the oldest open transaction of this database.
    Exact,
    /// All transactions that were open at the bound had ended before the snapshot.
    Waited,
    /// A fixed distance behind the clock or the maximum.
    Lag,
    /// Nothing: late rows may be missed.
    Unguarded,
}

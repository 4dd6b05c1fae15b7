//! What keeps rows that are committed late out of a window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kept the end of a window below rows that were not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    /// The window ends before the start of the oldest open transaction of the database.
    Exact,
    /// All transactions that were open at the end of the window ended before the snapshot.
    Waited,
    /// The window ends at a fixed distance below the clock or the maximum.
    Lag,
    /// No guard. Rows that are committed late may be skipped.
    Unguarded,
}

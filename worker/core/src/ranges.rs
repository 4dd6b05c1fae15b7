//! Placeholder: the cutter.
use serde::{Deserialize, Serialize};

/// The part of a window that one pod reads. Bounds are canonical text of the partition column's
/// type; `from` is included, `to` is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Start, included; absent: from the least value.
    pub from: Option<String>,
    /// End, not included; absent: to the greatest value.
    pub to: Option<String>,
    /// Whether rows whose key is NULL are in it: true for exactly one range of a plan.
    pub nulls: bool,
}

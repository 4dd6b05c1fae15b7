//! How much of their values columns keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens if the type mapping of a column loses a part of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FidelityPolicy {
    /// The column is extracted, and the status counts it.
    #[default]
    Report,
    /// The run fails before it reads a row.
    Strict,
}

/// How many columns keep how much of their values' meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FidelityCounts {
    /// Number of columns with the same value in a type of the same meaning.
    pub exact: u32,
    /// Number of columns with the same value in a wider type.
    pub widened: u32,
    /// Number of columns written as the database's text for the value.
    pub string: u32,
    /// Number of columns that lose a part of the value.
    pub lossy: u32,
}

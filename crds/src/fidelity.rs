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
    /// The same value in a type of the same meaning.
    pub exact: u32,
    /// The same value in a type that holds more.
    pub widened: u32,
    /// All of the value, as the database's text for it.
    pub string: u32,
    /// Something of the value is not kept.
    pub lossy: u32,
}

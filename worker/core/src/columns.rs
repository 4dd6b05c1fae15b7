//! Placeholder: the mapping table (see the columns helper).
use serde::{Deserialize, Serialize};

/// One column of the extract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as the catalog has it.
    pub name: String,
    /// Oid of its type.
    pub type_oid: u32,
    /// Its type as the database prints it, such as `numeric(12,2)`.
    pub type_name: String,
    /// Type modifier, -1 where there is none.
    pub type_modifier: i32,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// How it is written.
    pub target: Target,
}

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Parquet BOOLEAN.
    Boolean,
    /// INT(16).
    Int16,
    /// INT(32).
    Int32,
    /// INT(64).
    Int64,
    /// FLOAT.
    Float32,
    /// DOUBLE.
    Float64,
    /// DECIMAL(precision, scale).
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// UTF-8 text, the type being text in the database too.
    Text,
    /// UTF-8 text made by the database from a type without a mapping (`column::text`).
    AsText,
    /// Bytes.
    Binary,
    /// Days.
    Date,
    /// Microseconds, no zone.
    Timestamp,
    /// Microseconds, UTC.
    TimestampTz,
    /// 16 bytes with the logical type UUID.
    Uuid,
    /// JSON text.
    Json,
}

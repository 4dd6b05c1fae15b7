//! How a column is written, and how much of its values that keeps.

use serde::{Deserialize, Serialize};

/// How a column is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    /// Microseconds since midnight.
    Time,
    /// Microseconds, no zone.
    Timestamp,
    /// Microseconds, UTC.
    TimestampTz,
    /// 16 bytes with the logical type UUID.
    Uuid,
    /// JSON text.
    Json,
}

/// How much of a value's meaning the mapping keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fidelity {
    /// The same value in a type of the same meaning.
    Exact,
    /// The same value in a type that holds more.
    Widened,
    /// All of the value, as the database's text for it.
    String,
    /// Something of the value is not kept.
    Lossy,
}

impl Fidelity {
    /// Each once, from the best.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Widened, Self::String, Self::Lossy];

    /// The word in plans, manifests and the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Widened => "widened",
            Self::String => "string",
            Self::Lossy => "lossy",
        }
    }
}

impl Target {
    /// Fidelity of a mapping to this target, as far as it depends on the target alone.
    pub(super) const fn fidelity(self) -> Fidelity {
        match self {
            Self::AsText => Fidelity::String,
            Self::Boolean
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float32
            | Self::Float64
            | Self::Decimal { .. }
            | Self::Text
            | Self::Binary
            | Self::Date
            | Self::Time
            | Self::Timestamp
            | Self::TimestampTz
            | Self::Uuid
            | Self::Json => Fidelity::Exact,
        }
    }
}

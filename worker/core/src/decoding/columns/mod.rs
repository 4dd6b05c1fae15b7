//! In: wire bytes of a range, in chunks cut anywhere. Out: columns (Arrow builders). Bound: what
//! the batch budget lets pile up, plus one row that is not whole yet. Fails: [`DecodeError`].
//!
//! The mapping tables are data: Postgres' in [`postgres`], MySQL's in [`mysql`]. What has no row of
//! its own goes through the database's own text.

use serde::{Deserialize, Serialize};

mod added;
mod batch;
mod builder;
mod copy;
mod decimal;
mod decoder;
mod extremes;
mod faults;
mod json;
pub mod mysql;
pub mod postgres;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
mod schema;
mod temporal;
#[cfg(test)]
mod tests;

pub use added::is_row_hash;
pub use decoder::Decoder;
pub use faults::{DecodeError, Fault};
pub(crate) use postgres::{is_oid, is_text};
pub use postgres::{oids, target_for};
pub use schema::{arrow_schema, differ_by_case, fingerprint};

/// One column of the extract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as the catalog has it.
    pub name: String,
    /// Postgres: oid of its type. MySQL: the code of its [`mysql::Form`].
    pub type_oid: u32,
    /// Its type as the database prints it, such as `numeric(12,2)`.
    pub type_name: String,
    /// Postgres: the type's modifier. MySQL: digits after the second. -1 where there is none.
    pub type_modifier: i32,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// How it is written.
    pub target: Target,
    /// What that keeps of its values; absent in what older releases wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
    /// Why that is not all, or not in the same type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Column {
    /// What is kept of its values.
    pub fn fidelity(&self) -> Fidelity {
        self.fidelity.unwrap_or(self.target.fidelity())
    }
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
#[serde(rename_all = "snake_case")]
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
    /// What a mapping to this target keeps, as far as the target alone can tell.
    const fn fidelity(self) -> Fidelity {
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

/// Whether a column holds decimals that are written as the database's text.
pub(crate) fn is_decimal_text(column: &Column) -> bool {
    column.target == Target::AsText
        && (column.type_oid == oids::NUMERIC || column.type_oid == mysql::Form::Decimal.code())
}

/// Whether a column is `bigint unsigned`: whole numbers that are written as decimals.
pub(crate) fn is_unsigned(column: &Column) -> bool {
    column.type_oid == mysql::Form::U64.code()
}

/// Whether a column is MySQL's: its types are told apart by how they come.
pub(crate) fn of_mysql(column: &Column) -> bool {
    mysql::Form::ALL.iter().any(|form| form.code() == column.type_oid)
}

/// Whether a column is MySQL's `bit(n)`, whose text is bytes.
pub(crate) fn is_bit(column: &Column) -> bool {
    column.type_oid == mysql::Form::Bit.code()
}

/// Whether a column is MySQL's `year`.
pub(crate) fn is_year(column: &Column) -> bool {
    of_mysql(column) && column.type_name.to_ascii_lowercase().starts_with("year")
}

/// Whether a column is MySQL's `enum` or `set`.
pub(crate) fn is_named_set(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    of_mysql(column) && (name.starts_with("enum(") || name.starts_with("set("))
}

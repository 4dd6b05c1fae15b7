//! In: wire bytes of a range, in chunks cut anywhere. Out: columns (Arrow builders). Bound: what
//! the batch budget lets pile up, plus one row that is not whole yet. Fails: [`DecodeError`].
//!
//! The mapping table of Postgres stands here: one row per type, and everything without a row goes
//! through the database's own text. MySQL's is in [`mysql`].

use serde::{Deserialize, Serialize};

mod added;
mod batch;
mod builder;
mod copy;
mod decimal;
mod decoder;
mod extremes;
mod faults;
pub mod mysql;
mod schema;
mod temporal;
#[cfg(test)]
mod tests;

pub use added::is_row_hash;
pub use decoder::Decoder;
pub use faults::{DecodeError, Fault};
pub use schema::{arrow_schema, fingerprint};

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

impl Target {
    /// What the mapping to this target keeps.
    pub const fn fidelity(self) -> Fidelity {
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
            | Self::Timestamp
            | Self::TimestampTz
            | Self::Uuid
            | Self::Json => Fidelity::Exact,
        }
    }
}

/// Oids of `pg_type` that have a target of their own. They are fixed for all time (`pg_type.dat`).
pub mod oids {
    /// `boolean`
    pub const BOOL: u32 = 16;
    /// `bytea`
    pub const BYTEA: u32 = 17;
    /// `name`
    pub const NAME: u32 = 19;
    /// `bigint`
    pub const INT8: u32 = 20;
    /// `smallint`
    pub const INT2: u32 = 21;
    /// `integer`
    pub const INT4: u32 = 23;
    /// `text`
    pub const TEXT: u32 = 25;
    /// `json`
    pub const JSON: u32 = 114;
    /// `real`
    pub const FLOAT4: u32 = 700;
    /// `double precision`
    pub const FLOAT8: u32 = 701;
    /// `character(n)`
    pub const BPCHAR: u32 = 1042;
    /// `character varying(n)`
    pub const VARCHAR: u32 = 1043;
    /// `date`
    pub const DATE: u32 = 1082;
    /// `timestamp without time zone`
    pub const TIMESTAMP: u32 = 1114;
    /// `timestamp with time zone`
    pub const TIMESTAMPTZ: u32 = 1184;
    /// `numeric(p,s)`
    pub const NUMERIC: u32 = 1700;
    /// `uuid`
    pub const UUID: u32 = 2950;
    /// `jsonb`
    pub const JSONB: u32 = 3802;
}

/// The mapping table. `numeric` is not in it: its target depends on precision and scale.
const TARGETS: &[(u32, Target)] = &[
    (oids::BOOL, Target::Boolean),
    (oids::INT2, Target::Int16),
    (oids::INT4, Target::Int32),
    (oids::INT8, Target::Int64),
    (oids::FLOAT4, Target::Float32),
    (oids::FLOAT8, Target::Float64),
    (oids::TEXT, Target::Text),
    (oids::VARCHAR, Target::Text),
    (oids::BPCHAR, Target::Text),
    (oids::NAME, Target::Text),
    (oids::BYTEA, Target::Binary),
    (oids::DATE, Target::Date),
    (oids::TIMESTAMP, Target::Timestamp),
    (oids::TIMESTAMPTZ, Target::TimestampTz),
    (oids::UUID, Target::Uuid),
    (oids::JSON, Target::Json),
    (oids::JSONB, Target::Json),
];

/// How a column of this type is written. Domains, enums, arrays and all other types without a row
/// in the table become [`Target::AsText`].
pub fn target_for(type_oid: u32, type_modifier: i32) -> Target {
    if type_oid == oids::NUMERIC {
        return decimal::target(type_modifier);
    }
    TARGETS.iter().find(|(oid, _)| *oid == type_oid).map_or(Target::AsText, |(_, target)| *target)
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

/// Whether a column is MySQL's `enum` or `set`.
pub(crate) fn is_named_set(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    of_mysql(column) && (name.starts_with("enum(") || name.starts_with("set("))
}

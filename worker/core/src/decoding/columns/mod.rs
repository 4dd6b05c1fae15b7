//! In: wire bytes of a partition, in chunks cut anywhere. Out: columns (Arrow builders). Bound: what
//! the batch budget lets pile up, plus one row that is not whole yet. Fails: [`DecodeError`].
//!
//! The mapping tables are data: Postgres' in [`postgres`], MySQL's in [`mysql`]. What has no row of
//! its own goes through the database's own text.

mod added;
mod batch;
mod block;
mod builder;
mod column;
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
mod target;
mod temporal;
#[cfg(test)]
mod tests;
mod text;

pub use added::is_row_hash;
pub use column::Column;
pub(crate) use column::{is_bit, is_decimal_text, is_named_set, is_unsigned, is_year, of_mysql};
pub use decoder::Decoder;
pub use faults::{DecodeError, Fault};
pub(crate) use postgres::{is_oid, is_text};
pub use postgres::{oids, target_for};
pub use schema::{arrow_schema, differ_by_case, fingerprint};
pub use target::{Fidelity, Target};

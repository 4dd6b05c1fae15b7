//! Columns that are added to those of the table: when the run was claimed, a hash of the row, the
//! run's id.
//!
//! **The hash** is the SHA-256, in lower-case hexadecimal, of the row as the database sends it: for
//! each of the table's columns in their order, the length of the value as a 32 bit big-endian
//! number, then the value in Postgres' binary form (`int4send`, `textsend`, `numeric_send`, ...;
//! the UTF-8 text where the column is written as the database's text). NULL is the length -1 and
//! nothing after it. So NULL is unlike the empty text, and no two rows run together. Added columns
//! are not in it: an unchanged row keeps its hash from run to run.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use crds::RunId;
use crds::output::OutputColumns;
use sha2::{Digest, Sha256};

/// Field metadata of an added column: what it holds.
const ADDED: &str = "tidemark.added";
/// That it holds the row's hash.
const ROW_HASH: &str = "row_hash";

/// Whether a field is the row's hash: no two of its values are alike, so that a dictionary and
/// statistics of them are only work.
pub fn is_row_hash(field: &Field) -> bool {
    field.metadata().get(ADDED).is_some_and(|meaning| meaning == ROW_HASH)
}

/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;
/// Characters of a run id.
const RUN_ID_DIGITS: usize = 36;
/// Of a text: its offset in the column.
const OFFSET_BYTES: usize = 4;
/// Of the time.
const TIME_BYTES: usize = 8;

/// What is added to the rows of one run.
pub(super) struct Added {
    columns: OutputColumns,
    claimed_micros: i64,
    run: String,
    hashes: StringBuilder,
}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Added").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Added {
    /// Adds these columns to the rows of this run; `None`: nothing.
    pub(super) fn new(columns: OutputColumns, run: Option<RunId>) -> Self {
        Self {
            claimed_micros: run.map_or(0, |run| run.claimed_millis().saturating_mul(1000)),
            run: run.map(|run| run.to_string()).unwrap_or_default(),
            hashes: StringBuilder::new(),
            columns,
        }
    }

    /// Their fields, in their order.
    pub(super) fn fields(&self) -> Vec<Field> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let OutputColumns { extract_time, row_hash, run_id } = &self.columns;
        let added = [
            (extract_time, time, "extract_time"),
            (row_hash, DataType::Utf8, ROW_HASH),
            (run_id, DataType::Utf8, "run_id"),
        ];
        let field = |name: &str, kind, meaning: &str| {
            let metadata = HashMap::from([(ADDED.to_owned(), meaning.to_owned())]);
            Field::new(name, kind, true).with_metadata(metadata)
        };
        added
            .into_iter()
            .filter_map(|(name, kind, meaning)| Some(field(name.as_ref()?, kind, meaning)))
            .collect()
    }

    /// Bytes that they take for each row.
    pub(super) fn row_bytes(&self) -> usize {
        let OutputColumns { extract_time, row_hash, run_id } = &self.columns;
        usize::from(extract_time.is_some()) * TIME_BYTES
            + usize::from(row_hash.is_some()) * (HASH_DIGITS + OFFSET_BYTES)
            + usize::from(run_id.is_some()) * (RUN_ID_DIGITS + OFFSET_BYTES)
    }

    /// Takes a row: its fields as they came, each with its length before it.
    pub(super) fn see(&mut self, fields: &[u8]) {
        if self.columns.row_hash.is_none() {
            return;
        }
        let mut digits = [0_u8; HASH_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(Sha256::digest(fields)) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        self.hashes.append_value(std::str::from_utf8(&digits).unwrap_or_default());
    }

    /// Their arrays for the rows since the last call, `rows` of them.
    pub(super) fn arrays(&mut self, rows: usize) -> Vec<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if self.columns.extract_time.is_some() {
            let times = TimestampMicrosecondArray::from_value(self.claimed_micros, rows);
            arrays.push(Arc::new(times.with_timezone("UTC")));
        }
        if self.columns.row_hash.is_some() {
            arrays.push(Arc::new(self.hashes.finish()));
            self.hashes = StringBuilder::with_capacity(rows, rows * HASH_DIGITS);
        }
        if self.columns.run_id.is_some() {
            let ids = std::iter::repeat_n(Some(self.run.as_str()), rows);
            arrays.push(Arc::new(ids.collect::<StringArray>()));
        }
        arrays
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests;

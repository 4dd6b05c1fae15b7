//! In: complete rows in their wire form. Out: the positions of all fields of a block of rows. Bound: [`BLOCK_ROWS`].
//! Fails: nothing.
//!
//! The fields of a block are found in one pass over its bytes. Then each column is decoded in one loop, so that the
//! type of a column is looked up once for each block and not for each value.

use super::faults::{DecodeError, Fault};

/// Maximum number of rows of a block. Blocks are small so that the bytes of narrow rows stay in the CPU's cache.
pub(super) const BLOCK_ROWS: usize = 256;
/// Number of fields from which on a block takes no further row: a table may have thousands of columns.
const BLOCK_FIELDS: usize = 1 << 15;
/// Length of a NULL.
const NULL: u32 = u32::MAX;

/// The position of a field in the bytes of its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    start: u32,
    length: u32,
}

impl Field {
    /// A field without a value.
    pub(super) const NULL: Self = Self { start: 0, length: NULL };

    /// A value at `start`; `None` if a block cannot address it.
    pub(super) fn new(start: usize, length: usize) -> Option<Self> {
        let length = u32::try_from(length).ok().filter(|length| *length < NULL)?;
        u32::try_from(start).ok().map(|start| Self { start, length })
    }

    /// Start and end of the value; `None` for NULL.
    pub(super) fn range(self) -> Option<(usize, usize)> {
        if self.length == NULL {
            return None;
        }
        let start = self.start as usize;
        Some((start, start + self.length as usize))
    }
}

/// A value that cannot be decoded: its row in the block, and why.
pub(super) type BadValue = (usize, Fault);

/// Why the fields of a row cannot be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowError {
    /// The stream is broken.
    Stream(DecodeError),
    /// The field of the column with this index has an invalid length.
    Length(usize),
}

impl From<DecodeError> for RowError {
    fn from(error: DecodeError) -> Self {
        Self::Stream(error)
    }
}

/// Rows whose fields are found and whose values are not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// All fields, row by row.
    pub(super) fields: Vec<Field>,
    /// Start and end of each row.
    pub(super) rows: Vec<(usize, usize)>,
    /// Upper bound of the bytes of all values of variable length.
    pub(super) text_bytes: usize,
}

impl Block {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.rows.clear();
        self.text_bytes = 0;
    }

    pub(super) const fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK_ROWS || self.fields.len() >= BLOCK_FIELDS
    }

    /// Removes the fields of an incomplete row.
    pub(super) fn drop_unfinished(&mut self, columns: usize) {
        self.fields.truncate(self.rows.len() * columns);
    }

    /// The fields of one column, of the first `rows` rows.
    pub(super) fn column<'a>(
        &'a self,
        bytes: &'a [u8],
        (index, columns): (usize, usize),
        rows: usize,
    ) -> Fields<'a> {
        Fields { bytes, all: &self.fields[..rows * columns], index, columns, rows }
    }
}

/// The fields of one column in a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    all: &'a [Field],
    index: usize,
    columns: usize,
    pub(super) rows: usize,
}

impl<'a> Fields<'a> {
    /// Start and end of each value, in the order of the rows; `None` for NULL.
    pub(super) fn ranges(self) -> impl Iterator<Item = Option<(usize, usize)>> + 'a {
        self.all.chunks_exact(self.columns).map(move |row| row[self.index].range())
    }

    /// Each value in its wire form; `None` for NULL.
    pub(super) fn values(self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let bytes = self.bytes;
        self.ranges().map(move |range| range.map(|(start, end)| &bytes[start..end]))
    }
}

//! Text or binary values of one column: one buffer with all bytes, and the end of each value.

use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};

use super::block::{BadValue, Fields};
use super::faults::Fault;
use super::json::is_portable;

/// Number of bytes that are copied for each value of at most this length. A fixed length compiles to a few instructions.
/// The next value overwrites the surplus.
const COPIED_BYTES: usize = 32;

/// Values in one buffer.
#[derive(Debug)]
pub(super) struct TextBuilder {
    /// The buffer. After the first value it is at least [`COPIED_BYTES`] longer than `used`.
    bytes: Vec<u8>,
    used: usize,
    /// End of each value, after a first entry of 0.
    ends: Vec<i32>,
}

impl TextBuilder {
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: vec![0; bytes + COPIED_BYTES], used: 0, ends }
    }

    /// Bytes of all values.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Number of values so far, including NULLs.
    pub(super) const fn rows(&self) -> usize {
        self.ends.len() - 1
    }

    /// The value of a row of the batch; empty for NULL.
    pub(super) fn value(&self, row: usize) -> &[u8] {
        let place = |end: i32| usize::try_from(end).unwrap_or_default();
        &self.bytes[place(self.ends[row])..place(self.ends[row + 1])]
    }

    fn push(&mut self, source: &[u8], start: usize, end: usize) {
        let used = self.used + (end - start);
        if self.bytes.len() < used + COPIED_BYTES {
            self.bytes.resize((used + COPIED_BYTES).max(self.bytes.len() * 2), 0);
        }
        match source.get(start..start + COPIED_BYTES) {
            Some(from) if end - start <= COPIED_BYTES => {
                self.bytes[self.used..self.used + COPIED_BYTES].copy_from_slice(from);
            }
            _ => self.bytes[self.used..used].copy_from_slice(&source[start..end]),
        }
        self.used = used;
    }

    /// Records the end of a value. A batch is smaller than 2 GiB, so the end fits.
    fn end_value(&mut self) {
        self.ends.push(i32::try_from(self.used).unwrap_or(i32::MAX));
    }

    /// Appends the values of a column of one block. `place` maps the position of a field to the position of its value.
    ///
    /// # Errors
    /// The first value that `place` refuses.
    pub(super) fn append(
        &mut self,
        nulls: &mut NullBufferBuilder,
        fields: Fields<'_>,
        place: impl Fn(usize, usize) -> Result<(usize, usize), Fault>,
    ) -> Result<(), BadValue> {
        let mut valid = 0;
        self.ends.reserve(fields.rows);
        for (row, range) in fields.ranges().enumerate() {
            if let Some((start, end)) = range {
                let (start, end) = match place(start, end) {
                    Ok(place) => place,
                    Err(fault) => {
                        nulls.append_n_non_nulls(valid);
                        return Err((row, fault));
                    }
                };
                self.push(fields.bytes, start, end);
                valid += 1;
            } else {
                nulls.append_n_non_nulls(valid);
                nulls.append_null();
                valid = 0;
            }
            self.end_value();
        }
        nulls.append_n_non_nulls(valid);
        Ok(())
    }

    /// Checks that the values, starting at row `first`, are UTF-8 and, with `json`, portable JSON.
    ///
    /// # Errors
    /// The first value that is not. Its row number is relative to `first`.
    pub(super) fn check(
        &self,
        nulls: &NullBufferBuilder,
        first: usize,
        json: bool,
    ) -> Result<(), BadValue> {
        let rows = first..self.ends.len() - 1;
        let is_utf8 = self.is_utf8(first);
        if is_utf8 && !json {
            return Ok(());
        }
        for row in rows {
            let value = self.value(row);
            if !is_utf8 && std::str::from_utf8(value).is_err() {
                return Err((row - first, Fault::Utf8));
            }
            if json && nulls.is_valid(row) && !is_portable(value) {
                return Err((row - first, Fault::Json));
            }
        }
        Ok(())
    }

    fn is_utf8(&self, first: usize) -> bool {
        let start = usize::try_from(self.ends[first]).unwrap_or_default();
        let bytes = &self.bytes[..self.used];
        if bytes[start..].is_ascii() {
            return true;
        }
        // all values together may be valid although a value ends inside a character
        let starts_character = |end: &i32| {
            let next = usize::try_from(*end).ok().and_then(|end| bytes.get(end));
            next.is_none_or(|byte| byte & 0xC0 != 0x80)
        };
        simdutf8::basic::from_utf8(&bytes[start..]).is_ok()
            && self.ends[first..].iter().all(starts_character)
    }

    pub(super) fn finish(mut self) -> (OffsetBuffer<i32>, Buffer) {
        self.bytes.truncate(self.used);
        (OffsetBuffer::new(ScalarBuffer::from(self.ends)), Buffer::from_vec(self.bytes))
    }
}

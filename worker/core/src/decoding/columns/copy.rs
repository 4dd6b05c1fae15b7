//! COPY BINARY: a signature, flags, a header extension; then per row an `i16` count of fields, and
//! per field an `i32` length (-1: NULL) and that many bytes; at the end a count of -1.

use super::batch::BatchBuilder;
use super::faults::DecodeError;

/// First bytes of every stream.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags above this one change the format (bit 16: oids before the fields).
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
/// No server sends an extension today; what is larger than this is not one.
const EXTENSION_BYTES_MAX: usize = 64 * 1024;

/// Where in the stream the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first row.
    Header,
    /// Between rows.
    Rows,
    /// After the trailer.
    Ended,
}

/// How one step over the buffer went.
enum Step {
    /// Took this many bytes.
    Took(usize),
    /// What is there is not whole yet.
    Incomplete,
}

/// One COPY stream.
#[derive(Debug)]
pub(super) struct CopyStream {
    state: State,
    /// Start and end of each field of the current row; reused.
    fields: Vec<Option<(usize, usize)>>,
}

impl CopyStream {
    pub(super) fn new() -> Self {
        Self { state: State::Header, fields: Vec::new() }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes all that is whole; says how many bytes that was.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        batch: &mut BatchBuilder,
    ) -> Result<usize, DecodeError> {
        let mut taken = 0;
        while taken < bytes.len() {
            let step = match self.state {
                State::Header => self.header(&bytes[taken..])?,
                State::Rows => self.row(&bytes[taken..], batch)?,
                State::Ended => return Err(DecodeError::StopAtTrailer { row: batch.rows }),
            };
            match step {
                Step::Took(count) => taken += count,
                Step::Incomplete => break,
            }
        }
        Ok(taken)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let known = bytes.len().min(SIGNATURE.len());
        if bytes[..known] != SIGNATURE[..known] {
            return Err(DecodeError::ReadHeader);
        }
        let Some(flags) = word(bytes, SIGNATURE.len()) else {
            return Ok(Step::Incomplete);
        };
        if flags.cast_unsigned() & CRITICAL_FLAGS != 0 {
            return Err(DecodeError::ReadHeader);
        }
        let Some(extension) = word(bytes, SIGNATURE.len() + 4) else {
            return Ok(Step::Incomplete);
        };
        let extension = usize::try_from(extension).map_err(|_| DecodeError::ReadHeader)?;
        if extension > EXTENSION_BYTES_MAX {
            return Err(DecodeError::ReadHeader);
        }
        let end = SIGNATURE.len() + 8 + extension;
        if bytes.len() < end {
            return Ok(Step::Incomplete);
        }
        self.state = State::Rows;
        Ok(Step::Took(end))
    }

    /// Takes one row whole, or nothing of it: a batch never has columns of different length.
    fn row(&mut self, bytes: &[u8], batch: &mut BatchBuilder) -> Result<Step, DecodeError> {
        let Some(count) = bytes.first_chunk().map(|count| i16::from_be_bytes(*count)) else {
            return Ok(Step::Incomplete);
        };
        if count == -1 {
            self.state = State::Ended;
            return Ok(Step::Took(2));
        }
        if usize::try_from(count) != Ok(batch.columns.len()) {
            let (row, expected) = (batch.rows + 1, batch.columns.len());
            return Err(DecodeError::CountFields { row, expected, found: count });
        }
        let Some(end) = self.measure(bytes, batch)? else {
            return Ok(Step::Incomplete);
        };
        let text_bytes = end - 2 - 4 * batch.columns.len();
        batch.has_room(text_bytes)?;
        self.append(bytes, batch)?;
        batch.end_row(&bytes[2..end], text_bytes);
        Ok(Step::Took(end))
    }

    /// Finds the fields of the row that `bytes` begins with, and its end, if that is there.
    fn measure(
        &mut self,
        bytes: &[u8],
        batch: &BatchBuilder,
    ) -> Result<Option<usize>, DecodeError> {
        self.fields.clear();
        let mut at = 2;
        for index in 0..batch.columns.len() {
            let Some(length) = word(bytes, at) else {
                return Ok(None);
            };
            at += 4;
            match usize::try_from(length) {
                Ok(length) if bytes.len() - at < length => return Ok(None),
                Ok(length) => {
                    self.fields.push(Some((at, at + length)));
                    at += length;
                }
                Err(_) if length == -1 => self.fields.push(None),
                Err(_) => return Err(batch.measure_error(index)),
            }
        }
        Ok(Some(at))
    }

    fn append(&self, bytes: &[u8], batch: &mut BatchBuilder) -> Result<(), DecodeError> {
        for (index, (builder, field)) in batch.builders.iter_mut().zip(&self.fields).enumerate() {
            let appended = match field {
                Some((start, end)) => builder.append(&bytes[*start..*end]),
                None => {
                    builder.append_null();
                    Ok(())
                }
            };
            if let Err(fault) = appended {
                return Err(batch.value_error(index, fault));
            }
        }
        let Some((index, extremes)) = &mut batch.watermark else {
            return Ok(());
        };
        let index = *index;
        let Some((start, end)) = self.fields[index] else {
            return Ok(());
        };
        extremes.see(&bytes[start..end]).map_err(|fault| batch.value_error(index, fault))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|word| i32::from_be_bytes(*word))
}

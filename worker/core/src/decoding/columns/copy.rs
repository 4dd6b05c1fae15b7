//! COPY BINARY as the server sends it: messages of kind `d` with their length. Their concatenated contents start with a
//! signature, flags and a header extension. Each row is an `i16` count of fields, and for each field an `i32` length (-1:
//! NULL) and that many bytes. The trailer is a count of -1.
//!
//! A row never spans two messages: servers send "always one per row" (Message Flow, COPY Operations).

mod values;

use super::block::{Block, Field, RowError};
use super::faults::DecodeError;
pub(super) use values::append_column;

/// First byte of a message of rows.
const COPY_DATA: u8 = b'd';
/// Kind and length of a message.
const HEAD_BYTES: usize = 5;
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

/// One COPY stream.
#[derive(Debug)]
pub(super) struct CopyStream {
    state: State,
    columns: usize,
}

impl CopyStream {
    pub(super) const fn new(columns: usize) -> Self {
        Self { state: State::Header, columns }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Number of bytes missing from the first message in `bytes`, or from its head; 0 if the message is complete.
    pub(super) fn missing(bytes: &[u8]) -> usize {
        match message_end(bytes) {
            Some(Ok(end)) => end.saturating_sub(bytes.len()),
            Some(Err(())) => 0,
            None => HEAD_BYTES - bytes.len(),
        }
    }

    /// Finds the fields of complete messages until the block is full. Returns the number of bytes of these messages. Fields
    /// found before an error are valid.
    pub(super) fn index(
        &mut self,
        bytes: &[u8],
        block: &mut Block,
        rows_before: u64,
    ) -> Result<usize, RowError> {
        let mut taken = 0;
        while taken < bytes.len() && !block.is_full() {
            let rows = rows_before + block.rows.len() as u64;
            if self.state == State::Ended {
                return Err(DecodeError::StopAtTrailer { row: rows }.into());
            }
            let end = match message_end(&bytes[taken..]) {
                Some(Ok(end)) => taken + end,
                Some(Err(())) => return Err(DecodeError::ReadPacket { row: rows + 1 }.into()),
                None => break,
            };
            if end > bytes.len() {
                break;
            }
            self.message(bytes, (taken + HEAD_BYTES, end), block, rows_before)?;
            taken = end;
        }
        Ok(taken)
    }

    fn message(
        &mut self,
        bytes: &[u8],
        (mut start, end): (usize, usize),
        block: &mut Block,
        rows_before: u64,
    ) -> Result<(), RowError> {
        if self.state == State::Header && start < end {
            start += header(&bytes[start..end])?;
            self.state = State::Rows;
        }
        while start < end {
            let row = rows_before + block.rows.len() as u64;
            if self.state == State::Ended {
                return Err(DecodeError::StopAtTrailer { row }.into());
            }
            start = self.row(&bytes[..end], start, block, row + 1)?;
        }
        Ok(())
    }

    /// Finds the fields of the row at `start`, and its end.
    fn row(
        &mut self,
        bytes: &[u8],
        start: usize,
        block: &mut Block,
        row: u64,
    ) -> Result<usize, RowError> {
        let cut = || RowError::Stream(DecodeError::ReadPacket { row });
        let count = bytes[start..].first_chunk().ok_or_else(cut)?;
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.state = State::Ended;
            return Ok(start + 2);
        }
        if usize::try_from(count) != Ok(self.columns) {
            let expected = self.columns;
            return Err(DecodeError::CountFields { row, expected, found: count }.into());
        }
        let mut at = start + 2;
        for index in 0..self.columns {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(cut)?;
            at += 4;
            let length = i32::from_be_bytes(*word);
            block.fields.push(match usize::try_from(length) {
                Ok(length) if bytes.len() - at < length => return Err(cut()),
                Ok(length) => Field::new(at, length).ok_or(RowError::Length(index))?,
                Err(_) if length == -1 => Field::NULL,
                Err(_) => return Err(RowError::Length(index)),
            });
            at += usize::try_from(length).unwrap_or(0);
        }
        block.rows.push((start + 2, at));
        block.text_bytes += at - start - 2 - 4 * self.columns;
        Ok(at)
    }
}

/// The end of the first message in `bytes`. `None`: its head is incomplete. Error: it is not a valid message of rows.
fn message_end(bytes: &[u8]) -> Option<Result<usize, ()>> {
    let head: &[u8; HEAD_BYTES] = match bytes.first() {
        Some(&COPY_DATA) => bytes.first_chunk()?,
        Some(_) => return Some(Err(())),
        None => return None,
    };
    // the length counts itself, but not the kind
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = usize::try_from(length).ok().filter(|length| *length >= 4);
    Some(length.map(|length| length + 1).ok_or(()))
}

/// Length of the header. The first message contains all of it.
fn header(bytes: &[u8]) -> Result<usize, DecodeError> {
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*word))
    };
    let flags = word(SIGNATURE.len()).ok_or(DecodeError::ReadHeader)?;
    let extension = word(SIGNATURE.len() + 4).ok_or(DecodeError::ReadHeader)?;
    let extension = usize::try_from(extension).map_err(|_| DecodeError::ReadHeader)?;
    let end = SIGNATURE.len() + 8 + extension;
    if !bytes.starts_with(SIGNATURE)
        || flags & CRITICAL_FLAGS != 0
        || extension > EXTENSION_BYTES_MAX
        || end > bytes.len()
    {
        return Err(DecodeError::ReadHeader);
    }
    Ok(end)
}

//! The packets of a result in binary rows: three bytes of length, one of number, the payload.
//!
//! A payload of 16 MiB - 1 goes on in the next packet. A row begins with a zero byte, then a bitmap
//! of its NULLs, whose first two bits say nothing, then its other values. The last packet begins
//! with 0xFE and is short. Before the first row our own reader may announce in which forms the values come.

use crate::decoding::columns::block::{Block, Field, RowError};
use crate::decoding::columns::column::Column;
use crate::decoding::columns::faults::DecodeError;
use crate::decoding::columns::mysql::form::Form;

/// Length and number.
const HEADER_BYTES: usize = 4;
/// A payload of this length goes on in the next packet.
const PAYLOAD_BYTES_MAX: usize = 0xFF_FFFF;
/// First byte of a row.
const ROW: u8 = 0;
/// First byte of an announcement, which no packet of a server has here.
const FORMS: u8 = 1;
/// First byte of the last packet.
const END: u8 = 0xFE;
/// The last packet is shorter than this.
const END_BYTES_MAX: usize = 9;

/// A packet that goes before the rows: the form in which the values of each column come.
pub fn announcement(forms: &[Form]) -> Vec<u8> {
    let [low, middle, high, ..] = (forms.len() + 1).to_le_bytes();
    let mut packet = vec![low, middle, high, 0, FORMS];
    packet.extend(forms.iter().map(|form| *form as u8));
    packet
}

/// One result.
#[derive(Debug)]
pub(in crate::decoding::columns) struct PacketStream {
    forms: Vec<Form>,
    ended: bool,
}

/// Start and end of the payload of a complete packet.
struct Payload {
    start: usize,
    end: usize,
}

impl PacketStream {
    pub(in crate::decoding::columns) fn new(columns: &[Column]) -> Self {
        let forms = columns.iter().map(|column| Form::of(column.type_oid)).collect();
        Self { forms, ended: false }
    }

    pub(in crate::decoding::columns) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The wire form of each column's values.
    pub(in crate::decoding::columns) fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// Number of bytes missing from the first row in `bytes`, or from its next head; 0 if the row is complete.
    pub(in crate::decoding::columns) fn missing(bytes: &[u8]) -> usize {
        let mut whole = 0;
        while let Some(length) = payload_length(bytes.get(whole..).unwrap_or_default()) {
            whole += HEADER_BYTES + length;
            if length < PAYLOAD_BYTES_MAX || whole > bytes.len() {
                return whole.saturating_sub(bytes.len());
            }
        }
        whole + HEADER_BYTES - bytes.len()
    }

    /// Finds the fields of complete rows until the block is full. Returns the number of bytes of these rows. Stops before a
    /// row in several packets, which the caller joins.
    pub(in crate::decoding::columns) fn index(
        &mut self,
        bytes: &[u8],
        block: &mut Block,
        rows_before: u64,
    ) -> Result<usize, RowError> {
        let mut taken = 0;
        while taken < bytes.len() && !block.is_full() {
            let rows = rows_before + block.rows.len() as u64;
            if self.ended {
                return Err(DecodeError::StopAtTrailer { row: rows }.into());
            }
            let Some(length) = payload_length(&bytes[taken..]) else { break };
            let end = taken + HEADER_BYTES + length;
            if length >= PAYLOAD_BYTES_MAX || end > bytes.len() {
                break;
            }
            self.packet(bytes, Payload { start: taken + HEADER_BYTES, end }, block, rows)?;
            taken = end;
        }
        Ok(taken)
    }

    /// Finds the fields of a row whose packets were joined.
    pub(in crate::decoding::columns) fn index_joined(
        &mut self,
        joined: &[u8],
        block: &mut Block,
        rows_before: u64,
    ) -> Result<(), RowError> {
        self.packet(joined, Payload { start: 0, end: joined.len() }, block, rows_before)
    }

    fn packet(
        &mut self,
        bytes: &[u8],
        payload: Payload,
        block: &mut Block,
        rows: u64,
    ) -> Result<(), RowError> {
        let content = &bytes[payload.start..payload.end];
        match content.first() {
            Some(&ROW) => self.row(bytes, payload, block, rows + 1),
            Some(&FORMS) if rows == 0 && content.len() == self.forms.len() + 1 => {
                let form = |number: &u8| Form::ALL.get(usize::from(*number)).copied();
                let forms: Option<Vec<_>> = content[1..].iter().map(form).collect();
                self.forms = forms.ok_or(DecodeError::ReadPacket { row: 1 })?;
                Ok(())
            }
            Some(&END) if content.len() < END_BYTES_MAX => {
                self.ended = true;
                Ok(())
            }
            _ => Err(DecodeError::ReadPacket { row: rows + 1 }.into()),
        }
    }

    fn row(
        &self,
        bytes: &[u8],
        Payload { start, end }: Payload,
        block: &mut Block,
        row: u64,
    ) -> Result<(), RowError> {
        let bytes = &bytes[..end];
        let mut at = start + 1 + (self.forms.len() + 2).div_ceil(8);
        let Some(nulls) = bytes.get(start + 1..at) else {
            return Err(DecodeError::ReadPacket { row }.into());
        };
        for (index, form) in self.forms.iter().enumerate() {
            let bit = index + 2;
            if nulls[bit / 8] & (1 << (bit % 8)) != 0 {
                block.fields.push(Field::NULL);
                continue;
            }
            let (first, last) = measure(*form, bytes, at).ok_or(RowError::Length(index))?;
            if last > end {
                return Err(RowError::Length(index));
            }
            block.fields.push(Field::new(first, last - first).ok_or(RowError::Length(index))?);
            if form.is_text() {
                block.text_bytes += last - first;
            }
            at = last;
        }
        if at != end {
            return Err(DecodeError::ReadPacket { row }.into());
        }
        block.rows.push((start + 1, end));
        Ok(())
    }
}

fn payload_length(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    Some(usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16)
}

/// Joins the payloads of packets that belong together; says where the last of them ends, or
/// nothing where that has not come yet. Nothing is copied before: a row of 100 MB comes in hundreds
/// of chunks, each of which asks.
pub(in crate::decoding::columns) fn join(bytes: &[u8], joined: &mut Vec<u8>) -> Option<usize> {
    let mut whole = 0;
    loop {
        let length = payload_length(bytes.get(whole..)?)?;
        whole += HEADER_BYTES + length;
        if length < PAYLOAD_BYTES_MAX {
            break;
        }
    }
    let mut rest = bytes.get(..whole)?;
    while let Some(length) = payload_length(rest) {
        let end = HEADER_BYTES + length;
        joined.extend_from_slice(rest.get(HEADER_BYTES..end)?);
        rest = rest.get(end..)?;
    }
    Some(whole)
}

/// Where the value at `at` starts and ends; the end may be behind the payload's.
fn measure(form: Form, payload: &[u8], at: usize) -> Option<(usize, usize)> {
    let width = match form {
        Form::I8 | Form::U8 => 1,
        Form::I16 | Form::U16 => 2,
        Form::I32 | Form::U32 | Form::F32 => 4,
        Form::I64 | Form::U64 | Form::F64 => 8,
        Form::Date | Form::DateOrNull | Form::DateTime | Form::DateTimeOrNull => {
            let length = usize::from(*payload.get(at)?);
            return Some((at + 1, at + 1 + length));
        }
        Form::Decimal
        | Form::Bit
        | Form::Bytes
        | Form::Geometry
        | Form::FloatText
        | Form::BitText
        | Form::HexText
        | Form::GeometryText => return text(payload, at),
    };
    Some((at, at + width))
}

/// A length of one, three, four or nine bytes, then as many bytes.
fn text(payload: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *payload.get(at)?;
    let width = match first {
        0..=0xFA => return Some((at + 1, at + 1 + usize::from(first))),
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        0xFB | 0xFF => return None,
    };
    let start = at + 1 + width;
    let mut length = [0; 8];
    length[..width].copy_from_slice(payload.get(at + 1..start)?);
    let length = usize::try_from(u64::from_le_bytes(length)).ok()?;
    Some((start, start.checked_add(length)?))
}

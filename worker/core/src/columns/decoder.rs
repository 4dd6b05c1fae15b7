//! COPY BINARY to Arrow, push style: whoever has bytes feeds them, whoever wants a batch takes it.
//!
//! The stream: signature, flags, a header extension; then per row an `i16` count of fields, and per
//! field an `i32` length (-1: NULL) and that many bytes; at the end a count of -1.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use crds::RunId;
use crds::output::OutputColumns;

use super::added::Added;
use super::builder::{ColumnBuilder, row_bytes};
use super::extremes::Extremes;
use super::faults::{DecodeError, Fault};
use super::{Column, arrow_schema};

/// First bytes of every stream.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags above this one change the format (bit 16: oids before the fields).
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
/// No server sends an extension today; what is larger than this is not one.
const EXTENSION_BYTES_MAX: usize = 64 * 1024;
/// Text offsets of Arrow are 31 bits; a batch stays below that.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;
/// A buffer grown above this by one huge row is given back.
const CARRY_BYTES_KEPT: usize = 1 << 20;

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

/// Turns the chunks of one COPY stream into record batches.
///
/// *Memory*: the batch being built, and the bytes of a row that is not whole yet.
#[derive(Debug)]
pub struct Decoder {
    columns: Vec<Column>,
    schema: SchemaRef,
    builders: Vec<ColumnBuilder>,
    added: Added,
    watermark: Option<(usize, Extremes)>,
    state: State,
    /// A row that is not whole yet.
    carry: Vec<u8>,
    /// Start and end of each field of the row at hand; reused.
    fields: Vec<Option<(usize, usize)>>,
    /// Bytes of a row without its text.
    row_bytes: usize,
    batch_rows: usize,
    batch_bytes: usize,
    rows: u64,
}

impl Decoder {
    /// A decoder for rows of these columns, in this order.
    ///
    /// # Errors
    /// [`DecodeError::TrackWatermark`].
    pub fn new(columns: &[Column], watermark: Option<&str>) -> Result<Self, DecodeError> {
        let watermark = match watermark {
            None => None,
            Some(name) => {
                let unknown = || DecodeError::TrackWatermark { column: name.to_owned() };
                let index = columns.iter().position(|column| column.name == name);
                let index = index.ok_or_else(unknown)?;
                Some((index, Extremes::of(&columns[index]).ok_or_else(unknown)?))
            }
        };
        Ok(Self {
            schema: arrow_schema(columns),
            builders: columns.iter().map(|column| ColumnBuilder::new(column, 0, 0)).collect(),
            added: Added::new(OutputColumns::default(), None),
            watermark,
            state: State::Header,
            carry: Vec::new(),
            fields: Vec::with_capacity(columns.len()),
            row_bytes: columns.iter().map(|column| row_bytes(column.target)).sum(),
            batch_rows: 0,
            batch_bytes: 0,
            rows: 0,
            columns: columns.to_vec(),
        })
    }

    /// The same, with columns added to each row of `run`.
    #[must_use]
    pub fn adding(mut self, columns: &OutputColumns, run: RunId) -> Self {
        let added = Added::new(columns.clone(), Some(run));
        let fields = self.schema.fields().iter().cloned();
        let fields = fields.chain(added.fields().into_iter().map(Arc::new));
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.row_bytes += added.row_bytes();
        self.added = added;
        self
    }

    /// The schema of its batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows decoded so far, taken or not.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows of the batch being built.
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// Bytes held: the batch being built and the row that is not whole yet.
    pub fn bytes_held(&self) -> usize {
        self.batch_bytes + self.carry.len()
    }

    /// Takes the next bytes of the stream, cut anywhere.
    ///
    /// # Errors
    /// Any [`DecodeError`]; the decoder is of no use afterwards.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        if self.carry.is_empty() {
            let taken = self.walk(chunk)?;
            self.carry.extend_from_slice(&chunk[taken..]);
            return Ok(());
        }
        // a row came in two pieces: join them, and go on from there
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(chunk);
        let taken = self.walk(&joined)?;
        if taken == joined.len() && joined.capacity() > CARRY_BYTES_KEPT {
            return Ok(());
        }
        joined.drain(..taken);
        self.carry = joined;
        Ok(())
    }

    /// The rows held, as a batch; the next one begins empty.
    ///
    /// # Errors
    /// [`DecodeError::HoldRow`], where Arrow refuses columns that this decoder built.
    pub fn take_batch(&mut self) -> Result<RecordBatch, DecodeError> {
        let rows = self.batch_rows;
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for (builder, column) in self.builders.iter_mut().zip(&self.columns) {
            let text_bytes = builder.text_bytes();
            arrays.push(builder.finish());
            // batches are cut by the same budget, so the next one needs about as much
            *builder = ColumnBuilder::new(column, rows, text_bytes);
        }
        arrays.extend(self.added.arrays(rows));
        self.batch_rows = 0;
        self.batch_bytes = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|_| DecodeError::HoldRow { row: self.rows })
    }

    /// Least and greatest watermark so far, as text of its type; none where no row had one.
    ///
    /// # Errors
    /// [`DecodeError::WriteWatermark`].
    pub fn watermarks(&self) -> Result<Option<(String, String)>, DecodeError> {
        match &self.watermark {
            None => Ok(None),
            Some((index, extremes)) => extremes.text().map_err(|fault| {
                let column = self.columns[*index].name.clone();
                DecodeError::WriteWatermark { column, fault }
            }),
        }
    }

    /// To be asked when no more bytes come: whether the stream was whole.
    ///
    /// # Errors
    /// [`DecodeError::ReachEnd`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.state == State::Ended {
            Ok(())
        } else {
            Err(DecodeError::ReachEnd { row: self.rows })
        }
    }

    /// Takes all that is whole; says how many bytes that was.
    fn walk(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut taken = 0;
        while taken < bytes.len() {
            let step = match self.state {
                State::Header => self.header(&bytes[taken..])?,
                State::Rows => self.row(&bytes[taken..])?,
                State::Ended => return Err(DecodeError::StopAtTrailer { row: self.rows }),
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
    fn row(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let Some(count) = bytes.first_chunk().map(|count| i16::from_be_bytes(*count)) else {
            return Ok(Step::Incomplete);
        };
        if count == -1 {
            self.state = State::Ended;
            return Ok(Step::Took(2));
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            let (row, expected) = (self.rows + 1, self.columns.len());
            return Err(DecodeError::CountFields { row, expected, found: count });
        }
        let Some(end) = self.measure(bytes)? else {
            return Ok(Step::Incomplete);
        };
        let text_bytes = end - 2 - 4 * self.columns.len();
        if self.batch_bytes + self.row_bytes + text_bytes > BATCH_BYTES_MAX {
            return Err(DecodeError::HoldRow { row: self.rows + 1 });
        }
        self.append(bytes)?;
        self.added.see(&bytes[2..end]);
        self.batch_bytes += self.row_bytes + text_bytes;
        self.batch_rows += 1;
        self.rows += 1;
        Ok(Step::Took(end))
    }

    /// Finds the fields of the row that `bytes` begins with, and its end, if that is there.
    fn measure(&mut self, bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
        self.fields.clear();
        let mut at = 2;
        for index in 0..self.columns.len() {
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
                Err(_) => return Err(self.measure_error(index)),
            }
        }
        Ok(Some(at))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        for (index, (builder, field)) in self.builders.iter_mut().zip(&self.fields).enumerate() {
            let appended = match field {
                Some((start, end)) => builder.append(&bytes[*start..*end]),
                None => {
                    builder.append_null();
                    Ok(())
                }
            };
            if let Err(fault) = appended {
                return Err(self.value_error(index, fault));
            }
        }
        let Some((index, extremes)) = &mut self.watermark else {
            return Ok(());
        };
        let index = *index;
        let Some((start, end)) = self.fields[index] else {
            return Ok(());
        };
        extremes.see(&bytes[start..end]).map_err(|fault| self.value_error(index, fault))
    }

    #[cold]
    fn value_error(&self, index: usize, fault: Fault) -> DecodeError {
        let Column { name, type_name, .. } = &self.columns[index];
        let (column, type_name) = (name.clone(), type_name.clone());
        DecodeError::DecodeValue { column, type_name, row: self.rows + 1, fault }
    }

    #[cold]
    fn measure_error(&self, index: usize) -> DecodeError {
        let Column { name, type_name, .. } = &self.columns[index];
        let (column, type_name) = (name.clone(), type_name.clone());
        DecodeError::MeasureValue { column, type_name, row: self.rows + 1 }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|word| i32::from_be_bytes(*word))
}

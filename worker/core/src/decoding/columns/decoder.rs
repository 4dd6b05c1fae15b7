//! Wire bytes to Arrow, push style: one caller feeds bytes, another one takes batches.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crds::RunId;
use crds::output::OutputColumns;
use crds::source::Engine;

use super::batch::BatchBuilder;
use super::block::{Block, RowError};
use super::copy::{self, CopyStream};
use super::faults::DecodeError;
use super::mysql::{self, PacketStream, join};
use crate::decoding::columns::column::Column;

/// A buffer grown above this by one huge row is given back.
const CARRY_BYTES_KEPT: usize = 1 << 20;

/// How the rows come.
#[derive(Debug)]
enum Wire {
    /// Postgres: COPY BINARY.
    Copy(CopyStream),
    /// MySQL: packets of binary rows.
    Packets(PacketStream),
}

impl Wire {
    fn missing(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Copy(_) => CopyStream::missing(bytes),
            Self::Packets(_) => PacketStream::missing(bytes),
        }
    }

    fn index(&mut self, bytes: &[u8], block: &mut Block, rows: u64) -> Result<usize, RowError> {
        match self {
            Self::Copy(stream) => stream.index(bytes, block, rows),
            Self::Packets(stream) => stream.index(bytes, block, rows),
        }
    }

    /// Finds the fields of a row in several packets. Only MySQL sends such rows.
    fn index_joined(
        &mut self,
        row: &[u8],
        block: &mut Block,
        rows: u64,
    ) -> Result<usize, RowError> {
        match self {
            Self::Copy(_) => Ok(0),
            Self::Packets(stream) => stream.index_joined(row, block, rows).map(|()| row.len()),
        }
    }
}

/// Turns the chunks of one stream of rows into record batches.
///
/// *Memory*: the batch being built, and the bytes of a row that is not whole yet.
#[derive(Debug)]
pub struct Decoder {
    wire: Wire,
    /// The rows that are being decoded; reused for each block.
    block: Block,
    batch: BatchBuilder,
    /// A row that is not whole yet.
    carry: Vec<u8>,
}

impl Decoder {
    /// A decoder for COPY BINARY with rows of these columns, in this order.
    ///
    /// # Errors
    /// [`DecodeError::TrackWatermark`].
    pub fn new(columns: &[Column], watermark: Option<&str>) -> Result<Self, DecodeError> {
        Self::of(Engine::Postgres, columns, watermark)
    }

    /// A decoder for what this engine sends.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(
        engine: Engine,
        columns: &[Column],
        watermark: Option<&str>,
    ) -> Result<Self, DecodeError> {
        let wire = match engine {
            Engine::Postgres => Wire::Copy(CopyStream::new(columns.len())),
            Engine::Mysql => Wire::Packets(PacketStream::new(columns)),
        };
        let batch = BatchBuilder::new(columns, watermark)?;
        Ok(Self { wire, block: Block::default(), batch, carry: Vec::new() })
    }

    /// The same, with columns added to each row of `run`.
    #[must_use]
    pub fn adding(mut self, columns: &OutputColumns, run: RunId) -> Self {
        self.batch.add(columns, run);
        self
    }

    /// The schema of its batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.batch.schema
    }

    /// Rows decoded so far, taken or not.
    pub fn rows(&self) -> u64 {
        self.batch.rows
    }

    /// Rows of the batch being built.
    pub fn batch_rows(&self) -> usize {
        self.batch.batch_rows
    }

    /// Bytes held: the batch being built and the row that is not whole yet.
    pub fn bytes_held(&self) -> usize {
        self.batch.batch_bytes + self.carry.len()
    }

    /// Takes the next bytes of the stream, cut at any position. A row that is split over two chunks is joined first; all
    /// other rows are decoded without a copy.
    ///
    /// # Errors
    /// Any [`DecodeError`]; the decoder is of no use afterwards.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        let mut rest = chunk;
        if !self.carry.is_empty() {
            loop {
                let missing = self.wire.missing(&self.carry);
                if missing == 0 {
                    break;
                }
                let (head, tail) = rest.split_at(missing.min(rest.len()));
                self.carry.extend_from_slice(head);
                rest = tail;
                if head.len() < missing {
                    return Ok(());
                }
            }
            let mut carry = std::mem::take(&mut self.carry);
            self.walk(&carry)?;
            if carry.capacity() <= CARRY_BYTES_KEPT {
                carry.clear();
                self.carry = carry;
            }
        }
        let taken = self.walk(rest)?;
        self.carry.extend_from_slice(&rest[taken..]);
        Ok(())
    }

    /// Decodes all complete rows. Returns the number of their bytes.
    fn walk(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let count = self.decode(rest, |wire, block, rows| wire.index(rest, block, rows))?;
            taken += match (count, &self.wire) {
                (0, Wire::Copy(_)) => break,
                (0, Wire::Packets(_)) => match self.joined(rest)? {
                    0 => break,
                    count => count,
                },
                (count, _) => count,
            };
        }
        Ok(taken)
    }

    /// Decodes a row in several packets. Returns the number of its bytes, 0 if it is incomplete.
    fn joined(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        let mut payload = Vec::new();
        let Some(count) = join(bytes, &mut payload) else { return Ok(0) };
        self.decode(&payload, |wire, block, rows| wire.index_joined(&payload, block, rows))?;
        Ok(count)
    }

    /// Finds the fields of some rows and decodes them.
    fn decode(
        &mut self,
        bytes: &[u8],
        index: impl FnOnce(&mut Wire, &mut Block, u64) -> Result<usize, RowError>,
    ) -> Result<usize, DecodeError> {
        self.block.clear();
        let found = index(&mut self.wire, &mut self.block, self.batch.rows);
        let columns = self.batch.columns.len();
        self.block.drop_unfinished(columns);
        let wire = &self.wire;
        self.batch.append(bytes, &self.block, |index, builder, fields| match wire {
            Wire::Copy(_) => copy::append_column(builder, fields),
            Wire::Packets(stream) => mysql::append_column(builder, stream.forms()[index], fields),
        })?;
        // an error in an earlier row is reported before the broken row
        found.map_err(|broken| match broken {
            RowError::Stream(error) => error,
            RowError::Length(index) => self.batch.measure_error(index),
        })
    }

    /// The rows held, as a batch; the next one begins empty.
    ///
    /// # Errors
    /// [`DecodeError::HoldRow`], where Arrow refuses columns that this decoder built.
    pub fn take_batch(&mut self) -> Result<RecordBatch, DecodeError> {
        self.batch.take()
    }

    /// Least and greatest watermark so far, as text of its type; none where no row had one.
    ///
    /// # Errors
    /// [`DecodeError::WriteWatermark`].
    pub fn watermarks(&self) -> Result<Option<(String, String)>, DecodeError> {
        self.batch.watermarks()
    }

    /// To be asked when no more bytes come: whether the stream was whole.
    ///
    /// # Errors
    /// [`DecodeError::ReachEnd`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        let ended = match &self.wire {
            Wire::Copy(stream) => stream.has_ended(),
            Wire::Packets(stream) => stream.has_ended(),
        };
        if ended && self.carry.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::ReachEnd { row: self.batch.rows })
        }
    }
}

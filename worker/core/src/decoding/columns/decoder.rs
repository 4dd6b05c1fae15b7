//! Wire bytes to Arrow, push style: one caller feeds bytes, another one takes batches.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crds::RunId;
use crds::output::OutputColumns;
use crds::source::Engine;

use super::batch::BatchBuilder;
use super::copy::CopyStream;
use super::faults::DecodeError;
use super::mysql::PacketStream;
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

/// Turns the chunks of one stream of rows into record batches.
///
/// *Memory*: the batch being built, and the bytes of a row that is not whole yet.
#[derive(Debug)]
pub struct Decoder {
    wire: Wire,
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
            Engine::Postgres => Wire::Copy(CopyStream::new()),
            Engine::Mysql => Wire::Packets(PacketStream::new(columns)),
        };
        let batch = BatchBuilder::new(columns, watermark)?;
        Ok(Self { wire, batch, carry: Vec::new() })
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

    fn walk(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        match &mut self.wire {
            Wire::Copy(stream) => stream.walk(bytes, &mut self.batch),
            Wire::Packets(stream) => stream.walk(bytes, &mut self.batch),
        }
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
        if ended { Ok(()) } else { Err(DecodeError::ReachEnd { row: self.batch.rows }) }
    }
}

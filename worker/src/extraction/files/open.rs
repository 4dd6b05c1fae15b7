//! The files that are being written, and the parts that leave them.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::{Bytes, BytesMut};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use worker_core::decoding::columns::Column;
use worker_core::encoding::batches::MemorySplit;
use worker_core::encoding::files::FileSizes;
use worker_core::encoding::hive_directories::HiveDirectoryError;
use worker_core::planning::plan::OutputLayout;

use super::properties::{parquet_schema, properties};

/// What leaves the encoder. Files count from 0, in the order in which they are opened.
#[derive(Debug)]
pub enum Piece {
    /// The next file, and the folders that the values of its rows name (none without
    /// `output.partitionBy`).
    Open(Arc<str>),
    /// The next part of a file; all but its last have the same size.
    Part(usize, Bytes),
    /// The file is whole.
    End(usize, FileEnd),
}

/// What is known of a file when its footer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEnd {
    /// Rows by its footer.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why no file came to be.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The uploads have ended; they know why.
    #[error("cannot send a part to the upload")]
    HandOver,
    /// The schema has no Parquet form.
    #[error("cannot create the Parquet schema")]
    PrepareSchema {
        /// Why.
        source: ParquetError,
    },
    /// A batch could not be encoded.
    #[error("cannot encode a batch")]
    EncodeBatch {
        /// Why.
        source: ParquetError,
    },
    /// The rows could not be sorted into folders.
    #[error("cannot sort rows into Hive partition directories")]
    SortRows {
        /// Why.
        source: ArrowError,
    },
    /// A row has no folder.
    #[error(transparent)]
    HiveDirectory(#[from] HiveDirectoryError),
}

/// What all files of one partition have in common.
pub struct Files {
    schema: SchemaRef,
    options: ArrowWriterOptions,
    part_bytes: usize,
    sizes: FileSizes,
    pieces: mpsc::Sender<Piece>,
    opened: usize,
    pub(super) rows: u64,
}

/// A file being written.
pub struct OpenFile {
    writer: ArrowWriter<PartSink>,
}

impl Files {
    pub(super) fn new(
        columns: &[Column],
        schema: SchemaRef,
        split: MemorySplit,
        layout: &OutputLayout,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Self, EncodeError> {
        let prepare = |source| EncodeError::PrepareSchema { source };
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&split, layout.compression, &schema).map_err(prepare)?)
            .with_parquet_schema(parquet_schema(columns, &schema).map_err(prepare)?);
        let sizes = FileSizes::new(&split, layout);
        let part_bytes = split.part_bytes;
        Ok(Self { schema, options, part_bytes, sizes, pieces, opened: 0, rows: 0 })
    }

    pub(super) fn open(&mut self, folder: Arc<str>) -> Result<OpenFile, EncodeError> {
        self.pieces.blocking_send(Piece::Open(folder)).map_err(|_| EncodeError::HandOver)?;
        let sink = PartSink::new(self.opened, self.part_bytes, self.pieces.clone());
        self.opened += 1;
        let (schema, options) = (Arc::clone(&self.schema), self.options.clone());
        let writer =
            ArrowWriter::try_new_with_options(sink, schema, options).map_err(encode_error)?;
        Ok(OpenFile { writer })
    }

    /// Encodes one batch, and says whether the file has its size.
    pub(super) fn write(
        &self,
        file: &mut OpenFile,
        batch: &RecordBatch,
    ) -> Result<bool, EncodeError> {
        file.writer.write(batch).map_err(encode_error)?;
        if !self.sizes.closes_row_group(file.writer.memory_size() as u64) {
            return Ok(false);
        }
        file.writer.flush().map_err(encode_error)?;
        Ok(self.sizes.closes_file(file.writer.bytes_written() as u64))
    }

    pub(super) fn close(&mut self, mut file: OpenFile) -> Result<(), EncodeError> {
        let footer = file.writer.finish().map_err(encode_error)?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        self.rows += rows;
        // the sink is emptied explicitly: `finish` flushes, but the last part waits for its end
        file.writer.inner_mut().end(rows).map_err(|_| EncodeError::HandOver)
    }
}

fn encode_error(source: ParquetError) -> EncodeError {
    match &source {
        ParquetError::External(inner) if inner.is::<io::Error>() => EncodeError::HandOver,
        _ => EncodeError::EncodeBatch { source },
    }
}

/// Splits what is written into parts of one size and queues them; waits while the queue is full.
struct PartSink {
    file: usize,
    part_bytes: usize,
    filling: BytesMut,
    bytes: u64,
    pieces: mpsc::Sender<Piece>,
}

impl PartSink {
    fn new(file: usize, part_bytes: usize, pieces: mpsc::Sender<Piece>) -> Self {
        Self { file, part_bytes, filling: BytesMut::new(), bytes: 0, pieces }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let filling = std::mem::take(&mut self.filling);
        // a short one shall not keep the buffer of a whole one while it waits
        let part = if filling.len() < self.part_bytes / 2 {
            Bytes::copy_from_slice(&filling)
        } else {
            filling.freeze()
        };
        self.bytes += part.len() as u64;
        self.pieces.blocking_send(Piece::Part(self.file, part)).map_err(|_| ended())
    }

    fn end(&mut self, rows: u64) -> io::Result<()> {
        if !self.filling.is_empty() {
            self.hand_over()?;
        }
        let end = FileEnd { rows, bytes: self.bytes };
        self.pieces.blocking_send(Piece::End(self.file, end)).map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the uploads ended")
}

impl Write for PartSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filling.capacity() == 0 {
            self.filling = BytesMut::with_capacity(self.part_bytes);
        }
        let taken = bytes.len().min(self.part_bytes - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == self.part_bytes {
            self.hand_over()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

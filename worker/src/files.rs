//! In: [`RecordBatch`](arrow_array::RecordBatch)es. Out: Parquet files as parts of one size. Bound:
//! one row group and one part being filled for each open file. Fails: [`EncodeError`].

mod folders;

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::{Bytes, BytesMut};
use crds::output::Compression as Wanted;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, GzipLevel, LogicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type, TypePtr};
use tokio::sync::mpsc;
use worker_core::batches::MemorySplit;
use worker_core::columns::{Column, Target, is_row_hash};
use worker_core::files::FileSizes;
use worker_core::partitions::{PartitionError, Partitions};
use worker_core::plan::Shape;

use self::folders::FolderWriter;

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
    #[error("hand over a part")]
    HandOver,
    /// The schema has no Parquet form.
    #[error("prepare the Parquet schema")]
    PrepareSchema {
        /// Why.
        source: ParquetError,
    },
    /// A batch could not be encoded.
    #[error("encode a batch")]
    EncodeBatch {
        /// Why.
        source: ParquetError,
    },
    /// The rows could not be sorted into folders.
    #[error("sort rows into folders")]
    SortRows {
        /// Why.
        source: ArrowError,
    },
    /// A row has no folder.
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

/// Writes batches into files: one after the other, or into folders by the values of columns.
pub enum FileWriter {
    /// One file after the other: what all have in common, and the one being written.
    Plain(Box<(Files, Option<OpenFile>)>),
    /// Folders.
    Folders(Box<FolderWriter>),
}

impl FileWriter {
    /// A writer without a file: the first batch opens one.
    ///
    /// # Errors
    /// [`EncodeError::PrepareSchema`], [`EncodeError::Partition`].
    pub fn new(
        columns: &[Column],
        schema: SchemaRef,
        split: MemorySplit,
        shape: &Shape,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Self, EncodeError> {
        if shape.partition_by.is_empty() {
            let files = Files::new(columns, schema, split, shape, pieces)?;
            return Ok(Self::Plain(Box::new((files, None))));
        }
        let partitions = Partitions::new(&schema, &shape.partition_by)?;
        let left: Vec<Column> = columns
            .iter()
            .filter(|column| !shape.partition_by.contains(&column.name))
            .cloned()
            .collect();
        let files = Files::new(&left, Arc::clone(partitions.schema()), split, shape, pieces)?;
        Ok(Self::Folders(Box::new(FolderWriter::new(files, partitions, &split))))
    }

    /// Rows in the footers of the files closed so far.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.0.rows,
            Self::Folders(folders) => folders.rows(),
        }
    }

    /// Files that were closed before they had their size, since others needed the memory.
    pub fn closed_early(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Folders(folders) => folders.closed_early(),
        }
    }

    /// Encodes one batch; closes row group and file where they are full.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        match self {
            Self::Folders(folders) => folders.write(batch),
            Self::Plain(plain) => {
                let (files, open) = &mut **plain;
                let mut file = match open.take() {
                    Some(file) => file,
                    None => files.open(Arc::from(""))?,
                };
                if files.write(&mut file, batch)? {
                    files.close(file)
                } else {
                    *open = Some(file);
                    Ok(())
                }
            }
        }
    }

    /// Closes all open files.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn close(&mut self) -> Result<(), EncodeError> {
        match self {
            Self::Folders(folders) => folders.close(),
            Self::Plain(plain) => {
                let (files, open) = &mut **plain;
                open.take().map_or(Ok(()), |file| files.close(file))
            }
        }
    }
}

/// What all files of one range have in common.
pub struct Files {
    schema: SchemaRef,
    options: ArrowWriterOptions,
    part_bytes: usize,
    sizes: FileSizes,
    pieces: mpsc::Sender<Piece>,
    opened: usize,
    rows: u64,
}

/// A file being written.
pub struct OpenFile {
    writer: ArrowWriter<PartSink>,
}

impl Files {
    fn new(
        columns: &[Column],
        schema: SchemaRef,
        split: MemorySplit,
        shape: &Shape,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Self, EncodeError> {
        let prepare = |source| EncodeError::PrepareSchema { source };
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&split, shape.compression, &schema).map_err(prepare)?)
            .with_parquet_schema(parquet_schema(columns, &schema).map_err(prepare)?);
        let sizes = FileSizes::new(&split, shape);
        let part_bytes = split.part_bytes;
        Ok(Self { schema, options, part_bytes, sizes, pieces, opened: 0, rows: 0 })
    }

    fn open(&mut self, folder: Arc<str>) -> Result<OpenFile, EncodeError> {
        self.pieces.blocking_send(Piece::Open(folder)).map_err(|_| EncodeError::HandOver)?;
        let sink = PartSink::new(self.opened, self.part_bytes, self.pieces.clone());
        self.opened += 1;
        let (schema, options) = (Arc::clone(&self.schema), self.options.clone());
        let writer =
            ArrowWriter::try_new_with_options(sink, schema, options).map_err(encode_error)?;
        Ok(OpenFile { writer })
    }

    /// Encodes one batch, and says whether the file has its size.
    fn write(&self, file: &mut OpenFile, batch: &RecordBatch) -> Result<bool, EncodeError> {
        file.writer.write(batch).map_err(encode_error)?;
        if !self.sizes.closes_row_group(file.writer.memory_size() as u64) {
            return Ok(false);
        }
        file.writer.flush().map_err(encode_error)?;
        Ok(self.sizes.closes_file(file.writer.bytes_written() as u64))
    }

    fn close(&mut self, mut file: OpenFile) -> Result<(), EncodeError> {
        let footer = file.writer.finish().map_err(encode_error)?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        self.rows += rows;
        // the sink is emptied by hand: `finish` flushes, but the last part waits for its end
        file.writer.inner_mut().end(rows).map_err(|_| EncodeError::HandOver)
    }
}

fn encode_error(source: ParquetError) -> EncodeError {
    match &source {
        ParquetError::External(inner) if inner.is::<io::Error>() => EncodeError::HandOver,
        _ => EncodeError::EncodeBatch { source },
    }
}

fn properties(
    split: &MemorySplit,
    compression: Wanted,
    schema: &SchemaRef,
) -> Result<WriterProperties, ParquetError> {
    let compression = match compression {
        Wanted::Zstd => match split.zstd_level {
            Some(level) => Compression::ZSTD(ZstdLevel::try_new(level)?),
            None => Compression::LZ4_RAW,
        },
        Wanted::Snappy => Compression::SNAPPY,
        Wanted::Gzip => Compression::GZIP(GzipLevel::default()),
        Wanted::Lz4 => Compression::LZ4_RAW,
        Wanted::None => Compression::UNCOMPRESSED,
    };
    let mut properties = WriterProperties::builder()
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(split.page_bytes)
        .set_dictionary_page_size_limit(split.page_bytes)
        // row groups are closed by memory
        .set_max_row_group_row_count(None)
        .set_created_by(format!("tidemark version {}", env!("CARGO_PKG_VERSION")));
    for hash in schema.fields().iter().filter(|field| is_row_hash(field)) {
        let path = ColumnPath::new(vec![hash.name().clone()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// The schema that the Arrow types stand for, with the logical types that Arrow has only as names.
fn parquet_schema(
    columns: &[Column],
    schema: &SchemaRef,
) -> Result<SchemaDescriptor, ParquetError> {
    let plain = ArrowSchemaConverter::new().convert(schema)?;
    // fields beyond the table's columns are added ones
    let targets = columns.iter().map(|column| Some(column.target)).chain(std::iter::repeat(None));
    let fields = plain.root_schema().get_fields().iter().zip(targets);
    let fields = fields
        .map(|(field, target)| match target {
            Some(Target::Uuid) => with_logical_type(field, LogicalType::Uuid, 16),
            Some(Target::Json) => with_logical_type(field, LogicalType::Json, -1),
            _ => Ok(Arc::clone(field)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let root = Type::group_type_builder("schema").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn with_logical_type(
    field: &TypePtr,
    logical_type: LogicalType,
    length: i32,
) -> Result<TypePtr, ParquetError> {
    Type::primitive_type_builder(field.name(), field.get_physical_type())
        .with_repetition(field.get_basic_info().repetition())
        .with_logical_type(Some(logical_type))
        .with_length(length)
        .build()
        .map(Arc::new)
}

/// Cuts what is written into parts of one size and hands them on; waits while the queue is full.
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
        let part = std::mem::take(&mut self.filling).freeze();
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
    io::Error::new(io::ErrorKind::BrokenPipe, "the uploads have ended")
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

#[cfg(test)]
mod tests {
    use crds::output::OutputColumns;
    use worker_core::batches::MemoryBudget;
    use worker_core::columns::{Decoder, arrow_schema};

    use super::*;

    #[test]
    fn a_row_hash_has_neither_dictionary_nor_statistics() {
        let names = OutputColumns {
            row_hash: Some("hash".to_owned()),
            run_id: Some("run.id".to_owned()),
            ..OutputColumns::default()
        };
        let run = "0185f9a1-1c48-7000-8000-000000000001".parse().expect("a run id");
        let decoder = Decoder::new(&[], None).expect("no watermark").adding(&names, run);
        let split = MemoryBudget::new(None).split(2);
        let properties =
            properties(&split, Wanted::default(), decoder.schema()).expect("good properties");
        for (name, kept) in [("hash", false), ("run.id", true)] {
            let path = ColumnPath::new(vec![name.to_owned()]);
            assert_eq!(properties.dictionary_enabled(&path), kept, "{name}");
            let statistics = properties.statistics_enabled(&path);
            assert_eq!(statistics != EnabledStatistics::None, kept, "{name}");
        }
    }

    fn column(target: Target) -> Column {
        Column {
            name: "x".to_owned(),
            type_oid: 0,
            type_name: "t".to_owned(),
            type_modifier: -1,
            nullable: true,
            target,
            fidelity: None,
            reason: String::new(),
        }
    }

    /// Physical and logical type of a target in a file, in the words of the documentation.
    fn in_parquet(target: Target) -> String {
        let columns = [column(target)];
        let schema = parquet_schema(&columns, &arrow_schema(&columns)).expect("a schema");
        let field = schema.column(0);
        let physical = match field.physical_type() {
            physical if field.type_length() == 16 && target == Target::Uuid => {
                format!("{physical}(16)")
            }
            physical => physical.to_string(),
        };
        let zone = |utc| if utc { "adjusted to UTC" } else { "not adjusted to UTC" };
        let logical = match field.logical_type_ref() {
            None => return physical,
            Some(LogicalType::String) => "STRING".to_owned(),
            Some(LogicalType::Json) => "JSON".to_owned(),
            Some(LogicalType::Uuid) => "UUID".to_owned(),
            Some(LogicalType::Date) => "DATE".to_owned(),
            Some(LogicalType::Integer(whole)) if whole.is_signed => {
                format!("INT({})", whole.bit_width)
            }
            Some(LogicalType::Decimal(decimal)) => {
                format!("DECIMAL({}, {})", decimal.precision, decimal.scale)
            }
            Some(LogicalType::Time(time)) => {
                format!("TIME({:?}), {}", time.unit, zone(time.is_adjusted_to_u_t_c))
            }
            Some(LogicalType::Timestamp(time)) => {
                format!("TIMESTAMP({:?}), {}", time.unit, zone(time.is_adjusted_to_u_t_c))
            }
            other => format!("{other:?}"),
        };
        format!("{physical}, {logical}")
    }

    #[test]
    fn files_have_the_types_that_the_mapping_tables_say() {
        let decimal = |precision, scale| Target::Decimal { precision, scale };
        for target in [
            Target::Boolean,
            Target::Int16,
            Target::Int32,
            Target::Int64,
            Target::Float32,
            Target::Float64,
            decimal(20, 0),
            Target::Text,
            Target::AsText,
            Target::Binary,
            Target::Date,
            Target::Time,
            Target::Timestamp,
            Target::TimestampTz,
            Target::Uuid,
            Target::Json,
        ] {
            assert_eq!(in_parquet(target), target.parquet(), "{target:?}");
        }
        for (precision, physical) in [(9, "INT32"), (18, "INT64"), (38, "FIXED_LEN_BYTE_ARRAY")] {
            let expected = format!("{physical}, DECIMAL({precision}, 2)");
            assert_eq!(in_parquet(decimal(precision, 2)), expected);
            assert!(decimal(precision, 2).parquet().contains(physical));
        }
    }
}

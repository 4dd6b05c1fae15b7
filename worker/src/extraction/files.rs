//! In: [`RecordBatch`](arrow_array::RecordBatch)es. Out: Parquet files as parts of one size. Bound:
//! one row group and one part being filled for each open file. Fails: [`EncodeError`].

mod hive_directories;
mod open;
mod properties;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tokio::sync::mpsc;
use worker_core::decoding::columns::Column;
use worker_core::encoding::batches::MemorySplit;
use worker_core::encoding::hive_directories::HiveDirectories;
use worker_core::planning::plan::OutputLayout;

use self::hive_directories::HiveDirectoryWriter;
pub use self::open::{EncodeError, FileEnd, Files, OpenFile, Piece};

/// Writes batches into files: one after the other, or into folders by the values of columns.
pub enum FileWriter {
    /// One file after the other: what all have in common, and the one being written.
    Plain(Box<(Files, Option<OpenFile>)>),
    /// Hive partition directories.
    HiveDirectories(Box<HiveDirectoryWriter>),
}

impl FileWriter {
    /// A writer without a file: the first batch opens one.
    ///
    /// # Errors
    /// [`EncodeError::PrepareSchema`], [`EncodeError::SortRows`].
    pub fn new(
        columns: &[Column],
        schema: SchemaRef,
        split: MemorySplit,
        layout: &OutputLayout,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Self, EncodeError> {
        if layout.partition_by.is_empty() {
            let files = Files::new(columns, schema, split, layout, pieces)?;
            return Ok(Self::Plain(Box::new((files, None))));
        }
        let hive_directories = HiveDirectories::new(&schema, &layout.partition_by)?;
        let left: Vec<Column> = columns
            .iter()
            .filter(|column| !layout.partition_by.contains(&column.name))
            .cloned()
            .collect();
        let files =
            Files::new(&left, Arc::clone(hive_directories.schema()), split, layout, pieces)?;
        Ok(Self::HiveDirectories(Box::new(HiveDirectoryWriter::new(
            files,
            hive_directories,
            &split,
        ))))
    }

    /// Rows in the footers of the files closed so far.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Plain(plain) => plain.0.rows,
            Self::HiveDirectories(hive_directories) => hive_directories.rows(),
        }
    }

    /// Files that were closed before they had their size, since others needed the memory.
    pub fn closed_early(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::HiveDirectories(hive_directories) => hive_directories.closed_early(),
        }
    }

    /// Encodes one batch; closes row group and file where they are full.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        match self {
            Self::HiveDirectories(hive_directories) => hive_directories.write(batch),
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
            Self::HiveDirectories(hive_directories) => hive_directories.close(),
            Self::Plain(plain) => {
                let (files, open) = &mut **plain;
                open.take().map_or(Ok(()), |file| files.close(file))
            }
        }
    }
}

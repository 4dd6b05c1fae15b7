//! In: [`RecordBatch`](arrow_array::RecordBatch)es. Out: Parquet files as parts of one size. Bound:
//! one row group and one part being filled for each open file. Fails: [`EncodeError`].

mod folders;
mod open;
mod properties;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tokio::sync::mpsc;
use worker_core::decoding::columns::Column;
use worker_core::encoding::batches::MemorySplit;
use worker_core::encoding::folders::Folders;
use worker_core::planning::plan::Shape;

use self::folders::FolderWriter;
pub use self::open::{EncodeError, FileEnd, Files, OpenFile, Piece};

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
    /// [`EncodeError::PrepareSchema`], [`EncodeError::Folder`].
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
        let folders = Folders::new(&schema, &shape.partition_by)?;
        let left: Vec<Column> = columns
            .iter()
            .filter(|column| !shape.partition_by.contains(&column.name))
            .cloned()
            .collect();
        let files = Files::new(&left, Arc::clone(folders.schema()), split, shape, pieces)?;
        Ok(Self::Folders(Box::new(FolderWriter::new(files, folders, &split))))
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

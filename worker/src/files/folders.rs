//! Rows into folders by the values of columns, within memory.
//!
//! Rows are held until a sort is full, then each folder's rows go into its file in one stroke. A few
//! files stay open, those that were written to last; the others are closed early, so that a folder may
//! have more files than its size asks for. Where rows come in the order of their folders, as those of a
//! day do, none is.

use std::collections::BTreeSet;

use arrow_array::{Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use worker_core::batches::MemorySplit;
use worker_core::partitions::Partitions;

use super::{EncodeError, Files, OpenFile};

/// Rows that are handed to a file at a time: a copy of them is made.
const ROWS_AT_ONCE: usize = 16_384;

/// Writes batches into the files of folders.
pub struct FolderWriter {
    files: Files,
    partitions: Partitions,
    sorted_bytes: usize,
    open_files: usize,
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// For each folder, where its rows lie in `held`: batch and row. Reused.
    places: Vec<Vec<(usize, usize)>>,
    /// Folder and file, the one that was written to last at the end.
    open: Vec<(u32, OpenFile)>,
    /// Folders whose last file was closed to make room for another's.
    made_room: BTreeSet<u32>,
    closed_early: u64,
}

impl FolderWriter {
    pub(super) fn new(files: Files, partitions: Partitions, split: &MemorySplit) -> Self {
        Self {
            files,
            partitions,
            sorted_bytes: split.sorted_bytes,
            open_files: split.open_files.max(1),
            held: Vec::new(),
            held_bytes: 0,
            places: Vec::new(),
            open: Vec::new(),
            made_room: BTreeSet::new(),
            closed_early: 0,
        }
    }

    pub(super) const fn rows(&self) -> u64 {
        self.files.rows
    }

    pub(super) const fn closed_early(&self) -> u64 {
        self.closed_early
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        let (numbers, rest) = self.partitions.assign(batch)?;
        let at = self.held.len();
        for (row, number) in numbers.into_iter().enumerate() {
            let number = index(number);
            if number >= self.places.len() {
                self.places.resize_with(number + 1, Vec::new);
            }
            self.places[number].push((at, row));
        }
        let bytes = rest.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        self.held_bytes += bytes.sum::<Result<usize, _>>().map_err(sort_error)?;
        self.held.push(rest);
        if self.held_bytes >= self.sorted_bytes { self.sort() } else { Ok(()) }
    }

    pub(super) fn close(&mut self) -> Result<(), EncodeError> {
        self.sort()?;
        self.open.drain(..).try_for_each(|(_, file)| self.files.close(file))
    }

    /// Gives all rows that are held to their files: those that are open first, since the next one may
    /// cost them their place; the folder with most rows last, since it will have most next time too.
    fn sort(&mut self) -> Result<(), EncodeError> {
        let mut places = std::mem::take(&mut self.places);
        let open: Vec<u32> = self.open.iter().map(|(number, _)| *number).collect();
        let mut met: Vec<u32> = (0..)
            .zip(&places)
            .filter(|(number, places)| !places.is_empty() && !open.contains(number))
            .map(|(number, _)| number)
            .collect();
        met.sort_by_key(|number| places[index(*number)].len());
        for number in open.into_iter().chain(met) {
            for some in places[index(number)].chunks(ROWS_AT_ONCE) {
                self.give(number, some)?;
            }
            places[index(number)].clear();
        }
        self.places = places;
        self.held.clear();
        self.held_bytes = 0;
        Ok(())
    }

    fn give(&mut self, number: u32, places: &[(usize, usize)]) -> Result<(), EncodeError> {
        let held: Vec<&RecordBatch> = self.held.iter().collect();
        let rows = interleave_record_batch(&held, places).map_err(sort_error)?;
        let mut file = match self.open.iter().position(|(other, _)| *other == number) {
            Some(at) => self.open.remove(at).1,
            None => {
                if self.open.len() >= self.open_files {
                    let (other, oldest) = self.open.remove(0);
                    self.made_room.insert(other);
                    self.files.close(oldest)?;
                }
                // too early only where more rows came for it
                self.closed_early += u64::from(self.made_room.remove(&number));
                self.files.open(self.partitions.folder(number))?
            }
        };
        if self.files.write(&mut file, &rows)? {
            self.files.close(file)
        } else {
            self.open.push((number, file));
            Ok(())
        }
    }
}

const fn sort_error(source: ArrowError) -> EncodeError {
    EncodeError::SortRows { source }
}

/// Numbers of folders are far below this.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

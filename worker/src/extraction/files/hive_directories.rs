//! Rows into directories by the values of columns, within memory.
//!
//! Rows are held until a sort is full, then each folder's rows go into its file in one stroke. A few
//! files stay open, those that were written to last; the others are closed early, so that a folder may
//! have more files than its size asks for. Where rows come in the order of their directories, as those of a
//! day do, none is.

use std::collections::BTreeSet;

use arrow_array::{Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use worker_core::encoding::batches::MemorySplit;
use worker_core::encoding::hive_directories::HiveDirectories;

use super::open::{EncodeError, Files, OpenFile};

/// Rows that are written to a file at a time, and no more than a batch has bytes: a copy of them is made,
/// and a file is asked for its size after each.
const ROWS_AT_ONCE: usize = 16_384;
/// What one row costs until it is sorted: its place, in a vector that grows by doubling.
const PLACE_BYTES: usize = 2 * size_of::<Place>();

/// Where a row lies: batch and row.
type Place = (u32, u32);

/// Writes batches into the files of directories.
pub struct HiveDirectoryWriter {
    files: Files,
    hive_directories: HiveDirectories,
    sorted_bytes: usize,
    batch_bytes: usize,
    open_files: usize,
    held: Vec<RecordBatch>,
    held_rows: usize,
    held_bytes: usize,
    /// For each directory, where its rows are in `held`. Given back after each sort: a partition has many
    /// directories, most of which never come again.
    places: Vec<Vec<Place>>,
    /// Folder and file, the one that was written to last at the end.
    open: Vec<(u32, OpenFile)>,
    /// Directories whose last file was closed to make room for another's.
    made_room: BTreeSet<u32>,
    closed_early: u64,
}

impl HiveDirectoryWriter {
    pub(super) fn new(
        files: Files,
        hive_directories: HiveDirectories,
        split: &MemorySplit,
    ) -> Self {
        Self {
            files,
            hive_directories,
            sorted_bytes: split.sorted_bytes,
            batch_bytes: split.batch_bytes,
            open_files: split.open_files.max(1),
            held: Vec::new(),
            held_rows: 0,
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
        let (numbers, rest) = self.hive_directories.assign(batch)?;
        let at = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        for (row, number) in (0_u32..).zip(numbers) {
            let number = index(number);
            if number >= self.places.len() {
                self.places.resize_with(number + 1, Vec::new);
            }
            self.places[number].push((at, row));
        }
        let bytes = rest.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        let bytes = bytes.sum::<Result<usize, _>>().map_err(sort_error)?;
        self.held_bytes += bytes + rest.num_rows() * PLACE_BYTES;
        self.held_rows += rest.num_rows();
        self.held.push(rest);
        if self.held_bytes >= self.sorted_bytes { self.sort() } else { Ok(()) }
    }

    pub(super) fn close(&mut self) -> Result<(), EncodeError> {
        self.sort()?;
        self.open.drain(..).try_for_each(|(_, file)| self.files.close(file))
    }

    /// Gives all rows that are held to their files: those that are open first, since the next one may
    /// cost them their place; the folder that came last at the end, so that it is open when rows in the
    /// order of their directories go on.
    fn sort(&mut self) -> Result<(), EncodeError> {
        let mut places = std::mem::take(&mut self.places);
        let open: Vec<u32> = self.open.iter().map(|(number, _)| *number).collect();
        let mut met: Vec<u32> = (0..)
            .zip(&places)
            .filter(|(number, places)| !places.is_empty() && !open.contains(number))
            .map(|(number, _)| number)
            .collect();
        met.sort_by_key(|number| places[index(*number)].last().copied());
        let row_bytes = (self.held_bytes / self.held_rows.max(1)).max(1);
        let rows_at_once = (self.batch_bytes / row_bytes).clamp(1, ROWS_AT_ONCE);
        for number in open.into_iter().chain(met) {
            for some in std::mem::take(&mut places[index(number)]).chunks(rows_at_once) {
                self.give(number, some)?;
            }
        }
        self.places = places;
        self.held.clear();
        self.held_rows = 0;
        self.held_bytes = 0;
        Ok(())
    }

    fn give(&mut self, number: u32, places: &[Place]) -> Result<(), EncodeError> {
        let held: Vec<&RecordBatch> = self.held.iter().collect();
        let places: Vec<(usize, usize)> =
            places.iter().map(|(batch, row)| (index(*batch), index(*row))).collect();
        let rows = interleave_record_batch(&held, &places).map_err(sort_error)?;
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
                self.files.open(self.hive_directories.folder(number))?
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

/// Numbers of directories, batches and rows are far below this.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

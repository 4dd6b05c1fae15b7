//! In: [`RecordBatch`](arrow_array::RecordBatch)es. Out: when a row group and a file end. Bound: the
//! encoder's memory, and [`FileSizes`]. Fails: nothing.

use crate::encoding::batches::MemorySplit;
use crate::planning::plan::OutputLayout;

/// Size at which the next file begins: what query engines read best, and far below 10,000 parts of
/// the smallest size.
pub const FILE_BYTES_TARGET: u64 = 512 << 20;
/// A file ends with a whole row group, so a row group is at most this part of a file: no file is
/// longer than its target by more than that.
const ROW_GROUPS_OF_FILE: u64 = 5;

/// When row groups and files end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSizes {
    row_group_bytes: u64,
    file_bytes: u64,
}

/// The split with batches that are no larger than a row group: it is asked after each batch whether
/// the row group is full.
#[must_use]
pub fn fitting(split: MemorySplit, layout: &OutputLayout) -> MemorySplit {
    let row_group = FileSizes::new(&split, layout).row_group_bytes;
    let row_group = usize::try_from(row_group).unwrap_or(usize::MAX);
    MemorySplit { batch_bytes: split.batch_bytes.min(row_group), ..split }
}

impl FileSizes {
    /// What the manifest asks for, within what memory allows.
    pub fn new(split: &MemorySplit, layout: &OutputLayout) -> Self {
        let file_bytes = layout.target_file_bytes.unwrap_or(FILE_BYTES_TARGET);
        let wanted = layout.row_group_bytes.unwrap_or(u64::MAX);
        let held = u64::try_from(split.row_group_bytes).unwrap_or(u64::MAX);
        Self { row_group_bytes: wanted.min(held).min(file_bytes / ROW_GROUPS_OF_FILE), file_bytes }
    }

    /// Whether the row group being encoded is to be closed.
    ///
    /// `memory_bytes` is what the encoder holds, not what the row group will weigh, which is no
    /// more: memory is what runs out.
    pub fn closes_row_group(&self, memory_bytes: u64) -> bool {
        memory_bytes >= self.row_group_bytes
    }

    /// Whether the file is to be closed. Asked after a row group, so a file ends with a whole one.
    pub fn closes_file(&self, written_bytes: u64) -> bool {
        written_bytes >= self.file_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batches::MemoryBudget;

    fn sizes(row_group_bytes: Option<u64>, target_file_bytes: Option<u64>) -> FileSizes {
        let layout = OutputLayout { row_group_bytes, target_file_bytes, ..OutputLayout::default() };
        FileSizes::new(&MemoryBudget::new(None).split(1), &layout)
    }

    #[test]
    fn a_file_of_the_longest_target_has_few_parts_for_s3() {
        let split = MemoryBudget::new(Some(0)).split(1);
        let longest = (10_u64 << 30) / 5 * 6;
        assert!(longest / (split.part_bytes as u64) < 10_000);
    }

    #[test]
    fn a_batch_is_no_larger_than_a_row_group() {
        let split = MemoryBudget::new(None).split(4);
        let small = OutputLayout { target_file_bytes: Some(5 << 20), ..OutputLayout::default() };
        assert_eq!(fitting(split, &small).batch_bytes, 1 << 20);
        assert_eq!(fitting(split, &OutputLayout::default()), split);
    }

    #[test]
    fn limits_are_reached_not_passed() {
        let held = MemoryBudget::new(None).split(1).row_group_bytes as u64;
        let sizes = sizes(None, None);
        assert!(!sizes.closes_row_group(held - 1));
        assert!(sizes.closes_row_group(held));
        assert!(!sizes.closes_file(FILE_BYTES_TARGET - 1));
        assert!(sizes.closes_file(FILE_BYTES_TARGET));
    }

    #[test]
    fn a_row_group_is_as_asked_unless_memory_or_the_file_is_smaller() {
        let held = MemoryBudget::new(None).split(1).row_group_bytes as u64;
        assert_eq!(sizes(Some(2 << 20), None).row_group_bytes, 2 << 20);
        assert_eq!(sizes(Some(1 << 30), None).row_group_bytes, held);
        assert_eq!(sizes(Some(4 << 20), Some(10 << 20)).row_group_bytes, 2 << 20);
    }
}

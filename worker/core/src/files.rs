//! In: [`RecordBatch`](arrow_array::RecordBatch)es. Out: when a row group and a file end. Bound: the
//! encoder's memory, and [`FILE_BYTES_TARGET`]. Fails: nothing.

use crate::batches::MemorySplit;

/// Size at which the next file begins: what query engines read best, and far below 10,000 parts of
/// the smallest size.
pub const FILE_BYTES_TARGET: u64 = 512 << 20;

/// Whether the row group being encoded is to be closed.
///
/// `memory_bytes` is what the encoder holds, not what the row group will weigh: memory is what runs
/// out.
pub fn closes_row_group(split: &MemorySplit, memory_bytes: usize) -> bool {
    memory_bytes >= split.row_group_bytes
}

/// Whether the file is to be closed. Asked after a row group, so a file ends with a whole one.
pub fn closes_file(written_bytes: u64) -> bool {
    written_bytes >= FILE_BYTES_TARGET
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::MemoryBudget;

    #[test]
    fn a_file_of_the_target_size_has_few_parts_for_s3() {
        let split = MemoryBudget::new(Some(0)).split(1);
        let longest = FILE_BYTES_TARGET + split.row_group_bytes as u64;
        assert!(longest / (split.part_bytes as u64) < 10_000);
    }

    #[test]
    fn limits_are_reached_not_passed() {
        let split = MemoryBudget::new(None).split(1);
        assert!(!closes_row_group(&split, split.row_group_bytes - 1));
        assert!(closes_row_group(&split, split.row_group_bytes));
        assert!(!closes_file(FILE_BYTES_TARGET - 1));
        assert!(closes_file(FILE_BYTES_TARGET));
    }
}

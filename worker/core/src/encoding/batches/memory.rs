//! The memory of a process, split among the stages of the line.

/// Assumed where the container has no limit.
const LIMIT_BYTES_DEFAULT: u64 = 512 * MIB;
/// What the process holds before the first row: binary, runtime, TLS, SDK.
const PROCESS_BYTES: u64 = 32 * MIB;
/// Share of the rest that is planned for, in percent: the allocator keeps gaps.
const PLANNED_PERCENT: u64 = 60;
/// S3's least size of a part that is not the last.
const PART_BYTES_MIN: u64 = 5 * MIB;
/// Larger parts need more memory and are no faster.
const PART_BYTES_MAX: u64 = 8 * MIB;
/// Larger row groups read no faster.
const ROW_GROUP_BYTES_MAX: u64 = 64 * MIB;
/// Below this a row group is mostly footer.
const ROW_GROUP_BYTES_MIN: u64 = 4 * MIB;
/// One batch is encoded while its columns are still in the cache of the CPU.
const BATCH_BYTES_MAX: u64 = 2 * MIB;
/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 65_536;
/// Parquet's usual size of a data page and of a dictionary.
const PAGE_BYTES_MAX: u64 = MIB;
/// Below this pages compress badly.
const PAGE_BYTES_MIN: u64 = 8 * 1024;
/// zstd's buffers for one block, five times its size, are for blocks of at most this.
const ZSTD_BLOCK_BYTES_MAX: u64 = 128 * 1024;
/// Memory of a pair of zstd contexts for any page: entropy tables, the decompressor that
/// comes with each compressor.
const ZSTD_FIXED_BYTES: u64 = 128 * 1024;

/// How many files may be open where rows go into folders, most first.
const OPEN_FILES: [u64; 4] = [8, 4, 2, 1];
/// More rows in one sort make longer files, but stand still until it is full.
const SORTED_BYTES_MAX: u64 = 64 * MIB;

pub(super) const MIB: u64 = 1 << 20;

/// The memory that the worker's container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    pub(super) limit_bytes: u64,
    /// Whether the container has no limit.
    pub(super) assumed: bool,
}

/// The budget, split among the stages of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySplit {
    /// Wire bytes waiting for the decoder.
    pub wire_bytes: usize,
    /// Bytes at which a batch is cut.
    pub batch_bytes: usize,
    /// Rows at which a batch is cut.
    pub batch_rows: usize,
    /// Memory of the encoder at which a row group is closed.
    pub row_group_bytes: usize,
    /// Size of a data page, and of a dictionary.
    pub page_bytes: usize,
    /// Whether columns have dictionaries. A dictionary's encoder takes at least 30 KiB per column
    /// (measured with 1600 columns), and a column with pages of the least size has no room for it.
    pub dictionaries: bool,
    /// zstd level: 3, or 1 where a wide table's contexts would not fit; none where not even those do.
    pub zstd_level: Option<i32>,
    /// Size of a part.
    pub part_bytes: usize,
    /// Parts being sent at the same time; one more is waiting, and each open file fills one.
    pub parts_in_flight: usize,
    /// Files that are written at the same time: one, or with folders for values a few.
    pub open_files: usize,
    /// Bytes of rows that are held until they are sorted into folders; 0 without.
    pub sorted_bytes: usize,
}

impl MemoryBudget {
    /// From the container's limit, if it has one.
    pub fn new(limit_bytes: Option<u64>) -> Self {
        Self {
            limit_bytes: limit_bytes.unwrap_or(LIMIT_BYTES_DEFAULT),
            assumed: limit_bytes.is_none(),
        }
    }

    /// The budget of each of `partitions` that are read at the same time.
    #[must_use]
    pub fn shared(self, partitions: usize) -> Self {
        let partitions = (partitions as u64).max(1);
        let rest = self.limit_bytes.saturating_sub(PROCESS_BYTES) / partitions;
        Self { limit_bytes: PROCESS_BYTES + rest, ..self }
    }

    /// Its split for a table of so many columns.
    pub fn split(self, columns: usize) -> MemorySplit {
        self.split_among(columns, 1, 0)
    }

    /// Its split where rows go into folders by their values: as many files are open as fit, and a
    /// third of what is left holds rows until they are sorted.
    pub fn split_for_hive_directories(self, columns: usize) -> MemorySplit {
        let fits = |split: &MemorySplit| {
            let context = zstd_bytes(split.zstd_level, split.page_bytes as u64);
            let file = columns as u64 * context + split.row_group_bytes as u64;
            let open_files = split.open_files as u64;
            let held = file * open_files + split.sorted_bytes as u64 * 2;
            split.zstd_level.is_some() && held <= self.encoder_bytes(open_files)
        };
        OPEN_FILES
            .into_iter()
            .map(|open_files| self.split_among(columns, open_files, 3))
            .find(fits)
            .unwrap_or_else(|| self.split_among(columns, 1, 3))
    }

    pub(super) fn planned_bytes(self) -> u64 {
        self.limit_bytes.saturating_sub(PROCESS_BYTES) / 100 * PLANNED_PERCENT
    }

    /// What is left for encoders.
    fn encoder_bytes(self, open_files: u64) -> u64 {
        let planned = self.planned_bytes();
        let (part, batch) = (part_bytes(planned), batch_bytes(planned));
        // a batch is held twice for a moment: its builders grow by doubling
        planned.saturating_sub(part * (parts_in_flight(planned) + 1 + open_files) + batch * 3)
    }

    /// `sorted_share`: one part of so many is for rows that wait to be sorted; 0: none.
    fn split_among(self, columns: usize, open_files: u64, sorted_share: u64) -> MemorySplit {
        let columns = (columns as u64).max(1) * open_files;
        let planned = self.planned_bytes();
        let (part, batch) = (part_bytes(planned), batch_bytes(planned));
        let encoder = self.encoder_bytes(open_files);
        // each column holds a page and a dictionary that do not count as encoded yet
        let page = (encoder / columns / 24).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        let at_level = |level| columns * zstd_bytes(level, page);
        let zstd_level = match encoder {
            encoder if at_level(Some(3)) * 2 <= encoder => Some(3),
            encoder if at_level(Some(1)) + ROW_GROUP_BYTES_MIN <= encoder => Some(1),
            _ => None,
        };
        let rest = encoder.saturating_sub(at_level(zstd_level));
        let sorted = match sorted_share {
            0 => 0,
            share => (rest / share).clamp(batch, SORTED_BYTES_MAX),
        };
        // rows that are sorted are there twice while a file takes them
        let row_group = (rest.saturating_sub(sorted * 2) / open_files)
            .clamp(ROW_GROUP_BYTES_MIN, ROW_GROUP_BYTES_MAX);
        MemorySplit {
            wire_bytes: bytes(batch),
            batch_bytes: bytes(batch),
            batch_rows: BATCH_ROWS_MAX,
            row_group_bytes: bytes(row_group),
            page_bytes: bytes(page),
            dictionaries: page > PAGE_BYTES_MIN,
            zstd_level,
            part_bytes: bytes(part),
            parts_in_flight: bytes(parts_in_flight(planned)),
            open_files: bytes(open_files),
            sorted_bytes: bytes(sorted),
        }
    }
}

fn part_bytes(planned: u64) -> u64 {
    (planned / 12).clamp(PART_BYTES_MIN, PART_BYTES_MAX)
}

fn batch_bytes(planned: u64) -> u64 {
    (planned / 24).clamp(256 * 1024, BATCH_BYTES_MAX)
}

const fn parts_in_flight(planned: u64) -> u64 {
    if planned >= 128 * MIB { 4 } else { 2 }
}

/// What the zstd contexts of one column take: every column has its own.
///
/// Match tables follow the size of what is compressed at once, a page: at level 3 twelve bytes for
/// each of its bytes, to 768 KiB, at level 1 no more than 64 KiB.
fn zstd_bytes(level: Option<i32>, page_bytes: u64) -> u64 {
    let tables = match level {
        None => return 0,
        Some(1) => 64 * 1024,
        Some(_) => (page_bytes * 12).min(768 * 1024),
    };
    tables + page_bytes.min(ZSTD_BLOCK_BYTES_MAX) * 5 + ZSTD_FIXED_BYTES
}

/// Quantities clamped far below 4 GiB.
fn bytes(quantity: u64) -> usize {
    usize::try_from(quantity).unwrap_or(usize::MAX)
}

impl MemorySplit {
    /// What the stages hold at the most, for a table of so many columns.
    pub fn held_bytes(&self, columns: usize) -> u64 {
        let contexts = zstd_bytes(self.zstd_level, self.page_bytes as u64);
        let parts = self.part_bytes * (self.parts_in_flight + 1 + self.open_files);
        let rows = self.batch_bytes * 2 + self.wire_bytes + self.sorted_bytes * 2;
        (parts + rows + self.row_group_bytes * self.open_files) as u64
            + contexts * (columns.max(1) * self.open_files) as u64
    }

    /// Whether the batch being built is to be cut.
    pub fn cuts_batch(&self, rows: usize, bytes_held: usize) -> bool {
        rows > 0 && (rows >= self.batch_rows || bytes_held >= self.batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(limit: u64, columns: usize) -> u64 {
        let split = MemoryBudget::new(Some(limit)).split(columns);
        held(split, columns)
    }

    fn held(split: MemorySplit, columns: usize) -> u64 {
        split.held_bytes(columns)
    }

    #[test]
    fn hive_directories_stay_within_the_planned_memory_and_use_it_for_files() {
        for (limit, columns, open_files) in [(128, 8, 1), (256, 8, 2), (512, 8, 4), (1024, 8, 8)] {
            let split = MemoryBudget::new(Some(limit * MIB)).split_for_hive_directories(columns);
            let planned = (limit * MIB - PROCESS_BYTES) / 100 * PLANNED_PERCENT;
            assert!(held(split, columns) <= planned, "{limit} MiB: {split:?}");
            assert!(split.open_files >= open_files, "{limit} MiB: {split:?}");
            assert!(split.sorted_bytes > 0, "{split:?}");
        }
    }

    #[test]
    fn the_stages_together_stay_within_what_is_planned() {
        for limit in [128, 192, 256, 512, 1024, 4096] {
            let planned = (limit * MIB - PROCESS_BYTES) / 100 * PLANNED_PERCENT;
            for columns in [16, 100, 200, 1600] {
                assert!(total(limit * MIB, columns) <= planned, "{columns} in {limit} MiB");
            }
        }
    }

    #[test]
    fn a_wide_table_gives_up_compression_before_memory() {
        let wide = MemoryBudget::new(Some(256 * MIB)).split(40);
        assert_eq!(wide.zstd_level, Some(1));
        assert!(wide.page_bytes * 40 * 2 <= wide.row_group_bytes);
        assert_eq!(MemoryBudget::new(Some(256 * MIB)).split(8).zstd_level, Some(3));
        assert_eq!(MemoryBudget::new(Some(128 * MIB)).split(100).zstd_level, Some(1));
        assert_eq!(MemoryBudget::new(Some(128 * MIB)).split(1600).zstd_level, None);
        assert_eq!(MemoryBudget::new(Some(1024 * MIB)).split(1600).zstd_level, Some(1));
    }

    #[test]
    fn a_wide_table_gives_up_dictionaries_before_memory() {
        let of = |limit: u64, columns| MemoryBudget::new(Some(limit * MIB)).split(columns);
        assert!(!of(128, 1600).dictionaries);
        assert!(of(128, 16).dictionaries && of(256, 100).dictionaries);
        assert!(of(4096, 1600).dictionaries);
    }

    #[test]
    fn a_batch_is_cut_by_rows_or_bytes_but_never_empty() {
        let split = MemoryBudget::new(None).split(8);
        assert!(!split.cuts_batch(0, usize::MAX));
        assert!(split.cuts_batch(split.batch_rows, 0));
        assert!(split.cuts_batch(1, split.batch_bytes));
        assert!(!split.cuts_batch(split.batch_rows - 1, split.batch_bytes - 1));
    }

    #[test]
    fn no_limit_is_too_small_for_a_valid_split() {
        for limit in [0, 1, MIB, 64 * MIB, u64::MAX] {
            let split = MemoryBudget::new(Some(limit)).split(1600);
            assert!(split.part_bytes as u64 >= PART_BYTES_MIN, "{limit}");
            assert!(split.batch_bytes > 0 && split.row_group_bytes > 0, "{limit}");
        }
    }
}

//! In: the budget, a plan, how many partitions are to be read at a time. Out: how many are, and why.
//! Bound: the budget. Fails: nothing, one partition is always read.

use super::memory::{MIB, MemoryBudget, MemorySplit};
use crate::planning::plan::Plan;

/// How many partitions a process is to read at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// So many.
    pub readers: usize,
    /// Whether the manifest says so.
    pub by_manifest: bool,
}

/// How many partitions a process reads at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parallelism {
    /// So many.
    pub readers: usize,
    /// What decides that.
    pub reason: String,
}

/// What a table's rows need memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Columns, with those that are added.
    pub columns: usize,
    /// Whether rows go into folders by their values.
    pub hive_directories: bool,
}

impl Width {
    /// Of a plan's rows.
    pub fn of(plan: &Plan) -> Self {
        Self {
            columns: plan.columns.len() + plan.layout.columns.names().count(),
            hive_directories: !plan.layout.partition_by.is_empty(),
        }
    }
}

impl MemoryBudget {
    /// How many partitions of a table one process reads at the same time: as many as are asked for and as
    /// there are, and no more than the memory has room for. One at least.
    ///
    /// There is room for another reader while the share of each still covers what its stages hold, and
    /// while each still compresses what it writes.
    pub fn parallelism(self, asked: Asked, partitions: usize, table: Width) -> Parallelism {
        let wanted = asked.readers.min(partitions).max(1);
        let has_room = |readers: usize| {
            let share = self.shared(readers);
            let split = share.split_of(table);
            split.zstd_level.is_some() && split.held_bytes(table.columns) <= share.planned_bytes()
        };
        let readers = (2..=wanted).rev().find(|readers| has_room(*readers)).unwrap_or(1);
        let by = if asked.by_manifest { "worker.parallelism" } else { "the default" };
        let reason = if readers < wanted {
            let memory = if self.assumed {
                "no memory limit is set, so Tidemark assumes"
            } else {
                "the memory limit of"
            };
            let (limit, asked) = (self.limit_bytes / MIB, asked.readers);
            let room = if self.assumed { ", which is enough" } else { " is enough" };
            format!("{memory} {limit} MiB{room} for {readers} readers; {by} requests {asked}")
        } else if asked.readers > partitions {
            format!("the plan has {partitions} partitions; {by} requests {}", asked.readers)
        } else {
            format!("{by} requests {}", asked.readers)
        };
        Parallelism { readers, reason }
    }

    /// Its split for a table.
    pub fn split_of(self, table: Width) -> MemorySplit {
        if table.hive_directories {
            self.split_for_hive_directories(table.columns)
        } else {
            self.split(table.columns)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_together_stay_within_what_is_planned_and_keep_compressing() {
        for limit in [0, 32, 64, 96, 128, 192, 256, 512, 1024, 4096] {
            for columns in [1, 4, 16, 100, 400, 1600] {
                for hive_directories in [false, true] {
                    let (budget, table) =
                        (MemoryBudget::new(Some(limit * MIB)), Width { columns, hive_directories });
                    let asked = Asked { readers: 32, by_manifest: true };
                    let Parallelism { readers, reason } = budget.parallelism(asked, 32, table);
                    let context =
                        format!("{limit} MiB, {columns} columns, {hive_directories}: {readers}");
                    assert!((1..=32).contains(&readers), "{context}");
                    if readers == 1 {
                        continue;
                    }
                    let share = budget.shared(readers).split_of(table);
                    let planned = budget.planned_bytes();
                    assert!(share.held_bytes(columns) * readers as u64 <= planned, "{context}");
                    assert!(share.zstd_level.is_some(), "{context}");
                    assert_eq!(readers < 32, reason.contains("memory"), "{context}: {reason}");
                }
            }
        }
    }

    #[test]
    fn the_reason_names_what_decides_the_number_of_readers() {
        let table = Width { columns: 4, hive_directories: false };
        let of = |limit: u64, asked, by_manifest, partitions| {
            let asked = Asked { readers: asked, by_manifest };
            MemoryBudget::new(Some(limit * MIB)).parallelism(asked, partitions, table)
        };
        let found = of(4096, 8, true, 12);
        assert_eq!((found.readers, found.reason.as_str()), (8, "worker.parallelism requests 8"));
        let found = of(4096, 4, false, 3);
        assert_eq!(found.readers, 3);
        assert_eq!(found.reason, "the plan has 3 partitions; the default requests 4");
        let found = of(128, 8, true, 12);
        assert!(found.readers < 8, "{found:?}");
        assert!(found.reason.contains("the memory limit of 128 MiB is enough for"), "{found:?}");
        let asked = Asked { readers: 40, by_manifest: false };
        let found = MemoryBudget::new(None).parallelism(asked, 64, table);
        let words = "no memory limit is set, so Tidemark assumes 512 MiB, which is enough for";
        assert!(found.reason.starts_with(words), "{found:?}");
        assert_eq!(of(0, 8, true, 12).readers, 1);
        assert_eq!(of(128, 0, true, 12).readers, 1);
        assert_eq!(of(128, 8, true, 0).readers, 1);
    }

    #[test]
    fn more_memory_never_means_fewer_readers() {
        for columns in [1, 40, 400] {
            let table = Width { columns, hive_directories: false };
            let asked = Asked { readers: 64, by_manifest: true };
            let readers = |limit: u64| {
                MemoryBudget::new(Some(limit * MIB)).parallelism(asked, 64, table).readers
            };
            let limits = [64, 128, 192, 256, 384, 512, 1024, 2048, 4096];
            assert!(limits.is_sorted_by_key(|limit| readers(*limit)), "{columns} columns");
        }
    }
}

//! What a process has read so far, for progress output.

use std::sync::atomic::{AtomicU64, Ordering};

use worker_core::planning::plan::Plan;

/// Counts of one process. Reading them costs the readers of partitions nothing: each adds once per batch.
#[derive(Debug, Default)]
pub struct Counters {
    partitions: AtomicU64,
    partitions_done: AtomicU64,
    expected_rows: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// The counts at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Partitions of the plan; 0 before there is one.
    pub partitions: u64,
    /// Partitions that have a record.
    pub partitions_done: u64,
    /// Rows of the plan by the database's estimate; 0 if there is no estimate of the window.
    pub expected_rows: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes received from the database.
    pub bytes: u64,
}

impl Counters {
    /// Begins to count for a plan.
    pub(crate) fn begin(&self, plan: &Plan) {
        // the estimate is of the table: a window with bounds has fewer rows
        let whole = plan.window.low.is_none() && plan.window.high.is_none();
        let estimate = plan.filtered_rows.unwrap_or(plan.estimated_rows);
        let expected = u64::try_from(estimate).ok().filter(|_| whole);
        self.partitions.store(plan.partitions.len() as u64, Ordering::Relaxed);
        self.expected_rows.store(expected.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Bytes came from the database.
    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Rows became a batch.
    pub(crate) fn read(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// A partition has its record.
    pub(crate) fn finished(&self) {
        self.partitions_done.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn now(&self) -> Counted {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            partitions: of(&self.partitions),
            partitions_done: of(&self.partitions_done),
            expected_rows: of(&self.expected_rows),
            rows: of(&self.rows),
            bytes: of(&self.bytes),
        }
    }
}

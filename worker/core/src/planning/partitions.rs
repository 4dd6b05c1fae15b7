//! In: what is known of a table's keys, its rows and its blocks, and a count. Out: [`PlannedPartition`]s:
//! disjoint, in order, total. Bound: [`PARTITIONS_MAX`]. Fails: never; what cannot be cut is one partition.
//!
//! The outer partitions are open, so that a row written after planning is in one of them too.

mod estimates;
mod keys;
mod sample;
mod spans;
#[cfg(test)]
mod tests;

pub use self::estimates::Estimates;
pub use self::keys::{CUT_BYTES_MAX, KeyType};
pub use self::sample::{Cuts, Point, Sample, Skew, Statistics};
pub use self::spans::{
    PARTITIONS_MAX, PARTITIONS_MAX_ESTIMATED, Part, PlannedPartition, block_spans, count_for, cut,
    hash_classes, spans, strides,
};

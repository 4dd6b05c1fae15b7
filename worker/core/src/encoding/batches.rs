//! In: columns (Arrow builders). Out: when to cut a [`RecordBatch`](arrow_array::RecordBatch).
//! Bound: [`MemorySplit`], from the container's limit and never from the table. Fails: nothing.

mod memory;
mod parallelism;

pub use self::memory::{MemoryBudget, MemorySplit};
pub use self::parallelism::{Asked, Parallelism, Width};

//! The worker's decisions, in the order of the line: bounds, ranges, rows, columns, batches,
//! files, objects, commits. Nothing here waits, reads a clock or talks to anything.

pub mod plan;
pub mod ranges;
pub mod columns;
pub mod objects;
pub mod records;
pub mod manifests;
pub mod error;

//! The worker's decisions, in the order of the line: bounds, the columns that are chosen and how they
//! changed, ranges, rows, columns, batches, files (with `output.partitionBy` in folders), objects,
//! commits. Nothing here waits, reads a clock or talks to anything.

pub mod plan;
pub mod shown;
pub mod watermark;
pub mod window;
pub mod consistency;
pub mod bounds;
pub mod relations;
pub mod selection;
pub mod filtering;
pub mod names;
pub mod types;
pub mod drift;
pub mod ranges;
pub mod partitioning;
pub mod settings;
pub mod rows;
pub mod columns;
pub mod fidelity;
pub mod batches;
pub mod folders;
pub mod files;
pub mod objects;
pub mod records;
pub mod manifests;
pub mod commits;
pub mod verify;
pub mod virtual_columns;
pub mod moving;
pub mod error;
pub mod errors;

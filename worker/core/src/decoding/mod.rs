//! How values of each engine become columns.

pub mod types;
pub mod columns;

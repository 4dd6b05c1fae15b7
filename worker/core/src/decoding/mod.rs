//! How values of each engine become columns.

pub mod columns;

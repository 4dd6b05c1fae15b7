//! How rows become files: memory, row groups and Hive partition directories.

pub mod batches;
pub mod folders;
pub mod files;

//! How rows become files: memory, row groups and Hive partition directories.

pub mod batches;
pub mod hive_directories;
pub mod files;

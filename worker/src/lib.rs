//! The worker's effects: on the database, on S3 and on the tracking table. `worker-core` decides what to do.
//!
//! Folders import only those below them in this list.

pub mod cli;
pub mod publishing;
pub mod planning;
pub mod extraction;
pub mod source;
pub mod stores;
pub mod base;

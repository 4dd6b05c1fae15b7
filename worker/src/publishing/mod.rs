//! Runs of the protocol: what `worker-core` decides is done here, on the database, S3 and the tracking table.

pub mod durations;
pub mod context;
mod batches;
mod coordinate;
mod chains;
mod patience;
mod records;
pub mod drive;

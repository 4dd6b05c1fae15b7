//! One partition: from rows to the parts of multipart uploads, and its record.

pub mod counters;
pub mod extract;
pub(crate) mod kept_records;
pub mod flow;
pub mod batches;
pub mod files;
pub mod multipart;
pub mod uploads;

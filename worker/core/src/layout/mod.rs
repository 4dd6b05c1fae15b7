//! What lies on S3, and what people are shown of a plan: keys, records, manifests, names of columns.

pub mod shown;
pub mod names;
pub mod body;
pub mod objects;
pub mod records;
pub mod manifests;
pub mod verify;

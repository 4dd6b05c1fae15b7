//! S3 and DynamoDB: clients, control objects, and the tracking table.

pub mod control;
pub mod tracking;
pub mod clients;
pub mod errors;
pub mod encryption;
pub mod checksums;

//! What the source and the stores both need.

pub mod aws;
pub mod pause;
pub mod shutdown;
pub mod telemetry;

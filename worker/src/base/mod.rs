//! What the source and the stores both need.

pub mod pause;
pub mod shutdown;
pub mod telemetry;

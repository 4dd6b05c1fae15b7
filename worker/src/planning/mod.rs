//! From a source table to a plan.

pub mod published;
pub mod snapshot_session;
mod warnings;
mod partitions;
mod implied;
pub mod planner;

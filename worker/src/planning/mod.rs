//! From a source table to a plan.

pub mod published;
pub mod holder;
mod warnings;
mod ranges;
mod implied;
pub mod planner;

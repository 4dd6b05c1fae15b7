//! From a source table to a plan.

pub mod bounds;

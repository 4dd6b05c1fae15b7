//! The text of every statement, by engine.

pub mod rows;

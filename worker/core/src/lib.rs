//! The worker's decisions. Nothing here waits, reads a clock or talks to anything.
//!
//! Folders import only those below them in this list.

pub mod migration;
pub mod protocol;
pub mod layout;
pub mod encoding;
pub mod sql;
pub mod planning;
pub mod decoding;
pub mod settings;
pub mod errors;

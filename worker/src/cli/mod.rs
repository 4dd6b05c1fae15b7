//! The commands of `tidemark`: from flags to an exit code.

pub mod settings;
pub mod flags;
mod errors;
mod help;
pub mod start;
mod durations;
pub mod report;
mod terminal;
mod manifest;
mod progress;
mod summary;
pub mod local;
pub mod legacy;
pub mod convert;
pub mod dry_run;
pub mod watermarks;
pub mod verify;
mod pods;
pub mod run;

//! The commands of `tidemark`: from flags to an exit code.

pub mod settings;
mod durations;
pub mod report;
mod terminal;
pub mod local;
pub mod old_job;
pub mod convert;
pub mod dry_run;
pub mod watermarks;
pub mod verify;
mod pods;
pub mod run;

//! The worker's effects: on the database, on S3 and on the tracking table. What to do is decided in
//! `worker-core`; the modules stand in the order of the line.

pub mod settings;
pub mod durations;
pub mod run;
pub mod old_job;
pub mod convert;
pub mod dry_run;
pub mod credentials;
pub mod sessions;
pub mod watch;
pub mod goodbye;
mod second;
mod ending;
pub mod database;
pub mod postgres;
pub mod mysql;
pub mod bounds;
mod filtering;
pub mod extract;
pub mod flow;
pub mod rows;
pub mod batches;
pub mod files;
pub mod objects;
pub mod control;
pub mod tracking;
pub mod watermarks;
pub mod verify;
pub mod commits;
pub mod stores;
pub mod encryption;
pub mod checksums;
pub mod pause;
pub mod shutdown;
pub mod report;
pub mod telemetry;

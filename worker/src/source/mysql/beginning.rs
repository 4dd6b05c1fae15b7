//! What sessions that share a snapshot have in common before their first partition.

use std::time::Duration;

use worker_core::errors::failure::Failure;

use super::session::{Session, broken};

/// What each session is asked first.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The settings that a condition is read under; `None` where there is none.
    pub(crate) settings: Option<String>,
    /// The query that holds the table.
    pub(crate) hold: String,
    /// The quoted table, if it is to be locked meanwhile.
    pub(crate) lock: Option<String>,
}

/// How the sessions' snapshots started.
#[derive(Debug)]
pub(crate) struct Start {
    /// The point of the binary log, or the time at which the table was locked.
    pub(crate) point: String,
    /// How long the table was locked; `None` if it was not.
    pub(crate) locked: Option<Duration>,
}

/// Limits how long each session waits for the server; `None`: no limit.
pub(super) fn timed(sessions: &[&mut Session], timeout: Option<Duration>) -> Result<(), Failure> {
    sessions.iter().try_for_each(|session| {
        let limited = session.stream.set_read_timeout(timeout);
        limited.map_err(|error| broken("begin a transaction", &error))
    })
}

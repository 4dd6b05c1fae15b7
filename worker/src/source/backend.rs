//! Which session of which server a connection is, and what it waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use worker_core::errors::failure::Failure;

use crate::source::errors::{database_failure, unreachable};
use crate::source::timeouts::CONNECT_TIMEOUT;

/// The server's name for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A process of one server of Postgres: behind one name there may be replicas.
    Postgres {
        /// Its number there, and its start.
        session: String,
        /// Address and port of the server, and its start.
        server: String,
    },
    /// A connection of one server of MySQL or MariaDB: behind one name there may be several.
    Mysql {
        /// Its number there.
        number: u64,
        /// Host and port as the server itself calls them.
        server: String,
    },
}

impl Backend {
    /// The server that the session is one of.
    pub(crate) fn server(&self) -> &str {
        match self {
            Self::Postgres { server, .. } | Self::Mysql { server, .. } => server,
        }
    }
}

/// What a session has asked its server for, and got. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    got: AtomicU64,
}

impl Progress {
    /// Of a session that asks one thing after another, all of which are short of words.
    pub fn waiting() -> Self {
        let progress = Self::default();
        progress.asks();
        progress
    }

    /// The session waits for the server from now on.
    pub fn asks(&self) {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// The server has said something.
    pub fn gets(&self) {
        self.0.got.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was got, where the session waits for more; `None` where the server waits for it.
    pub(crate) fn waits(&self) -> Option<u64> {
        let got = self.0.got.load(Ordering::Relaxed);
        (self.0.asked.load(Ordering::Relaxed) > got).then_some(got)
    }
}

/// Limits how long the server may take to name a session.
pub(crate) async fn in_time<T>(
    asking: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(|error| database_failure("read the session's id", &error)),
        Err(_) => Err(unreachable("the database did not respond within 10 seconds")),
    }
}

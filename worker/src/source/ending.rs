//! In: a session that is not needed any more. Out: nothing; the session is over. Bound:
//! [`CANCEL_TIMEOUT`], [`DRAIN_TIMEOUT`] and [`GOODBYE_TIMEOUT`]. Fails: nothing: who ends a session has a result already.
//!
//! A session says goodbye by itself ([`crate::source::goodbye`]). Its statement would run on, for hours where it
//! writes nothing: one that nobody waits for is cancelled over a second session.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use worker_core::error::Failure;

use crate::source::database::Database;
use crate::source::goodbye::{Driven, GOODBYE_TIMEOUT, IDLE_TIMEOUT};
use crate::source::mysql;
use crate::source::second::{Reached, Second, reach};
use crate::source::sessions::Login;
use crate::source::watch::Backend;

/// How long it may take to find the session's server and to cancel there.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a cancelled statement may take to end.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// A session of planning, or one that keeps a snapshot, with what it takes to end it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) database: Database,
    login: Login,
    backend: Backend,
}

impl Session {
    /// A session, with the server's name for it.
    pub(crate) fn new(database: Database, login: &Login, backend: Backend) -> Self {
        Self { database, login: login.clone(), backend }
    }

    /// The server's name for it.
    pub(crate) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Ends it, and the transaction that it stands in, once what it was for is done.
    pub(crate) async fn commit(mut self) {
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, self.database.commit()).await;
        self.close().await;
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.database.close().await;
    }

    /// Ends it after a failure, its statement too if there still is one.
    pub(crate) async fn interrupt(mut self) {
        let Self { database, login, backend } = &mut self;
        match database {
            Database::Postgres(connection) => interrupt(&mut **connection, login, backend).await,
            Database::Mysql(connection) => interrupt(&mut **connection, login, backend).await,
        }
        self.close().await;
    }
}

impl Database {
    /// Limits how long each planning statement may take, where the server does not end the statement of
    /// a client that is gone.
    pub(crate) async fn limit(&mut self, seconds: i64) -> Result<(), Failure> {
        match self {
            // it looks for its client: see `statements::CHECK_CLIENT`
            Self::Postgres(_) => Ok(()),
            Self::Mysql(connection) => mysql::sessions::limit(connection, seconds).await,
        }
    }
}

/// Ends what the server still does for a session that nobody waits for any more.
pub(crate) async fn interrupt(connection: &mut impl Driven, login: &Login, backend: &Backend) {
    if tokio::time::timeout(IDLE_TIMEOUT, connection.drained()).await.is_ok() {
        return;
    }
    let Some(mut second) = cancel(login, backend).await else { return };
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, connection.drained()).await.is_ok();
    let rest = async {
        if !drained {
            second.terminate(backend).await;
        }
        second.close().await;
    };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, rest).await;
}

/// Cancels the session's statement; the session that did so.
pub(crate) async fn cancel(login: &Login, backend: &Backend) -> Option<Second> {
    let cancelling = async {
        match reach(login, backend, &AtomicBool::new(false)).await {
            Reached::Same(mut second) => {
                second.cancel(backend).await;
                Some(second)
            }
            Reached::Elsewhere | Reached::Nothing => None,
        }
    };
    let second = tokio::time::timeout(CANCEL_TIMEOUT, cancelling).await.ok().flatten();
    if second.is_none() {
        tracing::warn!(
            "cannot cancel a statement; the server ends it when it notices that the client is gone"
        );
    }
    second
}

//! In: a session that is not needed any more. Out: nothing; the session is over. Bound:
//! [`CANCEL_TIMEOUT`], [`DRAIN_TIMEOUT`] and [`GOODBYE_TIMEOUT`]. Fails: nothing: who ends a session has a result already.
//!
//! A session says goodbye by itself ([`crate::source::goodbye`]). Its statement would run on, for hours where it
//! writes nothing: one that nobody waits for is cancelled over a second session.

use worker_core::errors::failure::Failure;

use crate::source::backend::Backend;
use crate::source::database::Database;
use crate::source::goodbye::Driven;
use crate::source::login::Login;
use crate::source::mysql;
use crate::source::postgres;
use crate::source::second::{self, Second};
use crate::source::timeouts::DRAIN_TIMEOUT;
use crate::source::timeouts::{GOODBYE_TIMEOUT, IDLE_TIMEOUT};

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
            Database::Postgres(connection) => {
                interrupt::<postgres::second::Second>(&mut **connection, login, backend).await;
            }
            Database::Mysql(connection) => {
                interrupt::<mysql::second::Second>(&mut **connection, login, backend).await;
            }
        }
        self.close().await;
    }
}

impl Database {
    /// Limits how long each planning statement may take, where the server does not end the statement of
    /// a client that is gone.
    pub(crate) async fn limit(&mut self, seconds: i64) -> Result<(), Failure> {
        match self {
            // it checks for its client: see `statements::CHECK_CLIENT`
            Self::Postgres(_) => Ok(()),
            Self::Mysql(connection) => mysql::sessions::limit(connection, seconds).await,
        }
    }
}

/// Ends what the server still does for a session that nobody waits for any more.
async fn interrupt<S: Second>(connection: &mut impl Driven, login: &Login, backend: &Backend) {
    if tokio::time::timeout(IDLE_TIMEOUT, connection.drained()).await.is_ok() {
        return;
    }
    let Some(mut second) = second::cancel::<S>(login, backend).await else { return };
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, connection.drained()).await.is_ok();
    let rest = async {
        if !drained {
            second.terminate(backend).await;
        }
        second.close().await;
    };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, rest).await;
}

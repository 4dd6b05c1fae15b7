//! In: a login, the server's name for a session. Out: a second session of the same user on the same
//! server, which asks what becomes of the first, or ends its statement. Bound: [`TRIES`] connections
//! for one question. Fails: nothing; a server that cannot be reached is an answer too.
//!
//! Behind one name there may be several servers. What another one says about the session is worth
//! nothing, so it is left, and the name is tried again.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{MySqlConnection, PgConnection, Row as _};
use worker_core::rows::{mysql_statements, statements};

use crate::source::goodbye::Opened;
use crate::source::mysql;
use crate::source::postgres;
use crate::source::sessions::{Login, made};
use crate::source::watch::{self, Backend};

/// Connections that are tried until one leads to the right server.
const TRIES: usize = 8;

/// Where a second connection led.
#[derive(Debug)]
pub(crate) enum Reached {
    /// To the server of the session.
    Same(Second),
    /// Only to other servers.
    Elsewhere,
    /// Nowhere.
    Nothing,
}

/// A second session.
#[derive(Debug)]
pub(crate) enum Second {
    /// Of Postgres.
    Postgres(Opened<PgConnection>),
    /// Of MySQL or MariaDB.
    Mysql(Opened<MySqlConnection>),
}

/// Connects until the connection leads to the server of `backend`. `others` becomes true once one has led
/// to another server, for who gives up waiting.
pub(crate) async fn reach(login: &Login, backend: &Backend, others: &AtomicBool) -> Reached {
    for _ in 0..TRIES {
        let Some((second, found)) = connect(login, backend).await else { break };
        if found.server() == backend.server() {
            return Reached::Same(second);
        }
        others.store(true, Ordering::Relaxed);
        second.close().await;
    }
    if others.load(Ordering::Relaxed) { Reached::Elsewhere } else { Reached::Nothing }
}

async fn connect(login: &Login, backend: &Backend) -> Option<(Second, Backend)> {
    match backend {
        Backend::Postgres { .. } => {
            let mut connection = postgres::sessions::connect(login, "tidemark/watch").await.ok()?;
            let found = watch::postgres_backend_alone(&mut connection).await.ok()?;
            Some((Second::Postgres(connection), found))
        }
        Backend::Mysql { .. } => {
            let mut connection = mysql::sessions::connect(login).await.ok()?;
            let found = watch::mysql_backend(&mut connection).await.ok()?;
            Some((Second::Mysql(connection), found))
        }
    }
}

impl Second {
    /// Whether the server works for the session, and since when; `None` inside: it has no such session.
    pub(crate) async fn works(&mut self, backend: &Backend) -> Option<Option<(bool, String)>> {
        match (self, backend) {
            (Self::Postgres(connection), Backend::Postgres { session, .. }) => {
                let rows = postgres::sessions::ask(connection, &statements::works(session)).await;
                let rows = rows.ok()?;
                let Some(row) = rows.first() else { return Some(None) };
                Some(Some((row.try_get(0).ok()?, row.try_get(1).ok()?)))
            }
            (Self::Mysql(connection), Backend::Mysql { number, .. }) => {
                let asked =
                    sqlx::query_as::<_, (i64, String)>(mysql_statements::WORKS).bind(number);
                let row = asked.fetch_optional(&mut **connection).await.ok()?;
                Some(row.map(|(works, since)| (works != 0, since)))
            }
            (Self::Postgres(_) | Self::Mysql(_), _) => None,
        }
    }

    /// Ends the statement that the server works on for the session.
    pub(crate) async fn cancel(&mut self, backend: &Backend) {
        let done = match (self, backend) {
            (Self::Postgres(connection), Backend::Postgres { session, .. }) => {
                postgres::sessions::ask(connection, &statements::cancel(session)).await.map(drop)
            }
            (Self::Mysql(connection), Backend::Mysql { number, .. }) => {
                let asked = sqlx::raw_sql(made(mysql_statements::kill_query(*number)));
                asked.execute(&mut **connection).await.map(|_| ())
            }
            (Self::Postgres(_) | Self::Mysql(_), _) => Ok(()),
        };
        if let Err(error) = done {
            // of MySQL: there is no such session any more
            tracing::debug!(%error, "cancel a statement");
        }
    }

    /// Ends the session itself, where it waits for its client and hears nothing else. One of MySQL
    /// finds at its next write that the connection is closed.
    pub(crate) async fn terminate(&mut self, backend: &Backend) {
        if let (Self::Postgres(connection), Backend::Postgres { session, .. }) = (self, backend) {
            let asked = postgres::sessions::ask(connection, &statements::terminate(session)).await;
            if let Err(error) = asked {
                tracing::debug!(%error, "terminate a session");
            }
        }
    }

    /// Closes it properly.
    pub(crate) async fn close(self) {
        match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Mysql(connection) => connection.close().await,
        }
    }
}

//! The server's name for a session of MySQL or MariaDB, and a second session that asks about the first.

use sqlx::MySqlConnection;
use worker_core::errors::failure::Failure;
use worker_core::sql::rows::mysql_statements as statements;

use super::sessions::connect;
use crate::source::backend::{Backend, in_time};
use crate::source::errors::made;
use crate::source::goodbye::Opened;
use crate::source::login::Login;
use crate::source::second;

/// The server's name for a session of MySQL or MariaDB.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn backend(connection: &mut MySqlConnection) -> Result<Backend, Failure> {
    let named = sqlx::query_as(statements::BACKEND).fetch_one(connection);
    in_time(named).await.map(|(number, server)| Backend::Mysql { number, server })
}

/// A second session.
#[derive(Debug)]
pub(crate) struct Second(Opened<MySqlConnection>);

impl second::Second for Second {
    async fn connect(login: &Login) -> Option<(Self, Backend)> {
        let mut connection = connect(login).await.ok()?;
        let found = backend(&mut connection).await.ok()?;
        Some((Self(connection), found))
    }

    async fn works(&mut self, backend: &Backend) -> Option<Option<(bool, String)>> {
        let Backend::Mysql { number, .. } = backend else { return None };
        let asked = sqlx::query_as::<_, (i64, String)>(statements::WORKS).bind(number);
        let row = asked.fetch_optional(&mut *self.0).await.ok()?;
        Some(row.map(|(works, since)| (works != 0, since)))
    }

    async fn cancel(&mut self, backend: &Backend) {
        let Backend::Mysql { number, .. } = backend else { return };
        let asked = sqlx::raw_sql(made(statements::kill_query(*number)));
        if let Err(error) = asked.execute(&mut *self.0).await {
            // the session does not exist any more
            tracing::debug!(%error, "cancel a statement");
        }
    }

    /// A session finds at its next write that the connection is closed.
    async fn terminate(&mut self, _: &Backend) {}

    async fn close(self) {
        self.0.close().await;
    }
}

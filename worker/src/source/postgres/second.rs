//! The server's name for a session of Postgres, and a second session that asks about the first.

use sqlx::{PgConnection, Row as _};
use worker_core::errors::failure::Failure;
use worker_core::sql::rows::statements;

use super::sessions::{ask, connect};
use crate::source::backend::{Backend, in_time};
use crate::source::goodbye::Opened;
use crate::source::login::Login;
use crate::source::second;

/// The server's name for a session of Postgres that is in a pinned transaction.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn backend(connection: &mut PgConnection) -> Result<Backend, Failure> {
    let named = sqlx::query_as(statements::BACKEND).fetch_one(connection);
    in_time(named).await.map(|(session, server)| Backend::Postgres { session, server })
}

/// The same of one that is in no transaction.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn backend_alone(connection: &mut PgConnection) -> Result<Backend, Failure> {
    let asked = async {
        let rows = ask(connection, statements::BACKEND).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    };
    in_time(asked).await.map(|(session, server)| Backend::Postgres { session, server })
}

/// A second session.
#[derive(Debug)]
pub(crate) struct Second(Opened<PgConnection>);

impl second::Second for Second {
    async fn connect(login: &Login) -> Option<(Self, Backend)> {
        let mut connection = connect(login, "tidemark/watch").await.ok()?;
        let found = backend_alone(&mut connection).await.ok()?;
        Some((Self(connection), found))
    }

    async fn works(&mut self, backend: &Backend) -> Option<Option<(bool, String)>> {
        let Backend::Postgres { session, .. } = backend else { return None };
        let rows = ask(&mut self.0, &statements::works(session)).await.ok()?;
        let Some(row) = rows.first() else { return Some(None) };
        Some(Some((row.try_get(0).ok()?, row.try_get(1).ok()?)))
    }

    async fn cancel(&mut self, backend: &Backend) {
        let Backend::Postgres { session, .. } = backend else { return };
        if let Err(error) = ask(&mut self.0, &statements::cancel(session)).await {
            tracing::debug!(%error, "cancel a statement");
        }
    }

    async fn terminate(&mut self, backend: &Backend) {
        let Backend::Postgres { session, .. } = backend else { return };
        if let Err(error) = ask(&mut self.0, &statements::terminate(session)).await {
            tracing::debug!(%error, "terminate a session");
        }
    }

    async fn close(self) {
        self.0.close().await;
    }
}

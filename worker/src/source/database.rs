//! One session with the source database, of either engine.

use crds::source::Engine;
use sqlx::{MySqlConnection, PgConnection};
use worker_core::errors::failure::Failure;
use worker_core::sql::rows::statements;

use crate::source::backend::Backend;
use crate::source::errors::database_failure;
use crate::source::goodbye::Opened;
use crate::source::login::Login;
use crate::source::mysql;
use crate::source::postgres;
use crate::source::table::SourceTable;

/// One session.
#[derive(Debug)]
pub(crate) enum Database {
    /// Of Postgres.
    Postgres(Opened<PgConnection>),
    /// Of MySQL or MariaDB.
    Mysql(Opened<MySqlConnection>),
}

impl Database {
    /// Connects.
    pub(crate) async fn connect(login: &Login, name: &str) -> Result<Self, Failure> {
        Ok(match login.engine {
            Engine::Postgres => Self::Postgres(postgres::sessions::connect(login, name).await?),
            Engine::Mysql => Self::Mysql(mysql::sessions::connect(login).await?),
        })
    }

    /// The server's name for the session, by which it is watched.
    pub(crate) async fn backend(&mut self) -> Result<Backend, Failure> {
        match self {
            Self::Postgres(connection) => postgres::second::backend_alone(connection).await,
            Self::Mysql(connection) => mysql::second::backend(connection).await,
        }
    }

    /// Which it is.
    pub(crate) const fn engine(&self) -> Engine {
        match self {
            Self::Postgres(_) => Engine::Postgres,
            Self::Mysql(_) => Engine::Mysql,
        }
    }

    /// Begins the transaction that everything after it is read in.
    pub(crate) async fn take_snapshot(
        &mut self,
        source_table: &SourceTable,
    ) -> Result<(), Failure> {
        match self {
            Self::Postgres(connection) => {
                let (table, columns) = (source_table.table(), &source_table.columns);
                postgres::sessions::take_snapshot(connection, table, columns).await
            }
            Self::Mysql(connection) => {
                mysql::sessions::take_snapshot(connection, source_table).await
            }
        }
    }

    /// Publishes the snapshot to other sessions; `None` where it cannot be shared.
    pub(crate) async fn export_snapshot(&mut self) -> Result<Option<String>, Failure> {
        match self {
            Self::Postgres(connection) => {
                let id = sqlx::query_scalar(statements::EXPORT_SNAPSHOT)
                    .fetch_one(&mut **connection)
                    .await;
                id.map(Some).map_err(|error| database_failure("export the snapshot", &error))
            }
            // held for longer it would only keep the server from purging
            Self::Mysql(connection) => mysql::sessions::commit(connection).await.map(|()| None),
        }
    }

    /// Ends the transaction: nothing hangs on it.
    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        match self {
            Self::Postgres(connection) => postgres::sessions::commit(connection).await,
            Self::Mysql(connection) => mysql::sessions::commit(connection).await,
        }
    }

    /// Whether the session answers.
    pub(crate) async fn answers(&mut self) -> bool {
        match self {
            Self::Postgres(connection) => {
                sqlx::raw_sql(statements::STILL_THERE).execute(&mut **connection).await.is_ok()
            }
            // nothing hangs on it: the partitions are read by sessions of their own
            Self::Mysql(_) => true,
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Mysql(connection) => connection.close().await,
        }
    }

    /// Begins a transaction whose reads see one snapshot.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<(), Failure> {
        match self {
            Self::Postgres(connection) => postgres::sessions::begin_snapshot(connection).await,
            Self::Mysql(connection) => mysql::sessions::begin_snapshot(connection).await,
        }
    }
}

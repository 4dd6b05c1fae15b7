//! In: a [`PlannedPartition`](worker_core::planning::partitions::PlannedPartition) as a statement. Out: rows (wire bytes), in
//! chunks. Bound: the bytes of all chunks waiting. Fails: [`Failure`] with a database reason.

use crds::source::Engine;
use worker_core::errors::failure::Failure;
use worker_core::planning::filtering::mysql_statement;
use worker_core::planning::plan::Plan;

use crate::source::backend::{Backend, Progress};
use crate::source::chunks::{ChunkSender, Read};
use crate::source::login::Login;
use crate::source::mysql;
use crate::source::postgres;

/// A session that reads one partition.
#[derive(Debug)]
pub enum Reader {
    /// Postgres: under the plan's snapshot.
    Postgres(postgres::rows::Connection),
    /// MySQL: our own connection.
    Mysql(mysql::rows::Connection),
}

impl Reader {
    /// Connects, and imports the plan's snapshot if it has one that can be imported.
    ///
    /// # Errors
    /// A database reason; `SnapshotLost`.
    pub async fn open(login: &Login, plan: &Plan, name: &str) -> Result<Self, Failure> {
        match plan.engine {
            Engine::Postgres => {
                let mut connection = postgres::rows::Connection::open(login, name).await?;
                let session = connection.session()?;
                match &plan.snapshot {
                    Some(snapshot) => postgres::sessions::import(session, snapshot).await?,
                    None => postgres::rows::begin(session, plan).await?,
                }
                if !plan.layout.partition_by.is_empty() {
                    postgres::sessions::keep_order(session).await?;
                }
                Ok(Self::Postgres(connection))
            }
            // no session of MySQL can join a snapshot later
            Engine::Mysql if plan.snapshot.is_some() => Err(mysql::aligned::none_left()),
            Engine::Mysql => {
                let settings = mysql_statement(&plan.filter_settings)?;
                let connection = mysql::rows::Connection::open_under(login, settings).await?;
                Ok(Self::Mysql(connection))
            }
        }
    }

    /// The server's name for the session, by which it is watched.
    ///
    /// # Errors
    /// A database reason.
    pub async fn backend(&mut self) -> Result<Backend, Failure> {
        match self {
            Self::Postgres(connection) => postgres::second::backend(connection.session()?).await,
            Self::Mysql(connection) => Ok(connection.backend()),
        }
    }

    /// Ends the session once its partition is read.
    pub(crate) async fn close(self) {
        match self {
            // its transaction ended with the last row; one that is still open is rolled back
            Self::Postgres(connection) => connection.close().await,
            Self::Mysql(connection) => connection.close().await,
        }
    }

    /// After a read that broke off, or was given up: ends what the server still does for it.
    pub(crate) async fn interrupt(&mut self, login: &Login, backend: &Backend) {
        match self {
            Self::Postgres(connection) => {
                connection.interrupt(login, backend).await;
            }
            Self::Mysql(connection) => connection.interrupt(login).await,
        }
    }

    /// Runs the statement and sends what comes.
    ///
    /// Where it ends early or is dropped, the connection is in the middle of a stream:
    /// [`Self::interrupt`] it.
    ///
    /// # Errors
    /// A database reason.
    pub async fn read(
        &mut self,
        plan: &Plan,
        statement: &str,
        chunks: ChunkSender,
        progress: &Progress,
    ) -> Result<Read, Failure> {
        match self {
            Self::Postgres(connection) => connection.read(plan, statement, chunks, progress).await,
            Self::Mysql(connection) => connection.read(plan, statement, chunks, progress).await,
        }
    }
}

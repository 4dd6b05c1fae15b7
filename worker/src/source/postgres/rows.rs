//! COPY BINARY of one partition. Its own thread runs the COPY; the driver runs all statements before and after it.

use std::io::ErrorKind;
use std::sync::Arc;

use crds::Reason;
use crds::source::Engine;
use sqlx::postgres::PgConnection;
use sqlx::postgres::types::Oid;
use sqlx::{Column as _, Connection as _, Executor as _, SqlSafeStr as _, Statement as _};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use worker_core::decoding::columns::{Column, Target};
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::planning::filtering::Settings;
use worker_core::planning::plan::Plan;
use worker_core::planning::tables::TableRef;
use worker_core::sql::rows::{hold_statement, quote_table, statements};

use super::copy::{Copied, CopyError, copy};
use super::relay::ServerAccess;
use super::second::Second;
use crate::source::backend::{Backend, Progress};
use crate::source::chunks::{ChunkSender, Read};
use crate::source::condition::{enter_here, leave_here};
use crate::source::errors::{database_failure, lost, made};
use crate::source::goodbye::{self, Opened};
use crate::source::login::Login;
use crate::source::postgres::catalog::look_up;
use crate::source::postgres::sessions::{
    begin as begin_now, commit, connect_with_access, take_snapshot,
};
use crate::source::second::{self, Second as _};
use crate::source::timeouts::DRAIN_TIMEOUT;
use crate::source::timeouts::{GOODBYE_TIMEOUT, IDLE_TIMEOUT};

/// A session that reads one partition after another. It is closed properly in every case.
#[derive(Debug)]
pub struct Connection {
    state: State,
    access: Arc<ServerAccess>,
}

#[derive(Debug)]
enum State {
    /// Between two statements.
    Idle(Opened<PgConnection>),
    /// A task reads. It also reads unwanted rows to the end, because a COPY cannot be ended in the middle.
    Reading(JoinHandle<(Opened<PgConnection>, Result<Read, Failure>)>),
    /// It is over.
    Gone,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let State::Reading(task) = &self.state {
            task.abort();
            self.access.shut_down();
        }
    }
}

/// What a task has to know of the plan.
struct Asked {
    settings: Settings,
    table: String,
    statement: String,
}

impl Connection {
    /// Connects. The caller must begin the transaction in which the rows are read.
    ///
    /// # Errors
    /// A database reason.
    pub(crate) async fn open(login: &Login, application_name: &str) -> Result<Self, Failure> {
        let (connection, access) = connect_with_access(login, application_name).await?;
        Ok(Self { state: State::Idle(connection), access: Arc::new(access) })
    }

    /// The session, between two partitions.
    pub(crate) fn session(&mut self) -> Result<&mut PgConnection, Failure> {
        match &mut self.state {
            State::Idle(connection) => Ok(connection),
            State::Reading(_) | State::Gone => Err(broke_off()),
        }
    }

    /// Says goodbye. A transaction that is still open is rolled back by that.
    pub(crate) async fn close(mut self) {
        if let State::Idle(connection) = std::mem::replace(&mut self.state, State::Gone) {
            connection.close().await;
        }
    }

    /// Runs the COPY statement and sends what comes. Where it ends early or is dropped, the connection
    /// must be interrupted.
    ///
    /// # Errors
    /// A database reason.
    pub(crate) async fn read(
        &mut self,
        plan: &Plan,
        statement: &str,
        chunks: ChunkSender,
        progress: &Progress,
    ) -> Result<Read, Failure> {
        let State::Idle(mut connection) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(broke_off());
        };
        let asked = Asked {
            settings: plan.filter_settings.clone(),
            table: quote_table(plan.engine, &plan.table),
            statement: statement.to_owned(),
        };
        let (progress, unwanted) = (progress.clone(), chunks.unwanted());
        let access = Arc::clone(&self.access);
        let task = goodbye::spawn(async move {
            let read = read(&mut connection, &access, &asked, chunks, &progress).await;
            (connection, read)
        });
        // where this is dropped, the task is there still
        self.state = State::Reading(task.ok_or_else(broke_off)?);
        let State::Reading(task) = &mut self.state else { return Err(broke_off()) };
        let ended = tokio::select! {
            ended = task => ended,
            () = unwanted => return Ok(Read::Unwanted),
        };
        let Ok((connection, read)) = ended else {
            self.state = State::Gone;
            return Err(broke_off());
        };
        self.state = State::Idle(connection);
        read
    }

    /// After a read that broke off, or was given up: ends what the server still does for it.
    pub(crate) async fn interrupt(&mut self, login: &Login, backend: &Backend) {
        let State::Reading(mut task) = std::mem::replace(&mut self.state, State::Gone) else {
            return;
        };
        let mut ended = tokio::time::timeout(IDLE_TIMEOUT, &mut task).await;
        if ended.is_err()
            && let Some(mut second) = second::cancel::<Second>(login, backend).await
        {
            ended = tokio::time::timeout(DRAIN_TIMEOUT, &mut task).await;
            if ended.is_err() {
                second.terminate(backend).await;
            }
            second.close().await;
        }
        match ended {
            Ok(Ok((connection, _))) => self.state = State::Idle(connection),
            Ok(Err(_)) => {}
            Err(_) => {
                task.abort();
                self.access.shut_down();
            }
        }
    }
}

fn broke_off() -> Failure {
    Failure::permanent(Reason::Internal, "the reader task panicked", REPORT)
}

async fn read(
    connection: &mut PgConnection,
    access: &ServerAccess,
    asked: &Asked,
    chunks: ChunkSender,
    progress: &Progress,
) -> Result<Read, Failure> {
    progress.asks();
    let entered = enter_here(connection, &asked.settings).await;
    // the driver may have left an answer unread
    let is_ready = connection.ping().await;
    progress.gets();
    entered?;
    is_ready.map_err(|error| database_failure("read the rows", &error))?;
    // keeps the queue open: the encoder must not finish before the partition is known to be complete
    let (read, _chunks) = rows(access, &asked.statement, chunks, progress).await?;
    if read == Read::Unwanted {
        return Ok(read);
    }
    progress.asks();
    let left = leave_here(connection, &asked.settings).await;
    let attached = attached(connection, &asked.table).await;
    progress.gets();
    left?;
    if attached? {
        return Err(Failure::transient(
            Reason::DatabaseFailed,
            "a partition or child was attached to the table during the read",
            "Wait for the next attempt, which reads all children of the table.",
        ));
    }
    // everything is read: what follows, uploads too, needs no snapshot
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, commit(connection)).await;
    Ok(read)
}

/// Runs the COPY statement on a thread of its own.
async fn rows(
    access: &ServerAccess,
    statement: &str,
    chunks: ChunkSender,
    progress: &Progress,
) -> Result<(Read, ChunkSender), Failure> {
    let over = || lost("read the rows", ErrorKind::BrokenPipe);
    progress.asks();
    let server = access.borrow().await;
    progress.gets();
    let mut server = server.ok_or_else(over)?;
    let (statement, progress, runtime) =
        (statement.to_owned(), progress.clone(), Handle::current());
    let thread = goodbye::spawn_blocking(move || {
        let read = copy(&mut server.stream, &statement, (&chunks, &runtime), &progress);
        match read {
            Ok(Copied { read, rest }) => {
                server.return_to_driver(rest);
                Ok((read, chunks))
            }
            Err(CopyError::Refused(failure, rest)) => {
                server.return_to_driver(rest);
                Err(failure)
            }
            Err(CopyError::Broken(failure)) => Err(failure),
        }
    });
    thread.await.map_err(|_| broke_off())?
}

/// Begins a transaction of a partition's own. The table was not locked since the plan, so its columns
/// are checked again: COPY sends bytes without their types.
///
/// # Errors
/// A database reason.
pub(crate) async fn begin(connection: &mut PgConnection, plan: &Plan) -> Result<(), Failure> {
    take_snapshot(connection, &plan.table, &plan.columns).await?;
    let found = look_up(connection, &TableRef::from(&plan.table), &[]).await?;
    // how a column is written is the manifest's choice: its bytes depend on these alone
    let bytes = |column: &Column| {
        let Column { name, type_oid, type_modifier, type_name, .. } = column;
        (name.clone(), *type_oid, *type_modifier, type_name.clone())
    };
    let found: Vec<_> = found.columns.iter().map(bytes).collect();
    let as_planned = plan.columns.iter().all(|column| found.contains(&bytes(column)));
    if as_planned && described_as_planned(connection, plan).await? {
        return Ok(());
    }
    Err(Failure::transient(
        Reason::DatabaseFailed,
        "the table was altered after planning",
        "Wait for the next attempt, which plans with the new columns.",
    ))
}

/// Whether the columns have the types of the plan. The catalog is read under the snapshot of the transaction, which may
/// be older than a change of the table that the lock waited for. The statement that took the lock is described as of
/// the lock.
async fn described_as_planned(connection: &mut PgConnection, plan: &Plan) -> Result<bool, Failure> {
    let hold = hold_statement(Engine::Postgres, &plan.columns, &plan.table, true);
    let described = connection.prepare(made(hold).into_sql_str()).await;
    let described = described.map_err(|error| database_failure("open the table", &error))?;
    let mut columns = plan.columns.iter().zip(described.columns());
    // the text of any type is text
    Ok(columns.all(|(column, found)| {
        column.target == Target::AsText || found.type_info().oid() == Some(Oid(column.type_oid))
    }))
}

/// Whether the statement has read a table that became a child after its snapshot. What else it has
/// locked may be a view's table, an extension's or a function's: whether it has become somebody's child
/// is what a later transaction sees.
async fn attached(connection: &mut PgConnection, table: &str) -> Result<bool, Failure> {
    let failed = |error| database_failure("read the table's children", &error);
    let others: Vec<i64> = sqlx::query_scalar(statements::OTHERS)
        .bind(table)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if others.is_empty() {
        return Ok(false);
    }
    commit(connection).await?;
    begin_now(connection).await?;
    let are_children = sqlx::query_scalar(statements::ARE_CHILDREN).bind(&others);
    are_children.fetch_one(&mut *connection).await.map_err(failed)
}

//! In: a plan, and the session that planned it. Out: [`SnapshotSession`], which keeps the plan's snapshot. Bound:
//! one session, of MySQL those that read. Fails: `SnapshotLost`, `SnapshotUnavailable`, and what a session
//! may fail with.

use std::time::Duration;

use crds::Reason;
use crds::extract_job::Extract;
use crds::source::Engine;
use sqlx::MySqlConnection;
use worker_core::errors::failure::Failure;
use worker_core::planning::consistency::table_lock::{self, Method};
use worker_core::planning::filtering::mysql_statement;
use worker_core::planning::implied;
use worker_core::planning::plan::{Plan, TableName};
use worker_core::sql::rows;

use crate::source::database::Database;
use crate::source::ending::Session;
use crate::source::login::Login;
use crate::source::mysql::beginning::{Beginning, Start};
use crate::source::mysql::sessions as mysql_sessions;
use crate::source::mysql::{
    self,
    aligned::{self, Aligned},
};

/// How long the session that holds the snapshot may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The plan, and the session that keeps its snapshot until this is dropped.
#[derive(Debug)]
pub struct SnapshotSession {
    /// The plan.
    pub plan: Plan,
    /// The session; none where nothing hangs on it.
    session: Option<Session>,
    /// Sessions that share the plan's snapshot, where nobody can join it later.
    pub(crate) aligned: Option<Aligned>,
}

impl SnapshotSession {
    pub(super) const fn new(plan: Plan, session: Option<Session>) -> Self {
        Self { plan, session, aligned: None }
    }

    /// One query on the very session that exported the snapshot: it answers only if the
    /// transaction lived until now. Serves as heartbeat too.
    ///
    /// # Errors
    /// `SnapshotLost`.
    pub async fn still_there(&mut self) -> Result<(), Failure> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match tokio::time::timeout(ANSWER_TIMEOUT, session.database.answers()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Failure::transient(
                Reason::SnapshotLost,
                "the snapshot session ended",
                "Wait for the next attempt, which takes a new snapshot. If the error returns, check what \
                 ends long transactions (a pooler, conflicts on a replica, an administrator).",
            )),
        }
    }

    /// Lets the snapshot go: the sessions end.
    pub async fn release(self) {
        if let Some(session) = self.session {
            session.commit().await;
        }
        if let Some(aligned) = self.aligned {
            aligned.close().await;
        }
    }

    /// Where a consistent snapshot is asked of MySQL: begins the sessions that will read, at most so many,
    /// so that they share it. Until `stopped` ends: then what the database still does for it is cancelled.
    /// A plan whose manifest has no partition becomes one partition if they cannot be started.
    ///
    /// # Errors
    /// `SnapshotUnavailable`, and what a session may fail with.
    pub(crate) async fn align(
        mut self,
        (login, extract): (&Login, &Extract),
        sessions: usize,
        stopped: impl Future<Output = ()>,
    ) -> Result<Self, Failure> {
        if self.plan.engine != Engine::Mysql {
            return Ok(self);
        }
        let Some(mut session) = self.session.take() else { return Ok(self) };
        let aligned = match &mut session.database {
            Database::Mysql(connection) if self.plan.partitions.len() > 1 => tokio::select! {
                aligned = Box::pin(together(connection, &self.plan, (login, extract), sessions)) => aligned.map(Some),
                () = stopped => Err(Failure::stopped()),
            },
            Database::Mysql(_) | Database::Postgres(_) => Ok(None),
        };
        match aligned {
            Ok(aligned) => {
                session.close().await;
                if let Some((aligned, start)) = aligned {
                    (self.aligned, self.plan.snapshot) = (Some(aligned), Some(start.point));
                    self.plan.table_lock_milliseconds = start.locked.map(milliseconds);
                }
                Ok(self)
            }
            Err(failure) if extract.partition.is_none() && implied::falls_back(&failure) => {
                session.interrupt().await;
                implied::make_one(&mut self.plan, &implied::why_not_together(&failure));
                Ok(self)
            }
            Err(failure) => {
                session.interrupt().await;
                Err(failure)
            }
        }
    }
}

/// How sessions of this server can share a snapshot of the table.
///
/// # Errors
/// `SnapshotUnavailable`, and what a session may fail with.
pub(super) async fn check_together(
    connection: &mut MySqlConnection,
    table: &TableName,
    extract: &Extract,
) -> Result<Method, Failure> {
    let method = table_lock::method(extract, &mysql_sessions::version(connection).await?);
    match method {
        Method::BinaryLog => mysql::binary_log::check(connection).await?,
        Method::TableLock => mysql::table_lock::check(connection, table).await?,
    }
    Ok(method)
}

async fn together(
    connection: &mut MySqlConnection,
    plan: &Plan,
    (login, extract): (&Login, &Extract),
    sessions: usize,
) -> Result<(Aligned, Start), Failure> {
    let method = check_together(connection, &plan.table, extract).await?;
    let Plan { table, columns, partitions, filter_settings, .. } = plan;
    let made_at = aligned::made_at(connection, table).await?;
    let first = Beginning {
        settings: mysql_statement(filter_settings)?,
        hold: rows::hold_statement(Engine::Mysql, columns, table, true),
        lock: (method == Method::TableLock).then(|| rows::quote_table(Engine::Mysql, table)),
    };
    let sessions = sessions.clamp(1, partitions.len().max(1));
    let (aligned, start) = aligned::align(login, sessions, first).await?;
    match aligned::made_at(connection, table).await {
        Ok(again) if again == made_at => Ok((aligned, start)),
        again => {
            aligned.close().await;
            Err(again.err().unwrap_or_else(altered))
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The table changed during planning.
pub(super) fn altered() -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        "the table was altered during planning",
        "Wait for the next attempt, which plans with the new columns.",
    )
}

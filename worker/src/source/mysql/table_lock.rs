//! Sessions whose snapshots start while another session locks the table (`extract.consistencyLock: brief`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::MySqlConnection;
use worker_core::errors::failure::Failure;
use worker_core::planning::consistency::table_lock::{self as core, LockFacts};
use worker_core::planning::table_name::TableName;
use worker_core::sql::rows::mysql_statements as statements;

use super::beginning::{Beginning, Start, timed};
use super::binary_log::named;
use super::rows::Connection;
use super::session::{ERROR, OK, QUERY, Session, not_understood};
use super::sessions::{ACCESS_DENIED, number};
use super::texts::texts;
use crate::source::condition::ACTION;
use crate::source::errors::Answer;
use crate::source::errors::database_failure;
use crate::source::timeouts::CONNECT_TIMEOUT;

/// What is done when the server is asked about its locks.
const ASK: &str = "check whether all writes wait for a table lock";
/// How long a transaction without a session may take to end.
const DETACHED_WAIT: Duration = Duration::from_secs(5);
/// Delay between two checks of it.
const DETACHED_POLL: Duration = Duration::from_millis(250);
/// What is done before the table is locked.
const PREPARE: &str = "set the session's settings";

/// Whether every write to a locked table waits.
///
/// # Errors
/// `SnapshotUnavailable`, and what a session may fail with.
pub(crate) async fn check(
    connection: &mut MySqlConnection,
    table: &TableName,
) -> Result<(), Failure> {
    let variables = named(connection, statements::LOCK_VARIABLES, ASK).await?;
    let plugins: i64 = sqlx::query_scalar(statements::WRITES_PAST_LOCKS)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure(ASK, &error))?;
    let cascades: i64 = sqlx::query_scalar(statements::CASCADES)
        .bind(&table.schema)
        .bind(&table.table)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure(ASK, &error))?;
    let detached = stays_open(connection).await?;
    LockFacts { variables, memcached: plugins > 0, cascades: cascades > 0, detached }.check()
}

/// Whether one of the transactions without a session that are open now is still open after [`DETACHED_WAIT`].
async fn stays_open(connection: &mut MySqlConnection) -> Result<bool, Failure> {
    let mut open = detached(connection).await?;
    let end = Instant::now() + DETACHED_WAIT;
    while !open.is_empty() {
        if Instant::now() >= end {
            return Ok(true);
        }
        tokio::time::sleep(DETACHED_POLL).await;
        let now = detached(connection).await?;
        open.retain(|id| now.contains(id));
    }
    Ok(false)
}

/// Identifiers of transactions without a session that have changed rows; none if the user may not see them.
async fn detached(connection: &mut MySqlConnection) -> Result<Vec<String>, Failure> {
    match sqlx::query_scalar(statements::DETACHED_TRANSACTIONS).fetch_all(connection).await {
        Ok(ids) => Ok(ids),
        Err(error) if number(&error) == Some(ACCESS_DENIED) => Ok(Vec::new()),
        Err(error) => Err(database_failure(ASK, &error)),
    }
}

/// Locks `table` (quoted) in the last connection, starts the snapshots of the others, and unlocks the table. The
/// last connection is closed.
///
/// # Errors
/// `SnapshotUnavailable`, `DatabaseDenied`, and what a session may fail with. The table is not locked
/// afterwards: an open lock ends with its session.
pub(super) fn start(
    connections: &mut Vec<Connection>,
    (table, first): (&str, &Beginning),
    given_up: &AtomicBool,
) -> Result<Start, Failure> {
    let goes_on =
        || if given_up.load(Ordering::Relaxed) { Err(Failure::stopped()) } else { Ok(()) };
    let Some(mut locker) = connections.pop() else { return Err(Failure::stopped()) };
    let locker = locker.session()?;
    let mut readers: Vec<&mut Session> =
        connections.iter_mut().map(Connection::session).collect::<Result<_, _>>()?;
    let readers = readers.as_mut_slice();
    timed(readers, Some(CONNECT_TIMEOUT))?;
    timed(&[&mut *locker], Some(CONNECT_TIMEOUT))?;
    for reader in &mut *readers {
        first.settings.iter().try_for_each(|settings| reader.query(ACTION, settings))?;
        reader.query(PREPARE, statements::LIMIT_WAIT)?;
    }
    locker.query(PREPARE, statements::LIMIT_LOCK)?;
    lock(locker, table, goes_on)?;
    let locked = Instant::now();
    for reader in &mut *readers {
        reader.ask("begin a transaction", QUERY, statements::BEGIN_SNAPSHOT.as_bytes())?;
    }
    for reader in &mut *readers {
        reader.answer()?;
    }
    for reader in &mut *readers {
        goes_on()?;
        texts(reader, "open the table", &first.hold)?;
    }
    let point = one(locker, statements::UTC)?;
    let server = one(locker, statements::SERVER)?;
    for reader in &mut *readers {
        if one(reader, statements::SERVER)? != server {
            return Err(core::several_servers());
        }
    }
    prove(locker, table)?;
    locker.query("unlock the table", statements::UNLOCK)?;
    let locked = locked.elapsed();
    for reader in &mut *readers {
        reader.query(PREPARE, statements::LIMIT_WAIT_OF_SESSIONS)?;
    }
    timed(readers, None)?;
    Ok(Start { point, locked: Some(locked) })
}

/// Asks for the lock until the server gives it.
fn lock(
    locker: &mut Session,
    table: &str,
    goes_on: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let statement = statements::lock(table);
    for tries_left in (0..core::TRIES).rev() {
        goes_on()?;
        locker.ask(core::LOCK, QUERY, statement.as_bytes())?;
        let packet = locker.receive()?;
        match packet.first() {
            Some(&OK) => return Ok(()),
            Some(&ERROR) => core::refused(&Answer::of_packet(&packet), tries_left)?,
            _ => return Err(not_understood("the response packet of the database")),
        }
    }
    Err(not_understood("the response packet of the database"))
}

/// The one text that a query gives.
fn one(session: &mut Session, statement: &str) -> Result<String, Failure> {
    let rows = texts(session, core::PROVE, statement)?;
    rows.into_iter()
        .flatten()
        .flatten()
        .next()
        .ok_or_else(|| not_understood("the response packet of the database"))
}

/// Asks for the table by a name that is not locked.
fn prove(locker: &mut Session, table: &str) -> Result<(), Failure> {
    locker.ask(core::PROVE, QUERY, statements::proves_lock(table).as_bytes())?;
    let packet = locker.receive()?;
    match packet.first() {
        Some(&ERROR) => core::proven(Some(&Answer::of_packet(&packet))),
        _ => core::proven(None),
    }
}

//! Sessions whose snapshots begin at one point of the binary log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};
use worker_core::errors::failure::Failure;
use worker_core::planning::consistency::{BinaryLog, never_together, one_point};
use worker_core::sql::rows::mysql_statements as statements;

use super::beginning::{Beginning, Start, timed};
use super::rows::Connection;
use super::session::{QUERY, Session};
use super::sessions::{ACCESS_DENIED, number};
use super::texts::texts;
use crate::source::condition::ACTION;
use crate::source::errors::database_failure;
use crate::source::timeouts::CONNECT_TIMEOUT;

/// How long sessions are begun anew because commits came in between.
const TRIES_TIMEOUT: Duration = Duration::from_secs(15);
/// What is done when the server is asked for its log.
const ASK: &str = "read the binary log settings";
/// How long a session may wait for the table: the server itself gives up sooner, and says why.
const LOCK_TIMEOUT: Duration = Duration::from_secs(45);

/// Whether the server's log shows which snapshots are one.
///
/// # Errors
/// `SnapshotUnavailable`.
pub(crate) async fn check(connection: &mut MySqlConnection) -> Result<(), Failure> {
    let mut says = named(connection, statements::LOG_VARIABLES, ASK).await?;
    says.extend(named(connection, statements::LOG_APPLIERS, ASK).await?);
    let values = named(connection, statements::SNAPSHOT_POINT, ASK).await?;
    let tells = values.values().any(|value| !value.is_empty());
    let filters = if tells { filters(connection).await? } else { None };
    BinaryLog { says, tells, filters }.check()
}

/// The databases that are logged alone, and those that are left out; `None`: the user may not see it.
async fn filters(connection: &mut MySqlConnection) -> Result<Option<String>, Failure> {
    match sqlx::raw_sql(statements::LOG_FILTERS).fetch_all(connection).await {
        Ok(rows) => {
            let both = rows.iter().map(|row| Ok(text(row, 2)? + &text(row, 3)?));
            both.collect::<Result<String, Failure>>().map(Some)
        }
        Err(error) if number(&error) == Some(ACCESS_DENIED) => Ok(None),
        Err(error) => Err(database_failure(ASK, &error)),
    }
}

/// Rows of names, in lower case, and values. `action`: what the statement is for.
pub(super) async fn named(
    connection: &mut MySqlConnection,
    statement: &'static str,
    action: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let rows = sqlx::raw_sql(statement).fetch_all(connection).await;
    let rows = rows.map_err(|error| database_failure(action, &error))?;
    rows.iter().map(|row| Ok((text(row, 0)?.to_lowercase(), text(row, 1)?))).collect()
}

/// A text for any type that the server reports; empty for NULL.
fn text(row: &MySqlRow, index: usize) -> Result<String, Failure> {
    let found = row.try_get_unchecked::<Option<String>, _>(index);
    found.map(Option::unwrap_or_default).map_err(|error| database_failure(ASK, &error))
}

/// Begins all snapshots anew until they are one, and returns their point.
///
/// # Errors
/// `SnapshotUnavailable`, and what a session may fail with.
pub(super) fn together(
    connections: &mut [Connection],
    first: &Beginning,
    given_up: &AtomicBool,
) -> Result<Start, Failure> {
    let goes_on =
        || if given_up.load(Ordering::Relaxed) { Err(Failure::stopped()) } else { Ok(()) };
    let servers: BTreeSet<_> =
        connections.iter().map(|session| session.server().to_owned()).collect();
    if servers.len() > 1 {
        return Err(never_together(connections.len()));
    }
    let mut sessions: Vec<&mut Session> =
        connections.iter_mut().map(Connection::session).collect::<Result<_, _>>()?;
    let sessions = sessions.as_mut_slice();
    timed(sessions, Some(CONNECT_TIMEOUT))?;
    if let Some(settings) = &first.settings {
        sessions.iter_mut().try_for_each(|session| session.query(ACTION, settings))?;
    }
    let end = Instant::now() + TRIES_TIMEOUT;
    loop {
        goes_on()?;
        // all are asked before any is heard: as few commits as can be come in between
        for session in &mut *sessions {
            session.ask("begin a transaction", QUERY, statements::BEGIN_SNAPSHOT.as_bytes())?;
        }
        for session in &mut *sessions {
            session.answer()?;
        }
        let points: Vec<_> =
            sessions.iter_mut().map(|session| point(session)).collect::<Result<_, _>>()?;
        if let Some(point) = one_point(&points)? {
            timed(sessions, Some(LOCK_TIMEOUT))?;
            for session in &mut *sessions {
                goes_on()?;
                texts(session, "open the table", &first.hold)?;
            }
            timed(sessions, None)?;
            return Ok(Start { point: point.to_owned(), locked: None });
        }
        if Instant::now() >= end {
            return Err(never_together(sessions.len()));
        }
    }
}

/// Where the session's snapshot began.
fn point(session: &mut Session) -> Result<Option<String>, Failure> {
    let mut values = BTreeMap::new();
    for row in
        texts(session, "read the binary log position of the snapshot", statements::SNAPSHOT_POINT)?
    {
        if let [Some(name), Some(value)] = row.as_slice() {
            values.insert(name.to_lowercase(), value.clone());
        }
    }
    let value = |name| values.get(name).filter(|value: &&String| !value.is_empty());
    let (file, position) = (value("binlog_snapshot_file"), value("binlog_snapshot_position"));
    Ok(file.zip(position).map(|(file, position)| format!("{file}:{position}")))
}

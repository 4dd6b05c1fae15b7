//! In: a log-in, how many sessions. Out: sessions whose snapshots are one, and the point of the binary
//! log that shows it. Bound: so many sessions, tries until a deadline. Fails: `SnapshotUnavailable`,
//! and what a session may fail with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crds::Reason;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};
use tokio::task::JoinHandle;
use worker_core::consistency::{BinaryLog, never_together, one_point};
use worker_core::error::Failure;
use worker_core::plan::TableName;
use worker_core::rows::mysql_statements as statements;

use super::rows::{Connection, broke_off, cut, texts};
use super::session::{QUERY, Session, broken};
use super::sessions::{ACCESS_DENIED, number};
use crate::ending::{self, CANCEL_TIMEOUT};
use crate::filtering::ACTION;
use crate::goodbye;
use crate::sessions::{CONNECT_TIMEOUT, Login, database_failure};
use crate::watch::Backend;

/// How long sessions are begun anew because commits came in between.
const TRIES_TIMEOUT: Duration = Duration::from_secs(15);
/// What is done when the server is asked for its log.
const ASK: &str = "ask for the binary log";
/// How long a session may wait for the table: the server itself gives up sooner, and says why.
const HOLD_TIMEOUT: Duration = Duration::from_secs(45);
/// Between two tries to cancel what sessions wait for.
const AGAIN: Duration = Duration::from_millis(100);
/// Log-ins that are under way at a time.
const LOGINS_AT_ONCE: usize = 4;

/// Sessions that see one snapshot, for whichever range comes next.
#[derive(Debug, Clone)]
pub struct Aligned {
    sessions: Arc<Mutex<Vec<Connection>>>,
    /// How many there were.
    pub count: usize,
}

impl Aligned {
    /// A session that reads nothing now; `None` where one broke off.
    pub fn take(&self) -> Option<Connection> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Ends those that read nothing now, properly.
    pub async fn close(&self) {
        let sessions = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *sessions)
        };
        futures::future::join_all(sessions.into_iter().map(Connection::close)).await;
    }

    /// The session has read a range to its end.
    pub fn give_back(&self, session: Connection) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

/// Whether the server's log shows which snapshots are one.
///
/// # Errors
/// `SnapshotUnavailable`.
pub(crate) async fn check_log(connection: &mut MySqlConnection) -> Result<(), Failure> {
    let mut says = named(connection, statements::LOG_VARIABLES).await?;
    says.extend(named(connection, statements::LOG_APPLIERS).await?);
    let told = named(connection, statements::SNAPSHOT_POINT).await?;
    let tells = told.values().any(|value| !value.is_empty());
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

async fn named(
    connection: &mut MySqlConnection,
    statement: &'static str,
) -> Result<BTreeMap<String, String>, Failure> {
    let rows = sqlx::raw_sql(statement).fetch_all(connection).await;
    let rows = rows.map_err(|error| database_failure(ASK, &error))?;
    rows.iter().map(|row| Ok((text(row, 0)?.to_lowercase(), text(row, 1)?))).collect()
}

/// A text whatever the server calls its type; empty for NULL.
fn text(row: &MySqlRow, index: usize) -> Result<String, Failure> {
    let found = row.try_get_unchecked::<Option<String>, _>(index);
    found.map(Option::unwrap_or_default).map_err(|error| database_failure(ASK, &error))
}

/// When the table was made: another one in its place has another time.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn made_at(
    connection: &mut MySqlConnection,
    table: &TableName,
) -> Result<Option<String>, Failure> {
    let asked = sqlx::query_scalar(statements::MADE_AT).bind(&table.schema).bind(&table.table);
    let found: Option<Option<String>> = asked
        .fetch_optional(connection)
        .await
        .map_err(|error| database_failure("read when the table was created", &error))?;
    Ok(found.flatten())
}

/// Logs in so often, and begins all snapshots anew until they are one. Each session then holds the table
/// by the query of `first`, so that no other takes its place until the last range is read. Where this is
/// dropped, what the sessions wait for is cancelled, and they end.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn align(
    login: &Login,
    count: usize,
    first: Beginning,
) -> Result<(Aligned, String), Failure> {
    let mut sessions: Vec<Connection> = stream::iter(0..count)
        .map(|_| Connection::open(login))
        .buffer_unordered(LOGINS_AT_ONCE)
        .try_collect()
        .await?;
    let backends = sessions.iter().map(Connection::backend).collect();
    let sockets = sessions
        .iter_mut()
        .filter_map(|session| session.session().ok()?.socket().try_clone().ok())
        .collect();
    let given_up = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&given_up);
    let thread = goodbye::spawn_blocking(move || {
        let point = together(&mut sessions, &first, &ends)?;
        Ok((sessions, point))
    });
    let login = login.clone();
    let mut beginning = Aligning { login, backends, sockets, given_up, thread: Some(thread) };
    let (sessions, point) = beginning.ended().await?;
    Ok((Aligned { sessions: Arc::new(Mutex::new(sessions)), count }, point))
}

/// A thread whose sessions may wait for a lock of somebody else.
struct Aligning {
    login: Login,
    backends: Vec<Backend>,
    sockets: Vec<TcpStream>,
    given_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<Begun>>,
}

/// What the thread ends with.
type Begun = Result<(Vec<Connection>, String), Failure>;

impl Aligning {
    async fn ended(&mut self) -> Begun {
        let Some(thread) = &mut self.thread else { return Err(broke_off()) };
        let ended = thread.await;
        self.thread = None;
        ended.map_err(|_| broke_off())?
    }
}

impl Drop for Aligning {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.given_up.store(true, Ordering::Relaxed);
        let (backends, sockets) =
            (std::mem::take(&mut self.backends), std::mem::take(&mut self.sockets));
        goodbye::spawn(give_up(self.login.clone(), backends, sockets, thread));
    }
}

/// Cancels what the sessions wait for until their thread has ended; where the server cannot be asked to,
/// closes them.
async fn give_up(
    login: Login,
    backends: Vec<Backend>,
    sockets: Vec<TcpStream>,
    mut thread: JoinHandle<Begun>,
) {
    let cancelling = async {
        // a statement that has come meanwhile is another one
        while tokio::time::timeout(AGAIN, &mut thread).await.is_err() {
            if let Some(backend) = backends.first()
                && let Some(mut second) = ending::cancel(&login, backend).await
            {
                for backend in backends.iter().skip(1) {
                    second.cancel(backend).await;
                }
                second.close().await;
            }
        }
    };
    if tokio::time::timeout(CANCEL_TIMEOUT, cancelling).await.is_err() {
        for socket in &sockets {
            cut(Some(socket));
        }
    }
}

/// What each session is asked first.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The settings that a condition is read under; `None` where there is none.
    pub(crate) settings: Option<String>,
    /// The query that holds the table.
    pub(crate) hold: String,
}

fn together(
    connections: &mut [Connection],
    first: &Beginning,
    given_up: &AtomicBool,
) -> Result<String, Failure> {
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
            timed(sessions, Some(HOLD_TIMEOUT))?;
            for session in &mut *sessions {
                goes_on()?;
                texts(session, "open the table", &first.hold)?;
            }
            timed(sessions, None)?;
            return Ok(point.to_owned());
        }
        if Instant::now() >= end {
            return Err(never_together(sessions.len()));
        }
    }
}

fn timed(sessions: &[&mut Session], timeout: Option<Duration>) -> Result<(), Failure> {
    sessions.iter().try_for_each(|session| {
        session
            .socket()
            .set_read_timeout(timeout)
            .map_err(|error| broken("begin a transaction", &error))
    })
}

/// Where the session's snapshot began.
fn point(session: &mut Session) -> Result<Option<String>, Failure> {
    let mut told = BTreeMap::new();
    for row in texts(
        session,
        "read where the snapshot began in the binary log",
        statements::SNAPSHOT_POINT,
    )? {
        if let [Some(name), Some(value)] = row.as_slice() {
            told.insert(name.to_lowercase(), value.clone());
        }
    }
    let value = |name| told.get(name).filter(|value: &&String| !value.is_empty());
    let (file, position) = (value("binlog_snapshot_file"), value("binlog_snapshot_position"));
    Ok(file.zip(position).map(|(file, position)| format!("{file}:{position}")))
}

/// A range broke off: what that means for the others.
pub(crate) fn not_again(mut failure: Failure) -> Failure {
    let message = &failure.report.message;
    failure.report.message = format!(
        "{message}; the snapshot of its session cannot be had again, so the whole run restarts"
    );
    failure
}

/// No session is left for a range.
pub(crate) fn none_left() -> Failure {
    Failure::transient(
        Reason::SnapshotLost,
        "a session that shared the snapshot is gone",
        "the next attempt takes a new snapshot; if it happens again, look for what ends sessions",
    )
}

//! In: credentials, the number of sessions. Out: sessions with the same snapshot, and its proof: a position of
//! the binary log, or a lock of the table. Bound: that many sessions, tries until a deadline. Fails:
//! `SnapshotUnavailable`, and as a session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crds::Reason;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sqlx::MySqlConnection;
use tokio::task::JoinHandle;
use worker_core::errors::failure::Failure;
use worker_core::planning::plan::TableName;
use worker_core::sql::rows::mysql_statements as statements;

use super::beginning::{Beginning, Start};
use super::binary_log;
use super::rows::Connection;
use super::second::Second;
use super::session::broke_off;
use super::table_lock;
use crate::source::backend::Backend;
use crate::source::errors::database_failure;
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::second::{self, Second as _};
use crate::source::stream::Socket;
use crate::source::timeouts::CANCEL_TIMEOUT;

/// Between two tries to cancel what sessions wait for.
const AGAIN: Duration = Duration::from_millis(100);
/// Connections that are in flight at a time.
const LOGINS_AT_ONCE: usize = 4;

/// Sessions that see one snapshot, for whichever partition comes next.
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

    /// The session has read a partition to its end.
    pub fn give_back(&self, session: Connection) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
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

/// Connects so often, and begins all snapshots again until they are equal. Each session then holds the table
/// by the query of `first`, so that no other takes its place until the last partition is read. Where this is
/// dropped, what the sessions wait for is cancelled, and they end.
///
/// # Errors
/// See the head of this file.
pub(crate) async fn align(
    login: &Login,
    count: usize,
    first: Beginning,
) -> Result<(Aligned, Start), Failure> {
    let opened = count + usize::from(first.lock.is_some());
    let mut sessions: Vec<Connection> = stream::iter(0..opened)
        .map(|_| Connection::open(login))
        .buffer_unordered(LOGINS_AT_ONCE)
        .try_collect()
        .await?;
    let backends = sessions.iter().map(Connection::backend).collect();
    let sockets = sessions
        .iter_mut()
        .filter_map(|session| session.session().ok()?.stream.socket().ok())
        .collect();
    let given_up = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&given_up);
    let thread = goodbye::spawn_blocking(move || {
        let start = match &first.lock {
            Some(table) => table_lock::start(&mut sessions, (table, &first), &ends)?,
            None => binary_log::together(&mut sessions, &first, &ends)?,
        };
        Ok((sessions, start))
    });
    let login = login.clone();
    let mut beginning = Aligning { login, backends, sockets, given_up, thread: Some(thread) };
    let (sessions, start) = beginning.ended().await?;
    Ok((Aligned { sessions: Arc::new(Mutex::new(sessions)), count }, start))
}

/// A thread whose sessions may wait for a lock of somebody else.
struct Aligning {
    login: Login,
    backends: Vec<Backend>,
    sockets: Vec<Socket>,
    given_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<Begun>>,
}

/// What the thread ends with.
type Begun = Result<(Vec<Connection>, Start), Failure>;

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
    sockets: Vec<Socket>,
    mut thread: JoinHandle<Begun>,
) {
    let cancelling = async {
        // a statement that has come meanwhile is another one
        while tokio::time::timeout(AGAIN, &mut thread).await.is_err() {
            if let Some(backend) = backends.first()
                && let Some(mut second) = second::cancel::<Second>(&login, backend).await
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
            socket.shutdown();
        }
    }
}

/// Adds to the failure of one partition that the whole run restarts.
pub(crate) fn not_again(mut failure: Failure) -> Failure {
    let message = &failure.report.message;
    failure.report.message =
        format!("{message}; the whole run restarts because the snapshot of this session is lost");
    failure
}

/// The failure if no session is left for a partition.
pub(crate) fn none_left() -> Failure {
    Failure::transient(
        Reason::SnapshotLost,
        "a session that shared the snapshot ended",
        "Wait for the next attempt, which takes a new snapshot. If the error returns, check what ends \
         sessions.",
    )
}

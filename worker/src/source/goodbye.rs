//! In: an open connection. Out: the same connection, which sends the protocol's goodbye whenever it is dropped.
//! Bound: [`GOODBYE_TIMEOUT`] for each, [`ALL_TIMEOUT`] for all of a process. Fails: nothing.
//!
//! A connection that is only dropped is an "unexpected EOF" in the log of Postgres and an aborted client
//! of MySQL. Many paths drop a connection (an error, a cancelled future, a signal), so the drop itself sends the
//! goodbye in a task of its own, and the process waits for these tasks before it ends.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::{Connection as _, MySqlConnection, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::timeouts::{GOODBYE_TIMEOUT, IDLE_TIMEOUT};

/// How long a process that has come to its end waits for those that are being said.
const ALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take after nobody waits for it any more.
const LOG_IN_TIMEOUT: Duration = CONNECT_TIMEOUT.saturating_add(GOODBYE_TIMEOUT);
/// Goodbyes that are being said, and what has to be waited for before they can be.
static IN_FLIGHT: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// One of them.
struct Counted;

impl Counted {
    fn new() -> Self {
        IN_FLIGHT.send_modify(|count| *count += 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        IN_FLIGHT.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A task that the process waits for before it ends; `None` where there is no runtime any more.
pub(crate) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Option<JoinHandle<T>> {
    let (runtime, counted) = (Handle::try_current().ok()?, Counted::new());
    Some(runtime.spawn(async move {
        let _counted = counted;
        task.await
    }))
}

/// The same on a thread that may block.
pub(crate) fn spawn_blocking<T: Send + 'static>(
    task: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let counted = Counted::new();
    tokio::task::spawn_blocking(move || {
        let _counted = counted;
        task()
    })
}

/// Returns once all goodbyes are sent, so that the process may end.
pub async fn all_said() {
    let mut in_flight = IN_FLIGHT.subscribe();
    if tokio::time::timeout(ALL_TIMEOUT, in_flight.wait_for(|count| *count == 0)).await.is_err() {
        tracing::warn!("a session was not closed in time; the server ends it");
    }
}

/// A connection that can say goodbye.
pub trait Driven: Send + 'static {
    /// Reads what is left of the last statement's answer, and throws it away.
    fn drained(&mut self) -> impl Future<Output = ()> + Send;

    /// Says goodbye. A transaction that is still open is rolled back by that, and without a line in the
    /// server's log.
    fn leave(self) -> impl Future<Output = ()> + Send;
}

impl Driven for PgConnection {
    async fn drained(&mut self) {
        // the error that ends a cancelled statement is an answer too, and more follows it
        while let Err(sqlx::Error::Database(_)) = self.ping().await {}
    }

    async fn leave(self) {
        let _ = self.close().await;
    }
}

impl Driven for MySqlConnection {
    async fn drained(&mut self) {
        while let Err(sqlx::Error::Database(_)) = self.ping().await {}
    }

    async fn leave(self) {
        let _ = self.close().await;
    }
}

/// A connection through the driver, which says goodbye when it is dropped.
#[derive(Debug)]
pub struct Opened<C: Driven>(Option<C>);

impl<C: Driven> Opened<C> {
    /// Says goodbye, and returns once that is done.
    pub(crate) async fn close(mut self) {
        let Some(connection) = self.0.take() else { return };
        if let Some(closing) = spawn(leave(connection)) {
            let _ = closing.await;
        }
    }
}

/// Connects on its own thread. If the caller stops waiting, the connection is still completed and closed properly. The
/// driver yields after every five of the 4,096 rounds of SCRAM. On a worker of the runtime, each yield polls for events
/// and wakes another worker. Measured for a run of 1,000 rows: 818 to 968 context switches instead of 1,964 to 3,727.
pub(crate) async fn open<C: Driven>(
    log_in: impl Future<Output = Result<C, sqlx::Error>> + Send + 'static,
) -> Result<Opened<C>, sqlx::Error> {
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let runtime = Handle::try_current().map_err(|_| sqlx::Error::WorkerCrashed)?;
    let opening = async move {
        let opened = tokio::time::timeout(LOG_IN_TIMEOUT, log_in).await;
        opened.map_err(|_| late())?.map(|connection| Opened(Some(connection)))
    };
    let opening = spawn_blocking(move || runtime.block_on(opening));
    opening.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

async fn leave(connection: impl Driven) {
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, connection.leave()).await;
}

impl<C: Driven> Drop for Opened<C> {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        spawn(async move {
            // bytes that nobody has read would turn the goodbye into a reset
            let _ = tokio::time::timeout(IDLE_TIMEOUT, connection.drained()).await;
            leave(connection).await;
        });
    }
}

impl<C: Driven> Deref for Opened<C> {
    type Target = C;

    fn deref(&self) -> &C {
        match &self.0 {
            Some(connection) => connection,
            None => unreachable!("it is taken where it ends alone"),
        }
    }
}

impl<C: Driven> DerefMut for Opened<C> {
    fn deref_mut(&mut self) -> &mut C {
        match &mut self.0 {
            Some(connection) => connection,
            None => unreachable!("it is taken where it ends alone"),
        }
    }
}

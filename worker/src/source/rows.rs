//! In: a [`KeyRange`](worker_core::ranges::KeyRange) as a statement. Out: rows (wire bytes), in
//! chunks. Bound: the bytes of all chunks waiting. Fails: [`Failure`] with a database reason.

use std::sync::Arc;

use crds::source::Engine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use worker_core::error::Failure;
use worker_core::filtering::mysql_statement;
use worker_core::plan::Plan;

use crate::source::mysql;
use crate::source::postgres;
use crate::source::sessions::Login;
use crate::source::watch::{self, Backend, Progress};

/// Rows travel in chunks of this size, so that threads wake seldom.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks waiting at most; bytes are what really limits them.
const CHUNKS_MAX: usize = 64;

/// Wire bytes on their way to the decoder. They count against the queue until dropped.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// The near end of a queue of chunks that is bounded in bytes.
#[derive(Debug)]
pub struct ChunkSender {
    chunks: mpsc::Sender<Chunk>,
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// A session that reads one range.
#[derive(Debug)]
pub enum Reader {
    /// Postgres: under the plan's snapshot.
    Postgres(postgres::rows::Connection),
    /// MySQL: our own connection.
    Mysql(mysql::rows::Connection),
}

impl Reader {
    /// Logs in, and takes the plan's snapshot over where it has one that can be joined.
    ///
    /// # Errors
    /// A database reason; `SnapshotLost`.
    pub async fn open(login: &Login, plan: &Plan, name: &str) -> Result<Self, Failure> {
        match plan.engine {
            Engine::Postgres => {
                let mut connection = postgres::sessions::connect(login, name).await?;
                match &plan.snapshot {
                    Some(snapshot) => {
                        postgres::sessions::import(&mut connection, snapshot).await?;
                    }
                    None => postgres::rows::begin(&mut connection, plan).await?,
                }
                if !plan.shape.partition_by.is_empty() {
                    postgres::sessions::keep_order(&mut connection).await?;
                }
                Ok(Self::Postgres(postgres::rows::Connection::new(connection)))
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
            Self::Postgres(connection) => watch::postgres_backend(connection.session()?).await,
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
            Self::Mysql(connection) => {
                connection.read(statement, &plan.columns, chunks, progress).await
            }
        }
    }
}

/// How reading ended without a failure of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The database has sent everything.
    Whole,
    /// Nobody takes the chunks any more; the decoder knows why.
    Unwanted,
}

/// A queue that holds at most so many bytes; a larger chunk goes through alone.
pub fn queue(bytes_max: usize) -> (ChunkSender, mpsc::Receiver<Chunk>) {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX).clamp(1, 1 << 28);
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    (ChunkSender { chunks, room, bytes_max }, receiver)
}

impl ChunkSender {
    /// Ends once nobody takes the chunks any more. Until it is dropped, the taker waits for more.
    pub(crate) fn unwanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let chunks = self.chunks.clone();
        async move { chunks.closed().await }
    }

    pub(crate) async fn send(&self, bytes: Vec<u8>) -> Read {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.bytes_max);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size).await else {
            return Read::Unwanted;
        };
        match self.chunks.send(Chunk { bytes, _room: room }).await {
            Ok(()) => Read::Whole,
            Err(_) => Read::Unwanted,
        }
    }
}

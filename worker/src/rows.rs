//! In: a [`KeyRange`](worker_core::ranges::KeyRange) as a COPY statement. Out: rows (wire bytes), in
//! chunks. Bound: the bytes of all chunks waiting. Fails: [`Failure`] with a database reason.

use std::sync::Arc;

use futures::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use worker_core::error::Failure;

use crate::sessions::database_failure;
use crate::watch::Progress;

/// Rows come one by one; they travel in chunks of this size, so that threads wake seldom.
const CHUNK_BYTES: usize = 256 * 1024;
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
    async fn send(&self, bytes: Vec<u8>) -> Read {
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

/// Runs the COPY statement and sends what comes.
///
/// Where it ends early or is dropped, it leaves the connection in the middle of the stream: close it then.
///
/// # Errors
/// A database reason.
pub async fn read(
    connection: &mut PgConnection,
    statement: &str,
    chunks: ChunkSender,
    progress: &Progress,
) -> Result<Read, Failure> {
    progress.asks();
    let stream = connection.copy_out_raw(statement).await;
    progress.gets();
    let mut stream = stream.map_err(|error| database_failure("read the rows", &error))?;
    let mut filling = Vec::with_capacity(CHUNK_BYTES);
    loop {
        progress.asks();
        let next = stream.try_next().await;
        progress.gets();
        let next = next.map_err(|error| database_failure("read the rows", &error))?;
        let Some(bytes) = next else { break };
        if !filling.is_empty() && filling.len() + bytes.len() > CHUNK_BYTES {
            let full = std::mem::replace(&mut filling, Vec::with_capacity(CHUNK_BYTES));
            if chunks.send(full).await == Read::Unwanted {
                return Ok(Read::Unwanted);
            }
        }
        filling.extend_from_slice(&bytes);
    }
    Ok(chunks.send(filling).await)
}

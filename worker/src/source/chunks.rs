//! Rows as the database sends them, on their way to the decoder.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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

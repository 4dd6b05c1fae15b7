//! Rows as the database sends them, on their way to the decoder.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Rows travel in chunks of this size, so that threads wake seldom.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks waiting at most; bytes are what really limits them.
const CHUNKS_MAX: usize = 64;

/// Maximum number of buffers that wait for their next use.
const POOL_MAX: usize = 8;

/// Buffers of [`CHUNK_BYTES`] that no chunk uses. They are reused without being cleared.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer for wire bytes.
#[derive(Debug)]
pub(crate) struct ChunkBuffer {
    /// All of the buffer.
    pub(crate) bytes: Vec<u8>,
    /// Bytes at its start that are filled.
    pub(crate) filled: usize,
}

impl ChunkBuffer {
    /// A buffer that is full of these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { filled: bytes.len(), bytes }
    }

    /// The unfilled rest of the buffer.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }
}

/// Wire bytes on their way to the decoder. They count against the queue until dropped.
#[derive(Debug)]
pub struct Chunk {
    filling: ChunkBuffer,
    pool: Pool,
    _room: OwnedSemaphorePermit,
}

impl Chunk {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.filling.bytes[..self.filling.filled]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.filling.bytes);
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() == CHUNK_BYTES && pool.len() < POOL_MAX {
            pool.push(bytes);
        }
    }
}

/// The near end of a queue of chunks that is bounded in bytes.
#[derive(Debug)]
pub struct ChunkSender {
    chunks: mpsc::Sender<Chunk>,
    room: Arc<Semaphore>,
    bytes_max: u32,
    pool: Pool,
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
    (ChunkSender { chunks, room, bytes_max, pool: Pool::default() }, receiver)
}

impl ChunkSender {
    /// Ends once nobody takes the chunks any more. Until it is dropped, the taker waits for more.
    pub(crate) fn unwanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let chunks = self.chunks.clone();
        async move { chunks.closed().await }
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.chunks.is_closed()
    }

    /// A buffer of at least this many bytes.
    pub(crate) fn buffer(&self, bytes: usize) -> ChunkBuffer {
        let used = || self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = match bytes {
            0..=CHUNK_BYTES => used().unwrap_or_else(|| vec![0; CHUNK_BYTES]),
            bytes => vec![0; bytes],
        };
        ChunkBuffer { bytes, filled: 0 }
    }

    pub(crate) async fn send(&self, filling: ChunkBuffer) -> Read {
        let size = u32::try_from(filling.bytes.len()).unwrap_or(u32::MAX).min(self.bytes_max);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size).await else {
            return Read::Unwanted;
        };
        let chunk = Chunk { filling, pool: Arc::clone(&self.pool), _room: room };
        match self.chunks.send(chunk).await {
            Ok(()) => Read::Whole,
            Err(_) => Read::Unwanted,
        }
    }
}

//! In: a connection between two statements, and a COPY statement. Out: the messages of its rows, unchanged, in chunks that
//! end between two messages. Bound: one chunk, or one row if that is longer. Fails: with the server's own error, or if the
//! connection ends.
//!
//! Its own thread reads and blocks. The driver would wake a task, take two locks and copy for each row.

use std::io::{self, ErrorKind, Write as _};

use crds::Reason;
use tokio::runtime::Handle;
use worker_core::errors::failure::Failure;
use worker_core::errors::postgres::{self, Fields};

use crate::source::backend::Progress;
use crate::source::certificates::tls_failure;
use crate::source::chunks::{CHUNK_BYTES, ChunkBuffer, ChunkSender, Read};
use crate::source::errors::{database_failure, lost};
use crate::source::stream::Stream;

/// The action that errors name.
const READ: &str = "read the rows";
/// Kind and length of a message.
const HEAD_BYTES: usize = 5;
/// A chunk with less room than this is sent on, so that reads of the socket are not small.
const ROOM_BYTES: usize = 32 * 1024;
/// Longest message of any kind other than rows.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest message of a row: the server's own limit is 1 GiB.
const ROW_BYTES_MAX: usize = (1 << 30) + 1024;

/// A statement that was read to its end.
#[derive(Debug)]
pub(super) struct Copied {
    /// Whether the rows were taken.
    pub(super) read: Read,
    /// Bytes that the server sent after the end of the statement. They are for the driver.
    pub(super) rest: Vec<u8>,
}

/// Why a statement was not read to its end.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The server reported an error, and waits for the next statement.
    Refused(Failure, Vec<u8>),
    /// The connection has ended, or its state is unknown.
    Broken(Failure),
}

/// Progress of the answer.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Waiting for rows or for the end of the rows.
    Rows,
    /// All rows were received, or the statement failed.
    Done,
    /// The server waits for the next statement.
    Ready,
}

/// The answer to a COPY statement.
struct Copy<'a> {
    stream: &'a mut Stream,
    chunks: &'a ChunkSender,
    runtime: &'a Handle,
    progress: &'a Progress,
    filling: ChunkBuffer,
    /// End of the last complete message of rows.
    whole: usize,
    state: State,
    /// Whether the receiver is gone. The rows are then read and dropped until the statement ends.
    unwanted: bool,
    /// Whether the last read emptied the socket.
    emptied: bool,
    error: Option<Failure>,
}

/// Runs a COPY statement and sends its rows. Blocks.
///
/// # Errors
/// [`CopyError`].
pub(super) fn copy(
    stream: &mut Stream,
    statement: &str,
    (chunks, runtime): (&ChunkSender, &Handle),
    progress: &Progress,
) -> Result<Copied, CopyError> {
    let mut query = vec![b'Q'];
    let length = u32::try_from(statement.len() + 5).unwrap_or(u32::MAX);
    query.extend(length.to_be_bytes());
    query.extend_from_slice(statement.as_bytes());
    query.push(0);
    if chunks.is_unwanted() {
        return Ok(Copied { read: Read::Unwanted, rest: Vec::new() });
    }
    progress.asks();
    let sent = stream.write_all(&query).and_then(|()| stream.flush());
    progress.gets();
    sent.map_err(|error| CopyError::Broken(broken(&error)))?;
    let filling = chunks.buffer(CHUNK_BYTES);
    let mut copy = Copy {
        stream,
        chunks,
        runtime,
        progress,
        filling,
        whole: 0,
        state: State::Rows,
        unwanted: false,
        emptied: false,
        error: None,
    };
    copy.run()?;
    let rest = copy.filling.bytes[..copy.filling.filled].to_vec();
    match copy.error {
        Some(failure) => Err(CopyError::Refused(failure, rest)),
        None if copy.unwanted => Ok(Copied { read: Read::Unwanted, rest }),
        None => Ok(Copied { read: Read::Whole, rest }),
    }
}

impl Copy<'_> {
    fn run(&mut self) -> Result<(), CopyError> {
        while self.state != State::Ready {
            let needed = self.walk()?;
            if self.state == State::Ready {
                break;
            }
            let room = self.filling.room().len();
            // without complete messages, another buffer is needed only for a message that does not fit
            if room < needed || (self.whole > 0 && room < ROOM_BYTES) {
                self.pass_on(needed);
            }
            self.receive()?;
        }
        Ok(())
    }

    /// Reads some bytes.
    fn receive(&mut self) -> Result<(), CopyError> {
        self.progress.asks();
        let count = self.stream.read_rows(self.filling.room(), &mut self.emptied);
        self.progress.gets();
        match count {
            Ok(0) => Err(self.ended()),
            Ok(count) => {
                self.filling.filled += count;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.ended()),
            Err(error) => {
                Err(CopyError::Broken(self.error.take().unwrap_or_else(|| broken(&error))))
            }
        }
    }

    /// The server has closed the connection. An error that it sent before is the reason.
    fn ended(&mut self) -> CopyError {
        CopyError::Broken(self.error.take().unwrap_or_else(|| {
            Failure::transient(
                Reason::DatabaseUnreachable,
                "read the rows: the connection to the database ended before the last row (unexpected end of \
                 file)",
                "Check the server's log for the reason: an administrator, a shutdown or a time limit such \
                 as transaction_timeout may have ended the session. If the log names none, check what drops \
                 connections between the pods and the database (a firewall, a proxy).",
            )
        }))
    }

    fn not_understood(&mut self) -> CopyError {
        let invalid = || database_failure(READ, &sqlx::Error::Protocol(String::new()));
        CopyError::Broken(self.error.take().unwrap_or_else(invalid))
    }

    /// Processes all complete messages. Returns how many bytes of the next message, or of its head, are missing.
    fn walk(&mut self) -> Result<usize, CopyError> {
        loop {
            let rest = &self.filling.bytes[self.whole..self.filling.filled];
            let Some(&[kind, a, b, c, d]) = rest.first_chunk::<HEAD_BYTES>() else {
                return Ok(HEAD_BYTES);
            };
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            // the text of an error may contain a value
            let may_be_long = matches!(kind, b'd' | b'E' | b'N');
            let longest = if may_be_long { ROW_BYTES_MAX } else { MESSAGE_BYTES_MAX };
            if !(4..longest).contains(&length) {
                return Err(self.not_understood());
            }
            let end = self.whole + 1 + length;
            if end > self.filling.filled {
                return Ok(end - self.filling.filled);
            }
            if kind == b'd' && self.state == State::Rows {
                self.whole = end;
            } else {
                self.message(kind, end)?;
            }
            if self.state == State::Ready {
                return Ok(0);
            }
        }
    }

    /// Handles a message other than rows, and removes it from the chunk.
    fn message(&mut self, kind: u8, end: usize) -> Result<(), CopyError> {
        let body = &self.filling.bytes[self.whole + HEAD_BYTES..end];
        match (kind, &self.state) {
            // the start of the rows, a notice, a setting, a notification; the statement's end
            (b'H' | b'N' | b'S' | b'A', _) | (b'C', State::Done) => {}
            (b'c', State::Rows) => self.state = State::Done,
            (b'E', _) => {
                self.error = Some(postgres::failure(READ, &Fields::of_message(body).answer()));
                self.state = State::Done;
            }
            (b'Z', State::Done) => self.state = State::Ready,
            _ => return Err(self.not_understood()),
        }
        self.filling.bytes.copy_within(end..self.filling.filled, self.whole);
        self.filling.filled -= end - self.whole;
        if self.state != State::Rows {
            self.pass_on(0);
        }
        Ok(())
    }

    /// Sends the complete messages. Copies the rest to another buffer with room for `needed` more bytes.
    fn pass_on(&mut self, needed: usize) {
        let rest = self.filling.filled - self.whole;
        let mut next = self.chunks.buffer((rest + needed).max(CHUNK_BYTES));
        next.bytes[..rest].copy_from_slice(&self.filling.bytes[self.whole..self.filling.filled]);
        next.filled = rest;
        let mut full = std::mem::replace(&mut self.filling, next);
        full.filled = self.whole;
        self.whole = 0;
        if full.filled > 0 && !self.unwanted {
            self.unwanted = self.runtime.block_on(self.chunks.send(full)) == Read::Unwanted;
        }
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(Some(error), ""),
        None => lost(READ, error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::source::chunks;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[kind], length.as_slice(), body].concat()
    }

    fn error(code: &str) -> Vec<u8> {
        message(b'E', format!("SERROR\0C{code}\0Mno\0\0").as_bytes())
    }

    fn ready() -> Vec<u8> {
        message(b'Z', b"T")
    }

    /// Reads an answer that arrives in pieces of `size` bytes, after which the server closes. Returns the outcome and the
    /// chunks that were sent on.
    fn answered(answer: &[u8], size: usize) -> (Result<Copied, CopyError>, Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let (sender, mut receiver) = chunks::queue(1 << 30);
        let answer = answer.to_vec();
        let serving = std::thread::spawn(move || {
            let mut query = [0; 13];
            far.read_exact(&mut query).expect("the statement");
            assert_eq!(query, *b"Q\0\0\0\x0CCOPY 42\0"[..].first_chunk().expect("13 bytes"));
            answer.chunks(size).all(|piece| far.write_all(piece).is_ok());
        });
        let mut stream = Stream::Local(near);
        let read = copy(&mut stream, "COPY 42", (&sender, runtime.handle()), &Progress::default());
        drop((sender, stream));
        serving.join().expect("served");
        let mut passed = Vec::new();
        while let Some(chunk) = receiver.blocking_recv() {
            passed.push(chunk.bytes().to_vec());
        }
        (read, passed)
    }

    /// Rows of these lengths.
    fn rows(lengths: &[usize]) -> Vec<u8> {
        lengths.iter().flat_map(|length| message(b'd', &vec![7; *length])).collect()
    }

    #[test]
    fn only_messages_of_rows_are_sent_on_complete_and_unchanged() {
        let lengths = [0, 1, 100, CHUNK_BYTES, 5, 3 * CHUNK_BYTES, 0, 200_000, 100_000, 9];
        let (start, end) = (message(b'H', &[1, 0, 0]), message(b'C', b"COPY 10\0"));
        let between =
            [message(b'N', b"SNOTICE\0\0"), message(b'S', b"a\0b\0"), message(b'A', &[0; 6])];
        let (first, last) = lengths.split_at(5);
        let answer =
            [start, rows(first), between.concat(), rows(last), message(b'c', b""), end, ready()]
                .concat();
        for size in [17, 4096, 100_000, answer.len()] {
            let (read, passed) = answered(&answer, size);
            let copied = read.expect("rows");
            assert_eq!((copied.read, copied.rest), (Read::Whole, Vec::new()), "{size}");
            assert_eq!(passed.concat(), rows(&lengths), "{size}");
            for chunk in passed {
                assert!(chunk.len() <= 3 * CHUNK_BYTES + HEAD_BYTES, "{}", chunk.len());
                let mut at = 0;
                while at < chunk.len() {
                    let length: [u8; 4] = chunk[at + 1..at + 5].try_into().expect("four bytes");
                    at += 1 + u32::from_be_bytes(length) as usize;
                }
                assert_eq!(at, chunk.len(), "a chunk ends in a row");
            }
        }
    }

    #[test]
    fn server_error_is_reported_at_each_position_of_the_answer() {
        let before = [message(b'H', &[1, 0, 0]), rows(&[3, 3])].concat();
        for start in [Vec::new(), message(b'H', &[1, 0, 0]), before] {
            // the server waits for the next statement
            let (read, _) = answered(&[start.clone(), error("57014"), ready()].concat(), 64);
            let Err(CopyError::Refused(failure, _)) = read else { unreachable!("{read:?}") };
            assert!(failure.report.message.contains("57014"), "{failure}");
            // or it closes, as after pg_terminate_backend
            let (read, _) = answered(&[start, error("57P01")].concat(), 64);
            let Err(CopyError::Broken(failure)) = read else { unreachable!("{read:?}") };
            assert!(failure.report.message.contains("57P01"), "{failure}");
        }
    }

    #[test]
    fn answer_that_ends_early_or_has_an_unexpected_message_is_broken() {
        let whole = [
            message(b'H', &[1, 0, 0]),
            rows(&[3, 30]),
            message(b'c', b""),
            message(b'C', b"COPY 2\0"),
            ready(),
        ]
        .concat();
        for end in 0..whole.len() {
            let (read, _) = answered(&whole[..end], whole.len());
            assert!(matches!(read, Err(CopyError::Broken(_))), "{end}: {read:?}");
        }
        for other in
            [message(b'D', b"x"), message(b'G', &[0, 0, 0]), vec![b'd', 0, 0, 0, 3], ready()]
        {
            let (read, _) = answered(&other, 64);
            assert!(matches!(read, Err(CopyError::Broken(_))), "{other:?}: {read:?}");
        }
    }

    #[test]
    fn bytes_after_the_end_of_the_statement_are_for_the_driver() {
        let end = [message(b'c', b""), message(b'C', b"COPY 1\0"), ready()].concat();
        let fatal = error("57P01");
        let answer = [message(b'H', &[1, 0, 0]), rows(&[3]), end, fatal.clone()].concat();
        let (read, passed) = answered(&answer, answer.len());
        let copied = read.expect("rows");
        assert_eq!((copied.read, copied.rest), (Read::Whole, fatal));
        assert_eq!(passed.concat(), rows(&[3]));
    }

    #[test]
    fn error_with_a_long_message_is_reported() {
        let text = vec![b'x'; 2 * MESSAGE_BYTES_MAX];
        let body = [b"SERROR\0C22P02\0M", text.as_slice(), b"\0\0"].concat();
        let (read, _) = answered(&[message(b'E', &body), ready()].concat(), 1 << 20);
        let Err(CopyError::Refused(failure, _)) = read else { unreachable!("{read:?}") };
        assert!(failure.report.message.contains("22P02"), "{failure}");
        assert!(failure.report.message.len() < 1000, "{}", failure.report.message.len());
    }
}

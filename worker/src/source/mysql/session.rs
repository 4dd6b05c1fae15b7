//! Our own connection as it speaks: packets, and commands whose answer is short.

use std::io::{self, Read, Write};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use crds::Reason;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::sql::rows::mysql_statements as statements;

use crate::source::certificates::tls_failure;
use crate::source::errors::lost;
use crate::source::errors::{Answer, mysql_failure};
use crate::source::stream::Stream;
use crate::source::timeouts::DRAIN_TIMEOUT;
use crate::source::timeouts::GOODBYE_TIMEOUT;

/// First byte of an answer that all is well.
pub(super) const OK: u8 = 0;
/// First byte of an error, after which its number comes.
pub(super) const ERROR: u8 = 0xFF;
/// Command: a statement as text.
pub(super) const QUERY: u8 = 3;
/// Command: the client leaves.
const QUIT: u8 = 1;
/// What is done first.
pub(super) use worker_core::errors::mysql::CONNECT;
/// What is done last.
const END: &str = "end the session";
/// Longest answer that is read whole: a column's description has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A connection, as its packets go.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Stream,
    /// Number of the next packet.
    pub(super) number: u8,
    /// What the last command is for; errors say it.
    pub(super) doing: &'static str,
}

/// An authenticated connection. When it is dropped, it closes its session, which may block for [`DRAIN_TIMEOUT`].
#[derive(Debug)]
pub(super) struct Session(Wire);

/// What became of a connection.
pub(super) fn broken(doing: &str, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(Some(error), ""),
        None => lost(doing, error.kind()),
    }
}

pub(super) fn not_understood(what: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        format!("{what} is invalid"),
        "Check that source.host is a MySQL or MariaDB server.",
    )
}

/// The thread of a session ended without a result.
pub(super) fn broke_off() -> Failure {
    Failure::permanent(Reason::Internal, "the reader task panicked", REPORT)
}

/// An error packet as a failure.
pub(super) fn failed(action: &str, answer: &[u8]) -> Result<(), Failure> {
    match answer {
        [ERROR, ..] => Err(mysql_failure(action, &Answer::of_packet(answer))),
        _ => Ok(()),
    }
}

impl Wire {
    /// A statement whose answer is OK.
    pub(super) fn query(&mut self, doing: &'static str, statement: &str) -> Result<(), Failure> {
        let answer = self.command(doing, QUERY, statement.as_bytes())?;
        match answer.first() {
            Some(&OK) => Ok(()),
            _ => Err(not_understood("the response packet of the database")),
        }
    }

    /// Sends a command, and takes the first packet of its answer.
    pub(super) fn command(
        &mut self,
        doing: &'static str,
        command: u8,
        rest: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        self.ask(doing, command, rest)?;
        self.answer()
    }

    /// Sends a command. `doing`: what it is for, for errors.
    pub(super) fn ask(
        &mut self,
        doing: &'static str,
        command: u8,
        rest: &[u8],
    ) -> Result<(), Failure> {
        self.doing = doing;
        self.number = 0;
        let mut payload = Vec::with_capacity(rest.len() + 1);
        payload.push(command);
        payload.extend_from_slice(rest);
        self.send(&payload)
    }

    /// The first packet of an answer, which is not an error.
    pub(super) fn answer(&mut self) -> Result<Vec<u8>, Failure> {
        let answer = self.receive()?;
        failed(self.doing, &answer)?;
        Ok(answer)
    }

    /// Takes a packet.
    pub(super) fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(|error| broken(self.doing, &error))?;
        let [low, middle, high, number] = header;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if length > ANSWER_BYTES_MAX {
            return Err(not_understood("the response packet of the database"));
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).map_err(|error| broken(self.doing, &error))?;
        self.number = number.wrapping_add(1);
        Ok(payload)
    }

    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let [low, middle, high, rest] = length.to_le_bytes();
        if rest != 0 || length == 0xFF_FFFF {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                "the statement is longer than a packet of the MySQL protocol (16 MiB)",
                "Extract fewer columns (extract.columns, extract.excludeColumns).",
            ));
        }
        let mut packet = vec![low, middle, high, self.number];
        packet.extend_from_slice(payload);
        self.number = self.number.wrapping_add(1);
        self.stream.write_all(&packet).map_err(|error| broken(self.doing, &error))?;
        self.stream.flush().map_err(|error| broken(self.doing, &error))
    }
}

impl Session {
    /// To be called with a connection as soon as it is authenticated.
    pub(super) const fn new(wire: Wire) -> Self {
        Self(wire)
    }

    /// Ends the transaction, if there is one, and says goodbye.
    pub(super) fn quit(mut self) {
        if self.stream.set_read_timeout(Some(GOODBYE_TIMEOUT)).is_ok() {
            // the goodbye ends the transaction too
            let _ = self.query("end a transaction", statements::COMMIT);
        }
    }

    /// Says goodbye, and reads until the server has closed: what it still sends would otherwise turn
    /// the goodbye into a reset.
    fn leave(&mut self) -> Result<(), Failure> {
        let failed = |error| broken(END, &error);
        let end = Instant::now() + DRAIN_TIMEOUT;
        self.stream.set_write_timeout(Some(GOODBYE_TIMEOUT)).map_err(failed)?;
        self.ask(END, QUIT, &[])?;
        let mut rest = vec![0; 64 * 1024];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left)).map_err(failed)?;
            if self.stream.read(&mut rest).map_err(failed)? == 0 {
                return Ok(());
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // a server that does not answer finds the connection closed
        let _ = self.leave();
    }
}

impl Deref for Session {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}

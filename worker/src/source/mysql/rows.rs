//! A partition as binary rows, read by a blocking thread of its own: the bytes are passed on
//! unchanged, and only the packets' headers are parsed.

use mysql_common::constants::ColumnFlags;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use worker_core::decoding::columns::Column;
use worker_core::decoding::columns::mysql::{Form, announcement};
use worker_core::errors::failure::Failure;
use worker_core::planning::plan::Plan;

use super::framing::{Frames, Seen};
use super::login;
use super::second::Second;
use super::session::broke_off;
use super::session::{Session, broken};
use super::texts::{altered, count_of, descriptions};
use crate::source::backend::{Backend, Progress};
use crate::source::chunks::{CHUNK_BYTES, ChunkBuffer, ChunkSender, Read};
use crate::source::condition::ACTION;
use crate::source::errors::closed;
use crate::source::errors::{Answer, mysql_failure};
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::second::{self, Second as _};
use crate::source::stream::Socket;
use crate::source::timeouts::DRAIN_TIMEOUT;
use crate::source::timeouts::{GOODBYE_TIMEOUT, IDLE_TIMEOUT};

/// What is done.
const READ: &str = "read the rows";
/// Command: prepare a statement.
const PREPARE: u8 = 0x16;
/// Command: execute it; its rows come in binary form.
const EXECUTE: u8 = 0x17;

/// Command: forget it; there is no answer.
const CLOSE: u8 = 0x19;

/// A connection that reads one partition after another. Its session is closed properly in every case.
#[derive(Debug)]
pub struct Connection {
    state: State,
    backend: Backend,
}

#[derive(Debug)]
enum State {
    /// Between two partitions: nothing is being done for it.
    Idle(Session),
    /// A thread reads.
    Reading(Reading),
    /// It has rows that nobody has read, and can only end.
    Broken(Session),
    /// It is over.
    Gone,
}

/// A thread that reads, and the socket that it may be waiting for.
#[derive(Debug)]
struct Reading {
    thread: JoinHandle<(Session, Result<Read, Failure>)>,
    socket: Option<Socket>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(session) | State::Broken(session) => {
                leave(session);
            }
            State::Reading(reading) => reading.socket.iter().for_each(Socket::shutdown),
            State::Gone => {}
        }
    }
}

/// Lets a session go, on a thread that may block.
fn leave(session: Session) -> Option<JoinHandle<()>> {
    // without a runtime it is dropped here
    Handle::try_current().ok().map(|_| goodbye::spawn_blocking(move || drop(session)))
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// A database reason.
    pub async fn open(login: &Login) -> Result<Self, Failure> {
        Self::open_under(login, None).await
    }

    /// Connects, and runs the statement that sets what a condition is read under.
    ///
    /// # Errors
    /// A database reason.
    pub async fn open_under(login: &Login, settings: Option<String>) -> Result<Self, Failure> {
        let login = Login { password: login.password().await?, ..login.clone() };
        let opened = goodbye::spawn_blocking(move || {
            let (mut session, backend) = login::open(&login)?;
            settings.map_or(Ok(()), |settings| session.query(ACTION, &settings))?;
            Ok(Self { state: State::Idle(session), backend })
        });
        opened.await.map_err(|_| broke_off())?
    }

    /// The server's name for the session.
    pub(crate) fn backend(&self) -> Backend {
        self.backend.clone()
    }

    /// The server that the session is one of, as it calls itself.
    pub(super) fn server(&self) -> &str {
        match &self.backend {
            Backend::Mysql { server, .. } | Backend::Postgres { server, .. } => server,
        }
    }

    /// The session, between two partitions.
    pub(super) fn session(&mut self) -> Result<&mut Session, Failure> {
        match &mut self.state {
            State::Idle(session) => Ok(session),
            State::Reading(_) | State::Broken(_) | State::Gone => Err(broke_off()),
        }
    }

    /// Ends its transaction, if it has one, and says goodbye.
    pub(crate) async fn close(mut self) {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(session) => {
                let closing = goodbye::spawn_blocking(move || session.quit());
                let _ = tokio::time::timeout(GOODBYE_TIMEOUT * 2, closing).await;
            }
            other => self.state = other,
        }
    }

    /// Ends what the server still does for a read that broke off, or was given up.
    pub(crate) async fn interrupt(&mut self, login: &Login) {
        match std::mem::replace(&mut self.state, State::Gone) {
            // between two statements: it may still end as it should
            State::Idle(session) => self.state = State::Idle(session),
            State::Broken(session) => {
                if let Some(leaving) = leave(session) {
                    self.left(login, leaving).await;
                }
            }
            State::Reading(Reading { thread, socket }) => {
                let leaving = goodbye::spawn(async move {
                    let leaving = thread.await.ok().and_then(|(session, _)| leave(session));
                    if let Some(leaving) = leaving {
                        let _ = leaving.await;
                    }
                });
                if let Some(leaving) = leaving
                    && !self.left(login, leaving).await
                {
                    socket.iter().for_each(Socket::shutdown);
                }
            }
            State::Gone => {}
        }
    }

    /// Waits for a thread that ends once the server does; cancels the statement if that takes long.
    /// Whether it has ended.
    async fn left(&self, login: &Login, mut leaving: JoinHandle<()>) -> bool {
        if tokio::time::timeout(IDLE_TIMEOUT, &mut leaving).await.is_ok() {
            return true;
        }
        if let Some(second) = second::cancel::<Second>(login, &self.backend).await {
            second.close().await;
        }
        tokio::time::timeout(DRAIN_TIMEOUT, leaving).await.is_ok()
    }

    /// Runs the statement and sends what comes. Where it ends early or is dropped, the connection must
    /// be interrupted.
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
        let State::Idle(mut session) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(broke_off());
        };
        let socket = session.stream.socket().ok();
        let query = Query {
            statement: statement.to_owned(),
            columns: plan.columns.clone(),
            // the server computes the columns of a view, and describes some otherwise
            described_otherwise: plan.unproven.is_some(),
        };
        let (runtime, progress) = (Handle::current(), progress.clone());
        let thread = goodbye::spawn_blocking(move || {
            let read = whole(&mut session, &query, (&chunks, &runtime), &progress);
            (session, read)
        });
        // where this is dropped, the thread is there still
        self.state = State::Reading(Reading { thread, socket });
        let State::Reading(reading) = &mut self.state else { return Err(broke_off()) };
        let Ok((session, read)) = (&mut reading.thread).await else {
            self.state = State::Gone;
            return Err(broke_off());
        };
        self.state = match &read {
            Ok(Read::Whole) => State::Idle(session),
            Ok(Read::Unwanted) | Err(_) => State::Broken(session),
        };
        read
    }
}

/// What a partition is read by.
#[derive(Debug)]
struct Query {
    statement: String,
    /// The columns of the plan.
    columns: Vec<Column>,
    /// Whether whole numbers may have another width or sign than the plan has.
    described_otherwise: bool,
}

/// Reads a partition to its end, unless nobody wants it.
fn whole(
    session: &mut Session,
    query: &Query,
    (chunks, runtime): (&ChunkSender, &Handle),
    progress: &Progress,
) -> Result<Read, Failure> {
    progress.asks();
    let asked = ask(session, query);
    progress.gets();
    let (id, forms) = asked?;
    if let Some(forms) = forms
        && runtime.block_on(chunks.send(ChunkBuffer::of(announcement(&forms)))) == Read::Unwanted
    {
        return Ok(Read::Unwanted);
    }
    let read = forward(session, chunks, runtime, progress)?;
    if read == Read::Whole {
        session.ask(READ, CLOSE, &id)?;
    }
    Ok(read)
}

/// Prepares and executes the statement, and checks that its columns are those of the plan.
/// Its number, and the forms of the values if they are others than the plan's.
fn ask(
    session: &mut Session,
    Query { statement, columns, described_otherwise }: &Query,
) -> Result<([u8; 4], Option<Vec<Form>>), Failure> {
    let prepared = session.command(READ, PREPARE, statement.as_bytes())?;
    let [_, a, b, c, d, _, _, _, _, _, _, _] = *prepared.first_chunk::<12>().ok_or_else(altered)?;
    let id = [a, b, c, d];
    let described = usize::from(u16::from_le_bytes([prepared[5], prepared[6]]));
    if described != columns.len() {
        return Err(altered());
    }
    descriptions(session, described)?;
    let mut execute = id.to_vec();
    // no cursor, once
    execute.extend([0, 1, 0, 0, 0]);
    let count = session.command(READ, EXECUTE, &execute)?;
    if count_of(&count) != Some(columns.len()) {
        return Err(altered());
    }
    let planned: Vec<_> = columns.iter().map(|column| Form::of(column.type_oid)).collect();
    let described = descriptions(session, columns.len())?;
    let forms = described.iter().zip(&planned).map(|(description, form)| {
        let unsigned = description.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        form.arriving(description.column_type() as u8, unsigned)
    });
    let forms: Vec<_> = forms.collect::<Option<_>>().ok_or_else(altered)?;
    if forms == planned {
        return Ok((id, None));
    }
    if !described_otherwise {
        return Err(altered());
    }
    Ok((id, Some(forms)))
}

fn forward(
    session: &mut Session,
    chunks: &ChunkSender,
    runtime: &Handle,
    progress: &Progress,
) -> Result<Read, Failure> {
    let (mut frames, mut emptied) = (Frames::new(), false);
    loop {
        let mut chunk = chunks.buffer(CHUNK_BYTES);
        let mut ended = false;
        while !chunk.room().is_empty() && !ended {
            progress.asks();
            let count = session.stream.read_rows(chunk.room(), &mut emptied);
            progress.gets();
            let count = count.map_err(|error| broken(READ, &error))?;
            if count == 0 {
                return Err(closed(
                    "read the rows: the database closed the connection before the last row",
                ));
            }
            match frames.see(&chunk.room()[..count]) {
                Seen::More => chunk.filled += count,
                Seen::End(at) => {
                    chunk.filled += at;
                    ended = true;
                }
                Seen::Error(packet) => {
                    return Err(mysql_failure(READ, &Answer::of_packet(&packet)));
                }
            }
        }
        let sent = runtime.block_on(chunks.send(chunk));
        if ended || sent == Read::Unwanted {
            return Ok(sent);
        }
    }
}

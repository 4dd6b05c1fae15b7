//! In: a login. Out: a socket of this process. The driver connects to it without TLS and without a password; the relay
//! handles TLS and the password. Between two statements, a thread borrows the connection to the server to read rows.
//! Bound: messages of an authentication have at most 64 KiB. Fails: `DatabaseUnreachable`, `TlsFailed`, `InvalidSpec`; the
//! driver gets the server's own errors about the authentication.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use worker_core::errors::failure::Failure;

use super::authentication::{Answer, answer, bounded, nonce, unexpected_message};
use super::scram::Exchange;
use super::server::Server;
use crate::source::errors::database_failure;
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::own_socket::ours;
use crate::source::secret::Secret;
use crate::source::stream::{Socket, Stream};
use crate::source::timeouts::{CONNECT_TIMEOUT, DRAIN_TIMEOUT};

/// Messages of an authentication: SCRAM has three, and notices may come between.
const MESSAGES_MAX: usize = 32;
/// Maximum number of bytes that are forwarded at once.
const PASSED_BYTES: usize = 16 * 1024;
/// Kind and length of a message.
const HEAD_BYTES: usize = 5;

/// The setting that the driver sets itself when a session begins.
const DRIVERS_OWN: &[u8] = b"DateStyle";

/// Which settings a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With those of the driver.
    Ours,
    /// With those of server, database and role: the driver's `DateStyle` is left out.
    Plain,
}

/// Access to the connection to the server between two statements of the driver.
#[derive(Debug)]
pub(super) struct ServerAccess {
    requests: mpsc::Sender<oneshot::Sender<BorrowedServer>>,
    socket: Socket,
}

/// The connection to the server, without the driver. It goes back to the driver between two statements.
#[derive(Debug)]
pub(super) struct BorrowedServer {
    /// The connection; its reads block.
    pub(super) stream: Stream,
    back: oneshot::Sender<(Stream, Vec<u8>)>,
}

impl BorrowedServer {
    /// Returns the connection to the driver, with bytes of the server that were read and not used.
    pub(super) fn return_to_driver(self, rest: Vec<u8>) {
        // the session of the driver may have ended already
        let _ = self.back.send((self.stream, rest));
    }
}

impl ServerAccess {
    /// Borrows the connection. The driver must have read all answers. `None` if the session is over.
    pub(super) async fn borrow(&self) -> Option<BorrowedServer> {
        let (reply, borrowed) = oneshot::channel();
        self.requests.send(reply).await.ok()?;
        borrowed.await.ok()
    }

    /// Shuts the connection down, also while a thread reads from it.
    pub(super) fn shut_down(&self) {
        self.socket.shutdown();
    }
}

/// Connects, and names the folder of the socket (in no file system) on which the driver goes on from there, once.
///
/// # Errors
/// `DatabaseUnreachable`, `TlsFailed`, `InvalidSpec`.
pub(super) async fn to(
    login: &Login,
    password: &Secret,
    begins: Begins,
) -> Result<(PathBuf, ServerAccess), Failure> {
    let failed = |error| database_failure("connect", &sqlx::Error::Io(error));
    let server = Server::connect(login).await?;
    let socket = server.stream().socket().map_err(failed)?;
    let folder = format!("\0tidemark-{}", Uuid::new_v4().simple());
    let listener =
        UnixListener::bind(format!("{folder}/.s.PGSQL.{}", login.port)).map_err(failed)?;
    let (username, password) = (login.username.clone(), password.clone());
    let (requests, requested) = mpsc::channel(1);
    // what was said goes on to the server before the process ends
    goodbye::spawn(async move {
        // the driver sees a connection that ends
        let _ = relay(listener, server, (username, password, begins), requested).await;
    });
    Ok((PathBuf::from(folder), ServerAccess { requests, socket }))
}

/// A start-up message (length, version, pairs of texts, a zero) without the driver's own setting.
fn without_own(startup: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = startup.split_at_checked(8)?;
    let mut plain = head.to_vec();
    let mut texts = rest.strip_suffix(&[0, 0])?.split(|byte| *byte == 0);
    while let Some(name) = texts.next() {
        let value = texts.next()?;
        if name != DRIVERS_OWN {
            plain.extend([name, &[0], value, &[0]].concat());
        }
    }
    plain.push(0);
    let length = u32::try_from(plain.len()).ok()?;
    plain[..4].copy_from_slice(&length.to_be_bytes());
    Some(plain)
}

/// Waits for the driver, and serves it until one side closes.
async fn relay(
    listener: UnixListener,
    server: Server,
    (username, password, begins): (String, Secret, Begins),
    requests: mpsc::Receiver<oneshot::Sender<BorrowedServer>>,
) -> io::Result<()> {
    let near = tokio::time::timeout(CONNECT_TIMEOUT, ours(listener)).await?;
    // SCRAM computes thousands of rounds: not on a worker of the runtime
    let runtime = Handle::current();
    let logging_in = goodbye::spawn_blocking(move || {
        let login = log_in(near, server, (&username, &password, begins));
        runtime.block_on(async { tokio::time::timeout(CONNECT_TIMEOUT, login).await })
    });
    let (near, server) = logging_in.await???;
    forward(near, server, requests).await
}

/// Forwards the messages of the authentication, and answers requests for the password.
async fn log_in(
    mut near: UnixStream,
    mut server: Server,
    (username, password, begins): (&str, &Secret, Begins),
) -> io::Result<(UnixStream, Server)> {
    let length = near.read_u32().await?;
    let mut startup = length.to_be_bytes().to_vec();
    startup.resize(bounded(length)?, 0);
    near.read_exact(&mut startup[4..]).await?;
    if begins == Begins::Plain {
        startup = without_own(&startup).ok_or_else(unexpected_message)?;
    }
    server.write_all(&startup).await?;
    let mut exchange = Exchange::new(password.reveal(), nonce());
    for _ in 0..MESSAGES_MAX {
        let mut message = vec![0; HEAD_BYTES];
        server.read_exact(&mut message).await?;
        let kind = message[0];
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
        message.resize(bounded(length)? + 1, 0);
        server.read_exact(&mut message[HEAD_BYTES..]).await?;
        let answer = match (kind, message[HEAD_BYTES..].split_first_chunk::<4>()) {
            (b'R', Some((question, rest))) => {
                answer(u32::from_be_bytes(*question), rest, username, password, &mut exchange)?
            }
            _ => Answer::Pass,
        };
        if let Answer::Reply(reply) = &answer {
            server.write_all(reply).await?;
        }
        if matches!(answer, Answer::Pass | Answer::Over) {
            near.write_all(&message).await?;
        }
        if kind == b'E' || matches!(answer, Answer::Over) {
            break;
        }
    }
    Ok((near, server))
}

/// The next event of the relay.
enum Event {
    /// The driver sent this many bytes.
    Driver(usize),
    /// The server sent this many bytes.
    Server(usize),
    /// A thread borrows the connection.
    Borrow(oneshot::Sender<BorrowedServer>),
}

/// Forwards bytes in both directions until one side closes. Between two messages the connection can be borrowed.
async fn forward(
    mut near: UnixStream,
    mut server: Server,
    mut requests: mpsc::Receiver<oneshot::Sender<BorrowedServer>>,
) -> io::Result<()> {
    let (mut from_driver, mut from_server) = (vec![0; PASSED_BYTES], vec![0; PASSED_BYTES]);
    let mut messages = Messages::default();
    loop {
        let event = tokio::select! {
            // a driver that is gone may have left bytes unread, which is an error here
            count = near.read(&mut from_driver) => Event::Driver(count.unwrap_or(0)),
            count = server.read(&mut from_server) => Event::Server(count?),
            Some(reply) = requests.recv(), if messages.is_between() => Event::Borrow(reply),
        };
        match event {
            Event::Driver(0) => return close(server).await,
            Event::Driver(count) => server.write_all(&from_driver[..count]).await?,
            Event::Server(0) => return Ok(()),
            Event::Server(count) => {
                messages.observe(&from_server[..count]);
                if near.write_all(&from_server[..count]).await.is_err() {
                    return close(server).await;
                }
            }
            Event::Borrow(reply) => {
                let (back, given_back) = oneshot::channel();
                let borrowed = BorrowedServer { stream: server.into_blocking()?, back };
                if reply.send(borrowed).is_err() {
                    return Ok(());
                }
                let Ok((stream, rest)) = given_back.await else { return Ok(()) };
                server = Server::new(stream)?;
                messages.observe(&rest);
                if near.write_all(&rest).await.is_err() {
                    return close(server).await;
                }
            }
        }
    }
}

/// Closes the connection. A server that does not close its end in time is left alone.
async fn close(server: Server) -> io::Result<()> {
    tokio::time::timeout(DRAIN_TIMEOUT, server.close()).await.unwrap_or(Ok(()))
}

/// Finds the ends of the server's messages, which are forwarded in pieces.
#[derive(Debug, Default)]
struct Messages {
    /// The incomplete head of a message.
    head: Vec<u8>,
    /// Bytes of the current message that were not received yet.
    left: usize,
}

impl Messages {
    fn observe(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = &bytes[passed..];
            let Some((byte, rest)) = bytes.split_first() else { return };
            if self.left == 0 {
                self.head.push(*byte);
                bytes = rest;
                if let [_, a, b, c, d] = self.head[..] {
                    let length = usize::try_from(u32::from_be_bytes([a, b, c, d]));
                    self.left = length.unwrap_or(usize::MAX).saturating_sub(4);
                    self.head.clear();
                }
            }
        }
    }

    fn is_between(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_session_begins_without_the_setting_of_the_driver() {
        let message = |pairs: &[u8]| {
            let length = u32::try_from(pairs.len() + 9).expect("short").to_be_bytes();
            [&length, &[0, 3, 0, 0][..], pairs, &[0]].concat()
        };
        let startup = message(b"user\0ada\0DateStyle\0ISO, MDY\0TimeZone\0UTC\0");
        assert_eq!(without_own(&startup), Some(message(b"user\0ada\0TimeZone\0UTC\0")));
        let none = message(b"user\0DateStyle\0");
        assert_eq!(without_own(&none), Some(none.clone()), "a value of that name stays");
        for cut in [0, 7, 9, startup.len() - 2] {
            assert_eq!(without_own(&startup[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn end_of_each_message_is_found_for_any_size_of_the_pieces() {
        let messages: [&[u8]; 3] = [b"Z\0\0\0\x05I", b"N\0\0\0\x04", b"T\0\0\0\x07abc"];
        let whole = messages.concat();
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            })
            .collect();
        for cut in 1..whole.len() {
            let mut seen = Messages::default();
            let mut at = 0;
            for piece in whole.chunks(cut) {
                seen.observe(piece);
                at += piece.len();
                assert_eq!(seen.is_between(), ends.contains(&at), "{cut} {at}");
            }
        }
    }
}

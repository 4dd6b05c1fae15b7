//! In: a login. Out: a connection to the server, with TLS if the login requires it. It is read and written without
//! blocking, or lent to a thread. Bound: [`CONNECT_TIMEOUT`] for each step of the handshake. Fails:
//! `DatabaseUnreachable`, `TlsFailed`, `InvalidSpec`.

use std::io::{self, ErrorKind, Read as _, Write as _};

use crds::Reason;
use crds::source::TlsMode;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::migration::Tls;

use crate::source::certificates::tls_failure;
use crate::source::errors::database_failure;
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::stream::{Socket, Stream};
use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::tls::secure;

/// The SSLRequest message, which requests TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Server {
    stream: Stream,
    readiness: Readiness,
}

/// A second handle of the socket. The runtime uses it to wait until the socket can be read or written.
#[derive(Debug)]
enum Readiness {
    Network(TcpStream),
    Local(UnixStream),
}

impl Readiness {
    fn of(stream: &Stream) -> io::Result<Self> {
        Ok(match stream.socket()? {
            Socket::Network(socket) => Self::Network(TcpStream::from_std(socket)?),
            Socket::Local(socket) => Self::Local(UnixStream::from_std(socket)?),
        })
    }

    /// Waits until the socket may be ready, and runs `attempt` once. Returns `WouldBlock` if the socket was not ready.
    async fn attempt<T>(
        &self,
        interest: Interest,
        attempt: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Network(socket) => {
                socket.ready(interest).await?;
                socket.try_io(interest, attempt)
            }
            Self::Local(socket) => {
                socket.ready(interest).await?;
                socket.try_io(interest, attempt)
            }
        }
    }
}

fn failed(error: io::Error) -> Failure {
    database_failure("connect", &sqlx::Error::Io(error))
}

impl Server {
    /// Connects over the network, or over a Unix domain socket without TLS.
    ///
    /// # Errors
    /// `DatabaseUnreachable`, `TlsFailed`, `InvalidSpec`.
    pub(super) async fn connect(login: &Login) -> Result<Self, Failure> {
        if login.host.starts_with('/') {
            let socket = format!("{}/.s.PGSQL.{}", login.host, login.port);
            let socket = UnixStream::connect(socket).await.map_err(failed)?;
            return Self::new(Stream::Local(socket.into_std().map_err(failed)?)).map_err(failed);
        }
        let socket = TcpStream::connect((login.host.as_str(), login.port)).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let (socket, login) = (socket.into_std().map_err(failed)?, login.clone());
        let secured = goodbye::spawn_blocking(move || secured(socket, &login)).await;
        let stream = secured.map_err(|_| panicked())??;
        Self::new(stream).map_err(failed)
    }

    /// Takes a connection that a thread has used.
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let readiness = Readiness::of(&stream)?;
        Ok(Self { stream, readiness })
    }

    /// Converts the connection to one on which a thread may block.
    pub(super) fn into_blocking(self) -> io::Result<Stream> {
        drop(self.readiness);
        self.stream.set_nonblocking(false)?;
        Ok(self.stream)
    }

    /// The connection.
    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Reads some bytes; returns 0 at the end. No bytes are lost if the future is dropped.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { stream, readiness } = self;
        // TLS may have buffered bytes: wait for the socket only if it has none
        let mut done = stream.read(buffer);
        while is_not_ready(&done) {
            done = readiness.attempt(Interest::READABLE, || stream.read(buffer)).await;
        }
        done
    }

    /// Fills the buffer.
    pub(super) async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Writes all bytes.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Self { stream, readiness } = self;
        while !bytes.is_empty() {
            let mut done = stream.write(bytes);
            while is_not_ready(&done) {
                done = readiness.attempt(Interest::WRITABLE, || stream.write(bytes)).await;
            }
            match done? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        let mut done = stream.flush();
        while is_not_ready(&done) {
            done = readiness.attempt(Interest::WRITABLE, || stream.flush()).await;
        }
        done
    }

    /// Ends the writing side, and reads until the server has closed. Otherwise bytes that the server still sends would
    /// reset the connection.
    pub(super) async fn close(mut self) -> io::Result<()> {
        self.stream.end_writing()?;
        let mut rest = vec![0; 4096];
        while self.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

fn panicked() -> Failure {
    Failure::permanent(Reason::Internal, "the task of the TLS handshake panicked", REPORT)
}

fn is_not_ready<T>(done: &io::Result<T>) -> bool {
    let kind = done.as_ref().err().map(io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::Interrupted))
}

/// Performs the TLS handshake, if the login requires it. Blocks.
fn secured(socket: std::net::TcpStream, login: &Login) -> Result<Stream, Failure> {
    socket.set_nonblocking(false).map_err(failed)?;
    if login.tls == Tls::Mode(TlsMode::InsecurePlaintext) {
        return Ok(Stream::Plain(socket));
    }
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(failed)?;
    (&socket).write_all(&SSL_REQUEST).map_err(failed)?;
    let mut answer = [0];
    (&socket).read_exact(&mut answer).map_err(failed)?;
    let stream = match answer {
        [b'S'] => Stream::Secured(Box::new(secure(socket, login)?)),
        _ if login.tls == Tls::Prefer => Stream::Plain(socket),
        _ => return Err(tls_failure(None, "server does not support TLS")),
    };
    let socket = match &stream {
        Stream::Plain(socket) => socket,
        Stream::Secured(stream) => stream.sock.socket(),
        Stream::Local(_) => return Ok(stream),
    };
    socket.set_read_timeout(None).map_err(failed)?;
    Ok(stream)
}

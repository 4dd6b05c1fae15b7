//! Byte streams to a server without a driver: over the network, with or without TLS, or over a Unix domain socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::source::tls::{Secured, read_refilled};

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Under TLS.
    Secured(Box<Secured>),
    /// Over a Unix domain socket.
    Local(UnixStream),
}

impl Stream {
    /// Limits how long a read may take; `None`: no limit.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_read_timeout(timeout),
            Self::Secured(stream) => stream.sock.socket().set_read_timeout(timeout),
            Self::Local(socket) => socket.set_read_timeout(timeout),
        }
    }

    /// Limits how long a write may take; `None`: no limit.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_write_timeout(timeout),
            Self::Secured(stream) => stream.sock.socket().set_write_timeout(timeout),
            Self::Local(socket) => socket.set_write_timeout(timeout),
        }
    }

    /// Sets whether reads and writes return without waiting.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_nonblocking(nonblocking),
            Self::Secured(stream) => stream.sock.socket().set_nonblocking(nonblocking),
            Self::Local(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    /// Reads from a stream of rows. If the last read emptied the socket, it is left to fill first.
    pub(crate) fn read_rows(&mut self, buffer: &mut [u8], emptied: &mut bool) -> io::Result<usize> {
        let room = buffer.len();
        match self {
            Self::Plain(socket) => read_refilled(emptied, room, || socket.read(buffer)),
            Self::Local(socket) => read_refilled(emptied, room, || socket.read(buffer)),
            // a read returns one TLS record at most: only the socket below it knows whether it is empty
            Self::Secured(stream) => {
                stream.sock.reads_rows = true;
                let count = stream.read(buffer);
                stream.sock.reads_rows = false;
                count
            }
        }
    }

    /// Ends the writing side of the connection.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Secured(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.socket().shutdown(Shutdown::Write)
            }
            Self::Local(socket) => socket.shutdown(Shutdown::Write),
        }
    }

    /// A second handle of the socket.
    pub(crate) fn socket(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Plain(socket) => Socket::Network(socket.try_clone()?),
            Self::Secured(stream) => Socket::Network(stream.sock.socket().try_clone()?),
            Self::Local(socket) => Socket::Local(socket.try_clone()?),
        })
    }
}

/// The socket of a connection.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Over the network.
    Network(TcpStream),
    /// Over a Unix domain socket.
    Local(UnixStream),
}

impl Socket {
    /// Shuts the connection down, also while a thread blocks on it. Does nothing if it has already ended.
    pub(crate) fn shutdown(&self) {
        let _ = match self {
            Self::Network(socket) => socket.shutdown(Shutdown::Both),
            Self::Local(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secured(stream) => stream.read(buffer),
            Self::Local(socket) => socket.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secured(stream) => stream.write(bytes),
            Self::Local(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
            Self::Local(socket) => socket.flush(),
        }
    }
}

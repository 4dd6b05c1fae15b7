//! Connections as bytes, without a driver: over the network with or without TLS, or on a socket of this machine.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::source::tls::Secured;

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Under TLS.
    Secured(Box<Secured>),
    /// On a socket of this machine.
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

    /// Whether reads and writes return at once.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.set_nonblocking(nonblocking),
            Self::Secured(stream) => stream.sock.socket().set_nonblocking(nonblocking),
            Self::Local(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    /// Tells the server that nothing more is written.
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

    /// Another handle of the socket.
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
    /// On a socket of this machine.
    Local(UnixStream),
}

impl Socket {
    /// Shuts the connection down, also while a thread waits for it. It may have ended already.
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

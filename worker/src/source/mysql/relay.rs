//! A way to the server on which the driver meets no greeting that asks for the password as it is.
//!
//! The driver answers a greeting that names `mysql_clear_password` with the password, with any
//! value of `enable_cleartext_plugin`, with and without TLS; the greeting itself comes before TLS, so that
//! anybody on the way may have written it. A server that asks later is refused by the driver.

use std::path::PathBuf;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use uuid::Uuid;
use worker_core::errors::failure::Failure;

use super::keepalive::keep_alive;
use super::session::not_understood;
use crate::source::errors::asks_for_password;
use crate::source::errors::database_failure;
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::own_socket::ours;
use crate::source::timeouts::CONNECT_TIMEOUT;

/// What no greeting may contain, at any place where the driver would search for it.
const SHOWS: &[u8] = b"mysql_clear_password";
/// A greeting, or an error in its place, has a few hundred bytes; one of several packets is none.
const GREETING_BYTES_MAX: usize = 4096;

/// Connects, checks the greeting, and returns the socket (in no file system) on which this process, and
/// no other, goes on from there, once.
///
/// # Errors
/// `DatabaseUnreachable`, `CredentialsRejected`, `DatabaseFailed`.
pub(super) async fn to(login: &Login) -> Result<PathBuf, Failure> {
    let failed = |error| database_failure("connect", &sqlx::Error::Io(error));
    let address = (login.host.as_str(), login.port);
    let mut far = TcpStream::connect(address).await.map_err(failed)?;
    far.set_nodelay(true).map_err(failed)?;
    keep_alive(&SockRef::from(&far)).map_err(failed)?;
    let greeting = packet(&mut far).await.map_err(failed)?;
    if greeting.len() > GREETING_BYTES_MAX {
        return Err(not_understood("the greeting packet of the database"));
    }
    if asks(&greeting) {
        return Err(asks_for_password());
    }
    let name = format!("\0tidemark-{}", Uuid::new_v4().simple());
    let listener = UnixListener::bind(&name).map_err(failed)?;
    // what was said goes on to the server before the process ends
    goodbye::spawn(async move {
        if let Ok(near) = tokio::time::timeout(CONNECT_TIMEOUT, ours(listener)).await {
            relay(near, far, &greeting).await;
        }
    });
    Ok(PathBuf::from(name))
}

/// A packet as it came, header and all; of a longer one than a greeting its first bytes.
async fn packet(far: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    far.read_exact(&mut bytes).await?;
    let length = usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16;
    far.take(length.min(GREETING_BYTES_MAX) as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn asks(greeting: &[u8]) -> bool {
    greeting.windows(SHOWS.len()).any(|part| part == SHOWS)
}

async fn relay(near: UnixStream, far: TcpStream, greeting: &[u8]) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    if near_out.write_all(greeting).await.is_err() {
        return;
    }
    // at the end of one direction all is said
    tokio::select! {
        _ = tokio::io::copy(&mut near_in, &mut far_out) => {}
        _ = tokio::io::copy(&mut far_in, &mut near_out) => {}
    }
}

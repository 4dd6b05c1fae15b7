//! In: a login whose password the driver does not take as libpq does, or a session that must begin with none of
//! the driver's own settings. Out: a socket of this process on which the
//! driver finds the server without TLS and without a question for a password: both are answered here. Bound:
//! authentication messages of [`MESSAGE_BYTES_MAX`]. Fails: `DatabaseUnreachable`, `TlsFailed`; what the server says
//! about the authentication goes on to the driver.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crds::source::TlsMode;
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;
use uuid::Uuid;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;

use super::scram::Exchange;
use crate::source::certificates::tls_failure;
use crate::source::errors::database_failure;
use crate::source::goodbye;
use crate::source::login::Login;
use crate::source::own_socket::ours;
use crate::source::secret::Secret;
use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::tls;

/// Asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];
/// Longest message of an authentication.
const MESSAGE_BYTES_MAX: usize = 1 << 16;
/// Messages of an authentication: SCRAM has three, and notices may come between.
const MESSAGES_MAX: usize = 32;

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

/// The way to the server, under TLS or not.
trait ServerStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ServerStream for T {}

/// Connects, and names the folder of the socket (in no file system) on which the driver goes on from there, once.
///
/// # Errors
/// `DatabaseUnreachable`, `TlsFailed`, `InvalidSpec`.
pub(super) async fn to(
    login: &Login,
    password: &Secret,
    begins: Begins,
) -> Result<PathBuf, Failure> {
    let failed = |error| database_failure("connect", &sqlx::Error::Io(error));
    let far = server(login).await?;
    let folder = format!("\0tidemark-{}", Uuid::new_v4().simple());
    let listener =
        UnixListener::bind(format!("{folder}/.s.PGSQL.{}", login.port)).map_err(failed)?;
    let (username, password) = (login.username.clone(), password.clone());
    // what was said goes on to the server before the process ends
    goodbye::spawn(async move {
        if let Ok(near) = tokio::time::timeout(CONNECT_TIMEOUT, ours(listener)).await {
            // the driver sees a connection that ends
            let _ = relay(near, far, (&username, &password), begins).await;
        }
    });
    Ok(PathBuf::from(folder))
}

/// The server: over the network, or on a socket of this machine, where no TLS is asked for.
async fn server(login: &Login) -> Result<Box<dyn ServerStream>, Failure> {
    let failed = |error| database_failure("connect", &sqlx::Error::Io(error));
    if login.host.starts_with('/') {
        let socket = format!("{}/.s.PGSQL.{}", login.host, login.port);
        return Ok(Box::new(UnixStream::connect(socket).await.map_err(failed)?));
    }
    let far = TcpStream::connect((login.host.as_str(), login.port)).await.map_err(failed)?;
    far.set_nodelay(true).map_err(failed)?;
    secured(far, login).await
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

async fn secured(mut far: TcpStream, login: &Login) -> Result<Box<dyn ServerStream>, Failure> {
    let failed = |error| database_failure("connect", &sqlx::Error::Io(error));
    if login.tls == Tls::Mode(TlsMode::InsecurePlaintext) {
        return Ok(Box::new(far));
    }
    far.write_all(&SSL_REQUEST).await.map_err(failed)?;
    match far.read_u8().await.map_err(failed)? {
        b'S' => {}
        _ if login.tls == Tls::Prefer => return Ok(Box::new(far)),
        _ => return Err(tls_failure(None, "server does not support TLS")),
    }
    let name = tls::name(login)?;
    let connector = TlsConnector::from(Arc::new(tls::config(login)?));
    Ok(Box::new(connector.connect(name, far).await.map_err(failed)?))
}

async fn relay(
    mut near: UnixStream,
    mut far: Box<dyn ServerStream>,
    (username, password): (&str, &Secret),
    begins: Begins,
) -> io::Result<()> {
    let length = near.read_u32().await?;
    let mut startup = length.to_be_bytes().to_vec();
    startup.resize(bounded(length)?, 0);
    near.read_exact(&mut startup[4..]).await?;
    if begins == Begins::Plain {
        startup = without_own(&startup).ok_or_else(senseless)?;
    }
    far.write_all(&startup).await?;
    let mut exchange = Exchange::new(password.reveal(), nonce());
    for _ in 0..MESSAGES_MAX {
        let kind = far.read_u8().await?;
        let length = far.read_u32().await?;
        let mut body = vec![0; bounded(length)? - 4];
        far.read_exact(&mut body).await?;
        let answer = match (kind, body.split_first_chunk::<4>()) {
            (b'R', Some((question, rest))) => {
                answer(u32::from_be_bytes(*question), rest, username, password, &mut exchange)?
            }
            _ => Answer::Pass,
        };
        if let Answer::Reply(reply) = &answer {
            far.write_all(reply).await?;
            far.flush().await?;
        }
        if matches!(answer, Answer::Pass | Answer::Over) {
            near.write_u8(kind).await?;
            near.write_u32(length).await?;
            near.write_all(&body).await?;
        }
        if kind == b'E' || matches!(answer, Answer::Over) {
            break;
        }
    }
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(|_| ())
}

fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Length of a message with its own four bytes.
fn bounded(length: u32) -> io::Result<usize> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let fits = (4..=MESSAGE_BYTES_MAX).contains(&length);
    fits.then_some(length).ok_or_else(senseless)
}

fn senseless() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// What becomes of a message of the server.
#[derive(Debug)]
enum Answer {
    /// It is answered here.
    Reply(Vec<u8>),
    /// It needs no answer, and the driver no word of it.
    Nothing,
    /// The driver gets it.
    Pass,
    /// The driver gets it, and all that follows.
    Over,
}

/// What a question about the password is answered with.
fn answer(
    question: u32,
    rest: &[u8],
    username: &str,
    password: &Secret,
    exchange: &mut Exchange<'_>,
) -> io::Result<Answer> {
    let text = || std::str::from_utf8(rest).map_err(|_| senseless());
    Ok(match question {
        3 => Answer::Reply(message(&[password.reveal().as_bytes(), &[0]])),
        5 => {
            let inner = md5(&[password.reveal().as_bytes(), username.as_bytes()]);
            let outer = md5(&[inner.as_bytes(), rest]);
            Answer::Reply(message(&[b"md5", outer.as_bytes(), &[0]]))
        }
        10 if rest.split(|byte| *byte == 0).any(|name| name == b"SCRAM-SHA-256") => {
            let first = exchange.first();
            let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
            Answer::Reply(message(&[b"SCRAM-SHA-256\0", &length, first.as_bytes()]))
        }
        11 => {
            let reply = exchange.answer(text()?).ok_or_else(senseless)?;
            Answer::Reply(message(&[reply.as_bytes()]))
        }
        12 if exchange.is_proved(text()?) => Answer::Nothing,
        12 => return Err(senseless()),
        // zero, or a question that the driver does not answer either
        _ => Answer::Over,
    })
}

/// A message of the kind `p`.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut message = vec![b'p'];
    message.extend(u32::try_from(length + 4).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(parts.iter().copied().flatten());
    message
}

fn md5(parts: &[&[u8]]) -> String {
    use std::fmt::Write as _;
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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
}

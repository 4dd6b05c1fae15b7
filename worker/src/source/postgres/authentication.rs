//! Answers the server's requests for a password, if the driver does not treat the password as libpq does.

use std::io;

use md5::{Digest as _, Md5};
use uuid::Uuid;

use super::scram::Exchange;
use crate::source::secret::Secret;

/// Longest message of an authentication.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// A random text that is unique to an exchange.
pub(super) fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The length of a message, including the four bytes of the length.
pub(super) fn bounded(length: u32) -> io::Result<usize> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let fits = (4..=MESSAGE_BYTES_MAX).contains(&length);
    fits.then_some(length).ok_or_else(unexpected_message)
}

pub(super) fn unexpected_message() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// What to do with a message of the server.
#[derive(Debug)]
pub(super) enum Answer {
    /// Tidemark answers it.
    Reply(Vec<u8>),
    /// It needs no answer and is not sent to the driver.
    Nothing,
    /// It is sent to the driver.
    Pass,
    /// It and all later messages are sent to the driver.
    Over,
}

/// The answer to an authentication request of the server.
pub(super) fn answer(
    question: u32,
    rest: &[u8],
    username: &str,
    password: &Secret,
    exchange: &mut Exchange<'_>,
) -> io::Result<Answer> {
    let text = || std::str::from_utf8(rest).map_err(|_| unexpected_message());
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
            let reply = exchange.answer(text()?).ok_or_else(unexpected_message)?;
            Answer::Reply(message(&[reply.as_bytes()]))
        }
        12 if exchange.is_proved(text()?) => Answer::Nothing,
        12 => return Err(unexpected_message()),
        // zero (success), or a method that the driver does not support either
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

//! Passwords as the server asks for them: answered by us where the driver does not take them as libpq does.

use std::io;

use md5::{Digest as _, Md5};
use uuid::Uuid;

use super::scram::Exchange;
use crate::source::secret::Secret;

/// Longest message of an authentication.
const MESSAGE_BYTES_MAX: usize = 1 << 16;

/// A text that no other exchange has.
pub(super) fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// Length of a message with its own four bytes.
pub(super) fn bounded(length: u32) -> io::Result<usize> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let fits = (4..=MESSAGE_BYTES_MAX).contains(&length);
    fits.then_some(length).ok_or_else(senseless)
}

pub(super) fn senseless() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// What becomes of a message of the server.
#[derive(Debug)]
pub(super) enum Answer {
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
pub(super) fn answer(
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

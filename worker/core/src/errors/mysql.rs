//! Errors of MySQL and MariaDB, by number, else by SQLSTATE.
//!
//! A function may raise any number with any message (`SIGNAL`), and the protocol does not distinguish such
//! a message from one of the server's own. So a message is shown only where it has the form of the
//! server's own message, with names of objects in its gaps.

use super::names::has_shape;
use super::{Meaning, short};
use crate::errors::failure::Failure;

pub use super::mysql_row::{CONNECT, PIN, Range, Row, State, UNKNOWN};
pub use super::mysql_table::{RANGES, REPAIR_VIEW, STATES, TABLE};

/// What a server says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// Number of the error.
    pub number: u16,
    /// SQLSTATE, or nothing where the server gives none.
    pub state: &'a str,
    /// The message.
    pub message: &'a str,
}

fn row(answer: &Answer<'_>, action: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.numbers.contains(&answer.number)
            && (!row.connected || !matches!(action, CONNECT | PIN))
            && row
                .says
                .is_none_or(|shape| answer.message.is_empty() || has_shape(answer.message, shape))
    })
}

/// What an answer to an action means.
pub fn meaning(action: &str, answer: &Answer<'_>) -> Meaning {
    let by_state = || {
        let fits =
            |state: &&State| state.starts.iter().any(|start| answer.state.starts_with(start));
        STATES.iter().find(fits).map(|state| state.meaning)
    };
    row(answer, action).map(|row| row.meaning).or_else(by_state).unwrap_or(UNKNOWN)
}

/// What a server's error means for an action.
pub fn failure(action: &str, answer: &Answer<'_>) -> Failure {
    let shapes = row(answer, action).map_or(&[][..], |row| row.shown);
    let shown = shapes.iter().any(|shape| has_shape(answer.message, shape));
    let words =
        if shown { format!(": {}", short(&without_user(answer.message))) } else { String::new() };
    let state = match answer.state {
        "" => String::new(),
        state => format!(", SQLSTATE {}", short(state)),
    };
    meaning(action, answer).failure(action, &format!("{words} (error {}{state})", answer.number))
}

/// A message without the name and address of the user, which are in a Secret.
fn without_user(message: &str) -> String {
    match (message.find(" to user "), message.find(" for ")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &message[..from], &message[to..]),
        _ => message.to_owned(),
    }
}

impl<'a> Answer<'a> {
    /// Reads an error packet: `0xFF`, the number, after `#` the SQLSTATE, the message.
    ///
    /// A server that refuses a connection at once gives no SQLSTATE. Of a message in another character set
    /// nothing is taken.
    pub fn of_packet(packet: &'a [u8]) -> Self {
        let number = match packet {
            [_, low, high, ..] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let rest = packet.get(3..).unwrap_or_default();
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        match rest.split_first().zip(rest.get(1..6)) {
            Some(((b'#', _), state)) => {
                Self { number, state: text(state), message: text(&rest[6..]) }
            }
            _ => Self { number, state: "", message: text(rest) },
        }
    }
}

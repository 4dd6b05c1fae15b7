//! Short answers as texts, and the descriptions of columns.

use crds::Reason;
use mysql_common::io::ParseBuf;
use worker_core::errors::failure::Failure;

use super::framing::{END, END_BYTES_MAX};
use super::session::{QUERY, Session};

/// What stands for a NULL among texts.
const NULL: u8 = 0xFB;

/// The rows of a statement as text; for answers of a few rows. `doing`: what they are asked for.
pub(super) fn texts(
    session: &mut Session,
    doing: &'static str,
    statement: &str,
) -> Result<Vec<Vec<Option<String>>>, Failure> {
    let count = session.command(doing, QUERY, statement.as_bytes())?;
    let count = count_of(&count).ok_or_else(altered)?;
    descriptions(session, count)?;
    let mut rows = Vec::new();
    loop {
        let packet = session.answer()?;
        if packet.first() == Some(&END) && packet.len() <= END_BYTES_MAX {
            return Ok(rows);
        }
        let mut fields = ParseBuf(&packet);
        let mut row = Vec::with_capacity(count);
        while !fields.is_empty() {
            row.push(if fields.0[0] == NULL {
                fields.skip(1);
                None
            } else {
                let bytes = fields.checked_eat_lenenc_str().ok_or_else(altered)?;
                Some(String::from_utf8_lossy(bytes).into_owned())
            });
        }
        rows.push(row);
    }
}

/// So many columns' descriptions, and the packet that ends them.
pub(super) fn descriptions(
    session: &mut Session,
    count: usize,
) -> Result<Vec<mysql_common::packets::Column>, Failure> {
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let packet = session.receive()?;
        found.push(ParseBuf(&packet).parse(()).map_err(|_| altered())?);
    }
    session.receive()?;
    Ok(found)
}

/// A number of one or three bytes: a table has at most 4,096 columns.
pub(super) fn count_of(packet: &[u8]) -> Option<usize> {
    match packet {
        [0xFC, low, high] => Some(usize::from(u16::from_le_bytes([*low, *high]))),
        [count @ 0..=0xFA] => Some(usize::from(*count)),
        _ => None,
    }
}

/// The server describes other columns than the plan has.
pub(super) fn altered() -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        "the table was altered after planning, so its columns differ from those of the plan",
        "Wait for the next attempt, which plans with the new columns.",
    )
}

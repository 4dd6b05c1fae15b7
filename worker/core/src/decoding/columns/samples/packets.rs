//! An encoder of binary rows as small as it gets.

use crds::extract_job::ZeroDates;

use crate::decoding::columns::column::Column;
use crate::decoding::columns::mysql::{SourceType, column_for};

/// What the catalog says of a type.
pub fn source(
    data_type: &str,
    column_type: &str,
    precision: Option<u32>,
    scale: u32,
) -> SourceType {
    SourceType {
        data_type: data_type.to_owned(),
        column_type: column_type.to_owned(),
        precision,
        scale: Some(scale),
        fraction: None,
        checked_json: false,
    }
}

/// A column of a type as the catalog prints it, such as `decimal(38,10)`.
pub fn with(column_type: &str, zero_dates: ZeroDates) -> Column {
    let data_type = column_type.split([' ', '(']).next().unwrap_or_default();
    let mut numbers =
        column_type.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let source = source(data_type, column_type, numbers.next(), numbers.next().unwrap_or(0));
    column_for("x".to_owned(), &source, true, zero_dates)
}

/// A payload with its headers.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = payload;
    loop {
        let (head, tail) = rest.split_at(rest.len().min(0xFF_FFFF));
        bytes.extend(&u32::try_from(head.len()).expect("short").to_le_bytes()[..3]);
        bytes.push(0);
        bytes.extend(head);
        rest = tail;
        if head.len() < 0xFF_FFFF {
            return bytes;
        }
    }
}

/// A row of wire values, `None` being NULL.
pub fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut payload = vec![0; 1 + (values.len() + 2).div_ceil(8)];
    for (index, value) in values.iter().enumerate() {
        match value {
            None => payload[1 + (index + 2) / 8] |= 1 << ((index + 2) % 8),
            Some(value) => payload.extend(value),
        }
    }
    packet(&payload)
}

/// The last packet.
pub fn end() -> Vec<u8> {
    packet(&[0xFE, 0, 0, 2, 0])
}

/// Bytes with their length before them.
pub fn text(value: &[u8]) -> Vec<u8> {
    let length = value.len() as u64;
    let mut bytes = match length {
        0..=250 => vec![u8::try_from(length).expect("short")],
        251..=0xFFFF => vec![0xFC],
        0x1_0000..=0xFF_FFFF => vec![0xFD],
        _ => vec![0xFE],
    };
    match bytes[0] {
        0xFC => bytes.extend(&length.to_le_bytes()[..2]),
        0xFD => bytes.extend(&length.to_le_bytes()[..3]),
        0xFE => bytes.extend(length.to_le_bytes()),
        _ => {}
    }
    bytes.extend(value);
    bytes
}

/// A date of this year; `rest`: month, day and what else there is of it.
pub fn date(year: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(rest.len() + 2).expect("short")];
    bytes.extend(year.to_le_bytes());
    bytes.extend(rest);
    bytes
}

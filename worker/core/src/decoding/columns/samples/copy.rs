//! An encoder of COPY BINARY as small as it gets.

use crate::decoding::columns::column::Column;
use crate::decoding::columns::postgres::{SourceType, column_for};

/// Bytes of a stream before its first row: the head of the first message, signature, flags, length of the extension.
pub const HEADER_BYTES: usize = 5 + 19;

/// A stream of COPY BINARY: rows of fields, `None` for NULL. Servers send the header with the first row, and each row in
/// its own message.
pub fn stream(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut content = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    for row in rows {
        content.extend(i16::try_from(row.len()).expect("few fields").to_be_bytes());
        for field in row {
            match field {
                None => content.extend((-1_i32).to_be_bytes()),
                Some(value) => {
                    content.extend(i32::try_from(value.len()).expect("short").to_be_bytes());
                    content.extend(value);
                }
            }
        }
        bytes.extend(message(&std::mem::take(&mut content)));
    }
    content.extend((-1_i16).to_be_bytes());
    bytes.extend(message(&content));
    bytes
}

/// A message of rows.
pub fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 4).expect("short").to_be_bytes();
    [b"d", length.as_slice(), content].concat()
}

/// A column of a type of the server's own.
pub fn column(name: &str, oid: u32, modifier: i32) -> Column {
    let type_name = format!("type {oid}");
    let source = SourceType { oid, modifier, type_name, ..SourceType::default() };
    column_for(name.to_owned(), source, true)
}

/// The modifier of `numeric(precision, scale)`.
pub const fn numeric(precision: i32, scale: i32) -> i32 {
    (precision << 16 | (scale & 0x7FF)) + 4
}

/// `numeric` as the server sends it: no zero groups at either end.
pub fn numeric_wire(value: i128, scale: u32) -> Vec<u8> {
    let mut digits = value.unsigned_abs().to_string();
    let scale = scale as usize;
    if digits.len() <= scale {
        digits = format!("{digits:0>width$}", width = scale + 1);
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let mut weight = i16::try_from(whole.len() / 4).expect("short") - 1;
    let all = whole + &fraction;
    let groups = all
        .as_bytes()
        .chunks(4)
        .map(|group| std::str::from_utf8(group).expect("digits").parse::<u16>().expect("digits"));
    let mut groups: Vec<u16> = groups.collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    let sign = if value < 0 { 0x4000 } else { 0 };
    let mut bytes = u16::try_from(groups.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(u16::to_be_bytes(sign));
    bytes.extend(u16::try_from(scale).expect("short").to_be_bytes());
    bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    bytes
}

/// Microseconds since 2000, as the server counts them.
pub fn micros_wire(unix_micros: i64) -> [u8; 8] {
    (unix_micros - 946_684_800_000_000).to_be_bytes()
}

//! What is said otherwise in MySQL's SQL.

use crate::decoding::columns::mysql::Form;
use crate::decoding::columns::{Column, Target};
use crate::planning::watermark::Value;

/// Years that its calendar has.
const YEAR_DIGITS: usize = 4;

/// What a column is selected as.
pub(super) fn output(name: String, column: &Column) -> String {
    match Form::of(column.type_oid) {
        Form::Geometry => format!("ST_AsBinary({name})"),
        Form::GeometryText => format!("CONCAT('SRID=', ST_SRID({name}), ';', ST_AsText({name}))"),
        // `float` alone would be printed with six digits
        Form::FloatText => format!("CAST({name} + 0e0 AS CHAR)"),
        Form::BitText => format!("LPAD(BIN({name}), {}, '0')", bits(&column.type_name)),
        Form::HexText => format!("HEX({name})"),
        _ if column.target == Target::AsText => format!("CAST({name} AS CHAR)"),
        _ => name,
    }
}

/// How many bits a column of type `bit(n)` has.
fn bits(type_name: &str) -> u32 {
    let digits: String = type_name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(1)
}

/// An expression of the column's type as text that says all of it: `float` alone would be printed
/// with six digits.
pub(super) fn exact_text(expression: &str, column: &Column) -> String {
    match column.target {
        Target::Float32 | Target::Float64 => format!("CAST({expression} + 0e0 AS CHAR)"),
        _ => format!("CAST({expression} AS CHAR)"),
    }
}

/// A literal that compares with the column in its own index; `None` for a year that its calendar
/// has not. Made of digits, signs, dots, colons and `e` alone, so that there is nothing to escape.
pub(super) fn literal(value: &Value, column: &Column) -> Option<String> {
    let text = value.to_text();
    let in_calendar = text.find('-') == Some(YEAR_DIGITS) && !text.ends_with(" BC");
    match value {
        // compared as double: the very number that the column's four bytes are
        Value::Double(number) if column.target == Target::Float32 => {
            #[expect(clippy::cast_possible_truncation, reason = "the column has no more digits")]
            let narrow = *number as f32;
            Some(format!("{:e}", f64::from(narrow)))
        }
        Value::Double(number) => Some(format!("{number:e}")),
        Value::Int(_) | Value::Decimal(_) => Some(text),
        Value::Timestamp(_) => in_calendar.then(|| format!("TIMESTAMP'{text}'")),
        Value::Date(_) => in_calendar.then(|| format!("DATE'{text}'")),
    }
}

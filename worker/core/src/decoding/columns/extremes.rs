//! Least and greatest watermark, kept while the rows go by.

use super::faults::Fault;
use super::{decimal, temporal};
use crate::decoding::columns::column::{Column, is_decimal_text};
use crate::decoding::columns::postgres::is_oid;
use crate::decoding::columns::target::Target;

/// A decoded value, as far as an order is kept of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    /// A whole number.
    Whole(i64),
    /// A floating point number.
    Float(f64),
    /// A decimal, in units of its last digit.
    Decimal(i128),
    /// Days since 1970.
    Days(i32),
    /// Microseconds since 1970.
    Micros(i64),
    /// A decimal in plain text.
    Text(&'a [u8]),
    /// Nothing that a watermark could be.
    Other,
}

/// Running minimum and maximum of one column. NULLs are not among them.
#[derive(Debug)]
pub(super) struct Extremes {
    kind: Kind,
}

/// One case per family of types; only `Text` owns memory, which it reuses.
#[derive(Debug)]
enum Kind {
    Whole {
        width: usize,
        seen: Option<(i64, i64)>,
    },
    Float {
        width: usize,
        seen: Option<(f64, f64)>,
    },
    Decimal {
        precision: u8,
        scale: i8,
        seen: Option<(i128, i128)>,
    },
    Date {
        seen: Option<(i32, i32)>,
    },
    Timestamp {
        seen: Option<(i64, i64)>,
    },
    /// A decimal that 128 bits do not hold, in the database's own text.
    Text {
        seen: Option<(Vec<u8>, Vec<u8>)>,
    },
}

impl Extremes {
    /// For a column whose type has an order that the tracking table knows; else none.
    pub(super) fn of(column: &Column) -> Option<Self> {
        let kind = match column.target {
            Target::Int16 => Kind::Whole { width: 2, seen: None },
            Target::Int32 => Kind::Whole { width: 4, seen: None },
            Target::Int64 if is_oid(column) => return None,
            Target::Int64 => Kind::Whole { width: 8, seen: None },
            Target::Float32 => Kind::Float { width: 4, seen: None },
            Target::Float64 => Kind::Float { width: 8, seen: None },
            Target::Decimal { precision, scale } => Kind::Decimal { precision, scale, seen: None },
            Target::Date => Kind::Date { seen: None },
            Target::Timestamp | Target::TimestampTz => Kind::Timestamp { seen: None },
            Target::AsText if is_decimal_text(column) => Kind::Text { seen: None },
            Target::AsText
            | Target::Boolean
            | Target::Text
            | Target::Binary
            | Target::Time
            | Target::Uuid
            | Target::Json => return None,
        };
        Some(Self { kind })
    }

    /// Takes a value that is decoded already.
    pub(super) fn take(&mut self, value: Scalar<'_>) -> Result<(), Fault> {
        match (&mut self.kind, value) {
            (Kind::Whole { seen, .. }, Scalar::Whole(value))
            | (Kind::Timestamp { seen }, Scalar::Micros(value)) => widen(seen, value),
            (Kind::Float { seen, .. }, Scalar::Float(value)) if value.is_finite() => {
                widen(seen, value);
            }
            (Kind::Decimal { seen, .. }, Scalar::Decimal(value)) => widen(seen, value),
            (Kind::Date { seen }, Scalar::Days(value)) => widen(seen, value),
            (Kind::Text { seen }, Scalar::Text(bytes)) => widen_text(seen, bytes)?,
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }

    /// Takes the wire form of one value.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.kind {
            Kind::Whole { width, seen } => widen(seen, whole(bytes, *width)?),
            Kind::Float { width, seen } => widen(seen, finite(bytes, *width)?),
            Kind::Decimal { precision, scale, seen } => {
                widen(seen, decimal::decode(bytes, *precision, *scale)?);
            }
            Kind::Date { seen } => widen(seen, temporal::days(bytes)?),
            Kind::Timestamp { seen } => widen(seen, temporal::micros(bytes)?),
            Kind::Text { seen } => widen_text(seen, bytes)?,
        }
        Ok(())
    }

    /// Least and greatest, as the tracking table writes them.
    pub(super) fn text(&self) -> Result<Option<(String, String)>, Fault> {
        fn both<T>(
            seen: Option<&(T, T)>,
            text: impl Fn(&T) -> Result<String, Fault>,
        ) -> Result<Option<(String, String)>, Fault> {
            seen.map(|(min, max)| Ok((text(min)?, text(max)?))).transpose()
        }
        match &self.kind {
            Kind::Whole { seen, .. } => both(seen.as_ref(), |value| Ok(value.to_string())),
            Kind::Float { width, seen } => {
                both(seen.as_ref(), |value| Ok(float_text(*value, *width)))
            }
            Kind::Decimal { scale, seen, .. } => {
                both(seen.as_ref(), |value| Ok(decimal::text(*value, *scale)))
            }
            Kind::Date { seen } => both(seen.as_ref(), |value| temporal::days_text(*value)),
            Kind::Timestamp { seen } => both(seen.as_ref(), |value| temporal::micros_text(*value)),
            Kind::Text { seen } => both(seen.as_ref(), |value| {
                String::from_utf8(value.clone()).map_err(|_| Fault::Utf8)
            }),
        }
    }
}

fn widen<T: PartialOrd + Copy>(seen: &mut Option<(T, T)>, value: T) {
    match seen {
        None => *seen = Some((value, value)),
        Some((min, max)) => {
            if value < *min {
                *min = value;
            }
            if value > *max {
                *max = value;
            }
        }
    }
}

fn widen_text(seen: &mut Option<(Vec<u8>, Vec<u8>)>, bytes: &[u8]) -> Result<(), Fault> {
    let Some((min, max)) = seen else {
        decimal::check_text(bytes)?;
        *seen = Some((bytes.to_vec(), bytes.to_vec()));
        return Ok(());
    };
    let replace = |held: &mut Vec<u8>| {
        held.clear();
        held.extend_from_slice(bytes);
    };
    if decimal::compare_text(bytes, min)?.is_lt() {
        replace(min);
    }
    if decimal::compare_text(bytes, max)?.is_gt() {
        replace(max);
    }
    Ok(())
}

fn whole(bytes: &[u8], width: usize) -> Result<i64, Fault> {
    match (width, bytes) {
        (2, &[a, b]) => Ok(i64::from(i16::from_be_bytes([a, b]))),
        (4, &[a, b, c, d]) => Ok(i64::from(i32::from_be_bytes([a, b, c, d]))),
        (8, bytes) => Ok(i64::from_be_bytes(bytes.try_into().map_err(|_| Fault::Length)?)),
        _ => Err(Fault::Length),
    }
}

fn finite(bytes: &[u8], width: usize) -> Result<f64, Fault> {
    let value = match (width, bytes) {
        (4, &[a, b, c, d]) => f64::from(f32::from_be_bytes([a, b, c, d])),
        (8, bytes) => f64::from_be_bytes(bytes.try_into().map_err(|_| Fault::Length)?),
        _ => return Err(Fault::Length),
    };
    if value.is_finite() { Ok(value) } else { Err(Fault::NotFinite) }
}

/// The shortest text that reads back as the same number, as Python's `repr` writes it.
///
/// Rust's `{:?}` has Python's digits and its thresholds for exponents (1e-4 and 1e16), but writes
/// `1e16` where Python writes `1e+16`, and `1e-5` for `1e-05`.
fn float_text(value: f64, width: usize) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "the value was widened from 4 bytes")]
    let text = if width == 4 { format!("{:?}", value as f32) } else { format!("{value:?}") };
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

//! Least and greatest watermark, kept while the rows go by.

use arrow_buffer::NullBufferBuilder;

use super::block::BadValue;
use super::builder::{ColumnBuilder, Values};
use super::faults::Fault;
use super::{decimal, temporal};
use crate::decoding::columns::column::{Column, is_decimal_text};
use crate::decoding::columns::postgres::is_oid;
use crate::decoding::columns::target::Target;

/// Running minimum and maximum of one column. NULLs are not among them.
#[derive(Debug)]
pub(super) struct Extremes {
    kind: Kind,
}

/// One case per family of types; only `Text` owns memory, which it reuses.
#[derive(Debug)]
enum Kind {
    Whole {
        seen: Option<(i64, i64)>,
    },
    Float {
        width: usize,
        seen: Option<(f64, f64)>,
    },
    Decimal {
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
            Target::Int64 if is_oid(column) => return None,
            Target::Int16 | Target::Int32 | Target::Int64 => Kind::Whole { seen: None },
            Target::Float32 => Kind::Float { width: 4, seen: None },
            Target::Float64 => Kind::Float { width: 8, seen: None },
            Target::Decimal { scale, .. } => Kind::Decimal { scale, seen: None },
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

    /// Includes the values of a column, starting at row `first` of the batch.
    ///
    /// # Errors
    /// The first value without an order. Its row number is relative to `first`.
    pub(super) fn take(&mut self, column: &ColumnBuilder, first: usize) -> Result<(), BadValue> {
        fn valid<'a, T: Copy>(
            nulls: &'a NullBufferBuilder,
            values: &'a [T],
            first: usize,
        ) -> impl Iterator<Item = (usize, T)> + 'a {
            let values = values.iter().copied().enumerate().skip(first);
            values.filter(|(row, _)| nulls.is_valid(*row))
        }
        let ColumnBuilder { values, nulls } = column;
        match (&mut self.kind, values) {
            (Kind::Whole { seen }, Values::Int16(values)) => {
                valid(nulls, values, first).for_each(|(_, value)| widen(seen, value.into()));
            }
            (Kind::Whole { seen }, Values::Int32(values)) => {
                valid(nulls, values, first).for_each(|(_, value)| widen(seen, value.into()));
            }
            (Kind::Whole { seen }, Values::Int64(values))
            | (Kind::Timestamp { seen }, Values::Timestamp(values)) => {
                valid(nulls, values, first).for_each(|(_, value)| widen(seen, value));
            }
            (Kind::Float { seen, .. }, Values::Float32(values)) => {
                for (row, value) in valid(nulls, values, first) {
                    widen(seen, finite(value.into()).map_err(|fault| (row - first, fault))?);
                }
            }
            (Kind::Float { seen, .. }, Values::Float64(values)) => {
                for (row, value) in valid(nulls, values, first) {
                    widen(seen, finite(value).map_err(|fault| (row - first, fault))?);
                }
            }
            (Kind::Decimal { seen, .. }, Values::Decimal { values, .. }) => {
                valid(nulls, values, first).for_each(|(_, value)| widen(seen, value));
            }
            (Kind::Date { seen }, Values::Date(values)) => {
                valid(nulls, values, first).for_each(|(_, value)| widen(seen, value));
            }
            (Kind::Text { seen }, Values::Text { values, .. }) => {
                for row in (first..values.rows()).filter(|row| nulls.is_valid(*row)) {
                    widen_text(seen, values.value(row)).map_err(|fault| (row - first, fault))?;
                }
            }
            _ => return Err((0, Fault::Malformed)),
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
            Kind::Whole { seen } => both(seen.as_ref(), |value| Ok(value.to_string())),
            Kind::Float { width, seen } => {
                both(seen.as_ref(), |value| Ok(float_text(*value, *width)))
            }
            Kind::Decimal { scale, seen } => {
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

fn finite(value: f64) -> Result<f64, Fault> {
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

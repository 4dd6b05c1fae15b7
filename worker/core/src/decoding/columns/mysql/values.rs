//! The values of one column, from MySQL's binary form into a builder.

use arrow_buffer::NullBufferBuilder;

use crate::decoding::columns::block::{BadValue, Fields};
use crate::decoding::columns::builder::{
    ColumnBuilder, Values, append, append_booleans, append_or_null, append_uuids, fixed,
};
use crate::decoding::columns::decimal;
use crate::decoding::columns::faults::Fault;
use crate::decoding::columns::mysql::form::Form;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Appends the values of a column of one block.
///
/// # Errors
/// The first value that cannot be decoded.
pub(in crate::decoding::columns) fn append_column(
    column: &mut ColumnBuilder,
    form: Form,
    fields: Fields<'_>,
) -> Result<(), BadValue> {
    let ColumnBuilder { values, nulls } = column;
    match form {
        Form::I8 => {
            whole(values, nulls, fields, |bytes| Ok(i8::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::U8 => {
            whole(values, nulls, fields, |bytes| Ok(u8::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::I16 => {
            whole(values, nulls, fields, |bytes| Ok(i16::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::U16 => {
            whole(values, nulls, fields, |bytes| Ok(u16::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::I32 => {
            whole(values, nulls, fields, |bytes| Ok(i32::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::U32 => {
            whole(values, nulls, fields, |bytes| Ok(u32::from_le_bytes(fixed(bytes)?).into()))
        }
        Form::I64 => whole(values, nulls, fields, |bytes| Ok(i64::from_le_bytes(fixed(bytes)?))),
        Form::U64 => unsigned(values, nulls, fields, |bytes| Ok(u64::from_le_bytes(fixed(bytes)?))),
        Form::Bit => unsigned(values, nulls, fields, bits),
        Form::F32 => match values {
            Values::Float32(values) => {
                append(values, nulls, fields, |bytes| Ok(f32::from_le_bytes(fixed(bytes)?)))
            }
            _ => Err(target_mismatch()),
        },
        Form::F64 => match values {
            Values::Float64(values) => {
                append(values, nulls, fields, |bytes| Ok(f64::from_le_bytes(fixed(bytes)?)))
            }
            _ => Err(target_mismatch()),
        },
        Form::Decimal
        | Form::Bytes
        | Form::Geometry
        | Form::FloatText
        | Form::BitText
        | Form::HexText
        | Form::GeometryText => text(values, nulls, fields),
        Form::Date | Form::DateTime => time(values, nulls, fields, |moment| moment.map(Some)),
        Form::DateOrNull | Form::DateTimeOrNull => {
            time(values, nulls, fields, |moment| match moment {
                Ok(moment) => Ok(Some(moment)),
                Err(Fault::ZeroDate) => Ok(None),
                Err(fault) => Err(fault),
            })
        }
    }
}

/// The target of the plan does not fit the wire form of the values.
const fn target_mismatch() -> BadValue {
    (0, Fault::Malformed)
}

fn whole(
    values: &mut Values,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    read: impl Fn(&[u8]) -> Result<i64, Fault>,
) -> Result<(), BadValue> {
    match values {
        Values::Int16(values) => append(values, nulls, fields, |bytes| {
            i16::try_from(read(bytes)?).map_err(|_| Fault::Precision)
        }),
        Values::Int32(values) => append(values, nulls, fields, |bytes| {
            i32::try_from(read(bytes)?).map_err(|_| Fault::Precision)
        }),
        Values::Int64(values) => append(values, nulls, fields, read),
        // bigint unsigned, which comes as less
        Values::Decimal { values, .. } => append(values, nulls, fields, |bytes| {
            u64::try_from(read(bytes)?).map(i128::from).map_err(|_| Fault::Precision)
        }),
        _ => Err(target_mismatch()),
    }
}

fn unsigned(
    values: &mut Values,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    read: impl Fn(&[u8]) -> Result<u64, Fault>,
) -> Result<(), BadValue> {
    match values {
        Values::Boolean(values) => {
            append_booleans(values, nulls, fields, |bytes| Ok(read(bytes)? != 0))
        }
        Values::Decimal { values, .. } => {
            append(values, nulls, fields, |bytes| read(bytes).map(i128::from))
        }
        _ => whole(values, nulls, fields, |bytes| {
            i64::try_from(read(bytes)?).map_err(|_| Fault::Precision)
        }),
    }
}

/// The most significant byte first, and no more of them than needed.
fn bits(bytes: &[u8]) -> Result<u64, Fault> {
    if bytes.len() > 8 {
        return Err(Fault::Length);
    }
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(
    values: &mut Values,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
) -> Result<(), BadValue> {
    match values {
        Values::Text { values, json, .. } => {
            let first = values.rows();
            values.append(nulls, fields, |start, end| Ok((start, end)))?;
            values.check(nulls, first, *json)
        }
        Values::Binary(values) => values.append(nulls, fields, |start, end| Ok((start, end))),
        Values::Decimal { values, precision, scale } => {
            let (precision, scale) = (*precision, *scale);
            append(values, nulls, fields, |bytes| decimal::decode_text(bytes, precision, scale))
        }
        Values::Uuid(values) => append_uuids(values, nulls, fields, uuid),
        _ => Err(target_mismatch()),
    }
}

/// `123e4567-e89b-12d3-a456-426655440000`.
fn uuid(text: &[u8]) -> Result<[u8; 16], Fault> {
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Fault::Malformed),
    });
    let mut digit = || digits.next().ok_or(Fault::Length)?;
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digit()? << 4 | digit()?;
    }
    if digit().is_ok() { Err(Fault::Length) } else { Ok(bytes) }
}

/// A date and a time of day. Parts that were not sent are zero.
struct Moment {
    days: i32,
    seconds: u32,
    micros: u32,
}

fn time(
    values: &mut Values,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    or_null: impl Fn(Result<Moment, Fault>) -> Result<Option<Moment>, Fault>,
) -> Result<(), BadValue> {
    match values {
        Values::Date(values) => append_or_null(values, nulls, fields, |bytes| {
            Ok(or_null(moment(bytes))?.map(|moment| moment.days))
        }),
        Values::Timestamp(values) => append_or_null(values, nulls, fields, |bytes| {
            Ok(or_null(moment(bytes))?.map(|moment| {
                let seconds = i64::from(moment.days) * SECONDS_PER_DAY + i64::from(moment.seconds);
                seconds * MICROS_PER_SECOND + i64::from(moment.micros)
            }))
        }),
        _ => Err(target_mismatch()),
    }
}

/// Year, month, day; hour, minute, second; microseconds. What is zero at the end is left out.
fn moment(bytes: &[u8]) -> Result<Moment, Fault> {
    let days = match bytes {
        [] => return Err(Fault::ZeroDate),
        [low, high, month, day, ..] => days(u16::from_le_bytes([*low, *high]), *month, *day)?,
        _ => return Err(Fault::Length),
    };
    let (seconds, micros) = match bytes.len() {
        4 => (0, 0),
        7 => (clock(&bytes[4..7])?, 0),
        11 => (clock(&bytes[4..7])?, u32::from_le_bytes(fixed(&bytes[7..])?)),
        _ => return Err(Fault::Length),
    };
    if i64::from(micros) >= MICROS_PER_SECOND {
        return Err(Fault::Malformed);
    }
    Ok(Moment { days, seconds, micros })
}

fn clock(bytes: &[u8]) -> Result<u32, Fault> {
    match bytes {
        &[hour @ 0..24, minute @ 0..60, second @ 0..60] => {
            Ok(u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second))
        }
        _ => Err(Fault::Malformed),
    }
}

/// Days since 1970; years have at most four digits, so nothing overflows.
///
/// Counted in years that begin in March, so that a leap day is the last.
fn days(year: u16, month: u8, day: u8) -> Result<i32, Fault> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return Err(Fault::ZeroDate),
    };
    if day == 0 || day > last {
        return Err(Fault::ZeroDate);
    }
    let (month, day) = (i32::from(month), i32::from(day));
    let year = i32::from(year) - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok(era * 146_097 + day_of_era - 719_468)
}

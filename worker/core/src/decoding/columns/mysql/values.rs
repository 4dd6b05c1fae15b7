//! One value, from its wire form into a builder.

use crate::decoding::columns::builder::{ColumnBuilder, text as checked};
use crate::decoding::columns::decimal;
use crate::decoding::columns::extremes::Scalar;
use crate::decoding::columns::faults::Fault;
use crate::decoding::columns::mysql::form::Form;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Appends a value. `None`: it was a zero date, and NULL stands for it.
pub(super) fn append<'a>(
    builder: &mut ColumnBuilder,
    form: Form,
    bytes: &'a [u8],
) -> Result<Option<Scalar<'a>>, Fault> {
    let scalar = match form {
        Form::I8 => whole(builder, i64::from(i8::from_le_bytes(fixed(bytes)?)))?,
        Form::U8 => whole(builder, i64::from(u8::from_le_bytes(fixed(bytes)?)))?,
        Form::I16 => whole(builder, i64::from(i16::from_le_bytes(fixed(bytes)?)))?,
        Form::U16 => whole(builder, i64::from(u16::from_le_bytes(fixed(bytes)?)))?,
        Form::I32 => whole(builder, i64::from(i32::from_le_bytes(fixed(bytes)?)))?,
        Form::U32 => whole(builder, i64::from(u32::from_le_bytes(fixed(bytes)?)))?,
        Form::I64 => whole(builder, i64::from_le_bytes(fixed(bytes)?))?,
        Form::U64 => unsigned(builder, u64::from_le_bytes(fixed(bytes)?))?,
        Form::Bit => unsigned(builder, bits(bytes)?)?,
        Form::F32 => {
            let value = f32::from_le_bytes(fixed(bytes)?);
            let ColumnBuilder::Float32(builder) = builder else { return Err(Fault::Malformed) };
            builder.append_value(value);
            Scalar::Float(f64::from(value))
        }
        Form::F64 => {
            let value = f64::from_le_bytes(fixed(bytes)?);
            let ColumnBuilder::Float64(builder) = builder else { return Err(Fault::Malformed) };
            builder.append_value(value);
            Scalar::Float(value)
        }
        Form::Decimal
        | Form::Bytes
        | Form::Geometry
        | Form::FloatText
        | Form::BitText
        | Form::HexText
        | Form::GeometryText => text(builder, bytes)?,
        Form::Date | Form::DateOrNull | Form::DateTime | Form::DateTimeOrNull => {
            return match time(builder, bytes) {
                Ok(scalar) => Ok(Some(scalar)),
                Err(Fault::ZeroDate) if matches!(form, Form::DateOrNull | Form::DateTimeOrNull) => {
                    builder.append_null();
                    Ok(None)
                }
                Err(fault) => Err(fault),
            };
        }
    };
    Ok(Some(scalar))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Length)
}

fn whole<'a>(builder: &mut ColumnBuilder, value: i64) -> Result<Scalar<'a>, Fault> {
    match builder {
        ColumnBuilder::Int16(builder) => {
            builder.append_value(i16::try_from(value).map_err(|_| Fault::Precision)?);
        }
        ColumnBuilder::Int32(builder) => {
            builder.append_value(i32::try_from(value).map_err(|_| Fault::Precision)?);
        }
        ColumnBuilder::Int64(builder) => builder.append_value(value),
        // bigint unsigned, which comes as less
        ColumnBuilder::Decimal { builder, .. } => {
            u64::try_from(value).map_err(|_| Fault::Precision)?;
            builder.append_value(i128::from(value));
            return Ok(Scalar::Decimal(i128::from(value)));
        }
        _ => return Err(Fault::Malformed),
    }
    Ok(Scalar::Whole(value))
}

fn unsigned<'a>(builder: &mut ColumnBuilder, value: u64) -> Result<Scalar<'a>, Fault> {
    match builder {
        ColumnBuilder::Boolean(builder) => {
            builder.append_value(value != 0);
            Ok(Scalar::Other)
        }
        ColumnBuilder::Decimal { builder, .. } => {
            builder.append_value(i128::from(value));
            Ok(Scalar::Decimal(i128::from(value)))
        }
        _ => whole(builder, i64::try_from(value).map_err(|_| Fault::Precision)?),
    }
}

/// The most significant byte first, and no more of them than needed.
fn bits(bytes: &[u8]) -> Result<u64, Fault> {
    if bytes.len() > 8 {
        return Err(Fault::Length);
    }
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text<'a>(builder: &mut ColumnBuilder, bytes: &'a [u8]) -> Result<Scalar<'a>, Fault> {
    match builder {
        ColumnBuilder::Text { builder, json, .. } => {
            builder.append_value(checked(bytes, *json)?);
            Ok(Scalar::Text(bytes))
        }
        ColumnBuilder::Binary(builder) => {
            builder.append_value(bytes);
            Ok(Scalar::Other)
        }
        ColumnBuilder::Decimal { builder, precision, scale } => {
            let value = decimal::decode_text(bytes, *precision, *scale)?;
            builder.append_value(value);
            Ok(Scalar::Decimal(value))
        }
        ColumnBuilder::Uuid(builder) => {
            builder.append_value(uuid(bytes)?).map_err(|_| Fault::Length)?;
            Ok(Scalar::Other)
        }
        _ => Err(Fault::Malformed),
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

/// Year, month, day; hour, minute, second; microseconds. What is zero at the end is left out.
fn time<'a>(builder: &mut ColumnBuilder, bytes: &[u8]) -> Result<Scalar<'a>, Fault> {
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
    match builder {
        ColumnBuilder::Date(builder) => {
            builder.append_value(days);
            Ok(Scalar::Days(days))
        }
        ColumnBuilder::Timestamp(builder) => {
            let seconds = i64::from(days) * SECONDS_PER_DAY + i64::from(seconds);
            let value = seconds * MICROS_PER_SECOND + i64::from(micros);
            builder.append_value(value);
            Ok(Scalar::Micros(value))
        }
        _ => Err(Fault::Malformed),
    }
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

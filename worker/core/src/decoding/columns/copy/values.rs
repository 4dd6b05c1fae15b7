//! The values of one column, from Postgres' binary form into a builder.

use crate::decoding::columns::block::{BadValue, Fields};
use crate::decoding::columns::builder::{
    ColumnBuilder, Values, append, append_booleans, append_uuids, fixed,
};
use crate::decoding::columns::faults::Fault;
use crate::decoding::columns::{decimal, temporal};

/// The one version of `jsonb`'s wire form.
const JSONB_VERSION: u8 = 1;

/// Appends the values of a column of one block.
///
/// # Errors
/// The first value that cannot be decoded.
pub(in crate::decoding::columns) fn append_column(
    column: &mut ColumnBuilder,
    fields: Fields<'_>,
) -> Result<(), BadValue> {
    let nulls = &mut column.nulls;
    match &mut column.values {
        Values::Boolean(values) => {
            append_booleans(values, nulls, fields, |bytes| Ok(fixed::<1>(bytes)?[0] != 0))
        }
        Values::Int16(values) => {
            append(values, nulls, fields, |bytes| Ok(i16::from_be_bytes(fixed(bytes)?)))
        }
        Values::Int32(values) => {
            append(values, nulls, fields, |bytes| Ok(i32::from_be_bytes(fixed(bytes)?)))
        }
        Values::Int64(values) => {
            append(values, nulls, fields, |bytes| Ok(i64::from_be_bytes(fixed(bytes)?)))
        }
        Values::Oid(values) => {
            append(values, nulls, fields, |bytes| Ok(u32::from_be_bytes(fixed(bytes)?).into()))
        }
        Values::Float32(values) => {
            append(values, nulls, fields, |bytes| Ok(f32::from_be_bytes(fixed(bytes)?)))
        }
        Values::Float64(values) => {
            append(values, nulls, fields, |bytes| Ok(f64::from_be_bytes(fixed(bytes)?)))
        }
        Values::Decimal { values, precision, scale } => {
            let (precision, scale) = (*precision, *scale);
            append(values, nulls, fields, |bytes| decimal::decode(bytes, precision, scale))
        }
        Values::Text { values, versioned, json } => {
            let first = values.rows();
            let appended = if *versioned {
                let bytes = fields.bytes;
                values.append(nulls, fields, |start, end| unversioned(bytes, start, end))
            } else {
                values.append(nulls, fields, |start, end| Ok((start, end)))
            };
            // a value before a bad one may be bad too
            values.check(nulls, first, *json).and(appended)
        }
        Values::Binary(values) => values.append(nulls, fields, |start, end| Ok((start, end))),
        Values::Date(values) => append(values, nulls, fields, temporal::days),
        Values::Time(values) => append(values, nulls, fields, temporal::of_day),
        Values::Timestamp(values) => append(values, nulls, fields, temporal::micros),
        Values::Uuid(values) => append_uuids(values, nulls, fields, fixed),
    }
}

fn unversioned(bytes: &[u8], start: usize, end: usize) -> Result<(usize, usize), Fault> {
    match bytes[start..end].first() {
        Some(&JSONB_VERSION) => Ok((start + 1, end)),
        Some(_) => Err(Fault::Malformed),
        None => Err(Fault::Length),
    }
}

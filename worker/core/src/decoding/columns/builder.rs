//! One column of the batch being built, in the form in which Arrow keeps it.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder};
use arrow_schema::ArrowError;

use super::block::{BadValue, Fields};
use super::faults::Fault;
use super::text::TextBuilder;
use crate::decoding::columns::column::Column;
use crate::decoding::columns::postgres::{is_oid, oids};
use crate::decoding::columns::target::Target;

/// Bytes of a UUID.
const UUID_BYTES: i32 = 16;

/// Values of one column. A NULL has an entry in `values` too.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    pub(super) values: Values,
    pub(super) nulls: NullBufferBuilder,
}

/// Values by their Arrow type.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// `oid`, `xid`, `cid`: four bytes without a sign.
    Oid(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    /// `versioned`: `jsonb`, whose text has one byte before it. `json`: each text is checked to be JSON.
    Text {
        values: TextBuilder,
        versioned: bool,
        json: bool,
    },
    Binary(TextBuilder),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Uuid(Vec<u8>),
}

impl ColumnBuilder {
    /// An empty builder with room for `rows` rows, and `text_bytes` of text.
    pub(super) fn new(column: &Column, rows: usize, text_bytes: usize) -> Self {
        let values = match column.target {
            Target::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            Target::Int16 => Values::Int16(Vec::with_capacity(rows)),
            Target::Int32 => Values::Int32(Vec::with_capacity(rows)),
            Target::Int64 if is_oid(column) => Values::Oid(Vec::with_capacity(rows)),
            Target::Int64 => Values::Int64(Vec::with_capacity(rows)),
            Target::Float32 => Values::Float32(Vec::with_capacity(rows)),
            Target::Float64 => Values::Float64(Vec::with_capacity(rows)),
            Target::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::with_capacity(rows), precision, scale }
            }
            Target::Text | Target::AsText | Target::Json => Values::Text {
                values: TextBuilder::with_capacity(rows, text_bytes),
                versioned: column.target != Target::AsText && column.type_oid == oids::JSONB,
                json: column.target == Target::Json,
            },
            Target::Binary => Values::Binary(TextBuilder::with_capacity(rows, text_bytes)),
            Target::Date => Values::Date(Vec::with_capacity(rows)),
            Target::Time => Values::Time(Vec::with_capacity(rows)),
            Target::Timestamp | Target::TimestampTz => Values::Timestamp(Vec::with_capacity(rows)),
            Target::Uuid => Values::Uuid(Vec::with_capacity(rows * 16)),
        };
        Self { values, nulls: NullBufferBuilder::new(rows) }
    }

    /// Bytes of text or binary values held.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Text { values, .. } | Values::Binary(values) => values.len(),
            Values::Boolean(_)
            | Values::Int16(_)
            | Values::Int32(_)
            | Values::Int64(_)
            | Values::Oid(_)
            | Values::Float32(_)
            | Values::Float64(_)
            | Values::Decimal { .. }
            | Values::Date(_)
            | Values::Time(_)
            | Values::Timestamp(_)
            | Values::Uuid(_) => 0,
        }
    }

    /// The column as an array.
    ///
    /// # Errors
    /// If Arrow refuses the values.
    pub(super) fn finish(mut self, target: Target) -> Result<ArrayRef, ArrowError> {
        let nulls: Option<NullBuffer> = self.nulls.finish();
        Ok(match self.values {
            Values::Boolean(mut values) => shared(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => shared(Int16Array::try_new(values.into(), nulls)?),
            Values::Int32(values) => shared(Int32Array::try_new(values.into(), nulls)?),
            Values::Int64(values) | Values::Oid(values) => {
                shared(Int64Array::try_new(values.into(), nulls)?)
            }
            Values::Float32(values) => shared(Float32Array::try_new(values.into(), nulls)?),
            Values::Float64(values) => shared(Float64Array::try_new(values.into(), nulls)?),
            Values::Decimal { values, .. } => {
                let values = Decimal128Array::try_new(values.into(), nulls)?;
                shared(values.with_data_type(target.data_type()))
            }
            Values::Text { values, .. } => {
                let (offsets, bytes) = values.finish();
                shared(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Binary(values) => {
                let (offsets, bytes) = values.finish();
                shared(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Values::Date(values) => shared(Date32Array::try_new(values.into(), nulls)?),
            Values::Time(values) => shared(Time64MicrosecondArray::try_new(values.into(), nulls)?),
            Values::Timestamp(values) => {
                let values = TimestampMicrosecondArray::try_new(values.into(), nulls)?;
                shared(values.with_data_type(target.data_type()))
            }
            Values::Uuid(values) => {
                let bytes = Buffer::from_vec(values);
                shared(FixedSizeBinaryArray::try_new(UUID_BYTES, bytes, nulls)?)
            }
        })
    }
}

fn shared(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// Appends the values of a column of one block. The entry of a NULL is the default of the type.
///
/// # Errors
/// The first value that `decode` refuses.
pub(super) fn append<T: Default>(
    values: &mut Vec<T>,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    decode: impl Fn(&[u8]) -> Result<T, Fault>,
) -> Result<(), BadValue> {
    append_or_null(values, nulls, fields, |bytes| decode(bytes).map(Some))
}

/// Like [`append`], and appends NULL for a value that `decode` maps to `None`.
///
/// # Errors
/// The first value that `decode` refuses.
pub(super) fn append_or_null<T: Default>(
    values: &mut Vec<T>,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    decode: impl Fn(&[u8]) -> Result<Option<T>, Fault>,
) -> Result<(), BadValue> {
    values.reserve(fields.rows);
    let mut valid = 0;
    for (row, bytes) in fields.values().enumerate() {
        let value = match bytes.map(&decode).transpose() {
            Ok(value) => value.flatten(),
            Err(fault) => {
                nulls.append_n_non_nulls(valid);
                return Err((row, fault));
            }
        };
        if let Some(value) = value {
            values.push(value);
            valid += 1;
        } else {
            values.push(T::default());
            nulls.append_n_non_nulls(valid);
            nulls.append_null();
            valid = 0;
        }
    }
    nulls.append_n_non_nulls(valid);
    Ok(())
}

/// Appends booleans.
///
/// # Errors
/// The first value that `decode` refuses.
pub(super) fn append_booleans(
    values: &mut BooleanBufferBuilder,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    decode: impl Fn(&[u8]) -> Result<bool, Fault>,
) -> Result<(), BadValue> {
    for (row, bytes) in fields.values().enumerate() {
        match bytes {
            Some(bytes) => {
                values.append(decode(bytes).map_err(|fault| (row, fault))?);
                nulls.append_non_null();
            }
            None => {
                values.append(false);
                nulls.append_null();
            }
        }
    }
    Ok(())
}

/// Appends UUIDs.
///
/// # Errors
/// The first value that `decode` refuses.
pub(super) fn append_uuids(
    values: &mut Vec<u8>,
    nulls: &mut NullBufferBuilder,
    fields: Fields<'_>,
    decode: impl Fn(&[u8]) -> Result<[u8; 16], Fault>,
) -> Result<(), BadValue> {
    for (row, bytes) in fields.values().enumerate() {
        match bytes {
            Some(bytes) => {
                values.extend_from_slice(&decode(bytes).map_err(|fault| (row, fault))?);
                nulls.append_non_null();
            }
            None => {
                values.extend_from_slice(&[0; 16]);
                nulls.append_null();
            }
        }
    }
    Ok(())
}

/// Bytes that one row of this target takes, NULL or not, without text.
pub(super) const fn row_bytes(target: Target) -> usize {
    match target {
        Target::Boolean => 1,
        Target::Int16 => 2,
        // the last four: their offset
        Target::Int32
        | Target::Float32
        | Target::Date
        | Target::Text
        | Target::AsText
        | Target::Json
        | Target::Binary => 4,
        Target::Int64
        | Target::Float64
        | Target::Time
        | Target::Timestamp
        | Target::TimestampTz => 8,
        Target::Decimal { .. } | Target::Uuid => 16,
    }
}

/// Bytes of a value of fixed width.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Length)
}

//! One Arrow builder per column, fed with wire bytes.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};

use super::faults::Fault;
use super::json::is_portable;
use super::{decimal, temporal};
use crate::decoding::columns::column::Column;
use crate::decoding::columns::postgres::{is_oid, oids};
use crate::decoding::columns::target::Target;

/// A builder and how wire bytes go into it.
#[derive(Debug)]
pub(super) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    /// `oid`, `xid`, `cid`: four bytes without a sign.
    Oid(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal {
        builder: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    /// `versioned`: `jsonb`, whose text has one byte before it. `json`: each text is checked to be JSON.
    Text {
        builder: StringBuilder,
        versioned: bool,
        json: bool,
    },
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

/// The one version of `jsonb`'s wire form.
const JSONB_VERSION: u8 = 1;

impl ColumnBuilder {
    /// An empty builder with room for `rows` rows, and `text_bytes` of text.
    pub(super) fn new(column: &Column, rows: usize, text_bytes: usize) -> Self {
        match column.target {
            Target::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            Target::Int16 => Self::Int16(Int16Builder::with_capacity(rows)),
            Target::Int32 => Self::Int32(Int32Builder::with_capacity(rows)),
            Target::Int64 if is_oid(column) => Self::Oid(Int64Builder::with_capacity(rows)),
            Target::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            Target::Float32 => Self::Float32(Float32Builder::with_capacity(rows)),
            Target::Float64 => Self::Float64(Float64Builder::with_capacity(rows)),
            Target::Decimal { precision, scale } => Self::Decimal {
                builder: Decimal128Builder::with_capacity(rows)
                    .with_data_type(column.target.data_type()),
                precision,
                scale,
            },
            Target::Text | Target::AsText | Target::Json => Self::Text {
                builder: StringBuilder::with_capacity(rows, text_bytes),
                versioned: column.target != Target::AsText && column.type_oid == oids::JSONB,
                json: column.target == Target::Json,
            },
            Target::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, text_bytes)),
            Target::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Target::Time => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Target::Timestamp | Target::TimestampTz => Self::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(rows)
                    .with_data_type(column.target.data_type()),
            ),
            Target::Uuid => Self::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
        }
    }

    /// Appends one value in its wire form.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Boolean(builder) => builder.append_value(fixed::<1>(bytes)?[0] != 0),
            Self::Int16(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int32(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int64(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Oid(builder) => {
                builder.append_value(i64::from(u32::from_be_bytes(fixed(bytes)?)));
            }
            Self::Float32(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float64(builder) => builder.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Self::Decimal { builder, precision, scale } => {
                builder.append_value(decimal::decode(bytes, *precision, *scale)?);
            }
            Self::Text { builder, versioned, json } => {
                let bytes = if *versioned { unversioned(bytes)? } else { bytes };
                builder.append_value(text(bytes, *json)?);
            }
            Self::Binary(builder) => builder.append_value(bytes),
            Self::Date(builder) => builder.append_value(temporal::days(bytes)?),
            Self::Time(builder) => builder.append_value(temporal::of_day(bytes)?),
            Self::Timestamp(builder) => builder.append_value(temporal::micros(bytes)?),
            Self::Uuid(builder) => {
                builder.append_value(fixed::<16>(bytes)?).map_err(|_| Fault::Length)?;
            }
        }
        Ok(())
    }

    /// Appends NULL.
    pub(super) fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) | Self::Oid(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal { builder, .. } => builder.append_null(),
            Self::Text { builder, .. } => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Uuid(builder) => builder.append_null(),
        }
    }

    /// Bytes of text or binary values held.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Text { builder, .. } => builder.values_slice().len(),
            Self::Binary(builder) => builder.values_slice().len(),
            Self::Boolean(_)
            | Self::Int16(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::Oid(_)
            | Self::Float32(_)
            | Self::Float64(_)
            | Self::Decimal { .. }
            | Self::Date(_)
            | Self::Time(_)
            | Self::Timestamp(_)
            | Self::Uuid(_) => 0,
        }
    }

    /// The column as an array; the builder is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) | Self::Oid(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Decimal { builder, .. } => Arc::new(builder.finish()),
            Self::Text { builder, .. } => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Uuid(builder) => Arc::new(builder.finish()),
        }
    }
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

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Length)
}

fn unversioned(bytes: &[u8]) -> Result<&[u8], Fault> {
    match bytes.split_first() {
        Some((&JSONB_VERSION, text)) => Ok(text),
        Some(_) => Err(Fault::Malformed),
        None => Err(Fault::Length),
    }
}

/// A text; `json`: one that every reader takes for JSON.
pub(super) fn text(bytes: &[u8], json: bool) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Utf8)?;
    if json && !is_portable(bytes) {
        return Err(Fault::Json);
    }
    Ok(text)
}

//! The Arrow schema of an extract, and its fingerprint.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sha2::{Digest, Sha256};

use crate::decoding::columns::column::Column;
use crate::decoding::columns::target::Target;

/// Field metadata: the type as the database prints it.
const SOURCE_TYPE: &str = "tidemark.source_type";
/// Field metadata of Arrow's extension types.
const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Their parameters; the two types used here have none.
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

impl Target {
    /// The Arrow type its values are built in.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Text | Self::AsText | Self::Json => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Uuid => DataType::FixedSizeBinary(16),
        }
    }

    const fn extension(self) -> Option<&'static str> {
        match self {
            Self::Uuid => Some("arrow.uuid"),
            Self::Json => Some("arrow.json"),
            Self::Boolean
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float32
            | Self::Float64
            | Self::Decimal { .. }
            | Self::Text
            | Self::AsText
            | Self::Binary
            | Self::Date
            | Self::Time
            | Self::Timestamp
            | Self::TimestampTz => None,
        }
    }

    /// Parquet's physical and logical type; of all decimals but the largest whole number alike.
    pub const fn parquet(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Int16 => "INT32, INT(16)",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Float32 => "FLOAT",
            Self::Float64 => "DOUBLE",
            Self::Decimal { precision: 20, scale: 0 } => "FIXED_LEN_BYTE_ARRAY, DECIMAL(20, 0)",
            Self::Decimal { .. } => "INT32, INT64 or FIXED_LEN_BYTE_ARRAY, DECIMAL(p, s)",
            Self::Text | Self::AsText => "BYTE_ARRAY, STRING",
            Self::Binary => "BYTE_ARRAY",
            Self::Date => "INT32, DATE",
            Self::Time => "INT64, TIME(MICROS), not adjusted to UTC",
            Self::Timestamp => "INT64, TIMESTAMP(MICROS), not adjusted to UTC",
            Self::TimestampTz => "INT64, TIMESTAMP(MICROS), adjusted to UTC",
            Self::Uuid => "FIXED_LEN_BYTE_ARRAY(16), UUID",
            Self::Json => "BYTE_ARRAY, JSON",
        }
    }
}

impl fmt::Display for Target {
    /// Parquet's logical type, or the physical one where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decimal { precision, scale } => {
                return write!(f, "DECIMAL({precision}, {scale})");
            }
            Self::Boolean => "BOOLEAN",
            Self::Int16 => "INT(16)",
            Self::Int32 => "INT(32)",
            Self::Int64 => "INT(64)",
            Self::Float32 => "FLOAT",
            Self::Float64 => "DOUBLE",
            Self::Text => "STRING",
            Self::AsText => "STRING, as text",
            Self::Binary => "BYTE_ARRAY",
            Self::Date => "DATE",
            Self::Time => "TIME(MICROS)",
            Self::Timestamp => "TIMESTAMP(MICROS)",
            Self::TimestampTz => "TIMESTAMP(MICROS), UTC",
            Self::Uuid => "UUID",
            Self::Json => "JSON",
        })
    }
}

/// The schema of the files.
///
/// Every field is nullable, NOT NULL columns too: the files of a chain keep one schema when the
/// constraint is dropped, and a NOT NULL that was never validated cannot stop a run.
pub fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<Field> = columns.iter().map(field).collect();
    Arc::new(Schema::new(fields))
}

fn field(column: &Column) -> Field {
    let mut metadata = HashMap::from([(SOURCE_TYPE.to_owned(), column.type_name.clone())]);
    if let Some(extension) = column.target.extension() {
        metadata.insert(EXTENSION_NAME.to_owned(), extension.to_owned());
        metadata.insert(EXTENSION_METADATA.to_owned(), String::new());
    }
    Field::new(&column.name, column.target.data_type(), true).with_metadata(metadata)
}

/// Names that differ by nothing but the case of their letters, which many readers take for one.
pub fn differ_by_case(columns: &[Column]) -> Vec<&str> {
    let mut folded: Vec<(String, &str)> =
        columns.iter().map(|column| (column.name.to_lowercase(), column.name.as_str())).collect();
    folded.sort_unstable();
    let mut alike: Vec<&str> = folded
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .flat_map(|pair| [pair[0].1, pair[1].1])
        .collect();
    alike.dedup();
    alike
}

/// SHA-256, in hex, over name, type and target of every column in their order.
///
/// Each text goes in with its length before it, so that no two lists of columns run together.
pub fn fingerprint(columns: &[Column]) -> String {
    let mut hash = Sha256::new();
    for column in columns {
        for text in [&column.name, &column.type_name, &column.target.data_type().to_string()] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(column.target.extension().unwrap_or_default().as_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // writing to a String cannot fail
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

//! Which columns can be cut, and how a value of theirs is read and written.

use crds::extract_job::WatermarkType;

use crate::decoding::columns::{
    Column, Target, is_bit, is_decimal_text, is_named_set, is_oid, is_text, is_year, of_mysql,
};
use crate::planning::watermark::Value;

/// Most bytes of a text at which a table is cut: a plan holds up to a thousand, and is read by
/// every pod.
pub const CUT_BYTES_MAX: usize = 1000;

/// Types that can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Whole numbers.
    Int,
    /// Decimals of up to 38 digits; `bigint unsigned` too.
    Decimal,
    /// `date`.
    Date,
    /// `timestamp`, `timestamptz`, `datetime`.
    Timestamp,
    /// `uuid`.
    Uuid,
    /// Text, compared by the column's own collation.
    Text,
    /// Postgres: any other type by its text, compared byte by byte. Its indexes are of no use then.
    AsText,
}

impl KeyType {
    /// How a column is cut; `None`: it cannot be.
    pub fn of(column: &Column) -> Option<Self> {
        match column.target {
            // numbers without an order of their own in SQL
            Target::Int64 if is_oid(column) => Some(Self::AsText),
            // the server reads a number below 100 as a year of 1970 to 2069
            Target::Int16 if is_year(column) => None,
            Target::Int16 | Target::Int32 | Target::Int64 => Some(Self::Int),
            Target::Date => Some(Self::Date),
            Target::Timestamp | Target::TimestampTz => Some(Self::Timestamp),
            Target::Decimal { .. } => (!is_bit(column)).then_some(Self::Decimal),
            Target::AsText if is_decimal_text(column) => Some(Self::Decimal),
            Target::Uuid => Some(Self::Uuid),
            // sorted by number and compared by name
            Target::Text if is_named_set(column) => None,
            // citext and enums do not compare with a text
            Target::Text if !of_mysql(column) && !is_text(column) => Some(Self::AsText),
            Target::Text => Some(Self::Text),
            Target::AsText | Target::Time => (!of_mysql(column)).then_some(Self::AsText),
            Target::Boolean | Target::Float32 | Target::Float64 | Target::Binary | Target::Json => {
                None
            }
        }
    }

    /// The type whose values the bounds are: those between which a stride can be measured.
    pub const fn value_type(self) -> Option<WatermarkType> {
        match self {
            Self::Int => Some(WatermarkType::Int),
            Self::Decimal => Some(WatermarkType::Decimal),
            Self::Date => Some(WatermarkType::Date),
            Self::Timestamp => Some(WatermarkType::Timestamp),
            Self::Uuid | Self::Text | Self::AsText => None,
        }
    }

    /// Reads a value of a type that strides can be measured in; `None` for an infinity, which no
    /// stride reaches and the open outer partitions hold.
    pub fn value(self, text: &str) -> Option<Value> {
        let value_type = self.value_type()?;
        let read = |text: &str| Value::parse(value_type, text).ok();
        // zeros that fill a scale may be what is too many digits
        let filled = self == Self::Decimal && text.contains('.');
        let shorter = || text.trim_end_matches('0').trim_end_matches('.');
        read(text).or_else(|| filled.then(shorter).and_then(read))
    }

    /// A value of the database as a bound has it; `None`: no table is cut there.
    pub fn canonical(self, text: &str) -> Option<String> {
        match self {
            Self::Int | Self::Decimal | Self::Date | Self::Timestamp => {
                self.value(text).map(|value| value.to_text())
            }
            Self::Uuid => is_uuid(text).then(|| text.to_ascii_lowercase()),
            Self::Text | Self::AsText => (text.len() <= CUT_BYTES_MAX).then(|| text.to_owned()),
        }
    }
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    lengths.eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

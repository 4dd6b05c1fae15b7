//! What a value of MySQL or MariaDB is on the wire.

use crate::decoding::columns::target::Target;

/// The form of a column's values in a binary row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// One byte with a sign.
    I8,
    /// One byte.
    U8,
    /// Two bytes with a sign.
    I16,
    /// Two bytes; `year` too.
    U16,
    /// Four bytes with a sign; `mediumint` too.
    I32,
    /// Four bytes; `mediumint unsigned` too.
    U32,
    /// Eight bytes with a sign.
    I64,
    /// Eight bytes.
    U64,
    /// `float`.
    F32,
    /// `double`.
    F64,
    /// `decimal`: text of digits.
    Decimal,
    /// `bit(n)`: up to eight bytes, the most significant first.
    Bit,
    /// `date`; a zero date is a fault.
    Date,
    /// `date`; a zero date is NULL.
    DateOrNull,
    /// `datetime` and `timestamp`; a zero date is a fault.
    DateTime,
    /// `datetime` and `timestamp`; a zero date is NULL.
    DateTimeOrNull,
    /// Text or bytes with their length before them.
    Bytes,
    /// Geometry, asked for as WKB.
    Geometry,
    /// `float`, asked for as text of all its digits.
    FloatText,
    /// `bit(n)`, asked for as zeros and ones.
    BitText,
    /// Bytes, asked for as hexadecimal digits.
    HexText,
    /// Geometry, asked for as EWKT: with its reference system.
    GeometryText,
}

/// Codes of forms begin here, above the oids that Postgres has of its own.
const CODE_BASE: u32 = 0x4D59_0000;

impl Form {
    /// Each once, in the order of their codes.
    pub const ALL: [Self; 22] = [
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::F32,
        Self::F64,
        Self::Decimal,
        Self::Bit,
        Self::Date,
        Self::DateOrNull,
        Self::DateTime,
        Self::DateTimeOrNull,
        Self::Bytes,
        Self::Geometry,
        Self::FloatText,
        Self::BitText,
        Self::HexText,
        Self::GeometryText,
    ];

    /// Its number in a plan.
    pub const fn code(self) -> u32 {
        CODE_BASE + self as u32
    }

    /// The form behind a number; what is unknown is bytes.
    pub fn of(code: u32) -> Self {
        Self::ALL.into_iter().find(|form| form.code() == code).unwrap_or(Self::Bytes)
    }

    /// Whether values of this form come as column type `protocol_type` of the protocol, with or
    /// without a sign: asked of the server's own description before a row is read.
    pub(crate) const fn comes_as(self, protocol_type: u8, unsigned: bool) -> bool {
        match self {
            Self::I8 => protocol_type == 1 && !unsigned,
            Self::U8 => protocol_type == 1 && unsigned,
            Self::I16 => protocol_type == 2 && !unsigned,
            Self::U16 => (protocol_type == 2 || protocol_type == 13) && unsigned,
            Self::I32 => (protocol_type == 3 || protocol_type == 9) && !unsigned,
            Self::U32 => (protocol_type == 3 || protocol_type == 9) && unsigned,
            Self::I64 => protocol_type == 8 && !unsigned,
            Self::U64 => protocol_type == 8 && unsigned,
            Self::F32 => protocol_type == 4,
            Self::F64 => protocol_type == 5,
            Self::Decimal => protocol_type == 246 || is_bytes(protocol_type),
            Self::Bit => protocol_type == 16,
            Self::Date | Self::DateOrNull => protocol_type == 10,
            Self::DateTime | Self::DateTimeOrNull => protocol_type == 12 || protocol_type == 7,
            Self::Bytes
            | Self::Geometry
            | Self::FloatText
            | Self::BitText
            | Self::HexText
            | Self::GeometryText => is_bytes(protocol_type),
        }
    }

    /// The form in which values of a column of this form come, by the server's own description; nothing if that is
    /// another column.
    ///
    /// MySQL sends most expressions of a view as eight bytes, although its catalog has them as `int`.
    #[must_use]
    pub const fn arriving(self, protocol_type: u8, unsigned: bool) -> Option<Self> {
        /// Of a column without any value but NULL.
        const ONLY_NULL: u8 = 6;
        if self.comes_as(protocol_type, unsigned) || protocol_type == ONLY_NULL {
            return Some(self);
        }
        if !self.is_whole_number() {
            return None;
        }
        match (protocol_type, unsigned) {
            (1, false) => Some(Self::I8),
            (1, true) => Some(Self::U8),
            (2, false) => Some(Self::I16),
            (2 | 13, true) => Some(Self::U16),
            (3 | 9, false) => Some(Self::I32),
            (3 | 9, true) => Some(Self::U32),
            (8, false) => Some(Self::I64),
            (8, true) => Some(Self::U64),
            _ => None,
        }
    }

    const fn is_whole_number(self) -> bool {
        matches!(
            self,
            Self::I8
                | Self::U8
                | Self::I16
                | Self::U16
                | Self::I32
                | Self::U32
                | Self::I64
                | Self::U64
        )
    }

    /// Whether values of this form are kept in a buffer of their own, whose bytes are counted.
    pub(in crate::decoding::columns) const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Decimal
                | Self::Bytes
                | Self::Geometry
                | Self::FloatText
                | Self::BitText
                | Self::HexText
                | Self::GeometryText
        )
    }

    /// The form in which a column that is written as `target` comes as text.
    #[must_use]
    pub const fn as_text(self, target: Target) -> Self {
        match self {
            Self::F32 | Self::FloatText => Self::FloatText,
            Self::Bit | Self::BitText => Self::BitText,
            Self::Geometry | Self::GeometryText => Self::GeometryText,
            Self::HexText => Self::HexText,
            Self::Bytes if matches!(target, Target::Binary) => Self::HexText,
            Self::I8
            | Self::U8
            | Self::I16
            | Self::U16
            | Self::I32
            | Self::U32
            | Self::I64
            | Self::U64
            | Self::F64
            | Self::Decimal
            | Self::Date
            | Self::DateOrNull
            | Self::DateTime
            | Self::DateTimeOrNull
            | Self::Bytes => Self::Bytes,
        }
    }
}

/// `varchar`, `enum`, `set`, the blobs, `char`, `geometry`, `json`, `vector`.
const fn is_bytes(protocol_type: u8) -> bool {
    matches!(protocol_type, 15 | 242 | 245 | 247..=255)
}

//! The mapping table of MySQL and MariaDB, as data; the documentation is printed from it.

use crds::extract_job::ZeroDates;

use crate::decoding::columns::column::Column;
use crate::decoding::columns::mysql::form::Form;
use crate::decoding::columns::target::{Fidelity, Target};

/// What the catalog says about a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceType {
    /// `DATA_TYPE`, in lower case.
    pub data_type: String,
    /// `COLUMN_TYPE`, such as `int(10) unsigned`.
    pub column_type: String,
    /// Digits, or bits of `bit`.
    pub precision: Option<u32>,
    /// Digits after the point.
    pub scale: Option<u32>,
    /// Digits after the second.
    pub fraction: Option<u32>,
    /// Whether the column's own check makes it JSON ([`super::json_columns`]), which is how MariaDB knows it.
    pub checked_json: bool,
}

/// How a type is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// Always so.
    Always(Target),
    /// DECIMAL of the column's own precision and scale.
    Decimal,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The type.
    pub source: &'static str,
    /// The form of its values on the wire.
    pub form: Form,
    to: To,
    /// Parquet's physical and logical type.
    pub parquet: &'static str,
    /// What is kept.
    pub fidelity: Fidelity,
    /// Why it is not `exact`; empty where it is.
    pub reason: &'static str,
}

const fn row(
    source: &'static str,
    form: Form,
    to: Target,
    (fidelity, reason): (Fidelity, &'static str),
) -> Mapping {
    Mapping { source, form, to: To::Always(to), parquet: to.parquet(), fidelity, reason }
}

const EXACT: (Fidelity, &str) = (Fidelity::Exact, "");
const UNSIGNED: (Fidelity, &str) =
    (Fidelity::Widened, "few readers support unsigned numbers, so the next wider type is used");
const WIDER: (Fidelity, &str) = (Fidelity::Widened, "readers support no type of this width");
const AS_TEXT: (Fidelity, &str) = (Fidelity::String, "Parquet has no such type");
const ZERO_TEXT: (Fidelity, &str) =
    (Fidelity::String, "zeroDates: string keeps zero dates as text");
const ZERO_NULL: (Fidelity, &str) =
    (Fidelity::Lossy, "zeroDates: null replaces zero dates by NULL");
const DECIMAL_20: Target = Target::Decimal { precision: 20, scale: 0 };

/// All types, in the order of the documentation. The last row is for every type without one.
pub const MAPPINGS: &[Mapping] = &[
    row(
        "tinyint",
        Form::I8,
        Target::Int16,
        (Fidelity::Widened, "tinyint(1) too, because it can hold more than 0 and 1"),
    ),
    row("tinyint unsigned", Form::U8, Target::Int16, UNSIGNED),
    row("smallint", Form::I16, Target::Int16, EXACT),
    row("smallint unsigned", Form::U16, Target::Int32, UNSIGNED),
    row("mediumint", Form::I32, Target::Int32, WIDER),
    row("mediumint unsigned", Form::U32, Target::Int32, WIDER),
    row("int", Form::I32, Target::Int32, EXACT),
    row("int unsigned", Form::U32, Target::Int64, UNSIGNED),
    row("bigint", Form::I64, Target::Int64, EXACT),
    row("bigint unsigned", Form::U64, DECIMAL_20, UNSIGNED),
    row("year", Form::U16, Target::Int16, WIDER),
    row("float", Form::F32, Target::Float32, EXACT),
    row("double", Form::F64, Target::Float64, EXACT),
    Mapping {
        source: "decimal, up to 38 digits",
        form: Form::Decimal,
        to: To::Decimal,
        parquet: Target::Decimal { precision: 38, scale: 0 }.parquet(),
        fidelity: Fidelity::Exact,
        reason: "",
    },
    row(
        "decimal, more than 38 digits",
        Form::Decimal,
        Target::AsText,
        (Fidelity::String, "few readers support decimals of more than 38 digits"),
    ),
    row("bit(1)", Form::Bit, Target::Boolean, EXACT),
    row("bit(2) to bit(63)", Form::Bit, Target::Int64, (Fidelity::Widened, "the bits as a number")),
    row("bit(64)", Form::Bit, DECIMAL_20, (Fidelity::Widened, "the bits as a number")),
    row("date", Form::Date, Target::Date, EXACT),
    row("datetime", Form::DateTime, Target::Timestamp, EXACT),
    row("timestamp", Form::DateTime, Target::TimestampTz, EXACT),
    row("date, or NULL", Form::DateOrNull, Target::Date, ZERO_NULL),
    row("datetime, or NULL", Form::DateTimeOrNull, Target::Timestamp, ZERO_NULL),
    row("timestamp, or NULL", Form::DateTimeOrNull, Target::TimestampTz, ZERO_NULL),
    row("date, as text", Form::Bytes, Target::AsText, ZERO_TEXT),
    row("datetime, as text", Form::Bytes, Target::AsText, ZERO_TEXT),
    row("timestamp, as text", Form::Bytes, Target::AsText, ZERO_TEXT),
    row(
        "time",
        Form::Bytes,
        Target::AsText,
        (Fidelity::String, "it holds -838 to 838 hours, and Parquet's TIME holds 0 to 24"),
    ),
    row("char", Form::Bytes, Target::Text, EXACT),
    row("varchar", Form::Bytes, Target::Text, EXACT),
    row("tinytext", Form::Bytes, Target::Text, EXACT),
    row("text", Form::Bytes, Target::Text, EXACT),
    row("mediumtext", Form::Bytes, Target::Text, EXACT),
    row("longtext", Form::Bytes, Target::Text, EXACT),
    row(
        "enum",
        Form::Bytes,
        Target::Text,
        (Fidelity::String, "the name of the value, not its number"),
    ),
    row(
        "set",
        Form::Bytes,
        Target::Text,
        (Fidelity::String, "the names of the values, separated by commas"),
    ),
    row("json", Form::Bytes, Target::Json, EXACT),
    row("binary", Form::Bytes, Target::Binary, EXACT),
    row("varbinary", Form::Bytes, Target::Binary, EXACT),
    row("tinyblob", Form::Bytes, Target::Binary, EXACT),
    row("blob", Form::Bytes, Target::Binary, EXACT),
    row("mediumblob", Form::Bytes, Target::Binary, EXACT),
    row("longblob", Form::Bytes, Target::Binary, EXACT),
    row("vector", Form::Bytes, Target::Binary, EXACT),
    row("uuid", Form::Bytes, Target::Uuid, EXACT),
    row(
        "geometry",
        Form::Geometry,
        Target::Binary,
        (Fidelity::Lossy, "WKB does not contain the reference system (SRID)"),
    ),
    row("any other type", Form::Bytes, Target::AsText, AS_TEXT),
];

/// Most digits of a decimal that readers know.
const PRECISION_MAX: u32 = 38;
const GEOMETRIES: [&str; 9] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
];

/// The row of a type.
pub fn mapping_for(source: &SourceType, zero_dates: ZeroDates) -> &'static Mapping {
    let name = name_of(source, zero_dates);
    let found = MAPPINGS.iter().find(|mapping| mapping.source == name);
    found.unwrap_or(&MAPPINGS[MAPPINGS.len() - 1])
}

fn name_of(source: &SourceType, zero_dates: ZeroDates) -> String {
    let SourceType { data_type, column_type, precision, .. } = source;
    let unsigned = column_type.to_ascii_lowercase().contains("unsigned");
    match data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if unsigned => {
            format!("{data_type} unsigned")
        }
        "decimal" if precision.is_some_and(|digits| digits <= PRECISION_MAX) => {
            "decimal, up to 38 digits".to_owned()
        }
        "decimal" => "decimal, more than 38 digits".to_owned(),
        "bit" => match precision {
            Some(1) => "bit(1)".to_owned(),
            Some(2..=63) => "bit(2) to bit(63)".to_owned(),
            Some(_) | None => "bit(64)".to_owned(),
        },
        "date" | "datetime" | "timestamp" if zero_dates == ZeroDates::String => {
            format!("{data_type}, as text")
        }
        "date" | "datetime" | "timestamp" if zero_dates == ZeroDates::Null => {
            format!("{data_type}, or NULL")
        }
        "longtext" if source.checked_json => "json".to_owned(),
        name if GEOMETRIES.contains(&name) => "geometry".to_owned(),
        name => name.to_owned(),
    }
}

/// The column of an extract.
pub fn column_for(
    name: String,
    source: &SourceType,
    nullable: bool,
    zero_dates: ZeroDates,
) -> Column {
    let mapping = mapping_for(source, zero_dates);
    let small = |number: Option<u32>| number.and_then(|number| u8::try_from(number).ok());
    let target = match mapping.to {
        To::Always(target) => target,
        To::Decimal => Target::Decimal {
            precision: small(source.precision).unwrap_or(38),
            scale: small(source.scale).map_or(0, u8::cast_signed),
        },
    };
    Column {
        name,
        type_oid: mapping.form.code(),
        type_name: source.column_type.clone(),
        type_modifier: source.fraction.and_then(|digits| i32::try_from(digits).ok()).unwrap_or(-1),
        nullable,
        target,
        fidelity: Some(mapping.fidelity),
        reason: mapping.reason.to_owned(),
    }
}

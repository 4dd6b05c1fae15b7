//! The mapping table of Postgres, as data; the documentation is printed from it.

use super::oids;
use crate::decoding::columns::column::Column;
use crate::decoding::columns::decimal;
use crate::decoding::columns::target::{Fidelity, Target};

/// What a type is made of, where that says more than its oid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// None of the others.
    #[default]
    Plain,
    /// Arrays of any element type.
    Array,
    /// Enumerations.
    Enum,
    /// Row types.
    Composite,
    /// Ranges.
    Range,
    /// Sets of ranges.
    Multirange,
}

impl Family {
    /// By the word of [`crate::sql::rows::statements::COLUMNS`].
    pub fn of(word: &str) -> Self {
        match word {
            "array" => Self::Array,
            "enum" => Self::Enum,
            "composite" => Self::Composite,
            "range" => Self::Range,
            "multirange" => Self::Multirange,
            _ => Self::Plain,
        }
    }
}

/// What the catalog says about a column's type; of a domain, about the type below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceType {
    /// Its oid.
    pub oid: u32,
    /// The column's modifier, -1 where there is none.
    pub modifier: i32,
    /// The column's type as the database prints it.
    pub type_name: String,
    /// The type's own name.
    pub name: String,
    /// What it is made of.
    pub family: Family,
    /// The extension that it comes with, if any.
    pub extension: Option<String>,
}

/// Which types a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Those of the server's own.
    Oids(&'static [u32]),
    /// `numeric`, where a DECIMAL holds it.
    Decimal,
    /// `numeric`, where none does.
    Numeric,
    /// All of a family.
    Family(Family),
    /// Types of an extension, by their names.
    Extension(&'static str, &'static [&'static str]),
    /// All others.
    Rest,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The type, or types.
    pub source: &'static str,
    types: For,
    /// How it is written; decimals with the column's own precision and scale.
    pub(in crate::decoding::columns) to: Target,
    /// Parquet's physical and logical type.
    pub parquet: &'static str,
    /// What is kept.
    pub fidelity: Fidelity,
    /// Why it is not `exact`; empty where it is.
    pub reason: &'static str,
}

const fn row(
    source: &'static str,
    types: For,
    to: Target,
    (fidelity, reason): (Fidelity, &'static str),
) -> Mapping {
    Mapping { source, types, to, parquet: to.parquet(), fidelity, reason }
}

/// A type of the server's own that is written as its text.
const fn text(source: &'static str, oids: &'static [u32], reason: &'static str) -> Mapping {
    row(source, For::Oids(oids), Target::AsText, (Fidelity::String, reason))
}

/// A type of the server's own that Parquet has too.
const fn exact(source: &'static str, oids: &'static [u32], to: Target) -> Mapping {
    row(source, For::Oids(oids), to, (Fidelity::Exact, ""))
}

const NO_TYPE: &str = "Parquet has no such type";
const NO_SIGN: (Fidelity, &str) =
    (Fidelity::Widened, "few readers support unsigned numbers, so the next wider type is used");
/// Stands for every precision and scale.
const DECIMAL: Target = Target::Decimal { precision: 38, scale: 0 };

/// All types, in the order of the documentation. The last row is for every type without one.
pub const MAPPINGS: &[Mapping] = &[
    exact("boolean", &[oids::BOOL], Target::Boolean),
    exact("smallint", &[oids::INT2], Target::Int16),
    exact("integer", &[oids::INT4], Target::Int32),
    exact("bigint", &[oids::INT8], Target::Int64),
    exact("real", &[oids::FLOAT4], Target::Float32),
    exact("double precision", &[oids::FLOAT8], Target::Float64),
    row("numeric(p, s), up to 38 digits", For::Decimal, DECIMAL, (Fidelity::Exact, "")),
    row(
        "numeric, any other",
        For::Numeric,
        Target::AsText,
        (
            Fidelity::String,
            "without a precision each value has its own scale, few readers support more than 38 digits, and \
             none support a scale below 0 or above the precision",
        ),
    ),
    text(
        "money",
        &[oids::MONEY],
        "in the format of the C locale (lc_monetary is set to C); refused if the server's money does not \
         have two decimal digits",
    ),
    exact("text", &[oids::TEXT], Target::Text),
    exact("character varying", &[oids::VARCHAR], Target::Text),
    exact("character", &[oids::BPCHAR], Target::Text),
    exact("name", &[oids::NAME], Target::Text),
    row("citext", For::Extension("citext", &["citext"]), Target::Text, (Fidelity::Exact, "")),
    text("\"char\"", &[oids::CHAR], "one byte, as its character"),
    exact("bytea", &[oids::BYTEA], Target::Binary),
    text(
        "bit, bit varying",
        &[oids::BIT, oids::VARBIT],
        "as zeros and ones, because a number would lose the length",
    ),
    exact("date", &[oids::DATE], Target::Date),
    exact("time", &[oids::TIME], Target::Time),
    text("time with time zone", &[oids::TIMETZ], "Parquet's TIME has no offset"),
    exact("timestamp", &[oids::TIMESTAMP], Target::Timestamp),
    exact("timestamp with time zone", &[oids::TIMESTAMPTZ], Target::TimestampTz),
    text(
        "interval",
        &[oids::INTERVAL],
        "Parquet's INTERVAL has milliseconds and no sign, and few readers support it",
    ),
    exact("uuid", &[oids::UUID], Target::Uuid),
    exact("json, jsonb", &[oids::JSON, oids::JSONB], Target::Json),
    text("jsonpath", &[oids::JSONPATH], NO_TYPE),
    text("xml", &[oids::XML], NO_TYPE),
    row(
        "enum",
        For::Family(Family::Enum),
        Target::Text,
        (Fidelity::String, "the label, not its position in the order"),
    ),
    row(
        "array",
        For::Family(Family::Array),
        Target::AsText,
        (
            Fidelity::String,
            "one column may hold arrays of different dimensions and lower bounds, which LIST does not \
             support",
        ),
    ),
    row(
        "composite",
        For::Family(Family::Composite),
        Target::AsText,
        (Fidelity::String, "the values in order, without the names of the fields"),
    ),
    row("range", For::Family(Family::Range), Target::AsText, (Fidelity::String, NO_TYPE)),
    row("multirange", For::Family(Family::Multirange), Target::AsText, (Fidelity::String, NO_TYPE)),
    text("inet, cidr", &[oids::INET, oids::CIDR], NO_TYPE),
    text("macaddr, macaddr8", &[oids::MACADDR, oids::MACADDR8], NO_TYPE),
    text("point, line, lseg, box, path, polygon, circle", &oids::GEOMETRIC, NO_TYPE),
    text("tsvector, tsquery", &[oids::TSVECTOR, oids::TSQUERY], NO_TYPE),
    row(
        "hstore",
        For::Extension("hstore", &["hstore"]),
        Target::AsText,
        (Fidelity::String, "few readers support maps"),
    ),
    row(
        "ltree, lquery, ltxtquery",
        For::Extension("ltree", &["ltree", "lquery", "ltxtquery"]),
        Target::AsText,
        (Fidelity::String, NO_TYPE),
    ),
    row(
        "geometry, geography (PostGIS)",
        For::Extension("postgis", &["geometry", "geography"]),
        Target::Binary,
        (Fidelity::Widened, "EWKB, as PostGIS sends it, with the reference system (SRID), Z and M"),
    ),
    row("oid, xid, cid", For::Oids(&[oids::OID, oids::XID, oids::CID]), Target::Int64, NO_SIGN),
    text("xid8", &[oids::XID8], "few readers support unsigned numbers of 64 bits"),
    text(
        "regclass, regproc, regtype and the like",
        &oids::REG,
        "the name with its schema, which is clearer than the number",
    ),
    text("tid, pg_lsn", &[oids::TID, oids::PG_LSN], NO_TYPE),
    text("pg_snapshot, txid_snapshot", &oids::SNAPSHOTS, NO_TYPE),
    row("any other type", For::Rest, Target::AsText, (Fidelity::String, NO_TYPE)),
];

impl Mapping {
    fn holds(&self, source: &SourceType) -> bool {
        let fits = || decimal::target(source.modifier).is_some();
        let is_numeric = source.oid == oids::NUMERIC && source.family == Family::Plain;
        match self.types {
            For::Oids(oids) => source.family == Family::Plain && oids.contains(&source.oid),
            For::Decimal => is_numeric && fits(),
            For::Numeric => is_numeric && !fits(),
            For::Family(family) => source.family == family,
            For::Extension(extension, names) => {
                source.family == Family::Plain
                    && source.extension.as_deref() == Some(extension)
                    && names.contains(&source.name.as_str())
            }
            For::Rest => true,
        }
    }

    /// How a column with this modifier is written.
    fn target(&self, modifier: i32) -> Target {
        match self.types {
            For::Decimal => decimal::target(modifier).unwrap_or(self.to),
            _ => self.to,
        }
    }
}

/// The row of a type.
pub fn mapping_for(source: &SourceType) -> &'static Mapping {
    let found = MAPPINGS.iter().find(|mapping| mapping.holds(source));
    found.unwrap_or(&MAPPINGS[MAPPINGS.len() - 1])
}

/// The column of an extract.
pub fn column_for(name: String, source: SourceType, nullable: bool) -> Column {
    let mapping = mapping_for(&source);
    Column {
        name,
        type_oid: source.oid,
        type_name: source.type_name,
        type_modifier: source.modifier,
        nullable,
        target: mapping.target(source.modifier),
        fidelity: Some(mapping.fidelity),
        reason: mapping.reason.to_owned(),
    }
}

/// How a column of a type of the server's own is written.
pub fn target_for(oid: u32, modifier: i32) -> Target {
    let source = SourceType { oid, modifier, ..SourceType::default() };
    mapping_for(&source).target(modifier)
}

//! In: the names of the manifest, the catalog's answers. Out: the table, its columns, checked
//! watermark and partition column, read extremes. Bound: one table. Fails: `TableNotFound`,
//! `ColumnNotFound`, `ColumnTypeUnsupported`, `NonFiniteValue`, `InvalidSpec`.

use crds::Reason;
use crds::extract_job::WatermarkType;
use crds::source::Engine;

use crate::columns::{Column, Target, is_decimal_text, is_oid, is_unsigned};
use crate::error::Failure;
use crate::plan::TableName;
use crate::ranges::KeyType;
use crate::watermark::{BadValue, Value};

/// Longest identifier of Postgres, which would cut a longer one with no more than a notice.
const IDENTIFIER_BYTES_MAX: usize = 63;
/// Longest identifier of MySQL.
const IDENTIFIER_CHARACTERS_MAX: usize = 64;

/// One part of a name as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePart {
    /// The name without quotes.
    pub text: String,
    /// Whether it stood in double quotes: then nothing but this very name is meant.
    pub quoted: bool,
}

impl NamePart {
    fn is(&self, name: &str) -> bool {
        self.text == name
    }

    /// What an unquoted name means in SQL, as the replaced job passed it on.
    fn folds_to(&self, name: &str) -> bool {
        !self.quoted && self.text.to_lowercase() == name
    }

    /// The spellings to look for in the catalog.
    pub fn spellings(&self) -> Vec<String> {
        let folded = self.text.to_lowercase();
        if self.quoted || folded == self.text {
            vec![self.text.clone()]
        } else {
            vec![self.text.clone(), folded]
        }
    }
}

/// `extract.table` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRef {
    /// The schema, if named.
    pub schema: Option<NamePart>,
    /// The table.
    pub table: NamePart,
}

impl TableRef {
    /// Reads `table`, `schema.table`, either part in double quotes or not.
    ///
    /// # Errors
    /// `InvalidSpec`.
    pub fn parse(engine: Engine, text: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::permanent(
                Reason::InvalidSpec,
                "extract.table is not <table> or <schema>.<table>",
                "name a table with parts of at most 63 bytes (MySQL: 64 characters); put a part that \
                 holds a dot in double quotes",
            )
        };
        let (first, rest) = name_part(engine, text).ok_or_else(bad)?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => Ok(Self { schema: None, table: first }),
            Some(rest) => match name_part(engine, rest) {
                Some((table, "")) => Ok(Self { schema: Some(first), table }),
                _ => Err(bad()),
            },
            None => Err(bad()),
        }
    }
}

/// The part at the start of `text`, and what follows it.
fn name_part(engine: Engine, text: &str) -> Option<(NamePart, &str)> {
    let (part, rest) = if let Some(inner) = text.strip_prefix('"') {
        let mut end = 0;
        loop {
            end += inner.get(end..)?.find('"')?;
            if inner[end + 1..].starts_with('"') {
                end += 2;
            } else {
                break;
            }
        }
        let name = inner[..end].replace("\"\"", "\"");
        (NamePart { text: name, quoted: true }, &inner[end + 1..])
    } else {
        let (name, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
        (NamePart { text: name.to_owned(), quoted: false }, rest)
    };
    let name = &part.text;
    let odd = name.is_empty()
        || match engine {
            Engine::Postgres => name.len() > IDENTIFIER_BYTES_MAX,
            Engine::Mysql => name.chars().count() > IDENTIFIER_CHARACTERS_MAX,
        }
        || name.contains('\0')
        || (!part.quoted && name.contains('"'));
    (!odd).then_some((part, rest))
}

/// A table as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its oid.
    pub oid: u32,
    /// Its names.
    pub name: TableName,
}

/// Picks the table that is meant: the very name before its lower-case form; without a schema,
/// `public` before the only other one.
///
/// # Errors
/// `TableNotFound`, also where the name is in several schemas.
pub fn pick_table(wanted: &TableRef, candidates: &[Relation]) -> Result<Relation, Failure> {
    type Reads = fn(&NamePart, &str) -> bool;
    let readings: [Reads; 2] = [NamePart::is, NamePart::folds_to];
    for matches in readings {
        let fits = |relation: &&Relation| {
            let schema = wanted.schema.as_ref();
            matches(&wanted.table, &relation.name.table)
                && schema.is_none_or(|part| {
                    part.is(&relation.name.schema) || part.folds_to(&relation.name.schema)
                })
        };
        let found: Vec<_> = candidates.iter().filter(fits).collect();
        let preferred = |relation: &&&Relation| match &wanted.schema {
            Some(part) => part.is(&relation.name.schema),
            None => relation.name.schema == "public",
        };
        match (found.iter().find(preferred), found.as_slice()) {
            (Some(relation), _) => return Ok((**relation).clone()),
            (None, [only]) => return Ok((*only).clone()),
            (None, []) => {}
            (None, _) => {
                return Err(Failure::permanent(
                    Reason::TableNotFound,
                    "several schemas have a table of this name, and none of them is public",
                    "name the schema too: extract.table: <schema>.<table>",
                ));
            }
        }
    }
    Err(Failure::permanent(
        Reason::TableNotFound,
        "the database has no such table or view",
        "check extract.table, source.database, and upper and lower case",
    ))
}

/// Finds a column that the manifest names.
///
/// # Errors
/// `ColumnNotFound`.
pub fn find_column<'a>(
    columns: &'a [Column],
    name: &str,
    field: &str,
) -> Result<&'a Column, Failure> {
    let folded = name.to_lowercase();
    let exact = columns.iter().find(|column| column.name == name);
    exact.or_else(|| columns.iter().find(|column| column.name == folded)).ok_or_else(|| {
        Failure::permanent(
            Reason::ColumnNotFound,
            format!("the table has no column {name:?}, or the manifest leaves it out"),
            format!(
                "correct {field}, or extract.columns and excludeColumns, or give the database user access \
                 to the right table"
            ),
        )
    })
}

/// Whether the values of a column are of the watermark type that the user named.
///
/// # Errors
/// `ColumnTypeUnsupported`.
pub fn check_watermark(column: &Column, value_type: WatermarkType) -> Result<(), Failure> {
    let own = watermark_type(column);
    let whole = own == Some(WatermarkType::Int);
    let fits = own == Some(value_type) || (whole && value_type == WatermarkType::Decimal);
    if fits {
        return Ok(());
    }
    let remedy = match own {
        Some(right) => format!("set extract.watermark.type: {}", right.name()),
        None => "choose a watermark column of type integer, numeric, double precision, timestamp \
                 or date"
            .to_owned(),
    };
    let message = format!(
        "watermark column {:?} is of type {}, which is not {}",
        column.name,
        column.type_name,
        value_type.name()
    );
    Err(Failure::permanent(Reason::ColumnTypeUnsupported, message, remedy))
}

fn watermark_type(column: &Column) -> Option<WatermarkType> {
    match column.target {
        Target::Int64 if is_oid(column) => None,
        Target::Int16 | Target::Int32 | Target::Int64 => Some(WatermarkType::Int),
        Target::Decimal { .. } if is_unsigned(column) => Some(WatermarkType::Int),
        Target::Decimal { .. } => Some(WatermarkType::Decimal),
        Target::AsText if is_decimal_text(column) => Some(WatermarkType::Decimal),
        Target::Float32 | Target::Float64 => Some(WatermarkType::Double),
        Target::Timestamp | Target::TimestampTz => Some(WatermarkType::Timestamp),
        Target::Date => Some(WatermarkType::Date),
        Target::AsText
        | Target::Boolean
        | Target::Text
        | Target::Binary
        | Target::Time
        | Target::Uuid
        | Target::Json => None,
    }
}

/// Digits after the second that a time column keeps: `timestamp(0)` has the modifier 0, and one
/// without precision has 6.
pub fn fraction_digits(column: &Column) -> u32 {
    u32::try_from(column.type_modifier).ok().filter(|digits| *digits <= 6).unwrap_or(6)
}

/// How a partition column can be cut.
///
/// # Errors
/// `ColumnTypeUnsupported`.
pub fn key_type(column: &Column) -> Result<KeyType, Failure> {
    KeyType::of(column).ok_or_else(|| {
        Failure::permanent(
            Reason::ColumnTypeUnsupported,
            format!(
                "partition column {:?} is of type {}, which cannot be cut into ranges",
                column.name, column.type_name
            ),
            "choose a column of type integer, decimal, date, timestamp, uuid or text, or set \
             extract.partition.strategy: auto, hash or none",
        )
    })
}

/// Reads an extreme of the watermark column.
///
/// # Errors
/// `NonFiniteValue`: an infinity or NaN would become the watermark and never be passed again.
pub fn watermark_extreme(
    value_type: WatermarkType,
    column: &str,
    text: &str,
) -> Result<Value, Failure> {
    Value::parse(value_type, text).map_err(|bad| match bad {
        BadValue::NotFinite => Failure::permanent(
            Reason::NonFiniteValue,
            format!("watermark column {column:?} holds an infinity or NaN, which sorts above every later value"),
            "correct those rows, or choose another watermark column",
        ),
        BadValue::Malformed { expected } => Failure::permanent(
            Reason::ColumnTypeUnsupported,
            format!("watermark column {column:?} holds a value that is out of range for {expected}"),
            "correct those rows, or choose another watermark column",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::oids;
    use crate::columns::postgres::{SourceType, column_for};

    fn relation(oid: u32, schema: &str, table: &str) -> Relation {
        Relation { oid, name: TableName { schema: schema.to_owned(), table: table.to_owned() } }
    }

    fn pick(text: &str, candidates: &[Relation]) -> Result<u32, Reason> {
        let wanted = TableRef::parse(Engine::Postgres, text).expect(text);
        pick_table(&wanted, candidates)
            .map(|relation| relation.oid)
            .map_err(|failure| failure.report.reason)
    }

    fn column(oid: u32, modifier: i32) -> Column {
        let type_name = "t".to_owned();
        let source = SourceType { oid, modifier, type_name, ..SourceType::default() };
        column_for("at".to_owned(), source, true)
    }

    #[test]
    fn tables_are_named_with_and_without_schema_and_quotes() {
        for (text, schema, table) in [
            ("orders", None, "orders"),
            ("sales.orders", Some("sales"), "orders"),
            ("\"a.b\".\"say \"\"hi\"\"\"", Some("a.b"), "say \"hi\""),
            ("sales.\"Orders\"", Some("sales"), "Orders"),
        ] {
            let read = TableRef::parse(Engine::Postgres, text).expect(text);
            assert_eq!(read.schema.map(|part| part.text).as_deref(), schema);
            assert_eq!(read.table.text, table);
        }
        let long = "x".repeat(64);
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "a\"b", "\"a\"b", "\"\"", long.as_str()] {
            assert!(TableRef::parse(Engine::Postgres, text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_very_name_comes_before_its_folded_form_and_public_before_others() {
        let both = [relation(1, "public", "orders"), relation(2, "public", "Orders")];
        assert_eq!(pick("Orders", &both), Ok(2));
        assert_eq!(pick("ORDERS", &both), Ok(1));
        assert_eq!(pick("\"ORDERS\"", &both), Err(Reason::TableNotFound));
        let schemas = [relation(1, "sales", "orders"), relation(2, "public", "orders")];
        assert_eq!(pick("orders", &schemas), Ok(2));
        assert_eq!(pick("sales.orders", &schemas), Ok(1));
        assert_eq!(pick("Sales.Orders", &schemas), Ok(1));
        assert_eq!(pick("orders", &schemas[..1]), Ok(1));
        let neither = [relation(1, "a", "orders"), relation(2, "b", "orders")];
        assert_eq!(pick("orders", &neither), Err(Reason::TableNotFound));
    }

    #[test]
    fn a_watermark_column_must_be_of_its_type() {
        let remedy = |type_oid, value_type| {
            check_watermark(&column(type_oid, -1), value_type).map_err(|bad| bad.report.remedy)
        };
        assert_eq!(remedy(oids::INT4, WatermarkType::Int), Ok(()));
        assert_eq!(remedy(oids::INT8, WatermarkType::Decimal), Ok(()));
        let expected = Err("set extract.watermark.type: date".to_owned());
        assert_eq!(remedy(oids::DATE, WatermarkType::Timestamp), expected);
        assert!(remedy(oids::TEXT, WatermarkType::Int).is_err());
        assert!(remedy(oids::NUMERIC, WatermarkType::Int).is_err());
    }

    #[test]
    fn precision_comes_from_the_modifier() {
        assert_eq!(fraction_digits(&column(oids::TIMESTAMP, 0)), 0);
        assert_eq!(fraction_digits(&column(oids::TIMESTAMP, 3)), 3);
        assert_eq!(fraction_digits(&column(oids::TIMESTAMP, -1)), 6);
    }

    #[test]
    fn an_infinite_watermark_is_refused_and_an_infinite_key_is_not() {
        let bad = watermark_extreme(WatermarkType::Timestamp, "at", "infinity").expect_err("inf");
        assert_eq!(bad.report.reason, Reason::NonFiniteValue);
        assert_eq!(KeyType::Timestamp.value("infinity"), None);
    }
}

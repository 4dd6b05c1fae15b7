//! In: the names of the manifest, the catalog's answers. Out: the table, its columns, checked
//! watermark and partition column, read extremes. Bound: one table. Fails: `TableNotFound`,
//! `ColumnNotFound`, `ColumnTypeUnsupported`, `NonFiniteValue`, `InvalidSpec`.

use std::fmt;

use crds::Reason;
use crds::extract_job::WatermarkType;
use crds::source::Engine;
use crds::tracking::Mode;

use crate::decoding::columns::{Column, Target, is_decimal_text, is_oid, is_unsigned};
use crate::errors::failure::Failure;
use crate::planning::partitions::KeyType;
use crate::planning::table_name::TableName;
use crate::planning::watermark::{BadValue, Value};

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

    /// What an unquoted name means in SQL, as the legacy job passed it on.
    fn folds_to(&self, name: &str) -> bool {
        !self.quoted && self.text.to_lowercase() == name
    }

    /// The spellings to search for in the catalog.
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

/// As a manifest names it.
impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        write!(f, "{}", self.table)
    }
}

impl fmt::Display for NamePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted {
            write!(f, "\"{}\"", self.text.replace('"', "\"\""))
        } else {
            f.write_str(&self.text)
        }
    }
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
                "Name a table with parts of at most 63 bytes (MySQL: 64 characters), and quote a part that \
                 contains a dot with double quotes.",
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

impl From<&TableName> for TableRef {
    /// That very table.
    fn from(name: &TableName) -> Self {
        let part = |text: &String| NamePart { text: text.clone(), quoted: true };
        Self { schema: Some(part(&name.schema)), table: part(&name.table) }
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

/// Picks the table that is meant: the very name before its lower-case form; without a schema, the one
/// that a session of the user finds, which searches the schemas `searched` one after another.
///
/// # Errors
/// `TableNotFound`.
pub fn pick_table(
    wanted: &TableRef,
    candidates: &[Relation],
    searched: &[String],
) -> Result<Relation, Failure> {
    type Reads = fn(&NamePart, &str) -> bool;
    let readings: [Reads; 2] = [NamePart::is, NamePart::folds_to];
    for matches in readings {
        let named: Vec<_> =
            candidates.iter().filter(|it| matches(&wanted.table, &it.name.table)).collect();
        let of_schema = |is: &dyn Fn(&str) -> bool| {
            named.iter().find(|it| is(&it.name.schema)).map(|it| (**it).clone())
        };
        let found = match &wanted.schema {
            Some(part) => {
                of_schema(&|schema| part.is(schema)).or_else(|| of_schema(&|it| part.folds_to(it)))
            }
            None => searched.iter().find_map(|schema| of_schema(&|it| it == schema)),
        };
        if let Some(relation) = found {
            return Ok(relation);
        }
    }
    let elsewhere = candidates.iter().find(|it| {
        let schema = &it.name.schema;
        wanted.schema.is_none() && !schema.starts_with("pg_") && schema != "information_schema"
    });
    Err(match elsewhere {
        Some(it) => Failure::permanent(
            Reason::TableNotFound,
            format!(
                "no schema of the database user's search_path has a table or view {wanted}, but schema {:?} \
                 has one",
                it.name.schema
            ),
            "Name the schema in extract.table (<schema>.<table>), or set the search_path of the database \
             user.",
        ),
        None => Failure::permanent(
            Reason::TableNotFound,
            format!("the database has no table or view {wanted}"),
            "Check extract.table and source.database, including upper and lower case.",
        ),
    })
}

/// A table, with the database that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableIdentity {
    /// Postgres: the database. On MySQL, the schema is the database.
    pub database: Option<String>,
    /// The table.
    pub table: TableName,
}

impl TableIdentity {
    /// Whether both are in one database, as far as both are known.
    fn is_in_database_of(&self, other: &Self) -> bool {
        match (&self.database, &other.database) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }

    fn with_database(&self) -> String {
        let database = self.database.as_deref().unwrap_or_default();
        format!("{} of database {database:?}", self.table)
    }
}

/// Checks that a run continues the table that was published under this source: the watermark, and what a
/// full extract replaces, are that table's. A reingest begins anew, and so does a full extract whose
/// manifest names the schema, as long as the database is the same. Hosts are not compared: after a
/// failover another one has the same table.
///
/// # Errors
/// `TableChanged`.
pub fn check_same_table(
    published: Option<&TableIdentity>,
    found: &TableIdentity,
    wanted: &TableRef,
    mode: Mode,
) -> Result<(), Failure> {
    let moved = published.filter(|published| !published.is_in_database_of(found));
    if let Some(published) = moved.filter(|_| mode != Mode::Reingest) {
        return Err(database_changed(published, found));
    }
    let (published, found) = (published.map(|published| &published.table), &found.table);
    let meant = match mode {
        Mode::Reingest => true,
        Mode::FE => wanted.schema.is_some(),
        Mode::PE => false,
    };
    match published.filter(|published| *published != found && !meant) {
        None => Ok(()),
        Some(published) => Err(Failure::permanent(
            Reason::TableChanged,
            format!(
                "extract.table resolves to {found}, but the published extract contains {published}"
            ),
            "To continue the published table, restore the database user's search_path (MySQL: source.database), \
             or create an ExtractJob that names the schema in extract.table and has this tracking.key. To replace \
             it with the other table, set extract.reingest: true (for a full extract: name the schema).",
        )),
    }
}

fn database_changed(published: &TableIdentity, found: &TableIdentity) -> Failure {
    Failure::permanent(
        Reason::TableChanged,
        format!(
            "extract.table resolves to {}, but the published extract contains {}",
            found.with_database(),
            published.with_database()
        ),
        "To continue the published table, restore source.database. To extract the table of the other \
         database, use another tracking.key and output.uri. To replace the published extract with it, set \
         extract.reingest: true, which needs extract.watermark.",
    )
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
            format!("the table has no column {name:?}, or extract.columns or extract.excludeColumns \
                 excludes it"),
            format!(
                "Correct {field}, extract.columns or extract.excludeColumns, or grant the database user \
                 SELECT on the column."
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
        Some(right) => format!("Set extract.watermark.type: {}.", right.name()),
        None => "Choose a watermark column of type integer, numeric, double precision, timestamp or date."
            .to_owned(),
    };
    let message = format!(
        "watermark column {:?} has type {}, which does not fit {}",
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
                "partition column {:?} has type {}, which cannot be divided into key ranges",
                column.name, column.type_name
            ),
            "Choose a column of type integer, decimal, date, timestamp, uuid or text, or set \
             extract.partition.strategy: auto, hash or none.",
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
            format!("watermark column {column:?} contains an infinity or NaN, which sorts above every later \
                 value"),
            "Correct those rows, or choose another watermark column.",
        ),
        BadValue::Malformed { expected } => Failure::permanent(
            Reason::ColumnTypeUnsupported,
            format!("watermark column {column:?} contains a value that is out of range for {expected}"),
            "Correct those rows, or choose another watermark column.",
        ),
    })
}

#[cfg(test)]
mod tests;

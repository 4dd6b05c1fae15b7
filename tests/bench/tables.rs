//! In: the size of a benchmark. Out: its tables, with columns, statements and rows. Bound: one row at a
//! time. Fails: nothing, the rows are computed.

use std::fmt::Write as _;
use std::time::Duration;

use tpchgen::generators::LineItemGenerator;

/// A database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Engine {
    /// Postgres.
    Postgres,
    /// MariaDB.
    MariaDb,
}

impl Engine {
    /// Its name in results and file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        }
    }
}

/// The kind of a column's values. It determines the canonical form in which two outputs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Integer,
    /// An exact number with this many digits after the point.
    Decimal(u8),
    /// Text.
    Text,
    /// Text of a fixed length. Clients treat trailing spaces differently, so these are not compared.
    Padded,
    /// A UUID.
    Uuid,
    /// A point in time.
    Instant,
    /// Date and time of day without a zone.
    Timestamp,
    /// A day.
    Date,
    /// True or false.
    Boolean,
    /// A double.
    Float,
    /// Bytes.
    Bytes,
    /// A JSON document. White space between its parts is not compared.
    Json,
    /// An array of whole numbers.
    List,
}

impl Kind {
    /// Its name for `summary.py`.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Decimal(scale) => format!("decimal{scale}"),
            Self::Integer => "integer".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Padded => "padded".to_owned(),
            Self::Uuid => "uuid".to_owned(),
            Self::Instant => "instant".to_owned(),
            Self::Timestamp => "timestamp".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Float => "float".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Json => "json".to_owned(),
            Self::List => "list".to_owned(),
        }
    }
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// What its values mean.
    pub(crate) kind: Kind,
    /// Its type in Postgres.
    pub(crate) postgres: &'static str,
    /// Its type in MariaDB; empty if the table has no such column there.
    pub(crate) mariadb: &'static str,
}

const fn column(
    name: &'static str,
    kind: Kind,
    postgres: &'static str,
    mariadb: &'static str,
) -> Column {
    Column { name, kind, postgres, mariadb }
}

/// A table of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    /// `lineitem` of TPC-H.
    Lineitem,
    /// `lineitem` ten times, with other order keys.
    Lineitem10,
    /// Many types, each column with NULLs.
    Wide,
    /// Half of the keys close together, the other half far apart.
    Skew,
    /// Rows of 1 MB.
    Large,
}

const LINEITEM: &[Column] = &[
    column("l_orderkey", Kind::Integer, "bigint not null", "bigint not null"),
    column("l_partkey", Kind::Integer, "bigint not null", "bigint not null"),
    column("l_suppkey", Kind::Integer, "bigint not null", "bigint not null"),
    column("l_linenumber", Kind::Integer, "integer not null", "integer not null"),
    column("l_quantity", Kind::Decimal(2), "numeric(15,2) not null", "decimal(15,2) not null"),
    column("l_extendedprice", Kind::Decimal(2), "numeric(15,2) not null", "decimal(15,2) not null"),
    column("l_discount", Kind::Decimal(2), "numeric(15,2) not null", "decimal(15,2) not null"),
    column("l_tax", Kind::Decimal(2), "numeric(15,2) not null", "decimal(15,2) not null"),
    column("l_returnflag", Kind::Padded, "char(1) not null", "char(1) not null"),
    column("l_linestatus", Kind::Padded, "char(1) not null", "char(1) not null"),
    column("l_shipdate", Kind::Date, "date not null", "date not null"),
    column("l_commitdate", Kind::Date, "date not null", "date not null"),
    column("l_receiptdate", Kind::Date, "date not null", "date not null"),
    column("l_shipinstruct", Kind::Padded, "char(25) not null", "char(25) not null"),
    column("l_shipmode", Kind::Padded, "char(10) not null", "char(10) not null"),
    column("l_comment", Kind::Text, "varchar(44) not null", "varchar(44) not null"),
];

// No decimal has more than 18 digits. DuckDB 1.5.5 needs 90 microseconds to parse a longer one from the text that MariaDB
// sends, and the case would measure little else.
const WIDE: &[Column] = &[
    column("id", Kind::Integer, "bigint not null", "bigint not null"),
    column("whole", Kind::Integer, "integer", "int"),
    column("small", Kind::Integer, "smallint", "smallint"),
    column("amount", Kind::Decimal(4), "numeric(18,4)", "decimal(18,4)"),
    column("ident", Kind::Uuid, "uuid", "char(36)"),
    column("moment", Kind::Instant, "timestamptz", "timestamp(6) null"),
    column("local_time", Kind::Timestamp, "timestamp", "datetime(6)"),
    column("day", Kind::Date, "date", "date"),
    column("document", Kind::Json, "jsonb", "json"),
    column("numbers", Kind::List, "integer[]", ""),
    column("yes", Kind::Boolean, "boolean", "boolean"),
    column("ratio", Kind::Float, "double precision", "double"),
    column("raw", Kind::Bytes, "bytea", "varbinary(64)"),
    column("name", Kind::Text, "text", "text"),
    column("code", Kind::Text, "varchar(16)", "varchar(16)"),
];

const SKEW: &[Column] = &[
    column("id", Kind::Integer, "bigint not null", "bigint not null"),
    column("amount", Kind::Decimal(2), "numeric(12,2)", "decimal(12,2)"),
    column("moment", Kind::Timestamp, "timestamp", "datetime(6)"),
    column("name", Kind::Text, "text", "text"),
];

const LARGE: &[Column] = &[
    column("id", Kind::Integer, "bigint not null", "bigint not null"),
    column("body", Kind::Text, "text", "longtext"),
];

/// One MB, the size of a row of [`Table::Large`].
const LARGE_BYTES: usize = 1_000_000;

impl Table {
    /// Its name in both servers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lineitem => "lineitem",
            Self::Lineitem10 => "lineitem10",
            Self::Wide => "wide",
            Self::Skew => "skew",
            Self::Large => "large",
        }
    }

    /// The integer column by which it is divided into key ranges: the first one of its primary key.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Lineitem | Self::Lineitem10 => "l_orderkey",
            Self::Wide | Self::Skew | Self::Large => "id",
        }
    }

    const fn primary_key(self) -> &'static str {
        match self {
            Self::Lineitem | Self::Lineitem10 => "l_orderkey, l_linenumber",
            Self::Wide | Self::Skew | Self::Large => "id",
        }
    }

    /// Its columns in a server.
    pub(crate) fn columns(self, engine: Engine) -> Vec<Column> {
        let all = match self {
            Self::Lineitem | Self::Lineitem10 => LINEITEM,
            Self::Wide => WIDE,
            Self::Skew => SKEW,
            Self::Large => LARGE,
        };
        let there = |column: &&Column| engine == Engine::Postgres || !column.mariadb.is_empty();
        all.iter().filter(there).copied().collect()
    }

    /// The statement that creates it.
    pub(crate) fn create(self, engine: Engine) -> String {
        let columns = self.columns(engine).into_iter().map(|column| {
            let of_engine =
                if engine == Engine::Postgres { column.postgres } else { column.mariadb };
            format!("{} {of_engine}", column.name)
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("create table {} ({columns}, primary key ({}))", self.name(), self.primary_key())
    }
}

/// How large the tables are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Scale factor of TPC-H: 1 is 6,001,215 rows of `lineitem`.
    pub(crate) tpch: f64,
    /// Rows of `wide`; `skew` has twice as many.
    pub(crate) wide_rows: u64,
    /// Rows of `large`.
    pub(crate) large_rows: u64,
}

impl Size {
    /// The sizes for a scale factor of TPC-H. The report uses 1, with 1,000,000 rows of `wide`.
    pub(crate) fn of_scale(scale: f64) -> Self {
        let rows = |at_one: f64| {
            // a Duration converts a float to an integer without a cast
            let rows = Duration::from_secs_f64((at_one * scale).max(1.0)).as_secs();
            rows.max(2)
        };
        Self { tpch: scale, wide_rows: rows(1_000_000.0), large_rows: rows(200.0) }
    }

    /// A few thousand rows, to check the program.
    pub(crate) const SMOKE: Self = Self { tpch: 0.001, wide_rows: 3_000, large_rows: 3 };

    /// The rows of a table, one line each, in a format that `COPY` of Postgres and `LOAD DATA` of MariaDB both read:
    /// columns separated by tabs, `\N` for NULL.
    pub(crate) fn rows(
        self,
        table: Table,
        engine: Engine,
    ) -> Box<dyn Iterator<Item = String> + Send> {
        let half = self.wide_rows;
        match table {
            // the server copies it from lineitem
            Table::Lineitem10 => Box::new(std::iter::empty()),
            Table::Lineitem => {
                Box::new(LineItemGenerator::new(self.tpch, 1, 1).iter().map(|row| {
                    let line = row.to_string();
                    line.trim_end_matches('|').replace('|', "\t")
                }))
            }
            Table::Wide => Box::new((0..self.wide_rows).map(move |at| wide(at, engine))),
            Table::Skew => Box::new((0..2 * half).map(move |at| {
                let id = if at < half { at } else { half + (at - half) * 100_003 };
                format!("{id}\t{}.{:02}\t{}\tname {at}", at % 99_991, at % 100, timestamp(at))
            })),
            Table::Large => Box::new((0..self.large_rows).map(|at| format!("{at}\t{}", body(at)))),
        }
    }
}

/// A pseudorandom number for a row and a column.
const fn mixed(at: u64, salt: u64) -> u64 {
    // the finalizer of SplitMix64
    let mut bits = at.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn timestamp(at: u64) -> String {
    let bits = mixed(at, 7);
    let (day, hour, minute) = (1 + bits % 28, (bits >> 8) % 24, (bits >> 16) % 60);
    let (month, year, micros) = (1 + (bits >> 24) % 12, 1990 + (bits >> 32) % 40, bits % 1_000_000);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}.{micros:06}", (bits >> 40) % 60)
}

fn wide(at: u64, engine: Engine) -> String {
    let bits = |salt| mixed(at, salt);
    let (one, two) = (bits(1), bits(2));
    let sign = |bits: u64| if bits & 1 == 0 { "" } else { "-" };
    let raw = format!("{:016x}{:016x}", bits(3), bits(4));
    let uuid =
        format!("{}-{}-4{}-8{}-{}", &raw[..8], &raw[8..12], &raw[13..16], &raw[17..20], &raw[20..]);
    let numbers = format!("{{{},NULL,{}}}", one % 1000, two % 1000);
    let document = format!(
        r#"{{"id": {at}, "tags": ["{:x}", "é"], "price": {}.5, "open": {}}}"#,
        one % 4096,
        two % 10_000,
        one & 2 == 0
    );
    let fields = [
        (one % 2_000_000_000).to_string(),
        format!("{}{}", sign(two), two % 32_000),
        format!("{}{}.{:04}", sign(one), one % 10_000_000_000, two % 10_000),
        uuid,
        timestamp(at),
        timestamp(at ^ 0x5555),
        timestamp(at ^ 0x3333)[..10].to_owned(),
        document,
        numbers,
        (one & 1).to_string(),
        format!("{}{}.{:06}", sign(one), two % 1_000_000, bits(6) % 1_000_000),
        if engine == Engine::Postgres { format!("\\\\x{raw}") } else { raw },
        format!("Größe {} “{:x}” 東京, {}", at % 997, one, two % 100_000),
        format!("code-{}", one % 200),
    ];
    let mut line = at.to_string();
    for (index, field) in fields.iter().enumerate() {
        if engine == Engine::MariaDb && index == 8 {
            continue;
        }
        line.push('\t');
        // a seventh of the values of each column is NULL
        let is_null = mixed(at, 100 + index as u64).is_multiple_of(7);
        line.push_str(if is_null { "\\N" } else { field });
    }
    line
}

fn body(at: u64) -> String {
    let mut body = String::with_capacity(LARGE_BYTES + 32);
    let mut word = 0;
    while body.len() < LARGE_BYTES {
        let _ = write!(body, "{:016x} ", mixed(at, word));
        word += 1;
    }
    body.truncate(LARGE_BYTES);
    body
}

#[cfg(test)]
mod tests {
    use super::{Engine, Size, Table};

    #[test]
    fn rows_have_a_field_for_each_column_of_the_engine() {
        for engine in [Engine::Postgres, Engine::MariaDb] {
            for table in [Table::Lineitem, Table::Wide, Table::Skew, Table::Large] {
                let columns = table.columns(engine).len();
                for row in Size::SMOKE.rows(table, engine).take(500) {
                    assert_eq!(row.split('\t').count(), columns, "{table:?} {engine:?} {row}");
                }
            }
        }
    }
}

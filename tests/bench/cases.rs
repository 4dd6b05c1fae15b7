//! In: nothing. Out: the comparisons and the goals. Bound: this list. Fails: nothing.

use crate::clients::{Client, Destination, Tidemark};
use crate::tables::{Engine, Table};

/// One of the two programs that a case compares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    /// The program.
    pub(crate) client: Client,
    /// The table that it copies.
    pub(crate) table: Table,
}

/// The number that a goal limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Wall time of the first program divided by that of the second.
    Wall,
    /// CPU of the first client divided by that of the second.
    ClientCpu,
    /// Peak memory of the first client divided by that of the second.
    Peak,
    /// Peak memory of the first program, in MiB.
    PeakMib,
    /// Wall time of the second program divided by that of the first.
    TimesFaster,
    /// The median of the numbers of this name, from a case that measures no pairs.
    Number(&'static str),
}

/// A goal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// Its number in the table of goals.
    pub(crate) number: u8,
    /// The case that measures it.
    pub(crate) case: &'static str,
    /// Its text in the report.
    pub(crate) text: &'static str,
    /// The number that it limits.
    pub(crate) metric: Metric,
    /// The limit: a minimum for [`Metric::TimesFaster`], a maximum for all others.
    pub(crate) limit: f64,
}

impl Goal {
    /// Whether a value reaches the goal.
    pub(crate) fn is_reached(&self, value: f64) -> bool {
        match self.metric {
            Metric::TimesFaster => value >= self.limit,
            _ => value <= self.limit,
        }
    }
}

/// A comparison of two programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Its name in `CASES` and in file names.
    pub(crate) name: &'static str,
    /// Its title in the report.
    pub(crate) title: &'static str,
    /// The server that both read.
    pub(crate) engine: Engine,
    /// The program whose ratio is reported.
    pub(crate) a: Side,
    /// The program that it is compared with.
    pub(crate) b: Side,
    /// Maximum number of pairs, for cases that take long.
    pub(crate) pairs_max: u32,
}

/// The case that measures how much an extract slows down other users of the database.
pub(crate) const HARM: &str = "harm";

const fn tidemark(partitions: u32) -> Client {
    Client::Tidemark(Tidemark { partitions, memory: None, tls: false })
}

const fn limited(memory: &'static str, table: Table) -> Side {
    let client = Client::Tidemark(Tidemark { partitions: 2, memory: Some(memory), tls: false });
    Side { client, table }
}

const fn case(
    (name, title): (&'static str, &'static str),
    (engine, table): (Engine, Table),
    a: Client,
    b: Client,
) -> Case {
    Case {
        name,
        title,
        engine,
        a: Side { client: a, table },
        b: Side { client: b, table },
        pairs_max: u32::MAX,
    }
}

const DUCKDB: Client = Client::DuckDb(2, Destination::S3);
const POSTGRES: (Engine, Table) = (Engine::Postgres, Table::Lineitem);

/// All comparisons of two programs.
pub(crate) const CASES: &[Case] = &[
    case(("postgres", "Postgres, lineitem"), POSTGRES, tidemark(2), DUCKDB),
    case(
        ("postgres-one", "Postgres, lineitem, one connection"),
        POSTGRES,
        tidemark(1),
        Client::DuckDb(1, Destination::File),
    ),
    case(
        ("postgres-file", "Postgres, lineitem, DuckDB to a local file"),
        POSTGRES,
        tidemark(2),
        Client::DuckDb(2, Destination::File),
    ),
    case(("mariadb", "MariaDB, lineitem"), (Engine::MariaDb, Table::Lineitem), tidemark(2), DUCKDB),
    case(
        ("mariadb-file", "MariaDB, lineitem, DuckDB to a local file"),
        (Engine::MariaDb, Table::Lineitem),
        tidemark(2),
        Client::DuckDb(2, Destination::File),
    ),
    case(("postgres-wide", "Postgres, wide"), (Engine::Postgres, Table::Wide), tidemark(2), DUCKDB),
    case(("mariadb-wide", "MariaDB, wide"), (Engine::MariaDb, Table::Wide), tidemark(2), DUCKDB),
    case(("postgres-skew", "Postgres, skew"), (Engine::Postgres, Table::Skew), tidemark(2), DUCKDB),
    case(("mariadb-skew", "MariaDB, skew"), (Engine::MariaDb, Table::Skew), tidemark(2), DUCKDB),
    case(
        ("postgres-large", "Postgres, rows of 1 MB"),
        (Engine::Postgres, Table::Large),
        tidemark(2),
        DUCKDB,
    ),
    case(
        ("mariadb-large", "MariaDB, rows of 1 MB"),
        (Engine::MariaDb, Table::Large),
        tidemark(2),
        DUCKDB,
    ),
    Case {
        name: "memory",
        title: "Postgres, lineitem, a memory limit of 128 MiB and one of 1 GiB",
        engine: Engine::Postgres,
        a: limited("128Mi", Table::Lineitem),
        b: limited("1Gi", Table::Lineitem),
        pairs_max: u32::MAX,
    },
    Case {
        name: "memory-rows",
        title: "Postgres, ten times the rows of lineitem within 128 MiB",
        engine: Engine::Postgres,
        a: limited("128Mi", Table::Lineitem10),
        b: limited("128Mi", Table::Lineitem),
        pairs_max: 2,
    },
    case(
        ("connectorx", "Postgres, lineitem, ConnectorX"),
        POSTGRES,
        tidemark(2),
        Client::ConnectorX(2),
    ),
    case(("rivet", "Postgres, lineitem, Rivet"), POSTGRES, tidemark(2), Client::Rivet(2)),
    case(("spark", "Postgres, lineitem, Spark JDBC"), POSTGRES, tidemark(2), Client::Spark(2)),
    case(
        ("tls", "Postgres, lineitem, 4 partitions in one process, with and without TLS"),
        POSTGRES,
        Client::Tidemark(Tidemark { partitions: 4, memory: None, tls: true }),
        tidemark(4),
    ),
];

const fn goal(
    number: u8,
    case: &'static str,
    text: &'static str,
    metric: Metric,
    limit: f64,
) -> Goal {
    Goal { number, case, text, metric, limit }
}

/// The goals, in the order of the report. Other programs measure the cases that this one does not have, and write a
/// result file of the same format.
pub(crate) const GOALS: &[Goal] = &[
    goal(1, "postgres", "Postgres lineitem, 2 connections: wall / DuckDB", Metric::Wall, 0.78),
    goal(
        2,
        "postgres",
        "Postgres lineitem, 2 connections: client CPU / DuckDB",
        Metric::ClientCpu,
        0.62,
    ),
    goal(
        3,
        "postgres-one",
        "one connection: wall / DuckDB with one thread to a local file",
        Metric::Wall,
        0.66,
    ),
    goal(4, "mariadb", "MariaDB lineitem, 2 partitions: wall / DuckDB", Metric::Wall, 0.65),
    goal(
        4,
        "mariadb",
        "MariaDB lineitem, 2 partitions: client CPU / DuckDB",
        Metric::ClientCpu,
        0.58,
    ),
    goal(5, "postgres-wide", "Postgres wide: wall / DuckDB", Metric::Wall, 0.72),
    goal(5, "mariadb-wide", "MariaDB wide: wall / DuckDB", Metric::Wall, 0.55),
    goal(6, "memory", "peak memory at a limit of 128 MiB, in MiB", Metric::PeakMib, 100.0),
    goal(6, "memory", "wall at a limit of 128 MiB / 1 GiB, both zstd 3", Metric::Wall, 1.05),
    goal(6, "memory-rows", "peak memory of 10 times the rows, in MiB", Metric::PeakMib, 100.0),
    goal(6, "memory-rows", "peak memory of 10 times the rows / of the table", Metric::Peak, 1.05),
    goal(7, "connectorx", "times faster than ConnectorX", Metric::TimesFaster, 2.5),
    goal(7, "rivet", "times faster than Rivet", Metric::TimesFaster, 4.5),
    goal(7, "spark", "times faster than Spark JDBC", Metric::TimesFaster, 5.0),
    goal(8, "tls", "client CPU with TLS / without", Metric::ClientCpu, 1.12),
    goal(
        9,
        "start",
        "from apply to Complete, 1,000 rows, in seconds",
        Metric::Number("apply_to_complete_seconds"),
        2.5,
    ),
    goal(11, "image", "image of the worker, in MB", Metric::Number("image_mb"), 36.0),
    goal(
        11,
        "image",
        "process start to first query, in milliseconds",
        Metric::Number("first_query_ms"),
        60.0,
    ),
    goal(
        12,
        "commit",
        "commit of 1,000 partitions, in seconds",
        Metric::Number("partitions_1000_seconds"),
        20.0,
    ),
    goal(
        12,
        "commit",
        "commit of 20,000 files, in seconds",
        Metric::Number("files_20000_seconds"),
        60.0,
    ),
    goal(12, "commit", "memory of the committer, in MiB", Metric::Number("committer_mib"), 128.0),
    goal(
        13,
        HARM,
        "p99 of pgbench during an extract / during two psql COPY",
        Metric::Number("p99_ratio"),
        1.1,
    ),
    goal(
        13,
        HARM,
        "snapshot open after the last partition record, in seconds",
        Metric::Number("snapshot_held_seconds"),
        1.0,
    ),
];

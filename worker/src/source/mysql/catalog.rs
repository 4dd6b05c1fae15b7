//! What the catalog of MySQL or MariaDB says about a table.

use crds::Reason;
use crds::extract_job::{Extract, ZeroDates};
use crds::source::Engine;
use sqlx::mysql::{MySqlDatabaseError, MySqlRow};
use sqlx::{MySqlConnection, Row as _};
use worker_core::decoding::columns::Column;
use worker_core::decoding::columns::mysql::{SourceType, column_for, json_columns};
use worker_core::errors::failure::Failure;
use worker_core::errors::mysql::REPAIR_VIEW;
use worker_core::planning::consistency::unproven_storage;
use worker_core::planning::partitioning::{Key, TableKind, TableStats};
use worker_core::planning::partitions::{Estimates, PlannedPartition, Sample};
use worker_core::planning::plan::{Plan, TableName};
use worker_core::planning::relations::Unproven;
use worker_core::planning::tables::{NamePart, Relation, TableRef, pick_table};
use worker_core::planning::virtual_columns::{self, Described, Recomputed};
use worker_core::planning::watermark::Value;
use worker_core::sql::rows::{self, mysql_statements as statements};

use crate::source::errors::{database_failure, made};
use crate::source::table::SourceTable;

/// Name, data type, column type, precision, scale, digits after the second, `YES` if nullable, how it is
/// generated, and by which expression.
type ColumnRow =
    (String, String, String, Option<i64>, Option<i64>, Option<i64>, String, String, String);

/// Schema, table, storage engine, rows, bytes, kind.
type TableRow = (String, String, String, i64, i64, String);

/// Storage engines that keep NULL out of a column which must not have it.
const ENFORCING: [&str; 3] = ["InnoDB", "MyISAM", "Aria"];

/// Finds the table and its columns. A table without a schema is one of the session's database.
///
/// # Errors
/// `TableNotFound`, `ColumnNotFound`, and what a session may fail with.
pub(crate) async fn look_up(
    connection: &mut MySqlConnection,
    wanted: &TableRef,
    extract: &Extract,
) -> Result<SourceTable, Failure> {
    let wanted = with_schema(connection, wanted).await?;
    let found = tables(connection, &wanted).await?;
    let candidates: Vec<_> = found
        .iter()
        .map(|(schema, table, ..)| Relation {
            oid: 0,
            name: TableName { schema: schema.clone(), table: table.clone() },
        })
        .collect();
    let relation = pick_table(&wanted, &candidates, &[]).map_err(missing)?;
    let is_it = |(schema, table, ..): &&TableRow| {
        *schema == relation.name.schema && *table == relation.name.table
    };
    let (storage, kind) = found
        .iter()
        .find(is_it)
        .map_or(("", "VIEW"), |(_, _, storage, _, _, kind)| (storage.as_str(), kind.as_str()));
    let enforced =
        matches!(kind, "BASE TABLE" | "SYSTEM VERSIONED") && ENFORCING.contains(&storage);
    let snapshot = unproven_storage(kind, storage);
    let checked = json_columns(&definition(connection, &relation.name).await?);
    let watermark = extract.watermark.as_ref().map(|watermark| watermark.column.as_str());
    let policy = extract.zero_dates.unwrap_or_default();
    let rows = columns(connection, &relation.name).await?;
    let recomputed = recomputed_columns(connection, &rows).await?;
    let rows = rows.into_iter().map(|row| {
        let (name, data_type, column_type, precision, scale, fraction, nullable, ..) = row;
        let small = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        let source = SourceType {
            data_type,
            column_type,
            precision: small(precision),
            scale: small(scale),
            fraction: small(fraction),
            checked_json: checked.contains(&name),
        };
        // a watermark as text would have no order
        let policy = match policy {
            ZeroDates::String if watermark == Some(name.as_str()) => ZeroDates::Fail,
            policy => policy,
        };
        column_for(name, &source, nullable == "YES" || !enforced, policy)
    });
    let columns: Vec<_> = rows.collect();
    if columns.is_empty() {
        // the catalog has no columns of a view that is broken, and the server says so when it is read
        let read = rows::hold_statement(Engine::Mysql, &[], &relation.name, false);
        sqlx::raw_sql(made(read))
            .execute(&mut *connection)
            .await
            .map_err(|error| database_failure("open the table", &error))?;
        return Err(without_columns(kind));
    }
    let unproven = Unproven { guard: snapshot.clone(), snapshot, ..Unproven::default() };
    let (database, reads, within) = (None, Vec::new(), Vec::new());
    Ok(SourceTable {
        relation,
        database,
        columns,
        named: false,
        unproven,
        reads,
        within,
        recomputed,
    })
}

/// The server shows a user only tables that it has a right on.
fn missing(failure: Failure) -> Failure {
    Failure::permanent(
        failure.report.reason,
        failure.report.message,
        "Check extract.table and source.database, including upper and lower case. If the table exists, \
         GRANT SELECT on it to the database user.",
    )
}

/// MySQL hides the columns of a view when a function of it names a table that is gone, and lets it be opened.
fn without_columns(kind: &str) -> Failure {
    if kind == "VIEW" {
        return Failure::permanent(
            Reason::DatabaseDenied,
            "the server shows no columns of the view: it names an object that does not exist, or that its definer or the database user may not read",
            REPAIR_VIEW,
        );
    }
    Failure::permanent(
        Reason::ColumnNotFound,
        "the table has no columns that the database user may read",
        "Check extract.table, and GRANT SELECT on the table to the database user.",
    )
}

/// Columns whose values may differ between statements.
async fn recomputed_columns(
    connection: &mut MySqlConnection,
    rows: &[ColumnRow],
) -> Result<Vec<Recomputed>, Failure> {
    let described = |row| {
        let (name, _, type_name, .., extra, expression): &ColumnRow = row;
        Described { name, type_name, extra, expression }
    };
    let found = virtual_columns::recomputed(&rows.iter().map(described).collect::<Vec<_>>());
    if found.is_empty() {
        return Ok(found);
    }
    let version: String = sqlx::query_scalar(statements::VERSION)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the server version", &error))?;
    Ok(if worker_core::planning::server::is_mariadb(&version) { found } else { Vec::new() })
}

async fn with_schema(
    connection: &mut MySqlConnection,
    wanted: &TableRef,
) -> Result<TableRef, Failure> {
    if wanted.schema.is_some() {
        return Ok(wanted.clone());
    }
    let database: String = sqlx::query_scalar("SELECT CONVERT(DATABASE() USING utf8mb4)")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure("read the session's database", &error))?;
    let schema = Some(NamePart { text: database, quoted: true });
    Ok(TableRef { schema, table: wanted.table.clone() })
}

async fn tables(
    connection: &mut MySqlConnection,
    wanted: &TableRef,
) -> Result<Vec<TableRow>, Failure> {
    let schema = wanted.schema.as_ref().map(NamePart::spellings).unwrap_or_default();
    let table = wanted.table.spellings();
    let mut query = sqlx::query_as(statements::RELATIONS);
    for spellings in [&schema, &table] {
        let first = spellings.first().cloned().unwrap_or_default();
        query = query.bind(first.clone()).bind(spellings.get(1).cloned().unwrap_or(first));
    }
    let found = query.fetch_all(&mut *connection).await;
    found.map_err(|error| database_failure("find the table", &error))
}

async fn columns(
    connection: &mut MySqlConnection,
    table: &TableName,
) -> Result<Vec<ColumnRow>, Failure> {
    let query = sqlx::query_as(statements::COLUMNS).bind(&table.schema).bind(&table.table);
    let found = query.fetch_all(&mut *connection).await;
    found.map_err(|error| database_failure("read the table's columns", &error))
}

/// How the table was made, with its checks: the catalog of checks is empty for who has a grant on the
/// table alone. Empty where the user may not see it, as of a view.
async fn definition(
    connection: &mut MySqlConnection,
    table: &TableName,
) -> Result<String, Failure> {
    let show = format!("SHOW CREATE TABLE {}", rows::quote_table(Engine::Mysql, table));
    match sqlx::raw_sql(made(show)).fetch_optional(&mut *connection).await {
        Ok(row) => Ok(row.and_then(|row| row.try_get_unchecked(1).ok()).unwrap_or_default()),
        Err(error) if error.as_database_error().is_some() => Ok(String::new()),
        Err(error) => Err(database_failure("read the table's definition", &error)),
    }
}

/// Rows (-1: unknown) and bytes of the table, by the statistics.
pub(crate) async fn size(
    connection: &mut MySqlConnection,
    source_table: &SourceTable,
) -> Result<(i64, i64), Failure> {
    let found = tables(connection, &TableRef::from(source_table.table())).await?;
    Ok(found.first().map_or((-1, 0), |(_, _, _, rows, bytes, _)| (*rows, *bytes)))
}

/// What the table is, and its primary key.
pub(crate) async fn table_stats(
    connection: &mut MySqlConnection,
    source_table: &SourceTable,
) -> Result<TableStats, Failure> {
    let TableName { schema, table } = source_table.table();
    let query = sqlx::query_scalar(statements::PRIMARY_KEY).bind(schema).bind(table);
    let primary_key = query
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("read the table's statistics", &error))?;
    // nothing is cut by its blocks, and nothing drawn by them
    let kind = TableKind::Other;
    Ok(TableStats { kind, primary_key, blocks: 0, reads_blocks: Ok(()) })
}

/// Whether the table has an index that begins with the column.
pub(crate) async fn is_indexed(
    connection: &mut MySqlConnection,
    table: &TableName,
    column: &Column,
) -> Result<bool, Failure> {
    let query = sqlx::query_scalar(statements::IS_INDEXED).bind(&table.schema).bind(&table.table);
    let found: Result<i64, _> = query.bind(&column.name).fetch_one(&mut *connection).await;
    let found = found.map_err(|error| database_failure("read the table's statistics", &error))?;
    Ok(found != 0)
}

/// Where the rows lie by the index of the key, which is asked span by span between its `ends`, and of
/// which hardly a page is read.
pub(crate) async fn estimates(
    connection: &mut MySqlConnection,
    plan: &Plan,
    key: Key<'_>,
    (ends, count): ((Value, Value), u32),
) -> Result<Sample, Failure> {
    let mut ask = async |partition: Option<&PlannedPartition>| {
        let statement = rows::estimate_span_statement(plan, key.column, partition)?;
        // not prepared, which would be three round trips for hundreds of questions, and one of them a
        // wait for a delayed acknowledgement; it holds no word of the manifest
        let answer = sqlx::raw_sql(made(statement)).fetch_all(&mut *connection).await;
        let Some(answer) = answered("read the index of the key", answer)? else { return Ok(0) };
        // where no row can be, the answer has no number
        Ok(u64::try_from(opinion(&answer)).unwrap_or_default())
    };
    let nulls = if key.column.nullable { ask(None).await? } else { 0 };
    let mut estimates = Estimates::new(key.key_type, ends.0, ends.1);
    loop {
        while let Some((place, partition)) = estimates.question() {
            let rows = ask(Some(&partition)).await?;
            estimates.answer(place, rows);
        }
        if !estimates.refine(count) {
            return Ok(estimates.sample(nulls));
        }
    }
}

/// Rows of the window by the planner; -1 where its answer has no number.
pub(crate) async fn estimate(
    connection: &mut MySqlConnection,
    plan: &Plan,
) -> Result<i64, Failure> {
    let answer =
        sqlx::query(made(rows::estimate_statement(plan)?)).fetch_all(&mut *connection).await;
    let answer = answered("estimate the window's rows", answer)?;
    Ok(answer.map_or(-1, |answer| opinion(&answer)))
}

/// What EXPLAIN says; nothing of a view whose tables the user may not see, though it may read the view.
fn answered(
    action: &str,
    answer: Result<Vec<MySqlRow>, sqlx::Error>,
) -> Result<Option<Vec<MySqlRow>>, Failure> {
    const VIEW_NOT_EXPLAINED: u16 = 1345;
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(sqlx::Error::Database(error))
            if error
                .try_downcast_ref::<MySqlDatabaseError>()
                .is_some_and(|error| error.number() == VIEW_NOT_EXPLAINED) =>
        {
            Ok(None)
        }
        Err(error) => Err(database_failure(action, &error)),
    }
}

/// Rows that a query gives by the planner: those that it reads, and the share of them that its condition
/// leaves. -1 where its answer has no number.
pub(crate) async fn filtered_rows(
    connection: &mut MySqlConnection,
    query: String,
) -> Result<i64, Failure> {
    const ACTION: &str = "estimate the rows of extract.where";
    let version: String = sqlx::query_scalar(statements::VERSION)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database_failure(ACTION, &error))?;
    // MySQL says the share always, and has not the word
    let explain = if worker_core::planning::server::is_mariadb(&version) {
        "EXPLAIN EXTENDED"
    } else {
        "EXPLAIN"
    };
    let statement = made(format!("{explain} {query}"));
    let answer = answered(ACTION, sqlx::query(statement).fetch_all(&mut *connection).await)?;
    let Some(answer) = answer else { return Ok(-1) };
    let percent = answer.first().and_then(|row| row.try_get::<Option<f64>, _>("filtered").ok());
    let percent = percent.flatten().unwrap_or(100.0);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
    let rows = |read: i64| (read as f64 * percent / 100.0).ceil() as i64;
    Ok(match opinion(&answer) {
        read @ 0.. => rows(read),
        unknown => unknown,
    })
}

fn opinion(answer: &[MySqlRow]) -> i64 {
    let rows = answer.first().and_then(|row| {
        let signed = row.try_get::<Option<i64>, _>("rows").ok().flatten();
        let unsigned = || row.try_get::<Option<u64>, _>("rows").ok().flatten();
        let text = || row.try_get::<Option<String>, _>("rows").ok().flatten();
        signed
            .or_else(|| unsigned().and_then(|rows| i64::try_from(rows).ok()))
            .or_else(|| text().and_then(|rows| rows.parse().ok()))
    });
    rows.unwrap_or(-1)
}

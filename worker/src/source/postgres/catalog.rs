//! What Postgres' catalog says about a table.

use crds::Reason;
use sqlx::postgres::types::Oid;
use sqlx::{PgConnection, Row as _};
use worker_core::decoding::columns::postgres::{Family, SourceType, column_for};
use worker_core::decoding::columns::{Column, Target, oids};
use worker_core::errors::failure::Failure;
use worker_core::planning::filtering;
use worker_core::planning::partitioning::{TableKind, TableStats};
use worker_core::planning::partitions::Statistics;
use worker_core::planning::plan::{Plan, TableName};
use worker_core::planning::relations::{ReadRelation, RelationKind, Unproven};
use worker_core::planning::tables::{NamePart, Relation, TableRef, pick_table};
use worker_core::settings::postgres as settings;
use worker_core::sql::rows::{self, relation_statements, statements};

use crate::source::errors::{database_failure, made};
use crate::source::table::SourceTable;

/// Name; oid and modifier of the type; whether it must not be NULL; the type as it is printed, its
/// own name, its family's word, and its extension.
type ColumnRow = (String, Oid, i32, bool, String, String, String, Option<String>);

/// The schemas in which a plain session of the user finds a name without a schema. To be asked before
/// the session is pinned.
///
/// # Errors
/// What a session may fail with.
pub(crate) async fn searched(connection: &mut PgConnection) -> Result<Vec<String>, Failure> {
    let answer = sqlx::raw_sql(statements::SEARCHED_SCHEMAS).fetch_one(connection).await;
    let schemas = answer.and_then(|row| row.try_get(0));
    schemas.map_err(|error| database_failure("read the user's search_path", &error))
}

/// Finds the table and its columns; without a schema, in the schemas `searched`.
///
/// # Errors
/// `TableNotFound`, `ColumnNotFound`, and what a session may fail with.
pub(crate) async fn look_up(
    connection: &mut PgConnection,
    wanted: &TableRef,
    searched: &[String],
) -> Result<SourceTable, Failure> {
    let found: Vec<(Oid, String, String, String)> = sqlx::query_as(statements::RELATIONS)
        .bind(wanted.schema.as_ref().map(NamePart::spellings))
        .bind(wanted.table.spellings())
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("find the table", &error))?;
    let database = found.first().map(|(.., database)| database.clone());
    let candidates: Vec<_> = found
        .into_iter()
        .map(|(oid, schema, table, _)| Relation { oid: oid.0, name: TableName { schema, table } })
        .collect();
    let relation = pick_table(wanted, &candidates, searched)?;
    let rows: Vec<ColumnRow> = sqlx::query_as(relation_statements::COLUMNS)
        .bind(Oid(relation.oid))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("read the table's columns", &error))?;
    let columns = rows.into_iter().map(|row| {
        let (name, oid, modifier, required, type_name, own_name, family, extension) = row;
        let source = SourceType {
            oid: oid.0,
            modifier,
            type_name,
            name: own_name,
            family: Family::of(&family),
            extension,
        };
        column_for(name, source, !required)
    });
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() {
        return Err(Failure::permanent(
            Reason::ColumnNotFound,
            "the table has no columns",
            "Check extract.table.",
        ));
    }
    let read = read_relations(connection, relation.oid).await?;
    let reads = read.iter().map(|it| i64::from(it.oid)).collect();
    let unproven = Unproven::of(&read);
    let within = types_within(connection, &columns).await?;
    let recomputed = Vec::new();
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

/// The types of columns that contain a type whose text depends on a setting: all such are written as text.
async fn types_within(
    connection: &mut PgConnection,
    columns: &[Column],
) -> Result<Vec<(u32, u32)>, Failure> {
    let texts = columns.iter().filter(|column| column.target == Target::AsText);
    let types: Vec<_> = texts.map(|column| Oid(column.type_oid)).collect();
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<_> = filtering::setting_types().into_iter().map(Oid).collect();
    let query = sqlx::query_as(statements::TYPES_WITHIN).bind(types).bind(wanted);
    let found: Result<Vec<(Oid, Oid)>, _> = query.fetch_all(&mut *connection).await;
    let found = found.map_err(|error| database_failure("read the types of the columns", &error))?;
    Ok(found.into_iter().map(|(top, inner)| (top.0, inner.0)).collect())
}

/// A function that a condition of these names and operators may call, and that sessions with one snapshot
/// may have different results of.
pub(crate) async fn doubtful_function(
    connection: &mut PgConnection,
    names: &[String],
    operators: &[String],
) -> Result<Option<String>, Failure> {
    let query = sqlx::query_scalar(relation_statements::DOUBTFUL_FUNCTION);
    let query = query.bind(names).bind(operators).bind(relation_statements::STABLE_FUNCTIONS);
    let answer = query.fetch_optional(&mut *connection).await;
    answer.map_err(|error| database_failure("read what extract.where calls", &error))
}

/// Oid, schema, name, kind, whether it is a heap, is written by a subscription, passes rows on, is in
/// no order; a function.
type ReadRow = (Oid, String, String, String, bool, bool, bool, bool, Option<String>);

/// Every relation that a query of relation `oid` reads.
async fn read_relations(
    connection: &mut PgConnection,
    oid: u32,
) -> Result<Vec<ReadRelation>, Failure> {
    let query = sqlx::query_as(relation_statements::READ_RELATIONS).bind(Oid(oid));
    let query = query.bind(relation_statements::STABLE_FUNCTIONS);
    let rows: Vec<ReadRow> = query
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("read the relations below the table", &error))?;
    Ok(rows
        .into_iter()
        .map(|(oid, schema, table, kind, heap, subscribed, passes_rows, unordered, function)| {
            let (name, kind) = (TableName { schema, table }, RelationKind::of(&kind));
            let oid = oid.0;
            ReadRelation { oid, name, kind, heap, subscribed, passes_rows, unordered, function }
        })
        .collect())
}

/// Refuses money that the pinned `lc_monetary` would print as another amount.
///
/// # Errors
/// `SettingRefused`, and what a session may fail with.
pub(crate) async fn check_money(
    connection: &mut PgConnection,
    (columns, within): (&[Column], &[(u32, u32)]),
) -> Result<(), Failure> {
    let is_money = |column: &Column| filtering::holds(column, &[oids::MONEY], within);
    if !columns.iter().any(is_money) {
        return Ok(());
    }
    let unit = sqlx::raw_sql(statements::MONEY_UNIT).fetch_one(&mut *connection).await;
    let unit = unit.and_then(|row| row.try_get::<String, _>(0));
    settings::check_money(
        &unit.map_err(|error| database_failure("read the format of money", &error))?,
    )
}

/// Rows (-1: unknown) and bytes of the table.
pub(crate) async fn size(
    connection: &mut PgConnection,
    source_table: &SourceTable,
) -> Result<(i64, i64), Failure> {
    let query = sqlx::query_as(statements::SIZE).bind(Oid(source_table.relation.oid));
    let answer = query.fetch_one(&mut *connection).await;
    answer.map_err(|error| database_failure("read the table's size", &error))
}

/// Kind, own storage, children, blocks, version, whether all may be read, primary key.
type TableStatsRow = (String, bool, bool, i64, i32, bool, Vec<String>);

/// The first release that finds rows by a span of blocks without reading all others.
const BLOCK_SPANS_SINCE: i32 = 140_000;

/// What the table is, and its primary key.
pub(crate) async fn table_stats(
    connection: &mut PgConnection,
    source_table: &SourceTable,
) -> Result<TableStats, Failure> {
    let query = sqlx::query_as(statements::SHAPE).bind(Oid(source_table.relation.oid));
    let answer: Result<TableStatsRow, _> = query.fetch_one(&mut *connection).await;
    let (kind, heap, children, blocks, version, readable, primary_key) =
        answer.map_err(|error| database_failure("read the table's statistics", &error))?;
    let kind = match (kind.as_str(), children, heap) {
        ("p", ..) => TableKind::Partitioned,
        ("v", ..) => TableKind::View,
        ("r" | "m", true, _) => TableKind::Inherited,
        ("r" | "m", false, true) => TableKind::Plain,
        _ => TableKind::Other,
    };
    let reads_blocks = if version < BLOCK_SPANS_SINCE {
        Err("Postgres before 14 would read the whole table for each partition")
    } else if readable {
        Ok(())
    } else {
        Err("the database user may read only single columns, not the position of a row")
    };
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    Ok(TableStats { kind, primary_key, blocks, reads_blocks })
}

/// Share of NULLs, the commonest values, their shares, bounds of the others.
type StatisticsRow = (i64, Vec<Option<String>>, Vec<i64>, Vec<Option<String>>);

/// What the server knows about a column's values, where that is fresh.
pub(crate) async fn statistics(
    connection: &mut PgConnection,
    source_table: &SourceTable,
    column: &Column,
) -> Result<Option<Statistics>, Failure> {
    let found: Option<StatisticsRow> = sqlx::query_as(statements::STATISTICS)
        .bind(Oid(source_table.relation.oid))
        .bind(&column.name)
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| database_failure("read the table's statistics", &error))?;
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(found.map(|(nulls, values, shares, bounds)| Statistics {
        nulls: number(nulls),
        common: values.into_iter().flatten().zip(shares.into_iter().map(number)).collect(),
        bounds: bounds.into_iter().flatten().collect(),
    }))
}

/// Rows of the window by the planner; -1 where its answer has no number.
pub(crate) async fn estimate(connection: &mut PgConnection, plan: &Plan) -> Result<i64, Failure> {
    explained_rows(connection, rows::estimate_statement(plan)?).await
}

/// Rows of an EXPLAIN; -1 where its answer has no number.
pub(crate) async fn explained_rows(
    connection: &mut PgConnection,
    statement: String,
) -> Result<i64, Failure> {
    let query = sqlx::query_scalar(made(statement));
    let lines: Vec<String> = query
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("estimate the window's rows", &error))?;
    let rows = lines.first().and_then(|line| line.split_once("rows="));
    let digits = rows.and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    Ok(digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1))
}

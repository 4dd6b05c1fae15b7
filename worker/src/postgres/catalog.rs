//! What Postgres' catalog says about a table.

use crds::Reason;
use sqlx::PgConnection;
use sqlx::postgres::types::Oid;
use worker_core::bounds::{NamePart, Relation, TableRef, pick_table};
use worker_core::columns::postgres::{Family, SourceType, column_for};
use worker_core::error::Failure;
use worker_core::plan::{Plan, TableName};
use worker_core::rows::{self, statements};

use crate::bounds::Subject;
use crate::sessions::{database_failure, made};

/// Name; oid and modifier of the type; whether it must not be NULL; the type as it is printed, its
/// own name, its family's word, and its extension.
type ColumnRow = (String, Oid, i32, bool, String, String, String, Option<String>);

/// Finds the table and its columns.
///
/// # Errors
/// `TableNotFound`, `ColumnNotFound`, and what a session may fail with.
pub(crate) async fn look_up(
    connection: &mut PgConnection,
    wanted: &TableRef,
) -> Result<Subject, Failure> {
    let failed = |error| database_failure("read the catalog", &error);
    let found: Vec<(Oid, String, String)> = sqlx::query_as(statements::RELATIONS)
        .bind(wanted.schema.as_ref().map(NamePart::spellings))
        .bind(wanted.table.spellings())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let candidates: Vec<_> = found
        .into_iter()
        .map(|(oid, schema, table)| Relation { oid: oid.0, name: TableName { schema, table } })
        .collect();
    let relation = pick_table(wanted, &candidates)?;
    let rows: Vec<ColumnRow> = sqlx::query_as(statements::COLUMNS)
        .bind(Oid(relation.oid))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
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
            "check extract.table",
        ));
    }
    Ok(Subject { relation, columns, named: false, storage: None })
}

/// Rows (-1: unknown) and bytes of the table.
pub(crate) async fn size(
    connection: &mut PgConnection,
    subject: &Subject,
) -> Result<(i64, i64), Failure> {
    let query = sqlx::query_as(statements::SIZE).bind(Oid(subject.relation.oid));
    let answer = query.fetch_one(&mut *connection).await;
    answer.map_err(|error| database_failure("read the table's size", &error))
}

/// Rows of the window by the planner; -1 where its answer has no number.
pub(crate) async fn estimate(connection: &mut PgConnection, plan: &Plan) -> Result<i64, Failure> {
    let query = sqlx::query_scalar(made(rows::estimate_statement(plan)?));
    let lines: Vec<String> = query
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| database_failure("estimate the window's rows", &error))?;
    let rows = lines.first().and_then(|line| line.split_once("rows="));
    let digits = rows.and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    Ok(digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1))
}

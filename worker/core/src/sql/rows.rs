//! In: a plan, a partition. Out: statement text. Bound: one statement. Fails: a plan whose texts are
//! not of its types (`InvalidSpec`).
//!
//! The only module that makes SQL: identifiers are quoted by doubling, and bounds are literals
//! printed from parsed, typed values, since COPY takes no parameters.

mod mysql;
pub mod mysql_statements;
mod parts;
mod postgres;
mod partitions;
pub mod relation_statements;
pub mod statements;

use crds::source::Engine;

use crate::decoding::columns::{Column, Target, is_oid};
use crate::errors::failure::Failure;
use crate::planning::partitions::PlannedPartition;
use crate::planning::plan::{Plan, TableName};

use self::partitions::partition_predicate;
pub use self::partitions::{SampleMethod, estimate_span_statement, sample_statement};
pub use self::parts::{bounds_rows, has_zero_dates, literal, quote, quote_table};
use self::parts::{
    column, condition, own_prefix, select, where_clause, window_predicates, without_watermark,
};

/// The statement that reads one partition: COPY for Postgres, a query for MySQL.
///
/// # Errors
/// `InvalidSpec` where the plan contradicts itself.
pub fn read_statement(plan: &Plan, partition: &PlannedPartition) -> Result<String, Failure> {
    let mut predicates = window_predicates(plan)?;
    predicates.extend(partition_predicate(plan, partition)?);
    let mut select = select(plan.engine, &plan.columns, &plan.table, &predicates);
    if plan.layout.sorted {
        select = format!("{select} ORDER BY {}", hive_directory_columns(plan)?.join(", "));
    }
    Ok(match plan.engine {
        Engine::Postgres => format!("COPY ({select}) TO STDOUT (FORMAT BINARY)"),
        Engine::Mysql => select,
    })
}

/// In how many folders the first `rows` rows of the window lie, and how many rows there are of them.
///
/// # Errors
/// As [`read_statement`].
pub fn hive_directories_statement(plan: &Plan, rows: u64) -> Result<String, Failure> {
    let columns = hive_directory_columns(plan)?;
    let names: Vec<_> = (0..columns.len()).map(|number| format!("c{number}")).collect();
    let named: Vec<_> =
        columns.iter().zip(&names).map(|(column, name)| format!("{column} AS {name}")).collect();
    let (table, filter) =
        (quote_table(plan.engine, &plan.table), where_clause(&window_predicates(plan)?));
    let number = match plan.engine {
        Engine::Postgres => "pg_catalog.int8",
        Engine::Mysql => "signed",
    };
    let own = own_prefix(plan.engine);
    Ok(format!(
        "SELECT {own}count(*), CAST(coalesce({own}sum(n), 0) AS {number}) FROM (SELECT {own}count(*) AS n \
         FROM (SELECT {} FROM {table}{filter} LIMIT {rows}) s GROUP BY {}) g",
        named.join(", "),
        names.join(", ")
    ))
}

/// The columns that name folders, each as something that has an order.
fn hive_directory_columns(plan: &Plan) -> Result<Vec<String>, Failure> {
    let ordered = |name: &String| {
        let column = column(plan, name)?;
        let name = quote(plan.engine, &column.name);
        Ok(match (plan.engine, column.target) {
            // rows of one folder need to lie together, in whichever order: that of bytes is quickest
            (Engine::Postgres, Target::Text | Target::AsText) => postgres::ordered_text(&name),
            // xid and cid have no order of their own
            (Engine::Postgres, _) if is_oid(column) => postgres::ordered_text(&name),
            (Engine::Mysql, Target::Text | Target::AsText) => format!("CAST({name} AS BINARY)"),
            (Engine::Postgres | Engine::Mysql, _) => name,
        })
    };
    plan.layout.partition_by.iter().map(ordered).collect()
}

/// A query of all columns that gives no row: it takes the lock that the snapshot is held with,
/// and fails where a column may not be read. `named`: the manifest names each of them.
pub fn hold_statement(
    engine: Engine,
    columns: &[Column],
    table: &TableName,
    named: bool,
) -> String {
    match engine {
        // the driver lacks some types; the catalog lacks columns that may not be read
        Engine::Mysql => {
            let all = format!("SELECT * FROM {}", quote_table(engine, table));
            let query = if named { select(engine, columns, table, &[]) } else { all };
            format!("SELECT 1 FROM ({query} LIMIT 0) AS held")
        }
        Engine::Postgres => format!("{} LIMIT 0", select(engine, columns, table, &[])),
    }
}

/// Greatest and least value of a column, as text, in the rows that `filter` leaves.
pub fn extremes_statement(
    engine: Engine,
    table: &TableName,
    column: &Column,
    filter: Option<&str>,
) -> String {
    let name = quote(engine, &column.name);
    let table = format!("{}{}", quote_table(engine, table), where_clause(&condition(filter)));
    match engine {
        Engine::Postgres => {
            let text = |extreme: &str| postgres::text(&format!("pg_catalog.{extreme}({name})"));
            format!("SELECT {}, {} FROM {table}", text("max"), text("min"))
        }
        Engine::Mysql => {
            let text = |extreme: &str| mysql::exact_text(&format!("{extreme}({name})"), column);
            format!("SELECT {}, {} FROM {table}", text("MAX"), text("MIN"))
        }
    }
}

/// Whether a column has a row without watermark in the rows that `filter` leaves. `unenforced`: see
/// [`Plan::unenforced`].
pub fn null_statement(
    engine: Engine,
    table: &TableName,
    column: &Column,
    filter: Option<&str>,
    unenforced: bool,
) -> String {
    let mut predicates = condition(filter);
    predicates.push(without_watermark(engine, column, unenforced));
    let (table, filter) = (quote_table(engine, table), where_clause(&predicates));
    format!("SELECT EXISTS (SELECT 1 FROM {table}{filter})")
}

/// A query that gives no row, and fails where the database does not understand `filter`.
pub fn filter_statement(engine: Engine, table: &TableName, filter: &str) -> String {
    format!("{} LIMIT 0", filtered_statement(engine, table, filter))
}

/// The rows of the table that `filter` leaves.
pub fn filtered_statement(engine: Engine, table: &TableName, filter: &str) -> String {
    let (table, filter) = (quote_table(engine, table), where_clause(&condition(Some(filter))));
    format!("SELECT 1 FROM {table}{filter}")
}

/// How Postgres has read `filter`: its constants as values of their types.
pub fn filter_meaning_statement(table: &TableName, filter: &str) -> String {
    let rows = filtered_statement(Engine::Postgres, table, filter);
    format!("EXPLAIN (VERBOSE, COSTS OFF) {rows}")
}

/// Whether the window of a plan has a row.
///
/// # Errors
/// As [`read_statement`].
pub fn any_row_statement(plan: &Plan) -> Result<String, Failure> {
    Ok(format!("SELECT EXISTS ({})", window_rows(plan)?))
}

/// How many rows the window of a plan has.
///
/// # Errors
/// As [`read_statement`].
pub fn count_statement(plan: &Plan) -> Result<String, Failure> {
    Ok(format!("SELECT {}count(*) FROM ({}) w", own_prefix(plan.engine), window_rows(plan)?))
}

/// The planner's opinion of how many rows the window has: the first line of its answer.
///
/// # Errors
/// As [`read_statement`].
pub fn estimate_statement(plan: &Plan) -> Result<String, Failure> {
    Ok(format!("EXPLAIN {}", window_rows(plan)?))
}

/// Whether a plan takes a part of the table only.
///
/// # Errors
/// As [`read_statement`].
pub fn has_window(plan: &Plan) -> Result<bool, Failure> {
    window_predicates(plan).map(|predicates| !predicates.is_empty())
}

fn window_rows(plan: &Plan) -> Result<String, Failure> {
    let filter = where_clause(&window_predicates(plan)?);
    Ok(format!("SELECT 1 FROM {}{filter}", quote_table(plan.engine, &plan.table)))
}

#[cfg(test)]
mod tests;

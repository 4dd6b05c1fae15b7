//! In: a plan, a range. Out: statement text. Bound: one statement. Fails: a plan whose texts are
//! not of its types (`InvalidSpec`).
//!
//! The only module that makes SQL: identifiers are quoted by doubling, and bounds are literals
//! printed from parsed, typed values, since COPY takes no parameters.

mod mysql;
pub mod mysql_statements;
mod postgres;
mod ranges;
pub mod relation_statements;
pub mod statements;

use crds::Reason;
use crds::extract_job::{NullPolicy, WatermarkType};
use crds::source::Engine;
use crds::tracking::{Mode, Window};

use crate::columns::{Column, Target, is_oid, oids};
use crate::error::Failure;
use crate::plan::{Plan, TableName};
use crate::ranges::KeyRange;
use crate::watermark::Value;

use self::ranges::range_predicate;
pub use self::ranges::{Draw, estimate_span_statement, sample_statement};

/// The first day that MySQL's calendar has.
const FIRST_DAY: &str = "'0001-01-01'";

/// An identifier, quoted.
pub fn quote(engine: Engine, identifier: &str) -> String {
    match engine {
        Engine::Postgres => format!("\"{}\"", identifier.replace('"', "\"\"")),
        Engine::Mysql => format!("`{}`", identifier.replace('`', "``")),
    }
}

/// A table, both names quoted.
pub fn quote_table(engine: Engine, table: &TableName) -> String {
    format!("{}.{}", quote(engine, &table.schema), quote(engine, &table.table))
}

/// The statement that reads one range: COPY for Postgres, a query for MySQL.
///
/// # Errors
/// `InvalidSpec` where the plan contradicts itself.
pub fn read_statement(plan: &Plan, range: &KeyRange) -> Result<String, Failure> {
    let mut predicates = window_predicates(plan)?;
    predicates.extend(range_predicate(plan, range)?);
    let mut select = select(plan.engine, &plan.columns, &plan.table, &predicates);
    if plan.shape.sorted {
        select = format!("{select} ORDER BY {}", folder_columns(plan)?.join(", "));
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
pub fn folders_statement(plan: &Plan, rows: u64) -> Result<String, Failure> {
    let columns = folder_columns(plan)?;
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
fn folder_columns(plan: &Plan) -> Result<Vec<String>, Failure> {
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
    plan.shape.partition_by.iter().map(ordered).collect()
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

/// Rows of which no window is: those without a value, and MySQL's zero dates, which are below every bound.
fn without_watermark(engine: Engine, column: &Column, unenforced: bool) -> String {
    let name = quote(engine, &column.name);
    let is_null = is_null(engine, &name, unenforced);
    if has_zero_dates(engine, column) {
        format!("({is_null} OR {name} < {FIRST_DAY})")
    } else {
        is_null
    }
}

/// Whether an expression is NULL. From Postgres 17 on the planner answers `IS NULL` from the catalog,
/// a foreign table's NOT NULL too: where that may be wrong, a function is asked, which it calls.
fn is_null(engine: Engine, expression: &str, unenforced: bool) -> String {
    match (engine, unenforced) {
        (Engine::Postgres, true) => {
            let above = postgres::operator(">");
            format!("pg_catalog.num_nulls({expression}) {above} 0")
        }
        (Engine::Postgres | Engine::Mysql, _) => format!("{expression} IS NULL"),
    }
}

/// Whether values may be of the year 0, which no calendar has: also where the column must not be NULL.
pub fn has_zero_dates(engine: Engine, column: &Column) -> bool {
    let dates = matches!(column.target, Target::Date | Target::Timestamp | Target::TimestampTz);
    engine == Engine::Mysql && dates
}

/// A query that gives no row, and fails where the database does not understand `filter`.
pub fn filter_statement(engine: Engine, table: &TableName, filter: &str) -> String {
    format!("{} LIMIT 0", filtered_statement(engine, table, filter))
}

/// An operator of the server's own: one of the same name that a user has made is never taken.
fn operator_of(engine: Engine, operator: &str) -> String {
    match engine {
        Engine::Postgres => postgres::operator(operator),
        // MySQL has no operators of users
        Engine::Mysql => operator.to_owned(),
    }
}

/// What stands before the name of a function of the server's own.
const fn own_prefix(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "pg_catalog.",
        // a stored function of the same name is only taken where its database is named
        Engine::Mysql => "",
    }
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

/// The opposite of [`is_null`].
fn is_not_null(engine: Engine, expression: &str, unenforced: bool) -> String {
    match (engine, unenforced) {
        (Engine::Postgres, true) => {
            let equals = postgres::operator("=");
            format!("pg_catalog.num_nulls({expression}) {equals} 0")
        }
        (Engine::Postgres | Engine::Mysql, _) => format!("{expression} IS NOT NULL"),
    }
}

/// `extract.where`, which [`crate::selection::check_filter`] has let pass: it cannot leave its
/// parentheses.
fn condition(filter: Option<&str>) -> Vec<String> {
    filter.map(|filter| format!("({filter})")).into_iter().collect()
}

fn where_clause(predicates: &[String]) -> String {
    if predicates.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", predicates.join(" AND "))
    }
}

/// Whether the window of a plan has a row.
///
/// # Errors
/// As [`copy_statement`].
pub fn any_row_statement(plan: &Plan) -> Result<String, Failure> {
    Ok(format!("SELECT EXISTS ({})", window_rows(plan)?))
}

/// How many rows the window of a plan has.
///
/// # Errors
/// As [`copy_statement`].
pub fn count_statement(plan: &Plan) -> Result<String, Failure> {
    Ok(format!("SELECT {}count(*) FROM ({}) w", own_prefix(plan.engine), window_rows(plan)?))
}

/// The planner's opinion of how many rows the window has: the first line of its answer.
///
/// # Errors
/// As [`copy_statement`].
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

fn window_predicates(plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut predicates = condition(plan.filter.as_deref());
    predicates.extend(window_predicate(plan)?);
    Ok(predicates)
}

fn select(engine: Engine, columns: &[Column], table: &TableName, predicates: &[String]) -> String {
    let columns: Vec<_> = columns.iter().map(|column| output(engine, column)).collect();
    let filter = where_clause(predicates);
    format!("SELECT {} FROM {}{filter}", columns.join(", "), quote_table(engine, table))
}

fn output(engine: Engine, column: &Column) -> String {
    let name = quote(engine, &column.name);
    match engine {
        Engine::Postgres if column.target == Target::AsText && column.type_oid == oids::CHAR => {
            postgres::char_text(&name)
        }
        Engine::Postgres if column.target == Target::AsText => postgres::text(&name),
        Engine::Postgres => name,
        Engine::Mysql => mysql::output(name, column),
    }
}

/// The rows of the window; `None`: all rows of the table.
fn window_predicate(plan: &Plan) -> Result<Option<String>, Failure> {
    let Some(watermark) = &plan.watermark else {
        return Ok(None);
    };
    let column = column(plan, &watermark.column)?;
    let window = &plan.window;
    let bound = |text: &Option<String>| {
        let text = text.as_deref();
        text.map(|text| typed_literal(plan.engine, watermark.value_type, text, column)).transpose()
    };
    let (low, high) = (bound(&window.low)?, bound(&window.high)?);
    let name = quote(plan.engine, &column.name);
    let compared =
        |operator, bound: &String| format!("{name} {} {bound}", operator_of(plan.engine, operator));
    let at_least = low.as_ref().map(|low| compared(">=", low));
    let above = low.as_ref().map(|low| compared(">", low));
    let at_most = high.map(|high| compared("<=", &high));
    // without a lower bound a zero date would be in the first window, and in none that follows
    let dated = (low.is_none() && plan.mode != Mode::FE && has_zero_dates(plan.engine, column))
        .then(|| format!("{name} >= {FIRST_DAY}"));
    let values: Vec<_> = match plan.mode {
        Mode::FE => at_least.into_iter().chain(at_most).collect(),
        // without an end there is nothing to take but rows without watermark
        Mode::PE | Mode::Reingest => match at_most {
            Some(at_most) => above.into_iter().chain(dated).chain([at_most]).collect(),
            None => vec!["false".to_owned()],
        },
    };
    if values.is_empty() {
        return Ok(None);
    }
    let values = values.join(" AND ");
    Ok(Some(match watermark.null_policy {
        NullPolicy::Include => {
            format!("({values} OR {})", without_watermark(plan.engine, column, plan.unenforced))
        }
        NullPolicy::Fail | NullPolicy::Exclude => format!("({values})"),
    }))
}

fn column<'a>(plan: &'a Plan, name: &str) -> Result<&'a Column, Failure> {
    let found = plan.columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| contradiction("a column that is not in its list"))
}

fn typed_literal(
    engine: Engine,
    value_type: WatermarkType,
    text: &str,
    column: &Column,
) -> Result<String, Failure> {
    let value = Value::parse(value_type, text)
        .map_err(|_| contradiction("a bound that is not of its column's type"))?;
    match engine {
        Engine::Postgres => Ok(literal(&value, column.type_oid)),
        Engine::Mysql => {
            mysql::literal(&value, column).ok_or_else(|| contradiction("a bound out of range"))
        }
    }
}

/// A literal of a type that compares with the column in its own index. Whole numbers are 64 bits
/// wide, so that a bound outside a narrower column is no error.
pub fn literal(value: &Value, type_oid: u32) -> String {
    let (zone, cast) = match (value, type_oid) {
        (Value::Int(_), _) => ("", "int8"),
        (Value::Decimal(_), _) => ("", "numeric"),
        (Value::Double(_), oids::FLOAT4) => ("", "float4"),
        (Value::Double(_), _) => ("", "float8"),
        (Value::Timestamp(_), oids::TIMESTAMPTZ) => ("+00", "timestamptz"),
        (Value::Timestamp(_), _) => ("", "timestamp"),
        (Value::Date(_), _) => ("", "date"),
    };
    let text = value.to_text();
    let text = match text.strip_suffix(" BC") {
        Some(year) => format!("{year}{zone} BC"),
        None => format!("{text}{zone}"),
    };
    // made of digits, signs, dots, colons, `e` and `BC` alone, so that there is nothing to escape
    format!("'{text}'::pg_catalog.{cast}")
}

fn contradiction(what: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!("the plan has {what}"),
        "do not edit plan.json; start another run",
    )
}

/// Whether a window needs the NULL check: rows without watermark are in no bounded window.
pub fn bounds_rows(mode: Mode, window: &Window) -> bool {
    mode != Mode::FE || window.low.is_some() || window.high.is_some()
}

#[cfg(test)]
mod tests;

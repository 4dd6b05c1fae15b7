//! Parts of statements: names, literals, predicates.

use crds::Reason;
use crds::extract_job::{NullPolicy, WatermarkType};
use crds::source::Engine;
use crds::tracking::{Mode, Window};

use crate::decoding::columns::{Column, Target, oids};
use crate::errors::failure::Failure;
use crate::planning::plan::{Plan, TableName};
use crate::planning::watermark::Value;

use super::{mysql, postgres};

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

/// Rows of which no window is: those without a value, and MySQL's zero dates, which are below every bound.
pub(super) fn without_watermark(engine: Engine, column: &Column, unenforced: bool) -> String {
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
pub(super) fn is_null(engine: Engine, expression: &str, unenforced: bool) -> String {
    match (engine, unenforced) {
        (Engine::Postgres, true) => {
            let above = postgres::operator(">");
            format!("pg_catalog.num_nulls({expression}) {above} 0")
        }
        (Engine::Postgres | Engine::Mysql, _) => format!("{expression} IS NULL"),
    }
}

/// An operator of the server's own: one of the same name that a user has made is never taken.
pub(super) fn operator_of(engine: Engine, operator: &str) -> String {
    match engine {
        Engine::Postgres => postgres::operator(operator),
        // MySQL has no operators of users
        Engine::Mysql => operator.to_owned(),
    }
}

/// What stands before the name of a function of the server's own.
pub(super) const fn own_prefix(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "pg_catalog.",
        // a stored function of the same name is only taken where its database is named
        Engine::Mysql => "",
    }
}

/// The opposite of [`is_null`].
pub(super) fn is_not_null(engine: Engine, expression: &str, unenforced: bool) -> String {
    match (engine, unenforced) {
        (Engine::Postgres, true) => {
            let equals = postgres::operator("=");
            format!("pg_catalog.num_nulls({expression}) {equals} 0")
        }
        (Engine::Postgres | Engine::Mysql, _) => format!("{expression} IS NOT NULL"),
    }
}

/// `extract.where`, which [`crate::planning::selection::check_filter`] has let pass: it cannot leave its
/// parentheses.
pub(super) fn condition(filter: Option<&str>) -> Vec<String> {
    filter.map(|filter| format!("({filter})")).into_iter().collect()
}

pub(super) fn where_clause(predicates: &[String]) -> String {
    if predicates.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", predicates.join(" AND "))
    }
}

pub(super) fn window_predicates(plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut predicates = condition(plan.filter.as_deref());
    predicates.extend(window_predicate(plan)?);
    Ok(predicates)
}

pub(super) fn select(
    engine: Engine,
    columns: &[Column],
    table: &TableName,
    predicates: &[String],
) -> String {
    let columns: Vec<_> = columns.iter().map(|column| output(engine, column)).collect();
    let filter = where_clause(predicates);
    format!("SELECT {} FROM {}{filter}", columns.join(", "), quote_table(engine, table))
}

pub(super) fn output(engine: Engine, column: &Column) -> String {
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
pub(super) fn window_predicate(plan: &Plan) -> Result<Option<String>, Failure> {
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

pub(super) fn column<'a>(plan: &'a Plan, name: &str) -> Result<&'a Column, Failure> {
    let found = plan.columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| contradiction("it names a column that its columns do not contain"))
}

pub(super) fn typed_literal(
    engine: Engine,
    value_type: WatermarkType,
    text: &str,
    column: &Column,
) -> Result<String, Failure> {
    let value = Value::parse(value_type, text)
        .map_err(|_| contradiction("a bound does not have the type of its column"))?;
    match engine {
        Engine::Postgres => Ok(literal(&value, column.type_oid)),
        Engine::Mysql => mysql::literal(&value, column)
            .ok_or_else(|| contradiction("a bound is out of range for its column")),
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

pub(super) fn contradiction(what: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!("the plan is inconsistent: {what}"),
        "Do not edit plan.json. Start another run.",
    )
}

/// Whether a window needs the NULL check: rows without watermark are in no bounded window.
pub fn bounds_rows(mode: Mode, window: &Window) -> bool {
    mode != Mode::FE || window.low.is_some() || window.high.is_some()
}

/// Whether values may be of the year 0, which no calendar has: also where the column must not be NULL.
pub fn has_zero_dates(engine: Engine, column: &Column) -> bool {
    let dates = matches!(column.target, Target::Date | Target::Timestamp | Target::TimestampTz);
    engine == Engine::Mysql && dates
}

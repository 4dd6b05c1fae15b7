//! Statement text for partitions: the rows of one partition, and the sample of a table before it is divided.

use crds::source::Engine;

use super::parts::{
    contradiction, is_not_null, is_null, operator_of, own_prefix, quote, quote_table,
    typed_literal, where_clause, window_predicates,
};
use super::{mysql, postgres};
use crate::decoding::columns::Column;
use crate::errors::failure::Failure;
use crate::planning::partitions::{CUT_BYTES_MAX, KeyType, Part, PlannedPartition};
use crate::planning::plan::Plan;

/// How many rows of a table are sampled before it is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleMethod {
    /// All.
    All,
    /// Those of so many percent of its blocks: the others are not even read.
    Blocks(f64),
    /// This share of them. All are read, or all entries of an index that has the key.
    Rows(f64),
}

/// The rows of the partition; `None`: all rows of the window.
pub(super) fn partition_predicate(
    plan: &Plan,
    partition: &PlannedPartition,
) -> Result<Option<String>, Failure> {
    let key = || key_expression(plan.engine, key_column(plan)?).map(|(text, _)| text);
    match partition.part {
        Some(Part::Hash { class, classes }) => hash_class(plan, class, classes).map(Some),
        Some(Part::Blocks { first, end }) => block_span(plan.engine, first, end).map(Some),
        Some(Part::Nulls) => {
            Ok(Some(format!("({})", is_null(plan.engine, &key()?, plan.unenforced))))
        }
        None if partition.from.is_none() && partition.to.is_none() && partition.nulls => Ok(None),
        None if partition.from.is_none() && partition.to.is_none() => {
            Ok(Some(format!("({})", is_not_null(plan.engine, &key()?, plan.unenforced))))
        }
        None => span(plan, key_column(plan)?, partition).map(Some),
    }
}

fn span(plan: &Plan, column: &Column, partition: &PlannedPartition) -> Result<String, Failure> {
    let engine = plan.engine;
    let (key, key_type) = key_expression(engine, column)?;
    let side = |text: &Option<String>, operator| {
        text.as_deref().map(|text| key_literal(engine, key_type, text, column)).transpose().map(
            |literal| {
                let operator = operator_of(engine, operator);
                literal.map(|literal| format!("{key} {operator} {literal}"))
            },
        )
    };
    let sides: Vec<_> =
        side(&partition.from, ">=")?.into_iter().chain(side(&partition.to, "<")?).collect();
    let keys = sides.join(" AND ");
    let is_null = is_null(engine, &key, plan.unenforced);
    Ok(if partition.nulls { format!("({keys} OR {is_null})") } else { format!("({keys})") })
}

/// The column that spans go by: that of `partitioning`, otherwise the one that `partition_column` names.
fn key_column(plan: &Plan) -> Result<&Column, Failure> {
    if let Some(column) = plan.partitioning.as_ref().and_then(|how| how.columns.first()) {
        return Ok(column);
    }
    let Some(name) = &plan.partition_column else {
        return Err(contradiction("partitions have no partition column"));
    };
    super::parts::column(plan, name)
}

/// What is compared with the bounds.
fn key_expression(engine: Engine, column: &Column) -> Result<(String, KeyType), Failure> {
    let Some(key_type) = KeyType::of(column) else {
        return Err(contradiction("the partition column cannot be divided into key ranges"));
    };
    let name = quote(engine, &column.name);
    let expression = match key_type {
        // an order of the type's own may need operators of a schema that is not searched
        KeyType::AsText => format!("({})", postgres::ordered_text(&name)),
        _ => name,
    };
    Ok((expression, key_type))
}

/// A literal that takes type and collation of the column that it is compared with.
fn key_literal(
    engine: Engine,
    key_type: KeyType,
    text: &str,
    column: &Column,
) -> Result<String, Failure> {
    let bad = || contradiction("a bound does not have the type of its column");
    if let Some(value_type) = key_type.value_type() {
        return typed_literal(engine, value_type, text, column);
    }
    let text = key_type.canonical(text).ok_or_else(bad)?;
    match (engine, key_type) {
        // of hexadecimal digits and dashes alone
        (Engine::Postgres, KeyType::Uuid) => Ok(format!("'{text}'::pg_catalog.uuid")),
        (Engine::Mysql, KeyType::Uuid) => Ok(format!("'{text}'")),
        (Engine::Postgres, _) if text.contains('\0') => Err(bad()),
        // means the same with any value of standard_conforming_strings
        (Engine::Postgres, _) => {
            Ok(format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
        }
        (Engine::Mysql, _) => Ok(format!("_utf8mb4 X'{}'", hexadecimal(text.as_bytes()))),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A class of the hash of what the key is as text, so that it is of any type and NULL has one too.
fn hash_class(plan: &Plan, class: u32, classes: u32) -> Result<String, Failure> {
    let columns = plan.partitioning.as_ref().map_or(&[][..], |how| &how.columns);
    if columns.is_empty() || class >= classes {
        return Err(contradiction("hash partitioning has no columns"));
    }
    let names = columns.iter().map(|column| quote(plan.engine, &column.name));
    Ok(match plan.engine {
        Engine::Postgres => {
            let names: Vec<_> = names.collect();
            let (and, modulo, equals) =
                (postgres::operator("&"), postgres::operator("%"), postgres::operator("="));
            format!(
                "(((pg_catalog.hashtextextended(pg_catalog.concat(ROW({})) COLLATE pg_catalog.\"C\", 0) \
                 {and} 9223372036854775807) {modulo} {classes}) {equals} {class})",
                names.join(", ")
            )
        }
        // of the bytes, each column by itself, since columns may have collations that do not mix
        Engine::Mysql => {
            let sums: Vec<_> = names.map(|name| format!("IFNULL(CRC32({name}), -1)")).collect();
            format!("(CRC32(CONCAT_WS(',', {})) MOD {classes} = {class})", sums.join(", "))
        }
    })
}

fn block_span(engine: Engine, first: u32, end: Option<u32>) -> Result<String, Failure> {
    if engine == Engine::Mysql {
        return Err(contradiction("block partitioning is not possible on this engine"));
    }
    let (least, below) = (postgres::operator(">="), postgres::operator("<"));
    let from = format!("ctid {least} '({first},0)'::pg_catalog.tid");
    Ok(match end {
        Some(end) => format!("({from} AND ctid {below} '({end},0)'::pg_catalog.tid)"),
        None => format!("({from})"),
    })
}

/// The planner's opinion of how many rows of the table have a key in a span, or (`None`) no key.
///
/// # Errors
/// `InvalidSpec` where a bound is not of the column's type.
pub fn estimate_span_statement(
    plan: &Plan,
    column: &Column,
    partition: Option<&PlannedPartition>,
) -> Result<String, Failure> {
    let predicate = match partition {
        Some(partition) => span(plan, column, partition)?,
        None => format!("{} IS NULL", key_expression(plan.engine, column)?.0),
    };
    let table = quote_table(plan.engine, &plan.table);
    Ok(format!("EXPLAIN SELECT 1 FROM {table} WHERE {predicate}"))
}

/// Asks for up to `points` keys of the window, evenly far from each other in rows, and for the first
/// and the last: each as text (NULL where it is not a bound), its place among its equals (the first is
/// 1), rows with a key, all rows, and whether it is greater than the one before.
///
/// # Errors
/// `InvalidSpec` where the plan contradicts itself.
pub fn sample_statement(
    plan: &Plan,
    column: &Column,
    sample_method: SampleMethod,
    points: u32,
) -> Result<String, Failure> {
    let engine = plan.engine;
    let (key, _) = key_expression(engine, column)?;
    let mut from = quote_table(engine, &plan.table);
    let mut predicates = window_predicates(plan)?;
    match (sample_method, engine) {
        (SampleMethod::All, _) => {}
        (SampleMethod::Blocks(percent), _) => {
            from = format!("{from} TABLESAMPLE pg_catalog.system ({percent:.6})");
        }
        (SampleMethod::Rows(share), Engine::Postgres) => {
            let below = postgres::operator("<");
            predicates.push(format!("pg_catalog.random() {below} {share:.9}"));
        }
        (SampleMethod::Rows(share), Engine::Mysql) => {
            predicates.push(format!("RAND() < {share:.9}"));
        }
    }
    let filter = where_clause(&predicates);
    let (divide, int, text) = match engine {
        Engine::Postgres => ("/", "pg_catalog.int8", postgres::text("k")),
        Engine::Mysql => ("DIV", "SIGNED", mysql::exact_text("k", column)),
    };
    let own = own_prefix(engine);
    let operator = |operator| operator_of(engine, operator);
    let number = |expression: &str| format!("CAST({expression} AS {int})");
    let greater = format!("COALESCE({own}lag(k) OVER (ORDER BY place) {} k, TRUE)", operator("<"));
    let greater = match engine {
        Engine::Postgres => greater,
        Engine::Mysql => number(&greater),
    };
    // no key at all has no place, and would divide by zero
    let step = |place: &str| {
        let (times, divide) = (operator("*"), operator(divide));
        format!(
            "(({place} {times} {points}) {divide} CASE WHEN total {} 0 THEN total END)",
            operator(">")
        )
    };
    let short = format!("{own}octet_length({text}) {} {CUT_BYTES_MAX}", operator("<="));
    Ok(format!(
        "SELECT CASE WHEN {short} THEN {text} END, {}, {}, {}, {greater} \
         FROM (SELECT k, {own}rank() OVER (ORDER BY k IS NULL, k) AS lowest, \
         {own}row_number() OVER (ORDER BY k IS NULL, k) AS place, {own}count(k) OVER () AS total, \
         {own}count(*) OVER () AS whole FROM (SELECT {key} AS k FROM {from}{filter}) s) r \
         WHERE place {equals} 1 OR place {equals} total OR (place {} total AND {} {} {}) \
         ORDER BY place",
        number("lowest"),
        number("total"),
        number("whole"),
        operator("<"),
        step(&format!("(place {} 1)", operator("-"))),
        operator("<>"),
        step("place"),
        equals = operator("="),
    ))
}

//! In: a plan. Out: the lines that `tidemark plan` prints. Bound: a few screens for any number of columns and
//! partitions; the plan itself has all of them. Fails: as a statement.

use crds::extract_job::Consistency;
use crds::fidelity::FidelityCounts;
use crds::source::Engine;

use crate::decoding::columns::{Column, Fidelity};
use crate::errors::failure::Failure;
use crate::planning::consistency;
use crate::planning::fidelity;
use crate::planning::partitions::{Part, PlannedPartition};
use crate::planning::plan::Plan;
use crate::sql::rows::read_statement;

/// Tables of up to so many columns are shown column by column, wider ones kind by kind.
const COLUMNS_MAX: usize = 60;
/// Kinds of columns that are shown of a wider table.
const KINDS_MAX: usize = 30;
/// Names in a row, before the others are only counted.
const NAMED_MAX: usize = 8;
/// Up to so many partitions are all shown, of more the first and the last.
const PARTITIONS_MAX: usize = 40;
/// Of more partitions, how many at either end.
const PARTITIONS_AT_ENDS: usize = 5;
/// Letters of a statement, and of one that is longer at either end.
const STATEMENT_MAX: usize = 2_000;
const STATEMENT_AT_ENDS: usize = 400;

/// Some names, and how many more there are.
pub fn few<T: AsRef<str>>(names: &[T]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    // to count a single one takes as much room as its name
    let shown = if more <= 1 { names.len() } else { NAMED_MAX };
    let shown: Vec<_> = names.iter().take(shown).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    if more <= 1 { shown } else { format!("{shown} and {more} more") }
}

/// A plan, for people.
///
/// # Errors
/// As [`read_statement`].
pub fn lines(plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut lines =
        vec![format!("table      {}", plan.table), format!("mode       {:?}", plan.mode)];
    let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "-".to_owned());
    let window = &plan.window;
    let guard = window.guard.map_or_else(|| "-".to_owned(), |guard| format!("{guard:?}"));
    lines.push(format!(
        "window     low {} high {} guard {}{}",
        bound(&window.low),
        bound(&window.high),
        guard.to_lowercase(),
        if window.empty { " (no new rows)" } else { "" }
    ));
    if let Some(filter) = &plan.filter {
        lines.push(format!("where      {filter}"));
    }
    for (name, value) in &plan.filter_settings {
        lines.push(format!("  setting {name} = {value}"));
    }
    lines.push(format!("rows       {} in the table (estimate)", plan.estimated_rows));
    if let Some(rows) = plan.filtered_rows {
        lines.push(format!("           {rows} of them match extract.where (estimate)"));
    }
    let FidelityCounts { exact, widened, string, lossy } = fidelity::counts(&plan.columns);
    let kept = format!("{exact} exact, {widened} widened, {string} string, {lossy} lossy");
    lines.push(format!("columns    {}: {kept}", plan.columns.len()));
    columns(&plan.columns, &mut lines);
    for name in plan.layout.columns.names() {
        lines.push(format!("  {name:<30} {:<30} added", ""));
    }
    if !plan.layout.partition_by.is_empty() {
        let sorted =
            if plan.layout.sorted { "; the database sorts the rows by these columns" } else { "" };
        lines.push(format!("hive dirs  by {}{sorted}", few(&plan.layout.partition_by)));
    }
    partitions(plan, &mut lines);
    if let Some(partition) = plan.partitions.first() {
        lines.push(format!("statement  {}", cut(&read_statement(plan, partition)?)));
    }
    lines.extend(plan.warnings.iter().map(|warning| format!("warning    {warning}")));
    Ok(lines)
}

fn columns(columns: &[Column], lines: &mut Vec<String>) {
    let mapping = |column: &Column| {
        let Column { type_name, target, reason, .. } = column;
        let (target, kept) = (target.to_string(), column.fidelity().name());
        format!("{type_name:<30} {target:<24} {kept:<8} {reason}").trim_end().to_owned()
    };
    if columns.len() <= COLUMNS_MAX {
        lines.extend(
            columns.iter().map(|column| format!("  {:<30} {}", column.name, mapping(column))),
        );
        return;
    }
    let mut kinds: Vec<(String, Vec<&Column>)> = Vec::new();
    for column in columns {
        let mapping = mapping(column);
        match kinds.iter_mut().find(|(kind, _)| *kind == mapping) {
            Some((_, of_it)) => of_it.push(column),
            None => kinds.push((mapping, vec![column])),
        }
    }
    // what is least like its source comes first, then what there is most of
    let worst =
        |of_it: &[&Column]| Fidelity::ALL.iter().position(|kept| of_it[0].fidelity() == *kept);
    kinds.sort_by_key(|(_, of_it)| std::cmp::Reverse((worst(of_it), of_it.len())));
    for (kind, of_it) in kinds.iter().take(KINDS_MAX) {
        lines.push(format!("  {:>5} of {kind}", of_it.len()));
        let names: Vec<_> = of_it.iter().map(|column| column.name.clone()).collect();
        lines.push(format!("           {}", few(&names)));
    }
    let rest = kinds.get(KINDS_MAX..).unwrap_or_default();
    if !rest.is_empty() {
        let columns: usize = rest.iter().map(|(_, of_it)| of_it.len()).sum();
        lines.push(format!("  {columns:>5} of {} more mappings", rest.len()));
    }
    lines.push("  all columns: tidemark plan --json".to_owned());
}

fn partitions(plan: &Plan, lines: &mut Vec<String>) {
    if let Some(how) = &plan.partitioning {
        let names: Vec<_> = how.columns.iter().map(|column| format!("{:?}", column.name)).collect();
        let by = if names.is_empty() { String::new() } else { format!(" by {}", names.join(", ")) };
        let skew = how.predicted_skew.as_deref().unwrap_or("unknown");
        lines.push(format!("partition  {}{by}, predicted skew {skew}", how.strategy.name()));
        lines.push(format!("why        {}", how.reason));
    }
    let instant = match (consistency::reached(plan), &plan.snapshot) {
        (Consistency::Snapshot, Some(point)) if plan.engine == Engine::Mysql => {
            let at = match plan.table_lock_milliseconds {
                Some(time) => format!("at {point} UTC, with the table locked for {time} ms"),
                None => format!("at binary log position {point}"),
            };
            format!("snapshot: one pod reads all partitions, {at}")
        }
        (held, _) => held.name().to_owned(),
    };
    lines.push(format!("consistent {instant}"));
    let count = plan.partitions.len();
    lines.push(format!("partitions {count}"));
    for (index, partition) in plan.partitions.iter().enumerate() {
        if count <= PARTITIONS_MAX
            || index < PARTITIONS_AT_ENDS
            || index >= count - PARTITIONS_AT_ENDS
        {
            lines.push(format!("  {index:<4} {}", shown(partition)));
        } else if index == PARTITIONS_AT_ENDS {
            lines.push(format!(
                "  ...  {} more: tidemark plan --json",
                count - 2 * PARTITIONS_AT_ENDS
            ));
        }
    }
}

fn shown(partition: &PlannedPartition) -> String {
    let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "-".to_owned());
    match partition.part {
        Some(Part::Nulls) => "NULL".to_owned(),
        Some(Part::Hash { class, classes }) => format!("hash class {class} of {classes}"),
        Some(Part::Blocks { first, end }) => {
            let end = end.map_or_else(|| "-".to_owned(), |end| end.to_string());
            format!("blocks from {first} to below {end}")
        }
        None => {
            let nulls = if partition.nulls { " and NULL" } else { "" };
            format!("from {} to below {}{nulls}", bound(&partition.from), bound(&partition.to))
        }
    }
}

/// Both ends of a long statement.
fn cut(statement: &str) -> String {
    let letters: Vec<_> = statement.chars().collect();
    if letters.len() <= STATEMENT_MAX {
        return statement.to_owned();
    }
    let end = letters.len() - STATEMENT_AT_ENDS;
    let left_out = end - STATEMENT_AT_ENDS;
    let text = |letters: &[char]| letters.iter().collect::<String>();
    let (head, tail) = (text(&letters[..STATEMENT_AT_ENDS]), text(&letters[end..]));
    format!("{head} ... ({left_out} more characters: tidemark plan --json) ... {tail}")
}

#[cfg(test)]
mod tests;

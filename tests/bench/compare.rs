//! In: a table, and the files that a client wrote from it. Out: their differences. Bound: the memory of DuckDB for one
//! read. Fails: if the files cannot be read.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clients::{Bench, Files};
use crate::load;
use crate::tables::{Engine, Table};

/// How long reading the files once may take.
const DEADLINE: Duration = Duration::from_mins(15);

/// Counts and checksums of a table. They do not depend on the order of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Its rows.
    pub(crate) rows: u64,
    /// Checksum over all columns of each row; absent if a column was not compared.
    pub(crate) row_checksum: Option<String>,
    /// Its columns.
    pub(crate) columns: BTreeMap<String, ColumnSummary>,
    /// Compressed bytes of the files.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// Compression of the files.
    #[serde(default)]
    pub(crate) codecs: Vec<String>,
    /// Number of files.
    #[serde(default)]
    pub(crate) files: u64,
}

/// Counts and checksums of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnSummary {
    /// Its type as DuckDB reads it.
    #[serde(rename = "type")]
    pub(crate) found: String,
    /// Why its values were not compared.
    pub(crate) not_compared: Option<String>,
    /// Values that are not NULL.
    pub(crate) values: Option<u64>,
    /// Sum of the hashes of its values.
    pub(crate) checksum: Option<String>,
    /// Sum of its values, for integers and decimals.
    pub(crate) sum: Option<String>,
    /// Number of distinct values.
    pub(crate) distinct: Option<u64>,
}

impl Summary {
    /// The differences between this table and the files written from it; empty if both have the same rows.
    pub(crate) fn differences(&self, files: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.rows != files.rows {
            found.push(format!("{} rows instead of {}", files.rows, self.rows));
        }
        let checksums = (&self.row_checksum, &files.row_checksum);
        if let (Some(source), Some(output)) = checksums
            && source != output
        {
            found.push("the checksum over whole rows differs".to_owned());
        }
        for (name, column) in &self.columns {
            let Some(output) = files.columns.get(name) else {
                found.push(format!("column {name} is missing"));
                continue;
            };
            if column.values != output.values {
                let (actual, expected) = (output.values.unwrap_or(0), column.values.unwrap_or(0));
                found.push(format!("column {name}: {actual} values instead of {expected}"));
            }
            if output.not_compared.is_some() {
                continue;
            }
            if column.checksum != output.checksum {
                found.push(format!("column {name}: the checksum differs"));
            }
            if column.sum != output.sum {
                found.push(format!(
                    "column {name}: sum {:?} instead of {:?}",
                    output.sum, column.sum
                ));
            }
            if output.distinct.is_some() && column.distinct != output.distinct {
                let (actual, expected) = (output.distinct, column.distinct);
                found.push(format!(
                    "column {name}: {actual:?} distinct values instead of {expected:?}"
                ));
            }
        }
        found
    }

    /// The columns whose values were not compared, with the reason.
    pub(crate) fn not_compared(&self) -> Vec<String> {
        let reason = |(name, column): (&String, &ColumnSummary)| {
            Some(format!("{name}: {}", column.not_compared.as_ref()?))
        };
        self.columns.iter().filter_map(reason).collect()
    }
}

/// Summarizes a table of the database, as the database's own client prints it.
///
/// # Errors
/// If the client or DuckDB fails.
pub(crate) async fn of_source(bench: &Bench, engine: Engine, table: Table) -> Result<Summary> {
    let file = bench.work.join(format!("{}-{}.tsv", engine.name(), table.name()));
    load::dump(bench.source(engine), engine, table, &file).await?;
    let path = file.display().to_string();
    let summary = summarize(bench, (engine, table), &path, "lines", true).await;
    std::fs::remove_file(&file)?;
    summary
}

/// Summarizes the files of a client. `distinct`: also counts distinct values, which takes most of the time.
///
/// # Errors
/// If DuckDB cannot read them.
pub(crate) async fn of_files(
    bench: &Bench,
    of: (Engine, Table),
    files: &Files,
    distinct: bool,
) -> Result<Summary> {
    summarize(bench, of, &files.pattern(), "parquet", distinct).await
}

async fn summarize(
    bench: &Bench,
    (engine, table): (Engine, Table),
    files: &str,
    format: &str,
    distinct: bool,
) -> Result<Summary> {
    let columns = table.columns(engine);
    let columns: Vec<_> = columns.iter().map(|column| (column.name, column.kind.name())).collect();
    let s3 = files.starts_with("s3://").then(Bench::s3);
    let request = json!({ "files": files, "format": format, "columns": columns, "distinct": distinct, "s3": s3 });
    let argv = bench.python(&bench.venv, "summary.py");
    let mut command = bench.env.command(&argv[0]);
    command.args(&argv[1..]);
    let output = bench.env.output(command, &request.to_string(), DEADLINE).await?;
    ensure!(output.code == Some(0), "summary of {files}: {}", output.stderr);
    serde_json::from_str(&output.stdout).context("parse a summary")
}

#[cfg(test)]
mod tests {
    use super::{ColumnSummary, Summary};

    fn summary(rows: u64, checksum: &str) -> Summary {
        let column = ColumnSummary {
            found: "BIGINT".to_owned(),
            not_compared: None,
            values: Some(rows),
            checksum: Some(checksum.to_owned()),
            sum: Some("7".to_owned()),
            distinct: Some(1),
        };
        Summary {
            rows,
            row_checksum: Some(checksum.to_owned()),
            columns: [("id".to_owned(), column)].into(),
            bytes: 0,
            codecs: vec![],
            files: 1,
        }
    }

    #[test]
    fn equal_summaries_have_no_difference() {
        assert!(summary(3, "a").differences(&summary(3, "a")).is_empty());
    }

    #[test]
    fn changed_value_is_a_difference_of_the_column_and_of_the_rows() {
        let found = summary(3, "a").differences(&summary(3, "b"));
        assert_eq!(
            found,
            ["the checksum over whole rows differs", "column id: the checksum differs"]
        );
    }

    #[test]
    fn missing_row_is_a_difference_even_if_the_column_was_not_compared() {
        let mut output = summary(2, "a");
        if let Some(column) = output.columns.get_mut("id") {
            column.not_compared = Some("DOUBLE instead of a decimal".to_owned());
        }
        let found = summary(3, "a").differences(&output);
        assert_eq!(found, ["2 rows instead of 3", "column id: 2 values instead of 3"]);
    }
}

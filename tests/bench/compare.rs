//! In: a table, and the files that a client made of it. Out: how they differ. Bound: what DuckDB needs to read
//! them once. Fails: if the files cannot be read.

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

/// What a table holds, whatever the order of its rows.
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

/// What a column holds.
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
    /// Different values.
    pub(crate) distinct: Option<u64>,
}

impl Summary {
    /// How files differ from the table that they were made of: nothing if they hold the same rows.
    pub(crate) fn differences(&self, files: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.rows != files.rows {
            found.push(format!("{} rows instead of {}", files.rows, self.rows));
        }
        let checksums = (&self.row_checksum, &files.row_checksum);
        if let (Some(source), Some(there)) = checksums
            && source != there
        {
            found.push("the checksum over whole rows differs".to_owned());
        }
        for (name, column) in &self.columns {
            let Some(there) = files.columns.get(name) else {
                found.push(format!("column {name} is missing"));
                continue;
            };
            if column.values != there.values {
                let (these, those) = (there.values.unwrap_or(0), column.values.unwrap_or(0));
                found.push(format!("column {name}: {these} values instead of {those}"));
            }
            if there.not_compared.is_some() {
                continue;
            }
            if column.checksum != there.checksum {
                found.push(format!("column {name}: the checksum differs"));
            }
            if column.sum != there.sum {
                found.push(format!(
                    "column {name}: sum {:?} instead of {:?}",
                    there.sum, column.sum
                ));
            }
            if there.distinct.is_some() && column.distinct != there.distinct {
                let (these, those) = (there.distinct, column.distinct);
                found.push(format!(
                    "column {name}: {these:?} different values instead of {those:?}"
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

/// What the database holds, by its own client.
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

/// What the files of a client hold. Counting different values takes most of the time.
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
    let words = bench.python(&bench.venv, "summary.py");
    let mut command = bench.env.command(&words[0]);
    command.args(&words[1..]);
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
    fn another_value_is_a_difference_of_the_column_and_of_the_rows() {
        let found = summary(3, "a").differences(&summary(3, "b"));
        assert_eq!(
            found,
            ["the checksum over whole rows differs", "column id: the checksum differs"]
        );
    }

    #[test]
    fn a_missing_row_is_a_difference_even_if_the_column_was_not_compared() {
        let mut there = summary(2, "a");
        if let Some(column) = there.columns.get_mut("id") {
            column.not_compared = Some("DOUBLE instead of a decimal".to_owned());
        }
        let found = summary(3, "a").differences(&there);
        assert_eq!(found, ["2 rows instead of 3", "column id: 2 values instead of 3"]);
    }
}

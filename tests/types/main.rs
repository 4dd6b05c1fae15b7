//! Every type of Postgres, value by value, read back by two readers that know nothing of us, and compared with what
//! Postgres itself prints; values that do not fit; odd names, wide tables, long rows; what is reported about them.

mod families;
mod fidelity;
mod nested;
mod refused;
mod shapes;
mod spatial;
mod statistics;

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Map, Value, json};

/// Columns of one table: type, how DuckDB shows it as Postgres does, values as SQL.
struct Column(&'static str, Show, &'static [&'static str]);

/// How DuckDB shows a value as Postgres does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// By its own text.
    Plain,
    /// `t` and `f`.
    Boolean,
    /// `\x` and hexadecimal digits.
    Bytes,
    /// The same, of what PostGIS calls EWKB.
    Ewkb,
    /// `NaN` and infinities.
    Float,
}

impl Column {
    fn in_duckdb(&self, name: &str) -> String {
        match self.1 {
            // it leaves out the zero before a point
            Show::Plain if self.0.starts_with("numeric(") => {
                format!("regexp_replace({name}::varchar, '^(-?)[.]', '\\10.')")
            }
            Show::Plain => format!("{name}::varchar"),
            Show::Boolean => format!("case {name} when true then 't' when false then 'f' end"),
            Show::Bytes | Show::Ewkb => format!("'\\x' || lower(hex({name}))"),
            Show::Float => format!(
                "case {name}::varchar when 'nan' then 'NaN' when 'inf' then 'Infinity' \
                 when '-inf' then '-Infinity' else {name}::varchar end"
            ),
        }
    }

    fn in_postgres(&self, name: &str) -> String {
        let text = match self.1 {
            // `is distinct from` seeks an operator, and no schema is searched for one
            Show::Ewkb => {
                return format!("public.st_asewkb({name}::public.geometry)::text");
            }
            // before 15 the server prints a byte above 127 as it is, which is not a text
            Show::Plain if self.0 == "\"char\"" => format!(
                "case when current_setting('server_version_num')::int < 150000 and {name}::int < 0 \
                 then encode(set_byte('\\x00', 0, {name}::int & 255), 'escape') else format('%s', {name}) end"
            ),
            _ => format!("format('%s', {name})"),
        };
        format!("case when {name} is distinct from null then {text} end")
    }
}

/// Makes a table `public.t` of the columns `c0`, `c1`, ... : each row has the next value of each, then NULL.
async fn make(source: &SourceFixture, setup: &str, columns: &[Column]) -> Result<usize> {
    let list = |item: &dyn Fn(usize, &Column) -> String| {
        columns.iter().enumerate().map(|(i, column)| item(i, column)).collect::<Vec<_>>().join(", ")
    };
    let types = list(&|i, column| format!("c{i} {}", column.0));
    let rows = columns.iter().map(|column| column.2.len()).max().unwrap_or(0) + 1;
    let mut sql = format!("{setup}; create table t (id int primary key, {types});");
    for row in 0..rows {
        let values = list(&|_, column| {
            column
                .2
                .get(row)
                .map_or_else(|| "null".to_owned(), |value| format!("({value})::{}", column.0))
        });
        writeln!(sql, "insert into t values ({row}, {values});")?;
    }
    source.env.psql(&source.database, &sql).await?;
    Ok(rows)
}

/// What Postgres prints for the table, by a session and statements of its own.
async fn printed(source: &SourceFixture, columns: &[Column]) -> Result<Vec<Value>> {
    let fields = columns.iter().enumerate();
    let fields: Vec<_> = fields.map(|(i, column)| column.in_postgres(&format!("c{i}"))).collect();
    let sql = format!(
        "set timezone = 'UTC'; set search_path = ''; select to_json(array[{}]::text[]) from public.t order by id",
        fields.join(", ")
    );
    let text = source.env.psql(&source.database, &sql).await?;
    let named = |line: &str| -> Result<Value> {
        let values: Vec<Value> = serde_json::from_str(line)?;
        let values = values.into_iter().enumerate().map(|(i, value)| (format!("c{i}"), value));
        Ok(Value::Object(values.collect::<Map<_, _>>()))
    };
    text.lines().map(named).collect()
}

/// `4713-01-01 (BC) 10:00:00`, as DuckDB has it, in Postgres' words.
fn era_last(value: &mut Value) {
    if let Some(text) = value.as_str()
        && let Some((date, rest)) = text.split_once(" (BC)")
    {
        *value = json!(format!("{date}{rest} BC"));
    }
}

/// Extracts a table of these columns and holds what two readers find against what Postgres prints.
async fn compare(prefix: &str, setup: &str, columns: &[Column]) -> Result<Value> {
    let source = SourceFixture::new(TestEnv::shared()?, prefix).await?;
    let rows = make(&source, setup, columns).await?;
    let mut job = source.job("public.t", "FE");
    job["spec"]["extract"]["fidelity"] = json!("strict");
    let said = source.run(&job).await?;
    ensure!(said["rows"] == rows, "{said}");
    let expected = printed(&source, columns).await?;
    let shown = columns.iter().enumerate();
    let shown: Vec<_> = shown
        .map(|(i, column)| format!("{} as c{i}", column.in_duckdb(&format!("c{i}"))))
        .collect();
    let sql = format!("select {} from t order by id", shown.join(", "));
    let mut by_duckdb = source.env.read_parquet(&source.bucket, "public.t", &sql).await?;
    by_duckdb
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
        .for_each(era_last);
    let mut by_pyarrow = source.env.parquet_values(&source.bucket, "public.t").await?;
    by_pyarrow.sort_by_key(|row| row["id"].as_str().and_then(|id| id.parse::<u32>().ok()));
    let mut wrong = Vec::new();
    for (reader, found) in [("DuckDB", &by_duckdb), ("pyarrow", &by_pyarrow)] {
        ensure!(
            found.len() == rows && expected.len() == rows,
            "{reader}: {} rows of {rows}",
            found.len()
        );
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for (i, column) in columns.iter().enumerate() {
                let name = format!("c{i}");
                if found[&name] != expected[&name] {
                    let value = column.2.get(row).unwrap_or(&"null");
                    let (found, expected) = (&found[&name], &expected[&name]);
                    wrong.push(format!(
                        "{} {value}: {reader} reads {found}, Postgres {expected}",
                        column.0
                    ));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    manifest(&source, &said).await
}

/// The manifest of a run.
async fn manifest(source: &SourceFixture, said: &Value) -> Result<Value> {
    let run = said["run"].as_str().context("run")?;
    let key = format!("public.t/_tidemark/{run}/manifest.json");
    Ok(serde_json::from_slice(&source.env.object(&source.bucket, &key).await?)?)
}

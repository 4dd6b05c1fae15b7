//! The legacy job as its description has it: what it reads from the tracking table and the
//! database, and what it writes to the table. Its own output is given back instead of written.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::SourceFixture;

/// The legacy job, set up for one table.
#[derive(Debug, Clone)]
pub struct LegacyJob<'a> {
    /// Database and tracking table.
    pub source: &'a SourceFixture,
    /// `extract_table`.
    pub table: &'a str,
    /// `hwm_col_name`.
    pub column: &'a str,
    /// `hwm_column_type`, in its own words.
    pub column_type: &'a str,
}

/// One call of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    /// `extract_type` FE; else PE.
    pub full: bool,
    /// `reingest`.
    pub reingest: bool,
    /// `lwm_value`.
    pub low: Option<&'a str>,
    /// `hwm_value`.
    pub high: Option<&'a str>,
    /// Dies after it has read and before it writes.
    pub dies: bool,
}

/// What a call took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    /// Column `id` of each row, in order.
    pub ids: Vec<i64>,
}

impl LegacyJob<'_> {
    /// Runs one call to its end, or to its death.
    ///
    /// # Errors
    /// With the database's words where it refuses the watermark, as it would refuse the job's.
    pub async fn run(&self, call: Call<'_>) -> Result<Took> {
        let item = self.source.watermark_item(self.table).await?;
        let stored = |name: &str| -> Result<String> {
            let item = item.as_ref().context("the job broke off here on a first run")?;
            Ok(item[name].as_str().context("a text")?.to_owned())
        };
        // Python's str() of nothing
        let given = |value: Option<&str>| value.unwrap_or("None").to_owned();
        let (high, low) = if !call.full && item.is_some() {
            (stored("hwm_value")?, stored("lwm_value")?)
        } else {
            (given(call.high), given(call.low))
        };
        self.write(&call, (&low, &high), -1, "N").await?;
        let (ids, max) = self.read(&call, &low, &high).await?;
        if call.dies {
            return Ok(Took { ids });
        }
        let rows = i64::try_from(ids.len())?;
        if ids.is_empty() {
            self.write(&call, (&stored("lwm_value")?, &stored("hwm_value")?), 0, "Y").await?;
        } else if call.full {
            self.write(&call, (&low, &high), rows, "Y").await?;
        } else {
            self.write(&call, (&max, "-1"), rows, "Y").await?;
        }
        Ok(Took { ids })
    }

    /// Values go into the statement as they are.
    async fn read(&self, call: &Call<'_>, low: &str, high: &str) -> Result<(Vec<i64>, String)> {
        let column = self.column;
        let condition = match (call.full, call.reingest, high) {
            (true, ..) => "true".to_owned(),
            (false, true, _) => format!("{column} > '{}'", minimum(self.column_type)?),
            (false, false, "-1") => format!("{column} > '{low}'"),
            (false, false, high) => format!("{column} > '{low}' and {column} <= '{high}'"),
        };
        let sql = format!(
            "select id, {column} from {} where {condition} order by {column}, id",
            self.table
        );
        let answer = self.source.env.psql(&self.source.database, &sql).await?;
        let mut ids = Vec::new();
        let mut max = String::new();
        for line in answer.lines().filter(|line| !line.is_empty()) {
            let (id, value) = line.split_once('|').context("two columns")?;
            ids.push(id.parse()?);
            value.clone_into(&mut max);
        }
        Ok((ids, python_text(&max)))
    }

    /// `put_item` of all attributes: what else the item held is gone.
    async fn write(
        &self,
        call: &Call<'_>,
        (low, high): (&str, &str),
        rows: i64,
        done: &str,
    ) -> Result<()> {
        let now = self
            .source
            .env
            .psql(
                &self.source.database,
                "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
            )
            .await?;
        let attributes = [
            ("source", self.source.key(self.table)),
            ("hwm_value", high.to_owned()),
            ("lwm_value", low.to_owned()),
            ("hwm_col_name", self.column.to_owned()),
            ("hwm_column_type", self.column_type.to_owned()),
            ("extract_type", if call.full { "FE" } else { "PE" }.to_owned()),
            ("updated_at", now),
            ("extract_successful", done.to_owned()),
            ("extract_metadata", format!("{{\"row_count\": {rows}}}")),
        ];
        let mut request = self.source.env.dynamodb().put_item().table_name(&self.source.table);
        for (name, value) in attributes {
            request = request.item(name, AttributeValue::S(value));
        }
        request.send().await?;
        Ok(())
    }

    /// That the item is one which the job reads and writes: these attributes, all of them texts.
    ///
    /// # Errors
    /// Names the item that is not.
    pub fn knows(item: &Value) -> Result<()> {
        let names = [
            "extract_metadata",
            "extract_successful",
            "extract_type",
            "hwm_col_name",
            "hwm_column_type",
            "hwm_value",
            "lwm_value",
            "source",
            "updated_at",
        ];
        let found: Vec<_> = item.as_object().context("an item")?.keys().cloned().collect();
        ensure!(json!(found) == json!(names), "{item}");
        ensure!(item.as_object().is_some_and(|all| all.values().all(Value::is_string)), "{item}");
        Ok(())
    }
}

/// Where it begins by type.
fn minimum(column_type: &str) -> Result<&'static str> {
    Ok(match column_type {
        "IntegerType" => "-2147483648",
        "LongType" => "-9223372036854775808",
        "TimestampType" => "0001-01-01 00:00:00",
        "DateType" => "0001-01-01",
        other => bail!("no minimum of {other} here"),
    })
}

/// A value as Python's `str()` writes it: six digits after the second or none.
fn python_text(text: &str) -> String {
    match text.split_once('.') {
        Some((whole, fraction)) if text.contains(':') => format!("{whole}.{fraction:0<6}"),
        _ => text.to_owned(),
    }
}

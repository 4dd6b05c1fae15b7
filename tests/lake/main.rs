//! What readers make of the files: every name is one column to them, every value can be read, and what would
//! not be is refused with a remedy that works.

mod borders;
mod json;
mod names;
mod remedies;
mod types;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture, TestEnv};
use serde_json::Value;

/// How long a plan may take on a busy machine.
const PLAN: Duration = Duration::from_mins(1);

/// A source of each engine, and what the table `t` is called there.
async fn both(env: &'static TestEnv, name: &str) -> Result<Vec<(SourceFixture, &'static str)>> {
    let postgres = SourceFixture::new(env, name).await?;
    let mariadb = SourceFixture::mariadb(env, name).await?;
    Ok(vec![(postgres, "public.t"), (mariadb, "t")])
}

async fn sql(source: &SourceFixture, sql: &str) -> Result<String> {
    match source.engine {
        "mysql" => source.env.mariadb(&source.database, sql).await,
        _ => source.env.psql(&source.database, sql).await,
    }
}

/// A manifest with `change` merged into its spec; null removes a field.
fn changed(job: &Value, change: &Value) -> Value {
    let mut job = job.clone();
    merge(&mut job["spec"], change);
    job
}

fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    to.remove(key);
                } else {
                    merge(to.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (to, from) => *to = from.clone(),
    }
}

/// A plan.
async fn plan(source: &SourceFixture, job: &Value) -> Result<Output> {
    source.env.output(source.command("plan", job)?, "", PLAN).await
}

/// A run that is refused for good with these words, before anything is published.
async fn refused(source: &SourceFixture, job: &Value, words: &[&str]) -> Result<String> {
    let output = source.try_run(job).await?;
    said(&output, words)?;
    ensure!(source.open_uploads().await? == 0, "open uploads");
    Ok(output.stderr)
}

fn said(output: &Output, words: &[&str]) -> Result<()> {
    ensure!(output.code == Some(10), "{words:?}: {:?} {}", output.code, output.stderr);
    let told = unquoted(&output.stderr);
    for word in words {
        ensure!(told.contains(word), "no {word:?} in {told}");
    }
    Ok(())
}

/// Logs are JSON: their quotes as they were.
fn unquoted(log: &str) -> String {
    log.replace("\\\"", "\"")
}

/// Each of three readers reads all of what is published for a table.
async fn all_read(source: &SourceFixture, table: &str, rows: u64) -> Result<()> {
    let answers = source.env.read_by_all(&source.bucket, &format!("{table}/")).await?;
    ensure!(answers.len() >= 3, "{answers:?}");
    for reader in ["duckdb", "pyarrow", "polars"] {
        let own: Vec<_> = answers.iter().filter(|answer| answer["reader"] == reader).collect();
        ensure!(own.iter().all(|answer| answer["error"].is_null()), "{own:?}");
        let read: u64 = own.iter().filter_map(|answer| answer["rows"].as_u64()).sum();
        ensure!(read == rows, "{reader} reads {read} of {rows} rows");
    }
    Ok(())
}

/// A field of a run's own manifest.
async fn manifest(source: &SourceFixture, table: &str, run: &Value) -> Result<Value> {
    let run = run["run"].as_str().context("run")?;
    let key = format!("{table}/_tidemark/{run}/manifest.json");
    Ok(serde_json::from_slice(&source.env.object(&source.bucket, &key).await?)?)
}

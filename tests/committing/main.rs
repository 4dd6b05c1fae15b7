//! What a run asks of its stores while it publishes: time-outs of the tracking table, checksums and locks
//! of the bucket, chains of manifests that somebody has edited, and file lists of any length.

mod time_outs;
mod rings;
mod locks;
mod many_files;
mod cut_bodies;
mod deletes;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture, TestEnv};
use serde_json::{Value, json};

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(2);
/// The table of every test, and its prefix.
const TABLE: &str = "public.t";

/// A source with the rows 1 to `rows`.
struct Bench {
    source: SourceFixture,
    job: Value,
    rows: u64,
}

impl Bench {
    async fn new(name: &str, kind: &str, rows: u64) -> Result<Self> {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, name).await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let mut job = source.job(TABLE, kind);
        if kind == "PE" {
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        }
        let mut bench = Self { source, job, rows: 0 };
        bench.grow(rows).await?;
        Ok(bench)
    }

    /// Adds rows.
    async fn grow(&mut self, rows: u64) -> Result<()> {
        let (from, to) = (self.rows + 1, self.rows + rows);
        let sql = format!("insert into t select generate_series({from}, {to})");
        self.source.env.psql(&self.source.database, &sql).await?;
        self.rows = to;
        Ok(())
    }

    /// A run with these variables, and its end.
    async fn run(&self, variables: &[(&str, &str)]) -> Result<Output> {
        self.command("run", variables).await
    }

    /// A sub-command with these variables, and its end.
    async fn command(&self, sub_command: &str, variables: &[(&str, &str)]) -> Result<Output> {
        let mut command = self.source.command(sub_command, &self.job)?;
        command.env("TIDEMARK_RETRY_MS", "10").envs(variables.iter().copied());
        self.source.start(command, None)?.ended(RUN).await
    }

    /// How many rows, and how many different ones, readers of the prefix see.
    async fn seen(&self) -> Result<(u64, u64)> {
        let sql = "select count(*) n, count(distinct id) d from t";
        let read = self.source.env.read_parquet(&self.source.bucket, TABLE, sql).await?;
        let number = |name: &str| read[0][name].as_u64().context("a number");
        Ok((number("n")?, number("d")?))
    }

    /// A control object.
    async fn control(&self, name: &str) -> Result<Value> {
        let key = format!("{TABLE}/_tidemark/{name}");
        Ok(serde_json::from_slice(&self.source.env.object(&self.source.bucket, &key).await?)?)
    }
}

/// What a run that published has printed.
fn printed(output: &Output) -> Result<Value> {
    ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
    serde_json::from_str(output.stdout.trim()).context("parse what it printed")
}

/// The run ended with that code and reason.
fn refused(output: &Output, code: i32, reason: &str) -> Result<()> {
    ensure!(output.code == Some(code), "exit {:?}, not {code}: {}", output.code, output.stderr);
    let last = output.stderr.lines().last().context("no last word")?;
    let said: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
    ensure!(said["fields"]["reason"] == reason, "{last}");
    Ok(())
}

/// Runs a test in the test environment.
fn in_env(test: impl Future<Output = Result<()>>) -> Result<()> {
    TestEnv::shared()?.run(test)
}

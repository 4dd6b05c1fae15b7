//! Fault tests: what `tidemark` does when S3, DynamoDB, the database or a process misbehaves. Each test is named
//! after its number in `faults.txt`, which says what it promises.

mod stores;
mod published;
mod tracking;
mod database;
mod snapshots;
mod poolers;
mod logins;
mod silent_mysql;
mod tokens;
mod processes;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, Output, Process, Proxy, SourceFixture, Speaks, TestEnv};
use serde_json::{Value, json};

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(1);
/// The table of every test, and its prefix.
const TABLE: &str = "public.t";

/// A source whose stores stand behind proxies.
struct Bench {
    env: &'static TestEnv,
    source: SourceFixture,
    s3: Proxy,
    dynamodb: Proxy,
    job: Value,
    rows: u64,
}

impl Bench {
    /// A table of `rows` rows, to be read in `partitions` partitions.
    async fn new(name: &str, kind: &str, rows: u64, partitions: u32) -> Result<Self> {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, name).await?;
        env.psql(&source.database, "create table t (id int primary key, v text)").await?;
        let (s3, dynamodb) =
            (Proxy::start(Speaks::S3).await?, Proxy::start(Speaks::DynamoDb).await?);
        let mut job = source.job(TABLE, kind);
        job["spec"]["output"]["endpoint"] = json!(s3.url());
        job["spec"]["tracking"]["endpoint"] = json!(dynamodb.url());
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": partitions });
        if kind == "PE" {
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        }
        let mut bench = Self { env, source, s3, dynamodb, job, rows: 0 };
        bench.grow(rows).await?;
        Ok(bench)
    }

    /// Adds rows.
    async fn grow(&mut self, rows: u64) -> Result<()> {
        let (from, to) = (self.rows + 1, self.rows + rows);
        let sql = format!(
            "insert into t select i, repeat('x', 100) from generate_series({from}, {to}) i"
        );
        self.env.psql(&self.source.database, &sql).await?;
        self.rows = to;
        Ok(())
    }

    /// `tidemark <sub-command>` with short durations.
    fn command(&self, sub_command: &str) -> Result<tokio::process::Command> {
        let mut command = self.source.command(sub_command, &self.job)?;
        short(&mut command);
        Ok(command)
    }

    /// A run, and its end.
    async fn run(&self) -> Result<Output> {
        self.source.start(self.command("run")?, None)?.ended(RUN).await
    }

    /// A run that pauses at a point.
    async fn paused(&self, point: &str) -> Result<Process> {
        let mut process = self.source.start(self.command("run")?, Some(point))?;
        process.paused().await?;
        Ok(process)
    }

    /// A run that must publish; what it printed.
    async fn publishes(&self) -> Result<Value> {
        printed(&self.run().await?)
    }

    /// Everything is published once, nothing is open, `tidemark verify` finds nothing.
    async fn whole(&self) -> Result<()> {
        let sql = "select count(*) n, count(distinct id) d, max(id) m from t";
        let read = self.env.read_parquet(&self.source.bucket, TABLE, sql).await?;
        let expected = json!({ "n": self.rows, "d": self.rows, "m": self.rows });
        ensure!(read[0] == expected, "read {}, not {expected}", read[0]);
        ensure!(self.source.open_uploads().await? == 0, "an upload is open");
        self.source.verify(&self.direct()).await?;
        Ok(())
    }

    /// The job without proxies.
    fn direct(&self) -> Value {
        let mut job = self.job.clone();
        job["spec"]["output"]["endpoint"] = json!(TestEnv::S3);
        job["spec"]["tracking"]["endpoint"] = json!(TestEnv::DYNAMODB);
        job
    }

    /// The run item.
    async fn item(&self) -> Result<Value> {
        self.source.run_item(TABLE).await?.context("no run item")
    }

    /// The legacy job's item.
    async fn legacy(&self) -> Result<Value> {
        self.source.watermark_item(TABLE).await?.context("no item of the source")
    }

    /// A client of S3 that no proxy disturbs.
    fn client(&self) -> aws_sdk_s3::Client {
        self.env.s3(Access::Admin)
    }

    /// A control object.
    async fn control(&self, name: &str) -> Result<Value> {
        let bytes =
            self.env.object(&self.source.bucket, &format!("{TABLE}/_tidemark/{name}")).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Keys of the data files, in order.
    async fn files(&self) -> Result<Vec<String>> {
        self.env.keys(&self.source.bucket, &format!("{TABLE}/extract_run=")).await
    }
}

/// Durations that a test can wait for.
fn short(command: &mut tokio::process::Command) {
    command
        .env("TIDEMARK_LEASE_SECONDS", "3")
        .env("TIDEMARK_RENEW_SECONDS", "1")
        .env("TIDEMARK_GRACE_SECONDS", "0")
        .env("TIDEMARK_RETRY_MS", "10")
        .env("TIDEMARK_ATTEMPT_SECONDS", "2")
        .env("TIDEMARK_SILENCE_SECONDS", "1");
}

/// A lease that no test lives to see renewed.
fn unrenewed(command: &mut tokio::process::Command) {
    command.env("TIDEMARK_LEASE_SECONDS", "600").env("TIDEMARK_RENEW_SECONDS", "180");
}

/// What a run that published has printed.
fn printed(output: &Output) -> Result<Value> {
    ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
    serde_json::from_str(output.stdout.trim()).context("parse what it printed")
}

/// The run ended with that code and reason, and said what to do where only a person can.
fn refused(output: &Output, code: i32, reason: &str) -> Result<()> {
    ensure!(output.code == Some(code), "exit {:?}, not {code}: {}", output.code, output.stderr);
    let last = output.stderr.lines().last().context("no last word")?;
    let said: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
    let fields = &said["fields"];
    ensure!(fields["reason"] == reason, "{fields}, not {reason}");
    let remedy = fields["remedy"].as_str().unwrap_or_default();
    ensure!(code != 10 || !remedy.is_empty(), "no remedy: {fields}");
    Ok(())
}

/// Runs a test in the test environment.
fn in_env(test: impl Future<Output = Result<()>>) -> Result<()> {
    TestEnv::shared()?.run(test)
}

//! The crash sweep: `tidemark run` dies right before and right after each write of the protocol, or its reply is lost;
//! then it is run again, and `tidemark verify` finds nothing. Here the writes of runs that succeed, in [`ends`] those
//! that end a run in another way or are operator actions; parts and records are in `e2e/crashes.rs`, the operator's in
//! `e2e/api.rs`. With `TIDEMARK_SWEEP=whole` (`make sweep`) it goes through more kinds of runs.

mod ends;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};
use tokio::process::Command;

/// Every write of a run that succeeds, in their order. `put-source` is written once in the life of a prefix.
const WRITES: [&str; 11] = [
    "claim",
    "put-source",
    "put-plan",
    "pin",
    "renew",
    "put-manifest",
    "decide",
    "complete",
    "publish",
    "put-pointer",
    "cleanup",
];

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(1);

/// How a write is struck.
#[derive(Debug, Clone, Copy)]
enum Strike {
    /// The process is killed right before it.
    Before,
    /// The process is killed right after it.
    After,
    /// It succeeds, but the process receives no reply.
    Lost,
}

impl Strike {
    const ALL: [Self; 3] = [Self::Before, Self::After, Self::Lost];

    fn point(self, write: &str) -> String {
        let when = match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Lost => "lose",
        };
        format!("{when}-{write}")
    }

    /// Runs the command and strikes that write. Where it is not killed, it ends with `code`.
    async fn at(
        self,
        source: &SourceFixture,
        command: Command,
        write: &str,
        code: i32,
    ) -> Result<()> {
        let point = self.point(write);
        let mut command = command;
        if let Self::Lost = self {
            command.env("TIDEMARK_TEST_PAUSE", &point);
            let output = source.start(command, None)?.ended(RUN).await?;
            ensure!(output.code == Some(code), "{point}: {:?} {}", output.code, output.stderr);
            ensure!(
                output.stderr.contains("a reply is lost for a test"),
                "{point} was not reached"
            );
            return Ok(());
        }
        let mut process = source.start(command, Some(&point))?;
        process.paused().await.with_context(|| format!("{point} was not reached"))?;
        process.die().await
    }
}

/// Durations that a test can wait for.
fn short(command: &mut Command) {
    command
        .env("TIDEMARK_LEASE_SECONDS", "3")
        .env("TIDEMARK_RENEW_SECONDS", "1")
        .env("TIDEMARK_GRACE_SECONDS", "0");
}

/// Whether the long form is asked for.
fn is_whole() -> bool {
    std::env::var_os("TIDEMARK_SWEEP").is_some_and(|form| form == "whole")
}

/// A source with a table that grows by ten rows before each run.
struct Growing {
    source: SourceFixture,
    job: Value,
    /// Where rows are written: `t`, or what the view of that name shows.
    table: &'static str,
    rows: u64,
}

impl Growing {
    async fn new(env: &'static TestEnv, name: &str, kind: &str) -> Result<Self> {
        let source = SourceFixture::new(env, name).await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let mut job = source.job("public.t", kind);
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        if kind == "PE" {
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        }
        Ok(Self { source, job, table: "t", rows: 0 })
    }

    async fn grow(&mut self) -> Result<()> {
        let sql = format!(
            "insert into {} select generate_series({}, {})",
            self.table,
            self.rows + 1,
            self.rows + 10
        );
        self.rows += 10;
        self.source.env.psql(&self.source.database, &sql).await.map(|_| ())
    }

    /// A run.
    fn command(&self) -> Result<Command> {
        let mut command = self.source.command("run", &self.job)?;
        short(&mut command);
        Ok(command)
    }

    /// A write of a run that would succeed is struck, and the next one finds what it left.
    async fn struck(&mut self, strike: Strike, write: &str) -> Result<()> {
        self.grow().await?;
        let mut command = self.command()?;
        if write == "renew" {
            command.env("TIDEMARK_RENEW_SECONDS", "0");
        }
        strike.at(&self.source, command, write, 0).await?;
        self.goes_on(&strike.point(write)).await
    }

    /// A run, which must succeed.
    async fn runs(&self, after: &str) -> Result<()> {
        let output = self.source.start(self.command()?, None)?.ended(RUN).await?;
        ensure!(output.code == Some(0), "after {after}: {:?} {}", output.code, output.stderr);
        Ok(())
    }

    fn retains(&self) -> bool {
        self.job["spec"]["output"]["retainReplacedSeconds"].is_number()
    }

    async fn goes_on(&mut self, point: &str) -> Result<()> {
        self.grow().await?;
        // the first takes the pending window, the second the rows after it
        self.runs(point).await?;
        self.runs(point).await?;
        self.source.verify(&self.job).await.with_context(|| point.to_owned())?;
        let read = self.source.env.read_parquet(
            &self.source.bucket,
            "public.t",
            "select count(*) n, count(distinct id) d from t",
        );
        let rows = read.await?;
        let (all, distinct) = (rows[0]["n"].as_u64(), rows[0]["d"].as_u64());
        // if removal is postponed, the files of one earlier run may be there too
        let most = if self.retains() { 2 * self.rows } else { self.rows };
        ensure!(distinct == Some(self.rows) && all <= Some(most), "{point}: {}", rows[0]);
        Ok(writeln!(std::io::stderr(), "{point}: {} rows, each once", self.rows)?)
    }
}

/// All writes of a run of this kind, struck in every way; `change` shapes the manifest.
async fn sweep(kind: &str, extra: &[&str], change: impl Fn(&mut Value)) -> Result<()> {
    let env = TestEnv::shared()?;
    for strike in Strike::ALL {
        let mut growing = Growing::new(env, "sweep", kind).await?;
        change(&mut growing.job);
        for write in WRITES.iter().chain(extra) {
            if *write != "put-source" {
                growing.struck(strike, write).await?;
                continue;
            }
            let mut first = Growing::new(env, "first", kind).await?;
            change(&mut first.job);
            first.struck(strike, write).await?;
        }
    }
    Ok(())
}

#[test]
fn an_incremental_run_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async { sweep("PE", &[], |_| ()).await })
}

#[test]
fn a_full_run_survives_every_death_and_every_lost_reply() -> Result<()> {
    TestEnv::shared()?.run(async { sweep("FE", &["delete"], |_| ()).await })
}

#[test]
fn reingests_and_removals_that_wait_survive_every_death_and_every_lost_reply() -> Result<()> {
    if !is_whole() {
        return Ok(());
    }
    TestEnv::shared()?.run(async {
        let reingest = |job: &mut Value| {
            job["spec"]["extract"]["reingest"] = json!(true);
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        };
        sweep("PE", &["delete"], reingest).await?;
        sweep("FE", &["delete"], reingest).await?;
        // the files of the run before last are removed by the next CLAIM
        let later = |job: &mut Value| job["spec"]["output"]["retainReplacedSeconds"] = json!(1);
        sweep("FE", &[], later).await
    })
}

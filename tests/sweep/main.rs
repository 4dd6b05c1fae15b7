//! The crash sweep: `tidemark run` dies right before and right after each write of the protocol that a run makes which
//! succeeds, or its reply is lost; then it is run again, and `tidemark verify` finds nothing. (The undo of a stuck run
//! is in `by_hand.rs`; parts and records in `e2e/crashes.rs`.)

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Bed, SourceFixture, wait_until};
use serde_json::{Value, json};

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
    "yes",
    "put-pointer",
    "clear",
];

/// A source with a table that grows by ten rows before each run.
struct Growing {
    source: SourceFixture,
    job: Value,
    rows: u64,
}

impl Growing {
    async fn new(bed: &'static Bed, name: &str, kind: &str) -> Result<Self> {
        let source = SourceFixture::new(bed, name).await?;
        bed.psql(&source.database, "create table t (id int primary key)").await?;
        let mut job = source.job("public.t", kind);
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        if kind == "PE" {
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        }
        Ok(Self { source, job, rows: 0 })
    }

    async fn grow(&mut self) -> Result<()> {
        let sql =
            format!("insert into t select generate_series({}, {})", self.rows + 1, self.rows + 10);
        self.rows += 10;
        self.source.bed.psql(&self.source.database, &sql).await.map(|_| ())
    }

    fn command(&self, point: &str) -> Result<tokio::process::Command> {
        let mut command = self.source.command("run", &self.job)?;
        command
            .env("TIDEMARK_TEST_PAUSE", point)
            .env("TIDEMARK_LEASE_SECONDS", "2")
            .env("TIDEMARK_GRACE_SECONDS", "0")
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null());
        if point.contains("renew") {
            command.env("TIDEMARK_RENEW_SECONDS", "0");
        }
        Ok(command)
    }

    /// The process is killed at that point, and the next one finds what it left.
    async fn dies(&mut self, point: &str) -> Result<()> {
        self.grow().await?;
        let gate = self.source.file("gate");
        let mut child = self.command(&format!("{point}={}", gate.display()))?.spawn()?;
        let reached = wait_until(point, Duration::from_mins(1), async || {
            ensure!(gate.exists() || child.try_wait()?.is_some(), "neither there nor ended");
            Ok(())
        });
        reached.await?;
        let paused = gate.exists();
        child.kill().await?;
        ensure!(paused, "{point} was not reached");
        std::fs::remove_file(&gate)?;
        self.goes_on(point).await
    }

    /// The write holds, but the process is told that it got no answer.
    async fn loses(&mut self, write: &str) -> Result<()> {
        self.grow().await?;
        let point = format!("lose-{write}");
        let status = self.command(&point)?.status().await?;
        ensure!(status.success(), "{point}: {status}");
        self.goes_on(&point).await
    }

    async fn goes_on(&mut self, point: &str) -> Result<()> {
        self.grow().await?;
        // the first takes the window that is owed, the second what came after it
        for run in ["first", "second"] {
            let status = self.command("")?.status().await?;
            ensure!(status.success(), "the {run} run after {point}: {status}");
        }
        self.source.verify(&self.job).await.with_context(|| point.to_owned())?;
        let rows = self
            .source
            .bed
            .read_parquet(
                &self.source.bucket,
                "public.t",
                "select count(*) n, count(distinct id) d from t",
            )
            .await?;
        ensure!(rows[0] == json!({ "n": self.rows, "d": self.rows }), "{point}: {}", rows[0]);
        Ok(())
    }
}

async fn sweep(kind: &str, extra: &[&str]) -> Result<()> {
    let bed = Bed::shared()?;
    for when in ["before", "after"] {
        let mut growing = Growing::new(bed, &format!("sweep-{when}"), kind).await?;
        for write in WRITES.iter().chain(extra) {
            if *write != "put-source" {
                growing.dies(&format!("{when}-{write}")).await?;
                continue;
            }
            Growing::new(bed, "first", kind).await?.dies(&format!("{when}-{write}")).await?;
        }
    }
    let mut growing = Growing::new(bed, "sweep-lost", kind).await?;
    for write in WRITES.iter().chain(extra) {
        growing.loses(write).await?;
    }
    Ok(())
}

#[test]
fn an_incremental_run_survives_every_death_and_every_lost_reply() -> Result<()> {
    Bed::shared()?.run(async { sweep("PE", &[]).await })
}

#[test]
fn a_full_run_survives_every_death_and_every_lost_reply() -> Result<()> {
    Bed::shared()?.run(async { sweep("FE", &["delete"]).await })
}

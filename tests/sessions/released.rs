//! The session that keeps a snapshot ends with the last record, and not with the run.

use anyhow::{Context, Result, ensure};
use harness::{Calls, Fault, Gate, Proxy, SourceFixture, Speaks, TestEnv, wait_until};
use serde_json::{Value, json};

use crate::{GONE, RUN, in_env, no_sessions, sessions, short};

/// Writes that follow the last record, in their order.
const WRITES: [&str; 6] = [
    "before-put-manifest",
    "before-decide",
    "before-complete",
    "before-publish",
    "before-put-pointer",
    "before-cleanup",
];

/// A table of 300 rows in three partitions, all from one consistent snapshot.
async fn source(engine: &str, name: &str) -> Result<(SourceFixture, Value)> {
    let env = TestEnv::shared()?;
    let table = "create table t (id int primary key, v text); insert into t select seq, 'x' from";
    let source = if engine == "mysql" {
        let source = SourceFixture::mariadb(env, name).await?;
        env.mariadb(&source.database, &format!("{table} seq_1_to_300")).await?;
        source
    } else {
        let source = SourceFixture::new(env, name).await?;
        env.psql(&source.database, &format!("{table} generate_series(1, 300) seq")).await?;
        source
    };
    let mut job = source.job("t", "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
    job["spec"]["extract"]["consistency"] = json!("snapshot");
    Ok((source, job))
}

/// A run that pauses before each of the writes has no session by then.
async fn has_none_after_the_last_record(engine: &str) -> Result<()> {
    let (source, job) = source(engine, "released").await?;
    for point in WRITES {
        let mut command = source.command("run", &job)?;
        short(&mut command);
        let mut run = source.start(command, Some(point))?;
        run.paused().await?;
        no_sessions(&source, GONE).await.with_context(|| format!("{engine}, {point}"))?;
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{engine}, {point}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn no_session_lives_through_completion_removal_and_pointer() -> Result<()> {
    in_env(async {
        has_none_after_the_last_record("postgres").await?;
        has_none_after_the_last_record("mysql").await
    })
}

#[test]
fn no_session_lives_through_an_outage_of_the_store_after_the_last_record() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            for operation in ["ListParts", "CompleteMultipartUpload"] {
                let (source, mut job) = source(engine, "outage").await?;
                let (s3, gate) = (Proxy::start(Speaks::S3).await?, Gate::shut());
                job["spec"]["output"]["endpoint"] = json!(s3.url());
                s3.on(operation, Calls::Every, Fault::Hold(gate.clone()));
                let mut command = source.command("run", &job)?;
                short(&mut command);
                let mut run = source.start(command, None)?;
                gate.came(1, RUN).await?;
                no_sessions(&source, GONE)
                    .await
                    .with_context(|| format!("{engine}, {operation}"))?;
                gate.open();
                let output = run.ended(RUN).await?;
                ensure!(output.code == Some(0), "{engine}, {operation}: {}", output.stderr);
            }
        }
        Ok(())
    })
}

#[test]
fn no_session_lives_on_while_a_failed_run_is_given_up() -> Result<()> {
    in_env(async {
        for (engine, consistency) in
            [("postgres", "snapshot"), ("postgres", "perPartition"), ("mysql", "snapshot")]
        {
            let (source, mut job) = source(engine, "failed").await?;
            let s3 = Proxy::start(Speaks::S3).await?;
            job["spec"]["output"]["endpoint"] = json!(s3.url());
            job["spec"]["extract"]["consistency"] = json!(consistency);
            let denied = Fault::Answer(403, "AccessDenied");
            s3.on_some("CreateMultipartUpload", "/part-00001-", Calls::Every, denied);
            let mut command = source.command("run", &job)?;
            short(&mut command);
            let mut run = source.start(command, Some("before-fail"))?;
            run.paused().await?;
            no_sessions(&source, GONE).await.with_context(|| format!("{engine} {consistency}"))?;
            run.go_on()?;
            let output = run.ended(RUN).await?;
            ensure!(output.code == Some(10), "{engine} {consistency}: {}", output.stderr);
        }
        Ok(())
    })
}

#[test]
fn the_coordinator_keeps_the_snapshot_until_the_last_record_and_no_longer() -> Result<()> {
    in_env(async {
        let (source, mut job) = source("postgres", "pods").await?;
        let (s3, gate) = (Proxy::start(Speaks::S3).await?, Gate::shut());
        job["spec"]["output"]["endpoint"] = json!(s3.url());
        s3.on("ListParts", Calls::Every, Fault::Hold(gate.clone()));
        let task = source.task(&job, "pods", 1);
        let mut command = source.pod("coordinate", &task)?;
        short(&mut command);
        command.env("TIDEMARK_POLL_MS", "50");
        command.env("TIDEMARK_LEASE_SECONDS", "600").env("TIDEMARK_RENEW_SECONDS", "180");
        let mut coordinator = source.start(command, None)?;
        let run = wait_until("the run", RUN, async || {
            let item = source.run_item("t").await?.context("no run item")?;
            ensure!(item["state"] == "running", "{item}");
            Ok(item["run"].as_str().context("run")?.to_owned())
        });
        let run = run.await?;
        for index in 0..3 {
            let held = sessions(&source).await?;
            ensure!(held.contains("/coordinator|idle in transaction"), "{index}: {held}");
            let mut command = source.extract_pod(&task, &run, index)?;
            short(&mut command);
            let output = source.start(command, None)?.ended(RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
        }
        gate.came(1, RUN).await?;
        no_sessions(&source, GONE).await?;
        gate.open();
        let output = coordinator.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        Ok(())
    })
}

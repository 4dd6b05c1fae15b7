//! How many partitions one process reads at a time: no more than its memory has room for, and it says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Output, Process, SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::{RUN, in_env};

/// Memory of the process.
const LIMIT: u64 = 128 << 20;
/// Delay between two reads of its sessions.
const LOOK: Duration = Duration::from_millis(50);

/// Its end, and the most memory that it held until then.
async fn watched(mut run: Process) -> Result<(Output, u64)> {
    let mut peak = 0;
    let end = tokio::time::Instant::now() + RUN * 2;
    loop {
        match run.ended(LOOK).await {
            Ok(output) => return Ok((output, peak)),
            Err(error) if tokio::time::Instant::now() > end => return Err(error),
            Err(_) => peak = run.peak_bytes().unwrap_or(peak).max(peak),
        }
    }
}

/// What the run said of its readers.
fn said(output: &Output) -> Option<Value> {
    let lines = output.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .map(|line| line["fields"].clone())
        .find(|fields| fields["message"] == "reading partitions in this process")
}

async fn stays_within(engine: &str, partition_by: bool) -> Result<()> {
    let env = TestEnv::shared()?;
    let columns = "id int primary key, day date, a text, b text, c text";
    let row = "'2024-01-01', md5(concat(seq, 'a')), repeat(md5(concat(seq, 'b')), 8), \
        repeat(md5(concat(seq, 'c')), 4)";
    let (source, from) = if engine == "mysql" {
        (SourceFixture::mariadb(env, "readers").await?, "seq_1_to_400000")
    } else {
        (SourceFixture::new(env, "readers").await?, "generate_series(1, 400000) seq")
    };
    let sql = format!("create table t ({columns}); insert into t select seq, {row} from {from}");
    if engine == "mysql" {
        env.mariadb(&source.database, &sql).await?;
    } else {
        env.psql(&source.database, &sql.replace("'2024-01-01'", "date '2024-01-01'")).await?;
    }
    let mut job = source.job("t", "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 16 });
    job["spec"]["worker"] = json!({ "parallelism": 16 });
    if partition_by {
        job["spec"]["output"]["partitionBy"] = json!(["day"]);
    }
    if engine == "mysql" {
        job["spec"]["extract"]["consistency"] = json!("snapshot");
    }
    let mut command = source.command("run", &job)?;
    command.env("TIDEMARK_MEMORY", LIMIT.to_string());
    let (output, peak) = watched(source.start(command, None)?).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    let said = said(&output).unwrap_or_default();
    ensure!(peak <= LIMIT, "{engine} {partition_by}: {} MiB, {said}", peak >> 20);
    ensure!(said["readers"].as_u64().is_some_and(|readers| (1..16).contains(&readers)), "{said}");
    let reason = said["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("memory limit of 128 MiB") && reason.contains("16"), "{said}");
    Ok(())
}

#[test]
fn a_run_with_many_partitions_stays_within_its_memory_on_postgres() -> Result<()> {
    in_env(async {
        stays_within("postgres", false).await?;
        stays_within("postgres", true).await
    })
}

#[test]
fn a_run_with_many_partitions_stays_within_its_memory_on_mariadb() -> Result<()> {
    in_env(stays_within("mysql", false))
}

#[test]
fn a_dry_run_reports_how_many_partitions_one_process_reads_at_a_time() -> Result<()> {
    in_env(async {
        let source = SourceFixture::new(TestEnv::shared()?, "readers").await?;
        let sql =
            "create table t (id int primary key); insert into t select generate_series(1, 100)";
        source.env.psql(&source.database, sql).await?;
        let mut job = source.job("t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 4 });
        for (limit, asked, words) in [
            (
                64_u64 << 20,
                8,
                "readers    1 partitions at a time in one process: the memory limit of 64 MiB",
            ),
            (4 << 30, 8, "readers    4 partitions at a time in one process: the plan has 4"),
            (
                4 << 30,
                2,
                "readers    2 partitions at a time in one process: worker.parallelism requests 2",
            ),
        ] {
            job["spec"]["worker"] = json!({ "parallelism": asked });
            let mut command = source.command("plan", &job)?;
            command.env("TIDEMARK_MEMORY", limit.to_string());
            let output = source.start(command, None)?.ended(RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
            ensure!(output.stdout.contains(words), "{}", output.stdout);
            let mut command = source.command("plan --json", &job)?;
            command.env("TIDEMARK_MEMORY", limit.to_string());
            let output = source.start(command, None)?.ended(RUN).await?;
            let plan: Value = serde_json::from_str(&output.stdout)?;
            ensure!(plan["readers"]["inOneProcess"].is_u64(), "{plan}");
        }
        Ok(())
    })
}

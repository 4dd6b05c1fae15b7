//! The connection to MySQL or MariaDB: T57 for them.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Mysql, Process, SourceFixture, TestEnv, Wire};
use serde_json::{Value, json};

use crate::{RUN, in_env, printed, refused, short};

/// Bytes that the server sends in the middle of the rows: 50,000 of them are 50 MB, more than sockets hold, so that
/// the server itself comes to a stop.
const MIDDLE: u64 = 1 << 20;
/// How soon a run ends that waits for nobody.
const SOON: Duration = Duration::from_secs(20);

/// A table of so many rows, read over a wire by a user without any right but to read it.
async fn wired(name: &str, rows: u64) -> Result<(SourceFixture, Wire, Value)> {
    let env = TestEnv::shared()?;
    let source = SourceFixture::mariadb(env, name).await?;
    let user = &source.database;
    let sql = format!(
        "create table t (id int primary key, v text); \
         insert into t select seq, repeat('x', 1000) from seq_1_to_{rows}; \
         create user {user}@'%' identified by 'secret'; grant select on {user}.* to {user}@'%'"
    );
    env.mariadb(&source.database, &sql).await?;
    source.user(user)?;
    source.password("secret")?;
    let wire = Wire::to(TestEnv::MARIADB_PORT).await?;
    let mut job = source.job("t", "FE");
    job["spec"]["source"]["host"] = json!("127.0.0.1");
    job["spec"]["source"]["port"] = json!(wire.port());
    Ok((source, wire, job))
}

fn started(source: &SourceFixture, job: &Value, point: Option<&str>) -> Result<Process> {
    let mut command = source.command("run", job)?;
    short(&mut command);
    source.start(command, point)
}

/// A run whose connection falls silent so many bytes after that point ends and says why; the next one publishes
/// everything.
async fn is_given_up(name: &str, rows: u64, point: &str, bytes: u64) -> Result<()> {
    let (source, wire, job) = wired(name, rows).await?;
    let mut run = started(&source, &job, Some(point))?;
    run.paused().await?;
    wire.stall_after(bytes);
    run.go_on()?;
    let output = run.ended(SOON).await?;
    refused(&output, 75, "DatabaseUnreachable")?;
    ensure!(output.stderr.contains("stopped responding"), "{}", output.stderr);
    let files = source.env.keys(&source.bucket, "t/extract_run=").await?;
    ensure!(files.is_empty() && source.open_uploads().await? == 0, "left: {files:?}");
    let said = printed(&started(&source, &job, None)?.ended(RUN).await?)?;
    ensure!(said["rows"] == rows, "{said}");
    Ok(())
}

#[test]
fn t57_a_connection_of_mysql_that_falls_silent_while_reading_times_out() -> Result<()> {
    in_env(is_given_up("t57-rows", 50_000, "partition-start", MIDDLE))
}

#[test]
fn t57_a_connection_of_mysql_that_falls_silent_before_the_rows_is_given_up() -> Result<()> {
    in_env(is_given_up("t57-ask", 100, "partition-start", 0))
}

#[test]
fn t57_a_connection_of_mysql_that_falls_silent_while_planning_is_given_up() -> Result<()> {
    in_env(is_given_up("t57-plan", 100, "after-guard", 0))
}

#[test]
fn t57_a_server_of_mysql_that_works_silently_is_waited_for() -> Result<()> {
    in_env(async {
        let (source, wire, mut job) = wired("t57-slow", 50).await?;
        // the rows are few: the server sends none before it has all. Longer than four checks of a session that sends
        // nothing for a second, both where it sleeps and where it computes, on this machine for 15 seconds: others may use
        // the machine while it is measured, and not later
        let microseconds = "set @began = sysdate(6); do benchmark(1000000, sha2(1, 512)); \
                            select timestampdiff(microsecond, @began, sysdate(6))";
        let million: u64 =
            source.env.mariadb(&source.database, microseconds).await?.trim().parse()?;
        let times = 1_000_000 * 3_000_000 / million.max(1);
        let view = format!(
            "create view asleep as select id, sleep(0.1) s from t; \
             create view busy as select id, benchmark({times}, sha2(id, 512)) s from t where id <= 5"
        );
        source.env.mariadb(&source.database, &view).await?;
        for (view, rows) in [("asleep", 50), ("busy", 5)] {
            job["spec"]["extract"] = json!({ "table": view, "type": "FE" });
            job["spec"]["output"]["uri"] = json!(format!("s3://{}/{view}", source.bucket));
            let before = wire.connections();
            let said = printed(&started(&source, &job, None)?.ended(RUN).await?)?;
            ensure!(said["rows"] == rows, "{said}");
            ensure!(
                wire.connections() > before + 3,
                "nobody asked what the server does with {view}"
            );
        }
        Ok(())
    })
}

#[test]
fn t57_verify_of_mysql_ends_a_slow_count() -> Result<()> {
    in_env(async {
        let (source, _wire, mut job) = wired("t57-verify", 100).await?;
        printed(&started(&source, &job, None)?.ended(RUN).await?)?;
        // 20 seconds
        let slow = "rename table t to below; \
                    create view t as select id, v from below where sleep(0.2) = 0";
        source.env.mariadb(&source.database, slow).await?;
        // a planning statement may take half of it
        job["spec"]["activeDeadlineSeconds"] = json!(10);
        let mut command = source.command("verify --recount", &job)?;
        short(&mut command);
        let output = source.start(command, None)?.ended(Duration::from_secs(15)).await?;
        ensure!(output.code.is_some_and(|code| code != 0), "{:?}", output.code);
        let number = if Mysql::of_env().is_mariadb() { "error 1969" } else { "error 3024" };
        ensure!(output.stderr.contains(number), "{}", output.stderr);
        Ok(())
    })
}

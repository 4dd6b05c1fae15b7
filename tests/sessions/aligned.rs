//! Sessions of MariaDB that share a snapshot, stopped while they wait for a lock of somebody else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{MariaDb, SourceFixture, TestEnv, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::Notify;

use crate::{GONE, RUN, in_env, short};

/// How soon a process ends that is asked to.
const SOON: Duration = Duration::from_secs(10);

/// What sessions of the user wait for, and for how long: one a line.
async fn waiting(server: &MariaDb) -> Result<String> {
    let sql = format!(
        "select id, state, info from information_schema.processlist where user = '{}'",
        MariaDb::USER
    );
    server.sql("mysql", &sql).await
}

/// A process that is stopped while its sessions wait for what `lock` has locked.
async fn is_stopped(
    server: &MariaDb,
    source: &SourceFixture,
    (lock, signal): (&str, Signal),
) -> Result<()> {
    let mut job = source.job("t", "FE");
    job["spec"]["source"]["port"] = json!(server.port);
    job["spec"]["source"]["database"] = json!("shop");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
    job["spec"]["extract"]["consistency"] = json!("snapshot");
    let mut command = source.command("run", &job)?;
    short(&mut command);
    let locked = format!("{lock}; do sleep(120)");
    let planned = Notify::new();
    let locking = async {
        planned.notified().await;
        server.sql("shop", &locked).await
    };
    let test = async {
        let mut run = source.start(command, Some("after-snapshot"))?;
        run.paused().await?;
        planned.notify_one();
        held(server).await?;
        run.go_on()?;
        wait_until("sessions that wait", RUN, async || {
            let found = waiting(server).await?;
            ensure!(found.contains("Waiting for"), "{found}; {}", run.log()?);
            Ok(())
        })
        .await?;
        run.signal(signal)?;
        let output = run.ended(SOON).await.with_context(|| format!("{lock}, {signal}"))?;
        ensure!(output.code == Some(143), "{lock}, {signal}: {output:?}");
        wait_until("the sessions to end", GONE, async || {
            let left = waiting(server).await?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await
    };
    let released = async {
        let tested = test.await;
        planned.notify_one();
        let sql = "select concat('kill query ', id) from information_schema.processlist \
            where info like 'do sleep%'";
        server.sql("mysql", &server.sql("mysql", sql).await?).await?;
        tested
    };
    // it ends with the statement that was killed
    let (tested, _) = tokio::join!(released, locking);
    tested
}

/// Returns once the lock is held.
async fn held(server: &MariaDb) -> Result<()> {
    wait_until("the lock", RUN, async || {
        let sql = "select state from information_schema.processlist where info like 'do sleep%'";
        let found = server.sql("mysql", sql).await?;
        ensure!(found.contains("User sleep"), "{found}");
        Ok(())
    })
    .await
}

#[test]
fn sessions_of_one_snapshot_that_wait_for_a_lock_end_with_the_process_that_is_stopped() -> Result<()>
{
    in_env(async {
        let env = TestEnv::shared()?;
        let server = MariaDb::start(env, &["--log-warnings=4"]).await?;
        let sql = "create database shop; use shop; create table t (id int primary key, v text); \
            insert into t select seq, 'x' from seq_1_to_300; \
            grant all on shop.* to app@'%'; grant binlog monitor, process on *.* to app@'%'";
        server.sql("mysql", sql).await?;
        let source = SourceFixture::mariadb(env, "aligned").await?;
        source.user(MariaDb::USER)?;
        source.password(MariaDb::PASSWORD)?;
        let lock = "lock tables t write";
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            is_stopped(&server, &source, (lock, signal)).await?;
        }
        let aborted = server.aborted().await?;
        ensure!(aborted == 0, "{aborted} connections were dropped");
        Ok(())
    })
}

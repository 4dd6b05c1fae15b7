//! The snapshot and the session that holds it: T49, T51 and T53.

use anyhow::{Context, Result, ensure};
use harness::Process;
use serde_json::{Value, json};

use crate::{Bench, RUN, in_env, printed, refused, short};

/// A run whose partitions others read, planned and Ready.
async fn planned(bench: &Bench, uid: &str, attempt: u32) -> Result<(Value, Process, String)> {
    let task = bench.source.task(&bench.job, uid, attempt);
    let mut command = bench.source.pod("coordinate", &task)?;
    short(&mut command);
    let coordinator = bench.source.start(command, None)?;
    let id = harness::wait_until("the run", RUN, async || {
        let item = bench.item().await?;
        ensure!(item["state"] == "running" && item["attempt"] == attempt, "{item}");
        Ok(item["run"].as_str().context("run")?.to_owned())
    });
    let id = id.await.with_context(|| coordinator.log().unwrap_or_default())?;
    Ok((task, coordinator, id))
}

fn extract(bench: &Bench, task: &Value, run: &str, index: u32) -> Result<Process> {
    let mut command = bench.source.extract_pod(task, run, index)?;
    short(&mut command);
    bench.source.start(command, None)
}

/// What people do to tables.
const CHANGES: [&str; 5] = [
    "truncate t",
    "alter table t alter column v type varchar(200) using v || ''",
    "alter table t add column w int default 7",
    "alter table t drop column v",
    "drop table t; create table t (id int primary key, v text)",
];

#[test]
fn t49_a_table_that_is_changed_after_the_plan_is_read_as_it_was_or_not_at_all() -> Result<()> {
    in_env(async {
        for (number, change) in CHANGES.into_iter().enumerate() {
            let mut bench = Bench::new("t49", "FE", 100, 2).await?;
            // while the run is there, its lock keeps the table: nobody gets in between
            let (task, mut coordinator, run) = planned(&bench, "t49", 1).await?;
            let patient = format!("set lock_timeout = '300ms'; begin; {change}; commit");
            let kept = bench.env.psql(&bench.source.database, &patient).await;
            ensure!(kept.is_err(), "{change} succeeded during the run");
            for index in 0..2 {
                let output = extract(&bench, &task, &run, index)?.ended(RUN).await?;
                ensure!(output.code == Some(0), "{change}: {}", output.stderr);
            }
            let output = coordinator.ended(RUN).await?;
            ensure!(output.code == Some(0), "{change}: {}", output.stderr);
            bench.whole().await.with_context(|| change.to_owned())?;

            // after the snapshot session ended, the change succeeds, and no partition is read any more
            let (task, coordinator, run) = planned(&bench, &format!("t49-{number}"), 1).await?;
            coordinator.die().await?;
            bench.env.psql(&bench.source.database, change).await?;
            for index in 0..2 {
                let output = extract(&bench, &task, &run, index)?.ended(RUN).await?;
                refused(&output, 75, "SnapshotLost").with_context(|| change.to_owned())?;
            }
            ensure!(bench.files().await?.len() == 2, "{change}: something was published");
            // the next run finds the table as it is now
            let count = bench.env.psql(&bench.source.database, "select count(*) from t").await?;
            bench.rows = count.parse()?;
            let said = bench.publishes().await?;
            ensure!(said["rows"] == bench.rows, "{change}: {said}");
        }
        Ok(())
    })
}

#[test]
fn t49_a_table_partition_attached_after_the_plan_is_in_no_partition() -> Result<()> {
    in_env(async {
        for (made, attached) in [
            (
                "create table t (id int, v text) partition by range (id); \
                 create table early partition of t for values from (0) to (1000)",
                "alter table t attach partition late for values from (1000) to (2000)",
            ),
            ("create table t (id int, v text)", "alter table late inherit t"),
            (
                "create table t (id int, v text); create table early () inherits (t)",
                "alter table late inherit early",
            ),
        ] {
            let bench = Bench::new("t49-attach", "FE", 0, 2).await?;
            let sql = format!(
                "drop table t; {made}; insert into t select generate_series(0, 99); \
                 create table late (id int, v text); insert into late select generate_series(1000, 1099)"
            );
            bench.env.psql(&bench.source.database, &sql).await?;
            let (task, coordinator, run) = planned(&bench, "t49-attach", 1).await?;
            let output = extract(&bench, &task, &run, 0)?.ended(RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
            // no lock prevents that, and a query under the snapshot still reads it
            bench.env.psql(&bench.source.database, attached).await?;
            let output = extract(&bench, &task, &run, 1)?.ended(RUN).await?;
            refused(&output, 75, "DatabaseFailed").context(attached)?;
            ensure!(output.stderr.contains("child was attached"), "{}", output.stderr);
            coordinator.die().await?;
            ensure!(bench.files().await?.is_empty(), "something was published");
            let said = bench.publishes().await?;
            ensure!(said["rows"] == 200, "{said}");
        }
        Ok(())
    })
}

#[test]
fn t51_a_run_whose_snapshot_session_is_killed_never_commits() -> Result<()> {
    in_env(async {
        // planned and nothing read; all partitions imported; the last record on its way
        for point in ["after-pin", "partition-start", "before-record"] {
            let mut bench = Bench::new("t51", "PE", 100, 1).await?;
            let mut run = bench.paused(point).await?;
            let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                where datname = current_database() and application_name like 'tidemark/%/coordinator'";
            let killed = bench.env.psql(&bench.source.database, kill).await?;
            ensure!(killed == "1", "{killed} holders at {point}");
            // what came after the snapshot is of the next window
            bench.env.psql(&bench.source.database, "truncate t").await.with_context(|| point)?;
            run.go_on()?;
            refused(&run.ended(RUN).await?, 75, "SnapshotLost").with_context(|| point)?;
            let failed = bench.item().await?;
            ensure!(failed["state"] == "failed" && failed["pendingWindow"].is_object(), "{failed}");
            ensure!(bench.files().await?.is_empty(), "{point}: a file was published");
            ensure!(bench.source.open_uploads().await? == 0, "{point}: an upload is open");
            bench.rows = 0;
            bench.grow(50).await?;
            let said = bench.publishes().await?;
            let window = &said["window"];
            ensure!(window["high"] == failed["pendingWindow"]["high"], "{point}: {said}");
            bench.whole().await?;
        }
        Ok(())
    })
}

#[test]
fn t53_idle_time_outs_of_the_server_do_not_end_the_snapshot_session() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53", "FE", 100, 1).await?;
        let database = &bench.source.database;
        for setting in [
            "idle_in_transaction_session_timeout = '200ms'",
            "statement_timeout = '300ms'",
            "lock_timeout = '1ms'",
            "default_transaction_isolation = 'serializable'",
        ] {
            let sql = format!("alter database {database} set {setting}");
            bench.env.psql(database, &sql).await?;
        }
        // a table that takes longer than the statements may, and a snapshot session that is idle meanwhile
        let view = "create view slow as select t.* from t, pg_sleep(1) where id is not null";
        bench.env.psql(database, view).await?;
        let mut job = bench.job.clone();
        job["spec"]["extract"] = json!({ "table": "public.slow", "type": "FE" });
        let mut command = bench.source.command("run", &job)?;
        short(&mut command);
        let said = printed(&bench.source.start(command, None)?.ended(RUN).await?)?;
        ensure!(said["rows"] == 100, "{said}");
        Ok(())
    })
}

//! The connection to the database: T57, and the database's part of T28.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Calls, Fault, Gate, Session, TestEnv, Wire, wait_until};
use serde_json::json;

use crate::{Bench, RUN, in_env, refused};

/// Bytes that the server sends in the middle of the rows: 50,000 of them are 5 MB.
const MIDDLE: u64 = 1 << 20;

/// A bench whose database is behind a wire.
async fn wired(name: &str, rows: u64) -> Result<(Bench, Wire)> {
    let mut bench = Bench::new(name, "PE", rows, 1).await?;
    let wire = Wire::start().await?;
    bench.job["spec"]["source"]["host"] = json!("127.0.0.1");
    bench.job["spec"]["source"]["port"] = json!(wire.port());
    Ok((bench, wire))
}

/// What a run that lost its connection leaves, and that the next one takes the same window.
async fn goes_on(bench: &mut Bench) -> Result<()> {
    let failed = bench.item().await?;
    ensure!(failed["state"] == "failed" && failed["pendingWindow"].is_object(), "{failed}");
    ensure!(bench.files().await?.is_empty(), "a file was published");
    ensure!(bench.source.open_uploads().await? == 0, "an upload is open");
    let rows = bench.rows;
    bench.grow(10).await?;
    let said = bench.publishes().await?;
    ensure!(
        said["rows"] == rows && said["window"]["high"] == failed["pendingWindow"]["high"],
        "{said}"
    );
    bench.publishes().await?;
    bench.whole().await
}

#[test]
fn t57_a_connection_cut_while_reading_fails_the_run_and_leaves_its_window_pending() -> Result<()> {
    in_env(async {
        let (mut bench, wire) = wired("t57-cut", 50_000).await?;
        let mut run = bench.paused("partition-start").await?;
        wire.cut_after(MIDDLE);
        run.go_on()?;
        refused(&run.ended(RUN).await?, 75, "DatabaseUnreachable")?;
        goes_on(&mut bench).await
    })
}

#[test]
fn t57_a_connection_that_falls_silent_while_reading_times_out() -> Result<()> {
    in_env(async {
        let (mut bench, wire) = wired("t57-stall", 50_000).await?;
        let mut run = bench.paused("partition-start").await?;
        wire.stall_after(MIDDLE);
        run.go_on()?;
        let output = run.ended(Duration::from_secs(20)).await?;
        refused(&output, 75, "DatabaseUnreachable")?;
        ensure!(output.stderr.contains("stopped responding"), "{}", output.stderr);
        goes_on(&mut bench).await
    })
}

#[test]
fn t57_a_connection_that_falls_silent_while_planning_is_given_up() -> Result<()> {
    in_env(async {
        let (bench, wire) = wired("t57-plan", 100).await?;
        let mut run = bench.paused("after-guard").await?;
        wire.stall_after(0);
        run.go_on()?;
        refused(&run.ended(Duration::from_secs(20)).await?, 75, "DatabaseUnreachable")?;
        bench.publishes().await?;
        bench.whole().await
    })
}

#[test]
fn t57_verify_with_silent_connection_fails_as_unreachable() -> Result<()> {
    in_env(async {
        let (bench, wire) = wired("t57-verify", 100).await?;
        bench.publishes().await?;
        let mut blocker = Session::open(bench.env, &bench.source.database)?;
        blocker.say("begin; lock table t in access exclusive mode;").await?;
        let mut verify = bench.source.start(bench.command("verify --recount")?, None)?;
        wait_until("verify counts", RUN, async || {
            let sql = "select count(*) from pg_locks \
                       where not granted and relation = 'public.t'::regclass";
            let waits = bench.env.psql(&bench.source.database, sql).await?;
            ensure!(waits.trim() == "1", "{waits} sessions wait");
            Ok(())
        })
        .await?;
        wire.stall_after(0);
        blocker.say("rollback;").await?;
        let output = verify.ended(Duration::from_secs(20)).await?;
        refused(&output, 75, "DatabaseUnreachable")?;
        ensure!(output.stderr.contains("stopped responding"), "{}", output.stderr);
        Ok(())
    })
}

#[test]
fn t57_a_server_that_works_silently_is_waited_for() -> Result<()> {
    in_env(async {
        let (mut bench, wire) = wired("t57-slow", 100).await?;
        // longer than two checks of a session that is silent for a second
        let view = "create view slow as select t.* from t, pg_sleep(3) where id is not null";
        bench.env.psql(&bench.source.database, view).await?;
        bench.job["spec"]["extract"] = json!({ "table": "public.slow", "type": "FE" });
        let said = bench.publishes().await?;
        ensure!(said["rows"] == 100, "{said}");
        ensure!(wire.connections() > 2, "nobody asked what the server does");
        Ok(())
    })
}

#[test]
fn t28_process_cut_off_from_all_services_ends_by_its_own_timeouts() -> Result<()> {
    in_env(async {
        let (mut bench, wire) = wired("t28", 50_000).await?;
        bench.job["spec"]["activeDeadlineSeconds"] = json!(10);
        // all attempts of one request alone would take longer than the run may
        let mut command = bench.command("run")?;
        command.env("TIDEMARK_ATTEMPT_SECONDS", "3");
        let mut run = bench.source.start(command, Some("partition-start"))?;
        run.paused().await?;
        let never = Gate::shut();
        for proxy in [&bench.s3, &bench.dynamodb] {
            proxy.on("*", Calls::Every, Fault::Hold(never.clone()));
        }
        wire.unplug();
        run.go_on()?;
        // the deadline of the run, its last attempts, and ten seconds to find that no statement can be cancelled
        let output = run.ended(Duration::from_secs(36)).await?;
        ensure!(output.code.is_some_and(|code| code != 0), "{:?}", output.code);
        // once it can be reached again, the next one takes over
        bench.s3.heal();
        bench.dynamodb.heal();
        bench.job["spec"]["activeDeadlineSeconds"] = json!(60);
        bench.job["spec"]["source"]["host"] = json!(TestEnv::IP);
        bench.job["spec"]["source"]["port"] = json!(TestEnv::POSTGRES_PORT);
        bench.publishes().await.context("the next run")?;
        bench.whole().await
    })
}

//! A hot standby of the test environment's Postgres, and what holds on one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::Reason;
use crds::tracking::Guard;
use harness::{TestEnv, wait_until};
use serde_json::json;
use worker::source::rows::Reader;

use crate::edge::{Ask, Edge, Who};

/// How long the standby may take for what the primary did.
const REPLAY_DEADLINE: Duration = Duration::from_mins(1);

/// Waits until the standby at `port` has all that is committed on the primary by now.
pub(crate) async fn caught_up(edge: &Edge, port: u16) -> Result<()> {
    let mut primary = edge.session().await?;
    let position = primary.ask("select pg_current_wal_lsn()").await?;
    primary.close().await?;
    wait_until("the standby to catch up", REPLAY_DEADLINE, async || {
        let mut standby = edge.session_at(port).await?;
        let there = format!("select pg_last_wal_replay_lsn() >= '{position}'");
        ensure!(standby.ask(there).await? == "true", "it is behind");
        standby.close().await
    })
    .await
}

async fn prepare(env: &'static TestEnv, prefix: &str) -> Result<(Edge, u16)> {
    let port = env.standby().await?;
    let edge = Edge::new(env, prefix).await?;
    edge.say(
        "create table t (k int, at timestamptz not null default now()); \
         insert into t select i, now() - interval '1 hour' from generate_series(1, 10) i",
    )
    .await?;
    caught_up(&edge, port).await?;
    Ok((edge, port))
}

fn ask(port: u16) -> Ask {
    let watermark = json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
    Ask::new(Who::Sees, "t", watermark).on(port)
}

#[test]
fn a_standby_is_read_with_a_lag_and_the_reason() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (edge, port) = prepare(env, "standby").await?;
        let taken = edge.take(&ask(port)).await?;
        ensure!(taken.guard() == Guard::Lag && taken.rows.len() == 10, "{taken:?}");
        ensure!(taken.plan.warnings.iter().any(|it| it.contains("replica")), "{taken:?}");
        let without =
            json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "lagSeconds": 0 });
        let bare = edge.take(&Ask::new(Who::Sees, "t", without).on(port)).await?;
        ensure!(bare.guard() == Guard::Unguarded, "{bare:?}");
        Ok(())
    })
}

#[test]
fn a_snapshot_of_one_node_is_unknown_on_another() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (edge, port) = prepare(env, "nodes").await?;
        for (here, there) in [(TestEnv::POSTGRES_PORT, port), (port, TestEnv::POSTGRES_PORT)] {
            let snapshot_session = edge.open_at(&ask(here), async |_| Ok(())).await??;
            ensure!(snapshot_session.plan.snapshot.is_some(), "no snapshot");
            let login = edge.login(&ask(there));
            let refused =
                Reader::open(&login, &snapshot_session.plan, "tidemark/test/0").await.err();
            let reason = refused.context("imported on another node")?.report.reason;
            ensure!(reason == Reason::SnapshotLost, "{reason}");
            snapshot_session.release().await;
        }
        Ok(())
    })
}

#[test]
fn a_replay_that_conflicts_with_the_snapshot_fails_the_run_and_hides_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (edge, port) = prepare(env, "conflict").await?;
        let mut snapshot_session = edge.open_at(&ask(port), async |_| Ok(())).await??;
        snapshot_session.still_there().await?;
        // the standby may not wait for readers of this table for long; others are not asked
        edge.say("truncate t").await?;
        let gone = wait_until("the conflict", REPLAY_DEADLINE, async || {
            snapshot_session.still_there().await.err().context("it still answers")
        })
        .await?;
        ensure!(gone.report.reason == Reason::SnapshotLost, "{gone}");
        Ok(())
    })
}

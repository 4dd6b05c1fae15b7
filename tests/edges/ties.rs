//! 100,000 rows of one timestamp, inserted around the plan.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::tracking::Guard;
use harness::{TestEnv, wait_until};
use serde_json::json;

use crate::edge::{Ask, Edge, Follow, Session, Who};

/// How often it is tried.
const TIMES: usize = 3;
/// Rows of one timestamp.
const ROWS: usize = 100_000;

/// Three transactions with one stamp: the column keeps whole seconds.
async fn of_one_second(edge: &Edge) -> Result<[Session; 3]> {
    let mut sessions = [edge.session().await?, edge.session().await?, edge.session().await?];
    wait_until("three transactions of one second", Duration::from_secs(20), async || {
        let mut stamps = Vec::new();
        for session in &mut sessions {
            session.say("rollback; begin").await?;
            stamps.push(session.ask("select now()::timestamptz(0)").await?);
        }
        stamps.dedup();
        ensure!(stamps.len() == 1, "{stamps:?}");
        Ok(())
    })
    .await?;
    Ok(sessions)
}

fn insert(from: usize, to: usize) -> String {
    format!("insert into t select i from generate_series({from}, {to}) i")
}

#[test]
fn ties_around_the_plan_are_read_exactly_once() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "ties").await?;
        edge.say("create table t (k int, at timestamptz(0) not null default now())").await?;
        for _ in 0..TIMES {
            edge.say("truncate t; insert into t values (0, now() - interval '1 hour')").await?;
            let [mut before, mut between, mut after] = of_one_second(&edge).await?;
            before.say(insert(1, ROWS / 2)).await?;
            before.say("commit").await?;
            let watermark = json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
            let mut follow = Follow::new(Ask::new(Who::Sees, "t", watermark));
            follow
                .run_at(&edge, async |point| match point {
                    "after-guard" => {
                        between.say(insert(ROWS / 2 + 1, ROWS - 1000)).await?;
                        between.say("commit").await
                    }
                    "after-snapshot" => {
                        after.say(insert(ROWS - 999, ROWS)).await?;
                        after.say("commit").await
                    }
                    _ => Ok(()),
                })
                .await?;
            let keys: Vec<_> = (0..=i32::try_from(ROWS)?).collect();
            follow.until(&edge, &keys).await?;
            ensure!(follow.taken.len() == ROWS + 1, "{} rows", follow.taken.len());
            ensure!(
                follow.guards.iter().all(|guard| *guard == Guard::Exact),
                "{:?}",
                follow.guards
            );
        }
        Ok(())
    })
}

//! Transactions that begin at one step of the guard and commit, or are prepared, at another.

use anyhow::{Context, Result, ensure};
use crds::tracking::Guard;
use futures::future::try_join_all;
use harness::TestEnv;
use serde_json::{Value, json};

use crate::edge::{Ask, Edge, Who, grow_old};

/// Before everything, the pause points of a guard in their order, and after everything.
const STEPS: [&str; 8] = [
    "start",
    "before-bound",
    "before-wait",
    "in-wait",
    "after-bound",
    "after-guard",
    "after-snapshot",
    "end",
];

/// How a transaction ends at its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    /// Prepared there, and committed once the window is known.
    Prepare,
}

/// A transaction that writes row 2 at `STEPS[from]`, before row 3 is written and committed, and ends
/// at `STEPS[to]`. In a guard that proves something nothing is lost.
async fn cross(
    edge: &Edge,
    who: Who,
    watermark: &Value,
    (from, to): (usize, usize),
    end: End,
) -> Result<Guard> {
    let kind = if watermark["type"] == "int" { "int" } else { "timestamptz" };
    let (mut late, name) = (edge.session().await?, edge.database.clone());
    late.say("set timezone = 'UTC'").await?;
    late.say("truncate t; insert into t (k, at) select 1, min(at) from early").await?;
    let mut step = async |point: &'static str| {
        let here = STEPS.iter().position(|step| *step == point).context("a step")?;
        if here == from {
            late.say("begin; insert into t (k) values (2)").await?;
            edge.say("insert into t (k) values (3)").await?;
        }
        if here == to {
            late.say(match end {
                End::Commit => "commit".to_owned(),
                End::Prepare => format!("prepare transaction '{name}'"),
            })
            .await?;
        }
        if here == 0 && from == 0 {
            grow_old(&mut late).await?;
        }
        Ok(())
    };
    step("start").await?;
    let first = edge.take_at(&Ask::new(who, "t", watermark.clone()), &mut step).await?;
    step("end").await?;
    if end == End::Prepare {
        late.say(format!("commit prepared '{name}'")).await?;
    }
    if matches!(first.guard(), Guard::Exact | Guard::Waited) {
        // the next window begins at or below this one's end: what lies above it comes, once
        let high = first.plan.window.high.as_deref();
        let below = high.map_or("false".to_owned(), |high| format!("at::text::{kind} <= '{high}'"));
        let keys = format!("array{:?}::int[]", first.keys());
        let lost = format!("select count(*) from t where {below} and k <> all ({keys})");
        let lost = late.ask(lost).await?;
        ensure!(lost == "0", "{lost} rows lost below {high:?}");
    } else {
        ensure!(!first.plan.warnings.is_empty(), "{:?} without a word", first.guard());
    }
    late.close().await?;
    Ok(first.guard())
}

/// Every pair of steps at which this guard stops; returns how often each kind held.
async fn every_pair(who: Who, watermark: Value, column: &str, end: End) -> Result<[usize; 3]> {
    let edge = Edge::new(TestEnv::shared()?, "steps").await?;
    edge.say(&format!(
        "create table t (k int, at {column}); create table early (at {}); insert into early values ({})",
        if column.contains("serial") { "int" } else { "timestamptz" },
        if column.contains("serial") { "0" } else { "now() - interval '1 day'" },
    ))
    .await?;
    let waits = who == Who::Blind || column.contains("serial");
    let steps: Vec<_> =
        (0..STEPS.len()).filter(|at| waits || !STEPS[*at].ends_with("-wait")).collect();
    let mut kinds = [0; 3];
    for from in &steps {
        for to in steps.iter().filter(|to| *to > from) {
            let crossed = cross(&edge, who, &watermark, (*from, *to), end).await;
            let pair = format!("{who:?} {end:?}, from {} to {}", STEPS[*from], STEPS[*to]);
            match crossed.context(pair)? {
                Guard::Exact => kinds[0] += 1,
                Guard::Waited => kinds[1] += 1,
                Guard::Lag | Guard::Unguarded => kinds[2] += 1,
            }
        }
    }
    Ok(kinds)
}

#[test]
fn proving_guards_lose_nothing_committed_or_prepared_between_two_steps() -> Result<()> {
    let time =
        json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "waitSeconds": 0 });
    let number =
        json!({ "column": "at", "type": "int", "stampedBy": "database", "waitSeconds": 0 });
    let (clock, serial) = ("timestamptz not null default now()", "serial");
    TestEnv::shared()?.run(async {
        let found = try_join_all([
            Box::pin(every_pair(Who::Sees, time.clone(), clock, End::Commit)),
            Box::pin(every_pair(Who::Sees, time.clone(), clock, End::Prepare)),
            Box::pin(every_pair(Who::Blind, time.clone(), clock, End::Commit)),
            Box::pin(every_pair(Who::Blind, time.clone(), clock, End::Prepare)),
            Box::pin(every_pair(Who::Blind, number.clone(), serial, End::Commit)),
            Box::pin(every_pair(Who::Blind, number.clone(), serial, End::Prepare)),
        ])
        .await?;
        // exact, waited, neither: of 15 pairs of six steps, and of 28 of eight
        ensure!(
            found == [[15, 0, 0], [12, 0, 3], [0, 16, 12], [0, 9, 19], [0, 16, 12], [0, 16, 12]],
            "{found:?}"
        );
        Ok(())
    })
}

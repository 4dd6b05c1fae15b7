//! The late-commit matrix: a transaction {has only begun, wrote, is prepared} when the window's end
//! is sought, over rows stamped by {`now()`, `clock_timestamp()`, the application, a sequence}, on
//! {primary, standby}, with and without `pg_read_all_stats`, three times each. Where the guard is
//! `exact` or `waited`, no row is lost or doubled; else the guard's name says so.

use anyhow::{Context, Result, ensure};
use crds::tracking::Guard;
use futures::future::try_join_all;
use harness::TestEnv;
use serde_json::{Value, json};

use crate::edge::{Ask, Edge, Follow, Session, Who, grow_old};
use crate::standby;

/// How often each is tried.
const TIMES: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begun,
    Wrote,
    Prepared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Now,
    Clock,
    Application,
    Sequence,
}

const STAMPS: [Stamp; 4] = [Stamp::Now, Stamp::Clock, Stamp::Application, Stamp::Sequence];

impl Stamp {
    const fn table(self) -> &'static str {
        match self {
            Self::Now => "by_now",
            Self::Clock => "by_clock",
            Self::Application => "by_application",
            Self::Sequence => "by_sequence",
        }
    }

    fn watermark(self) -> Value {
        match self {
            Self::Now | Self::Clock => {
                json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "lagSeconds": 2 })
            }
            Self::Application => json!({ "column": "at", "type": "timestamp", "lagSeconds": 2 }),
            Self::Sequence => {
                json!({ "column": "at", "type": "int", "stampedBy": "database", "waitSeconds": 1 })
            }
        }
    }

    fn insert(self, key: i32) -> String {
        match self {
            Self::Application => format!(
                "insert into by_application values ({key}, clock_timestamp() - interval '1 second')"
            ),
            other => format!("insert into {} (k) values ({key})", other.table()),
        }
    }
}

const TABLES: &str = "
create table by_now (k int, at timestamptz not null default now());
create table by_clock (k int, at timestamptz not null default clock_timestamp());
create table by_application (k int, at timestamptz not null);
create table by_sequence (k int, at bigserial);
insert into by_now values (1, now() - interval '1 hour');
insert into by_clock values (1, now() - interval '1 hour');
insert into by_application values (1, now() - interval '1 hour');
insert into by_sequence (k) values (1);
";

/// What holds the window's end then.
fn expected(state: State, stamp: Stamp, who: Who, standby: bool) -> Guard {
    match (stamp, state, who) {
        (Stamp::Sequence, ..) if standby => Guard::Unguarded,
        (Stamp::Sequence, ..) => Guard::Waited,
        _ if standby || state == State::Prepared || stamp == Stamp::Application => Guard::Lag,
        (_, _, Who::Sees) => Guard::Exact,
        (_, _, Who::Blind) => Guard::Waited,
    }
}

async fn end(late: &mut Session, edge: &Edge, state: State, stamp: Stamp) -> Result<()> {
    match state {
        State::Begun => {
            late.say(stamp.insert(2)).await?;
            late.say("commit").await
        }
        State::Wrote => late.say("commit").await,
        State::Prepared => late.say(format!("commit prepared '{}'", edge.database)).await,
    }
}

/// One transaction, a window that ends while it is open, and the runs after it.
async fn scenario(edge: &Edge, state: State, stamp: Stamp, who: Who, port: u16) -> Result<()> {
    let mut late = edge.session().await?;
    late.say("begin").await?;
    if state != State::Begun {
        late.say(stamp.insert(2)).await?;
    }
    // one that began later and commits first: the watermark would pass the open one
    edge.say(&stamp.insert(3)).await?;
    grow_old(&mut late).await?;
    if state == State::Prepared {
        late.say(format!("prepare transaction '{}'", edge.database)).await?;
    }
    let standby = port != TestEnv::POSTGRES_PORT;
    if standby {
        standby::caught_up(edge, port).await?;
    }
    let ask = Ask::new(who, stamp.table(), stamp.watermark()).on(port);
    let mut follow = Follow::new(ask);
    let mut ended = false;
    let first = follow
        .run_at(edge, async |point| {
            // the list of open transactions has it, and it ends while it is waited for
            if point == "in-wait" && state != State::Prepared && stamp != Stamp::Application {
                end(&mut late, edge, state, stamp).await?;
                ended = true;
            }
            Ok(())
        })
        .await?;
    let guard = expected(state, stamp, who, standby);
    ensure!(
        first.guard() == guard,
        "{:?}, not {guard:?}: {:?}",
        first.guard(),
        first.plan.warnings
    );
    if guard == Guard::Lag || guard == Guard::Unguarded {
        ensure!(!first.plan.warnings.is_empty(), "{guard:?} without a word");
    }
    if !ended {
        end(&mut late, edge, state, stamp).await?;
    }
    if standby {
        standby::caught_up(edge, port).await?;
    }
    if matches!(guard, Guard::Exact | Guard::Waited) {
        follow.until(edge, &[1, 2, 3]).await?;
    } else {
        follow.run(edge).await?;
        ensure!(follow.taken.values().all(|times| *times == 1), "{:?}", follow.taken);
    }
    late.close().await
}

async fn matrix(who: Who, port: u16) -> Result<()> {
    let env = TestEnv::shared()?;
    let states = [State::Begun, State::Wrote, State::Prepared];
    let tries = states.into_iter().flat_map(|state| (0..TIMES).map(move |time| (state, time)));
    let all = tries.map(|(state, time)| async move {
        let edge = Edge::new(env, &format!("late{time}")).await?;
        edge.say(TABLES).await?;
        for stamp in STAMPS {
            let tried = scenario(&edge, state, stamp, who, port).await;
            tried.with_context(|| format!("{state:?} {stamp:?} {who:?}, time {time}"))?;
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(all).await.map(|_| ())
}

#[test]
fn no_late_commit_is_lost_by_one_who_sees_starts() -> Result<()> {
    TestEnv::shared()?.run(async { matrix(Who::Sees, TestEnv::POSTGRES_PORT).await })
}

#[test]
fn no_late_commit_is_lost_by_one_who_sees_no_starts() -> Result<()> {
    TestEnv::shared()?.run(async { matrix(Who::Blind, TestEnv::POSTGRES_PORT).await })
}

#[test]
fn on_a_standby_the_guard_is_lag_or_unguarded() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let port = env.standby().await?;
        matrix(Who::Sees, port).await
    })
}

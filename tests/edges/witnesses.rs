//! What the guards of times read: processes of every kind, replication out of and into the database.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::tracking::Guard::{Exact, Lag, Unguarded, Waited};
use harness::{Session as Psql, TestEnv, wait_until};
use serde_json::{Value, json};
use worker_core::sql::rows::statements::EXACT_CLOCK;

use crate::edge::{Ask, Edge, Follow, Session, Who, grow_old};

const REPLICATION: Duration = Duration::from_mins(1);

fn stamped() -> Value {
    json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "lagSeconds": 2 })
}

/// A table that is published to a subscriber in another database of the server.
struct Replicated {
    publisher: Edge,
    subscriber: Edge,
}

const TABLE: &str = "create table t (k int, at timestamptz not null default now()); \
    create table parted (k int, at timestamptz not null default now()) partition by range (k); \
    create table parted_one partition of parted default";

impl Replicated {
    async fn new(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        let (publisher, subscriber) =
            (Edge::new(env, prefix).await?, Edge::new(env, prefix).await?);
        let slot = &publisher.database;
        publisher
            .say(&format!(
                "{TABLE}; insert into t values (1, now() - interval '1 hour'); \
                 insert into parted select * from t; \
                 create publication out for table t, parted with (publish_via_partition_root = true)"
            ))
            .await?;
        // inside one server a subscription cannot wait for the slot that it makes itself
        publisher
            .say(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"))
            .await?;
        subscriber.say(TABLE).await?;
        subscriber
            .say(&format!(
                "create subscription into_here connection 'host={} port={} dbname={slot} user=postgres' \
                 publication out with (create_slot = false, slot_name = '{slot}')",
                env.state.join("postgres").display(),
                TestEnv::POSTGRES_PORT
            ))
            .await?;
        let replicated = Self { publisher, subscriber };
        replicated.arrives(1).await?;
        Ok(replicated)
    }

    async fn arrives(&self, key: i32) -> Result<()> {
        let mut session = self.subscriber.session().await?;
        wait_until("a row to be replicated", REPLICATION, async || {
            let there = format!("select exists (select from t where k = {key})");
            ensure!(session.ask(there).await? == "true", "not there");
            Ok(())
        })
        .await?;
        session.close().await
    }

    async fn end(self) -> Result<()> {
        self.subscriber.say("alter subscription into_here disable").await?;
        self.subscriber.say("alter subscription into_here set (slot_name = none)").await?;
        self.subscriber.say("drop subscription into_here").await?;
        let slot = &self.publisher.database;
        let mut session = self.publisher.session().await?;
        wait_until("the slot to be free", REPLICATION, async || {
            session.say(format!("select pg_drop_replication_slot('{slot}')")).await
        })
        .await?;
        session.close().await
    }
}

async fn is_old(session: &mut Session, key: i32) -> Result<()> {
    wait_until("a row to be old", Duration::from_secs(20), async || {
        let old = format!(
            "select clock_timestamp() > at + interval '1.4 seconds' from t where k = {key}"
        );
        ensure!(session.ask(old).await? == "true", "still young");
        Ok(())
    })
    .await
}

#[test]
fn a_database_with_a_subscriber_is_read_up_to_its_open_transactions() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let replicated = Replicated::new(env, "walsender").await?;
        let edge = &replicated.publisher;
        let mut session = edge.session().await?;
        // the walsender began before this row, and its query goes on for ever
        edge.say("insert into t values (2)").await?;
        is_old(&mut session, 2).await?;
        for (who, guard) in [(Who::Sees, Exact), (Who::Blind, Waited)] {
            let taken = edge.take(&Ask::new(who, "t", stamped())).await?;
            ensure!(taken.guard() == guard && taken.keys() == [1, 2], "{who:?}: {taken:?}");
        }
        session.close().await?;
        replicated.end().await
    })
}

#[test]
fn writes_over_a_walsender_count() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for who in [Who::Sees, Who::Blind] {
            let edge = Edge::new(env, "over_walsender").await?;
            edge.say(TABLE).await?;
            edge.say("insert into t values (1, now() - interval '1 hour')").await?;
            let mut late = Psql::replication(env, &edge.database)?;
            late.say("begin; insert into t values (2);").await?;
            let mut other = edge.session().await?;
            other.say("begin; insert into t values (3); commit; begin; select now()").await?;
            grow_old(&mut other).await?;
            other.say("commit").await?;
            let mut follow = Follow::new(Ask::new(who, "t", stamped()));
            let first =
                follow
                    .run_at(&edge, async |point| {
                        if point == "in-wait" { late.say("commit;").await } else { Ok(()) }
                    })
                    .await?;
            let expected = if who == Who::Sees { Exact } else { Waited };
            ensure!(first.guard() == expected, "{who:?}: {:?}", first.plan.warnings);
            if who == Who::Sees {
                ensure!(first.keys() == [1], "{:?}", first.keys());
                late.say("commit;").await?;
            }
            follow.until(&edge, &[1, 2, 3]).await?;
        }
        Ok(())
    })
}

#[test]
fn a_subscribers_copy_has_the_publishers_stamps_and_no_guard_that_proves() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let replicated = Replicated::new(env, "subscriber").await?;
        let edge = &replicated.subscriber;
        edge.say("create table local (like t including all); insert into local select * from t")
            .await?;
        for state in ["enabled", "disabled"] {
            for who in [Who::Sees, Who::Blind] {
                for table in ["t", "parted", "parted_one"] {
                    let taken = edge.take(&Ask::new(who, table, stamped())).await?;
                    let told = taken.plan.warnings.iter().any(|it| it.contains("subscription"));
                    ensure!(
                        taken.guard() == Lag && told,
                        "{state} {table}: {:?}",
                        taken.plan.warnings
                    );
                    let mut bare = stamped();
                    bare["lagSeconds"] = json!(0);
                    let taken = edge.take(&Ask::new(who, table, bare)).await?;
                    ensure!(taken.guard() == Unguarded, "{state} {table}: {:?}", taken.guard());
                }
                let taken = edge.take(&Ask::new(who, "local", stamped())).await?;
                ensure!(matches!(taken.guard(), Exact | Waited), "{:?}", taken.plan.warnings);
            }
            edge.say("alter subscription into_here disable").await?;
        }
        replicated.end().await
    })
}

/// Kinds of processes of Postgres 14 to 18, and whether they can write rows of users.
const PROCESSES: [(&str, bool); 24] = [
    ("client backend", true),
    ("walsender", true),
    ("background worker", true),
    ("parallel worker", true),
    ("logical replication worker", true),
    ("logical replication apply worker", true),
    ("logical replication parallel worker", true),
    ("logical replication tablesync worker", true),
    ("pg_cron", true),
    ("TimescaleDB Background Worker Scheduler", true),
    ("what nobody knows yet", true),
    ("", true),
    ("autovacuum launcher", false),
    ("autovacuum worker", false),
    ("archiver", false),
    ("background writer", false),
    ("checkpointer", false),
    ("io worker", false),
    ("logger", false),
    ("logical replication launcher", false),
    ("slotsync worker", false),
    ("startup", false),
    ("walreceiver", false),
    ("walwriter", false),
];

#[test]
fn each_kind_of_process_counts_that_can_write_a_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "processes").await?;
        let mut session = edge.session().await?;
        session
            .say(
                "create temp table activity (datname name, pid int, backend_type text, application_name text, \
                 state text, xact_start timestamptz, query_start timestamptz, backend_start timestamptz, query text)",
            )
            .await?;
        // the statement itself, over processes that are made up
        let bound = EXACT_CLOCK.replace("pg_catalog.pg_stat_activity", "activity").replace("$1", "'UTC'");
        let old = "'2001-02-03 00:00:00+00'";
        for (kind, writes) in PROCESSES {
            let sends = kind == "walsender";
            for (state, xact, query, session_start, text, starts) in [
                ("'active'", old, "now()", "now()", "select", true),
                ("'idle in transaction'", old, "now()", "now()", "select", true),
                ("null", old, "null", "null", "", true),
                // between two transactions of one message
                ("'active'", "null", old, "now()", "select", !sends),
                ("'idle'", "null", old, old, "select", false),
                ("null", "null", old, old, "", false),
                // of a walsender no transaction is shown
                ("'active'", "null", "now()", old, "START_REPLICATION SLOT s", false),
                ("'active'", "null", old, old, " start_replication slot s", !sends),
                ("'idle in transaction'", "null", "now()", old, "insert into t", sends),
                ("'active'", "null", "now()", old, "insert into t", sends),
            ] {
                session
                    .say(format!(
                        "set time zone 'UTC'; truncate activity; insert into activity values (current_database(), -1, \
                         nullif('{kind}', ''), 'app', {state}, {xact}, {query}, {session_start}, '{text}')"
                    ))
                    .await?;
                let held = format!("select ({bound})::timestamp < '2001-02-03'");
                let held = session.ask(held).await? == "true";
                ensure!(held == (writes && starts), "{kind:?}, {state} {xact} {query} {session_start} {text:?}: {held}");
            }
        }
        session.close().await
    })
}

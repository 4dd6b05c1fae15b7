//! Sequences as witnesses: whose numbers they give, and who still holds some of them.

use anyhow::{Context, Result, ensure};
use crds::tracking::Guard::{self, Lag, Unguarded, Waited};
use harness::TestEnv;
use serde_json::{Value, json};

use crate::edge::{Ask, Edge, Follow, Who};

fn numbered(wait: u32) -> Value {
    json!({ "column": "at", "type": "int", "stampedBy": "database", "waitSeconds": wait })
}

const TABLES: &str = "
create table parted (k int, at bigserial) partition by range (k);
create table parted_one partition of parted for values from (0) to (10);
create table parted_two partition of parted for values from (10) to (20) partition by range (k);
create table parted_two_one partition of parted_two default;
create table always (k int, at int generated always as identity) partition by range (k);
create table always_one partition of always default;
create table mixed (k int, at bigserial) partition by range (k);
create table mixed_own partition of mixed for values from (0) to (10);
create sequence other owned by mixed_own.at;
alter table only mixed_own alter at set default nextval('other');
create table mixed_rest partition of mixed default;
create table heirs (k int, at bigserial);
create table heir () inherits (heirs);
create table own_heir (k int, at bigserial) inherits (heirs);
create table cached (k int, at bigserial) partition by range (k);
create table cached_one partition of cached default;
alter sequence cached_at_seq cache 10;
create table computed (k int, at int generated always as (k) stored);
";

#[test]
fn a_column_is_numbered_by_its_own_sequence_or_that_of_the_table_above() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "sequences").await?;
        edge.say(TABLES).await?;
        for (table, guard) in [
            ("parted", Waited),
            ("parted_one", Waited),
            ("parted_two", Waited),
            ("parted_two_one", Waited),
            ("always", Waited),
            ("always_one", Waited),
            // one of its partitions draws from elsewhere
            ("mixed", Unguarded),
            ("mixed_own", Unguarded),
            ("mixed_rest", Waited),
            ("heirs", Unguarded),
            ("own_heir", Waited),
            ("cached_one", Unguarded),
            ("computed", Unguarded),
        ] {
            for who in [Who::Sees, Who::Blind] {
                let taken = edge.take(&Ask::new(who, table, numbered(60))).await?;
                ensure!(taken.guard() == guard, "{table}: {:?}", taken.plan.warnings);
            }
        }
        Ok(())
    })
}

#[test]
fn a_sequence_that_was_set_back_proves_nothing_to_one_who_may_read_it() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "set_back").await?;
        let sees = edge.user(Who::Sees);
        edge.say(&format!(
            "create table t (k int, at serial); grant select on sequence t_at_seq to {sees}; \
             insert into t select i from generate_series(1, 10) i"
        ))
        .await?;
        let ask = Ask::new(Who::Sees, "t", numbered(0));
        ensure!(edge.take(&ask).await?.guard() == Waited, "it stands above");
        for change in [
            "select setval('t_at_seq', 5)",
            "alter sequence t_at_seq restart",
            "insert into t values (11, 1000)",
        ] {
            edge.say(&format!("select setval('t_at_seq', 10); {change}")).await?;
            let taken = edge.take(&ask).await?;
            let told =
                taken.plan.warnings.iter().any(|it| it.contains("is below the column's maximum"));
            ensure!(taken.guard() == Unguarded && told, "{change}: {:?}", taken.plan.warnings);
        }
        Ok(())
    })
}

/// A prepared transaction that holds a number below the greatest.
async fn prepared(edge: &Edge, into: &str) -> Result<()> {
    let mut late = edge.session().await?;
    let name = &edge.database;
    late.say(format!("begin; insert into {into} (k) values (2)")).await?;
    edge.say(&format!("insert into {into} (k) values (3)")).await?;
    late.say(format!("prepare transaction '{name}'")).await?;
    late.close().await
}

#[test]
fn a_prepared_transaction_with_assigned_numbers_lowers_the_window() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (table, into) in [("t", "t"), ("parted", "parted"), ("parted", "parted_one"), ("parted_one", "parted")] {
            for end in ["commit", "rollback"] {
                let edge = Edge::new(env, "prepared").await?;
                edge.say(
                    "create table t (k int, at int generated always as identity); insert into t (k) values (1); \
                     create table parted (k int, at serial) partition by range (k); \
                     create table parted_one partition of parted default; insert into parted (k) values (1)",
                )
                .await?;
                prepared(&edge, into).await?;
                let mut follow = Follow::new(Ask::new(Who::Blind, table, numbered(0)));
                let first = follow.run(&edge).await?;
                let told = first.plan.warnings.iter().any(|it| it.contains("pg_prepared_xacts"));
                ensure!(told && first.guard() == Waited && first.keys().is_empty(), "{table}: {first:?}");
                // who has set a lag has said how much may be lost
                let mut lagging = numbered(0);
                lagging["lagUnits"] = json!(1);
                let taken = edge.take(&Ask::new(Who::Blind, table, lagging)).await?;
                ensure!(taken.guard() == Lag && !taken.plan.warnings.is_empty(), "{taken:?}");
                edge.say(&format!("{end} prepared '{}'", edge.database)).await?;
                let all: &[i32] = if end == "commit" { &[1, 2, 3] } else { &[1, 3] };
                follow.until(&edge, all).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_prepared_transaction_is_waited_for_and_one_that_wrote_elsewhere_is_not() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "waits").await?;
        edge.say(
            "create table t (k int, at serial, stamp timestamptz default now() - interval '1 hour'); \
             insert into t (k) values (1); create table elsewhere (k int, at serial)",
        )
        .await?;
        let name = edge.database.clone();
        // it only reads the table
        let mut late = edge.session().await?;
        late.say(format!(
            "begin; insert into elsewhere (k) values (2); select from t; prepare transaction '{name}'"
        ))
        .await?;
        let stamped = json!({ "column": "stamp", "type": "timestamp", "stampedBy": "database" });
        for (watermark, guard) in [(numbered(0), Waited), (stamped, Guard::Exact)] {
            let taken = edge.take(&Ask::new(Who::Sees, "t", watermark)).await?;
            ensure!(taken.guard() == guard && taken.keys() == [1], "{:?}", taken.plan.warnings);
        }
        late.say(format!("rollback prepared '{name}'")).await?;
        prepared(&edge, "t").await?;
        let ask = Ask::new(Who::Blind, "t", numbered(30));
        let mut at_wait = false;
        let taken = edge
            .take_at(&ask, async |point| {
                if point == "in-wait" {
                    at_wait = true;
                    late.say(format!("commit prepared '{name}'")).await?;
                }
                Ok(())
            })
            .await
            .context("a run that waits")?;
        ensure!(at_wait && taken.guard() == Waited && taken.keys() == [1, 2, 3], "{taken:?}");
        Ok(())
    })
}

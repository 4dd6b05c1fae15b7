//! What is reported for each kind of relation: snapshot, guard, and partitions by blocks.

use anyhow::{Context, Result, ensure};
use crds::Reason;
use crds::extract_job::Consistency;
use crds::tracking::Guard::{self, Exact, Lag};
use futures::future::try_join_all;
use harness::TestEnv;
use serde_json::{Value, json};
use worker_core::planning::consistency::reached;

use crate::edge::{Ask, Edge, Who};

/// Relations that are read at the same time.
const AT_ONCE: usize = 13;

pub(crate) fn stamped() -> Value {
    json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "nullPolicy": "exclude" })
}

/// A server of foreign tables that is this very database.
pub(crate) fn loopback(edge: &Edge) -> String {
    format!(
        "create extension postgres_fdw; \
         create server loopback foreign data wrapper postgres_fdw options (host '{}', port '{}', dbname '{}'); \
         create user mapping for public server loopback options (user 'postgres', password_required 'false')",
        edge.env.state.join("postgres").display(),
        TestEnv::POSTGRES_PORT,
        edge.database,
    )
}

const RELATIONS: &str = "
create table plain (k int primary key, at timestamptz not null default now(), note text);
insert into plain select i, now() - interval '1 hour' from generate_series(1, 100) i;
create table unlogged_table (like plain);
alter table unlogged_table set unlogged;
insert into unlogged_table select * from plain;
create table parted (k int, at timestamptz not null) partition by range (k);
create table parted_low partition of parted for values from (0) to (50);
create table parted_high partition of parted for values from (50) to (200) partition by range (k);
create table parted_high_one partition of parted_high default;
insert into parted select k, at from plain;
create table heir_parent (k int, at timestamptz not null);
create table heir () inherits (heir_parent);
insert into heir select k, at from plain;
create foreign table foreign_table (k int, at timestamptz not null) server loopback options (table_name 'plain');
create table mixed (k int, at timestamptz not null) partition by range (k);
create table mixed_low partition of mixed for values from (0) to (50);
insert into mixed_low select k, at from plain where k < 50;
create table mixed_rest (k int, at timestamptz not null);
insert into mixed_rest select k, at from plain where k >= 50;
create foreign table mixed_high partition of mixed for values from (50) to (200) server loopback options (table_name 'mixed_rest');
create foreign table heir_foreign () inherits (heir_parent) server loopback options (table_name 'empty');
create table empty (k int, at timestamptz);
create table heirs (k int, at timestamptz not null);
create table heirs_one () inherits (heirs);
insert into heirs_one select k, at from plain;
create access method other_heap type table handler heap_tableam_handler;
create table other_storage (k int, at timestamptz) using other_heap;
insert into other_storage select k, at from plain;
create materialized view copied as select k, at from plain;
create function hidden() returns setof plain language sql stable as 'select * from public.plain';
create function harmless(int) returns int language plpgsql immutable as 'begin return $1; end';
create function under(int, int) returns bool language sql as 'select $1 < $2';
create operator <<<< (leftarg = int, rightarg = int, function = under);
create view simple as select k, at, upper(note) from plain where k > 0;
create view simple_again as select * from simple;
create view of_parted as select k, at from parted;
create view joined as select a.k, b.at from plain a join plain b using (k);
create view united as select k, at from plain union all select k, at from parted;
create view filtered as select k, at from plain where k in (select k from parted);
create view shifted as select k, at - interval '1 day' as at from plain;
create view ruled as select k, at - interval '1 day' as at from plain;
create rule on_insert as on insert to ruled do instead nothing;
create rule on_update as on update to ruled do instead nothing;
create rule on_delete as on delete to ruled do instead nothing;
create view limited as select k, at from plain order by k limit 50;
create view sampled as select k, at from plain tablesample system (100);
create view distinct_on as select distinct on (k) k, at from plain;
create view ranked as select k, at, row_number() over () from plain;
create view by_random as select k, at from plain where random() < 2;
create view by_now as select k, at from plain where at < now();
create view by_date as select k, at from plain where at < current_timestamp;
create view by_function as select k, at from hidden();
create view by_scalar as select harmless(k) as k, at from plain;
create view by_operator as select k, at from plain where k <<<< 1000;
create view by_query as select k, at, query_to_xml('select 1', true, true, '') x from plain;
create view of_foreign as select k, at from foreign_table;
create view of_mixed as select k, at from mixed;
create view of_copied as select k, at from copied;
create view deep as select s.k, s.at from (select * from simple) s where exists (select from of_foreign);
create view of_sequence as select p.k, p.at from plain p, (select last_value from numbers) s;
create view of_statistics as select p.k, p.at from plain p, (select count(*) from pg_stat_activity) s;
";

/// Relation, whether it is one snapshot, its guard, and whether it has blocks.
type Claim = (&'static str, bool, Guard, bool);

const CLAIMS: [Claim; 39] = [
    ("plain", true, Exact, true),
    ("unlogged_table", true, Exact, true),
    ("parted", true, Exact, false),
    ("parted_low", true, Exact, true),
    ("parted_high", true, Exact, false),
    ("heirs", true, Exact, false),
    ("heir_parent", false, Lag, false),
    ("foreign_table", false, Lag, false),
    ("mixed", false, Lag, false),
    ("mixed_low", true, Exact, true),
    ("mixed_high", false, Lag, false),
    ("other_storage", false, Lag, false),
    ("copied", true, Lag, true),
    ("copied_from_foreign", true, Lag, true),
    ("simple", true, Exact, false),
    ("simple_again", true, Exact, false),
    ("of_parted", true, Exact, false),
    ("joined", true, Lag, false),
    ("united", true, Lag, false),
    ("filtered", true, Lag, false),
    ("shifted", true, Lag, false),
    ("ruled", true, Lag, false),
    ("limited", false, Lag, false),
    ("sampled", false, Lag, false),
    ("distinct_on", false, Lag, false),
    ("ranked", false, Lag, false),
    ("by_random", false, Lag, false),
    ("by_now", false, Lag, false),
    ("by_date", false, Lag, false),
    ("by_function", false, Lag, false),
    ("by_scalar", false, Lag, false),
    ("by_operator", false, Lag, false),
    ("by_query", false, Lag, false),
    ("of_foreign", false, Lag, false),
    ("of_mixed", false, Lag, false),
    ("of_copied", true, Lag, false),
    ("deep", false, Lag, false),
    ("of_sequence", false, Lag, false),
    ("of_statistics", false, Lag, false),
];

async fn claims(edge: &Edge, (relation, snapshot, guard, blocks): Claim) -> Result<()> {
    // a user who sees no starts gets another guard only where one proves something
    for who in [Who::Sees, Who::Blind].into_iter().take(if guard == Exact { 2 } else { 1 }) {
        let cut = json!({ "partition": { "column": "k", "strategy": "range", "count": 2 } });
        let ask = Ask::new(who, relation, stamped()).with(cut);
        let taken = edge.take(&ask).await?;
        let proved = if who == Who::Sees { Exact } else { Guard::Waited };
        let expected = if guard == Exact { proved } else { guard };
        let warnings = &taken.plan.warnings;
        ensure!(taken.guard() == expected, "{who:?}: {:?}", taken.guard());
        ensure!(warnings.is_empty() == (guard == Exact && snapshot), "{warnings:?}");
        let expected = if snapshot { Consistency::Snapshot } else { Consistency::PerPartition };
        ensure!(reached(&taken.plan) == expected, "{:?}", reached(&taken.plan));
        ensure!(taken.plan.partitions.len() == 2, "{:?}", taken.plan.partitions);
        let mut one = taken.plan.clone();
        one.partitions.truncate(1);
        ensure!(reached(&one) == expected, "in one partition");
    }
    let ask = Ask::new(Who::Sees, relation, stamped());
    let asked = json!({ "consistency": "snapshot" });
    let opened = edge.open_at(&ask.clone().with(asked), async |_| Ok(())).await?;
    match (opened, snapshot) {
        (Ok(_), true) => {}
        (Err(failure), false) if failure.report.reason == Reason::SnapshotUnavailable => {}
        (other, _) => anyhow::bail!("asked for a snapshot: {other:?}"),
    }
    let asked = json!({ "partition": { "strategy": "ctid", "count": 2 } });
    let opened = edge.open_at(&ask.with(asked), async |_| Ok(())).await?;
    ensure!(opened.is_ok() == blocks, "by blocks: {opened:?}");
    Ok(())
}

/// A condition, and whether snapshot and guard are claimed with it.
const FILTERS: [(&str, bool); 12] = [
    ("k > 0 and note is null", true),
    ("upper(note) is null and k in (1, 2, 3)", true),
    ("at < timestamptz '2100-01-01' and date_trunc('day', at) < '2100-01-01'", true),
    ("k in (select k from public.foreign_table)", false),
    ("exists (table public.foreign_table)", false),
    ("public.harmless(k) > 0", false),
    ("k = any (array(select k from public.hidden()))", false),
    ("random() < 2", false),
    ("at < now()", false),
    ("at < current_timestamp", false),
    ("pg_backend_pid() > 0", false),
    ("public.\"harmless\" (k) > 0", false),
];

#[test]
fn a_condition_that_reads_more_than_its_row_voids_the_guarantees() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "filters").await?;
        edge.say(&format!(
            "{}; create table plain (k int primary key, at timestamptz not null default now(), note text); \
             insert into plain select i, now() - interval '1 hour' from generate_series(1, 100) i; \
             create foreign table foreign_table (k int) server loopback options (table_name 'plain'); \
             create function hidden() returns setof plain language sql stable as 'select * from public.plain'; \
             create function harmless(int) returns int language plpgsql immutable as 'begin return $1; end';",
            loopback(&edge)
        ))
        .await?;
        for (filter, proved) in FILTERS {
            let more = json!({
                "where": filter, "partition": { "column": "k", "strategy": "range", "count": 2 }
            });
            let ask = Ask::new(Who::Sees, "plain", stamped()).with(more);
            let taken = edge.take(&ask).await.context(filter)?;
            let is_snapshot = reached(&taken.plan) == Consistency::Snapshot;
            ensure!(is_snapshot == proved, "{filter}: {:?}", taken.plan.warnings);
            ensure!((taken.guard() == Exact) == proved, "{filter}: {:?}", taken.guard());
        }
        Ok(())
    })
}

#[test]
fn each_kind_of_relation_is_claimed_only_as_far_as_proved() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "kinds_of_relations").await?;
        edge.say(&format!("{}; create sequence numbers; {RELATIONS}", loopback(&edge))).await?;
        // it is read by another session, which must find the tables
        let copy =
            "create materialized view copied_from_foreign as select k, at from foreign_table";
        edge.say(copy).await?;
        for some in CLAIMS.chunks(AT_ONCE) {
            let tried = some.iter().map(|claim| {
                let edge = &edge;
                async move { claims(edge, *claim).await.context(claim.0) }
            });
            try_join_all(tried).await?;
        }
        Ok(())
    })
}

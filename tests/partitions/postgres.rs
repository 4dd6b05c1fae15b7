//! Keys and tables of Postgres.

use anyhow::{Result, ensure};
use harness::TestEnv;
use serde_json::json;

use crate::divided::Shelf;

/// Rows of `many` whose keys are ordinary.
const ROWS: u32 = 3000;

/// A table with a key of each type, ordinary values, and those at the ends of the types.
async fn many(shelf: &Shelf) -> Result<()> {
    shelf
        .say(&format!(
            "create extension citext;
             create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             create type mood as enum ('sad', 'ok', 'happy');
             create table many (n int primary key, i bigint, s smallint, d numeric(30,4), z numeric,
                 dd date, ts timestamp, tz timestamptz, u uuid, t text, v varchar(60) collate \"C\",
                 c char(5), f text collate folded, ci citext, o int, e mood, one int default 7,
                 y double precision, \"odd \"\"na.me\" int);
             insert into many select g, case when g % 2 = 0 then g else -g * 1000000000000 end, g % 300,
                 g / 7.0, g * 12345678901234567890.5, date '2024-01-01' + g % 400,
                 timestamp '2024-01-01' + g * interval '61.000001 seconds',
                 timestamptz '2024-03-31 00:59+01' + g * interval '1 second', md5(g::text)::uuid,
                 case g % 4 when 0 then upper(md5(g::text)) when 1 then 'it''s \\ ' || g
                     when 2 then 'é' || g else 'E' || g end,
                 md5((g % 500)::text), chr(65 + g % 26) || chr(97 + g % 26),
                 case g % 2 when 0 then chr(65 + g % 26) else chr(97 + g % 26) end || g % 40,
                 case g % 2 when 0 then 'User' else 'user' end || g % 700,
                 case when g % 3 = 0 then g end, (array['sad', 'ok', 'happy'])[1 + g % 3]::mood, 7,
                 g / 3.0, -g
             from generate_series(1, {ROWS}) g;
             insert into many (n, i, s, d, z, dd, ts, tz, u, t, c) values
                 (100001, 9223372036854775807, 32767, 99999999999999999999999999.9999, 'NaN',
                     'infinity', 'infinity', 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '', ''),
                 (100002, -9223372036854775808, -32768, -99999999999999999999999999.9999, '-Infinity',
                     '-infinity', '-infinity', '-infinity', '00000000-0000-0000-0000-000000000000',
                     repeat('x', 5000), 'a '),
                 (100003, 0, 0, 0, 1e60, '4713-01-01 BC', '4713-01-01 BC', '4713-01-01 BC', null, null, null),
                 (100004, null, null, null, 'Infinity', '5874897-12-31', '294276-12-31', '294276-12-31',
                     null, E'\\t\\n''\\\\', 'ZZZZZ')"
        ))
        .await
        .map(|_| ())
}

#[test]
fn every_row_is_in_exactly_one_partition_for_each_key_and_strategy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::postgres(env, "partitions").await?;
        many(&shelf).await?;
        let all = [
            "n", "i", "s", "d", "z", "dd", "ts", "tz", "u", "t", "v", "c", "f", "ci", "o", "e",
            "one",
        ];
        // by a sample, then by the server's statistics
        for (analyzed, counts) in [(false, &[2, 7][..]), (true, &[7])] {
            if analyzed {
                shelf.say("analyze many").await?;
            }
            for key in all {
                for count in counts.iter().copied() {
                    let quantile = json!({ "column": key, "strategy": "quantile", "count": count });
                    let divided = shelf.divide("many", &quantile).await?;
                    ensure!(divided.strategy()? == "quantile", "{key}: {:?}", divided.how()?);
                    let partitions = divided.plan.partitions.len();
                    // a key of few values has fewer partitions
                    ensure!(
                        partitions <= count && (partitions > 1 || key == "one"),
                        "{key}: {partitions}"
                    );
                }
            }
        }
        for key in ["n", "i", "s", "d", "z", "dd", "ts", "tz", "o", "one", "odd \"na.me"] {
            let partition = json!({ "column": key, "count": 6 });
            let divided = shelf.divide("many", &partition).await?;
            ensure!(divided.strategy()? == "range", "{key}: {:?}", divided.how()?);
        }
        for key in all.into_iter().chain(["y", "odd \"na.me"]) {
            let hash = json!({ "column": key, "strategy": "hash", "count": 5 });
            ensure!(shelf.divide("many", &hash).await?.plan.partitions.len() == 5, "{key}");
            let auto = json!({ "column": key, "strategy": "auto", "count": 5 });
            shelf.divide("many", &auto).await?;
        }
        for (partition, strategy) in [
            (json!({ "strategy": "ctid", "count": 5 }), "ctid"),
            (json!({ "strategy": "hash", "count": 5 }), "hash"),
            // three rows lie far off
            (json!({ "strategy": "auto", "count": 5 }), "quantile"),
            (json!({ "strategy": "auto" }), "none"),
            (json!({ "strategy": "none" }), "none"),
            (json!({ "column": "n", "rebalance": true, "count": 5 }), "quantile"),
        ] {
            let divided = shelf.divide("many", &partition).await?;
            ensure!(divided.strategy()? == strategy, "{partition}: {:?}", divided.how()?);
        }
        Ok(())
    })
}

#[test]
fn tables_of_every_kind_are_partitioned_or_refused_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::postgres(env, "shapes").await?;
        shelf
            .say(
                "create table parts (n int, at date, primary key (n, at)) partition by range (at);
                 create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-02-01');
                 create table parts_2 partition of parts default;
                 insert into parts select g, date '2024-01-01' + g % 60 from generate_series(1, 2000) g;
                 create table parent (n int); create table child (extra int) inherits (parent);
                 insert into parent select generate_series(1, 700);
                 insert into child select generate_series(701, 1000), 1;
                 create view seen as select n, n % 10 as tens from parent;
                 create materialized view kept as select n from parent;
                 create table tenants (tenant int, n int, primary key (tenant, n));
                 insert into tenants select 1, generate_series(1, 5000);
                 create table bare (n int); insert into bare select generate_series(1, 3000);
                 create table one (n int primary key); insert into one values (5);
                 create table nothing (n int primary key);
                 create table nulls (n int primary key, k int); insert into nulls select generate_series(1, 50)",
            )
            .await?;
        for (table, partition, strategy) in [
            ("parts", json!({ "strategy": "auto", "count": 4 }), "range"),
            ("parts", json!({ "strategy": "quantile", "column": "at", "count": 4 }), "quantile"),
            ("parts", json!({ "strategy": "hash", "count": 4 }), "hash"),
            ("parent", json!({ "strategy": "auto", "column": "n", "count": 4 }), "range"),
            ("parent", json!({ "strategy": "auto", "count": 4 }), "none"),
            ("parent", json!({ "strategy": "quantile", "column": "n", "count": 4 }), "quantile"),
            ("seen", json!({ "strategy": "quantile", "column": "n", "count": 4 }), "quantile"),
            ("seen", json!({ "strategy": "auto", "column": "n", "count": 4 }), "range"),
            ("seen", json!({ "strategy": "hash", "column": "tens", "count": 4 }), "hash"),
            ("kept", json!({ "strategy": "ctid", "count": 3 }), "ctid"),
            ("tenants", json!({ "strategy": "auto", "count": 4 }), "ctid"),
            ("tenants", json!({ "strategy": "hash", "count": 4 }), "hash"),
            ("bare", json!({ "strategy": "auto", "count": 4 }), "ctid"),
            ("one", json!({ "strategy": "quantile", "column": "n", "count": 4 }), "quantile"),
            ("one", json!({ "strategy": "ctid", "count": 4 }), "ctid"),
            ("nulls", json!({ "strategy": "quantile", "column": "k", "count": 4 }), "quantile"),
            ("nulls", json!({ "column": "k", "count": 4 }), "range"),
        ] {
            let divided = shelf.divide(table, &partition).await?;
            ensure!(divided.strategy()? == strategy, "{table} {partition}: {:?}", divided.how()?);
        }
        let empty = json!({ "strategy": "auto", "count": 4 });
        ensure!(shelf.divide("nothing", &empty).await?.plan.partitions.is_empty(), "an empty table");
        let ctid = json!({ "strategy": "ctid", "count": 4 });
        for (table, partition, part) in [
            ("parts", &ctid, "a partitioned table has no blocks of its own"),
            ("parent", &ctid, "other tables inherit from it"),
            ("seen", &ctid, "a view has no blocks"),
            ("bare", &json!({ "strategy": "hash", "count": 4 }), "no readable primary key"),
            ("bare", &json!({ "strategy": "range", "column": "none", "count": 4 }), "no column"),
        ] {
            let said = shelf.refused(table, partition).await?;
            ensure!(said.contains(part) && said.contains("extract.partition"), "{table}: {said}");
        }
        Ok(())
    })
}

#[test]
fn a_user_with_column_grants_gets_the_reason_why_ctid_is_not_used() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::postgres(env, "grants").await?;
        let user = format!("{}_columns", shelf.database);
        shelf
            .say(&format!(
                "create table t (n int primary key, k int); insert into t select g, g from generate_series(1, 900) g;
                 create role {user} login password 'secret'; grant select (n, k) on t to {user}"
            ))
            .await?;
        let few = shelf.of(&user, "secret");
        let said = few.refused("t", &json!({ "strategy": "ctid", "count": 4 })).await?;
        ensure!(said.contains("single columns"), "{said}");
        few.divide("t", &json!({ "strategy": "auto", "count": 4 })).await?;
        Ok(())
    })
}

/// What others do after the plan stands: rows move between partitions, go and come.
#[test]
fn all_partitions_show_the_snapshot_of_the_plan_while_others_write() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let shelf = Shelf::postgres(env, "instant").await?;
        for partition in [
            json!({ "strategy": "ctid", "count": 5 }),
            json!({ "strategy": "hash", "column": "k", "count": 5 }),
            json!({ "strategy": "quantile", "column": "k", "count": 5 }),
            json!({ "column": "k", "count": 5 }),
        ] {
            shelf
                .say(
                    "drop table if exists t; create table t (n int primary key, k int);
                     insert into t select g, g from generate_series(1, 2000) g",
                )
                .await?;
            let storm = "update t set k = 2001 - k; delete from t where n % 3 = 0; \
                         update t set k = k + 100000 where n % 7 = 0; \
                         insert into t select g, g from generate_series(3001, 5000) g; \
                         insert into t values (6000, null), (6001, -5000)";
            let divided = shelf.divide_beside("t", &partition, storm).await?;
            let divided = divided.map_err(|failure| anyhow::anyhow!("{}", failure.report))?;
            let expected: Vec<i64> = (1..=2000).collect();
            ensure!(divided.keys == expected, "{partition}: {} rows", divided.keys.len());
        }
        Ok(())
    })
}

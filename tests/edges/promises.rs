//! NOT NULL of the catalog that does not hold for every row which is read.

use anyhow::{Context, Result, ensure};
use crds::Reason;
use harness::TestEnv;
use serde_json::json;

use crate::edge::{Ask, Edge, Who};
use crate::relations::loopback;

/// In each of these row 2 has no watermark, although something says NOT NULL.
const TABLES: [(&str, &str); 7] = [
    (
        "foreign_table",
        "create table below (k int, at timestamptz); insert into below values (1, 'yesterday'), (2, null); \
         create foreign table foreign_table (k int, at timestamptz not null) server loopback options (table_name 'below')",
    ),
    (
        "foreign_partition",
        "create table foreign_partition (k int, at timestamptz not null) partition by range (k); \
         create foreign table one partition of foreign_partition default server loopback options (table_name 'below')",
    ),
    (
        "child_without",
        "create table child_without (k int, at timestamptz); create table child () inherits (child_without); \
         alter table only child_without alter at set not null; \
         insert into child values (1, 'yesterday'), (2, null)",
    ),
    (
        "by_domain",
        "create domain moment as timestamptz not null; create table by_domain (k int, at moment); \
         insert into by_domain values (1, 'yesterday'), (2, (select at from by_domain where false))",
    ),
    (
        "outer_join",
        "create view outer_join as select k, at from (values (1), (2)) v (k) left join \
         (select k, at from by_domain where k = 1) d using (k)",
    ),
    ("view_of_foreign", "create view view_of_foreign as select k, at from foreign_table"),
    ("copied", "create materialized view copied as select k, at from foreign_table"),
];

/// Postgres 18 alone.
const NOT_VALID: [(&str, &str); 3] = [
    (
        "not_valid",
        "create table not_valid (k int, at timestamptz); insert into not_valid values (1, 'yesterday'), (2, null); \
         alter table not_valid add constraint present not null at not valid",
    ),
    (
        "not_valid_parted",
        "create table not_valid_parted (k int, at timestamptz) partition by range (k); \
         create table part partition of not_valid_parted default; \
         insert into part values (1, 'yesterday'), (2, null); \
         alter table not_valid_parted add constraint present not null at not valid",
    ),
    (
        "no_inherit",
        "create table no_inherit (k int, at timestamptz not null no inherit); \
         create table heir () inherits (no_inherit); insert into heir values (1, 'yesterday'), (2, null)",
    ),
];

async fn nulls_are_found(edge: &Edge, port: u16, tables: &[(&'static str, &str)]) -> Result<()> {
    for (table, sql) in tables {
        edge.say(sql).await?;
        let ask = |policy: &str| {
            let watermark = json!({ "column": "at", "type": "timestamp", "nullPolicy": policy, "high": "2020-01-01" });
            Ask::new(Who::Sees, table, watermark).on(port)
        };
        let mut fails = ask("fail");
        fails.watermark.as_object_mut().context("fields")?.remove("high");
        let refused = edge.refused(&fails).await.context(*table)?;
        ensure!(refused.report.reason == Reason::NullWatermarkRows, "{table}: {refused}");
        // row 1 lies above this end: what comes is what has no watermark
        let taken = edge.take(&ask("include")).await?;
        ensure!(taken.keys() == [2], "{table}: {:?}", taken.keys());
        // and no partition loses it where it is the key
        let cut = json!({ "partition": { "column": "at", "strategy": "range", "count": 2 } });
        let taken = edge.take(&ask("include").with(cut)).await?;
        ensure!(taken.keys() == [2], "{table} in {:?}: {:?}", taken.plan.partitions, taken.keys());
        let plain = json!({ "column": "k", "type": "int", "nullPolicy": "fail" });
        let cut = json!({ "partition": { "column": "at", "strategy": "range", "count": 2 } });
        let taken = edge.take(&Ask::new(Who::Sees, table, plain).on(port).with(cut)).await?;
        ensure!(
            taken.keys() == [1, 2],
            "{table} in {:?}: {:?}",
            taken.plan.partitions,
            taken.keys()
        );
    }
    Ok(())
}

#[test]
fn an_unenforced_not_null_hides_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "promises").await?;
        edge.say(&loopback(&edge)).await?;
        nulls_are_found(&edge, TestEnv::POSTGRES_PORT, &TABLES).await
    })
}

#[test]
fn a_not_null_that_is_not_valid_hides_no_row_of_postgres_18() -> Result<()> {
    let env = TestEnv::shared()?;
    let port = env.postgres_of(18)?;
    env.run(async {
        let edge = Edge::at(env, port, "promises").await?;
        let socket = env.state.join("postgres-18");
        edge.say(&loopback(&edge).replace(
            &format!(
                "host '{}', port '{}'",
                env.state.join("postgres").display(),
                TestEnv::POSTGRES_PORT
            ),
            &format!("host '{}', port '{port}'", socket.display()),
        ))
        .await?;
        nulls_are_found(&edge, port, &TABLES).await?;
        nulls_are_found(&edge, port, &NOT_VALID).await
    })
}

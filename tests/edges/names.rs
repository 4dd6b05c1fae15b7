//! Which table a name without a schema is: the one that a plain session of the database user finds.

use anyhow::{Result, ensure};
use crds::Reason;
use harness::TestEnv;
use serde_json::json;

use crate::edge::{Ask, Edge, Who};

#[test]
fn a_name_without_a_schema_is_the_table_that_psql_finds() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "names").await?;
        let (sees, blind) = (edge.user(Who::Sees), edge.user(Who::Blind));
        let mut schemas = vec!["public".to_owned(), "a".to_owned(), "b".to_owned(), blind.clone()];
        schemas.push("closed".to_owned());
        for schema in &schemas {
            edge.say(&format!(
                "create schema if not exists {schema}; \
                 create table {schema}.t (k int, at timestamptz not null default now()); \
                 insert into {schema}.t values (1, now() - interval '1 hour'); \
                 grant select on {schema}.t to {sees}, {blind}"
            ))
            .await?;
        }
        edge.say(&format!("grant usage on schema a, b, {blind} to {sees}, {blind}")).await?;
        let database = &edge.database;
        for (setting, who, schema) in [
            ("select".to_owned(), Who::Sees, "public"),
            // "$user" comes first by default
            ("select".to_owned(), Who::Blind, &blind),
            (format!("alter database {database} set search_path = b, public"), Who::Sees, "b"),
            (format!("alter role {sees} set search_path = a, b"), Who::Sees, "a"),
            (
                format!("alter role {sees} in database {database} set search_path = b, a"),
                Who::Sees,
                "b",
            ),
            // what the user may not use is not searched
            (
                format!("alter role {sees} in database {database} set search_path = closed, a"),
                Who::Sees,
                "a",
            ),
        ] {
            edge.say(&setting).await?;
            let watermark = json!({ "column": "at", "type": "timestamp" });
            let taken = edge.take(&Ask::new(who, "t", watermark)).await?;
            ensure!(taken.plan.table.schema == schema, "{setting}: {}", taken.plan.table);
        }
        edge.say(&format!("alter role {sees} in database {database} set search_path = closed"))
            .await?;
        let watermark = json!({ "column": "at", "type": "timestamp" });
        let refused = edge.refused(&Ask::new(Who::Sees, "t", watermark)).await?;
        ensure!(refused.report.reason == Reason::TableNotFound, "{refused}");
        ensure!(refused.report.message.contains("schema \"a\" has one"), "{refused}");
        Ok(())
    })
}

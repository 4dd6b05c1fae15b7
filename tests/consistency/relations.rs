//! Relations whose rows other servers hold, and a name that comes to mean another table.

use anyhow::{Context, Result, ensure};
use crds::Reason;
use harness::{Mysql, Output, TestEnv};
use serde_json::{Value, json};

use crate::{Accounts, ROWS, SUM, TRANSFER, in_env, moved_amid};

/// Puts a foreign table in the place of the accounts, which another session of this server reads.
const FOREIGN: &str = "alter table accounts rename to below; create extension postgres_fdw; \
    create server loopback foreign data wrapper postgres_fdw options (host 'HOST', port '5432', dbname 'DATABASE'); \
    create user mapping for public server loopback options (user 'postgres'); \
    create foreign table accounts (id int not null, balance bigint not null) server loopback \
    options (table_name 'below')";

async fn foreign(consistency: Option<&str>) -> Result<Accounts> {
    let accounts = Accounts::new("postgres", consistency, 1).await?;
    let host = accounts.env.state.join("postgres").display().to_string();
    let database = &accounts.source.database;
    accounts.sql(&FOREIGN.replace("HOST", &host).replace("DATABASE", database)).await?;
    Ok(accounts)
}

fn refused(output: &Output, reason: Reason) -> Result<()> {
    ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
    ensure!(output.stderr.contains(&reason.to_string()), "{reason}: {}", output.stderr);
    Ok(())
}

#[test]
fn a_foreign_table_is_never_reported_as_a_consistent_snapshot() -> Result<()> {
    in_env(async {
        for change in [
            "select",
            "alter foreign table accounts rename to far; create view accounts as select * from far",
            "alter foreign table accounts rename to far; create table accounts (like below) partition by range (id); \
             alter table accounts attach partition far default",
        ] {
            let accounts = foreign(None).await?;
            accounts.sql(change).await?;
            let plan = accounts.source.command("plan", &accounts.job)?;
            let plan = accounts.env.succeed(plan, "").await?;
            ensure!(plan.contains("consistent perPartition"), "{change}: {plan}");
            ensure!(plan.contains("not read from one consistent snapshot"), "{change}: {plan}");
            // 40 moved between two partitions: one of them shows the balance before, one after
            let moved = TRANSFER.replace("update accounts", "update below");
            let output = moved_amid(&accounts, &moved).await?;
            ensure!(output.code == Some(0), "{change}: {}", output.stderr);
            let (rows, sum) = accounts.published().await?;
            ensure!(rows == ROWS && sum != SUM, "{change}: {rows} rows, {sum}");
            let manifest = accounts.manifest().await?;
            ensure!(manifest["consistency"] == "perPartition", "{change}: {manifest}");
        }
        Ok(())
    })
}

#[test]
fn a_snapshot_of_a_foreign_table_is_refused() -> Result<()> {
    in_env(async {
        let mut accounts = foreign(Some("snapshot")).await?;
        for count in [3, 1] {
            accounts.job["spec"]["extract"]["partition"]["count"] = json!(count);
            let output = accounts.source.try_run(&accounts.job).await?;
            refused(&output, Reason::SnapshotUnavailable)?;
            ensure!(output.stderr.contains("foreign table public.accounts"), "{}", output.stderr);
        }
        // the remedy
        accounts.job["spec"]["extract"]["consistency"] = json!("perPartition");
        accounts.source.run(&accounts.job).await?;
        ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
        Ok(())
    })
}

#[test]
fn tables_of_mariadb_without_snapshots_are_reported_for_one_partition_too() -> Result<()> {
    if Mysql::of_env().lacks("the storage engine Aria") {
        return Ok(());
    }
    in_env(async {
        for (change, had) in [
            ("select 1", "snapshot"),
            ("alter table accounts engine = MyISAM", "perPartition"),
            ("alter table accounts engine = Aria", "perPartition"),
            (
                "alter table accounts rename to below, engine = MyISAM; create view accounts as select * from below",
                "perPartition",
            ),
        ] {
            let mut accounts = Accounts::new("mysql", None, 1).await?;
            accounts.sql(change).await?;
            accounts.job["spec"]["extract"]["partition"]["count"] = json!(1);
            accounts.source.run(&accounts.job).await?;
            let manifest = accounts.manifest().await?;
            ensure!(manifest["consistency"] == had, "{change}: {manifest}");
            ensure!(manifest["table"]["table"] == "accounts", "{manifest}");
        }
        Ok(())
    })
}

async fn orders(env: &'static TestEnv, kind: &str) -> Result<(harness::SourceFixture, Value)> {
    let source = harness::SourceFixture::new(env, "resolved").await?;
    env.psql(
        &source.database,
        "create schema a; create table a.orders (id int primary key); insert into a.orders values (1), (20); \
         create schema b; create table b.orders (id int primary key); insert into b.orders values (5), (30), (40)",
    )
    .await?;
    let mut job = source.job("orders", kind);
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    Ok((source, job))
}

async fn searches(source: &harness::SourceFixture, path: &str) -> Result<()> {
    let database = &source.database;
    let sql = format!("alter database {database} set search_path = {path}");
    source.env.psql("postgres", &sql).await.map(|_| ())
}

#[test]
fn a_run_that_resolves_to_another_table_is_refused_with_both_names() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        for kind in ["PE", "FE"] {
            let (source, mut job) = orders(env, kind).await?;
            searches(&source, "a, b").await?;
            let plan = env.succeed(source.command("plan", &job)?, "").await?;
            ensure!(plan.contains("table      a.orders"), "{plan}");
            ensure!(source.run(&job).await?["rows"] == 2, "rows of a");
            searches(&source, "b, a").await?;
            for command in ["run", "plan"] {
                let output = source.command(command, &job)?;
                let output = env.output(output, "", std::time::Duration::from_mins(2)).await?;
                refused(&output, Reason::TableChanged)?;
                for name in ["a.orders", "b.orders"] {
                    ensure!(output.stderr.contains(name), "{kind} {name}: {}", output.stderr);
                }
            }
            let item = source.watermark_item("orders").await?.context("watermark item")?;
            ensure!(kind == "FE" || item["lwm_value"] == "20", "{item}");
            // each remedy: the path set back, the table named, or a new beginning
            searches(&source, "a, b").await?;
            source.run(&job).await?;
            searches(&source, "b, a").await?;
            job["spec"]["tracking"]["key"] = json!(source.key("orders"));
            job["spec"]["extract"]["table"] = json!("a.orders");
            source.run(&job).await?;
            job["spec"]["extract"]["table"] = json!("orders");
            if kind == "PE" {
                job["spec"]["extract"]["reingest"] = json!(true);
            } else {
                job["spec"]["extract"]["table"] = json!("b.orders");
            }
            ensure!(source.run(&job).await?["rows"] == 3, "rows of b");
        }
        Ok(())
    })
}

/// A full extract replaces what is published, under another uri too: of another table only where it says so.
#[test]
fn a_full_extract_that_moves_to_another_uri_and_table_at_once_is_refused_with_both_names()
-> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let (source, mut job) = orders(env, "FE").await?;
        env.psql(
            &source.database,
            "create table a.items (id int primary key); insert into a.items values (7)",
        )
        .await?;
        searches(&source, "a, b").await?;
        ensure!(source.run(&job).await?["rows"] == 2, "rows of a.orders");
        job["spec"]["tracking"]["key"] = json!(source.key("orders"));
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/moved", source.bucket));
        for (path, table, names) in [
            ("b, a", "orders", ["a.orders", "b.orders"]),
            ("a, b", "items", ["a.orders", "a.items"]),
        ] {
            searches(&source, path).await?;
            job["spec"]["extract"]["table"] = json!(table);
            for command in ["run", "plan"] {
                let output = source.command(command, &job)?;
                let output = env.output(output, "", std::time::Duration::from_mins(2)).await?;
                refused(&output, Reason::TableChanged)?;
                for name in names {
                    ensure!(output.stderr.contains(name), "{table} {name}: {}", output.stderr);
                }
            }
        }
        // the remedy: the other table is named with its schema; then what moves is that one
        job["spec"]["extract"]["table"] = json!("b.orders");
        ensure!(source.run(&job).await?["rows"] == 3, "rows of b.orders");
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/again", source.bucket));
        searches(&source, "b, a").await?;
        job["spec"]["extract"]["table"] = json!("orders");
        ensure!(source.run(&job).await?["rows"] == 3, "the same table at another uri");
        // the earlier place is gone: there is nothing to compare with
        for key in env.keys(&source.bucket, "again/").await? {
            env.s3(harness::Access::Admin)
                .delete_object()
                .bucket(&source.bucket)
                .key(key)
                .send()
                .await?;
        }
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/new", source.bucket));
        job["spec"]["extract"]["table"] = json!("items");
        ensure!(source.run(&job).await?["rows"] == 1, "rows of a.items");
        Ok(())
    })
}

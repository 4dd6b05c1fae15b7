//! If a consistent snapshot is not available or cannot be proved, nothing is read.

use anyhow::{Context, Result, ensure};
use harness::Mysql;
use serde_json::json;

use crate::{Accounts, in_env};

/// It ends for good before a row is read, and says this.
async fn unavailable(accounts: &Accounts, words: &str) -> Result<()> {
    let output = accounts.source.try_run(&accounts.job).await?;
    ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
    ensure!(output.stderr.contains("SnapshotUnavailable"), "{}", output.stderr);
    ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
    ensure!(output.stderr.contains("extract.consistency: perPartition"), "{}", output.stderr);
    let item = accounts.source.run_item("accounts").await?.context("run item")?;
    ensure!(item["state"] == "failed" && item["partitions"].is_null(), "{item}");
    Ok(())
}

#[test]
fn tables_that_keep_no_snapshot_and_views_are_refused() -> Result<()> {
    if Mysql::of_env().lacks("the storage engine Aria") {
        return Ok(());
    }
    in_env(async {
        for (change, words) in [
            ("alter table accounts engine = MyISAM", "storage engine MyISAM"),
            ("alter table accounts engine = Aria", "storage engine Aria"),
            (
                "rename table accounts to below; create view accounts as select * from below",
                "a view does not show",
            ),
        ] {
            let accounts = Accounts::new("mysql", Some("snapshot"), 2).await?;
            accounts.sql(change).await?;
            unavailable(&accounts, words).await?;
        }
        Ok(())
    })
}

#[test]
fn a_user_without_rights_on_the_binary_log_gets_the_missing_grant() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let mut accounts = Accounts::new("mysql", Some("snapshot"), 2).await?;
        let (user, database) = ("accounts_reader", &accounts.source.database);
        accounts
            .sql(&format!(
                "create or replace user {user}@'%' identified by 'secret' require ssl; \
                 grant select on {database}.* to {user}@'%'"
            ))
            .await?;
        accounts.source.user(user)?;
        unavailable(&accounts, "GRANT BINLOG MONITOR").await?;
        // one partition is one statement, which needs no proof
        accounts.job["spec"]["extract"]["partition"]["count"] = json!(1);
        accounts.source.run(&accounts.job).await?;
        ensure!(accounts.manifest().await?["consistency"] == "snapshot", "one range");
        accounts.job["spec"]["extract"]["partition"]["count"] = json!(3);
        accounts.sql(&format!("grant binlog monitor on *.* to {user}@'%'")).await?;
        accounts.source.run(&accounts.job).await?;
        let manifest = accounts.manifest().await?;
        ensure!(manifest["consistency"] == "snapshot" && manifest["partitions"] == 3, "{manifest}");
        Ok(())
    })
}

#[test]
fn ctid_partitions_need_a_consistent_snapshot() -> Result<()> {
    in_env(async {
        let mut accounts = Accounts::new("postgres", Some("perPartition"), 1).await?;
        accounts.job["spec"]["extract"]["partition"] = json!({ "strategy": "ctid", "count": 3 });
        let output = accounts.source.try_run(&accounts.job).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        ensure!(output.stderr.contains("ctid needs consistency snapshot"), "{}", output.stderr);
        accounts.job["spec"]["extract"]["partition"]["strategy"] = json!("auto");
        accounts.source.run(&accounts.job).await?;
        let manifest = accounts.manifest().await?;
        ensure!(manifest["partitioning"]["strategy"] == "range", "{manifest}");
        Ok(())
    })
}

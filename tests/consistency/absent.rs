//! A manifest without `extract.partition`: a large table is read as several partitions only if they share one consistent
//! snapshot, and as one partition otherwise, with a warning that says why.

use anyhow::{Context, Result, ensure};
use harness::Mysql;
use serde_json::{Value, json};

use crate::{Accounts, ROWS, RUN, SUM, TRANSFER, in_env, moved_amid};

/// Rows that the server is made to believe to be in a table: three partitions.
const BELIEVED: &str = "12500000";

/// A large table by the statistics of the server, and a job that asks for no partitions.
async fn large(engine: &str, consistency: Option<&str>) -> Result<Accounts> {
    let mut accounts = Accounts::new(engine, consistency, 1).await?;
    accounts.job["spec"]["extract"]["partition"] = Value::Null;
    believe(&accounts).await?;
    Ok(accounts)
}

async fn believe(accounts: &Accounts) -> Result<()> {
    let sql = match accounts.source.engine {
        // MariaDB 10.11.19 reads stored statistics again only when a table has a new name
        "mysql" => format!(
            "alter table accounts stats_persistent = 1, stats_auto_recalc = 0; analyze table accounts; \
             update mysql.innodb_table_stats set n_rows = {BELIEVED} \
             where database_name = database() and table_name = 'accounts'; \
             rename table accounts to other; rename table other to accounts; flush tables"
        ),
        _ => format!(
            "alter table accounts set (autovacuum_enabled = false); \
             update pg_class set reltuples = {BELIEVED} where oid = 'accounts'::regclass"
        ),
    };
    accounts.sql(&sql).await.map(|_| ())
}

async fn planned(accounts: &Accounts) -> Result<Value> {
    let plan = accounts.source.command("plan --json", &accounts.job)?;
    let shown = accounts.env.output(plan, "", RUN).await?;
    ensure!(shown.code == Some(0), "exit {:?}: {}", shown.code, shown.stderr);
    serde_json::from_str(&shown.stdout).context("a plan")
}

fn partitions(plan: &Value) -> usize {
    plan["partitions"].as_array().map_or(0, Vec::len)
}

fn warnings(plan: &Value) -> Vec<&str> {
    let all = plan["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|warning| warning.contains("one partition")).collect()
}

/// It is planned and published as one partition, and these words of a warning say why.
async fn is_one(accounts: &Accounts, words: &[&str]) -> Result<()> {
    let plan = planned(accounts).await?;
    ensure!(partitions(&plan) == 1, "{plan}");
    let [warning] = warnings(&plan)[..] else { anyhow::bail!("not one warning: {plan}") };
    let reason = plan["partitioning"]["reason"].as_str().context("reason")?;
    for word in words {
        ensure!(warning.contains(word) && reason.contains(word), "{word}: {warning}: {reason}");
    }
    accounts.source.run(&accounts.job).await?;
    ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
    let manifest = accounts.manifest().await?;
    ensure!(manifest["partitions"] == 1, "{manifest}");
    ensure!(manifest["partitioning"]["strategy"] == "none", "{manifest}");
    ensure!(manifest["partitioning"]["reason"] == reason, "{manifest}");
    Ok(())
}

#[test]
fn large_table_is_several_partitions_of_one_snapshot() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            if engine == "mysql"
                && Mysql::of_env().lacks("a snapshot whose point in the binary log is known")
            {
                continue;
            }
            for asked in [None, Some("snapshot")] {
                let accounts = large(engine, asked).await?;
                let plan = planned(&accounts).await?;
                ensure!(partitions(&plan) == 3 && warnings(&plan).is_empty(), "{engine}: {plan}");
                ensure!(plan["partitioning"]["strategy"] == "range", "{engine}: {plan}");
                let output = moved_amid(&accounts, TRANSFER).await?;
                ensure!(output.code == Some(0), "{engine}: {}", output.stderr);
                let (rows, sum) = accounts.published().await?;
                ensure!((rows, sum) == (ROWS, SUM), "{engine}: {rows} rows, {sum}");
                let manifest = accounts.manifest().await?;
                ensure!(manifest["consistency"] == "snapshot", "{engine}: {manifest}");
                ensure!(manifest["partitions"] == 3, "{engine}: {manifest}");
                accounts.source.verify(&accounts.job).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn strategy_auto_written_out_keeps_its_default_consistency() -> Result<()> {
    in_env(async {
        for (engine, had) in [("postgres", "snapshot"), ("mysql", "perPartition")] {
            let mut accounts = large(engine, None).await?;
            accounts.job["spec"]["extract"]["partition"] = json!({ "strategy": "auto" });
            let plan = planned(&accounts).await?;
            ensure!(partitions(&plan) == 3, "{engine}: {plan}");
            accounts.source.run(&accounts.job).await?;
            let manifest = accounts.manifest().await?;
            ensure!(manifest["consistency"] == had && manifest["partitions"] == 3, "{manifest}");
        }
        Ok(())
    })
}

#[test]
fn small_table_is_one_partition_without_a_warning() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            let mut accounts = Accounts::new(engine, None, 4).await?;
            accounts.job["spec"]["extract"]["partition"] = Value::Null;
            let plan = planned(&accounts).await?;
            ensure!(partitions(&plan) == 1 && warnings(&plan).is_empty(), "{engine}: {plan}");
            accounts.source.run(&accounts.job).await?;
            let manifest = accounts.manifest().await?;
            ensure!(manifest["consistency"] == "snapshot", "{engine}: {manifest}");
            ensure!(manifest["partitioning"]["strategy"] == "none", "{engine}: {manifest}");
        }
        Ok(())
    })
}

#[test]
fn partitions_that_would_share_no_snapshot_are_one() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            let accounts = large(engine, Some("perPartition")).await?;
            is_one(&accounts, &["extract.consistency: perPartition"]).await?;
            ensure!(accounts.manifest().await?["consistency"] == "snapshot", "{engine}");
            let random = if engine == "mysql" { "rand()" } else { "random()" };
            let mut accounts = large(engine, None).await?;
            accounts.job["spec"]["extract"]["where"] = json!(format!("id > 0 or {random} > 2"));
            is_one(&accounts, &["extract.where"]).await?;
            ensure!(accounts.manifest().await?["consistency"] == "perPartition", "{engine}");
        }
        Ok(())
    })
}

/// A user of MariaDB that may read the accounts.
async fn reader(accounts: &Accounts, more: &str) -> Result<String> {
    let database = &accounts.source.database;
    let user = format!("r{}", database.chars().rev().take(20).collect::<String>());
    accounts
        .sql(&format!(
            "create or replace user {user}@'%' identified by 'secret' require ssl {more}; \
             grant select on {database}.* to {user}@'%'"
        ))
        .await?;
    accounts.source.user(&user)?;
    Ok(user)
}

#[test]
fn user_of_mariadb_without_rights_on_the_binary_log_has_one_partition() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        for asked in [None, Some("snapshot")] {
            let accounts = large("mysql", asked).await?;
            let user = reader(&accounts, "").await?;
            is_one(&accounts, &["may not read", "GRANT BINLOG MONITOR"]).await?;
            ensure!(accounts.manifest().await?["consistency"] == "snapshot", "{asked:?}");
            accounts.sql(&format!("grant binlog monitor on *.* to {user}@'%'")).await?;
            let plan = planned(&accounts).await?;
            ensure!(partitions(&plan) == 3 && warnings(&plan).is_empty(), "{plan}");
        }
        Ok(())
    })
}

#[test]
fn user_of_mariadb_with_too_few_connections_has_one_partition() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let mut accounts = large("mysql", None).await?;
        accounts.job["spec"]["worker"]["parallelism"] = json!(3);
        let user = reader(&accounts, "with max_user_connections 3").await?;
        accounts.sql(&format!("grant binlog monitor on *.* to {user}@'%'")).await?;
        is_one(&accounts, &["MAX_USER_CONNECTIONS"]).await?;
        // a manifest that requests partitions gets the missing privilege in the message
        accounts.job["spec"]["extract"]["consistency"] = json!("snapshot");
        accounts.job["spec"]["extract"]["partition"] = json!({ "strategy": "auto" });
        let output = accounts.source.try_run(&accounts.job).await?;
        ensure!(output.code == Some(75), "exit {:?}: {}", output.code, output.stderr);
        Ok(())
    })
}

#[test]
fn table_altered_while_sessions_are_prepared_is_planned_again() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let accounts = large("mysql", None).await?;
        let mut run = accounts.source.start(accounts.command()?, Some("after-snapshot"))?;
        run.paused().await?;
        accounts.sql("alter table accounts modify balance int not null").await?;
        run.go_on()?;
        let output = run.ended(RUN).await?;
        // the next attempt plans the new type; this one does not read one partition instead
        ensure!(output.code == Some(75), "exit {:?}: {}", output.code, output.stderr);
        Ok(())
    })
}

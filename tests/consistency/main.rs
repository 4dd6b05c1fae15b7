//! `extract.consistency`: whether all partitions are from one consistent snapshot, which is reported, and refused where it
//! cannot be proved.

mod absent;
mod altered;
mod computed;
mod databases;
mod lock;
mod refused;
mod relations;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Output, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(2);
/// Rows of [`Accounts`], 100 in each.
const ROWS: i64 = 9000;
/// What all accounts have together.
const SUM: i64 = ROWS * 100;
/// Moves 40 from the first account to the last: partitions of two snapshots have it twice, or not at all.
const TRANSFER: &str = "begin; update accounts set balance = balance - 40 where id = 1; \
    update accounts set balance = balance + 40 where id = 9000; commit";

/// Accounts among which money is moved.
struct Accounts {
    env: &'static TestEnv,
    source: SourceFixture,
    job: Value,
}

impl Accounts {
    async fn new(engine: &str, consistency: Option<&str>, parallelism: u32) -> Result<Self> {
        let env = TestEnv::shared()?;
        let (source, rows) = match engine {
            "mysql" => (SourceFixture::mariadb(env, "accounts").await?, "seq_1_to_9000"),
            _ => (SourceFixture::new(env, "accounts").await?, "generate_series(1, 9000) seq"),
        };
        let table = "create table accounts (id int primary key, balance bigint not null)";
        let fill = format!("{table}; insert into accounts select seq, 100 from {rows}");
        let mut job = source.job("accounts", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        job["spec"]["worker"] = json!({ "parallelism": parallelism });
        if let Some(consistency) = consistency {
            job["spec"]["extract"]["consistency"] = json!(consistency);
        }
        let accounts = Self { env, source, job };
        accounts.sql(&fill).await?;
        Ok(accounts)
    }

    async fn sql(&self, sql: &str) -> Result<String> {
        match self.source.engine {
            "mysql" => self.env.mariadb(&self.source.database, sql).await,
            _ => self.env.psql(&self.source.database, sql).await,
        }
    }

    fn command(&self) -> Result<tokio::process::Command> {
        let mut command = self.source.command("run", &self.job)?;
        command
            .env("TIDEMARK_LEASE_SECONDS", "3")
            .env("TIDEMARK_RENEW_SECONDS", "1")
            .env("TIDEMARK_RETRY_MS", "10");
        Ok(command)
    }

    /// Rows and sum that are published.
    async fn published(&self) -> Result<(i64, i64)> {
        let sql = "select count(*) n, sum(balance)::bigint s from t";
        let read = self.env.read_parquet(&self.source.bucket, "accounts", sql).await?;
        let number = |name: &str| read[0][name].as_i64().context("number");
        Ok((number("n")?, number("s")?))
    }

    async fn manifest(&self) -> Result<Value> {
        let read = async |key: &str| -> Result<Value> {
            Ok(serde_json::from_slice(&self.env.object(&self.source.bucket, key).await?)?)
        };
        let pointer = read("accounts/_tidemark/current.json").await?;
        read(pointer["manifest"].as_str().context("manifest")?).await
    }
}

fn in_env(test: impl Future<Output = Result<()>>) -> Result<()> {
    TestEnv::shared()?.run(test)
}

/// One partition after another is read, and money is moved once the first is.
async fn moved_amid(accounts: &Accounts, transfer: &str) -> Result<Output> {
    let mut run = accounts.source.start(accounts.command()?, Some("partition-start"))?;
    run.paused().await?;
    run.go_on()?;
    run.paused().await?;
    accounts.sql(transfer).await?;
    run.go_on()?;
    run.paused().await?;
    run.go_on()?;
    run.ended(RUN).await
}

#[test]
fn partitions_of_a_consistent_snapshot_agree_and_others_are_reported_as_per_partition() -> Result<()>
{
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        for (engine, asked, had) in [
            ("mysql", Some("snapshot"), "snapshot"),
            ("mysql", None, "perPartition"),
            ("postgres", None, "snapshot"),
            ("postgres", Some("snapshot"), "snapshot"),
            ("postgres", Some("perPartition"), "perPartition"),
        ] {
            let accounts = Accounts::new(engine, asked, 1).await?;
            let output = moved_amid(&accounts, TRANSFER).await?;
            ensure!(output.code == Some(0), "{engine} {asked:?}: {}", output.stderr);
            let (rows, sum) = accounts.published().await?;
            ensure!(rows == ROWS, "{engine} {asked:?}: {rows}");
            ensure!((sum == SUM) == (had == "snapshot"), "{engine} {asked:?}: {sum}");
            let manifest = accounts.manifest().await?;
            ensure!(manifest["consistency"] == had, "{engine} {asked:?}: {manifest}");
            ensure!(manifest["snapshot"].is_string() == (had == "snapshot"), "{manifest}");
        }
        Ok(())
    })
}

#[test]
fn sessions_of_mariadb_begin_together_while_commits_keep_coming() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let mut accounts = Accounts::new("mysql", Some("snapshot"), 4).await?;
        accounts.job["spec"]["extract"]["partition"]["count"] = json!(9);
        // in the server itself, so that nothing slows it down; it ends with the table
        let writer = "create procedure stir() begin
            declare a int; declare b int;
            declare exit handler for sqlexception rollback;
            while (select count(*) from go) > 0 do
              set a = 1 + floor(rand() * 9000), b = 1 + floor(rand() * 9000);
              start transaction;
              update accounts set balance = balance - 1 where id = least(a, b);
              update accounts set balance = balance + 1 where id = greatest(a, b);
              commit;
            end while; end";
        accounts.sql("create table go (id int); insert into go values (1)").await?;
        accounts.sql(&format!("delimiter //\n{writer} //\n")).await?;
        let stirring =
            async { tokio::join!(accounts.sql("call stir()"), accounts.sql("call stir()")) };
        let runs = async {
            let count = "select count(*) from accounts where balance != 100";
            wait_until("commits", RUN, async || {
                let moved: i64 = accounts.sql(count).await?.parse()?;
                ensure!(moved > 1000, "{moved} accounts");
                Ok(())
            })
            .await?;
            for _ in 0..3 {
                let output = accounts.source.try_run(&accounts.job).await?;
                ensure!(output.code == Some(0), "{}", output.stderr);
                let (rows, sum) = accounts.published().await?;
                ensure!((rows, sum) == (ROWS, SUM), "{rows} rows, {sum}");
                ensure!(accounts.manifest().await?["partitions"] == 9, "partitions");
            }
            anyhow::Ok(())
        };
        let running = async {
            let ran = runs.await;
            accounts.sql("delete from go").await?;
            ran
        };
        let ((one, other), ran) = tokio::join!(stirring, running);
        ran?;
        one.and(other).context("stir").map(|_| ())
    })
}

#[test]
fn t59_a_partition_of_mysql_that_breaks_off_ends_the_run_and_the_next_reads_all_again() -> Result<()>
{
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let accounts = Accounts::new("mysql", Some("snapshot"), 2).await?;
        let mut run = accounts.source.start(accounts.command()?, Some("partition-start"))?;
        run.paused().await?;
        let sessions = format!(
            "select id from information_schema.processlist where db = '{}' and id != connection_id()",
            accounts.source.database
        );
        let all = accounts.sql(&sessions).await?;
        ensure!(all.lines().count() == 2, "{all:?} are not the two readers");
        accounts.sql(&format!("kill {}", all.lines().next().context("a session")?)).await?;
        accounts.sql(TRANSFER).await?;
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(75), "exit {:?}: {}", output.code, output.stderr);
        ensure!(output.stderr.contains("the whole run restarts"), "{}", output.stderr);
        let item = accounts.source.run_item("accounts").await?.context("run item")?;
        ensure!(item["state"] == "failed" && item["partitions"] == 1, "{item}");
        ensure!(accounts.source.open_uploads().await? == 0, "an upload is open");
        accounts.source.run(&accounts.job).await?;
        ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
        let next = accounts.source.run_item("accounts").await?.context("run item")?;
        ensure!(next["run"] != item["run"], "the run went on");
        accounts.source.verify(&accounts.job).await.map(|_| ())
    })
}

#[test]
fn no_snapshot_session_is_needed_where_partitions_are_read_separately() -> Result<()> {
    in_env(async {
        let accounts = Accounts::new("postgres", Some("perPartition"), 1).await?;
        let mut run = accounts.source.start(accounts.command()?, Some("ready"))?;
        run.paused().await?;
        let sessions = "select count(*) from pg_stat_activity where datname = current_database() \
            and application_name like 'tidemark/%'";
        ensure!(accounts.sql(sessions).await? == "0", "a session is held");
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
        Ok(())
    })
}

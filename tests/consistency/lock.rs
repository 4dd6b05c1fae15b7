//! `extract.consistencyLock: brief`: sessions of MySQL start one snapshot while the table is locked.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Output, Server, SourceFixture, SupportedRelease, TestEnv, Wire, wait_until};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::{ROWS, RUN, SUM, in_env};

/// Moves money between random accounts until the table `go` is empty; outside the binary log, whose writes to
/// the disk would make commits rare.
const STIR: &str = "create procedure stir() begin
    declare a int; declare b int;
    declare exit handler for sqlexception rollback;
    set sql_log_bin = 0;
    while (select count(*) from go) > 0 do
      set a = 1 + floor(rand() * 9000), b = 1 + floor(rand() * 9000);
      start transaction;
      update accounts set balance = balance - 1 where id = least(a, b);
      update accounts set balance = balance + 1 where id = greatest(a, b);
      commit;
    end while; end";
/// Longest time for which the lock of a process that is gone stays, and some time for a busy machine.
const LOCK_ENDS: Duration = Duration::from_secs(40);

/// A prepared transaction without a session ends runs on every table of its server, and tests share the servers.
static WITHOUT_PREPARED: RwLock<()> = RwLock::const_new(());

/// Accounts in a server of MySQL, and a job that reads them in several partitions of one snapshot.
struct Locked {
    server: Server,
    source: SourceFixture,
    job: Value,
}

impl Locked {
    async fn new(release: Mysql) -> Result<Self> {
        let server = Server::start(TestEnv::shared()?, SupportedRelease::Mysql(release))?;
        let source = server.source("locked").await?;
        let mut job = server.job(&source, "accounts", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 5 });
        job["spec"]["extract"]["consistency"] = json!("snapshot");
        job["spec"]["extract"]["consistencyLock"] = json!("brief");
        job["spec"]["worker"] = json!({ "parallelism": 4 });
        let locked = Self { server, source, job };
        locked
            .sql(
                "create table accounts (id int primary key, balance bigint not null);
                 insert into accounts with recursive n (id) as \
                 (select 1 union all select id + 1 from n where id < 9000) select id, 100 from n",
            )
            .await?;
        Ok(locked)
    }

    async fn sql(&self, sql: &str) -> Result<String> {
        self.server.sql(&self.source.database, sql).await
    }

    async fn run(&self) -> Result<Output> {
        let _shared = WITHOUT_PREPARED.read().await;
        self.source.try_run(&self.job).await
    }

    /// Publishes all rows of one snapshot, and reports it so.
    async fn publishes(&self) -> Result<()> {
        let output = self.run().await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let sql = "select count(*)::bigint n, sum(balance)::bigint s from t";
        let read = self.source.env.read_parquet(&self.source.bucket, "accounts", sql).await?;
        ensure!(read[0]["n"] == ROWS && read[0]["s"] == SUM, "{read:?}");
        let pointer = self.object("accounts/_tidemark/current.json").await?;
        let manifest = self.object(pointer["manifest"].as_str().context("manifest")?).await?;
        ensure!(manifest["consistency"] == "snapshot" && manifest["partitions"] != 1, "{manifest}");
        ensure!(manifest["tableLockMilliseconds"].is_u64(), "{manifest}");
        // a time such as 2026-01-31 12:00:00.000000
        ensure!(manifest["snapshot"].as_str().is_some_and(|at| at.len() == 26), "{manifest}");
        Ok(())
    }

    /// Publishes one partition, and warns in these words.
    async fn is_one(&self, words: &[&str]) -> Result<()> {
        let output = self.run().await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        for words in ["the table is read as one partition"].iter().chain(words) {
            ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
        }
        let pointer = self.object("accounts/_tidemark/current.json").await?;
        let manifest = self.object(pointer["manifest"].as_str().context("manifest")?).await?;
        ensure!(manifest["consistency"] == "snapshot" && manifest["partitions"] == 1, "{manifest}");
        ensure!(manifest["tableLockMilliseconds"].is_null(), "{manifest}");
        Ok(())
    }

    async fn object(&self, key: &str) -> Result<Value> {
        let bytes = self.source.env.object(&self.source.bucket, key).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// How a password is set in this release.
    fn identified(&self) -> &'static str {
        match self.server.release {
            SupportedRelease::Mysql(Mysql::Mysql80) => {
                "identified with mysql_native_password by 'secret'"
            }
            _ => "identified by 'secret'",
        }
    }

    /// Fails with these words, and leaves no lock.
    async fn is_refused(&self, code: i32, words: &[&str]) -> Result<()> {
        Self::was_refused(&self.run().await?, code, words)
    }

    fn was_refused(output: &Output, code: i32, words: &[&str]) -> Result<()> {
        ensure!(output.code == Some(code), "exit {:?}: {}", output.code, output.stderr);
        for words in words {
            ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
        }
        Ok(())
    }
}

/// The same on every supported release of MySQL.
fn on_mysql(test: impl AsyncFn(Locked) -> Result<()>) -> Result<()> {
    in_env(async {
        for release in [Mysql::Mysql80, Mysql::Mysql97] {
            test(Locked::new(release).await?).await.with_context(|| release.name())?;
        }
        Ok(())
    })
}

#[test]
fn brief_lock_gives_all_partitions_one_snapshot_while_commits_keep_coming() -> Result<()> {
    on_mysql(async |mut locked| {
        // many sessions: without the lock, some commit comes between the first and the last
        locked.job["spec"]["extract"]["partition"]["count"] = json!(16);
        locked.job["spec"]["worker"]["parallelism"] = json!(16);
        locked.sql("create table go (id int); insert into go values (1)").await?;
        locked.sql(&format!("\ndelimiter //\n{STIR} //\n")).await?;
        let stir = || locked.sql("call stir()");
        let stirring = async { tokio::try_join!(stir(), stir(), stir(), stir()).map(|_| ()) };
        let running = async {
            let moved = "select count(*) > 1000 from accounts where balance != 100";
            let runs = async {
                wait_until("commits", RUN, async || {
                    ensure!(locked.sql(moved).await? == "1", "few commits");
                    Ok(())
                })
                .await?;
                for _ in 0..3 {
                    locked.publishes().await?;
                }
                anyhow::Ok(())
            };
            let ran = runs.await;
            locked.sql("delete from go").await?;
            ran
        };
        let (stirred, ran) = tokio::join!(stirring, running);
        ran?;
        stirred.context("stir")
    })
}

#[test]
fn snapshot_of_mysql_without_a_lock_is_refused_and_the_message_names_the_lock() -> Result<()> {
    on_mysql(async |mut locked| {
        locked.job["spec"]["extract"]["consistencyLock"] = Value::Null;
        locked.is_refused(10, &["SnapshotUnavailable", "extract.consistencyLock: brief"]).await
    })
}

#[test]
fn user_without_the_privilege_gets_the_missing_grant() -> Result<()> {
    on_mysql(async |locked| {
        let user = &locked.source.database;
        let release = locked.identified();
        locked
            .sql(&format!(
                "create user {user}@'%' {release}; grant select on {user}.* to {user}@'%'"
            ))
            .await?;
        locked.source.user(user)?;
        locked.is_refused(10, &["DatabaseDenied", "GRANT SELECT, LOCK TABLES"]).await?;
        locked.sql(&format!("grant lock tables on {user}.* to {user}@'%'")).await?;
        locked.publishes().await
    })
}

#[test]
fn open_writes_of_the_table_are_waited_for_and_then_end_the_attempt() -> Result<()> {
    on_mysql(async |locked| {
        let xa = locked.source.database.clone();
        // a prepared transaction keeps its locks when its session is gone; the server shows only one that has
        // changed rows
        for (added, words) in [(0, "3 tries"), (1, "XA RECOVER")] {
            let write = format!("update accounts set balance = balance + {added} where id = 1");
            let prepare = format!("xa start '{xa}'; {write}; xa end '{xa}'; xa prepare '{xa}'");
            let alone = WITHOUT_PREPARED.write().await;
            locked.sql(&prepare).await?;
            let ended = locked.source.try_run(&locked.job).await;
            locked.sql(&format!("xa rollback '{xa}'")).await?;
            drop(alone);
            Locked::was_refused(&ended?, 75, &["SnapshotUnavailable", words])?;
        }
        locked.publishes().await
    })
}

#[test]
fn open_writes_through_a_foreign_key_are_waited_for() -> Result<()> {
    on_mysql(async |locked| {
        locked
            .sql(
                "create table owners (id int primary key);
                 insert into owners values (1);
                 alter table accounts add owner int not null default 1, add foreign key (owner) \
                 references owners (id) on delete cascade on update cascade",
            )
            .await?;
        let xa = locked.source.database.clone();
        // they change no row, so the server does not show the prepared transaction and only the lock waits for it
        for write in ["delete from owners where id = 9", "update owners set id = 9 where id = 8"] {
            let prepare = format!("xa start '{xa}'; {write}; xa end '{xa}'; xa prepare '{xa}'");
            locked.sql(&prepare).await?;
            let refused = locked.is_refused(75, &["SnapshotUnavailable", "3 tries"]).await;
            locked.sql(&format!("xa rollback '{xa}'")).await?;
            refused.context(write)?;
        }
        locked.publishes().await
    })
}

#[test]
fn table_partitions_are_locked_and_other_engines_and_views_are_refused() -> Result<()> {
    on_mysql(async |locked| {
        locked.sql("alter table accounts partition by hash (id) partitions 3").await?;
        locked.publishes().await?;
        locked.sql("alter table accounts remove partitioning").await?;
        locked.sql("alter table accounts engine = MyISAM").await?;
        locked.is_refused(10, &["SnapshotUnavailable", "storage engine MyISAM"]).await?;
        locked
            .sql("rename table accounts to below; create view accounts as select * from below")
            .await?;
        locked.is_refused(10, &["SnapshotUnavailable", "a view does not show"]).await
    })
}

#[test]
fn lock_of_a_coordinator_that_falls_silent_ends_by_itself() -> Result<()> {
    in_env(async {
        // what this server is asked can be read, since it has no TLS
        let mut locked = Locked::new(Mysql::Mysql80).await?;
        let wire = Wire::to(locked.server.port).await?;
        locked.job["spec"]["source"]["host"] = json!("127.0.0.1");
        locked.job["spec"]["source"]["port"] = json!(wire.port());
        wire.stall_before("UTC_TIMESTAMP(6)");
        let update = async {
            let locks = "select count(*) from performance_schema.metadata_locks \
                where lock_type = 'SHARED_READ_ONLY' and lock_status = 'GRANTED' and object_schema = database()";
            wait_until("the lock", RUN, async || {
                ensure!(locked.sql(locks).await? == "1", "no lock");
                Ok(())
            })
            .await?;
            let seconds = LOCK_ENDS.as_secs();
            locked
                .sql(&format!(
                    "set lock_wait_timeout = {seconds}; update accounts set balance = 100 where id = 1"
                ))
                .await
        };
        let (output, update) = tokio::join!(locked.run(), update);
        let output = output?;
        ensure!(output.code == Some(75), "exit {:?}: {}", output.code, output.stderr);
        update.context("a write after the coordinator is gone")?;
        locked.publishes().await
    })
}

#[test]
fn mysql_table_without_partition_is_several_partitions_with_the_lock_and_one_without() -> Result<()>
{
    on_mysql(async |mut locked| {
        locked.job["spec"]["extract"]["partition"] = Value::Null;
        locked
            .sql(
                "alter table accounts stats_persistent = 1, stats_auto_recalc = 0; analyze table accounts; \
                 update mysql.innodb_table_stats set n_rows = 12500000 \
                 where database_name = database() and table_name = 'accounts'; flush tables",
            )
            .await?;
        locked.publishes().await?;
        let lock = locked.job["spec"]["extract"]["consistencyLock"].take();
        locked.is_one(&["MySQL does not"]).await?;
        locked.job["spec"]["extract"]["consistency"] = Value::Null;
        locked.is_one(&["MySQL does not"]).await?;
        // a user who may not lock the table
        locked.job["spec"]["extract"]["consistency"] = json!("snapshot");
        locked.job["spec"]["extract"]["consistencyLock"] = lock;
        let user = &locked.source.database;
        locked
            .sql(&format!(
                "create user {user}@'%' {}; grant select on {user}.* to {user}@'%'",
                locked.identified()
            ))
            .await?;
        locked.source.user(user)?;
        locked.is_one(&["GRANT SELECT, LOCK TABLES"]).await
    })
}

#[test]
fn mariadb_is_never_locked() -> Result<()> {
    in_env(async {
        let mut accounts = crate::Accounts::new("mysql", Some("snapshot"), 2).await?;
        if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
            return Ok(());
        }
        accounts.job["spec"]["extract"]["consistencyLock"] = json!("brief");
        accounts.source.run(&accounts.job).await?;
        let manifest = accounts.manifest().await?;
        ensure!(manifest["tableLockMilliseconds"].is_null(), "{manifest}");
        ensure!(manifest["snapshot"].as_str().is_some_and(|at| at.contains(':')), "{manifest}");
        Ok(())
    })
}

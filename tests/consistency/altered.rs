//! Tables that are changed between the plan and a partition.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Session, wait_until};

use crate::{Accounts, ROWS, RUN, SUM, in_env};

/// How long a step may take on a busy machine.
const STEP: Duration = Duration::from_secs(30);

#[test]
fn a_table_refilled_while_a_partition_waits_is_not_read_as_empty() -> Result<()> {
    in_env(async {
        let accounts = Accounts::new("postgres", Some("perPartition"), 1).await?;
        let mut run = accounts.source.start(accounts.command()?, Some("ready"))?;
        run.paused().await?;
        let mut filler = Session::open(accounts.env, &accounts.source.database)?;
        filler
            .say(
                "begin; create temp table kept as select * from accounts; truncate accounts; \
                 insert into accounts select * from kept;",
            )
            .await?;
        run.go_on()?;
        wait_until("the range to wait", STEP, async || {
            let waits = "select count(*) from pg_locks where not granted and \
                relation = 'accounts'::regclass";
            ensure!(accounts.sql(waits).await? == "1", "not yet");
            Ok(())
        })
        .await?;
        // its snapshot is older than the rows by now, and would show none
        filler.say("commit;").await?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
        Ok(())
    })
}

/// The catalog of a snapshot that is older than the change still has the old type, and these changes rewrite no table.
#[test]
fn column_type_changed_while_a_partition_waits_for_the_table_is_detected() -> Result<()> {
    in_env(async {
        for change in [
            "drop column balance; alter table accounts add column balance float8 not null default 0",
            "drop column balance; alter table accounts add column balance date default current_date",
        ] {
            let accounts = Accounts::new("postgres", Some("perPartition"), 1).await?;
            let mut run = accounts.source.start(accounts.command()?, Some("ready"))?;
            run.paused().await?;
            let mut session = Session::open(accounts.env, &accounts.source.database)?;
            session.say(&format!("begin; alter table accounts {change};")).await?;
            run.go_on()?;
            wait_until("the partition to wait", STEP, async || {
                let waits = "select count(*) from pg_locks where not granted and \
                    relation = 'accounts'::regclass";
                ensure!(accounts.sql(waits).await? == "1", "not yet");
                Ok(())
            })
            .await?;
            session.say("commit;").await?;
            let output = run.ended(RUN).await?;
            ensure!(output.code == Some(75), "{change}: {:?} {}", output.code, output.stderr);
            ensure!(output.stderr.contains("altered after planning"), "{}", output.stderr);
        }
        Ok(())
    })
}

#[test]
fn column_type_changed_after_the_plan_is_detected() -> Result<()> {
    in_env(async {
        for change in [
            "alter table accounts alter column balance type double precision",
            "begin; alter table accounts drop column balance; \
             alter table accounts add column balance float8 not null default 0; commit",
        ] {
            let accounts = Accounts::new("postgres", Some("perPartition"), 1).await?;
            let mut run = accounts.source.start(accounts.command()?, Some("partition-start"))?;
            run.paused().await?;
            run.go_on()?;
            run.paused().await?;
            // nobody holds the table between two partitions; the one that has begun does
            let waiting = accounts.sql(change);
            let going = async {
                wait_until("the change to wait", STEP, async || {
                    let waits = "select count(*) from pg_locks where not granted and \
                        relation = 'accounts'::regclass";
                    ensure!(accounts.sql(waits).await? == "1", "not yet");
                    Ok(())
                })
                .await?;
                run.go_on()?;
                run.ended(RUN).await
            };
            let (changed, output) = tokio::join!(waiting, going);
            changed?;
            let output = output?;
            ensure!(output.code == Some(75), "{change}: {:?} {}", output.code, output.stderr);
            ensure!(output.stderr.contains("altered after planning"), "{}", output.stderr);
        }
        Ok(())
    })
}

#[test]
fn a_table_replaced_during_a_consistent_snapshot_is_detected() -> Result<()> {
    if Mysql::of_env().lacks("a snapshot whose point in the binary log is known") {
        return Ok(());
    }
    in_env(async {
        let accounts = Accounts::new("mysql", Some("snapshot"), 2).await?;
        accounts.sql("create table copied as select * from accounts where id < 10").await?;
        let mut run = accounts.source.start(accounts.command()?, Some("ready"))?;
        run.paused().await?;
        let swap = "set lock_wait_timeout = 1; rename table accounts to gone, copied to accounts";
        let refused = accounts.sql(swap).await.err().context("it was swapped during the run")?;
        ensure!(format!("{refused:#}").contains("Lock wait timeout"), "{refused:#}");
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(accounts.published().await? == (ROWS, SUM), "{:?}", accounts.published().await?);
        accounts.sql(swap).await.map(|_| ())
    })
}

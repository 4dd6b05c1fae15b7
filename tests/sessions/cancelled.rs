//! A statement ends with the process that sent it, however that ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    Calls, Fault, Gate, Process, Proxy, Session, SourceFixture, Speaks, TestEnv, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::goodbye::{all_left, lines};
use crate::{GONE, RUN, in_env, no_sessions, sessions, short};

/// Seconds that a statement takes once the test wants it to.
const LONG: u32 = 120;
/// How soon a process ends that is asked to.
const SOON: Duration = Duration::from_secs(25);
/// How soon a statement ends whose client was killed.
const KILLED: Duration = Duration::from_secs(10);

/// A table whose statements take long while the test holds a lock.
struct Slow {
    source: SourceFixture,
    job: Value,
    held: Option<Session>,
}

impl Slow {
    async fn new(engine: &str) -> Result<Self> {
        Self::above(engine, 0, 1).await
    }

    /// Rows up to `id` still arrive at once.
    async fn above(engine: &str, id: u32, partitions: u32) -> Result<Self> {
        let env = TestEnv::shared()?;
        let source = if engine == "mysql" {
            env.mariadb("mysql", "set global log_warnings = 4").await?;
            let source = SourceFixture::mariadb(env, "slow").await?;
            let sql = format!(
                "create table t (id int primary key, v text); \
                 insert into t select seq, 'x' from seq_1_to_100; \
                 create table switch (slow int); insert into switch values (0); \
                 create function waits(id int) returns int reads sql data return \
                    if(id <= {id} or (select max(slow) from switch) = 0, 1, \
                        (select count(*) from seq_1_to_20000000000 where seq % (id + 7) = 3)); \
                 create view slow as select id, v from t where waits(id) > 0"
            );
            env.mariadb(&source.database, &sql).await?;
            source
        } else {
            let source = SourceFixture::new(env, "slow").await?;
            let sql = format!(
                "create table t (id int primary key, v text); \
                 insert into t select i, 'x' from generate_series(1, 100) i; \
                 create function waits(id int) returns boolean language plpgsql volatile as $$ begin \
                    if id > {id} and exists (select from pg_locks l join pg_database d \
                            on d.oid = l.database and d.datname = current_database() \
                            where l.locktype = 'advisory' and l.objid = 42) then \
                        perform pg_sleep({LONG}); \
                    end if; \
                    return true; end $$; \
                 create view slow as select id, v from t where waits(id)"
            );
            env.psql(&source.database, &sql).await?;
            source
        };
        let mut job = source.job(if engine == "mysql" { "slow" } else { "public.slow" }, "FE");
        let partition = json!({ "column": "id", "count": partitions, "strategy": "range",
            "lowerBound": "1", "upperBound": "100" });
        job["spec"]["extract"]["partition"] = partition;
        Ok(Self { source, job, held: None })
    }

    /// From now on statements take long.
    async fn slow_down(&mut self) -> Result<()> {
        let (env, database) = (self.source.env, &self.source.database);
        if self.source.engine == "mysql" {
            env.mariadb(database, "update switch set slow = 1").await?;
            return Ok(());
        }
        let mut session = Session::open(env, database)?;
        session.say("do $$ begin perform pg_advisory_lock(42); end $$;").await?;
        self.held = Some(session);
        Ok(())
    }

    fn start(&self, point: Option<&str>) -> Result<Process> {
        let mut command = self.source.command("run", &self.job)?;
        short(&mut command);
        self.source.start(command, point)
    }

    /// A process whose statement takes long, in the phase that begins after the point.
    async fn stands(&mut self, point: &str) -> Result<Process> {
        let mut run = self.start(Some(point))?;
        run.paused().await?;
        self.slow_down().await?;
        run.go_on()?;
        let (source, state) = (&self.source, self.state());
        wait_until("the statement", RUN, async || {
            let found = sessions(source).await?;
            // a short statement before it is active too
            let slow = source.engine == "mysql" || found.contains("|PgSleep");
            ensure!(slow && found.contains(state), "{found}; {}", run.log()?);
            Ok(())
        })
        .await?;
        Ok(run)
    }

    fn state(&self) -> &'static str {
        if self.source.engine == "mysql" { "at work" } else { "|active|" }
    }
}

/// Where planning and reading begin. The statement of planning that follows `after-guard` checks for a row.
const PHASES: [&str; 2] = ["after-guard", "partition-start"];

/// The server ended the statement because it was asked to, and not because its client was gone.
fn was_cancelled(source: &SourceFixture) -> Result<()> {
    let asked = ["canceling statement due to user request"];
    let found = lines(source.env, "postgres", &source.database, &asked)?;
    ensure!(found.len() == 1, "cancelled: {found:#?}");
    Ok(())
}

/// A process that is asked to stop ends soon, and its statement with it.
async fn is_cancelled(engine: &str) -> Result<()> {
    for point in PHASES {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut slow = Slow::new(engine).await?;
            let mut run = slow.stands(point).await?;
            run.signal(signal)?;
            let output = run.ended(SOON).await.with_context(|| format!("{engine} {point}"))?;
            ensure!(output.code == Some(143), "{engine} {point}: {output:?}");
            no_sessions(&slow.source, GONE)
                .await
                .with_context(|| format!("{engine}, {point}, {signal}: {}", output.stderr))?;
            all_left(&slow.source).await.with_context(|| format!("{engine}, {point}"))?;
            if engine == "postgres" {
                was_cancelled(&slow.source)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_statement_of_a_stopped_run_is_cancelled_on_postgres() -> Result<()> {
    in_env(is_cancelled("postgres"))
}

#[test]
fn the_statement_of_a_stopped_run_is_cancelled_on_mariadb() -> Result<()> {
    in_env(is_cancelled("mysql"))
}

#[test]
fn the_statement_of_a_stopped_dry_run_is_cancelled() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            let mut slow = Slow::new(engine).await?;
            slow.slow_down().await?;
            let mut plan = slow.source.start(slow.source.command("plan", &slow.job)?, None)?;
            let (source, state) = (&slow.source, slow.state());
            wait_until("the statement", RUN, async || {
                let found = sessions(source).await?;
                ensure!(found.contains(state), "{found}; {}", plan.log()?);
                Ok(())
            })
            .await?;
            plan.signal(Signal::SIGTERM)?;
            let output = plan.ended(SOON).await?;
            ensure!(output.code == Some(143), "{engine}: {output:?}");
            no_sessions(source, GONE).await?;
        }
        Ok(())
    })
}

#[test]
fn the_statements_of_the_other_partitions_are_cancelled_once_one_fails() -> Result<()> {
    in_env(async {
        for engine in ["postgres", "mysql"] {
            let mut slow = Slow::above(engine, 50, 2).await?;
            let (s3, gate) = (Proxy::start(Speaks::S3).await?, Gate::shut());
            slow.job["spec"]["output"]["endpoint"] = json!(s3.url());
            let held = Fault::Hold(gate.clone());
            s3.on_some("CreateMultipartUpload", "/part-00000-", Calls::Nth(1), held);
            let denied = Fault::Answer(403, "AccessDenied");
            s3.on_some("UploadPart", "/part-00000-", Calls::Every, denied);
            let mut run = slow.stands("ready").await?;
            gate.came(1, RUN).await?;
            gate.open();
            let output = run.ended(SOON).await.context(engine)?;
            ensure!(output.code == Some(10), "{engine}: {output:?}");
            all_left(&slow.source).await.with_context(|| engine.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn the_statement_of_a_killed_run_ends_on_postgres_within_ten_seconds() -> Result<()> {
    in_env(async {
        for point in PHASES {
            let mut slow = Slow::new("postgres").await?;
            let run = slow.stands(point).await?;
            run.die().await?;
            no_sessions(&slow.source, KILLED).await.with_context(|| point.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn a_planning_statement_of_a_killed_run_ends_on_mariadb_by_its_limit() -> Result<()> {
    in_env(async {
        let mut slow = Slow::new("mysql").await?;
        slow.job["spec"]["activeDeadlineSeconds"] = json!(10);
        let run = slow.stands("after-guard").await?;
        run.die().await?;
        no_sessions(&slow.source, KILLED).await
    })
}

#[test]
fn a_slow_planning_statement_on_mariadb_is_named() -> Result<()> {
    in_env(async {
        let mut slow = Slow::new("mysql").await?;
        slow.job["spec"]["activeDeadlineSeconds"] = json!(10);
        let mut run = slow.stands("after-guard").await?;
        let output = run.ended(SOON).await?;
        ensure!(output.code == Some(75), "{output:?}");
        let last = output.stderr.lines().last().context("no last word")?;
        let said: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
        let message = said["fields"]["report"].as_str().unwrap_or_default();
        ensure!(said["fields"]["reason"] == "DatabaseFailed", "{said}");
        ensure!(message.contains("check for rows: the statement took longer"), "{said}");
        ensure!(said["fields"]["remedy"].to_string().contains("activeDeadlineSeconds"), "{said}");
        Ok(())
    })
}

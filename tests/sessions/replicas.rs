//! A name that leads to several servers: what another server says of a session is worth nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Process, SourceFixture, TestEnv, Wire, wait_until};
use serde_json::{Value, json};

use crate::{RUN, in_env, sessions};

/// How soon a session is given up that has fallen silent.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// A table that takes some seconds before its first row, behind a name that leads to the primary.
struct Behind {
    source: SourceFixture,
    wire: Wire,
    standby: u16,
    job: Value,
}

impl Behind {
    async fn new(name: &str, seconds: u32) -> Result<Self> {
        let env = TestEnv::shared()?;
        let standby = env.standby().await?;
        let source = SourceFixture::new(env, name).await?;
        let sql = format!(
            "create table t (id int primary key); insert into t select generate_series(1, 100); \
             create view slow as select t.* from t, pg_sleep({seconds}) where id is not null"
        );
        env.psql(&source.database, &sql).await?;
        let wire = Wire::start().await?;
        let mut job = source.job("public.slow", "FE");
        job["spec"]["source"]["host"] = json!("127.0.0.1");
        job["spec"]["source"]["port"] = json!(wire.port());
        job["spec"]["extract"]["consistency"] = json!("perPartition");
        // the standby must know the database: a session with it is asked for
        wait_until("the standby to catch up", RUN, async || {
            let url = env.postgres_url(&source.database);
            let url =
                url.replace(&format!(":{}/", TestEnv::POSTGRES_PORT), &format!(":{standby}/"));
            let mut command = env.command("psql");
            command.args(["-XAtq", "-d", &url, "-c", "select count(*) from slow limit 0"]);
            let output = env.output(command, "", RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
            Ok(())
        })
        .await?;
        Ok(Self { source, wire, standby, job })
    }

    fn start(&self, point: Option<&str>) -> Result<Process> {
        let mut command = self.source.command("run", &self.job)?;
        command.env("TIDEMARK_SILENCE_SECONDS", "1").env("TIDEMARK_RETRY_MS", "10");
        self.source.start(command, point)
    }

    /// Returns once the reading session is at work.
    async fn reads(&self, run: &Process) -> Result<()> {
        wait_until("the reader", RUN, async || {
            let found = sessions(&self.source).await?;
            ensure!(found.contains("/0|active|"), "{found}; {}", run.log()?);
            Ok(())
        })
        .await
    }
}

#[test]
fn a_session_is_not_lost_because_another_server_does_not_know_it() -> Result<()> {
    in_env(async {
        let behind = Behind::new("elsewhere", 6).await?;
        let mut run = behind.start(Some("partition-start"))?;
        run.paused().await?;
        // from now on the name leads to the standby alone: nobody can ask the primary
        behind.wire.lead(&[behind.standby]);
        let before = behind.wire.connections();
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(behind.wire.connections() > before + 1, "nobody asked the standby");
        ensure!(output.stderr.contains("Elsewhere"), "{}", output.stderr);
        Ok(())
    })
}

#[test]
fn the_server_of_a_session_is_found_among_several_behind_one_name() -> Result<()> {
    in_env(async {
        let behind = Behind::new("among", 6).await?;
        let mut run = behind.start(Some("partition-start"))?;
        run.paused().await?;
        behind.wire.lead(&[TestEnv::POSTGRES_PORT, behind.standby, behind.standby]);
        run.go_on()?;
        let output = run.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        ensure!(output.stderr.contains("Works"), "{}", output.stderr);
        Ok(())
    })
}

#[test]
fn a_session_that_has_fallen_silent_is_given_up_among_several_servers_too() -> Result<()> {
    in_env(async {
        let behind = Behind::new("silent", 3).await?;
        let mut run = behind.start(Some("partition-start"))?;
        run.paused().await?;
        behind.wire.lead(&[TestEnv::POSTGRES_PORT, behind.standby]);
        run.go_on()?;
        behind.reads(&run).await?;
        behind.wire.stall_after(0);
        let output = run.ended(GIVEN_UP).await?;
        ensure!(output.code == Some(75), "{:?}: {}", output.code, output.stderr);
        ensure!(output.stderr.contains("stopped responding"), "{}", output.stderr);
        let left = sessions(&behind.source).await.context("sessions")?;
        ensure!(!left.contains("|active|"), "{left}");
        Ok(())
    })
}

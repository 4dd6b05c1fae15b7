//! The life of database sessions: they end as soon as nothing is read any more, they say goodbye, and
//! no statement outlives the process that sent it. And how many of them one process has at a time.

mod released;
mod goodbye;
mod aligned;
mod cancelled;
mod replicas;
mod readers;

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv, wait_until};

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(1);
/// How soon a server has let a session go that said goodbye, on a busy machine. The run itself stands still
/// meanwhile, or has ended.
const GONE: Duration = Duration::from_secs(20);

fn in_env(test: impl Future<Output = Result<()>>) -> Result<()> {
    TestEnv::shared()?.run(test)
}

/// Durations that a test can wait for.
fn short(command: &mut tokio::process::Command) {
    command
        .env("TIDEMARK_LEASE_SECONDS", "3")
        .env("TIDEMARK_RENEW_SECONDS", "1")
        .env("TIDEMARK_RETRY_MS", "10")
        .env("TIDEMARK_ATTEMPT_SECONDS", "20");
}

/// The sessions that runs of this source have with their database, one a line: name, what it does, statement.
async fn sessions(source: &SourceFixture) -> Result<String> {
    let (env, database) = (source.env, &source.database);
    if source.engine == "mysql" {
        let sql = format!(
            "select id, if(command <> 'Sleep' and time_ms > 1000, 'at work', ''), \
                left(coalesce(info, ''), 60) from information_schema.processlist where db = '{database}' and id <> connection_id()"
        );
        return env.mariadb("mysql", &sql).await;
    }
    let sql = format!(
        "select application_name, state, left(query, 60), coalesce(wait_event, '') from pg_stat_activity \
         where datname = '{database}' and application_name like 'tidemark/%'"
    );
    env.psql("postgres", &sql).await
}

/// Returns once there are none.
async fn no_sessions(source: &SourceFixture, deadline: Duration) -> Result<()> {
    wait_until("the sessions to end", deadline, async || {
        let left = sessions(source).await?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
    .await
}

//! Reads that the server, an administrator or a setting of the user would end, on the primary and on a standby.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

/// How long a run, or the server's part of it, may take on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// A view that is read for longer than any time-out here, and one whose rows COPY waits for.
const SLOW: &str = "create table t (id int primary key); insert into t select generate_series(1, 9); \
    create view slow as select t.id from t, pg_sleep(1.5) where t.id is not null; \
    create function waits() returns int language plpgsql as \
    $$ begin if current_query() like 'COPY%' then perform pg_sleep(50); end if; return 1; end $$; \
    create view held as select t.id from t, public.waits() where t.id is not null;";

/// A full extract of a relation in one partition.
fn job(source: &SourceFixture, relation: &str) -> Value {
    let mut job = source.job(&format!("public.{relation}"), "FE");
    job["spec"]["extract"]["partition"] = json!({ "strategy": "none" });
    job
}

/// The run ended for now, or for good, and its message and remedy have these words.
fn ends(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    ensure!(output.code == Some(code), "exit {:?}: {}", output.code, output.stderr);
    let last = output.stderr.lines().last().context("no last word")?;
    for word in words {
        ensure!(last.contains(word), "{word}: {last}");
    }
    Ok(())
}

/// Since 17.
fn lacks_transaction_timeout(env: &TestEnv) -> Result<bool> {
    env.lacks(17, "transaction_timeout")
}

#[test]
fn read_longer_than_transaction_timeout_of_role_and_database_is_not_ended() -> Result<()> {
    let env = TestEnv::shared()?;
    if lacks_transaction_timeout(env)? {
        return Ok(());
    }
    env.run(async {
        let source = SourceFixture::new(env, "timeout").await?;
        let user = &source.database;
        let sql = format!(
            "{SLOW} create role {user} login password 'secret'; grant pg_read_all_data to {user}; \
             alter role {user} set transaction_timeout = '500ms'; alter database {user} set transaction_timeout = '1s'"
        );
        env.psql(user, &sql).await?;
        source.user(user)?;
        source.password("secret")?;
        let shown = env.psql(user, "show transaction_timeout").await?;
        ensure!(shown.trim() == "1s", "{shown}");
        let said = source.run(&job(&source, "slow")).await?;
        ensure!(said["rows"] == 9, "{said}");
        // several sessions, one of which keeps the snapshot meanwhile; then the watcher and verify
        let mut job = source.job("public.slow", "PE");
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/parts", source.bucket));
        job["spec"]["tracking"]["key"] = json!(format!("{user}.parts"));
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 9, "{said}");
        let mut verify = source.command("verify --recount", &job)?;
        verify.env("TIDEMARK_GRACE_SECONDS", "0");
        let output = env.output(verify, "", DEADLINE).await?;
        ensure!(output.code == Some(0), "{} {}", output.stdout, output.stderr);
        Ok(())
    })
}

#[test]
fn transaction_timeout_that_a_function_sets_is_named_with_its_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    if lacks_transaction_timeout(env)? {
        return Ok(());
    }
    env.run(async {
        let source = SourceFixture::new(env, "limited").await?;
        // planning asks for values of the one view; the other one sets it while COPY reads
        let sql = "create function f(id int, during text) returns int language plpgsql as \
            $$ begin if current_query() not like during then return id; end if; \
            perform set_config('transaction_timeout', '200ms', true); perform pg_sleep(50); return id; end $$; \
            create view planned as select public.f(id, '%') as id from public.t; \
            create view copied as select public.f(id, 'COPY%') as id from public.t";
        env.psql(&source.database, &format!("{SLOW} {sql}")).await?;
        let words = ["DatabaseFailed", "25P04", "something set transaction_timeout", "Find out what sets"];
        let output = source.try_run(&job(&source, "planned")).await?;
        ends(&output, 75, &words).context("planned")?;
        let output = source.try_run(&job(&source, "copied")).await?;
        let words = ["DatabaseUnreachable", "read the rows", "server's log", "transaction_timeout"];
        ends(&output, 75, &words).context("copied")
    })
}

/// Calls a function of the server with the process that runs a statement (`like`) for the extract of a relation.
async fn disturbed(
    source: &SourceFixture,
    (relation, like): (&str, &str),
    function: &str,
) -> Result<Output> {
    let env = source.env;
    let mut run = source.start(source.command("run", &job(source, relation))?, None)?;
    let sql = format!(
        "select {function}(pid) from pg_stat_activity where datname = current_database() \
         and application_name like 'tidemark/%' and state = 'active' and wait_event = 'PgSleep' and query {like}"
    );
    wait_until("the statement", DEADLINE, async || {
        let found = env.psql(&source.database, &sql).await?;
        ensure!(found.trim() == "t", "nobody runs it: {found}");
        Ok(())
    })
    .await?;
    run.ended(DEADLINE).await
}

#[test]
fn statement_or_session_ended_by_an_administrator_is_reported_and_retried() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "ended").await?;
        let sql = "create function f(id int) returns int language plpgsql as \
            $$ begin if current_query() not like 'COPY%' then perform pg_sleep(50); end if; return id; end $$; \
            create view planned as select public.f(id) as id from public.t";
        env.psql(&source.database, &format!("{SLOW} {sql}")).await?;
        let (planned, read) = (("planned", "not like 'COPY %'"), ("held", "like 'COPY %'"));
        for at in [planned, read] {
            let output = disturbed(&source, at, "pg_cancel_backend").await?;
            let words = ["DatabaseFailed", "57014", "due to user request", "what cancels statements"];
            ends(&output, 75, &words).with_context(|| at.0.to_owned())?;
        }
        for at in [planned, read] {
            let output = disturbed(&source, at, "pg_terminate_backend").await?;
            let words = ["DatabaseFailed", "57P01", "by an administrator"];
            ends(&output, 75, &words).with_context(|| at.0.to_owned())?;
        }
        Ok(())
    })
}

/// A source on the standby, once that has all of it.
async fn on_standby(source: &SourceFixture, relation: &str) -> Result<Value> {
    let env = source.env;
    let port = env.standby().await?;
    let position = env.psql(&source.database, "select pg_current_wal_lsn()").await?;
    let url = env.postgres_url(&source.database);
    let url = url.replace(&format!(":{}/", TestEnv::POSTGRES_PORT), &format!(":{port}/"));
    wait_until("the standby to catch up", DEADLINE, async || {
        let mut command = env.command("psql");
        command.args(["-XAtq", "-d", &url]);
        let sql = format!("select pg_last_wal_replay_lsn() >= '{}'", position.trim());
        let there = env.succeed(command, &sql).await?;
        ensure!(there.trim() == "t", "it is behind");
        Ok(())
    })
    .await?;
    let mut job = job(source, relation);
    job["spec"]["source"]["port"] = json!(port);
    Ok(job)
}

#[test]
fn relations_unreadable_on_a_standby_are_refused_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "unreadable").await?;
        let sql = "create table logged (id int primary key); insert into logged values (1); \
            create unlogged table quick (id int primary key); \
            create view of_quick as select id from quick; \
            create view of_wal as select id, pg_current_wal_lsn() as at from logged";
        env.psql(&source.database, sql).await?;
        let unlogged = ["QueryFailed", "0A000", "unlogged", "SET LOGGED"];
        for (relation, words) in [
            ("quick", unlogged),
            ("of_quick", unlogged),
            (
                "of_wal",
                ["QueryFailed", "55000", "does not work on a standby", "Extract from the primary"],
            ),
        ] {
            let output = source.try_run(&on_standby(&source, relation).await?).await?;
            ends(&output, 10, &words).with_context(|| relation.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn read_that_is_in_the_way_of_replay_is_retried_and_names_the_standbys_settings() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "replayed").await?;
        env.psql(&source.database, SLOW).await?;
        let job = on_standby(&source, "held").await?;
        let mut run = source.start(source.command("run", &job)?, Some("partition-start"))?;
        run.paused().await?;
        run.go_on()?;
        env.psql(&source.database, "truncate t").await?;
        let output = run.ended(DEADLINE).await?;
        ends(&output, 75, &["max_standby_streaming_delay"])
    })
}

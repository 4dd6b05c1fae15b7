//! What keeps a window of MariaDB below rows that are not committed yet, and what does not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection};

/// How long a step may take on a busy machine.
const STEP: Duration = Duration::from_secs(30);
/// How long transactions of other tests may lower a window.
const OTHERS: Duration = Duration::from_secs(90);

async fn session(source: &SourceFixture) -> Result<MySqlConnection> {
    let options = MySqlConnectOptions::new()
        .host(TestEnv::IP)
        .port(TestEnv::MARIADB_PORT)
        .username(TestEnv::MARIADB_USER)
        .password(TestEnv::MARIADB_PASSWORD)
        .database(&source.database)
        .ssl_mode(if Mysql::of_env().takes_tls() {
            MySqlSslMode::VerifyIdentity
        } else {
            MySqlSslMode::Disabled
        })
        .ssl_ca(source.env.ca());
    options.connect().await.context("connect")
}

async fn say(session: &mut MySqlConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await.context(sql.to_owned())?;
    Ok(())
}

/// A table of moments, and an incremental job that stays one second behind the clock.
async fn moments(prefix: &str) -> Result<(SourceFixture, Value)> {
    let source = SourceFixture::mariadb(TestEnv::shared()?, prefix).await?;
    let sql = "create table moments (id int primary key, at timestamp(6) not null, key (at)); \
        insert into moments values (1, now(6) - interval 1 day)";
    source.env.mariadb(&source.database, sql).await?;
    let mut job = source.job("moments", "PE");
    job["spec"]["extract"]["watermark"] =
        json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "lagSeconds": 1 });
    Ok((source, job))
}

/// Writes a row and returns once the clock is so far past its moment that the lag alone would take it.
async fn past(source: &SourceFixture, id: u32) -> Result<()> {
    let env = source.env;
    let sql = format!("insert into moments values ({id}, now(6))");
    env.mariadb(&source.database, &sql).await?;
    let sql = format!("select now(6) > at + interval 3 second from moments where id = {id}");
    wait_until("the lag to pass", STEP, async || {
        ensure!(env.mariadb(&source.database, &sql).await? == "1", "not yet");
        Ok(())
    })
    .await
}

/// Runs until so many rows are taken: what other tests write may hold a window back for a while.
async fn takes(source: &SourceFixture, job: &Value, rows: u64) -> Result<()> {
    let mut taken = 0;
    wait_until("the rows", OTHERS, async || {
        let said = source.run(job).await?;
        ensure!(said["window"]["guard"] == "lag", "{said}");
        taken += said["rows"].as_u64().context("rows")?;
        ensure!(taken >= rows, "{taken} of {rows}");
        Ok(())
    })
    .await?;
    ensure!(taken == rows, "{taken}, not {rows}");
    Ok(())
}

async fn planned(source: &SourceFixture, job: &Value) -> Result<String> {
    let output = source.env.output(source.command("plan", job)?, "", STEP).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    Ok(output.stdout)
}

#[test]
fn a_transaction_of_mariadb_older_than_the_lag_lowers_the_window() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (source, job) = moments("held-back").await?;
        let mut writer = session(&source).await?;
        // its stamp is of the statement, and it commits much later than the lag
        say(&mut writer, "begin; insert into moments values (2, now(6))").await?;
        past(&source, 3).await?;
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1 && said["window"]["guard"] == "lag", "{said}");
        let plan = planned(&source, &job).await?;
        ensure!(plan.contains("is older than the lag"), "{plan}");
        say(&mut writer, "commit").await?;
        past(&source, 4).await?;
        takes(&source, &job, 3).await?;

        // one that only reads holds nothing back, in whichever words
        say(&mut writer, "begin; select * from moments; do get_lock('held-back', 30)").await?;
        let mut reader = session(&source).await?;
        let reading = say(&mut reader, "/* app's */ (select get_lock('held-back', 30))");
        let taking = async {
            past(&source, 5).await?;
            takes(&source, &job, 1).await?;
            say(&mut writer, "do release_lock('held-back')").await
        };
        let (read, taken) = tokio::join!(reading, taking);
        read.and(taken)?;

        // a user who may not see it gets the lag alone, and a warning
        let user = &source.database;
        let sql = format!(
            "create user {user}@'%' identified by 'secret' require ssl; grant select on {user}.* to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        say(&mut writer, "commit; begin; insert into moments values (6, now(6))").await?;
        past(&source, 7).await?;
        let plan = planned(&source, &job).await?;
        ensure!(plan.contains("GRANT PROCESS"), "{plan}");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1 && said["window"]["guard"] == "lag", "{said}");
        Ok(())
    })
}

#[test]
fn mysql_does_not_show_what_a_statement_waited_for_so_the_guard_is_never_exact() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (source, job) = moments("waited-for").await?;
        let mut blocker = session(&source).await?;
        let mut writer = session(&source).await?;
        say(&mut blocker, "lock tables moments write").await?;
        let writing = async {
            say(&mut writer, "begin").await?;
            say(&mut writer, "insert into moments values (2, now(6))").await
        };
        let unblocking = async {
            let waits = "select count(*) from information_schema.processlist where time >= 4 and \
                state = 'Waiting for table metadata lock' and db = database()";
            wait_until("the statement to wait", STEP, async || {
                ensure!(env.mariadb(&source.database, waits).await? == "1", "not yet");
                Ok(())
            })
            .await?;
            say(&mut blocker, "unlock tables").await
        };
        let (wrote, unblocked) = tokio::join!(writing, unblocking);
        wrote.and(unblocked)?;
        // stamped when the statement began, four seconds before its transaction
        let sql = "insert into moments select 3, trx_started - interval 2 second \
            from information_schema.innodb_trx where trx_rows_modified > 0 and trx_mysql_thread_id in \
            (select id from information_schema.processlist where db = database())";
        env.mariadb(&source.database, sql).await?;
        takes(&source, &job, 2).await?;
        say(&mut writer, "commit").await?;
        let late = "select count(*) from moments a, moments b where a.id = 2 and b.id = 3 and a.at < b.at";
        ensure!(env.mariadb(&source.database, late).await? == "1", "it was not stamped before");
        Ok(())
    })
}

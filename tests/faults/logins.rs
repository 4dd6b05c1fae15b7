//! Connections that cannot go well: T60. Servers of their own, whose certificates are wrong or which offer no TLS.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Asks, Impostor, Mysql, SourceFixture, TestEnv, tests_dir};
use serde_json::{Value, json};

use crate::{in_env, refused};

/// Starts both servers of that kind.
async fn servers(env: &TestEnv, kind: &str) -> Result<()> {
    let name = env.state.file_name().context("name of the test environment")?;
    let mut command = tokio::process::Command::new(tests_dir().join("env/login_server.sh"));
    let output = command.arg(name).arg(kind).output().await.context("run login_server.sh")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "login_server.sh: {} {words}", output.status);
    Ok(())
}

/// The same job against another server.
pub(crate) fn at(job: &Value, host: &str, port: u16, tls: &str) -> Value {
    let mut job = job.clone();
    job["spec"]["source"]["host"] = json!(host);
    job["spec"]["source"]["port"] = json!(port);
    job["spec"]["source"]["tls"] = json!({ "mode": tls });
    job
}

/// It ends for good, for that reason, and says this; never the password.
pub(crate) async fn ends(
    source: &SourceFixture,
    job: &Value,
    reason: &str,
    words: &str,
) -> Result<()> {
    let output = source.try_run(job).await?;
    refused(&output, 10, reason)?;
    ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
    ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
    Ok(())
}

#[test]
fn t60_a_connection_that_must_fail_is_refused_by_name_and_never_in_plaintext() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let postgres = SourceFixture::new(env, "logins").await?;
        env.psql(&postgres.database, "create table t (id int primary key)").await?;
        let mariadb = SourceFixture::mariadb(env, "logins").await?;
        env.mariadb(&mariadb.database, "create table t (id int primary key)").await?;
        let both = [(&postgres, "public.t", 5434), (&mariadb, "t", 3307)];
        for (source, _, _) in both {
            source.password("canary-4711")?;
        }
        for (kind, mode, words) in [
            ("expired", "verifyFull", "has expired"),
            ("expired", "verifyCa", "has expired"),
            ("stranger", "verifyFull", "source.tls.caRef"),
            ("stranger", "verifyCa", "source.tls.caRef"),
            ("renamed", "verifyFull", "another host name"),
            ("plain", "verifyFull", "does not offer TLS"),
            ("plain", "verifyCa", "does not offer TLS"),
        ] {
            servers(env, kind).await?;
            for (source, table, port) in both {
                let job = at(&source.job(table, "FE"), TestEnv::IP, port, mode);
                let ended = ends(source, &job, "TlsFailed", words).await;
                ended.with_context(|| format!("{kind} {mode} {}", source.engine))?;
            }
        }
        // a server that is asked in plaintext says that it rejects the user; nobody asked it
        let log = std::fs::read_to_string(env.state.join("log/logins-postgres.log"))?;
        ensure!(!log.contains("rejects connection"), "{log}");
        // a certificate for another name is what verifyCa is for: it comes to the password
        servers(env, "renamed").await?;
        for (source, table, port) in both {
            let output = source
                .try_run(&at(&source.job(table, "FE"), TestEnv::IP, port, "verifyCa"))
                .await?;
            ensure!(!output.stderr.contains("TlsFailed"), "{}", output.stderr);
        }
        for (source, table, port) in [
            (&postgres, "public.t", TestEnv::POSTGRES_PORT),
            (&mariadb, "t", TestEnv::MARIADB_PORT),
        ] {
            let without_tls = source.engine == "mysql" && !Mysql::of_env().takes_tls();
            let mode = if without_tls { "insecurePlaintext" } else { "verifyFull" };
            let job = at(&source.job(table, "FE"), TestEnv::IP, port, mode);
            ends(source, &job, "CredentialsRejected", "password").await?;
            source.user("nobody_canary")?;
            ends(source, &job, "CredentialsRejected", "password").await?;
            for (host, port) in [("nowhere.invalid", port), (TestEnv::IP, 1)] {
                let job = at(&source.job(table, "FE"), host, port, "verifyFull");
                let command = source.command("run", &job)?;
                let output = source.start(command, None)?.ended(Duration::from_mins(1)).await?;
                refused(&output, 75, "DatabaseUnreachable")?;
                ensure!(output.stderr.contains("source.host"), "{}", output.stderr);
            }
        }
        Ok(())
    })
}

#[test]
fn t60_a_password_that_has_expired_is_refused_by_name() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, "expired").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); \
             create role {user} login password 'canary-4711' valid until '2020-01-01'; grant select on t to {user}"
        );
        env.psql(&source.database, &sql).await?;
        source.user(user)?;
        source.password("canary-4711")?;
        ends(&source, &source.job("public.t", "FE"), "CredentialsRejected", "password").await?;
        env.psql(&source.database, &format!("alter role {user} valid until 'infinity'")).await?;
        source.run(&source.job("public.t", "FE")).await?;

        let source = SourceFixture::mariadb(env, "expired").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); \
             create user {user}@'%' identified by 'canary-4711' require ssl password expire; \
             grant select on {user}.* to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        source.password("canary-4711")?;
        ends(&source, &source.job("t", "FE"), "CredentialsRejected", "expired").await
    })
}

#[test]
fn t60_a_password_is_never_sent_in_clear_text_to_a_server_of_mysql() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let source = SourceFixture::mariadb(env, "impostor").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t values (1); \
             create user {user}@'%' identified by 'canary-4711'; grant select on {user}.* to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        source.password("canary-4711")?;
        // the session that plans is the driver's, the one that reads our own
        for (asks, clients) in [(Asks::Greeting, 1), (Asks::Answer, 1), (Asks::Later, 2)] {
            let impostor = Impostor::start(env, asks).await?;
            for mode in ["verifyFull", "verifyCa"] {
                let job = at(&source.job("t", "FE"), "127.0.0.1", impostor.port(), mode);
                ends(&source, &job, "CredentialsRejected", "mysql_clear_password").await?;
            }
            let (came, shown) = impostor.heard();
            ensure!(shown.is_empty(), "{asks:?}: {shown:?}");
            ensure!(came >= clients, "{asks:?}: {came} clients");
        }
        Ok(())
    })
}

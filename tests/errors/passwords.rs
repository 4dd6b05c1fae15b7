//! Passwords and names of users: what psql and the mariadb client log in with, Tidemark does too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use tokio::process::Command;

/// How long a client may take on a busy machine.
const CLIENT: Duration = Duration::from_mins(1);

/// Passwords as they are stored and as they are given.
fn passwords() -> Vec<(String, String)> {
    let same = [
        "plain",
        "caf\u{e9}",
        "stra\u{df}e \u{416}\u{4e2d}\u{6587}",
        // not taken by SASLprep: unassigned in its time, private, control, mixed directions
        "\u{1f600}\u{1f511}",
        "a\u{e000}b",
        "a\tb",
        "caf\u{e9}\u{7}",
        "\u{627}1",
        // nothing is left of it
        "\u{ad}",
        "it's \"quoted\"",
        "back\\slash%20",
        "user:pass@host/db?x=y&z#",
        " blanks around ",
        "$(id)`id`;",
    ];
    let mut all: Vec<(String, String)> =
        same.iter().map(|text| ((*text).to_owned(), (*text).to_owned())).collect();
    all.push(("x".repeat(1000), "x".repeat(1000)));
    all.push(("\u{e9}".repeat(500), "\u{e9}".repeat(500)));
    // the same for SASLprep, other bytes
    for (stored, given) in [
        ("caf\u{e9}", "cafe\u{301}"),
        ("cafe\u{301}", "caf\u{e9}"),
        ("a b", "a\u{a0}b"),
        ("a\u{a0}b", "a b"),
        ("ab", "a\u{ad}b"),
        ("IX", "\u{2168}"),
        // others are refused
        ("plain", "other"),
        ("plain", ""),
        ("\u{1f600}", "\u{1f601}"),
    ] {
        all.push((stored.to_owned(), given.to_owned()));
    }
    all
}

/// Whether Tidemark can connect; a refusal is about the password and never shows it.
pub(crate) async fn logs_in(source: &SourceFixture, command: Command, given: &str) -> Result<bool> {
    let output = source.env.output(command, "", CLIENT).await?;
    if output.code == Some(0) {
        return Ok(true);
    }
    ensure!(output.stderr.contains("CredentialsRejected"), "{}", output.stderr);
    let shown = given.len() > 3 && output.stderr.contains(given);
    ensure!(!shown, "the password is shown: {}", output.stderr);
    Ok(false)
}

/// Whether a client can connect.
pub(crate) async fn client(env: &TestEnv, command: Command) -> Result<(bool, String)> {
    let output = env.output(command, "", CLIENT).await?;
    Ok((output.code == Some(0), output.stderr))
}

pub(crate) fn psql(env: &TestEnv, connection: &str, user: &str, password: &str) -> Command {
    let mut command = env.command("psql");
    command
        .args(["-w", "-X", "-Atc", "select 1", "-U", user, "-d", connection])
        .env("PGPASSWORD", password);
    command
}

#[test]
fn postgres_accepts_the_passwords_and_users_that_psql_accepts() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "passwords").await?;
        let db = &source.database;
        env.psql(db, "create table t (id int primary key); grant select on t to public").await?;
        let connection = format!(
            "host={} port={} dbname={db} sslmode=verify-full sslrootcert={}",
            TestEnv::IP,
            TestEnv::POSTGRES_PORT,
            env.ca().display()
        );
        let users = [format!("{db}_\u{1f600}"), format!("{db},x=y"), format!("{db} \u{e9}")];
        let named = users.map(|user| (user, ("secret".to_owned(), "secret".to_owned())));
        let numbered =
            passwords().into_iter().enumerate().map(|(n, pair)| (format!("{db}_{n}"), pair));
        let mut taken = 0;
        for (user, (stored, given)) in named.into_iter().chain(numbered) {
            let literal = stored.replace('\'', "''");
            env.psql(db, &format!("create role \"{user}\" login password '{literal}'")).await?;
            source.user(&user)?;
            source.password(&given)?;
            let command = source.command("plan", &source.job("public.t", "FE"))?;
            let ours = logs_in(&source, command, &given)
                .await
                .with_context(|| format!("{user:?} {given:?}"))?;
            let (theirs, said) = client(env, psql(env, &connection, &user, &given)).await?;
            ensure!(ours == theirs, "{user:?} {given:?}: psql {theirs} ({said}), tidemark {ours}");
            taken += usize::from(ours);
        }
        ensure!(taken >= 25, "only {taken} were taken by both");
        Ok(())
    })
}

#[test]
fn mariadb_accepts_the_passwords_that_its_client_accepts() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "passwords").await?;
        let db = &source.database;
        env.mariadb(db, "create table t (id int primary key)").await?;
        let mut taken = 0;
        let empty = (String::new(), String::new());
        for (number, (stored, given)) in passwords().into_iter().chain([empty]).enumerate() {
            let user = format!("{db}_{number}");
            let literal = stored.replace('\\', "\\\\").replace('\'', "''");
            let sql = format!(
                "create user `{user}`@'%' identified by '{literal}' require ssl; \
                 grant select on {db}.* to `{user}`@'%'"
            );
            env.mariadb(db, &sql).await?;
            source.user(&user)?;
            source.password(&given)?;
            // a run reads through our own connection, too
            let command = source.command("run", &source.job("t", "FE"))?;
            let ours =
                logs_in(&source, command, &given).await.with_context(|| format!("{given:?}"))?;
            let mut command = env.command("mariadb");
            command
                .args([
                    "--no-defaults",
                    "-h",
                    TestEnv::IP,
                    "-P",
                    &TestEnv::MARIADB_PORT.to_string(),
                ])
                .args(["--ssl-verify-server-cert", "-NBe", "select 1", "-u", &user])
                .arg(format!("--password={given}"))
                .arg(format!("--ssl-ca={}", env.ca().display()));
            let (theirs, said) = client(env, command).await?;
            ensure!(ours == theirs, "{given:?}: mariadb {theirs} ({said}), tidemark {ours}");
            taken += usize::from(ours);
        }
        ensure!(taken >= 17, "only {taken} were taken by both");
        Ok(())
    })
}

#[test]
fn the_end_of_a_line_is_no_part_of_a_password_and_nul_is_refused_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "password-lines").await?;
        let (db, job) = (&source.database, source.job("public.t", "FE"));
        env.psql(db, "create table t (id int primary key); grant select on t to public").await?;
        env.psql(db, &format!("create role {db} login password 'secret'")).await?;
        source.user(&format!("{db}\n"))?;
        for (file, taken) in
            [("secret\n", true), ("secret\r\n", true), ("secret\n\n", false), ("secret\r", false)]
        {
            source.password(file)?;
            let ours = logs_in(&source, source.command("plan", &job)?, "no password").await?;
            ensure!(ours == taken, "{file:?}: {ours}");
        }
        source.password("canary\0x")?;
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "{}", output.stderr);
        for words in ["CredentialsMissing", "NUL"] {
            ensure!(output.stderr.contains(words), "{}", output.stderr);
        }
        ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
        Ok(())
    })
}

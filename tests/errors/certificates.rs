//! Certificates of many forms, and ways to ask for a password: what psql and the mariadb client take with the same
//! verification, Tidemark takes, or it says what is wrong with the certificate.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv, tests_dir};
use serde_json::json;
use tokio::process::Command;

use crate::passwords::{client, logs_in, psql};

/// Ports of the servers whose certificates change.
const POSTGRES: u16 = 5434;
const MARIADB: u16 = 3307;

/// A form, the mode, and what Tidemark says; nothing where it takes it.
const FORMS: [(&str, &str, &[&str]); 33] = [
    ("good", "verifyFull", &[]),
    ("rsa", "verifyFull", &[]),
    ("ed25519", "verifyFull", &[]),
    ("no-usage", "verifyFull", &[]),
    ("v1-authority", "verifyFull", &[]),
    ("chained", "verifyFull", &[]),
    ("crlf", "verifyFull", &[]),
    ("several", "verifyFull", &[]),
    ("self", "verifyFull", &[]),
    ("self-plain", "verifyFull", &[]),
    ("other-name", "verifyCa", &[]),
    ("common-name", "verifyCa", &[]),
    ("common-name", "verifyFull", &["TlsFailed", "subject alternative name"]),
    ("other-name", "verifyFull", &["TlsFailed", "another host name (elsewhere.test)"]),
    ("v1", "verifyFull", &["TlsFailed", "version 1"]),
    ("v1", "verifyCa", &["TlsFailed", "version 1"]),
    ("self-authority", "verifyFull", &["TlsFailed", "CA:TRUE"]),
    ("self-authority", "verifyCa", &["TlsFailed", "CA:TRUE"]),
    ("client-usage", "verifyFull", &["TlsFailed", "serverAuth"]),
    ("client-usage", "verifyCa", &["TlsFailed", "serverAuth"]),
    ("unflagged", "verifyFull", &["TlsFailed", "CA flag"]),
    ("shortened", "verifyFull", &["TlsFailed", "pathLenConstraint"]),
    ("constrained", "verifyFull", &["TlsFailed", "name constraints"]),
    ("twin", "verifyFull", &["TlsFailed", "authority"]),
    ("sha1", "verifyFull", &["TlsFailed", "SHA-1"]),
    ("p521", "verifyFull", &["TlsFailed"]),
    ("weak-authority", "verifyFull", &["TlsFailed", "2048"]),
    ("expired", "verifyFull", &["TlsFailed", "has expired"]),
    ("expired", "verifyCa", &["TlsFailed", "has expired"]),
    ("early", "verifyFull", &["TlsFailed", "not valid yet"]),
    ("early", "verifyCa", &["TlsFailed", "not valid yet"]),
    ("broken", "verifyFull", &["InvalidSpec", "certificate 2"]),
    ("empty", "verifyFull", &["InvalidSpec", "contains no PEM certificate"]),
];

async fn script(env: &TestEnv, script: &str, arguments: &[&str], auth: &str) -> Result<()> {
    let name = env.state.file_name().context("name of the test environment")?;
    let mut command = Command::new(tests_dir().join("env").join(script));
    let output = command.arg(name).args(arguments).env("AUTH", auth).output().await?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script} {arguments:?}: {} {words}", output.status);
    Ok(())
}

/// A plan against one of the two servers.
fn plan(source: &SourceFixture, port: u16, mode: &str, authorities: &Path) -> Result<Command> {
    let mut job = source.job(if port == POSTGRES { "public.t" } else { "t" }, "FE");
    job["spec"]["source"]["host"] = json!("localhost");
    job["spec"]["source"]["port"] = json!(port);
    job["spec"]["source"]["database"] = json!(if port == POSTGRES { "postgres" } else { "mysql" });
    job["spec"]["source"]["tls"]["mode"] = json!(mode);
    let mut command = source.command("plan", &job)?;
    command.env("TIDEMARK_CA_FILE", authorities);
    Ok(command)
}

fn mariadb(env: &TestEnv, mode: &str, authorities: &Path) -> Command {
    let mut command = env.command("mariadb");
    command
        .args(["--no-defaults", "-h", "localhost", "--protocol=tcp", "-P", &MARIADB.to_string()])
        .args(["-u", "someone", "--password=secret", "-NBe", "select 1"])
        .arg(format!("--ssl-ca={}", authorities.display()));
    if mode == "verifyFull" {
        command.arg("--ssl-verify-server-cert");
    }
    command
}

fn libpq(database: &str, mode: &str, authorities: &Path) -> String {
    let mode = if mode == "verifyFull" { "verify-full" } else { "verify-ca" };
    format!(
        "host=localhost port={POSTGRES} dbname={database} sslmode={mode} sslrootcert={}",
        authorities.display()
    )
}

async fn certificates(env: &'static TestEnv, both: &[(SourceFixture, u16)]) -> Result<()> {
    script(env, "login_server.sh", &["forms"], "reject").await?;
    let mut installed = "";
    for (form, mode, says) in FORMS {
        if form != installed {
            script(env, "certificate_forms.sh", &[form], "").await?;
            installed = form;
        }
        let authorities = env.state.join(format!("logins/forms/{form}.ca"));
        for (source, port) in both {
            let place = || format!("{form} {mode} {port}");
            let output = env
                .output(
                    plan(source, *port, mode, &authorities)?,
                    "",
                    std::time::Duration::from_mins(1),
                )
                .await?;
            // where the handshake succeeds, the server has no such table, or rejects everybody
            let ours =
                !output.stderr.contains("TlsFailed") && !output.stderr.contains("InvalidSpec");
            ensure!(ours == says.is_empty(), "{}: {}", place(), output.stderr);
            for words in says {
                ensure!(output.stderr.contains(words), "{}: {words}: {}", place(), output.stderr);
            }
            let (_, said) = if *port == POSTGRES {
                client(env, psql(env, &libpq("postgres", mode, &authorities), "postgres", "secret"))
                    .await?
            } else {
                client(env, mariadb(env, mode, &authorities)).await?
            };
            let refused = ["certificate", "SSL error", "TLS/SSL error", "SSL_CTX"];
            let theirs =
                said.contains("pg_hba.conf") || !refused.iter().any(|words| said.contains(words));
            // what the client takes and we do not has its cause in the message, which is checked above
            ensure!(ours || !says.is_empty() || !theirs, "{}: {said}", place());
        }
    }
    Ok(())
}

/// Ways to ask for a password, each under TLS that is verified.
async fn methods(env: &'static TestEnv, source: &SourceFixture) -> Result<()> {
    let authorities = env.state.join("logins/forms/good.ca");
    for (auth, encryption) in [
        ("md5", "md5"),
        ("md5", "scram-sha-256"),
        ("password", "scram-sha-256"),
        ("scram-sha-256", "scram-sha-256"),
        ("trust", "scram-sha-256"),
    ] {
        script(env, "login_server.sh", &["forms"], auth).await?;
        script(env, "certificate_forms.sh", &["good"], "").await?;
        let socket = env.state.join("logins/postgres");
        for (number, (stored, given)) in [
            ("plain", "plain"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("\u{1f600}", "\u{1f600}"),
            ("plain", "other"),
            ("plain", ""),
        ]
        .into_iter()
        .enumerate()
        {
            let user = format!("{auth}_{encryption}_{number}");
            let sql = format!(
                "create table if not exists t (id int primary key); grant select on t to public; \
                 set password_encryption = '{encryption}'; drop role if exists \"{user}\"; \
                 create role \"{user}\" login password '{stored}'"
            );
            let mut command = env.command("psql");
            command.args([
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-q",
                "-p",
                &POSTGRES.to_string(),
                "-U",
                "postgres",
            ]);
            command.arg("-h").arg(&socket).args(["-d", "postgres", "-c", &sql]);
            env.succeed(command, "").await?;
            source.user(&user)?;
            source.password(given)?;
            let ours =
                logs_in(source, plan(source, POSTGRES, "verifyFull", &authorities)?, given).await;
            let ours = ours.with_context(|| format!("{auth} {encryption} {given:?}"))?;
            let connection = libpq("postgres", "verifyFull", &authorities);
            let (theirs, said) = client(env, psql(env, &connection, &user, given)).await?;
            ensure!(
                ours == theirs,
                "{auth} {encryption} {given:?}: psql {theirs} ({said}), tidemark {ours}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_certificate_or_method_that_clients_accept_is_accepted_or_refused_with_its_cause() -> Result<()>
{
    let env = TestEnv::shared()?;
    env.run(async {
        let postgres = SourceFixture::new(env, "forms").await?;
        let mysql = SourceFixture::mariadb(env, "forms").await?;
        mysql.user("someone")?;
        script(env, "login_server.sh", &["forms"], "reject").await?;
        script(env, "certificate_forms.sh", &[], "").await?;
        certificates(env, &[(postgres.clone(), POSTGRES), (mysql, MARIADB)]).await?;
        methods(env, &postgres).await
    })
}

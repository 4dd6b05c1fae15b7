//! Log-ins that cannot go well: T60. Servers of their own, whose certificates are wrong or which offer no TLS.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, Bed, Identity, POD_TOKEN, Rds, SourceFixture, tests_dir, wait_until};
use serde_json::{Value, json};

use crate::{in_bed, refused};

/// Starts both servers of that kind.
async fn servers(bed: &Bed, kind: &str) -> Result<()> {
    let name = bed.state.file_name().context("name of the bed")?;
    let mut command = tokio::process::Command::new(tests_dir().join("bed/login_server.sh"));
    let output = command.arg(name).arg(kind).output().await.context("run login_server.sh")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "login_server.sh: {} {words}", output.status);
    Ok(())
}

/// The same job against another server.
fn at(job: &Value, host: &str, port: u16, tls: &str) -> Value {
    let mut job = job.clone();
    job["spec"]["source"]["host"] = json!(host);
    job["spec"]["source"]["port"] = json!(port);
    job["spec"]["source"]["tls"] = json!({ "mode": tls });
    job
}

/// It ends for good, for that reason, and says this; never the password.
async fn ends(source: &SourceFixture, job: &Value, reason: &str, words: &str) -> Result<()> {
    let output = source.try_run(job).await?;
    refused(&output, 10, reason)?;
    ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
    ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
    Ok(())
}

#[test]
fn t60_a_log_in_that_cannot_go_well_is_refused_by_name_and_never_in_plaintext() -> Result<()> {
    in_bed(async {
        let bed = Bed::shared()?;
        let postgres = SourceFixture::new(bed, "logins").await?;
        bed.psql(&postgres.database, "create table t (id int primary key)").await?;
        let mariadb = SourceFixture::mariadb(bed, "logins").await?;
        bed.mariadb(&mariadb.database, "create table t (id int primary key)").await?;
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
            servers(bed, kind).await?;
            for (source, table, port) in both {
                let job = at(&source.job(table, "FE"), Bed::IP, port, mode);
                let ended = ends(source, &job, "TlsFailed", words).await;
                ended.with_context(|| format!("{kind} {mode} {}", source.engine))?;
            }
        }
        // a server that is asked in plaintext says that it rejects the user; nobody asked it
        let log = std::fs::read_to_string(bed.state.join("log/logins-postgres.log"))?;
        ensure!(!log.contains("rejects connection"), "{log}");
        // a certificate for another name is what verifyCa is for: it comes to the password
        servers(bed, "renamed").await?;
        for (source, table, port) in both {
            let output =
                source.try_run(&at(&source.job(table, "FE"), Bed::IP, port, "verifyCa")).await?;
            ensure!(!output.stderr.contains("TlsFailed"), "{}", output.stderr);
        }
        for (source, table, port) in
            [(&postgres, "public.t", Bed::POSTGRES_PORT), (&mariadb, "t", Bed::MARIADB_PORT)]
        {
            let job = at(&source.job(table, "FE"), Bed::IP, port, "verifyFull");
            ends(source, &job, "CredentialsRejected", "password").await?;
            source.user("nobody_canary")?;
            ends(source, &job, "CredentialsRejected", "password").await?;
            for (host, port) in [("nowhere.invalid", port), (Bed::IP, 1)] {
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
    in_bed(async {
        let bed = Bed::shared()?;
        let source = SourceFixture::new(bed, "expired").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); \
             create role {user} login password 'canary-4711' valid until '2020-01-01'; grant select on t to {user}"
        );
        bed.psql(&source.database, &sql).await?;
        source.user(user)?;
        source.password("canary-4711")?;
        ends(&source, &source.job("public.t", "FE"), "CredentialsRejected", "password").await?;
        bed.psql(&source.database, &format!("alter role {user} valid until 'infinity'")).await?;
        source.run(&source.job("public.t", "FE")).await?;

        let source = SourceFixture::mariadb(bed, "expired").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); \
             create user {user}@'%' identified by 'canary-4711' require ssl password expire; \
             grant select on {user}.* to {user}@'%'"
        );
        bed.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        source.password("canary-4711")?;
        ends(&source, &source.job("t", "FE"), "CredentialsRejected", "expired").await
    })
}

#[test]
fn each_connection_has_a_token_of_rds_of_its_own_and_an_expired_one_is_never_used() -> Result<()> {
    in_bed(async {
        let bed = Bed::shared()?;
        let source = SourceFixture::new(bed, "tokens").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t select generate_series(1, 100); \
             create role {user} login; grant select on t to {user}"
        );
        bed.psql(&source.database, &sql).await?;
        let rds = Rds::start(bed, "eu-central-1", Access::Admin.keys()).await?;
        let mut job = at(&source.job("public.t", "FE"), "127.0.0.1", rds.port(), "verifyFull");
        job["spec"]["source"]["credentials"] =
            json!({ "rdsIam": { "username": user, "region": "eu-central-1" } });
        let mut run = source.start(source.command("run", &job)?, Some("after-pin"))?;
        run.paused().await.with_context(|| format!("{:?}", rds.refused()))?;
        // the plan's token is too old by the time that rows are read
        rds.expire();
        wait_until("another second", Duration::from_secs(5), async || {
            let now = bed.psql(
                &source.database,
                "select to_char(now() at time zone 'utc', 'YYYYMMDD\"T\"HH24MISS\"Z\"')",
            );
            ensure!(now.await? > rds.latest(), "the same second");
            Ok(())
        })
        .await?;
        run.go_on()?;
        let output = run.ended(Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{} {:?}", output.stderr, rds.refused());
        ensure!(
            rds.taken() >= 2 && rds.refused().is_empty(),
            "{} {:?}",
            rds.taken(),
            rds.refused()
        );
        ensure!(!output.stderr.contains("X-Amz"), "{}", output.stderr);

        job["spec"]["source"]["credentials"]["rdsIam"]["region"] = json!("eu-west-1");
        ends(&source, &job, "CredentialsRejected", "password").await?;
        ensure!(rds.refused() == ["another signer"], "{:?}", rds.refused());
        Ok(())
    })
}

#[test]
fn pods_of_eks_use_the_identity_of_their_service_account() -> Result<()> {
    in_bed(async {
        let bed = Bed::shared()?;
        let source = SourceFixture::new(bed, "identity").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t values (1); \
             create role {user} login; grant select on t to {user}"
        );
        bed.psql(&source.database, &sql).await?;
        let rds = Rds::start(bed, Bed::REGION, Access::Admin.keys()).await?;
        let mut job = at(&source.job("public.t", "FE"), "127.0.0.1", rds.port(), "verifyFull");
        job["spec"]["source"]["credentials"] = json!({ "rdsIam": { "username": user } });
        let token = source.file("token");
        std::fs::write(&token, POD_TOKEN)?;
        let identity = Identity::start(Access::Admin.keys()).await?;
        // Pod Identity, IRSA, and nobody at all
        for (who, code) in [("agent", 0), ("role", 0), ("nobody", 75)] {
            let before = identity.handed_out();
            let mut command = source.command("run", &job)?;
            command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
            command.env("AWS_EC2_METADATA_DISABLED", "true");
            match who {
                "agent" => command
                    .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", identity.url())
                    .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
                "role" => command
                    .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/extract")
                    .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
                    .env("AWS_ENDPOINT_URL_STS", identity.url()),
                _ => &mut command,
            };
            let output = source.start(command, None)?.ended(Duration::from_mins(1)).await?;
            ensure!(output.code == Some(code), "{who}: {:?} {}", output.code, output.stderr);
            ensure!((identity.handed_out() > before) == (code == 0), "{who} was not asked");
        }
        Ok(())
    })
}

//! Log-ins by tokens of RDS: one for each connection, on either engine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, Identity, POD_TOKEN, Process, Rds, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

use crate::logins::{at, ends};
use crate::{RUN, in_env};

const REGION: &str = "eu-central-1";

/// A table of 300 rows, to be read in three partitions one after the other by a user without a password, the server
/// that takes tokens for it, and the job.
async fn bench(engine: &'static str) -> Result<(SourceFixture, Rds, Value)> {
    let env = TestEnv::shared()?;
    let (source, table) = if engine == "mysql" {
        let source = SourceFixture::mariadb(env, "tokens").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t select seq from seq_1_to_300; \
             create user {user}@'%'; grant select on {user}.* to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        (source, "t")
    } else {
        let source = SourceFixture::new(env, "tokens").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t select generate_series(1, 300); \
             create role {user} login; grant select on t to {user}"
        );
        env.psql(&source.database, &sql).await?;
        (source, "public.t")
    };
    let rds = Rds::start(env, engine, REGION, Access::Admin.keys()).await?;
    let mut job = at(&source.job(table, "FE"), "127.0.0.1", rds.port(), "verifyFull");
    job["spec"]["source"]["credentials"] =
        json!({ "rdsIam": { "username": source.database, "region": REGION } });
    job["spec"]["extract"]["partition"] =
        json!({ "column": "id", "count": 3, "lowerBound": "1", "upperBound": "300" });
    job["spec"]["worker"] = json!({ "parallelism": 1 });
    Ok((source, rds, job))
}

/// No token that was made until now is good any more, and what is made from now on is.
async fn expire(source: &SourceFixture, rds: &Rds) -> Result<()> {
    rds.expire();
    wait_until("another second", Duration::from_secs(5), async || {
        let sql = "select to_char(now() at time zone 'utc', 'YYYYMMDD\"T\"HH24MISS\"Z\"')";
        ensure!(source.env.psql("postgres", sql).await? > rds.latest(), "the same second");
        Ok(())
    })
    .await
}

/// All rows are published, and nothing was said of a token.
async fn whole(mut run: Process, rds: &Rds, tokens: usize) -> Result<()> {
    let output = run.ended(RUN).await?;
    ensure!(output.code == Some(0), "{} {:?}", output.stderr, rds.refused());
    let said: Value = serde_json::from_str(output.stdout.trim())?;
    ensure!(said["rows"] == 300, "{said}");
    ensure!(rds.taken() >= tokens, "{} tokens, not {tokens}", rds.taken());
    ensure!(rds.refused().is_empty(), "{:?}", rds.refused());
    ensure!(!output.stderr.contains("X-Amz"), "{}", output.stderr);
    Ok(())
}

async fn each_connection_has_its_own(engine: &'static str) -> Result<()> {
    let (source, rds, mut job) = bench(engine).await?;
    // the plan's token is too old by the time that rows are read
    let mut run = source.start(source.command("run", &job)?, Some("after-pin"))?;
    run.paused().await.with_context(|| format!("{:?}", rds.refused()))?;
    expire(&source, &rds).await?;
    run.go_on()?;
    whole(run, &rds, 2).await?;
    // and each partition's for the next one
    expire(&source, &rds).await?;
    let before = rds.taken();
    let mut run = source.start(source.command("run", &job)?, Some("partition-start"))?;
    for _ in 0..3 {
        run.paused().await.with_context(|| format!("{:?}", rds.refused()))?;
        expire(&source, &rds).await?;
        run.go_on()?;
    }
    whole(run, &rds, before + 3).await?;

    job["spec"]["source"]["credentials"]["rdsIam"]["region"] = json!("eu-west-1");
    ends(&source, &job, "CredentialsRejected", "rds-db:connect").await?;
    ensure!(rds.refused() == ["another signer"], "{:?}", rds.refused());
    Ok(())
}

#[test]
fn each_connection_of_postgres_has_its_own_token_and_an_expired_one_is_never_used() -> Result<()> {
    in_env(each_connection_has_its_own("postgres"))
}

#[test]
fn each_connection_of_mysql_has_its_own_token_and_an_expired_one_is_never_used() -> Result<()> {
    in_env(each_connection_has_its_own("mysql"))
}

#[test]
fn pods_of_eks_use_the_identity_of_their_service_account() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, "identity").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t values (1); \
             create role {user} login; grant select on t to {user}"
        );
        env.psql(&source.database, &sql).await?;
        let rds = Rds::start(env, "postgres", TestEnv::REGION, Access::Admin.keys()).await?;
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

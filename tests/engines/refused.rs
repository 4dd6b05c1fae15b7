//! What only a person can correct, each with its reason and remedy.

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::json;

#[test]
fn bad_input_is_refused_with_a_remedy_and_no_secret() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-bad").await?;
        let db = &source.database;
        env.mariadb(
            db,
            "create table t (id int primary key, name varchar(10)); insert into t values (1, 'a')",
        )
        .await?;
        let good = source.job("t", "FE");
        let with = |path: &str, value: serde_json::Value| {
            let mut job = good.clone();
            *job.pointer_mut(path).expect("a field") = value;
            job
        };
        for (number, (mut job, reason, remedy)) in [
            (with("/spec/extract/table", json!("nope")), "TableNotFound", "extract.table"),
            (with("/spec/source/database", json!("nope")), "DatabaseNotFound", "source.database"),
            (with("/spec/source/port", json!(1)), "DatabaseUnreachable", "source.host"),
            (
                with("/spec/source/tls", json!({ "mode": "insecurePlaintext" })),
                "CredentialsRejected",
                "source.tls",
            ),
            (with("/spec/extract/table", json!("x".repeat(65))), "InvalidSpec", "64 characters"),
        ]
        .into_iter()
        .enumerate()
        {
            // each names another source, and a prefix belongs to one
            job["spec"]["output"]["uri"] = json!(format!("s3://{}/bad-{number}", source.bucket));
            let output = source.try_run(&job).await?;
            ensure!(output.code != Some(0), "{reason}: published");
            for words in [reason, remedy] {
                ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
            }
        }
        source.password("canary-7f3a91")?;
        let output = source.try_run(&good).await?;
        ensure!(
            output.code == Some(10) && output.stderr.contains("CredentialsRejected"),
            "{}",
            output.stderr
        );
        ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
        source.password(TestEnv::MARIADB_PASSWORD)?;
        let said = source.run(&good).await?;
        ensure!(said["rows"] == 1, "{said}");
        Ok(())
    })
}

#[test]
fn an_account_that_may_read_some_columns_only_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-grant").await?;
        let db = &source.database;
        let user = harness::unique("u").replace('-', "_");
        env.mariadb(
            db,
            &format!(
                "create table t (id int primary key, secret int); insert into t values (1, 2);
                 create user {user}@'%' identified by 'secret' require ssl; grant select (id) on {db}.t to {user}@'%'"
            ),
        )
        .await?;
        source.user(&user)?;
        let output = source.try_run(&source.job("t", "FE")).await?;
        ensure!(output.code == Some(10) && output.stderr.contains("DatabaseDenied"), "{}", output.stderr);
        env.mariadb(db, &format!("grant select on {db}.t to {user}@'%'")).await?;
        let said = source.run(&source.job("t", "FE")).await?;
        ensure!(said["rows"] == 1, "{said}");
        Ok(())
    })
}

#[test]
fn odd_names_are_quoted() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-odd").await?;
        env.mariadb(
            &source.database,
            "create table `sel``ect \"x\" ü` (`from` int, `a``b\"c.d` int, `Groß` int); \
             insert into `sel``ect \"x\" ü` values (1, 2, 3)",
        )
        .await?;
        let mut job = source.job("t", "FE");
        job["spec"]["extract"]["table"] = json!("\"sel`ect \"\"x\"\" ü\"");
        job["spec"]["extract"]["partition"] =
            json!({ "column": "a`b\"c.d", "count": 2, "lowerBound": "0", "upperBound": "9" });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1, "{said}");
        let rows = env.read_parquet(&source.bucket, "t", "select * from t").await?;
        ensure!(rows[0] == json!({ "from": 1, "a`b\"c.d": 2, "Groß": 3 }), "{}", rows[0]);
        Ok(())
    })
}

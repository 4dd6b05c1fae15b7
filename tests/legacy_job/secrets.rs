use anyhow::{Result, ensure};
use harness::{SecretsManager, SourceFixture, TestEnv};
use serde_json::{Value, json};

use super::{Form, arguments, call, reason, try_call, with};

/// A password that is wrong, and must not be seen anywhere.
const CANARY: &str = "canary-91b";

#[test]
fn a_secret_of_aws_logs_in_for_calls_and_manifests() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "secret").await?;
        env.psql(&source.database, "create table t (id int primary key); insert into t values (1)").await?;
        let secrets = SecretsManager::start(env).await?;
        let old = json!({ "db_user": TestEnv::POSTGRES_USER, "db_password": TestEnv::POSTGRES_PASSWORD, "db_host": TestEnv::IP });
        let usual = json!({ "username": TestEnv::POSTGRES_USER, "password": TestEnv::POSTGRES_PASSWORD, "host": TestEnv::IP });
        let wrong = json!({ "username": TestEnv::POSTGRES_USER, "password": CANARY, "host": TestEnv::IP });
        secrets.put("postgres/old", &old.to_string()).await?;
        secrets.put("postgres/usual", &usual.to_string()).await?;
        secrets.put("postgres/wrong", &wrong.to_string()).await?;
        secrets.put("postgres/odd", CANARY).await?;

        // the host is in the secret
        let plain: Vec<_> = arguments(&source, "public.t")
            .into_iter()
            .filter(|(name, _)| !["db_user", "db_password", "db_host"].contains(&name.as_str()))
            .chain([("aws_endpoint_url_secrets_manager".to_owned(), SecretsManager::ENDPOINT.to_owned())])
            .collect();
        let said = call(&source, Form::Environment, &with(plain.clone(), &[("db_secret", "postgres/old")])).await?;
        ensure!(said["rows"] == 1, "{said}");
        for (name, expected) in [
            ("postgres/none", "CredentialsMissing"),
            ("postgres/odd", "CredentialsMissing"),
            ("postgres/wrong", "CredentialsRejected"),
        ] {
            let output = try_call(&source, Form::Environment, &with(plain.clone(), &[("db_secret", name)])).await?;
            ensure!(output.code == Some(10) && reason(&output)? == expected, "{name}: {}", output.stderr);
            ensure!(!output.stderr.contains(CANARY), "{name}: a secret was logged");
        }

        let mut job = source.job("public.t", "FE");
        job["spec"]["source"]["host"] = Value::Null;
        job["spec"]["source"]["credentials"] = json!({
            "awsSecret": { "name": "postgres/usual", "region": TestEnv::REGION, "endpoint": SecretsManager::ENDPOINT },
        });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1, "{said}");
        job["spec"]["source"]["credentials"]["awsSecret"]["endpoint"] = json!("http://127.0.0.1:1");
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(75) && reason(&output)? == "CredentialsUnreachable", "{}", output.stderr);
        Ok(())
    })
}

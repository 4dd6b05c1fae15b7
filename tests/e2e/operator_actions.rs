//! What waits for a person, or for a time, on the real cluster: a decided run that cannot be completed, files
//! that are kept for readers, credentials that AWS keeps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    Access, Release, SecretsManager, TestEnv, condition, pods_at, release_pause, wait_until,
};
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";
/// Where the coordinator of attempt 1 stands still once its run is decided.
const GATE: &str = "/tmp/gate";

#[test]
fn a_decided_run_whose_upload_is_gone_is_reported_and_undone_by_a_person() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = format!("--worker-env=TIDEMARK_TEST_PAUSE=after-decide@1={GATE}");
        let release = Release::new(env, "stuck", &[&pause]).await?;
        let source = &release.source;
        rows(&release, 1, 1000).await?;
        let mut job = source.job(NAME, "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        release.apply(&job).await?;
        let labels = format!("tidemark.dev/extract-job={NAME},tidemark.dev/role=coordinator");
        let pods = pods_at(&release, &labels, 1, GATE, STEP).await?;
        // as a lifecycle rule that is too eager does
        let s3 = env.s3(Access::Admin);
        let open = s3.list_multipart_uploads().bucket(&source.bucket).send().await?;
        for upload in open.uploads() {
            let (key, id) = (upload.key().context("key")?, upload.upload_id().context("id")?);
            let abort = s3.abort_multipart_upload().bucket(&source.bucket);
            abort.key(key).upload_id(id).send().await?;
        }
        release_pause(&pods[0], GATE)?;
        let object = wait_until("the complaint", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let stalled = condition(&object, "Stalled");
            ensure!(stalled["status"] == "True", "{}", object["status"]);
            ensure!(stalled["reason"] == "CommitStuck", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        let run = source.run_item(NAME).await?.context("run item")?;
        let id = run["run"].as_str().context("run")?;
        let said = condition(&object, "Stalled")["message"].to_string();
        ensure!(run["state"] == "committing", "{run}");
        ensure!(said.contains("recover --force") && said.contains(id), "{said}");

        let force = source.command(&format!("recover --by ann --force {id}"), &job)?;
        let output = env.output(force, "", STEP).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        rows(&release, 1001, 1500).await?;
        let object = release.again(NAME).await?;
        // the window that was decided then
        ensure!(object["status"]["rows"] == 1000, "{}", object["status"]);
        counts(&release, 1000).await
    })
}

#[test]
fn replaced_files_are_removed_after_the_promised_time_without_another_run() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "retained", &[]).await?;
        rows(&release, 1, 1000).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["output"]["retainReplacedSeconds"] = json!(20);
        release.complete(&job).await?;
        let first = files(&release).await?;
        let object = release.again(NAME).await?;
        ensure!(object["status"]["removalDue"] != Value::Null, "{}", object["status"]);
        let both = files(&release).await?;
        ensure!(first.iter().all(|file| both.contains(file)), "{first:?} {both:?}");
        ensure!(both.len() == 2 * first.len(), "{both:?}");
        wait_until("the removal", STEP, async || {
            let left = files(&release).await?;
            ensure!(!left.iter().any(|file| first.contains(file)), "{left:?}");
            Ok(())
        })
        .await?;
        wait_until("its end in status", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let status = &object["status"];
            ensure!(
                status["removalDue"] == Value::Null && status["phase"] == "Complete",
                "{status}"
            );
            Ok(())
        })
        .await?;
        let labels = format!("tidemark.dev/extract-job={NAME},tidemark.dev/role=coordinator");
        let jobs = release.get(&["jobs", "-l", &labels]).await?;
        ensure!(jobs["items"].as_array().map(Vec::len) == Some(2), "a further run: {jobs}");
        counts(&release, 1000).await
    })
}

#[test]
fn pods_connect_with_credentials_of_aws_secrets_manager() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let keys = ["--worker-env=AWS_ACCESS_KEY_ID=a", "--worker-env=AWS_SECRET_ACCESS_KEY=b"];
        let release = Release::new(env, "awssecret", &keys).await?;
        rows(&release, 1, 1000).await?;
        let secrets = SecretsManager::start(env).await?;
        let login = json!({ "username": TestEnv::POSTGRES_USER, "password": TestEnv::POSTGRES_PASSWORD, "host": TestEnv::IP });
        secrets.put("lake/postgres", &login.to_string()).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["source"]["host"] = Value::Null;
        let at = |name: &str| {
            json!({ "awsSecret": {
                "name": name, "region": TestEnv::REGION, "endpoint": SecretsManager::ENDPOINT } })
        };
        job["spec"]["source"]["credentials"] = at("lake/none");
        release.apply(&job).await?;
        let object = release.condition(NAME, "Failed", STEP).await?;
        let failed = condition(&object, "Failed");
        ensure!(failed["reason"] == "CredentialsMissing", "{failed}");
        job["spec"]["source"]["credentials"] = at("lake/postgres");
        let object = release.complete(&job).await?;
        ensure!(object["status"]["rows"] == 1000, "{}", object["status"]);
        counts(&release, 1000).await
    })
}

#[test]
fn a_pod_that_exceeds_its_memory_is_reported() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "memory", &[]).await?;
        let sql = format!(
            "create table {NAME} (id bigint primary key, name text);
             insert into {NAME} select 1, repeat('0123456789abcdef', 12000000)"
        );
        env.psql(&release.source.database, &sql).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["retry"] = json!({ "runs": 1 });
        job["spec"]["worker"] = json!({ "resources": {
            "requests": { "cpu": "10m", "memory": "64Mi" },
            "limits": { "cpu": "1", "memory": "64Mi" } } });
        release.apply(&job).await?;
        let object = release.condition(NAME, "Failed", STEP).await?;
        let failed = condition(&object, "Failed");
        let said = failed["message"].as_str().context("message")?;
        ensure!(said.contains("memory"), "{failed}");
        ensure!(release.source.open_uploads().await? == 0, "open uploads");
        Ok(())
    })
}

async fn rows(release: &Release, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "create table if not exists {NAME} (id bigint primary key, name text);
         insert into {NAME} select i, md5(i::text) from generate_series({from}, {to}) i"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

/// Keys of the data files.
async fn files(release: &Release) -> Result<Vec<String>> {
    let keys =
        release.source.env.keys(&release.source.bucket, &format!("{NAME}/extract_run=")).await?;
    Ok(keys)
}

/// The prefix holds that many rows, each once.
async fn counts(release: &Release, rows: u64) -> Result<()> {
    let source = &release.source;
    let sql = "select count(*) n, count(distinct id) ids from t";
    let read = source.env.read_parquet(&source.bucket, NAME, sql).await?;
    ensure!(read == [json!({ "n": rows, "ids": rows })], "{read:?}");
    Ok(())
}

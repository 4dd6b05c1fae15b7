//! `status.watermark` and `status.tracking` on the real cluster: what other writers do to the watermark item
//! shows up within the resync time, and starts no run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Call, LegacyJob, Release, TestEnv, condition, wait_until};
use serde_json::{Value, json};

/// How long a step may take on a busy machine; the resync takes two seconds.
const STEP: Duration = Duration::from_mins(1);
/// Name of the table and of its object.
const NAME: &str = "events";

#[test]
fn writes_of_others_appear_in_status_within_the_resync_time() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let values = json!({ "tracking": { "resyncSeconds": 2 } });
        let release = Release::with(env, "marks", &[], values).await?;
        rows(&release, 1, 100).await?;
        let mut job = release.source.job(NAME, "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        release.complete(&job).await?;
        let status = shows(&release, "100", "thisExtractJob").await?;
        ensure!(status["tracking"]["rowCount"] == 100, "{status}");
        ensure!(status["tracking"]["extractSuccessful"] == "Y", "{status}");

        rewind(&release, &job, "40").await?;
        shows(&release, "40", "watermarkCommand").await?;

        rows(&release, 101, 130).await?;
        let legacy = LegacyJob {
            source: &release.source,
            table: NAME,
            column: "id",
            column_type: "IntegerType",
        };
        let took = legacy.run(Call::default()).await?;
        ensure!(took.ids.len() == 90, "{took:?}");
        let status = shows(&release, "130", "other").await?;
        ensure!(status["tracking"]["rowCount"] == 90, "{status}");

        rows(&release, 131, 150).await?;
        let mut second = job.clone();
        second["metadata"]["name"] = json!("second");
        let object = release.complete(&second).await?;
        ensure!(object["status"]["rows"] == 20, "{}", object["status"]);
        shows(&release, "150", "anotherExtractJob").await?;

        let status = release.get(&["extractjob", NAME]).await?["status"].clone();
        ensure!(status["attempt"] == 1 && status["rows"] == 100, "a further run: {status}");
        ensure!(release.published(NAME).await? == 2, "a further run: {status}");
        Ok(())
    })
}

#[test]
fn request_starts_one_run_and_an_older_or_invalid_one_none() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "requests", &[]).await?;
        rows(&release, 1, 100).await?;
        let job = release.source.job(NAME, "FE");
        release.complete(&job).await?;
        let old = "2026-01-01T23:00:00+14:00";
        annotate(&release, old).await?;
        release.honoured(NAME, old).await?;
        let at = release.again(NAME).await?["status"]["outcome"]["requestedAt"].clone();
        let at = at.as_str().context("requestedAt")?;

        annotate(&release, "again").await?;
        let object = stalled(&release).await?;
        let told = condition(&object, "Stalled")["message"].to_string();
        ensure!(told.contains("is not an RFC 3339 time"), "{told}");
        let about = "--field-selector=involvedObject.name=events,reason=InvalidRequest";
        let events = release.get(&["events", about]).await?;
        ensure!(events["items"][0]["type"] == "Warning", "{events}");

        // a tool restores the value that it knows
        annotate(&release, old).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        ensure!(object["status"]["outcome"]["requestedAt"] == at, "{}", object["status"]);
        ensure!(object["status"]["attempt"] == 3, "a further run: {}", object["status"]);
        release.again(NAME).await?;
        Ok(())
    })
}

async fn annotate(release: &Release, value: &str) -> Result<()> {
    let annotation = format!("tidemark.dev/requested-at={value}");
    release.kubectl(&["annotate", "--overwrite", "extractjob", NAME, &annotation]).await.map(|_| ())
}

/// The object, once it says that its request is invalid.
async fn stalled(release: &Release) -> Result<Value> {
    wait_until("InvalidRequest", STEP, async || {
        let object = release.get(&["extractjob", NAME]).await?;
        let stalled = condition(&object, "Stalled");
        ensure!(stalled["status"] == "True", "{}", object["status"]);
        ensure!(stalled["reason"] == "InvalidRequest", "{}", object["status"]);
        Ok(object)
    })
    .await
}

/// The status, once it shows this watermark and this writer.
async fn shows(release: &Release, watermark: &str, writer: &str) -> Result<Value> {
    wait_until(&format!("watermark {watermark} by {writer}"), STEP, async || {
        let status = release.get(&["extractjob", NAME]).await?["status"].clone();
        ensure!(status["watermark"] == watermark, "{status}");
        ensure!(status["tracking"]["lowWatermark"] == watermark, "{status}");
        ensure!(status["tracking"]["writtenBy"] == writer, "{status}");
        Ok(status)
    })
    .await
}

/// `tidemark watermark rewind`, as a person runs it.
async fn rewind(release: &Release, job: &Value, to: &str) -> Result<()> {
    let source = &release.source;
    let said = source.env.succeed(source.command("watermark get", job)?, "").await?;
    let said: Value = serde_json::from_str(said.trim()).context("parse what it printed")?;
    let words = format!("watermark rewind --value {to} --by ann --revision {}", said["revision"]);
    source.env.succeed(source.command(&words, job)?, "").await.map(|_| ())
}

async fn rows(release: &Release, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "create table if not exists {NAME} (id bigint primary key, name text);
         insert into {NAME} select i, md5(i::text) from generate_series({from}, {to}) i"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

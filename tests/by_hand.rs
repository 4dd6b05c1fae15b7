//! Operator actions: verify a source, move the watermark, undo a stuck run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

const STEP: Duration = Duration::from_mins(1);

async fn table(source: &SourceFixture, rows: u32) -> Result<Value> {
    let sql = format!(
        "create table t (id int primary key); insert into t select generate_series(1, {rows})"
    );
    source.env.psql(&source.database, &sql).await?;
    let mut job = source.job("public.t", "PE");
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    Ok(job)
}

/// Runs a tool that is to end with that code; its output as JSON, or its error.
async fn tool(source: &SourceFixture, sub_command: &str, job: &Value, code: i32) -> Result<Value> {
    let output = source.env.output(source.command(sub_command, job)?, "", STEP).await?;
    ensure!(output.code == Some(code), "{sub_command}: {:?} {}", output.code, output.stderr);
    Ok(serde_json::from_str(output.stdout.trim()).unwrap_or_else(|_| json!(output.stderr)))
}

#[test]
fn verify_finds_files_that_differ_from_their_record() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "verify").await?;
        let job = table(&source, 100).await?;
        source.run(&job).await?;
        env.psql(&source.database, "insert into t select generate_series(101, 150)").await?;
        source.run(&job).await?;
        let said = source.verify(&job).await?;
        ensure!(said["runs"] == 2 && said["rows"] == 150, "{said}");

        let keys = env.keys(&source.bucket, "public.t/extract_run=").await?;
        let (lost, kept) = (keys.first().context("a file")?, keys.last().context("another")?);
        let s3 = env.s3(Access::Admin);
        s3.delete_object().bucket(&source.bucket).key(lost).send().await?;
        let copy = format!("{}/{kept}", source.bucket);
        let stranger = "public.t/extract_run=x/copy.parquet";
        s3.copy_object().bucket(&source.bucket).key(stranger).copy_source(copy).send().await?;
        let said = tool(&source, "verify", &job, 10).await?.to_string();
        ensure!(said.contains("is missing") && said.contains("complete"), "{said}");
        ensure!(said.contains("belongs to no published run"), "{said}");
        Ok(())
    })
}

#[test]
fn verify_reports_source_rows_that_no_window_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "recount").await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        let sql = "create table t (id bigint); insert into t select generate_series(1, 100) * 2";
        env.psql(&source.database, sql).await?;
        source.run(&job).await?;
        env.psql(&source.database, "insert into t values (300)").await?;
        source.run(&job).await?;
        // deleted rows, and rows above all windows, are no contradiction
        env.psql(&source.database, "delete from t where id = 10; insert into t values (400)")
            .await?;
        let said = tool(&source, "verify --recount", &job, 0).await?;
        let counted = said["recounts"].as_array().context("recounts")?;
        let rows: Vec<_> =
            counted.iter().map(|one| (one["published"].as_u64(), one["source"].as_u64())).collect();
        ensure!(rows == [(Some(1), Some(1)), (Some(100), Some(99))], "{said}");
        // nobody takes a row that is written below the watermark
        env.psql(&source.database, "insert into t values (203), (205)").await?;
        let said = tool(&source, "verify --recount", &job, 10).await?;
        let found = said["findings"].to_string();
        ensure!(found.contains("2 more rows") && found.contains("\"source\""), "{said}");
        ensure!(tool(&source, "verify", &job, 0).await?["findings"] == json!([]), "without it");
        Ok(())
    })
}

#[test]
fn a_watermark_is_moved_only_at_the_given_revision() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "moved").await?;
        let job = table(&source, 100).await?;
        source.run(&job).await?;
        let shown = tool(&source, "watermark get", &job, 0).await?;
        ensure!(shown["watermark"] == "100" && shown["state"] == "published", "{shown}");
        let revision = shown["revision"].as_u64().context("revision")?;
        let late = format!("watermark rewind --value 40 --by ann --revision {}", revision - 1);
        let said = tool(&source, &late, &job, 10).await?;
        ensure!(said.to_string().contains("RevisionChanged"), "{said}");
        let up = format!("watermark rewind --value 400 --by ann --revision {revision}");
        let said = tool(&source, &up, &job, 10).await?;
        ensure!(said.to_string().contains("below the stored watermark"), "{said}");
        let moved = format!("watermark rewind --value 40 --by ann --revision {revision}");
        let shown = tool(&source, &moved, &job, 0).await?;
        ensure!(shown["watermark"] == "40" && shown["set"]["by"] == "ann", "{shown}");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 60 && said["watermark"] == "100", "{said}");
        Ok(())
    })
}

#[test]
fn a_decided_run_whose_upload_is_gone_waits_for_a_person() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "stuck").await?;
        let job = table(&source, 100).await?;
        let gate = source.file("gate");
        let mut command = source.command("run", &job)?;
        command
            .env("TIDEMARK_TEST_PAUSE", format!("after-decide={}", gate.display()))
            .env("TIDEMARK_LEASE_SECONDS", "3")
            .env("TIDEMARK_RENEW_SECONDS", "1");
        let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
        wait_until("the pause", STEP, async || {
            ensure!(gate.exists(), "not reached");
            Ok(())
        })
        .await?;
        child.kill().await?;
        std::fs::remove_file(&gate)?;
        let s3 = env.s3(Access::Admin);
        let open = s3.list_multipart_uploads().bucket(&source.bucket).send().await?;
        let upload = open.uploads().first().context("an upload")?.clone();
        let abort = s3.abort_multipart_upload().bucket(&source.bucket);
        abort
            .key(upload.key().unwrap_or_default())
            .upload_id(upload.upload_id().unwrap_or_default())
            .send()
            .await?;
        let stuck = source.try_run(&job).await?;
        ensure!(stuck.code == Some(10) && stuck.stderr.contains("CommitStuck"), "{}", stuck.stderr);
        ensure!(stuck.stderr.contains("recover --force"), "no remedy: {}", stuck.stderr);

        let before = source.run_item("public.t").await?.context("run item")?;
        let run = before["run"].as_str().context("run")?;
        tool(&source, &format!("recover --by ann --force {run}"), &job, 0).await?;
        let after = source.run_item("public.t").await?.context("run item")?;
        ensure!(
            after["state"] == "failed" && after["pendingWindow"] == before["window"],
            "{after}"
        );
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 100, "{said}");
        source.verify(&job).await?;
        Ok(())
    })
}

//! `output.retainReplacedSeconds` on the cluster: a postponed removal is done in time, even if the object was deleted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Release, TestEnv, wait_until};
use serde_json::{Value, json};

/// How long a step may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";

#[test]
fn replaced_files_are_removed_in_time_though_their_object_is_deleted() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "putoff", &[]).await?;
        let sql =
            format!("create table {NAME} (id bigint primary key); insert into {NAME} values (1)");
        env.psql(&release.source.database, &sql).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["output"]["retainReplacedSeconds"] = json!(30);
        release.complete(&job).await?;
        let object = release.again(NAME).await?;
        let due = object["status"]["removalDue"].as_str().context("removalDue")?.to_owned();
        release.kubectl(&["delete", "extractjob", NAME, "--timeout=20s"]).await?;
        let prefix = format!("{NAME}/extract_run=");
        let keys = env.keys(&release.source.bucket, &prefix).await?;
        ensure!(keys.len() == 2, "before {due}: {keys:?}");
        // the Jobs of the runs are being deleted
        wait_until("the Job that is left", STEP, async || {
            let left = release.get(&["jobs"]).await?;
            let waits = &left["items"][0];
            ensure!(left["items"].as_array().is_some_and(|all| all.len() == 1), "{left}");
            ensure!(waits["spec"]["suspend"] == true, "{left}");
            ensure!(waits["metadata"]["annotations"]["tidemark.dev/start-at"] == due, "{waits}");
            Ok(())
        })
        .await?;
        wait_until("the removal", STEP, async || {
            let keys = env.keys(&release.source.bucket, &prefix).await?;
            ensure!(keys.len() == 1, "{keys:?}");
            let run = release.source.run_item(NAME).await?.context("run item")?;
            ensure!(run["pendingCleanup"] == Value::Null, "{run}");
            Ok(())
        })
        .await?;
        ensure!(release.published(NAME).await? == 2, "published runs");
        Ok(())
    })
}

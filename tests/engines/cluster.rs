//! MariaDB on the real cluster: coordinator, extract pods and operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Release, SourceFixture, TestEnv, condition, pods_at, release_pause};
use serde_json::{Value, json};

/// Where a paused coordinator says that it stands.
const GATE: &str = "/tmp/gate";
/// How long a step may take on a busy machine.
const STEP: Duration = Duration::from_mins(3);

/// A source of MariaDB with `rows` events, and a job of `release` that reads them in three partitions.
async fn events(release: &Release, prefix: &str, rows: u32) -> Result<(SourceFixture, Value)> {
    let env = release.source.env;
    let source = SourceFixture::mariadb(env, prefix).await?;
    let login = [("username", TestEnv::MARIADB_USER), ("password", TestEnv::MARIADB_PASSWORD)];
    release.secret("mariadb", &login).await?;
    let sql = format!(
        "create table events (id bigint primary key, name varchar(40), at timestamp(6));
         insert into events
         select seq, concat('event ', seq), '2024-01-01' + interval seq second from seq_1_to_{rows}"
    );
    env.mariadb(&source.database, &sql).await?;
    let mut job = source.job("events", "PE");
    job["spec"]["source"]["credentials"]["secretRef"]["name"] = json!("mariadb");
    job["spec"]["tracking"] = release.source.job("events", "PE")["spec"]["tracking"].clone();
    job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp" });
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
    Ok((source, job))
}

#[test]
fn partitions_of_mariadb_are_extracted_by_pods_and_published_once() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "maria-pods", &[]).await?;
        let (source, job) = events(&release, "maria-pods", 300_000).await?;
        release.complete(&job).await?;
        let object = release.condition("events", "Complete", Duration::from_secs(5)).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 300_000 && status["files"] == 3, "{status}");
        let partitions = json!({
            "total": 3, "succeeded": 3, "failed": 0,
            "strategy": "range", "reason": "the manifest requests it", "actualSkew": "1.00",
        });
        ensure!(status["partitions"] == partitions, "{status}");
        ensure!(status["consistency"] == "perPartition", "{status}");
        let sql = "select count(*) n, count(distinct name) names from t";
        let rows = env.read_parquet(&source.bucket, "events", sql).await?;
        ensure!(rows[0] == json!({ "n": 300_000, "names": 300_000 }), "{}", rows[0]);
        env.mariadb(&source.database, "insert into events values (300001, 'late', '2024-06-01')")
            .await?;
        let object = release.again("events").await?;
        ensure!(object["status"]["rows"] == 1, "{}", object["status"]);
        Ok(())
    })
}

#[test]
fn t59_a_lost_partition_of_a_consistent_snapshot_of_mariadb_restarts_the_run() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = format!("--worker-env=TIDEMARK_TEST_PAUSE=partition-start@1={GATE}");
        let release = Release::new(env, "maria-instant", &[&pause]).await?;
        let (source, mut job) = events(&release, "maria-instant", 3000).await?;
        job["spec"]["extract"]["consistency"] = json!("snapshot");
        job["spec"]["worker"] = json!({ "parallelism": 2 });
        release.apply(&job).await?;
        let coordinator = "tidemark.dev/extract-job=events,tidemark.dev/role=coordinator";
        let pods = pods_at(&release, coordinator, 1, GATE, STEP).await?;
        let object = release.condition("events", "Running", STEP).await?;
        let running = condition(&object, "Running");
        let message = running["message"].as_str().context("message")?;
        ensure!(message.contains("all partitions by the coordinator"), "{running}");
        let sessions = format!(
            "select id from information_schema.processlist where db = '{}' and id != connection_id()",
            source.database
        );
        let sessions = env.mariadb(&source.database, &sessions).await?;
        let one = sessions.lines().next().context("a session that reads")?;
        env.mariadb(&source.database, &format!("kill {one}")).await?;
        // both partitions stand there
        release_pause(&pods[0], GATE)?;
        let object = release.condition("events", "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["attempt"] == 2 && status["rows"] == 3000, "{status}");
        ensure!(status["consistency"] == "snapshot", "{status}");
        ensure!(status["partitions"]["total"] == 3 && status["files"] == 3, "{status}");
        let jobs = release.get(&["jobs", "-l", "tidemark.dev/role=extract"]).await?;
        ensure!(jobs["items"] == json!([]), "{jobs}");
        let events = release.kubectl(&["get", "events", "-o", "jsonpath={..message}"]).await?;
        ensure!(events.contains("the whole run restarts"), "{events}");
        let sql = "select count(*) n, count(distinct name) names from t";
        let rows = env.read_parquet(&source.bucket, "events", sql).await?;
        ensure!(rows[0] == json!({ "n": 3000, "names": 3000 }), "{}", rows[0]);
        Ok(())
    })
}

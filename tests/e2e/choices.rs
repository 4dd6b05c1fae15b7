//! What a manifest chooses, on the real cluster: columns, rows, partitions, folders, policies; and what status says of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    GiveUp, Release, TestEnv, condition, index_of, release_pause, stands_at, wait_until,
};
use serde_json::{Value, json};

const STEP: Duration = Duration::from_mins(2);
/// Where pods of attempt 1 stand still once they have read their partition, until this file is gone.
const GATE: &str = "/tmp/gate";
const AT_GATE: &str = "--worker-env=TIDEMARK_TEST_PAUSE=before-record@1=/tmp/gate";

#[test]
fn choices_of_the_manifest_are_published_and_reported_in_status() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::with(env, "choices", &[], json!({ "allowWhere": true })).await?;
        let source = &release.source;
        // nine tenths of the rows have a key in a hundredth of its span
        env.psql(
            &source.database,
            "create table events (id bigint primary key, region text, kind inet, card text);
             insert into events select case when i % 10 > 0 then i else 60000000 + i * 90 end,
             (array['EU', 'US', null])[1 + i % 3], '10.0.0.1', 'secret' from generate_series(1, 60000) i",
        )
        .await?;
        let mut job = source.job("public.events", "FE");
        let extract = &mut job["spec"]["extract"];
        extract["excludeColumns"] = json!(["card"]);
        extract["where"] = json!("id <> 7");
        extract["fidelity"] = json!("strict");
        extract["schemaPolicy"] = json!("freeze");
        extract["partition"] = json!({ "strategy": "auto", "count": 3 });
        job["spec"]["output"]["partitionBy"] = json!(["region"]);
        release.complete(&job).await?;
        let object = release.condition("public-events", "Complete", STEP).await?;
        let status = &object["status"];
        let partitions = &status["partitions"];
        ensure!(partitions["total"] == 3 && partitions["strategy"] == "quantile", "{status}");
        ensure!(partitions["reason"].as_str().is_some_and(|why| !why.is_empty()), "{status}");
        ensure!(partitions["predictedSkew"].as_str().is_some_and(|skew| skew < "1.30"), "{status}");
        ensure!(partitions["actualSkew"].as_str().is_some_and(|skew| skew < "1.30"), "{status}");
        let kept = json!({ "exact": 2, "widened": 0, "string": 1, "lossy": 0 });
        ensure!(status["fidelity"] == kept, "{status}");
        ensure!(status["rows"] == 59_999 && status["files"] == 9, "{status}");
        let sql = "select count(*) n, count(distinct id) d, count(*) filter (region is null) u, min(kind) kind from h";
        let rows = env.read_parquet(&source.bucket, "public.events", sql).await?;
        let all = json!({ "n": 59_999, "d": 59_999, "u": 20_000, "kind": "10.0.0.1" });
        ensure!(rows[0] == all, "{}", rows[0]);

        // the table changes, and the policy has it wait for a person
        env.psql(&source.database, "alter table events add column note text").await?;
        release.request("public-events").await?;
        let object = wait_until("the refusal", STEP, async || {
            let object = release.get(&["extractjob", "public-events"]).await?;
            let failed = condition(&object, "Failed");
            ensure!(failed["reason"] == "SchemaChanged", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        let said = condition(&object, "Failed")["message"].to_string();
        ensure!(said.contains("note (text) was added") && said.contains("schemaPolicy"), "{said}");
        // what was published stays as it is
        ensure!(release.published("public.events").await? == 1, "{object}");
        let more = json!({ "spec": { "extract": { "schemaPolicy": "additiveOnly" } } }).to_string();
        release
            .kubectl(&["patch", "extractjob", "public-events", "--type=merge", "-p", &more])
            .await?;
        let object = wait_until("the next run", STEP, async || {
            let object = release.get(&["extractjob", "public-events"]).await?;
            ensure!(condition(&object, "Complete")["status"] == "True", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        ensure!(object["status"]["fidelity"]["exact"] == 3, "{}", object["status"]);
        Ok(())
    })
}

#[test]
fn each_partition_is_read_once_where_there_are_more_than_pods() -> Result<()> {
    const PARTITIONS: usize = 5;
    const AT_ONCE: usize = 2;
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "turns", &[AT_GATE]).await?;
        let source = &release.source;
        let sql = "create table events (id int primary key); insert into events select generate_series(1, 5000)";
        env.psql(&source.database, sql).await?;
        let mut job = source.job("public.events", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": PARTITIONS });
        job["spec"]["worker"] = json!({ "parallelism": AT_ONCE });
        release.apply(&job).await?;
        let mut done = BTreeSet::new();
        while done.len() < PARTITIONS {
            let wanted = AT_ONCE.min(PARTITIONS - done.len());
            let standing = wait_until(&format!("{wanted} pods after {done:?}"), STEP, async || {
                let pods = extract_pods(&release).await?;
                let live: Vec<_> = pods.iter().filter(|pod| !has_ended(pod)).collect();
                if live.len() > AT_ONCE {
                    return Err(GiveUp(format!("{} pods at a time", live.len())).into());
                }
                let standing = live.into_iter().filter(|pod| stands_at(pod, GATE).is_ok());
                let standing: Vec<_> = standing.cloned().collect();
                ensure!(standing.len() == wanted, "{} stand", standing.len());
                Ok(standing)
            })
            .await?;
            let pod = standing.first().context("a pod")?;
            ensure!(done.insert(index_of(pod).to_owned()), "range {} again", index_of(pod));
            release_pause(pod, GATE)?;
        }
        let object = release.condition("public-events", "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 5000 && status["attempt"] == 1, "{status}");
        ensure!(status["partitions"]["total"] == PARTITIONS, "{status}");
        ensure!(extract_pods(&release).await?.len() == PARTITIONS, "one pod for each range");
        let sql = "select count(*) n, count(distinct id) d from t";
        let rows = env.read_parquet(&source.bucket, "public.events", sql).await?;
        ensure!(rows[0] == json!({ "n": 5000, "d": 5000 }), "{}", rows[0]);
        Ok(())
    })
}

async fn extract_pods(release: &Release) -> Result<Vec<Value>> {
    let labels = "tidemark.dev/extract-job=public-events,tidemark.dev/role=extract";
    let list = release.get(&["pods", "-l", labels]).await?;
    Ok(list["items"].as_array().context("items")?.clone())
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

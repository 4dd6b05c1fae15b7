//! What people, quotas and nodes do to Jobs and pods of a run: the run ends as it would have, or fails and
//! says so, and its window is taken again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    Release, TestEnv, condition, index_of, pods_at, release_pause, stands_at, wait_until,
};
use operator_core::labels::{coordinator_name, extract_name};
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";
/// Where pods of attempt 1 stand still once they have read their partition, until this file is gone.
const GATE: &str = "/tmp/gate";
const AT_GATE: &str = "--worker-env=TIDEMARK_TEST_PAUSE=before-record@1=/tmp/gate";

#[test]
fn coordinator_job_deleted_by_a_person_is_retried_with_the_same_window() -> Result<()> {
    deleted_by_hand("coordinator")
}

#[test]
fn extract_job_deleted_by_a_person_is_retried_with_the_same_window() -> Result<()> {
    deleted_by_hand("extract")
}

fn deleted_by_hand(role: &str) -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, &format!("hand-{role}"), &[AT_GATE]).await?;
        release.apply(&window_of(&release, 1000).await?).await?;
        at_gate(&release, 2).await?;
        let run = release.source.run_item(NAME).await?.context("run item")?;
        rows(&release, 1001, 1500).await?;
        release.kubectl(&["delete", "job", "-l", &labels(role), "--wait=false"]).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["attempt"] == 2 && status["rows"] == 1000, "{status}");
        ensure!(status["window"]["high"] == run["window"]["high"], "{status} {run}");
        ends_clean(&release, 1).await
    })
}

#[test]
fn an_object_recreated_under_its_name_adopts_nothing_of_the_old_one() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "again", &[AT_GATE]).await?;
        let job = window_of(&release, 1000).await?;
        release.apply(&job).await?;
        at_gate(&release, 2).await?;
        let old = release.get(&["extractjob", NAME]).await?["metadata"]["uid"].clone();
        release.kubectl(&["delete", "extractjob", NAME, "--wait=false"]).await?;
        // as a sync of Argo CD would: again and again, until the old one is gone
        wait_until("the new object", STEP, async || {
            release.apply(&job).await?;
            let object = release.get(&["extractjob", NAME]).await?;
            ensure!(object["metadata"]["uid"] != old, "the old one is still there");
            Ok(())
        })
        .await?;
        let new = release.get(&["extractjob", NAME]).await?["metadata"]["uid"].clone();
        let coordinator = coordinator_name(NAME, new.as_str().context("uid")?, 1);
        // its attempts begin anew, so its pods stand at the gate as well; some of the old ones may still
        // do so, because they ignore the request to stop
        let own = format!("batch.kubernetes.io/job-name={}", extract_name(&coordinator));
        for pod in pods_at(&release, &own, 2, GATE, STEP).await? {
            release_pause(&pod, GATE)?;
        }
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1000 && status["attempt"] == 1, "{status}");
        let jobs = release.get(&["jobs", "-l", &all_labels()]).await?;
        for job in items(&jobs)? {
            let name = job["metadata"]["name"].as_str().context("name")?;
            let owner = &job["metadata"]["ownerReferences"][0]["uid"];
            let want = if name.starts_with(&coordinator) { &new } else { &old };
            ensure!(owner == want, "{job}");
        }
        ends_clean(&release, 1).await
    })
}

#[test]
fn a_run_that_ended_while_the_operator_was_away_is_complete_without_its_jobs() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=after-pin@1=/tmp/gate";
        let release = Release::new(env, "away", &[pause]).await?;
        rows(&release, 1, 1000).await?;
        let job = release.source.job(NAME, "FE");
        release.apply(&job).await?;
        let pods = pods_at(&release, &labels("coordinator"), 1, GATE, STEP).await?;
        scale(&release, 0).await?;
        for pod in pods {
            release_pause(&pod, GATE)?;
        }
        release.run_reaches(NAME, "published", STEP).await?;
        wait_until("the end of the Job", STEP, async || {
            let jobs = release.get(&["jobs", "-l", &all_labels()]).await?;
            ensure!(items(&jobs)?.iter().all(|job| job["status"]["succeeded"] == 1), "{jobs}");
            Ok(())
        })
        .await?;
        // as the Job controller does once the time of a finished Job is over
        release.kubectl(&["delete", "job", "-l", &all_labels()]).await?;
        scale(&release, 1).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1000 && status["attempt"] == 1, "{status}");
        let jobs = release.get(&["jobs", "-l", &labels("coordinator")]).await?;
        ensure!(items(&jobs)?.is_empty(), "a second run: {jobs}");
        ends_clean(&release, 1).await
    })
}

#[test]
fn a_foreign_job_with_our_name_is_reported_and_left_alone() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "foreign", &[]).await?;
        let mut job = window_of(&release, 1000).await?;
        job["spec"]["suspend"] = json!(true);
        release.apply(&job).await?;
        let object = release.get(&["extractjob", NAME]).await?;
        let uid = object["metadata"]["uid"].as_str().context("uid")?;
        // a number whose writing met a conflict is not used, so it need not be the first
        let names: Vec<String> =
            (1..=4).map(|number| coordinator_name(NAME, uid, number)).collect();
        for name in &names {
            release.apply(&foreign_job(name)).await?;
        }
        let before = uids(&release).await?;
        release.kubectl(&["patch", "extractjob", NAME, "--type=merge", "-p", RESUME]).await?;
        wait_until("the complaint", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let found = object["status"]["conditions"].to_string();
            ensure!(found.contains("ForeignJob"), "{}", object["status"]);
            ensure!(names.iter().any(|name| found.contains(name)), "{}", object["status"]);
            Ok(())
        })
        .await?;
        // the next reconcile reports the same, and tries no other name
        let complaint = release.get(&["extractjob", NAME]).await?["status"]["conditions"].clone();
        for label in ["look=1", "look=2", "look=3"] {
            let looks = release.reconciles().await?;
            release.kubectl(&["label", "--overwrite", "extractjob", NAME, label]).await?;
            wait_until("another look", STEP, async || {
                ensure!(release.reconciles().await? > looks, "not looked at");
                let object = release.get(&["extractjob", NAME]).await?;
                ensure!(object["status"]["conditions"] == complaint, "{}", object["status"]);
                Ok(())
            })
            .await?;
        }
        let after = uids(&release).await?;
        ensure!(after == before, "other Jobs, or adopted: {before} {after}");
        let delete: Vec<&str> =
            ["delete", "job"].into_iter().chain(names.iter().map(String::as_str)).collect();
        release.kubectl(&delete).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        ensure!(object["status"]["rows"] == 1000, "{}", object["status"]);
        ends_clean(&release, 1).await
    })
}

/// Name, uid and owner of every Job.
async fn uids(release: &Release) -> Result<Value> {
    let jobs = release.get(&["jobs"]).await?;
    let facts = items(&jobs)?.iter().map(|job| {
        let of = &job["metadata"];
        json!([of["name"], of["uid"], of["ownerReferences"]])
    });
    Ok(facts.collect())
}

/// What ends `suspend`.
const RESUME: &str = r#"{"spec":{"suspend":false}}"#;

/// A Job of another owner that starts no pod.
fn foreign_job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "suspend": true, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "other", "image": "other" }],
        }}},
    })
}

#[test]
fn an_evicted_worker_is_replaced_and_spends_no_retry() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "evict", &[AT_GATE]).await?;
        release.apply(&window_of(&release, 1000).await?).await?;
        let pods = at_gate(&release, 2).await?;
        let name = pods[1]["metadata"]["name"].as_str().context("name")?;
        let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", release.namespace);
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": name, "namespace": release.namespace },
        });
        env.kubectl_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string()).await?;
        release_pause(&pods[0], GATE)?;
        let second = wait_until("its successor", STEP, async || {
            let now = extract_pods(&release).await?;
            let other = |pod: &&Value| index_of(pod) == "1" && pod["metadata"]["name"] != *name;
            let pod = now.iter().find(other).context("none yet")?.clone();
            stands_at(&pod, GATE)?;
            Ok(pod)
        })
        .await?;
        release_pause(&second, GATE)?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1000 && status["attempt"] == 1, "{status}");
        ensure!(status["retry"] == Value::Null, "{status}");
        ends_clean(&release, 1).await
    })
}

#[test]
fn a_pod_whose_index_was_changed_by_hand_skips_no_partition() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "reindex", &[AT_GATE]).await?;
        release.apply(&window_of(&release, 1000).await?).await?;
        let pods = at_gate(&release, 2).await?;
        let name = pods[1]["metadata"]["name"].as_str().context("name")?;
        // the Job controller counts by the annotation: partition 1 appears as not read
        let lie = "batch.kubernetes.io/job-completion-index=0";
        release.kubectl(&["annotate", "--overwrite", "pod", name, lie]).await?;
        for pod in &pods {
            release_pause(pod, GATE)?;
        }
        wait_until("the end of the run", STEP, async || {
            // a further pod of a partition stands at the gate like the first ones
            for pod in extract_pods(&release).await? {
                if stands_at(&pod, GATE).is_ok() {
                    release_pause(&pod, GATE)?;
                }
            }
            let object = release.get(&["extractjob", NAME]).await?;
            ensure!(object["status"]["phase"] == "Complete", "{}", object["status"]);
            Ok(())
        })
        .await?;
        ends_clean(&release, 1).await
    })
}

#[test]
fn a_succeeded_pod_without_its_record_fails_the_run_and_leaves_its_window_pending() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "lying", &[AT_GATE, "--record-wait-seconds=5"]).await?;
        release.apply(&window_of(&release, 1000).await?).await?;
        let pods = at_gate(&release, 2).await?;
        let run = release.source.run_item(NAME).await?.context("run item")?;
        let counted = async |index: char| {
            let jobs = release.get(&["jobs", "-l", &labels("extract")]).await?;
            let counted = jobs["items"][0]["status"]["completedIndexes"].as_str();
            ensure!(counted.is_some_and(|indexes| indexes.contains(index)), "{jobs}");
            Ok(())
        };
        release_pause(&pods[0], GATE)?;
        // before the lie: a Job that has one pod more than indexes are left removes any of them
        wait_until("the end of the first pod", STEP, async || counted('0').await).await?;
        // a kubelet that lies: exit code 0, and no record was written
        let name = pods[1]["metadata"]["name"].as_str().context("name")?;
        let ended = json!({ "status": { "phase": "Succeeded" } }).to_string();
        let patch = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &ended];
        wait_until("the lie to be believed", STEP, async || {
            // the kubelet of this node does not lie, and says so now and then
            release.kubectl(&patch).await?;
            counted('1').await
        })
        .await?;
        wait_until("the second attempt", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let status = &object["status"];
            ensure!(status["attempt"] == 2, "{status}");
            let events = release.kubectl(&["get", "events", "-o", "json"]).await?;
            ensure!(events.contains("RecordMissing"), "{status} {events}");
            Ok(())
        })
        .await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1000, "{status}");
        ensure!(status["window"]["high"] == run["window"]["high"], "{status} {run}");
        ends_clean(&release, 1).await
    })
}

#[test]
fn a_partition_that_cannot_be_read_fails_the_run_names_it_and_publishes_nothing() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "unreadable", &[]).await?;
        let job = window_of(&release, 1000).await?;
        let database = &release.source.database;
        let sql = format!(
            "alter table {NAME} add price numeric(8,2); update {NAME} set price = 'NaN' where id = 900"
        );
        env.psql(database, &sql).await?;
        release.apply(&job).await?;
        let object = release.condition(NAME, "Failed", STEP).await?;
        let failed = condition(&object, "Failed");
        let said = failed["message"].as_str().context("message")?;
        ensure!(said.contains("price") && said.contains("partition 1"), "{failed}");
        ensure!(object["status"]["retry"] == Value::Null, "{}", object["status"]);
        let run = release.source.run_item(NAME).await?.context("run item")?;
        ensure!(run["state"] == "failed", "{run}");
        ensure!(env.keys(&release.source.bucket, &format!("{NAME}/extract_run")).await?.is_empty());

        rows(&release, 1001, 1500).await?;
        env.psql(database, &format!("update {NAME} set price = 1")).await?;
        release.request(NAME).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1000, "{status}");
        ensure!(status["window"]["high"] == run["window"]["high"], "{status} {run}");
        ends_clean(&release, 1).await
    })
}

/// A table with ids from 1, and an incremental extract of it by id in two partitions.
async fn window_of(release: &Release, until: u32) -> Result<Value> {
    rows(release, 1, until).await?;
    let mut job = release.source.job(NAME, "PE");
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    Ok(job)
}

async fn rows(release: &Release, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "create table if not exists {NAME} (id bigint primary key, name text);
         insert into {NAME} select i, md5(i::text) from generate_series({from}, {to}) i"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

async fn scale(release: &Release, replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    release.kubectl(&["scale", "deployment", "tidemark", &replicas]).await?;
    wait_until("the operator's pods", STEP, async || {
        let found = release.get(&["deployment", "tidemark"]).await?;
        let (want, now) = (&found["spec"]["replicas"], &found["status"]["replicas"]);
        ensure!(now.as_u64().unwrap_or(0) == want.as_u64().unwrap_or(1), "{now} of {want}");
        Ok(())
    })
    .await
}

/// Waits until `count` extract pods stand at the gate, and returns them by index.
async fn at_gate(release: &Release, count: usize) -> Result<Vec<Value>> {
    pods_at(release, &labels("extract"), count, GATE, STEP).await
}

async fn extract_pods(release: &Release) -> Result<Vec<Value>> {
    let list = release.get(&["pods", "-l", &labels("extract")]).await?;
    Ok(items(&list)?.clone())
}

/// So many runs are published, every row is in them once, and nothing is left open.
async fn ends_clean(release: &Release, runs: u64) -> Result<()> {
    let source = &release.source;
    ensure!(release.published(NAME).await? == runs, "published runs");
    let sql = "select count(*) n, count(distinct id) ids, sum(id)::bigint total from t";
    let read = source.env.read_parquet(&source.bucket, NAME, sql).await?;
    ensure!(read == [json!({ "n": 1000, "ids": 1000, "total": 500_500 })], "{read:?}");
    let item = source.watermark_item(NAME).await?.context("old item")?;
    ensure!(item["extract_successful"] == "Y", "{item}");
    // the losing process may still be ending
    wait_until("the end of all uploads", STEP, async || {
        ensure!(source.open_uploads().await? == 0, "open uploads");
        Ok(())
    })
    .await
}

fn all_labels() -> String {
    format!("tidemark.dev/extract-job={NAME}")
}

fn labels(role: &str) -> String {
    format!("{},tidemark.dev/role={role}", all_labels())
}

fn items(list: &Value) -> Result<&Vec<Value>> {
    list["items"].as_array().context("items")
}

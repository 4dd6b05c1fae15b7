//! Promise 4 on the real cluster: whichever process is killed at whichever time, the end is the same:
//! one published run, all rows once, and no endless attempt.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{Access, GiveUp, Release, TestEnv, kill_now, process_of, wait_until};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";
/// Rows where a partition should be read at once.
const FEW: u64 = 1_000;
/// Rows where reading a partition should take a while.
const MANY: u64 = 2_000_000;
/// The exit code of a container whose process was killed.
const KILLED: i32 = 128 + 9;

#[test]
fn worker_killed_while_reading_repeats_only_its_partition() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "killworker", &[]).await?;
        let mut job = extract_of(&release, MANY, 3).await?;
        job["spec"]["worker"] = json!({ "parallelism": 3, "resources": {
            "requests": { "cpu": "10m", "memory": "64Mi" },
            "limits": { "cpu": "300m", "memory": "256Mi" } } });
        release.apply(&job).await?;
        // the first part is being sent, so the stream is open; the record ends a partition
        let dead = wait_until("an upload of range 1", STEP, async || {
            open(&release, "/part-00001-").await?.pop().context("none yet")
        })
        .await?;
        let labels = format!("{},batch.kubernetes.io/job-completion-index=1", labels("extract"));
        let pod = one(&release, &["pods", "-l", &labels]).await?;
        kill_now(process_of(&pod)?)?;

        ends_once(&release, MANY, 1).await?;
        let pods = release.get(&["pods", "-l", &self::labels("extract")]).await?;
        let mut seen: Vec<(&str, i64)> = items(&pods)?
            .iter()
            .filter_map(|pod| {
                let index = &pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"];
                let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
                Some((index.as_str()?, end["exitCode"].as_i64()?))
            })
            .collect();
        seen.sort_unstable();
        ensure!(seen == [("0", 0), ("1", 0), ("1", KILLED.into()), ("2", 0)], "{seen:?}");
        ensure!(jobs(&release, "recover").await? == 0, "a recovered run");
        let keys = env.keys(&release.source.bucket, NAME).await?;
        let files = keys.iter().filter(|key| key.contains("/part-")).count();
        ensure!(files == 3 && !keys.contains(&dead), "{dead} was published: {keys:?}");
        // it stays unseen until somebody sweeps it; all others are completed
        let left = open(&release, "").await?;
        ensure!(left.iter().all(|key| *key == dead), "{left:?}, killed {dead}");
        Ok(())
    })
}

#[test]
fn coordinator_killed_before_claim_is_retried_and_publishes_once() -> Result<()> {
    killed_coordinator("before-claim", None, 2)
}

#[test]
fn coordinator_killed_after_pin_is_retried_and_publishes_once() -> Result<()> {
    killed_coordinator("after-pin", Some("running"), 2)
}

#[test]
fn coordinator_killed_after_decide_is_recovered_and_publishes_once() -> Result<()> {
    killed_coordinator("after-decide", Some("committing"), 1)
}

/// The coordinator of attempt 1 is killed at `point`, where the run has `state`.
fn killed_coordinator(point: &str, state: Option<&str>, attempts: u64) -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = format!("--worker-env=TIDEMARK_TEST_PAUSE={point}@1");
        let release = Release::new(env, point, &[&pause]).await?;
        let job = extract_of(&release, FEW, 2).await?;
        release.apply(&job).await?;
        let pod = paused(&release, point).await?;
        let run = release.source.run_item(NAME).await?;
        let found = run.as_ref().and_then(|run| run["state"].as_str());
        ensure!(found == state, "{run:?}");
        kill_now(process_of(&pod)?)?;
        ends_once(&release, FEW, attempts).await?;
        ensure!(jobs(&release, "recover").await? == 1, "recovered once");
        let left = open(&release, "").await?;
        ensure!(left.is_empty(), "open: {left:?}");
        Ok(())
    })
}

#[test]
fn an_operator_killed_before_and_after_it_makes_the_coordinator_job_makes_one() -> Result<()> {
    // attempt 1 stands in status before its Job is made, so that no number is used twice
    killed_operator("coordinator", (1, 2), 2)
}

#[test]
fn an_operator_killed_before_and_after_it_makes_the_extract_job_makes_one() -> Result<()> {
    killed_operator("extract", (1, 1), 1)
}

#[test]
fn an_operator_killed_before_and_after_it_makes_a_recover_job_makes_one() -> Result<()> {
    killed_operator("recover", (1, 1), 2)
}

/// The operator is killed right before it makes the Job of `role` in the first of `at` attempts, and
/// its successor right after it made that of the second one.
fn killed_operator(role: &str, at: (u32, u32), attempts: u64) -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let recoveries = role == "recover";
        let worker = "--worker-env=TIDEMARK_TEST_PAUSE=after-pin@1";
        let args = |pause| if recoveries { vec![pause, worker] } else { vec![pause] };
        let before = format!("--pause=before-create-{role}@{}", at.0);
        let release = Release::new(env, &format!("op-{role}"), &args(&before)).await?;
        let job = extract_of(&release, FEW, 2).await?;
        release.apply(&job).await?;
        if recoveries {
            kill_now(process_of(&paused(&release, "after-pin").await?)?)?;
        }
        operator_paused(&release, "Before").await?;
        ensure!(jobs(&release, role).await? == 0, "a Job before it is made");
        killed_for_good(&release).await?;
        ensure!(jobs(&release, role).await? == 0, "a Job of an operator that was killed before it");

        let after = format!("--pause=after-create-{role}@{}", at.1);
        release.install("upgrade", &args(&after)).await?;
        let dead = operator_paused(&release, "After").await?;
        ensure!(jobs(&release, role).await? == 1, "not one Job after it was made");
        kill_now(dead)?;

        ends_in(&release, FEW, attempts, if role == "coordinator" { 1 } else { attempts }).await?;
        ensure!(jobs(&release, "extract").await? == 1, "extract Jobs");
        ensure!(jobs(&release, "recover").await? == usize::from(recoveries), "recovery Jobs");
        ensure!(open(&release, "").await?.is_empty(), "open uploads");
        was_killed_once(&release).await
    })
}

/// Waits until the operator stands at its pause point, and returns its process. It must be the first
/// one of its pod: a second one goes on from what the first has done, and passes the point.
async fn operator_paused(release: &Release, side: &str) -> Result<Pid> {
    wait_until(&format!("the operator paused {side}"), STEP, async || {
        let pod = operator(release).await?;
        let name = pod["metadata"]["name"].as_str().context("name")?;
        let container = &pod["status"]["containerStatuses"][0];
        if container["restartCount"].as_u64() > Some(0) {
            let log = release.kubectl(&["logs", "--previous", name]).await;
            bail!(GiveUp(format!("it was started again: {container}\nbefore that: {log:?}")));
        }
        let log = release.kubectl(&["logs", name]).await?;
        let there =
            log.lines().any(|line| line.contains("paused for a test") && line.contains(side));
        ensure!(there, "{log}");
        process_of(&pod)
    })
    .await
}

/// Has the operator that stands at its pause point killed, and no further one of its kind started.
///
/// The kubelet kills it, as it deletes the pod: a process that somebody else kills before the kubelet
/// knows of the deletion is started again, and that one makes the Job of the next attempt, where
/// nothing makes it pause. SIGTERM does not end a process that stands at a pause point.
async fn killed_for_good(release: &Release) -> Result<()> {
    let pod = operator(release).await?;
    let name = pod["metadata"]["name"].as_str().context("name")?;
    release.kubectl(&["scale", "deployment", "tidemark", "--replicas=0"]).await?;
    wait_until("the deletion of the operator's pod", STEP, async || {
        let pod = release.get(&["pod", name]).await?;
        ensure!(pod["metadata"]["deletionTimestamp"].is_string(), "{}", pod["metadata"]);
        Ok(())
    })
    .await?;
    let last = release.get(&["pod", name]).await?;
    let restarts = &last["status"]["containerStatuses"][0]["restartCount"];
    ensure!(*restarts == 0, "started again: {last}");
    release.kubectl(&["delete", "pod", name, "--grace-period=1"]).await.map(|_| ())
}

/// A table of `rows` rows that compress badly, and a full extract of it in `partitions` partitions.
async fn extract_of(release: &Release, rows: u64, partitions: u32) -> Result<Value> {
    let sql = format!(
        "create table {NAME} (id bigint primary key, name text, other text);
         insert into {NAME} select i, md5(i::text), md5((-i)::text) from generate_series(1, {rows}) i"
    );
    release.source.env.psql(&release.source.database, &sql).await?;
    let mut job = release.source.job(NAME, "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": partitions });
    Ok(job)
}

/// The object is Complete in this attempt: one run is published, every row is in it once, the old
/// item says so too, and nothing goes on.
async fn ends_once(release: &Release, rows: u64, attempts: u64) -> Result<()> {
    ends_in(release, rows, attempts, attempts).await
}

/// The same, where some attempts came to no Job.
async fn ends_in(release: &Release, rows: u64, attempts: u64, coordinators: u64) -> Result<()> {
    let (env, source) = (release.source.env, &release.source);
    let object = release.condition(NAME, "Complete", STEP).await?;
    let status = &object["status"];
    ensure!(status["attempt"] == attempts && status["rows"] == rows, "{status}");
    ensure!(release.published(NAME).await? == 1, "published runs");
    let sql = "select count(*) n, count(distinct id) ids, sum(id)::bigint total,
               count(*) filter (name = md5(id::varchar) and other = md5((-id)::varchar)) whole from t";
    let read = env.read_parquet(&source.bucket, NAME, sql).await?;
    let total = rows * (rows + 1) / 2;
    let want = json!({ "n": rows, "ids": rows, "total": total, "whole": rows });
    ensure!(read == [want.clone()], "{read:?}, not {want}");
    let run = source.run_item(NAME).await?.context("run item")?;
    ensure!(run["state"] == "published", "{run}");
    let legacy = source.watermark_item(NAME).await?.context("old item")?;
    ensure!(legacy["extract_successful"] == "Y", "{legacy}");

    looks_again(release).await?;
    let made = jobs(release, "coordinator").await?;
    ensure!(made == usize::try_from(coordinators)?, "{made} coordinators in {attempts} attempts");
    let all = format!("tidemark.dev/extract-job={NAME}");
    wait_until("the end of all Jobs", STEP, async || {
        let jobs = release.get(&["jobs", "-l", &all]).await?;
        let active = items(&jobs)?.iter().filter(|job| job["status"]["active"].as_u64() > Some(0));
        ensure!(active.count() == 0, "{jobs}");
        Ok(())
    })
    .await
}

/// Waits until the operator has reconciled the object once more.
async fn looks_again(release: &Release) -> Result<()> {
    wait_until("a further look", STEP, async || {
        let before = release.reconciles().await?;
        release.kubectl(&["annotate", "extractjob", NAME, "look=1", "--overwrite"]).await?;
        wait_until("it", Duration::from_secs(5), async || {
            ensure!(release.reconciles().await? > before, "not after {before}");
            Ok(())
        })
        .await?;
        release.kubectl(&["annotate", "extractjob", NAME, "look-"]).await.map(|_| ())
    })
    .await
}

/// Waits until the coordinator stands at a pause point, and returns its pod.
async fn paused(release: &Release, point: &str) -> Result<Value> {
    let waited = wait_until(&format!("the coordinator at {point}"), STEP, async || {
        let pod = one(release, &["pods", "-l", &labels("coordinator")]).await?;
        let name = pod["metadata"]["name"].as_str().context("name")?;
        let log = release.kubectl(&["logs", name]).await?;
        let there = log.lines().any(|line| line.contains("paused") && line.contains(point));
        ensure!(there, "{log}");
        Ok(pod)
    })
    .await;
    match waited {
        Ok(pod) => Ok(pod),
        Err(error) => {
            bail!("{error:#}\n{}", release.source.env.describe(&release.namespace).await)
        }
    }
}

fn labels(role: &str) -> String {
    format!("tidemark.dev/extract-job={NAME},tidemark.dev/role={role}")
}

fn items(list: &Value) -> Result<&Vec<Value>> {
    list["items"].as_array().context("items")
}

/// The only object of a list.
async fn one(release: &Release, args: &[&str]) -> Result<Value> {
    let list = release.get(args).await?;
    let [one] = items(&list)?.as_slice() else { bail!("not one of {args:?}: {list}") };
    Ok(one.clone())
}

/// The operator's pod: it has no role in a run.
async fn operator(release: &Release) -> Result<Value> {
    one(release, &["pods", "-l", "!tidemark.dev/role"]).await
}

/// The operator was started again, once.
async fn was_killed_once(release: &Release) -> Result<()> {
    let pod = operator(release).await?;
    let container = &pod["status"]["containerStatuses"][0];
    let code = &container["lastState"]["terminated"]["exitCode"];
    ensure!(container["restartCount"] == 1 && *code == KILLED, "{container}");
    Ok(())
}

/// How many Jobs of a role the object has.
async fn jobs(release: &Release, role: &str) -> Result<usize> {
    let jobs = release.get(&["jobs", "-l", &labels(role)]).await?;
    Ok(items(&jobs)?.len())
}

/// Keys of the open uploads that contain `part`.
async fn open(release: &Release, part: &str) -> Result<Vec<String>> {
    let source = &release.source;
    let s3 = source.env.s3(Access::Admin);
    let listed = s3.list_multipart_uploads().bucket(&source.bucket).send().await?;
    let keys = listed.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned));
    Ok(keys.filter(|key| key.contains(part)).collect())
}

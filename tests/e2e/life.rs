//! Promises 6 to 8 on the real cluster: objects and releases come and go, what is published stays right.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use harness::{Release, TestEnv, condition, wait_until};
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// The releases' `--deletion-bound-seconds`.
const DELETION_BOUND: Duration = Duration::from_mins(1);

#[test]
fn deleting_a_running_object_publishes_nothing_and_leaves_nothing() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=before-record@1";
        let release = Release::new(env, "delrun", &[pause]).await?;
        start_partitions(&release).await?;
        reading(&release).await?;
        delete(&release, "events").await?;
        gone(&release, "events", STEP).await?;
        nothing_is_published(&release).await?;
        no_upload_is_open(&release).await?;
        let run = release.source.run_item("events").await?.context("run item")?;
        // by the coordinator, which was asked to stop, or by recovery
        ensure!(run["state"] == "failed" || run["state"] == "aborted", "{run}");
        Ok(())
    })
}

#[test]
fn deleting_a_committing_object_publishes_all_of_it_and_leaves_nothing() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=after-decide@1";
        let release = Release::new(env, "delcommit", &[pause]).await?;
        start_partitions(&release).await?;
        release.run_reaches("events", "committing", STEP).await?;
        nothing_is_published(&release).await?;
        delete(&release, "events").await?;
        gone(&release, "events", STEP).await?;
        let source = &release.source;
        published(&release, "events", 1).await?;
        let sql = "select count(*) n, count(distinct id) ids from t";
        let rows = env.read_parquet(&source.bucket, "events", sql).await?;
        ensure!(rows == [json!({ "n": 1000, "ids": 1000 })], "{rows:?}");
        no_upload_is_open(&release).await?;
        let run = source.run_item("events").await?.context("run item")?;
        ensure!(run["state"] == "published", "{run}");
        let legacy = source.watermark_item("events").await?.context("old item")?;
        ensure!(legacy["extract_successful"] == "Y", "{legacy}");
        Ok(())
    })
}

#[test]
fn an_object_without_its_secrets_loses_its_finalizer_in_time_with_a_warning() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        // This coordinator cannot end its own run when it is asked to stop.
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=after-pin@1";
        let release = Release::new(env, "delsecret", &[pause]).await?;
        start_partitions(&release).await?;
        release.run_reaches("events", "running", STEP).await?;
        release.kubectl(&["delete", "secret", "aws", "database"]).await?;
        delete(&release, "events").await?;
        let since = Instant::now();
        // Recovery cannot run: until the bound its Jobs are tried.
        wait_until("a recovery Job", STEP, async || {
            let jobs = jobs(&release, "events", "recover").await?;
            ensure!(!jobs.is_empty());
            Ok(())
        })
        .await?;
        let left = (DELETION_BOUND + Duration::from_secs(15)).saturating_sub(since.elapsed());
        gone(&release, "events", left).await?;
        nothing_is_published(&release).await?;
        let events = release
            .get(&["events", "--field-selector=involvedObject.name=events,reason=RecoveryFailed"])
            .await?;
        let warned = events["items"].as_array().is_some_and(|all| {
            all.iter().any(|event| {
                event["type"] == "Warning" && event["involvedObject"]["kind"] == "ExtractJob"
            })
        });
        ensure!(warned, "{events}");
        Ok(())
    })
}

#[test]
fn two_objects_on_one_source_take_turns_and_each_runs_once() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "turns", &["--resync-seconds=1"]).await?;
        table(&release, "events").await?;
        lock(&release, "events").await?;
        let first = release.source.job("events", "FE");
        let mut second = first.clone();
        second["metadata"]["name"] = json!("second");
        release.apply(&first).await?;
        release.run_reaches("events", "claimed", STEP).await?;
        release.apply(&second).await?;
        let waiting = wait_until("the second to wait", STEP, async || {
            let object = release.get(&["extractjob", "second"]).await?;
            ensure!(object["status"]["phase"] == "Waiting", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        let said = condition(&waiting, "Reconciling");
        ensure!(said["status"] == "True" && said["reason"] == "SourceBusy", "{said}");
        ensure!(pods(&release, "second").await?.is_empty(), "a pod waits for a busy source");
        unlock(&release, "events").await?;
        for name in ["events", "second"] {
            let object = release.condition(name, "Complete", STEP).await?;
            ensure!(object["status"]["attempt"] == 1, "{}", object["status"]);
        }
        looked_at(&release).await?;
        published(&release, "events", 2).await?;

        delete(&release, "second").await?;
        gone(&release, "second", STEP).await?;
        release.complete(&second).await?;
        looked_at(&release).await?;
        published(&release, "events", 3).await?;
        let object = release.get(&["extractjob", "events"]).await?;
        ensure!(object["status"]["attempt"] == 1, "{}", object["status"]);
        Ok(())
    })
}

/// In a test environment of its own, since it changes the CRD.
#[test]
fn an_upgrade_keeps_a_run_and_no_release_runs_a_completed_object_again() -> Result<()> {
    let env: &'static TestEnv = Box::leak(Box::new(TestEnv::start("life-own")?));
    let tested = thread::spawn(move || env.run(releases(env))).join();
    let stopped = TestEnv { state: env.state.clone(), pid: env.pid }.stop();
    tested.map_err(|_| anyhow!("the test panicked"))??;
    stopped
}

async fn releases(env: &'static TestEnv) -> Result<()> {
    let release = Release::new(env, "releases", &["--resync-seconds=1"]).await?;
    env.tag_images("dev2").await?;
    for name in ["kept", "lost"] {
        table(&release, name).await?;
        lock(&release, name).await?;
        let mut job = release.source.job(name, "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        release.apply(&job).await?;
    }
    for name in ["kept", "lost"] {
        wait_until(&format!("a claim of {name}"), STEP, async || {
            let run = release.source.run_item(name).await?.context("no run yet")?;
            ensure!(run["state"] == "claimed", "{run}");
            Ok(())
        })
        .await?;
    }
    upgraded_in_flight(&release).await?;
    default_changed(&release).await?;
    installed_again(&release).await
}

/// `kept` goes on as it was, `lost` is recovered as it was and then tried by the new release.
async fn upgraded_in_flight(release: &Release) -> Result<()> {
    release.install_images("upgrade", "dev2", &["--resync-seconds=1"]).await?;
    let deployment = release.get(&["deployment", "tidemark"]).await?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    ensure!(container["image"] == "localhost/tidemark-operator:dev2", "{container}");
    let lost = release.running_pods("lost", "coordinator").await?;
    let [lost] = lost.as_slice() else { bail!("coordinators of lost: {lost:?}") };
    release.kill_pod(lost).await?;
    unlock(release, "kept").await?;
    let kept = release.condition("kept", "Complete", STEP).await?;
    ensure!(kept["status"]["attempt"] == 1 && kept["status"]["files"] == 2, "{}", kept["status"]);
    published(release, "kept", 1).await?;
    let (old, new) = ("localhost/tidemark:dev", "localhost/tidemark:dev2");
    ensure!(jobs(release, "kept", "coordinator").await? == [old]);
    ensure!(jobs(release, "kept", "extract").await? == [old]);

    unlock(release, "lost").await?;
    let lost = release.condition("lost", "Complete", STEP).await?;
    ensure!(lost["status"]["attempt"] == 2, "{}", lost["status"]);
    published(release, "lost", 1).await?;
    ensure!(jobs(release, "lost", "recover").await? == [old]);
    ensure!(jobs(release, "lost", "coordinator").await? == [old, new]);
    ensure!(jobs(release, "lost", "extract").await? == [new]);
    Ok(())
}

/// The API server fills new defaults into old objects.
async fn default_changed(release: &Release) -> Result<()> {
    let env = release.source.env;
    let before = trace(release).await?;
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let patch = json!([
        { "op": "add", "path": format!("{spec}/activeDeadlineSeconds/default"), "value": 7200 },
        { "op": "add", "path": format!("{spec}/extract/properties/reingest/default"), "value": false },
    ]);
    let crd = "crd/extractjobs.tidemark.dev";
    env.kubectl(&["patch", crd, "--type=json", "-p", &patch.to_string()]).await?;
    wait_until("the new defaults", STEP, async || {
        let spec = &release.get(&["extractjob", "kept"]).await?["spec"];
        let filled = spec["extract"]["reingest"] == false && spec["activeDeadlineSeconds"] == 7200;
        ensure!(filled, "{spec}");
        Ok(())
    })
    .await?;
    release.kubectl(&["label", "extractjob", "kept", "lost", "touched=yes"]).await?;
    looked_at(release).await?;
    let after = trace(release).await?;
    ensure!(before == after, "before {before}\nafter {after}");
    Ok(())
}

async fn installed_again(release: &Release) -> Result<()> {
    let env = release.source.env;
    let before = trace(release).await?;
    let wait = ["uninstall", "tidemark", "-n", &release.namespace, "--wait", "--timeout", "90s"];
    env.helm(&wait).await?;
    let left = release.kubectl(&["get", "deployments", "-o", "name"]).await?;
    ensure!(left.is_empty(), "{left}");
    let after = trace(release).await?;
    ensure!(before == after, "before {before}\nafter {after}");
    release.install_images("install", "dev2", &["--resync-seconds=1"]).await?;
    looked_at(release).await?;
    let after = trace(release).await?;
    ensure!(before == after, "before {before}\nafter {after}");
    // It does run what is new.
    release.request("kept").await?;
    wait_until("the second run of kept", STEP, async || {
        let object = release.get(&["extractjob", "kept"]).await?;
        let status = &object["status"];
        ensure!(status["attempt"] == 2 && status["phase"] == "Complete", "{status}");
        Ok(())
    })
    .await?;
    published(release, "kept", 2).await
}

/// All that a further run of `kept` or `lost` would change.
async fn trace(release: &Release) -> Result<Value> {
    let mut all = serde_json::Map::new();
    for name in ["kept", "lost"] {
        let object = release.get(&["extractjob", name]).await?;
        let status = &object["status"];
        let complete = condition(&object, "Complete")["status"] == "True";
        ensure!(complete && status["phase"] == "Complete", "{name}: {status}");
        let seen = json!({
            "uid": object["metadata"]["uid"],
            "attempt": status["attempt"],
            "run": status["runId"],
            "outcome": status["outcome"],
            "commit": release.source.run_item(name).await?.context("run item")?["commit"],
            "keys": release.source.env.keys(&release.source.bucket, name).await?,
            "coordinators": jobs(release, name, "coordinator").await?,
        });
        all.insert(name.to_owned(), seen);
    }
    Ok(Value::Object(all))
}

/// Waits until the operator has reconciled every object of the release again, more than once: with
/// `--resync-seconds=1` each is reconciled every second.
async fn looked_at(release: &Release) -> Result<()> {
    let before = release.reconciles().await?;
    wait_until("looks at the objects", STEP, async || {
        let now = release.reconciles().await?;
        ensure!(now >= before + 10, "{before}, then {now}");
        Ok(())
    })
    .await
}

/// A table of 1000 rows, and an extract of it in two partitions.
async fn start_partitions(release: &Release) -> Result<()> {
    table(release, "events").await?;
    let mut job = release.source.job("events", "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    release.apply(&job).await
}

async fn table(release: &Release, name: &str) -> Result<()> {
    let sql = format!(
        "create table {name} (id bigint primary key, name text);
         insert into {name} select i, 'event ' || i from generate_series(1, 1000) i"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

/// Holds every reader of a table, and so the coordinator that has claimed it.
async fn lock(release: &Release, name: &str) -> Result<()> {
    let id = format!("{}-{name}", release.source.database);
    let sql = format!("begin; lock table {name}; prepare transaction '{id}'");
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

async fn unlock(release: &Release, name: &str) -> Result<()> {
    let sql = format!("rollback prepared '{}-{name}'", release.source.database);
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

/// Waits until both partitions are read and their uploads are open.
async fn reading(release: &Release) -> Result<()> {
    release.run_reaches("events", "running", STEP).await?;
    wait_until("open uploads", STEP, async || {
        let open = release.source.open_uploads().await?;
        ensure!(open == 2, "{open}");
        Ok(())
    })
    .await
}

async fn delete(release: &Release, name: &str) -> Result<()> {
    release.kubectl(&["delete", "extractjob", name, "--wait=false"]).await.map(|_| ())
}

/// Waits until an object, its Jobs and its pods are gone.
async fn gone(release: &Release, name: &str, deadline: Duration) -> Result<()> {
    let seen = wait_until(&format!("{name} to go away"), deadline, async || {
        let args = ["get", "extractjob", name, "--ignore-not-found", "-o", "name"];
        let object = release.kubectl(&args).await?;
        ensure!(object.is_empty(), "{object}");
        let pods = pods(release, name).await?;
        ensure!(pods.is_empty(), "{pods}");
        Ok(())
    })
    .await;
    match seen {
        Ok(()) => Ok(()),
        Err(error) => {
            bail!("{error:#}\n{}", release.source.env.describe(&release.namespace).await)
        }
    }
}

/// Exactly that many runs of a table came to be published (each leaves a manifest), and the last of
/// them is the one that readers see. The test environment's store was once seen to show `current.json` as it had
/// been for some seconds: so that is waited for.
async fn published(release: &Release, name: &str, runs: usize) -> Result<()> {
    let (env, source) = (release.source.env, &release.source);
    let run = source.run_item(name).await?.context("run item")?;
    let keys = env.keys(&source.bucket, &format!("{name}/_tidemark/")).await?;
    let manifests = keys.iter().filter(|key| key.ends_with("/manifest.json")).count();
    ensure!(manifests == runs && run["state"] == "published", "want {runs} runs: {keys:?} {run}");
    wait_until(&format!("run {runs} in current.json of {name}"), STEP, async || {
        let key = format!("{name}/_tidemark/current.json");
        let pointer: Value = serde_json::from_slice(&env.object(&source.bucket, &key).await?)?;
        ensure!(pointer["run"] == run["run"], "{pointer}");
        Ok(())
    })
    .await
}

/// Jobs and pods of an object, one a line.
async fn pods(release: &Release, name: &str) -> Result<String> {
    let label = format!("tidemark.dev/extract-job={name}");
    release.kubectl(&["get", "jobs,pods", "-l", &label, "-o", "name"]).await
}

/// Images of the Jobs of a role, in order of their attempts.
async fn jobs(release: &Release, name: &str, role: &str) -> Result<Vec<String>> {
    let labels = format!("tidemark.dev/extract-job={name},tidemark.dev/role={role}");
    let jobs = release.get(&["jobs", "-l", &labels]).await?;
    let items = jobs["items"].as_array().context("items")?;
    let mut images: Vec<(&str, &str)> = items
        .iter()
        .filter_map(|job| {
            let attempt = job["metadata"]["labels"]["tidemark.dev/attempt"].as_str()?;
            let image = job["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?;
            Some((attempt, image))
        })
        .collect();
    images.sort_unstable();
    Ok(images.into_iter().map(|(_, image)| image.to_owned()).collect())
}

async fn nothing_is_published(release: &Release) -> Result<()> {
    let keys = release.source.env.keys(&release.source.bucket, "").await?;
    let visible = |key: &&String| !key.contains("/_tidemark/") || key.ends_with("current.json");
    let published: Vec<&String> = keys.iter().filter(visible).collect();
    ensure!(published.is_empty(), "{published:?}");
    Ok(())
}

async fn no_upload_is_open(release: &Release) -> Result<()> {
    let open = release.source.open_uploads().await?;
    ensure!(open == 0, "{open} uploads are open");
    Ok(())
}

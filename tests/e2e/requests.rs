//! Life of a run on the real cluster: what a manifest requests is kept, what is corrected goes on at once, and
//! of two operators one is enough.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Release, TestEnv, condition, wait_until};
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";

#[test]
fn a_suspended_run_is_stopped_and_recovered_and_resumes_with_the_same_window() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=before-record@1";
        let release = Release::new(env, "suspend", &[pause]).await?;
        rows(&release, 1, 1000).await?;
        let mut job = release.source.job(NAME, "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        release.apply(&job).await?;
        release.run_reaches(NAME, "running", STEP).await?;
        wait_until("open uploads", STEP, async || {
            ensure!(release.source.open_uploads().await? == 2, "open uploads");
            Ok(())
        })
        .await?;
        patch(&release, json!({ "suspend": true })).await?;
        let object = release.condition(NAME, "Suspended", STEP).await?;
        for other in ["Reconciling", "Stalled", "Failed", "Complete"] {
            ensure!(condition(&object, other)["status"] == "False", "{}", object["status"]);
        }
        let run = release.source.run_item(NAME).await?.context("run item")?;
        ensure!(run["state"] == "failed" || run["state"] == "aborted", "{run}");
        ensure!(release.source.open_uploads().await? == 0, "open uploads");
        wait_until("the end of its pods", STEP, async || {
            let pods = of_object(&release, "pods", "status.phase=Running").await?;
            ensure!(pods.is_empty(), "{pods}");
            Ok(())
        })
        .await?;

        rows(&release, 1001, 1500).await?;
        patch(&release, json!({ "suspend": false })).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["attempt"] == 2 && status["retry"] == Value::Null, "{status}");
        ensure!(status["window"]["high"] == run["window"]["high"], "{status} {run}");
        ensure!(status["rows"] == 1000, "{status}");
        published(&release, 1).await
    })
}

#[test]
fn an_edit_during_a_run_is_reported_and_run_afterwards() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "edit", &[]).await?;
        rows(&release, 1, 1000).await?;
        lock(&release).await?;
        release.apply(&release.source.job(NAME, "FE")).await?;
        release.run_reaches(NAME, "claimed", STEP).await?;
        patch(&release, json!({ "extract": { "partition": { "column": "id", "count": 2 } } }))
            .await?;
        says(&release, "a run of generation 2 follows").await?;
        unlock(&release).await?;
        wait_until("both runs", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let status = &object["status"];
            ensure!(status["phase"] == "Complete" && status["attempt"] == 2, "{status}");
            ensure!(status["observedGeneration"] == 2 && status["files"] == 2, "{status}");
            Ok(())
        })
        .await?;
        published(&release, 2).await
    })
}

#[test]
fn a_coordinator_that_never_started_is_deleted_once_the_manifest_is_corrected() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "mended", &["--pod-start-wait-seconds=2"]).await?;
        rows(&release, 1, 1000).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["source"]["credentials"]["secretRef"]["name"] = json!("misspelt");
        release.apply(&job).await?;
        wait_until("the complaint", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            let planned = condition(&object, "Planned");
            ensure!(planned["reason"] == "CredentialsMissing", "{}", object["status"]);
            Ok(())
        })
        .await?;
        let right = json!({ "source": { "credentials": { "secretRef": { "name": "database" } } } });
        patch(&release, right).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        ensure!(status["attempt"] == 2 && status["retry"] == Value::Null, "{status}");
        ensure!(jobs(&release, "recover").await? == 0, "a recovered run");
        published(&release, 1).await
    })
}

#[test]
fn an_extract_job_refused_by_a_quota_yields_and_is_retried() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "refused", &["--extract-start-wait-seconds=5"]).await?;
        rows(&release, 1, 1000).await?;
        release.kubectl(&["create", "quota", "jobs", "--hard=count/jobs.batch=1"]).await?;
        wait_until("the quota", STEP, async || {
            let quota = release.get(&["quota", "jobs"]).await?;
            ensure!(quota["status"]["used"]["count/jobs.batch"] == "0", "{quota}");
            Ok(())
        })
        .await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        job["spec"]["retry"] = json!({ "runs": 1 });
        release.apply(&job).await?;
        says(&release, "exceeded quota").await?;
        wait_until("the end of the attempt", STEP, async || {
            let label = format!("tidemark.dev/extract-job={NAME},tidemark.dev/role=coordinator");
            let jobs = release.get(&["jobs", "-l", &label]).await?;
            let note = &jobs["items"][0]["metadata"]["annotations"]["tidemark.dev/ending"];
            ensure!(note.as_str().is_some_and(|it| it.contains("ExtractNotStarted")), "{jobs}");
            Ok(())
        })
        .await?;
        release.kubectl(&["delete", "quota", "jobs"]).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        let status = &object["status"];
        // it was the only run that retry.runs allows: to make way costs nothing
        ensure!(status["attempt"] == 2 && status["retry"] == Value::Null, "{status}");
        published(&release, 1).await
    })
}

#[test]
fn cleanup_after_publication_is_done_although_the_object_is_deleted() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let pause = "--worker-env=TIDEMARK_TEST_PAUSE=after-publish@1";
        let release = Release::new(env, "deltodo", &[pause]).await?;
        rows(&release, 1, 1000).await?;
        release.apply(&release.source.job(NAME, "FE")).await?;
        release.run_reaches(NAME, "published", STEP).await?;
        let run = release.source.run_item(NAME).await?.context("run item")?;
        ensure!(run["pendingCleanup"]["pointer"] == true, "{run}");
        release.kubectl(&["delete", "extractjob", NAME, "--wait=false"]).await?;
        gone(&release, &release.namespace).await?;
        let run = release.source.run_item(NAME).await?.context("run item")?;
        ensure!(run["pendingCleanup"] == Value::Null, "{run}");
        published(&release, 1).await
    })
}

#[test]
fn finished_jobs_expire_and_complete_objects_stay_complete() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "ttl", &["--resync-seconds=1"]).await?;
        rows(&release, 1, 1000).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["worker"] = json!({ "ttlSecondsAfterFinished": 1 });
        release.complete(&job).await?;
        wait_until("the end of the Jobs", STEP, async || {
            let left = of_object(&release, "jobs,pods", "").await?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await?;
        let before = release.metric("reconciles_total").await?;
        wait_until("further looks", STEP, async || {
            let now = release.metric("reconciles_total").await?;
            ensure!(now >= before + 3, "{before}, then {now}");
            Ok(())
        })
        .await?;
        let object = release.get(&["extractjob", NAME]).await?;
        let status = &object["status"];
        ensure!(status["phase"] == "Complete" && status["attempt"] == 1, "{status}");
        // one object: between its reconciles it is scheduled, and nothing waits
        wait_until("an empty queue", STEP, async || {
            let queue = (release.metric("queue").await?, release.metric("scheduled").await?);
            ensure!(queue == (0, 1), "{queue:?}");
            Ok(())
        })
        .await?;
        published(&release, 1).await
    })
}

#[test]
fn a_run_beyond_its_deadline_is_stopped_and_reported() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "deadline", &[]).await?;
        rows(&release, 1, 1000).await?;
        lock(&release).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["activeDeadlineSeconds"] = json!(10);
        job["spec"]["retry"] = json!({ "runs": 1 });
        release.apply(&job).await?;
        let object = release.condition(NAME, "Failed", STEP).await?;
        let failed = condition(&object, "Failed");
        ensure!(failed["reason"] == "DeadlineExceeded", "{failed}");
        ensure!(object["status"]["extractSuccessful"] == "N", "{}", object["status"]);
        let run = release.source.run_item(NAME).await?.context("run item")?;
        ensure!(run["state"] == "failed", "{run}");
        unlock(&release).await
    })
}

#[test]
fn second_operator_takes_over_when_the_leader_dies() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let args = ["--lease-duration-seconds=3", "--resync-seconds=1"];
        let release = Release::with(env, "leader", &args, json!({ "replicas": 2 })).await?;
        rows(&release, 1, 1000).await?;
        lock(&release).await?;
        let mut job = release.source.job(NAME, "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        release.apply(&job).await?;
        release.run_reaches(NAME, "claimed", STEP).await?;
        let first = leader(&release).await?;
        let pods = release.get(&["pods", "-l", "!tidemark.dev/role"]).await?;
        ensure!(pods["items"].as_array().is_some_and(|all| all.len() == 2), "{pods}");
        release.kill_pod(&first).await?;
        unlock(&release).await?;
        let object = release.condition(NAME, "Complete", STEP).await?;
        ensure!(object["status"]["attempt"] == 1, "{}", object["status"]);
        let second = leader(&release).await?;
        ensure!(first != second, "{first} leads");
        ensure!(jobs(&release, "coordinator").await? == 1, "coordinators");
        ensure!(jobs(&release, "extract").await? == 1, "extract Jobs");
        ensure!(jobs(&release, "recover").await? == 0, "a recovered run");
        published(&release, 1).await?;

        // a replica that is stopped releases the lease: the next one does not wait for its end
        release.kubectl(&["delete", "pod", &second]).await?;
        let at = release.request(NAME).await?;
        release.honoured(NAME, &at).await?;
        published(&release, 2).await
    })
}

#[test]
fn a_namespace_that_is_deleted_does_not_wait_for_its_objects() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let other = env.namespace("doomed").await?;
        let values = json!({ "extractNamespaces": [other] });
        let release = Release::with(env, "doom", &["--pod-start-wait-seconds=2"], values).await?;
        // the Role of the namespace may go before its objects do: as with `clusterWide`, this one stays
        let account = format!("--serviceaccount={}:tidemark-operator", release.namespace);
        let role = format!("{other}-objects");
        let rules = [
            "--verb=get,list,watch,patch,update",
            "--resource=extractjobs.tidemark.dev,extractjobs.tidemark.dev/status,jobs.batch,pods",
        ];
        env.kubectl(&[&["create", "clusterrole", &role][..], &rules].concat()).await?;
        env.kubectl(&["create", "clusterrolebinding", &role, "--clusterrole", &role, &account])
            .await?;
        let mut job = release.source.job(NAME, "FE");
        job["metadata"]["namespace"] = json!(other);
        env.kubectl_with(&["apply", "-f", "-"], &job.to_string()).await?;
        wait_until("the finalizer", STEP, async || {
            let object = env.get(&other, &["extractjob", NAME]).await?;
            let names = object["metadata"]["finalizers"].as_array().context("no finalizer yet")?;
            ensure!(names.len() == 1, "{names:?}");
            Ok(())
        })
        .await?;
        env.kubectl(&["delete", "namespace", &other, "--wait=false"]).await?;
        gone(&release, &other).await?;
        wait_until("the end of the namespace", STEP, async || {
            let left = env
                .kubectl(&["get", "namespace", &other, "--ignore-not-found", "-o", "json"])
                .await?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
        .await?;
        env.kubectl(&["delete", "clusterrolebinding,clusterrole", &role]).await.map(|_| ())
    })
}

/// The pod that leads.
async fn leader(release: &Release) -> Result<String> {
    wait_until("a leader", STEP, async || {
        let lease = release.get(&["lease", "tidemark"]).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().filter(|name| !name.is_empty());
        Ok(holder.context("nobody leads")?.to_owned())
    })
    .await
}

/// Adds rows to the table, which is made first.
async fn rows(release: &Release, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "create table if not exists {NAME} (id bigint primary key, name text);
         insert into {NAME} select i, 'event ' || i from generate_series({from}, {to}) i"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

/// Holds every reader of the table, and so the coordinator that has claimed it.
async fn lock(release: &Release) -> Result<()> {
    let id = &release.source.database;
    let sql = format!("begin; lock table {NAME}; prepare transaction '{id}'");
    release.source.env.psql(id, &sql).await.map(|_| ())
}

async fn unlock(release: &Release) -> Result<()> {
    let id = &release.source.database;
    release.source.env.psql(id, &format!("rollback prepared '{id}'")).await.map(|_| ())
}

async fn patch(release: &Release, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec }).to_string();
    release.kubectl(&["patch", "extractjob", NAME, "--type=merge", "-p", &patch]).await.map(|_| ())
}

/// Waits until the object's conditions say so.
async fn says(release: &Release, words: &str) -> Result<()> {
    wait_until(words, STEP, async || {
        let object = release.get(&["extractjob", NAME]).await?;
        let said = condition(&object, "Reconciling");
        ensure!(said["message"].as_str().is_some_and(|said| said.contains(words)), "{said}");
        Ok(())
    })
    .await
}

/// Waits until the object, its Jobs and its pods are gone from a namespace.
async fn gone(release: &Release, namespace: &str) -> Result<()> {
    let env = release.source.env;
    wait_until("the object to go away", STEP, async || {
        let object =
            ["-n", namespace, "get", "extractjob", NAME, "--ignore-not-found", "-o", "name"];
        let object = env.kubectl(&object).await?;
        let label = format!("tidemark.dev/extract-job={NAME}");
        let args = ["-n", namespace, "get", "jobs,pods", "-l", &label, "-o", "name"];
        let left = env.kubectl(&args).await?;
        ensure!(object.is_empty() && left.is_empty(), "{object} {left}");
        Ok(())
    })
    .await
}

/// Names of what an object has of these kinds.
async fn of_object(release: &Release, kinds: &str, fields: &str) -> Result<String> {
    let label = format!("tidemark.dev/extract-job={NAME}");
    let selector = format!("--field-selector={fields}");
    let mut args = vec!["get", kinds, "-l", &label, "-o", "name"];
    if !fields.is_empty() {
        args.push(&selector);
    }
    release.kubectl(&args).await
}

/// How many Jobs of a role the object has.
async fn jobs(release: &Release, role: &str) -> Result<usize> {
    let labels = format!("tidemark.dev/extract-job={NAME},tidemark.dev/role={role}");
    let jobs = release.get(&["jobs", "-l", &labels]).await?;
    Ok(jobs["items"].as_array().context("items")?.len())
}

/// So many runs came to be published, and the last of them is what readers see.
async fn published(release: &Release, runs: u64) -> Result<()> {
    wait_until("the published runs", STEP, async || {
        let found = release.published(NAME).await?;
        ensure!(found == runs, "{found} runs, not {runs}");
        Ok(())
    })
    .await
}

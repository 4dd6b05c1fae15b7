//! The API server between operator and cluster fails, forgets replies, lags and goes away: no run is
//! started twice, none is forgotten, and nobody is asked for ever.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    Calls, Fault, Gate, LocalOperator, PlainApi, Proxy, Release, Speaks, TestEnv, condition,
    wait_until,
};
use serde_json::{Value, json};

/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_secs(90);
/// Name of the table and of its object.
const NAME: &str = "events";
/// What the operator writes.
const WRITES: [&str; 5] =
    ["POST jobs", "PATCH jobs", "PATCH extractjobs", "PATCH extractjobs/status", "POST events"];

/// A release whose operator talks to the API server through a proxy.
struct Away {
    release: Release,
    proxy: Proxy,
    _api: PlainApi,
}

impl Away {
    async fn new(env: &'static TestEnv, prefix: &str, args: &[&str]) -> Result<Self> {
        let release = Release::with(env, prefix, args, json!({ "replicas": 0 })).await?;
        let api = release.plain_api().await?;
        let proxy = Proxy::start(Speaks::Kubernetes(api.address)).await?;
        Ok(Self { release, proxy, _api: api })
    }

    async fn operator(&self) -> Result<LocalOperator> {
        self.release.operator_at(&self.proxy.url(), &[]).await
    }

    /// The run is complete, by one Job of each kind and no retry.
    async fn ends_once(&self, operator: &mut LocalOperator) -> Result<()> {
        let release = &self.release;
        let object = match release.condition(NAME, "Complete", STEP).await {
            Ok(object) => object,
            Err(error) => return Err(error.context(operator.log()?)),
        };
        let status = &object["status"];
        // a number whose writing was not answered is not used
        ensure!(status["retry"] == Value::Null && status["rows"] == 1000, "{status}");
        for (role, count) in [("coordinator", 1), ("extract", 1), ("recover", 0)] {
            let labels = format!("tidemark.dev/extract-job={NAME},tidemark.dev/role={role}");
            let jobs = release.get(&["jobs", "-l", &labels]).await?;
            let made = jobs["items"].as_array().context("items")?.len();
            ensure!(made == count, "{made} {role} Jobs");
        }
        ensure!(release.published(NAME).await? == 1, "published runs");
        let source = &release.source;
        let sql = "select count(*) n, count(distinct id) ids from t";
        let read = source.env.read_parquet(&source.bucket, NAME, sql).await?;
        ensure!(read == [json!({ "n": 1000, "ids": 1000 })], "{read:?}");
        operator.log().map(|_| ())
    }
}

/// A table, and a full extract of it in two partitions.
async fn extract_of(release: &Release) -> Result<Value> {
    let sql = format!(
        "create table {NAME} (id bigint primary key, name text);
         insert into {NAME} select i, md5(i::text) from generate_series(1, 1000) i"
    );
    release.source.env.psql(&release.source.database, &sql).await?;
    let mut job = release.source.job(NAME, "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    Ok(job)
}

#[test]
fn a_write_of_the_operator_whose_reply_is_lost_is_not_made_twice() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let away = Away::new(env, "lostreply", &[]).await?;
        for write in WRITES {
            // the first of each kind, and each second one after it
            away.proxy.on(write, Calls::Nth(1), Fault::LoseReply);
            away.proxy.on(write, Calls::Percent(50, 3), Fault::LoseReply);
        }
        let mut operator = away.operator().await?;
        away.release.apply(&extract_of(&away.release).await?).await?;
        away.ends_once(&mut operator).await?;
        // the process that writes events may be killed each time: events are no part of the promise
        for write in &WRITES[..4] {
            ensure!(!away.proxy.asked(write).is_empty(), "{write} was not tried");
        }
        Ok(())
    })
}

#[test]
fn an_unavailable_api_server_is_retried_with_backoff() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let away = Away::new(env, "refusals", &[]).await?;
        away.proxy.on("*", Calls::Percent(20, 5), Fault::Answer(429, "TooManyRequests"));
        away.proxy.on("*", Calls::Percent(20, 7), Fault::Answer(500, "InternalError"));
        let mut operator = away.operator().await?;
        away.release.apply(&extract_of(&away.release).await?).await?;
        wait_until("the extract Job", STEP, async || {
            let jobs = away.release.get(&["jobs", "-l", "tidemark.dev/role=extract"]).await?;
            ensure!(jobs["items"][0]["status"]["active"] == 2, "{jobs}");
            Ok(())
        })
        .await?;
        away.proxy.heal();

        let before = away.proxy.asked("*").len();
        away.proxy.on("*", Calls::Every, Fault::Refuse);
        // the pods go on without the operator
        away.release.run_reaches(NAME, "published", STEP).await?;
        let gone = away.proxy.asked("*");
        let gone = &gone[before..];
        let (first, last) = (gone.first().map(|one| one.at), gone.last().map(|one| one.at));
        let time =
            first.zip(last).map_or(1.0, |(first, last)| (last - first).as_secs_f64().max(1.0));
        // an operation in flight and three watches, each after growing pauses
        let rate = f64::from(u32::try_from(gone.len())?) / time;
        ensure!(rate < 20.0, "{} requests in {time} s", gone.len());
        away.proxy.heal();
        away.ends_once(&mut operator).await
    })
}

#[test]
fn a_status_with_conflicting_writes_is_written_in_the_end_and_keeps_foreign_fields() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let away = Away::new(env, "conflict", &[]).await?;
        away.proxy.on("PATCH extractjobs/status", Calls::UpTo(8), Fault::Answer(409, "Conflict"));
        let mut operator = away.operator().await?;
        let mut job = extract_of(&away.release).await?;
        job["metadata"]["labels"] = json!({ "team": "lake" });
        away.release.apply(&job).await?;
        let touch = ["annotate", "extractjob", NAME, "owner=somebody", "--overwrite"];
        away.release.kubectl(&touch).await?;
        away.ends_once(&mut operator).await?;
        let object = away.release.get(&["extractjob", NAME]).await?;
        ensure!(object["metadata"]["labels"]["team"] == "lake", "{object}");
        ensure!(object["metadata"]["annotations"]["owner"] == "somebody", "{object}");
        Ok(())
    })
}

#[test]
fn a_run_completes_without_any_event_of_its_jobs() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let away = Away::new(env, "noevents", &["--resync-seconds=5"]).await?;
        let gate = Gate::shut();
        for kind in ["jobs", "pods"] {
            away.proxy.on(&format!("WATCH {kind}"), Calls::Every, Fault::Hold(gate.clone()));
        }
        let mut operator = away.operator().await?;
        away.release.apply(&extract_of(&away.release).await?).await?;
        away.ends_once(&mut operator).await?;
        gate.came(2, STEP).await
    })
}

#[test]
fn an_operator_that_is_shown_the_past_starts_no_second_run() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let away = Away::new(env, "past", &[]).await?;
        let (release, proxy) = (&away.release, &away.proxy);
        release.apply(&extract_of(release).await?).await?;
        let path =
            format!("/apis/tidemark.dev/v1alpha1/namespaces/{}/extractjobs", release.namespace);
        // before any operator has seen it: no finalizer, no status
        let past = env.kubectl(&["get", "--raw", &path]).await?;
        let mut operator = away.operator().await?;
        away.ends_once(&mut operator).await?;
        // Complete comes before the Jobs end; then the operator writes once more
        wait_until("the end of all Jobs", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            ensure!(object["metadata"]["finalizers"] == Value::Null, "{}", object["metadata"]);
            Ok(())
        })
        .await?;
        operator.die().await?;
        let jobs = format!("tidemark.dev/extract-job={NAME}");
        release.kubectl(&["delete", "job", "-l", &jobs]).await?;
        let version =
            release.get(&["extractjob", NAME]).await?["metadata"]["resourceVersion"].clone();

        let gate = Gate::shut();
        proxy.on("GET extractjobs", Calls::Nth(1), Fault::Say(past.into()));
        proxy.on("WATCH extractjobs", Calls::Every, Fault::Hold(gate.clone()));
        let before = proxy.asked("PATCH extractjobs/status").len();
        let mut operator = away.operator().await?;
        wait_until("writes that the API server refuses", STEP, async || {
            let writes = proxy.asked("PATCH extractjobs/status");
            let refused = writes[before..].iter().filter(|write| write.status == Some(409)).count();
            ensure!(refused >= 6, "{:?} {}", &writes[before..], operator.log()?);
            Ok(())
        })
        .await?;
        ensure!(
            proxy.asked("POST jobs").len() == 2,
            "further Jobs: {:?}",
            proxy.asked("POST jobs")
        );
        // it is not asked for ever at the same pace, and said
        let refused = &proxy.asked("PATCH extractjobs/status")[before..];
        let pause = refused[5].at - refused[4].at;
        ensure!(pause > Duration::from_secs(3), "{pause:?} after five conflicts");
        ensure!(operator.log()?.contains("the watch shows an old version"), "{}", operator.log()?);
        gate.open();
        wait_until("the present", STEP, async || {
            let object = release.get(&["extractjob", NAME]).await?;
            ensure!(condition(&object, "Complete")["status"] == "True", "{}", object["status"]);
            let found = release.get(&["jobs", "-l", &jobs]).await?;
            ensure!(found["items"] == json!([]), "{found}");
            ensure!(object["metadata"]["resourceVersion"] == version, "written to: {object}");
            Ok(())
        })
        .await
    })
}

//! Promise 3 on the real cluster: what goes wrong is said clearly, and once it is corrected the run succeeds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Access, Release, TestEnv, condition, unique, wait_until};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// How soon a failure must be reported.
const TOLD_WITHIN: f64 = 30.0;
/// How long what leads to the failure may take, and the telling of it.
const FAILURE_DEADLINE: Duration = Duration::from_secs(90);
/// How long a read of something that exists already may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(15);

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn contains(value: &Value, part: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(part))
}

/// Seconds from one instant to another, by the database's calendar.
async fn seconds(release: &Release, from: &Value, to: &Value) -> Result<f64> {
    let (from, to) = (from.as_str().context("from")?, to.as_str().context("to")?);
    let sql = format!("select extract(epoch from timestamptz '{to}' - timestamptz '{from}')");
    let said = release.source.env.psql("postgres", &sql).await?;
    said.parse().with_context(|| format!("seconds: {said}"))
}

/// All conditions that are True are of these types and say the same, with a remedy.
fn says_one_thing(object: &Value, types: &[&str], reason: &str, remedy: &str) -> Result<()> {
    let status = &object["status"];
    let all = status["conditions"].as_array().context("conditions")?;
    let held: Vec<&Value> = all.iter().filter(|one| one["status"] == "True").collect();
    let mut names: Vec<&str> = held.iter().filter_map(|one| one["type"].as_str()).collect();
    names.sort_unstable();
    ensure!(names == types, "{names:?}: {status}");
    for one in held {
        ensure!(one["reason"] == reason, "{one}");
        ensure!(contains(&one["message"], "; remedy: "), "{one}");
        ensure!(contains(&one["message"], remedy), "{one}");
    }
    Ok(())
}

/// An Event of type Warning about the object says it too.
async fn an_event_says(release: &Release, job: &str, reason: &str, remedy: &str) -> Result<()> {
    let about = format!("involvedObject.kind=ExtractJob,involvedObject.name={job}");
    wait_until("the Event", LOOK_DEADLINE, async || {
        let events = release.get(&["events", "--field-selector", &about]).await?;
        let found = items(&events).any(|event| {
            event["type"] == "Warning"
                && event["reason"] == reason
                && contains(&event["message"], remedy)
        });
        ensure!(found, "{events}");
        Ok(())
    })
    .await
}

/// When the last of the job's pods that failed ended.
async fn last_failure(release: &Release, job: &str) -> Result<Value> {
    let label = format!("tidemark.dev/extract-job={job}");
    let pods = release.get(&["pods", "-l", &label]).await?;
    let ends = items(&pods).filter_map(|pod| {
        let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        end["finishedAt"].as_str().filter(|_| end["exitCode"] != 0)
    });
    let last = ends.max().with_context(|| format!("no pod failed: {pods}"))?;
    Ok(json!(last))
}

/// Applies a job of which a pod will fail, and checks that the failure is reported.
async fn fails(release: &Release, job: &Value, reason: &str, remedy: &str) -> Result<Value> {
    let name = job["metadata"]["name"].as_str().context("name")?;
    release.apply(job).await?;
    is_told(release, name, reason, remedy).await
}

/// Checks that the failure of a pod is reported soon: in a condition and by an Event.
async fn is_told(release: &Release, name: &str, reason: &str, remedy: &str) -> Result<Value> {
    let object = release.condition(name, "Failed", FAILURE_DEADLINE).await?;
    says_one_thing(&object, &["Failed", "Stalled"], reason, remedy)?;
    an_event_says(release, name, reason, remedy).await?;
    let (from, to) = (
        last_failure(release, name).await?,
        condition(&object, "Failed")["lastTransitionTime"].clone(),
    );
    let took = seconds(release, &from, &to).await?;
    ensure!((0.0..=TOLD_WITHIN).contains(&took), "{took} s from {from} to {to}");
    Ok(object)
}

/// `extract_successful` of the legacy job's item; null where there is none.
async fn successful(release: &Release, table: &str) -> Result<Value> {
    let item = release.source.watermark_item(table).await?;
    Ok(item.map_or(Value::Null, |item| item["extract_successful"].clone()))
}

/// After the mending: another request takes the whole table.
async fn succeeds_after(release: &Release, name: &str, table: &str, rows: u64) -> Result<()> {
    let object = release.again(name).await?;
    ensure!(object["status"]["rows"] == rows, "{}", object["status"]);
    ensure!(successful(release, table).await? == "Y", "{}", object["status"]);
    counts(release, table, rows).await
}

/// The published files hold this many rows.
async fn counts(release: &Release, table: &str, rows: u64) -> Result<()> {
    let source = &release.source;
    let sql = "select count(*) n, count(distinct id) d from t";
    let read = source.env.read_parquet(&source.bucket, table, sql).await?;
    ensure!(read[0] == json!({ "n": rows, "d": rows }), "{}", read[0]);
    Ok(())
}

async fn numbers(release: &Release, table: &str, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "create table if not exists {table} (id bigint primary key);
         insert into {table} select generate_series({from}, {to})"
    );
    release.source.env.psql(&release.source.database, &sql).await.map(|_| ())
}

#[test]
fn a_wrong_password_is_reported_and_fixed_by_the_secret() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "password", &[]).await?;
        let (name, table) = ("public-one", "public.one");
        numbers(&release, "one", 1, 100).await?;
        release.secret("database", &[("username", "postgres"), ("password", "wrong")]).await?;
        let job = release.source.job(table, "FE");
        let object =
            fails(&release, &job, "CredentialsRejected", "source.credentials.secretRef").await?;
        ensure!(object["status"]["extractSuccessful"] == "N", "{}", object["status"]);
        ensure!(successful(&release, table).await? == "N", "the legacy job's item");
        release.secret("database", &[("username", "postgres"), ("password", "secret")]).await?;
        succeeds_after(&release, name, table, 100).await
    })
}

#[test]
fn a_missing_table_is_reported_and_creating_it_is_the_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "no-table", &[]).await?;
        let (name, table) = ("public-one", "public.one");
        let job = release.source.job(table, "FE");
        let object = fails(&release, &job, "TableNotFound", "Check extract.table").await?;
        ensure!(object["status"]["extractSuccessful"] == "N", "{}", object["status"]);
        ensure!(successful(&release, table).await? == "N", "the legacy job's item");
        numbers(&release, "one", 1, 100).await?;
        succeeds_after(&release, name, table, 100).await
    })
}

#[test]
fn a_missing_bucket_is_reported_and_creating_it_is_the_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut release = Release::new(env, "no-bucket", &[]).await?;
        release.source.bucket = unique("no-bucket");
        let (name, table) = ("public-one", "public.one");
        numbers(&release, "one", 1, 100).await?;
        let job = release.source.job(table, "FE");
        let object = fails(&release, &job, "BucketNotFound", "Create the bucket").await?;
        ensure!(object["status"]["extractSuccessful"] == "N", "{}", object["status"]);
        // the prefix is read before the source is claimed, so the item is still absent
        ensure!(successful(&release, table).await? == Value::Null, "the legacy job's item");
        env.s3(Access::Admin).create_bucket().bucket(&release.source.bucket).send().await?;
        succeeds_after(&release, name, table, 100).await
    })
}

#[test]
fn a_wrong_storage_key_is_reported_and_fixed_by_the_secret() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "no-key", &[]).await?;
        let (name, table) = ("public-one", "public.one");
        numbers(&release, "one", 1, 100).await?;
        release.secret("lake", &[("accessKeyId", "nobody"), ("secretAccessKey", "wrong")]).await?;
        let mut job = release.source.job(table, "FE");
        job["spec"]["output"]["secretRef"]["name"] = json!("lake");
        fails(&release, &job, "StorageDenied", "output.secretRef").await?;
        ensure!(successful(&release, table).await? == Value::Null, "the legacy job's item");
        lake(&release, Access::Admin).await?;
        succeeds_after(&release, name, table, 100).await
    })
}

/// Applies a job whose tracking table cannot be read, and checks that this is reported without a pod.
async fn tracking_fails(
    release: &Release,
    job: &Value,
    condition_type: &str,
    (reason, remedy): (&str, &str),
) -> Result<()> {
    let name = job["metadata"]["name"].as_str().context("name")?;
    release.apply(job).await?;
    let object = release.condition(name, condition_type, FAILURE_DEADLINE).await?;
    says_one_thing(&object, &[condition_type], reason, remedy)?;
    let (from, to) = (
        &object["metadata"]["creationTimestamp"],
        &condition(&object, condition_type)["lastTransitionTime"],
    );
    let took = seconds(release, from, to).await?;
    ensure!((0.0..=TOLD_WITHIN).contains(&took), "{took} s from {from} to {to}");
    an_event_says(release, name, reason, remedy).await?;
    let label = format!("tidemark.dev/extract-job={name}");
    let made = release.get(&["pods,jobs", "-l", &label]).await?;
    ensure!(items(&made).next().is_none(), "{made}");
    Ok(())
}

#[test]
fn a_missing_tracking_table_is_reported_and_creating_it_is_the_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut release = Release::new(env, "no-tracking", &[]).await?;
        release.source.table = unique("late");
        let table = "public.one";
        numbers(&release, "one", 1, 100).await?;
        let job = release.source.job(table, "FE");
        let words = ("TrackingTableNotFound", "Create a DynamoDB table");
        tracking_fails(&release, &job, "Stalled", words).await?;
        env.create_table(&release.source.table).await?;
        let object = release.condition("public-one", "Complete", Duration::from_mins(2)).await?;
        ensure!(object["status"]["rows"] == 100, "{}", object["status"]);
        ensure!(object["status"]["attempt"] == 1, "{}", object["status"]);
        counts(&release, table, 100).await
    })
}

/// Forwards every connection to DynamoDB.
async fn forward(listener: TcpListener) -> Result<()> {
    let to = TestEnv::DYNAMODB.trim_start_matches("http://");
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}

#[test]
fn an_unreachable_tracking_endpoint_is_reported_and_retried() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let closed = TcpListener::bind((TestEnv::IP, 0)).await?.local_addr()?;
        let endpoint = format!("http://{closed}");
        let allowed = format!("--tracking-allowed-endpoints={endpoint}");
        let release = Release::new(env, "unreachable", &[&allowed]).await?;
        let table = "public.one";
        numbers(&release, "one", 1, 100).await?;
        let mut job = release.source.job(table, "FE");
        job["spec"]["tracking"]["endpoint"] = json!(endpoint);
        let words = ("TrackingUnreachable", "Check the endpoint");
        tracking_fails(&release, &job, "Reconciling", words).await?;
        tokio::spawn(forward(TcpListener::bind(closed).await?));
        let object = release.condition("public-one", "Complete", Duration::from_mins(2)).await?;
        ensure!(object["status"]["rows"] == 100, "{}", object["status"]);
        counts(&release, table, 100).await
    })
}

#[test]
fn a_tracking_endpoint_that_is_not_allowed_is_reported() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "off-list", &[]).await?;
        let mut job = release.source.job("public.one", "FE");
        job["spec"]["tracking"]["endpoint"] = json!("http://198.18.0.1:9");
        tracking_fails(&release, &job, "Stalled", ("TrackingNotAllowed", "tracking")).await
    })
}

/// Keeps pods from being made, but for one more; returns once that is in force.
async fn hold_pods(release: &Release) -> Result<()> {
    // Complete comes before the pods of the run end, and a pod that ends makes room for another one
    wait_until("the pods of the last run to end", FAILURE_DEADLINE, async || {
        let jobs = release.get(&["jobs"]).await?;
        let ended = items(&jobs).all(|job| job["status"]["completionTime"] != Value::Null);
        ensure!(ended, "{jobs}");
        Ok(())
    })
    .await?;
    let pods = release.get(&["pods"]).await?;
    let alive = items(&pods).filter(|pod| pod["status"]["phase"] == "Running").count();
    let (used, hard) = (json!(alive.to_string()), format!("--hard=pods={}", alive + 1));
    release.kubectl(&["create", "quota", "hold", &hard]).await?;
    wait_until("the quota", LOOK_DEADLINE, async || {
        let quota = release.get(&["quota", "hold"]).await?;
        ensure!(quota["status"]["used"]["pods"] == used, "{quota}");
        Ok(())
    })
    .await
}

async fn lake(release: &Release, access: Access) -> Result<()> {
    let (id, secret) = access.keys();
    release.secret("lake", &[("accessKeyId", id), ("secretAccessKey", secret)]).await
}

/// The window that the run item has pinned.
async fn run_window(release: &Release, table: &str) -> Result<Value> {
    let item = release.source.run_item(table).await?.context("run item")?;
    Ok(item["window"].clone())
}

#[test]
fn writes_refused_once_ready_fail_the_run_and_leave_its_window_pending() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "denied", &[]).await?;
        let (name, table) = ("public-one", "public.one");
        lake(&release, Access::Admin).await?;
        numbers(&release, "one", 1, 100).await?;
        let mut job = release.source.job(table, "PE");
        let spec = &mut job["spec"];
        spec["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        spec["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        spec["worker"] = json!({ "parallelism": 2 });
        spec["retry"] = json!({ "runs": 1 });
        spec["output"]["secretRef"]["name"] = json!("lake");
        release.complete(&job).await?;

        numbers(&release, "one", 101, 300).await?;
        hold_pods(&release).await?;
        release.request(name).await?;
        // the extract Job is made when the coordinator is Ready, and its pods are held back
        let ready = format!(
            "tidemark.dev/extract-job={name},tidemark.dev/role=extract,tidemark.dev/attempt=2"
        );
        wait_until("the extract Job", FAILURE_DEADLINE, async || {
            let jobs = release.get(&["jobs", "-l", &ready]).await?;
            ensure!(items(&jobs).count() == 1, "{jobs}");
            Ok(())
        })
        .await?;
        let pinned = run_window(&release, table).await?;
        ensure!(pinned["low"] == "100" && pinned["high"] == "300", "{pinned}");
        lake(&release, Access::Reader).await?;
        release.kubectl(&["delete", "quota", "hold"]).await?;
        let object = is_told(&release, name, "StorageDenied", "s3:PutObject").await?;
        ensure!(object["status"]["extractSuccessful"] == "N", "{}", object["status"]);
        ensure!(successful(&release, table).await? == "N", "the legacy job's item");
        ensure!(release.published(table).await? == 1, "nothing may be published");

        numbers(&release, "one", 301, 400).await?;
        lake(&release, Access::Admin).await?;
        let object = release.again(name).await?;
        let window = &object["status"]["window"];
        ensure!(window["low"] == pinned["low"] && window["high"] == pinned["high"], "{window}");
        ensure!(object["status"]["rows"] == 200, "{}", object["status"]);
        counts(&release, table, 300).await?;

        let object = release.again(name).await?;
        ensure!(object["status"]["rows"] == 100, "{}", object["status"]);
        counts(&release, table, 400).await?;
        ensure!(release.source.open_uploads().await? == 0, "open uploads");
        Ok(())
    })
}

//! Promises 1, 2 and 9 on the real cluster: what is extracted is what the table holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Release, Session, SourceFixture, TestEnv, condition, wait_until};
use serde_json::{Value, json};

/// The memory limit that is enough for worker pods with any table.
const LIMIT_BYTES: u64 = 128 << 20;
/// The same in Kubernetes' words.
const LIMIT: &str = "128Mi";
/// Rows of the small table (92 bytes each, incompressible). Each of its two partitions fills all buffers: several row
/// groups and the parts in flight. Measured at 400,000 rows per partition: 90 MB, 800,000: 96, 1,600,000 and more: 107.
const FEW: u64 = 2_000_000;
/// Rows of the large one.
const MANY: u64 = 4 * FEW;

#[test]
fn a_full_extract_in_four_partitions_has_the_whole_table() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "full", &[]).await?;
        let source = &release.source;
        env.psql(
            &source.database,
            "create table events (id bigint primary key, name text, price numeric(12,2), at timestamptz);
             insert into events select i, 'event ' || i, i / 100.0, timestamptz '2024-01-01' + i * interval '1 second'
             from generate_series(1, 1100000) i",
        )
        .await?;
        let mut job = release.source.job("public.events", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 4 });
        job["spec"]["worker"] = json!({ "parallelism": 4, "resources": {
            "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } } });
        release.apply(&job).await?;
        release
            .kubectl(&["wait", "--for=condition=Complete", "extractjob/public-events", "--timeout=240s"])
            .await?;
        let object = release.condition("public-events", "Complete", Duration::from_secs(5)).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1_100_000 && status["files"] == 4, "{status}");
        let mut partitions = status["partitions"].clone();
        // predicted only where the server has analyzed the table by then
        let predicted = partitions.as_object_mut().and_then(|partitions| partitions.remove("predictedSkew"));
        ensure!(predicted.is_none_or(|skew| skew.as_str() < Some("1.10")), "{status}");
        let expected = json!({
            "total": 4, "succeeded": 4, "failed": 0,
            "strategy": "range", "reason": "the manifest requests it", "actualSkew": "1.00",
        });
        ensure!(partitions == expected, "{status}");
        ensure!(condition(&object, "Committed")["status"] == "True", "{status}");
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.events",
                "select count(*) n, sum(id)::varchar ids, sum(price)::varchar price,
                 md5(string_agg(name, ',' order by id)) names, md5(string_agg(epoch_us(\"at\")::varchar, ',' order by id)) times from t",
            )
            .await?;
        ensure!(rows[0]["n"] == 1_100_000, "{}", rows[0]);
        let want = env.psql(&source.database, "select sum(id) || ' ' || sum(price) || ' ' || md5(string_agg(name, ',' order by id))
                    || ' ' || md5(string_agg((extract(epoch from at) * 1000000)::bigint::text, ',' order by id)) from events").await?;
        let window = &status["window"];
        ensure!(status["bytes"].as_u64() > Some(1_000_000) && window.get("low").is_none(), "{status}");
        let pods = release.get(&["pods", "-l", "tidemark.dev/extract-job=public-events,tidemark.dev/role=extract"]).await?;
        let index = |pod: &Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str().map(String::from);
        let mut indices: Vec<_> = pods["items"].as_array().context("items")?.iter().filter_map(index).collect();
        indices.sort_unstable();
        ensure!(indices == ["0", "1", "2", "3"], "{indices:?}");
        let text = |name: &str| rows[0][name].as_str().unwrap_or_default().to_owned();
        let got = ["ids", "price", "names", "times"].map(text).join(" ");
        ensure!(got == want.trim(), "{got} {want}");
        Ok(())
    })
}

/// `FEW` and `MANY` rows that compress badly, in `few` and `many`.
async fn two_sizes(source: &SourceFixture) -> Result<()> {
    let sql = format!(
        "create unlogged table many (id bigint primary key, v int, noise bytea);
         insert into many select i, i % 977, sha512(int8send(i)) || sha224(int8send(-i)) from generate_series(1, {MANY}::bigint) i;
         create unlogged table few (like many including all);
         insert into few select * from many where id <= {FEW}"
    );
    source.env.psql(&source.database, &sql).await.map(|_| ())
}

#[test]
fn memory_stays_within_128_mebibytes_for_a_table_of_any_size() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "memory", &[]).await?;
        two_sizes(&release.source).await?;

        let few = peak_of_pods(&release, "few", FEW).await?;
        let many = peak_of_pods(&release, "many", MANY).await?;
        ensure!(many < LIMIT_BYTES, "{many} bytes for {MANY} rows");
        ensure!(many * 100 <= few * 115, "{few} bytes for {FEW} rows, {many} for {MANY}");
        Ok(())
    })
}

/// The most memory that a pod of an extract of two partitions held at a time.
async fn peak_of_pods(release: &Release, table: &str, rows: u64) -> Result<u64> {
    let mut job = release.source.job(&format!("public.{table}"), "FE");
    job["metadata"]["name"] = json!(table);
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    job["spec"]["worker"] = json!({ "parallelism": 2, "resources": {
        "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": LIMIT } } });
    release.apply(&job).await?;
    let (object, pods) = watch_pods(release, table).await?;
    let status = &object["status"];
    ensure!(status["rows"] == rows && status["attempt"] == 1, "{status}");
    let extracting: Vec<_> = pods.values().filter(|pod| pod.role == "extract").collect();
    ensure!(extracting.len() == 2 && pods.len() == 3, "one pod for each range: {pods:?}");
    for pod in pods.values() {
        ensure!(pod.limit == LIMIT && pod.restarts == 0 && !pod.failed, "{pods:?}");
    }
    let peak = extracting.iter().map(|pod| pod.peak).max().unwrap_or(0);
    ensure!(peak > 0, "no pod of {table} was seen at work");
    Ok(peak)
}

/// The peak of a process that is the worker by now.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':').map(str::trim)
    };
    let kibibytes: u64 = field("VmHWM")?.strip_suffix(" kB")?.parse().ok()?;
    (field("Name")? == "tidemark").then_some(kibibytes * 1024)
}

/// What was seen of a pod.
#[derive(Debug, Default)]
struct PodSeen {
    role: String,
    limit: String,
    restarts: u64,
    failed: bool,
    /// Of its worker, in bytes.
    peak: u64,
}

/// Watches the pods of a job, by name, until the job is Complete.
async fn watch_pods(release: &Release, job: &str) -> Result<(Value, BTreeMap<String, PodSeen>)> {
    let labels = format!("tidemark.dev/extract-job={job}");
    let mut pods: BTreeMap<String, PodSeen> = BTreeMap::new();
    let object = wait_until(&format!("{job} to complete"), Duration::from_mins(4), async || {
        let object = release.get(&["extractjob", job]).await?;
        let listed = release.get(&["pods", "-l", &labels]).await?;
        for pod in listed["items"].as_array().context("items")? {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let container = &pod["status"]["containerStatuses"][0];
            let seen = pods.entry(text(&pod["metadata"]["name"])).or_default();
            seen.role = text(&pod["metadata"]["labels"]["tidemark.dev/role"]);
            seen.limit = text(&pod["spec"]["containers"][0]["resources"]["limits"]["memory"]);
            seen.restarts = seen.restarts.max(container["restartCount"].as_u64().unwrap_or(0));
            seen.failed |= pod["status"]["phase"] == "Failed";
            seen.peak = seen.peak.max(peak_of_pod(&text(&pod["metadata"]["uid"]))?);
        }
        ensure!(condition(&object, "Complete")["status"] == "True", "status {}", object["status"]);
        Ok(object)
    })
    .await?;
    Ok((object, pods))
}

/// The peak of the worker in a pod; 0 when it does not run.
fn peak_of_pod(uid: &str) -> Result<u64> {
    Ok(process_in(uid)?.and_then(peak_of).unwrap_or(0))
}

/// The worker's process in a pod. The test environment's processes are children of this machine, and their control group names their
/// pod.
fn process_in(uid: &str) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // a process may end meanwhile
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if group.contains(uid) && peak_of(pid).is_some() {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[test]
fn incremental_runs_of_the_operator_lose_and_repeat_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "incr", &[]).await?;
        let db = &release.source.database;
        env.psql(
            db,
            "create table orders (id int, v int not null default 0,
                 changed timestamp not null default (now() at time zone 'UTC'));
             insert into orders select i, 0, (now() at time zone 'UTC') - interval '1 day' + i * interval '1 ms'
             from generate_series(1, 1000) i",
        )
        .await?;
        // stamped before run 1, committed after it; 2002 is stamped and committed between them
        let mut late = Session::open(env, db)?;
        late.say("begin; insert into orders values (2001);").await?;
        env.psql(db, "insert into orders values (2002)").await?;

        let mut job = release.source.job("public.orders", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "changed", "type": "timestamp", "stampedBy": "database", "timeZone": "UTC" });
        let first = release.complete(&job).await?;
        late.say("commit;").await?;
        let first = &first["status"];
        ensure!(first["rows"] == 1000, "{first}");
        ensure!(first["window"]["guard"] == "exact" && first["window"].get("low").is_none(), "{first}");
        let stamp = async |ids: &str| {
            let sql = format!(
                "select to_char(max(changed), 'YYYY-MM-DD HH24:MI:SS.US') from orders where id {ids}"
            );
            env.psql(db, &sql).await
        };
        ensure!(first["watermark"] == stamp("<= 1000").await?, "{first}");
        let high = first["window"]["high"].as_str().context("high")?;
        ensure!(high < stamp("= 2001").await?.as_str(), "the late row is in the window: {first}");

        env.psql(db, "insert into orders select i from generate_series(1001, 1100) i").await?;
        env.psql(db, "update orders set v = 1, changed = default where id <= 10").await?;
        older_than_a_second(env, db).await?;
        let second = release.again("public-orders").await?;
        let second = &second["status"];
        ensure!(second["rows"] == 2 + 100 + 10, "{second}");
        ensure!(second["window"]["low"] == first["watermark"], "{first} then {second}");
        ensure!(second["window"]["guard"] == "exact", "{second}");
        ensure!(second["watermark"] == stamp("<= 10").await?, "{second}");

        env.psql(db, "insert into orders select i from generate_series(1101, 1150) i").await?;
        env.psql(db, "update orders set v = v + 1, changed = default where id <= 5 or id = 2001").await?;
        older_than_a_second(env, db).await?;
        let third = release.again("public-orders").await?;
        let third = &third["status"];
        ensure!(third["rows"] == 50 + 6, "{third}");
        ensure!(third["window"]["low"] == second["watermark"], "{second} then {third}");
        ensure!(third["watermark"] == stamp("<= 5").await?, "{third}");

        ensure!(release.published("public.orders").await? == 3, "three runs");
        holds_every_version_once(&release.source, 1000 + 112 + 56).await?;
        Ok(())
    })
}

#[test]
fn a_row_committed_between_guard_and_snapshot_of_a_coordinator_is_in_the_next_run() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let gate = "/run/tidemark/gate";
        let pause = format!("--worker-env=TIDEMARK_TEST_PAUSE=after-guard@1={gate}");
        let release = Release::new(env, "edge", &[&pause]).await?;
        let db = &release.source.database;
        env.psql(
            db,
            "create table orders (id int, changed timestamp not null default (now() at time zone 'UTC'));
             insert into orders select i, (now() at time zone 'UTC') - interval '1 day' from generate_series(1, 10) i",
        )
        .await?;
        let mut session = Session::open(env, db)?;
        session.say("begin; insert into orders values (11);").await?;
        let mut job = release.source.job("public.orders", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "changed", "type": "timestamp", "stampedBy": "database", "timeZone": "UTC" });
        release.apply(&job).await?;
        // the coordinator has read its guard, and has no snapshot yet
        let gate = wait_until("the pause", Duration::from_mins(2), async || {
            let labels = "tidemark.dev/extract-job=public-orders,tidemark.dev/role=coordinator";
            let pods = release.get(&["pods", "-l", labels]).await?;
            let uid = pods["items"][0]["metadata"]["uid"].as_str().context("no pod yet")?;
            let pid = process_in(uid)?.context("no process yet")?;
            let gate = Path::new("/proc").join(pid.to_string()).join("root").join(gate.trim_start_matches('/'));
            ensure!(gate.exists(), "not there yet");
            Ok(gate)
        })
        .await?;
        session.say("commit;").await?;
        fs::remove_file(gate)?;
        let first = release.condition("public-orders", "Complete", Duration::from_mins(2)).await?;
        let first = &first["status"];
        ensure!(first["rows"] == 10 && first["window"]["guard"] == "exact", "{first}");
        older_than_a_second(env, db).await?;
        let second = release.again("public-orders").await?;
        ensure!(second["status"]["rows"] == 1, "{}", second["status"]);
        Ok(())
    })
}

/// Whether the files hold so many versions of rows, each once, and the newest of each row is what the table holds.
async fn holds_every_version_once(source: &SourceFixture, versions: u64) -> Result<()> {
    let (env, db) = (source.env, &source.database);
    let rows = env
        .read_parquet(
            &source.bucket,
            "public.orders",
            "with last as (select id, arg_max(v, changed) v, max(changed) changed from t group by id)
             select (select count(*) from t) n, (select count(distinct (id, v, changed)) from t) versions,
             count(*) ids, sum(id)::bigint s, sum(v)::bigint v, md5(string_agg(id || ' ' || v || ' ' ||
             strftime(changed, '%Y-%m-%d %H:%M:%S.%f'), ';' order by id)) hash from last",
        )
        .await?;
    let mut want: Value = serde_json::from_str(
        &env.psql(
            db,
            "select json_build_object('ids', count(*), 's', sum(id), 'v', sum(v), 'hash', md5(string_agg(
             id || ' ' || v || ' ' || to_char(changed, 'YYYY-MM-DD HH24:MI:SS.US'), ';' order by id))) from orders",
        )
        .await?,
    )?;
    want["n"] = json!(versions);
    want["versions"] = json!(versions);
    ensure!(rows[0] == want, "read {}\nwant {want}", rows[0]);
    Ok(())
}

/// Waits until the clock is so far past all stamps that the next window, which ends a second before it, holds them.
async fn older_than_a_second(env: &TestEnv, database: &str) -> Result<()> {
    let sql = "select clock_timestamp() at time zone 'UTC' - max(changed) > interval '1 second' from orders";
    wait_until("the stamps to age", Duration::from_secs(20), async || {
        ensure!(env.psql(database, sql).await? == "t", "younger");
        Ok(())
    })
    .await
}

#[test]
fn a_local_run_reads_the_same_rows_as_the_operator() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let release = Release::new(env, "beside", &[]).await?;
        let source = &release.source;
        env.psql(
            &source.database,
            "create table events (id bigint primary key, name text, price numeric(12,2), at timestamptz, doc jsonb, raw bytea)",
        )
        .await?;
        let mut job = source.job("public.events", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        let mut local = job.clone();
        local["spec"]["tracking"]["key"] = json!("another-key");
        local["spec"]["output"]["uri"] = json!(format!("s3://{}/local", source.bucket));

        // each of the two goes on from its own watermark
        events(source, 1, 20_000).await?;
        let said = source.run(&local).await?;
        ensure!(said["rows"] == 20_000, "{said}");
        let object = release.complete(&job).await?;
        ensure!(object["status"]["rows"] == 20_000, "{}", object["status"]);
        events(source, 20_001, 20_100).await?;
        let object = release.again("public-events").await?;
        ensure!(object["status"]["rows"] == 100, "{}", object["status"]);
        let said = source.run(&local).await?;
        ensure!(said["rows"] == 100 && said["watermark"] == object["status"]["watermark"], "{said}");

        let digest = "select count(*) n, sum(id)::varchar ids, sum(price)::varchar price, count(name) names,
             md5(string_agg(md5(t::varchar), '' order by id)) hash from t";
        let pods = env.read_parquet(&source.bucket, "public.events", digest).await?;
        let here = env.read_parquet(&source.bucket, "local", digest).await?;
        ensure!(pods == here, "the operator {pods:?}\nwithout it {here:?}");
        let want = env
            .psql(
                &source.database,
                "select json_build_object('n', count(*), 'ids', sum(id)::text, 'price', sum(price)::text,
                 'names', count(name)) from events",
            )
            .await?;
        let mut want: Value = serde_json::from_str(&want)?;
        want["hash"] = pods[0]["hash"].clone();
        ensure!(pods[0] == want, "read {}\nwant {want}", pods[0]);
        for key in [source.key("public.events"), "another-key".to_owned()] {
            let item = env.item(&source.table, &key).await?.with_context(|| key.clone())?;
            ensure!(item["extract_successful"] == "Y" && item["lwm_value"] == "20100", "{key}: {item}");
        }
        Ok(())
    })
}

/// Inserts events of these numbers.
async fn events(source: &SourceFixture, from: u32, to: u32) -> Result<()> {
    let sql = format!(
        "insert into events select i, case when i % 3 > 0 then 'event ' || i end, i / 100.0,
             timestamptz '2024-01-01' + i * interval '1.000001 second', jsonb_build_object('i', i),
             decode(lpad(to_hex(i), 8, '0'), 'hex')
         from generate_series({from}, {to}) i"
    );
    source.env.psql(&source.database, &sql).await.map(|_| ())
}

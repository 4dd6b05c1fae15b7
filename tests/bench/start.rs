//! Measures how long a small extract takes, and prints the results as Markdown.
//!
//! `bench_start [RUNS]` runs in the test environment and measures 20 runs by default. It measures the time from
//! `kubectl apply` of an ExtractJob of 1,000 rows until it is Complete, with one partition and with four. It also
//! measures the time from the start of a `tidemark` process until it sends its first query. `TIDEMARK_BINARIES=FOLDER`
//! measures the binaries of another folder. Compare only times of the same machine and the same hour.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Access, PlainApi, Release, SourceFixture, TestEnv, binary, condition, wait_until};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Default number of measured runs.
const RUNS: usize = 20;
/// Number of runs before them, which fill caches and do not count.
const WARM_UP: usize = 2;
/// Maximum time of the whole program.
const DEADLINE: Duration = Duration::from_mins(30);
/// How long one extract may take.
const RUN_DEADLINE: Duration = Duration::from_mins(2);
/// SQL that creates the table of 1,000 rows.
const ROWS: &str = "create table small (id bigint primary key, name text, at timestamptz);
    insert into small select i, 'row ' || i, timestamptz '2024-01-01' + i * interval '1 second'
    from generate_series(1, 1000) i; analyze small";

/// Seconds after the start of each run, by step.
type Steps = BTreeMap<String, Vec<f64>>;
/// Objects that the API server has sent, with the time of arrival.
type Events = Arc<Mutex<Vec<(Timestamp, Value)>>>;

fn main() -> ExitCode {
    use std::io::Write as _;
    match report() {
        Ok(text) if std::io::stdout().write_all(text.as_bytes()).is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            // if standard error cannot be written, the error cannot be reported
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn report() -> Result<String> {
    let runs = std::env::args().nth(1).map_or(Ok(RUNS), |text| text.parse()).context("RUNS")?;
    let env = TestEnv::shared()?;
    env.run_within(DEADLINE, async {
        let release = Release::new(env, "start", &[]).await?;
        env.psql(&release.source.database, ROWS).await?;
        let mut text = String::new();
        for partitions in [1, 4] {
            let steps = extracts(&release, runs, partitions).await?;
            let table = table(&steps);
            writeln!(
                text,
                "`kubectl apply` to Complete, {partitions} partitions, {runs} runs:\n\n{table}"
            )?;
        }
        let steps = processes(&release.source, runs).await?;
        write!(text, "Process start to first query, {runs} runs:\n\n{}", table(&steps))?;
        Ok(text)
    })
}

/// Median, minimum and maximum of each step, in the order of the medians.
fn table(steps: &Steps) -> String {
    let mut rows: Vec<_> = steps.iter().map(|(name, times)| (sorted(times), name)).collect();
    rows.sort_by(|(a, _), (b, _)| median(a).total_cmp(&median(b)));
    let mut text = "| step | median s | min | max | runs |\n|---|---|---|---|---|\n".to_owned();
    for (times, name) in rows {
        let (Some(least), Some(most)) = (times.first(), times.last()) else { continue };
        let (middle, count) = (median(&times), times.len());
        let _ = writeln!(text, "| {name} | {middle:.3} | {least:.3} | {most:.3} | {count} |");
    }
    text
}

fn sorted(times: &[f64]) -> Vec<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times
}

/// The median of times in ascending order.
fn median(times: &[f64]) -> f64 {
    let upper = times.get(times.len() / 2).copied().unwrap_or_default();
    let lower = times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    f64::midpoint(lower, upper)
}

async fn extracts(release: &Release, runs: usize, partitions: u32) -> Result<Steps> {
    let api = release.plain_api().await?;
    let events = Events::default();
    for resource in
        ["apis/tidemark.dev/v1alpha1/@/extractjobs", "apis/batch/v1/@/jobs", "api/v1/@/pods"]
    {
        let path = resource.replace('@', &format!("namespaces/{}", release.namespace));
        watch(&api, &path, Arc::clone(&events)).await?;
    }
    let mut steps = Steps::new();
    for run in 0..runs + WARM_UP {
        let times =
            extract(release, &format!("run-{partitions}-{run}"), partitions, &events).await?;
        if run >= WARM_UP {
            for (name, time) in times {
                steps.entry(name).or_default().push(time);
            }
        }
    }
    Ok(steps)
}

/// Collects the events of a resource, with the time at which they arrive, until the program ends.
async fn watch(api: &PlainApi, path: &str, events: Events) -> Result<()> {
    let stream = TcpStream::connect(api.address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("/{path}?watch=1"))
        .header("host", api.address.to_string())
        .body(Empty::<Bytes>::new())?;
    let mut reply = sender.send_request(request).await?;
    ensure!(reply.status() == 200, "watch {path}: {}", reply.status());
    tokio::spawn(async move {
        let (_sender, mut rest) = (sender, Vec::new());
        while let Some(Ok(frame)) = reply.frame().await {
            let now = Timestamp::now();
            rest.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Ok(mut event) = serde_json::from_slice::<Value>(&line) {
                    let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
                    events.push((now, event["object"].take()));
                }
            }
        }
    });
    Ok(())
}

/// Runs one extract from `kubectl apply` to the end of its coordinator Job. Returns the seconds until each step.
async fn extract(
    release: &Release,
    name: &str,
    partitions: u32,
    events: &Events,
) -> Result<BTreeMap<String, f64>> {
    let mut job = release.source.job("public.small", "FE");
    job["metadata"]["name"] = json!(name);
    job["spec"]["tracking"]["key"] = json!(name);
    job["spec"]["output"]["uri"] = json!(format!("s3://{}/{name}", release.source.bucket));
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": partitions });
    let start = Timestamp::now();
    release.apply(&job).await?;
    release.condition(name, "Complete", RUN_DEADLINE).await?;
    let times = wait_until("the Job to be complete", RUN_DEADLINE, async || {
        let observed = events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_run = observed.iter().filter(|(_, object)| belongs(object, name));
        let mut times = BTreeMap::new();
        for (at, object) in of_run {
            for step in steps_of(object) {
                times.entry(step).or_insert((*at - start).total(jiff::Unit::Second)?);
            }
        }
        ensure!(times.contains_key("coordinator Job is complete"), "{times:?}");
        ensure!(times.contains_key("ExtractJob is Complete"), "{times:?}");
        Ok(times)
    })
    .await;
    let mut times = times?;
    let labels = format!("tidemark.dev/extract-job={name},tidemark.dev/role=coordinator");
    let log = release.kubectl(&["logs", "-l", &labels, "--tail=-1"]).await?;
    for (step, at) in log.lines().filter_map(logged) {
        times.insert(step.to_owned(), (at - start).total(jiff::Unit::Second)?);
    }
    release.kubectl(&["delete", "extractjob", name, "--wait=false"]).await?;
    Ok(times)
}

/// Whether the object is the ExtractJob of this name or was created for it.
fn belongs(object: &Value, name: &str) -> bool {
    let metadata = &object["metadata"];
    let label = &metadata["labels"]["tidemark.dev/extract-job"];
    label == name || (object["kind"] == "ExtractJob" && metadata["name"] == name)
}

/// The steps that are done according to an object.
fn steps_of(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let container = &status["containerStatuses"][0]["state"];
    let role = object["metadata"]["labels"]["tidemark.dev/role"].as_str().unwrap_or_default();
    let is = |name: &str| condition(object, name)["status"] == "True";
    let steps = match object["kind"].as_str() {
        Some("ExtractJob") => {
            vec![("ExtractJob is created", true), ("ExtractJob is Complete", is("Complete"))]
        }
        Some("Job") => vec![("Job is created", true), ("Job is complete", is("Complete"))],
        Some("Pod") => vec![
            ("pod is scheduled", object["spec"]["nodeName"].is_string()),
            ("pod shows its start", !container["running"].is_null()),
            ("pod shows that it is Ready", is("Ready")),
            ("pod shows its end", !container["terminated"].is_null()),
        ],
        _ => Vec::new(),
    };
    let done = steps.into_iter().filter(|(_, done)| *done);
    done.map(|(step, _)| format!("{role} {step}").trim_start().to_owned()).collect()
}

/// The step that a line of the coordinator's log reports.
fn logged(line: &str) -> Option<(&'static str, Timestamp)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let step = match (line["fields"]["effect"].as_str(), line["fields"]["message"].as_str()?) {
        (Some("claim"), _) => "process claims the source",
        (Some("pin"), _) => "process has a plan",
        (Some("put-manifest"), _) => "process has read all rows",
        (_, "the command succeeded") => "process ends",
        _ => return None,
    };
    Some((step, line["timestamp"].as_str()?.parse().ok()?))
}

async fn processes(source: &SourceFixture, runs: usize) -> Result<Steps> {
    let mut steps = Steps::new();
    for run in 0..runs + WARM_UP {
        let found = process(source, &format!("process-{run}")).await?;
        if run >= WARM_UP {
            for (name, time) in found {
                steps.entry(name.to_owned()).or_default().push(time);
            }
        }
    }
    Ok(steps)
}

/// Starts one local run. Returns the seconds until it connects to the database, until it sends its first query and until
/// it ends, and the CPU seconds until the first query.
async fn process(source: &SourceFixture, name: &str) -> Result<[(&'static str, f64); 4]> {
    let listener = TcpListener::bind((TestEnv::IP, 0)).await?;
    let mut job = source.job("public.small", "FE");
    job["spec"]["source"]["port"] = json!(listener.local_addr()?.port());
    job["spec"]["tracking"]["key"] = json!(name);
    job["spec"]["output"]["uri"] = json!(format!("s3://{}/{name}", source.bucket));
    let manifest = source.file(&format!("{name}.json"));
    std::fs::write(&manifest, job.to_string())?;
    let (id, secret) = Access::Admin.keys();
    let mut command = tokio::process::Command::new(binary("tidemark")?);
    command
        .arg("run")
        .arg("-f")
        .arg(&manifest)
        .env("TIDEMARK_CREDENTIALS_DIR", source.file("credentials"))
        .env("TIDEMARK_CA_FILE", source.env.ca())
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", TestEnv::REGION)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let start = Instant::now();
    let mut child = command.spawn().context("start tidemark")?;
    let pid = child.id().context("tidemark has already ended")?;
    let (connected, queried, cpu_used_seconds) = tokio::spawn(serve(listener, pid)).await??;
    let status = tokio::time::timeout(RUN_DEADLINE, child.wait()).await??;
    ensure!(status.success(), "tidemark run: {status}");
    let since = |at: Instant| at.duration_since(start).as_secs_f64();
    Ok([
        ("process connects to the database", since(connected)),
        ("process sends its first query", since(queried)),
        ("CPU time until the first query", cpu_used_seconds),
        ("process has ended", start.elapsed().as_secs_f64()),
    ])
}

/// Forwards connections to Postgres. Returns the time of the first connection, the time of its first query, and the CPU
/// seconds that the process used until then.
async fn serve(listener: TcpListener, pid: u32) -> Result<(Instant, Instant, f64)> {
    let (first, _) = listener.accept().await?;
    let connected = Instant::now();
    let (sender, queried) = tokio::sync::oneshot::channel();
    tokio::spawn(forward(first, Some(sender)));
    tokio::spawn(async move {
        while let Ok((next, _)) = listener.accept().await {
            tokio::spawn(forward(next, None));
        }
    });
    let queried = queried.await.context("the session ended without a query")?;
    Ok((connected, queried, cpu_seconds(pid)?))
}

/// CPU seconds of all running threads of a process.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut sum = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split(' ').next().and_then(|time| time.parse().ok());
        sum += Duration::from_nanos(nanoseconds.unwrap_or_default());
    }
    Ok(sum.as_secs_f64())
}

/// Number of encrypted records that a client sends before its first query: the end of the TLS handshake, the startup
/// message, and two messages of SCRAM.
const RECORDS_BEFORE_QUERY: usize = 4;

async fn forward(
    client: TcpStream,
    first_query: Option<tokio::sync::oneshot::Sender<Instant>>,
) -> Result<()> {
    client.set_nodelay(true)?;
    let server = TcpStream::connect((TestEnv::IP, TestEnv::POSTGRES_PORT)).await?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let (mut first_query, mut records) = (first_query, 0);
    // the request for TLS is not a record
    let mut request = [0; 8];
    from_client.read_exact(&mut request).await?;
    to_server.write_all(&request).await?;
    let mut header = [0; 5];
    while from_client.read_exact(&mut header).await.is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        from_client.read_exact(&mut body).await?;
        records += usize::from(header[0] == 23);
        if records > RECORDS_BEFORE_QUERY
            && let Some(sender) = first_query.take()
        {
            let _ = sender.send(Instant::now());
        }
        to_server.write_all(&[&header[..], &body].concat()).await?;
    }
    to_server.shutdown().await?;
    back.await??;
    Ok(())
}

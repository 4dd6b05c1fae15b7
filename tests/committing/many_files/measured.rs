//! Measures a commit, on demand (`make test-many-files`). Each file is a real upload in the S3 server.
//!
//! `TIDEMARK_MANY_FILES` is the number of files. `TIDEMARK_MANY_FILES_PARTITIONS` is the number of partitions (1,000).
//! `TIDEMARK_MANY_FILES_DELAY_MS` starts a proxy in front of the S3 server. It delays each request by that time, as the
//! network to a remote store does, and counts the requests of each kind.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use futures::stream::{self, StreamExt, TryStreamExt};
use harness::{Access, Calls, Fault, Process, Proxy, Speaks, wait_until};
use serde_json::json;

use super::{LIMIT_BYTES, PARTITIONS, Planned, bench, coordinate, outcome_key};
use crate::{Bench, RUN, TABLE};

/// Maximum time of the whole run.
const LONG_DEADLINE: Duration = Duration::from_mins(100);

/// The number in an environment variable; `None` if it is not set.
fn number(name: &str) -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(name) else { return Ok(None) };
    Ok(Some(text.to_string_lossy().parse().with_context(|| name.to_owned())?))
}

/// Acts as the pods: uploads all files, and writes the partition records. Returns the time before the last record.
async fn upload(bench: &Bench, planned: &Planned, files: u64) -> Result<Instant> {
    let s3 = &bench.source.env.s3(Access::Admin);
    let bucket = &bench.source.bucket;
    let one = |index: u64, number: u64| async move {
        let key = planned.key(index, number);
        let begun = s3.create_multipart_upload().bucket(bucket).key(&key);
        let begun = begun.metadata("tidemark-token", format!("{index:032x}")).send().await?;
        let id = begun.upload_id().context("an upload without an id")?.to_owned();
        let part = s3.upload_part().bucket(bucket).key(&key).upload_id(&id).part_number(1);
        let part = part.body(ByteStream::from_static(b"PAR1")).send().await?;
        let etag = part.e_tag().context("a part without an ETag")?.to_owned();
        Ok::<_, anyhow::Error>((id, etag))
    };
    let mut last = Instant::now();
    for index in 0..planned.partitions {
        let uploads: Vec<(String, String)> = stream::iter(0..files)
            .map(|number| one(index, number))
            .buffered(32)
            .try_collect()
            .await?;
        let key = format!("{TABLE}/_tidemark/{}/partitions/{index}.json", planned.run);
        let body = planned.record(index, &uploads).to_string().into_bytes();
        last = Instant::now();
        s3.put_object().bucket(bucket).key(key).body(ByteStream::from(body)).send().await?;
        if index % 100 == 99 {
            writeln!(std::io::stdout(), "{} files are uploaded", (index + 1) * files)?;
        }
    }
    Ok(last)
}

/// Starts a proxy that delays each request, if `TIDEMARK_MANY_FILES_DELAY_MS` is set.
async fn remote(bench: &mut Bench) -> Result<Option<Proxy>> {
    let Some(delay) = number("TIDEMARK_MANY_FILES_DELAY_MS")? else { return Ok(None) };
    let s3 = Proxy::start(Speaks::S3).await?;
    if delay > 0 {
        s3.on("*", Calls::Every, Fault::Delay(Duration::from_millis(delay)));
    }
    bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
    Ok(Some(s3))
}

/// The number of requests of each kind since an instant.
fn requests(s3: &Proxy, since: Instant) -> BTreeMap<String, u32> {
    let mut kinds = BTreeMap::new();
    for asked in s3.asked("*").into_iter().filter(|asked| asked.at >= since) {
        *kinds.entry(asked.operation).or_default() += 1;
    }
    kinds
}

/// Waits until the coordinator has moved the pointer, and prints time, CPU and memory of the commit. Returns its peak
/// memory in bytes.
async fn measure(
    coordinator: &mut Process,
    s3: Option<&Proxy>,
    (last, cpu): (Instant, f64),
) -> Result<u64> {
    coordinator.paused_within(LONG_DEADLINE).await?;
    let (seconds, peak) = (last.elapsed().as_secs_f64(), coordinator.peak_bytes()?);
    let cpu = coordinator.cpu_seconds()? - cpu;
    writeln!(
        std::io::stdout(),
        "{seconds:.1} s from the last record to the pointer, {cpu:.2} s of CPU, {} MiB at most",
        peak >> 20
    )?;
    if let Some(s3) = s3 {
        writeln!(std::io::stdout(), "requests to S3: {:?}", requests(s3, last))?;
    }
    Ok(peak)
}

#[test]
fn many_files_of_the_store_are_published_within_the_limit() -> Result<()> {
    let Some(wanted) = number("TIDEMARK_MANY_FILES")? else { return Ok(()) };
    harness::TestEnv::shared()?.run_within(LONG_DEADLINE, async {
        let partitions = number("TIDEMARK_MANY_FILES_PARTITIONS")?.unwrap_or(PARTITIONS);
        let mut bench = bench(partitions).await?;
        let s3 = remote(&mut bench).await?;
        let mut coordinator = coordinate(&bench)?;
        let planned = wait_until("the plan", RUN, async || {
            let item = bench.source.run_item(TABLE).await?.context("no run item")?;
            ensure!(item["state"] == "running", "{item}");
            let run = item["run"].as_str().context("run")?;
            let key = format!("{TABLE}/_tidemark/{run}/plan.json");
            let body = bench.source.env.object(&bench.source.bucket, &key).await?;
            Planned::read(&body).context("parse the plan")
        })
        .await?;
        let files = wanted.div_ceil(planned.partitions);
        let before = (coordinator.cpu_seconds()?, Instant::now());
        let last = upload(&bench, &planned, files).await?;
        let cpu = coordinator.cpu_seconds()?;
        let waited = before.1.elapsed().as_secs_f64();
        writeln!(
            std::io::stdout(),
            "{:.2} s of CPU in {waited:.0} s of extraction",
            cpu - before.0
        )?;
        let peak = measure(&mut coordinator, s3.as_ref(), (last, cpu)).await?;
        coordinator.go_on()?;
        let output = coordinator.ended(LONG_DEADLINE).await?;
        ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
        let outcome = bench.source.env.item(&bench.source.table, &outcome_key(&bench)).await?;
        let outcome = outcome.context("no outcome")?;
        let item = bench.source.run_item(TABLE).await?.context("no run item")?;
        let plan = format!("{TABLE}/_tidemark/{}/plan.json", planned.run);
        let plan = bench.source.env.object(&bench.source.bucket, &plan).await?;
        let (items, result) =
            ([&item, &outcome].map(|item| item.to_string().len()), &outcome["result"]);
        writeln!(
            std::io::stdout(),
            "{} bytes of the run item, {} of the outcome item, {} of plan.json",
            items[0],
            items[1],
            plan.len()
        )?;
        ensure!(result["files"] == planned.partitions * files, "{result}");
        ensure!(peak < LIMIT_BYTES, "{} MiB", peak >> 20);
        let keys =
            bench.source.env.keys(&bench.source.bucket, &format!("{TABLE}/extract_run=")).await?;
        ensure!(keys.len() as u64 == planned.partitions * files, "{} files are there", keys.len());
        Ok(())
    })
}

//! In: a loaded table. Out: the latency of other users of the database during an extract. Bound: a fixed load of
//! pgbench. Fails: with the error of a client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use harness::unique;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::clients::{Bench, Client, Files, Tidemark, prepare};
use crate::load::postgres_url;
use crate::measure::ClientCommand;
use crate::pairs::{Rounds, Sources, source_of};
use crate::results::CaseResult;
use crate::show_progress;
use crate::tables::{Engine, Table};

/// Transactions per second that pgbench sends. The server can process many more, as with a typical application.
const TRANSACTIONS_PER_SECOND: u32 = 200;
/// How long a step may take.
const DEADLINE: Duration = Duration::from_mins(10);
/// Interval at which the snapshot of a run and its partition records are checked.
const SAMPLE_SECONDS: f64 = 0.02;

const EXTRACT: Client = Client::Tidemark(Tidemark { partitions: 2, memory: None, tls: false });

/// Runs the case. A failure is part of the result.
pub(crate) async fn run(bench: &Bench, rounds: Rounds, sources: &mut Sources) -> CaseResult {
    let mut result = CaseResult {
        title: "Postgres, lineitem: latency of other users during an extract".to_owned(),
        labels: vec![EXTRACT.label(), "two psql COPY, binary, output discarded".to_owned()],
        noisy: rounds.noisy,
        ..CaseResult::default()
    };
    result.notes = vec![
        format!("pgbench sends {TRANSACTIONS_PER_SECOND} transactions per second (TPC-B, scale 10, 2 clients) throughout."),
        "p99 covers the transactions that ended while the table was read. The latency starts at the scheduled time of a transaction.".to_owned(),
        "snapshot_held_seconds is from a local run: from its last partition record until no session of the run has a snapshot.".to_owned(),
    ];
    if let Err(error) = measure(bench, rounds, sources, &mut result).await {
        result.failure = Some(format!("{error:#}"));
    }
    result
}

async fn measure(
    bench: &Bench,
    rounds: Rounds,
    sources: &mut Sources,
    result: &mut CaseResult,
) -> Result<()> {
    source_of(bench, sources, Engine::Postgres, Table::Lineitem).await?;
    let mut initialize = pgbench(bench)?;
    initialize.args(["-i", "-q", "-s", "10"]);
    let output = bench.env.output(initialize, "", DEADLINE).await?;
    ensure!(output.code == Some(0), "pgbench -i: {}", output.stderr);
    // pgbench must run longer than an extract, so its duration follows an extract without load
    let alone_seconds = extract(bench).await?;
    let seconds = (alone_seconds * 4.0).ceil() + 4.0;
    let mut add = |name: &str, value: f64| {
        result.numbers.entry(name.to_owned()).or_default().push(value);
    };
    for _ in 0..rounds.pairs {
        let ours = latency(bench, seconds, true).await?;
        let copy = latency(bench, seconds, false).await?;
        show_progress(&format!("harm: p99 {:.2} / {:.2} ms", ours.p99_ms, copy.p99_ms));
        add("p99_ms", ours.p99_ms);
        add("p99_ms_of_copy", copy.p99_ms);
        add("p99_ratio", ours.p99_ms / copy.p99_ms);
        add("wall_seconds", ours.wall_seconds);
        add("wall_seconds_of_copy", copy.wall_seconds);
        add("snapshot_held_seconds", snapshot_seconds(bench).await?);
    }
    Ok(())
}

fn pgbench(bench: &Bench) -> Result<Command> {
    let releases = fs::read_dir("/usr/lib/postgresql").context("list the programs of Postgres")?;
    let mut found: Vec<PathBuf> =
        releases.filter_map(|entry| Some(entry.ok()?.path().join("bin/pgbench"))).collect();
    found.retain(|path| path.exists());
    found.sort();
    let mut command = bench.env.command(found.last().context("find pgbench")?);
    command.args(["-d", &postgres_url(&bench.postgres)]);
    Ok(command)
}

struct Latency {
    p99_ms: f64,
    wall_seconds: f64,
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

async fn latency(bench: &Bench, seconds: f64, ours: bool) -> Result<Latency> {
    let prefix = bench.work.join(unique("pgbench"));
    let mut command = pgbench(bench)?;
    command
        .args(["-n", "-c", "2", "-j", "1", "-P", "1", "-l"])
        .args(["-R", &TRANSACTIONS_PER_SECOND.to_string()])
        .args(["-T", &format!("{seconds:.0}")])
        .arg(format!("--log-prefix={}", prefix.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("start pgbench")?;
    let mut lines = BufReader::new(child.stderr.take().context("standard error")?).lines();
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await??;
        let line = line.context("pgbench ended before it sent a transaction")?;
        if line.starts_with("progress:") {
            break;
        }
    }
    let drain = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let begin = now()?;
    let wall_seconds = if ours { extract(bench).await? } else { copy(bench).await? };
    let end = begin + wall_seconds;
    ensure!(child.try_wait()?.is_none(), "pgbench ended before the table was read");
    wait(child).await?;
    drain.await?;
    let mut times = Vec::new();
    for entry in fs::read_dir(&bench.work)? {
        let path = entry?.path();
        if path.display().to_string().starts_with(&prefix.display().to_string()) {
            times.extend(transactions(&path, begin, end)?);
            fs::remove_file(path)?;
        }
    }
    times.sort_by(f64::total_cmp);
    ensure!(!times.is_empty(), "no transaction ended while the table was read");
    Ok(Latency { p99_ms: times[times.len() * 99 / 100] / 1000.0, wall_seconds })
}

async fn wait(mut child: Child) -> Result<()> {
    let status = tokio::time::timeout(DEADLINE, child.wait()).await??;
    ensure!(status.success(), "pgbench: {status}");
    Ok(())
}

/// Latencies in microseconds of the transactions that ended between `begin` and `end` (seconds since 1970). A line of the
/// log has the latency in field 3 and the end in fields 5 and 6.
fn transactions(file: &Path, begin: f64, end: f64) -> Result<Vec<f64>> {
    let text = fs::read_to_string(file)?;
    let of_line = |line: &str| {
        let fields: Vec<f64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
        let at = fields.get(4)? + fields.get(5)? / 1e6;
        (at >= begin && at <= end).then(|| fields.get(2).copied())?
    };
    Ok(text.lines().filter_map(of_line).collect())
}

async fn extract(bench: &Bench) -> Result<f64> {
    let (command, files) = prepare(bench, EXTRACT, Engine::Postgres, Table::Lineitem).await?;
    let measured = bench.meter.run(bench.env, &command).await?;
    files.remove(bench).await?;
    Ok(measured.wall_seconds)
}

async fn copy(bench: &Bench) -> Result<f64> {
    let blocks = "select pg_relation_size('lineitem') / current_setting('block_size')::int / 2";
    let half = bench.env.psql(&bench.postgres.database, blocks).await?;
    let url = postgres_url(&bench.postgres);
    let one = |sign: &str| {
        format!(
            "psql -XAtq -d '{url}' -c \"copy (select * from lineitem where ctid {sign} '({half},0)') to stdout (format binary)\" >/dev/null"
        )
    };
    let script = format!("{} & {}; wait $!", one("<"), one(">="));
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let command = ClientCommand { argv, ..ClientCommand::default() };
    Ok(bench.meter.run(bench.env, &command).await?.wall_seconds)
}

/// Seconds from the last partition record until no session of the run has a snapshot.
async fn snapshot_seconds(bench: &Bench) -> Result<f64> {
    let (command, files) = prepare(bench, EXTRACT, Engine::Postgres, Table::Lineitem).await?;
    let Files::Bucket(bucket) = &files else { anyhow::bail!("Tidemark writes to S3 only") };
    let mut watch = bench.env.command("psql");
    watch
        .args(["-XAtq", "-d", &bench.env.postgres_url("postgres")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut watch = watch.spawn().context("start psql")?;
    let mut input = watch.stdin.take().context("standard input")?;
    let query = format!(
        "select extract(epoch from clock_timestamp()) from pg_stat_activity \
         where usename = 'bench' and backend_xmin is not null limit 1 \\watch {SAMPLE_SECONDS}\n"
    );
    tokio::io::AsyncWriteExt::write_all(&mut input, query.as_bytes()).await?;
    let mut lines = BufReader::new(watch.stdout.take().context("standard output")?).lines();
    let last_observed = tokio::spawn(async move {
        let mut last = None;
        while let Ok(Some(line)) = lines.next_line().await {
            last = line.trim().parse::<f64>().ok().or(last);
        }
        last
    });
    let records = async {
        let limit = tokio::time::Instant::now() + DEADLINE;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(SAMPLE_SECONDS));
        loop {
            let at = ticks.tick().await;
            ensure!(at < limit, "no partition record within {DEADLINE:?}");
            let keys =
                bench.env.keys(bucket, &format!("{}/_tidemark/", Table::Lineitem.name())).await?;
            if keys.iter().filter(|key| key.contains("/partitions/")).count() >= 2 {
                break now();
            }
        }
    };
    let run = async { tokio::time::timeout(DEADLINE, bench.meter.run(bench.env, &command)).await? };
    // the records stay until the run ends
    let (_, recorded) = tokio::try_join!(run, records)?;
    watch.kill().await?;
    let last = last_observed.await?;
    files.remove(bench).await?;
    let last = last.context("no session of the run had a snapshot")?;
    Ok((last - recorded).max(0.0))
}

//! The memory of the process that publishes does not grow with the number of files.
//!
//! The process is the coordinator of a cluster, before real Postgres, DynamoDB and S3; its pods are
//! played: the records that they would leave name files that nobody has written. By default the store's
//! answers about these files are played too. With `TIDEMARK_MANY_FILES` there are so many files, and each
//! is a real upload in the S3 server.

mod measured;

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{Process, Proxy, Speaks, Twin};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Bench, TABLE, in_env};

/// Partitions of the plan.
const PARTITIONS: u64 = 1_000;
/// How much more memory so many more files may take.
const GROWTH_BYTES: u64 = 24 << 20;
/// What the process may hold at all.
const LIMIT_BYTES: u64 = 128 << 20;

/// What the plan says, as the coordinator wrote it.
#[derive(Debug, Clone)]
struct Planned {
    run: String,
    hash: String,
    snapshot: Value,
    partitions: u64,
}

impl Planned {
    fn read(body: &[u8]) -> Option<Self> {
        let plan: Value = serde_json::from_slice(body).ok()?;
        let hash = Sha256::digest(body);
        Some(Self {
            run: plan["run"].as_str()?.to_owned(),
            hash: hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
            snapshot: plan["snapshot"].clone(),
            partitions: u64::try_from(plan["partitions"].as_array()?.len()).ok()?,
        })
    }

    fn key(&self, index: u64, number: u64) -> String {
        format!("{TABLE}/extract_run={}/part-{index:05}-{index:032x}-{number:03}.parquet", self.run)
    }

    /// The record of a partition, with these uploads and ETags.
    fn record(&self, index: u64, uploads: &[(String, String)]) -> Value {
        let files = (0..).zip(uploads).map(|(number, (upload, etag))| {
            json!({ "key": self.key(index, number), "uploadId": upload, "parts": [etag],
                "bytes": 4, "rows": 1 })
        });
        json!({ "version": 1, "run": self.run, "index": index, "token": format!("{index:032x}"),
            "planHash": self.hash, "snapshot": self.snapshot, "schema": "of the test",
            "rows": uploads.len(), "watermarkMax": null, "watermarkMin": null,
            "files": files.collect::<Vec<_>>() })
    }
}

fn played(index: u64, files: u64) -> Vec<(String, String)> {
    let file = |number: u64| (format!("{index:064x}{number:064x}"), format!("\"{number:032x}\""));
    (0..files).map(file).collect()
}

/// A value of the query.
fn query(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(pair.replace("%2F", "/"))
}

/// Records and uploads that are made when they are asked for.
fn twin(files: u64) -> Twin {
    let planned: Mutex<Option<Planned>> = Mutex::default();
    Arc::new(move |operation, target, body| {
        let mut planned = planned.lock().unwrap_or_else(PoisonError::into_inner);
        let path = target.split('?').next().unwrap_or_default();
        if operation == "PutObject" && path.ends_with("/plan.json") {
            *planned = Planned::read(body);
            return None;
        }
        let planned = planned.as_ref()?;
        let said = match operation {
            "ListObjectsV2" if query(target, "prefix")?.ends_with("/partitions/") => {
                let contents: Vec<_> = (0..planned.partitions)
                    .map(|index| {
                        let key = format!("{TABLE}/_tidemark/{}/partitions/{index}.json", planned.run);
                        format!("<Contents><Key>{key}</Key><Size>50000</Size></Contents>")
                    })
                    .collect();
                let contents = contents.concat();
                format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
            }
            "GetObject" if path.contains("/partitions/") => {
                let name = path.rsplit('/').next()?.strip_suffix(".json")?;
                let index: u64 = name.parse().ok()?;
                planned.record(index, &played(index, files)).to_string()
            }
            "ListParts" if path.contains("/extract_run") => {
                let upload = query(target, "uploadId")?;
                let number = u64::from_str_radix(upload.get(64..)?, 16).ok()?;
                format!(
                    "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>\
                     <ETag>\"{number:032x}\"</ETag><Size>4</Size></Part></ListPartsResult>"
                )
            }
            "CompleteMultipartUpload" if path.contains("/extract_run") => {
                "<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>"
                    .to_owned()
            }
            _ => return None,
        };
        Some((200, Bytes::from(said)))
    })
}

/// A coordinator that has published and is about to say so; the memory that it took, and files and rows
/// of its outcome.
async fn ended(mut coordinator: Process, bench: &Bench) -> Result<(u64, Value)> {
    coordinator.paused_within(crate::RUN).await?;
    let peak = coordinator.peak_bytes()?;
    coordinator.go_on()?;
    let output = coordinator.ended(crate::RUN).await?;
    ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
    let outcome = bench.source.env.item(&bench.source.table, &outcome_key(bench)).await?;
    Ok((peak, outcome.context("no outcome")?["result"].clone()))
}

fn outcome_key(bench: &Bench) -> String {
    format!("{}#tidemark#many", bench.source.key(TABLE))
}

async fn bench(partitions: u64) -> Result<Bench> {
    let mut bench = Bench::new("many", "FE", partitions).await?;
    bench.job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": partitions });
    Ok(bench)
}

fn coordinate(bench: &Bench) -> Result<Process> {
    let task = bench.source.task(&bench.job, "many", 1);
    bench.source.start(bench.source.pod("coordinate", &task)?, Some("before-cleanup"))
}

/// The memory for so many files in each partition.
async fn peak(files: u64) -> Result<u64> {
    let mut bench = bench(PARTITIONS).await?;
    let s3 = Proxy::start(Speaks::S3).await?;
    s3.answer(twin(files));
    bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
    let (peak, result) = ended(coordinate(&bench)?, &bench).await?;
    ensure!(result["files"] == PARTITIONS * files, "{result}");
    let run = result["run"].as_str().context("run")?;
    let manifest = bench.control(&format!("{run}/manifest.json")).await?;
    let listed = manifest["files"].as_array().context("files")?;
    ensure!(listed.len() as u64 == PARTITIONS * files, "{} files are listed", listed.len());
    Ok(peak)
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() -> Result<()> {
    if std::env::var_os("TIDEMARK_MANY_FILES").is_some() {
        return Ok(());
    }
    in_env(async {
        // enough that they are read anew for each step, and that the manifest has several parts
        let (few, many) = (peak(5).await?, peak(40).await?);
        writeln!(
            std::io::stdout(),
            "{} MiB for 5,000 files, {} MiB for 40,000",
            few >> 20,
            many >> 20
        )?;
        ensure!(many < few + GROWTH_BYTES, "{} MiB, and then {} MiB", few >> 20, many >> 20);
        ensure!(many < LIMIT_BYTES, "{} MiB", many >> 20);
        Ok(())
    })
}

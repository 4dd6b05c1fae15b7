//! Chains of manifests that somebody has edited into a ring: every walk over parents ends, and says so
//! where that matters.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use harness::Access;
use serde_json::{Value, json};

use crate::{Bench, TABLE, in_env, printed, refused};

/// The cleanup of abandoned runs starts without a delay.
const SWEEPS: &[(&str, &str)] = &[("TIDEMARK_GRACE_SECONDS", "0")];

/// Publishes incremental runs, oldest first.
async fn chain(bench: &mut Bench, runs: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..runs {
        bench.grow(10).await?;
        let said = printed(&bench.run(SWEEPS).await?)?;
        ids.push(said["run"].as_str().context("run")?.to_owned());
    }
    Ok(ids)
}

/// Makes `parent` the parent of a run.
async fn edit(bench: &Bench, run: &str, parent: &str) -> Result<()> {
    let mut manifest = bench.control(&format!("{run}/manifest.json")).await?;
    manifest["parent"] = json!(parent);
    let key = format!("{TABLE}/_tidemark/{run}/manifest.json");
    let body = ByteStream::from(manifest.to_string().into_bytes());
    let s3 = bench.source.env.s3(Access::Admin);
    s3.put_object().bucket(&bench.source.bucket).key(key).body(body).send().await?;
    Ok(())
}

/// What verify finds about the chain's end.
fn finding(stdout: &str) -> Result<Vec<String>> {
    let said: Value = serde_json::from_str(stdout.trim())?;
    let findings = said["findings"].as_array().context("findings")?;
    let what = findings.iter().filter_map(|finding| finding["what"].as_str());
    Ok(what.filter(|what| what.contains("circular")).map(str::to_owned).collect())
}

/// A ring of any length, with or without a way that leads into it: `from`'s parent becomes `to`.
async fn ends(name: &str, from: usize, to: usize) -> Result<()> {
    let mut bench = Bench::new(name, "PE", 0).await?;
    let runs = chain(&mut bench, 4).await?;
    let files = bench.seen().await?;
    edit(&bench, &runs[from], &runs[to]).await?;

    let output = bench.command("verify", SWEEPS).await?;
    refused(&output, 10, "VerifyFailed")?;
    let found = finding(&output.stdout)?;
    ensure!(found.len() == 1 && found[0].contains(&runs[to]), "{found:?}");

    // the next run sweeps, and must not take what the ring cut off for dead
    bench.grow(10).await?;
    printed(&bench.run(SWEEPS).await?)?;
    ensure!(bench.seen().await? == (files.0 + 10, files.1 + 10), "{:?}", bench.seen().await?);

    // a new chain ends it; the next cleanup of abandoned runs removes what the ring cut off
    bench.job["spec"]["extract"]["reingest"] = json!(true);
    printed(&bench.run(SWEEPS).await?)?;
    let verified = bench.command("verify", SWEEPS).await?;
    ensure!(verified.code == Some(0), "{} {}", verified.stdout, verified.stderr);
    ensure!(bench.seen().await? == (bench.rows, bench.rows), "{:?}", bench.seen().await?);
    Ok(())
}

#[test]
fn chain_edited_into_a_ring_has_an_end_for_every_walker() -> Result<()> {
    in_env(async {
        // the head itself; all runs; a ring behind the head; the oldest alone
        ends("ringself", 3, 3).await?;
        ends("ringall", 0, 3).await?;
        ends("ringback", 1, 2).await?;
        ends("ringold", 0, 0).await
    })
}

#[test]
fn run_that_lists_all_files_refuses_a_ring() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("ringlist", "PE", 0).await?;
        let runs = chain(&mut bench, 20).await?;
        edit(&bench, &runs[4], &runs[9]).await?;
        bench.grow(10).await?;
        let output = bench.run(SWEEPS).await?;
        refused(&output, 10, "VerifyFailed")?;
        ensure!(output.stderr.contains("is circular"), "{}", output.stderr);
        // with the manifest restored the same window is taken
        edit(&bench, &runs[4], &runs[3]).await?;
        printed(&bench.run(SWEEPS).await?)?;
        ensure!(bench.seen().await? == (bench.rows, bench.rows), "{:?}", bench.seen().await?);
        let head = bench.control("current.json").await?;
        let head = head["run"].as_str().context("run")?.to_owned();
        let manifest = bench.control(&format!("{head}/manifest.json")).await?;
        let listed = manifest["earlier"]["files"].as_array().map(Vec::len);
        ensure!(listed == Some(20), "{listed:?} files are listed");
        Ok(())
    })
}

//! Processes inside of pods: the test environment's pods run on this machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{Release, wait_until};

/// Kills a process, as a lack of memory would.
///
/// # Errors
/// If there is none.
pub fn kill_now(process: Pid) -> Result<()> {
    kill(process, Signal::SIGKILL).with_context(|| format!("kill {process}"))
}

/// The product's process in a pod. The test environment's processes are children of this machine, and their
/// control group names their pod.
///
/// # Errors
/// If the pod has none (any more).
pub fn process_of(pod: &Value) -> Result<Pid> {
    let uid = pod["metadata"]["uid"].as_str().context("uid")?;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // a process may end meanwhile
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if read("cgroup").contains(uid) && read("comm").starts_with("tidemark") {
            return Ok(Pid::from_raw(pid));
        }
    }
    bail!("no process in {}", pod["metadata"]["name"])
}

/// Lets the product's process in a pod go on, which stands at a pause point with `file`.
///
/// # Errors
/// If it does not stand there.
pub fn release_pause(pod: &Value, file: &str) -> Result<()> {
    let process = process_of(pod)?;
    let path = format!("/proc/{process}/root{file}");
    fs::remove_file(&path).with_context(|| format!("remove {path}"))
}

/// Whether the product's process in a pod stands at a pause point with `file` now.
///
/// # Errors
/// If it does not.
pub fn stands_at(pod: &Value, file: &str) -> Result<()> {
    let process = process_of(pod)?;
    let there = Path::new(&format!("/proc/{process}/root{file}")).exists();
    ensure!(there, "{} does not stand at {file}", pod["metadata"]["name"]);
    Ok(())
}

/// The partition of an extract pod, as it was when the pod was made.
pub fn index_of(pod: &Value) -> &str {
    let label = &pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"];
    label.as_str().unwrap_or_default()
}

/// Waits until `labels` choose `count` pods that all stand at a pause point with `file`, and returns
/// them by index.
///
/// # Errors
/// After the deadline, with what the namespace shows.
pub async fn pods_at(
    release: &Release,
    labels: &str,
    count: usize,
    file: &str,
    deadline: Duration,
) -> Result<Vec<Value>> {
    let what = format!("{count} pods of {labels} at {file}");
    let waited = wait_until(&what, deadline, async || {
        let list = release.get(&["pods", "-l", labels]).await?;
        let mut pods = list["items"].as_array().context("items")?.clone();
        pods.sort_by_key(|pod| index_of(pod).to_owned());
        ensure!(pods.len() == count, "{} pods", pods.len());
        for pod in &pods {
            stands_at(pod, file)?;
        }
        Ok(pods)
    });
    match waited.await {
        Ok(pods) => Ok(pods),
        Err(error) => {
            bail!("{error:#}\n{}", release.source.env.describe(&release.namespace).await)
        }
    }
}

//! Processes inside of pods: the bed's pods run on this machine.

use std::fs;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Kills a process, as a lack of memory would.
///
/// # Errors
/// If there is none.
pub fn kill_now(process: Pid) -> Result<()> {
    kill(process, Signal::SIGKILL).with_context(|| format!("kill {process}"))
}

/// The product's process in a pod. The bed's processes are children of this machine, and their
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

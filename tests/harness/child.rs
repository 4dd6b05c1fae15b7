//! A `tidemark` process that a test stops, signals and watches.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::{Output, SourceFixture, unique, wait_until};

/// How long a step of a process may take on a busy machine.
const STEP: Duration = Duration::from_mins(1);

/// One process. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    gate: PathBuf,
    said: PathBuf,
    complained: PathBuf,
}

impl SourceFixture {
    /// Starts a command. With a point, it pauses there until [`Process::go_on`].
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, mut command: Command, point: Option<&str>) -> Result<Process> {
        let name = unique("process");
        let file = |end: &str| self.file(&format!("{name}.{end}"));
        let (gate, said, complained) = (file("gate"), file("out"), file("err"));
        if let Some(point) = point {
            command.env("TIDEMARK_TEST_PAUSE", format!("{point}={}", gate.display()));
        }
        command
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::create(&complained)?);
        let child = command.spawn().context("start tidemark")?;
        Ok(Process { child, gate, said, complained })
    }
}

impl Process {
    /// Returns once it has come to its point.
    ///
    /// # Errors
    /// If it ends before, or does not come.
    pub async fn paused(&mut self) -> Result<()> {
        self.paused_within(STEP).await
    }

    /// As [`Self::paused`], for a point that comes after much work.
    ///
    /// # Errors
    /// As there.
    pub async fn paused_within(&mut self, deadline: Duration) -> Result<()> {
        wait_until("the pause", deadline, async || {
            ensure!(self.gate.exists() || self.child.try_wait()?.is_some(), "not there yet");
            Ok(())
        })
        .await?;
        ensure!(self.gate.exists(), "it ended before: {}", fs::read_to_string(&self.complained)?);
        Ok(())
    }

    /// Lets it go on from its point.
    ///
    /// # Errors
    /// If it is not there.
    pub fn go_on(&self) -> Result<()> {
        fs::remove_file(&self.gate).context("it is not at its point")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// The most memory that it has held so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_bytes(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib << 10)
    }

    /// CPU seconds that the process has used so far, user and system time.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let pid = self.child.id().context("it has ended")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // the name of the program comes second, in parentheses, and may contain spaces
        let (_, fields) = stat.rsplit_once(')').context("stat has no program name")?;
        let ticks = |field: usize| -> Result<f64> {
            Ok(fields.split_whitespace().nth(field).context("a field of stat")?.parse()?)
        };
        // proc(5): utime and stime, in ticks of 10 ms on Linux
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn die(mut self) -> Result<()> {
        self.child.kill().await.context("kill it")?;
        let _ = fs::remove_file(&self.gate);
        Ok(())
    }

    /// Waits for its end, successful or not.
    ///
    /// # Errors
    /// If it does not end within `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Result<Output> {
        let status =
            tokio::time::timeout(deadline, self.child.wait()).await.with_context(|| {
                let log = fs::read_to_string(&self.complained).unwrap_or_default();
                format!("still running after {deadline:?}: {log}")
            })??;
        Ok(Output {
            code: status.code(),
            stdout: fs::read_to_string(&self.said)?,
            stderr: fs::read_to_string(&self.complained)?,
        })
    }

    /// What it has complained about so far.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.complained)?)
    }
}

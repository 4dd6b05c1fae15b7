//! Running a program inside the test environment's network.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::TestEnv;

/// How long [`TestEnv::kubectl`], [`TestEnv::helm`] and [`TestEnv::psql`] may take.
const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// What a program that has ended left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl TestEnv {
    /// A program in the test environment's network. It ends with the thread that starts it, even if that is killed:
    /// so start it from async code inside [`TestEnv::run`], not from `spawn_blocking`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.pid))
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program)
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, successful or not.
    ///
    /// # Errors
    /// If it cannot be started, or runs longer than `deadline`; it is killed then.
    pub async fn output(
        &self,
        mut command: Command,
        input: &str,
        deadline: Duration,
    ) -> Result<Output> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = describe(&command);
        let mut child = command.spawn().with_context(|| format!("start {line}"))?;
        let mut stdin = child.stdin.take().context("take standard input")?;
        let talk = async {
            // A program may end without reading its input: its own words say more than our EPIPE.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(deadline, talk)
            .await
            .with_context(|| format!("{line}: still running after {deadline:?}"))?
            .with_context(|| format!("wait for {line}"))?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed, and returns what it printed.
    ///
    /// # Errors
    /// Names the command, its exit code and what it printed on standard error.
    pub async fn succeed(&self, command: Command, input: &str) -> Result<String> {
        let line = describe(&command);
        let output = self.output(command, input, COMMAND_DEADLINE).await?;
        ensure!(
            output.code == Some(0),
            "{line}: exit {:?}: {}{}",
            output.code,
            output.stderr.trim(),
            if output.stderr.trim().is_empty() { output.stdout.trim() } else { "" },
        );
        Ok(output.stdout)
    }
}

/// The command line without what [`TestEnv::command`] put before it.
fn describe(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.as_std().get_program())
        .chain(command.as_std().get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let own = words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
    words[own..].join(" ")
}

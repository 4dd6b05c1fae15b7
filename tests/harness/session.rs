//! A database session that a test holds open.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::TestEnv;

/// How long one statement may take.
const SAY_DEADLINE: Duration = Duration::from_secs(20);

/// A psql session that says one thing after another. It ends when dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Session {
    /// Opens it.
    ///
    /// # Errors
    /// If psql does not start.
    pub fn open(env: &TestEnv, database: &str) -> Result<Self> {
        Self::at(env, &env.postgres_url(database))
    }

    /// Opens one that the server has a walsender for, which takes SQL too.
    ///
    /// # Errors
    /// If psql does not start.
    pub fn replication(env: &TestEnv, database: &str) -> Result<Self> {
        Self::at(env, &format!("{}&replication=database", env.postgres_url(database)))
    }

    fn at(env: &TestEnv, url: &str) -> Result<Self> {
        let mut command = env.command("psql");
        command
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("start psql")?;
        let input = child.stdin.take().context("stdin")?;
        let output = child.stdout.take().context("stdout")?;
        Ok(Self { child, input, lines: BufReader::new(output).lines() })
    }

    /// Says what prints nothing, and waits until it is done.
    ///
    /// # Errors
    /// If psql ends, prints something else, or is not done in time.
    pub async fn say(&mut self, sql: &str) -> Result<()> {
        self.input.write_all(format!("{sql}\n\\echo done\n").as_bytes()).await?;
        let line = tokio::time::timeout(SAY_DEADLINE, self.lines.next_line())
            .await
            .with_context(|| format!("{sql}: not done within {SAY_DEADLINE:?}"))??;
        ensure!(line.as_deref() == Some("done"), "psql said {line:?}, {:?}", self.child.try_wait());
        Ok(())
    }
}

//! A MariaDB of one test's own: what is set for the whole server disturbs nobody else.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;
use tokio::process::Child;

use crate::{GiveUp, TestEnv, unique, wait_until};

/// How long it may take to answer.
const START: Duration = Duration::from_mins(1);

/// The server. It ends when dropped.
#[derive(Debug)]
pub struct MariaDb {
    env: &'static TestEnv,
    /// Its port, on the address of every server.
    pub port: u16,
    /// The socket that its superuser `root` connects by, without a password.
    pub socket: PathBuf,
    log: PathBuf,
    process: Child,
}

impl MariaDb {
    /// The user that may log in from anywhere, over TLS; it has no rights.
    pub const USER: &str = "app";
    /// Its password.
    pub const PASSWORD: &str = "secret";

    /// Starts it, with these options too.
    ///
    /// # Errors
    /// With its log, if it does not come up.
    pub async fn start(env: &'static TestEnv, options: &[&str]) -> Result<Self> {
        let folder = env.state.join(unique("own-mariadb"));
        // a server that starts clears its folder for temporary files
        let tmp = folder.join("tmp");
        fs::create_dir_all(&tmp)?;
        let mut install = env.command("mariadb-install-db");
        install
            .args(["--no-defaults", "--user=root", "--skip-test-db"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--tmpdir={}", tmp.display()));
        env.succeed(install, "").await?;
        let users = format!(
            "delete from mysql.global_priv where User = '';\nflush privileges;\n\
             create user {}@'%' identified by '{}' require ssl;\n",
            Self::USER,
            Self::PASSWORD
        );
        fs::write(folder.join("init.sql"), users)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        drop(listener);
        let (pki, log, socket) = (env.state.join("pki"), folder.join("log"), folder.join("socket"));
        let mut command = env.command("mariadbd");
        command
            .args(["--no-defaults", "--user=root", "--skip-name-resolve"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--log-bin=binlog", "--server-id=7", "--character-set-server=utf8mb4"])
            .arg(format!("--bind-address={}", TestEnv::IP))
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--tmpdir={}", tmp.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--init-file={}", folder.join("init.sql").display()))
            .arg(format!("--ssl-ca={}", pki.join("ca.crt").display()))
            .arg(format!("--ssl-cert={}", pki.join("mariadb.crt").display()))
            .arg(format!("--ssl-key={}", pki.join("mariadb.key").display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let process = command.spawn().context("start mariadbd")?;
        let mut this = Self { env, port, socket, log, process };
        wait_until("a MariaDB of its own", START, async || {
            this.lives().map_err(|error| GiveUp(format!("{error}")))?;
            this.sql("mysql", "select 1").await.map(drop)
        })
        .await?;
        Ok(this)
    }

    /// Runs SQL as its superuser; rows come as lines, columns parted by tabs.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.client();
        command.args(["--user=root", "--protocol=socket", database]);
        command.arg(format!("--socket={}", self.socket.display()));
        Ok(self.env.succeed(command, sql).await?.trim_end().to_owned())
    }

    /// The same as [`MariaDb::USER`], as any other client would.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn as_user(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.client();
        command
            .arg(format!("--user={}", Self::USER))
            .arg(format!("--password={}", Self::PASSWORD))
            .args(["--protocol=tcp", &format!("--host={}", TestEnv::IP)])
            .arg(format!("--port={}", self.port))
            .arg(format!("--ssl-ca={}", self.env.ca().display()))
            .arg(database);
        Ok(self.env.succeed(command, sql).await?.trim_end().to_owned())
    }

    /// How many connections have ended without a goodbye.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn aborted(&self) -> Result<u64> {
        let said = self.sql("mysql", "show global status like 'Aborted_clients'").await?;
        let number = said.split_whitespace().last().and_then(|number| number.parse().ok());
        number.with_context(|| format!("no number: {said}"))
    }

    fn client(&self) -> tokio::process::Command {
        let mut command = self.env.command("mariadb");
        command.args(["--no-defaults", "-NBr", "--default-character-set=utf8mb4"]);
        command
    }

    /// Whether it runs still.
    ///
    /// # Errors
    /// With its log, if it has ended.
    pub fn lives(&mut self) -> Result<()> {
        let log = || fs::read_to_string(&self.log).unwrap_or_default();
        ensure!(self.process.try_wait()?.is_none(), "the server has ended: {}", log());
        Ok(())
    }
}

//! A MariaDB of one test's own: what is set for the whole server disturbs nobody else.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Bed, GiveUp, unique, wait_until};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, MySqlConnection};
use tokio::net::TcpListener;
use tokio::process::Child;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(60);

/// The server. It ends when dropped.
#[derive(Debug)]
pub(crate) struct MariaDb {
    pub(crate) port: u16,
    folder: PathBuf,
    process: Child,
}

impl MariaDb {
    /// Starts it, with these options too.
    pub(crate) async fn start(bed: &'static Bed, options: &[&str]) -> Result<Self> {
        let folder = bed.state.join(unique("own-mariadb"));
        fs::create_dir(&folder)?;
        let mut install = bed.command("mariadb-install-db");
        install
            .args([
                "--no-defaults",
                "--user=root",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(format!("--datadir={}", folder.join("data").display()));
        bed.succeed(install, "").await?;
        let users = "delete from mysql.global_priv where User = '';\nflush privileges;\n\
            create user app@'%' identified by 'secret' require ssl;\n";
        fs::write(folder.join("init.sql"), users)?;
        let socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = socket.local_addr()?.port();
        drop(socket);
        let (pki, log) = (bed.state.join("pki"), folder.join("log"));
        let mut command = bed.command("mariadbd");
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=32M",
            ])
            .args(["--log-bin=binlog", "--server-id=7", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--character-set-server=utf8mb4", &format!("--bind-address={}", Bed::IP)])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("socket").display()))
            .arg(format!("--init-file={}", folder.join("init.sql").display()))
            .arg(format!("--ssl-ca={}", pki.join("ca.crt").display()))
            .arg(format!("--ssl-cert={}", pki.join("mariadb.crt").display()))
            .arg(format!("--ssl-key={}", pki.join("mariadb.key").display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let process = command.spawn().context("start mariadbd")?;
        let mut this = Self { port, folder, process };
        wait_until("a MariaDB of its own", START, async || {
            this.lives().map_err(|error| GiveUp(format!("{error}")))?;
            this.admin("mysql").await.map(drop)
        })
        .await?;
        Ok(this)
    }

    /// A session of its superuser.
    pub(crate) async fn admin(&self, database: &str) -> Result<MySqlConnection> {
        let options = MySqlConnectOptions::new()
            .socket(self.folder.join("socket"))
            .username("root")
            .database(database)
            .ssl_mode(MySqlSslMode::Disabled)
            .disable_statement_logging();
        options.connect().await.context("connect to a MariaDB of its own")
    }

    /// Whether it runs still.
    pub(crate) fn lives(&mut self) -> Result<()> {
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        ensure!(self.process.try_wait()?.is_none(), "the server has ended: {}", log());
        Ok(())
    }
}

/// Statements of one message.
pub(crate) async fn say(admin: &mut MySqlConnection, sql: &str) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(admin).await;
    done.map(|_| ()).with_context(|| sql.to_owned())
}

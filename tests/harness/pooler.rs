//! A PgBouncer between a test and the test environment's Postgres.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use crate::{GiveUp, TestEnv, unique, wait_until};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(20);

/// One pooler. It ends when dropped.
#[derive(Debug)]
pub struct Pooler {
    /// Where it listens, on [`TestEnv::IP`] and with the certificate of Postgres.
    pub port: u16,
    process: Child,
}

impl Pooler {
    /// Starts it in a mode of pooling, with so many connections to the server and further settings.
    ///
    /// # Errors
    /// With its log, if it does not start.
    pub async fn start(env: &TestEnv, mode: &str, size: u32, more: &[&str]) -> Result<Self> {
        // its own user's, who is that of Postgres: it does not run as root
        let folder = env.state.join("postgres").join(unique("pooler"));
        fs::create_dir(&folder)?;
        let socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = socket.local_addr()?.port();
        drop(socket);
        let users = format!("\"{}\" \"{}\"\n", TestEnv::POSTGRES_USER, TestEnv::POSTGRES_PASSWORD);
        fs::write(folder.join("users"), users)?;
        fs::write(folder.join("ini"), settings(env, &folder, (port, mode, size), more))?;
        let log = folder.join("log");
        let mut command = env.command("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--reset-env"])
            .args(["--pdeathsig", "KILL", "/usr/sbin/pgbouncer"])
            .arg(folder.join("ini"))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let mut process = command.spawn().context("start pgbouncer")?;
        wait_until("the pooler", START, async || {
            if process.try_wait()?.is_some() {
                return Err(GiveUp(fs::read_to_string(&log)?).into());
            }
            TcpStream::connect((TestEnv::IP, port)).await.context("connect")?;
            Ok(())
        })
        .await?;
        Ok(Self { port, process })
    }

    /// Whether it runs still.
    ///
    /// # Errors
    /// If it has ended.
    pub fn lives(&mut self) -> Result<()> {
        ensure!(self.process.try_wait()?.is_none(), "the pooler has ended");
        Ok(())
    }
}

fn settings(
    env: &TestEnv,
    folder: &Path,
    (port, mode, size): (u16, &str, u32),
    more: &[&str],
) -> String {
    let (folder, server) = (folder.display(), env.state.join("postgres"));
    let server = server.display();
    format!(
        "[databases]\n\
         * = host={server} port={}\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {folder}/users\n\
         client_tls_sslmode = require\n\
         client_tls_cert_file = {server}/postgres.crt\n\
         client_tls_key_file = {server}/postgres.key\n\
         pool_mode = {mode}\n\
         default_pool_size = {size}\n\
         {}\n",
        TestEnv::POSTGRES_PORT,
        TestEnv::IP,
        more.join("\n"),
    )
}

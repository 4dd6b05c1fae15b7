//! A database server of another release, in addition to those of the test environment.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Mysql, SourceFixture, TestEnv, env::script, unique};

/// A release of a supported database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupportedRelease {
    /// Postgres, by its major number.
    Postgres(u16),
    /// MySQL or MariaDB.
    Mysql(Mysql),
}

/// A running server. It ends with the test environment.
#[derive(Debug, Clone)]
pub struct Server {
    /// The test environment that it runs in.
    pub env: &'static TestEnv,
    /// Its release.
    pub release: SupportedRelease,
    /// Its port, on the address of every server.
    pub port: u16,
}

impl Server {
    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(env: &'static TestEnv, release: SupportedRelease) -> Result<Self> {
        let port = match release {
            SupportedRelease::Postgres(version) => env.postgres_of(version)?,
            SupportedRelease::Mysql(version) => env.mysql_of(version, None)?,
        };
        Ok(Self { env, release, port })
    }

    /// Starts a second MySQL of a release, for one test that changes settings of the whole server.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn apart(env: &'static TestEnv, version: Mysql) -> Result<Self> {
        let port = env.mysql_of(version, Some("apart"))?;
        Ok(Self { env, release: SupportedRelease::Mysql(version), port })
    }

    /// What the server says its version is.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn version(&self) -> Result<String> {
        match self.release {
            SupportedRelease::Postgres(_) => self.sql("postgres", "show server_version").await,
            SupportedRelease::Mysql(_) => self.sql("mysql", "select version()").await,
        }
    }

    /// Runs SQL as its superuser; rows come as lines.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<String> {
        match self.release {
            SupportedRelease::Postgres(_) => {
                let mut command = self.env.command("psql");
                let own = format!(":{}/", TestEnv::POSTGRES_PORT);
                let url =
                    self.env.postgres_url(database).replace(&own, &format!(":{}/", self.port));
                command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &url]);
                Ok(self.env.succeed(command, sql).await?.trim_end().to_owned())
            }
            SupportedRelease::Mysql(version) => {
                self.env.mysql_at((version, self.port), database, sql).await
            }
        }
    }

    /// Connects to a MySQL server as its own client would, over TCP without TLS.
    ///
    /// # Errors
    /// With the server's words.
    pub async fn log_in(&self, user: &str, password: &str) -> Result<()> {
        let mut command = self.env.command("mariadb");
        command
            .args(["--no-defaults", "-NBe", "select 1", "--protocol=tcp", "--skip-ssl"])
            .arg(format!("--host={}", TestEnv::IP))
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={user}"))
            .arg(format!("--password={password}"));
        self.env.succeed(command, "").await.map(|_| ())
    }

    /// A new database of it, with a bucket and a tracking table.
    ///
    /// # Errors
    /// With the words of the part that refused.
    pub async fn source(&self, prefix: &str) -> Result<SourceFixture> {
        let name = unique(prefix).replace('-', "_");
        let (engine, first) = match self.release {
            SupportedRelease::Postgres(_) => ("postgres", "postgres"),
            SupportedRelease::Mysql(_) => ("mysql", "mysql"),
        };
        self.sql(first, &format!("create database {name}")).await?;
        SourceFixture::beside(self.env, prefix, (engine, name)).await
    }

    /// A full extract of `table` from it, to be changed by the test.
    pub fn job(&self, source: &SourceFixture, table: &str, extract_type: &str) -> Value {
        let mut job = source.job(table, extract_type);
        job["spec"]["source"]["port"] = json!(self.port);
        if let SupportedRelease::Mysql(version) = self.release {
            job["spec"]["source"]["tls"] = version.tls();
        }
        job
    }
}

impl TestEnv {
    /// The release of the test environment's own Postgres, by its major number.
    ///
    /// # Errors
    /// If its files do not say.
    pub fn postgres_release(&self) -> Result<u16> {
        let file = self.state.join("postgres/PG_VERSION");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        text.trim().parse().with_context(|| format!("{}: {text}", file.display()))
    }

    /// Whether the test environment's own Postgres is older than the release `since` (a major number), which brought what the test is
    /// about; says so for the table of releases.
    ///
    /// # Errors
    /// As [`TestEnv::postgres_release`].
    pub fn lacks(&self, since: u16, what: &str) -> Result<bool> {
        let lacks = self.postgres_release()? < since;
        Ok(not_here(lacks, what))
    }

    /// Whether the test environment's own Postgres has no PostGIS, which is packaged for the installed release alone; says so for
    /// the table of releases.
    ///
    /// # Errors
    /// As [`TestEnv::postgres_release`].
    pub fn lacks_postgis(&self) -> Result<bool> {
        let server = Path::new("/usr/lib/postgresql").join(self.postgres_release()?.to_string());
        Ok(not_here(!server.exists(), "PostGIS"))
    }

    /// Starts another release of MySQL or MariaDB in the test environment, with the certificate and the accounts of its own, unless
    /// it runs already; returns its port.
    ///
    /// # Errors
    /// If it does not come up.
    fn mysql_of(&self, version: Mysql, which: Option<&str>) -> Result<u16> {
        let name = self.state.file_name().context("name of the test environment")?;
        let mut command = Command::new(script("mysql.sh"));
        let output =
            command.arg(name).arg(version.name()).args(which).stderr(Stdio::inherit()).output();
        let output = output.context("run mysql.sh")?;
        ensure!(output.status.success(), "mysql.sh {}: {}", version.name(), output.status);
        String::from_utf8(output.stdout)?.trim().parse().context("a port")
    }
}

/// Says for the table of releases that a test does not concern the server's, if that `lacks` what it is about.
fn not_here(lacks: bool, what: &str) -> bool {
    if lacks {
        // past the test's own output, which is kept back
        let _ = writeln!(io::stdout(), "not on this release: {what}");
    }
    lacks
}

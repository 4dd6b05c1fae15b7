//! One source of a test's own: database, bucket, tracking table; and the worker run against it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Access, Mysql, Output, TestEnv, unique};

/// How long a local run may take, waiting for a deadline included.
const RUN_DEADLINE: Duration = Duration::from_mins(3);

/// A database, a bucket and a tracking table that nobody else uses.
#[derive(Debug, Clone)]
pub struct SourceFixture {
    /// The test environment that they are in.
    pub env: &'static TestEnv,
    /// Name of the database.
    pub database: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Name of the tracking table.
    pub table: String,
    /// `postgres` or `mysql`.
    pub engine: &'static str,
    folder: PathBuf,
}

/// The folder of the product's binaries: `TIDEMARK_BINARIES`, or the target folder. Test programs are in its `deps`.
pub(crate) fn binaries() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("TIDEMARK_BINARIES") {
        return Ok(folder.into());
    }
    let program = std::env::current_exe()?;
    let folder = program.parent().context("target folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    folder.map(PathBuf::from).context("target folder")
}

/// A binary of the workspace.
///
/// # Errors
/// If it is not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = binaries()?.join(name);
    ensure!(path.exists(), "{} is not built: run make build", path.display());
    Ok(path)
}

impl SourceFixture {
    /// Makes them.
    ///
    /// # Errors
    /// With the words of the part that refused.
    pub async fn new(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        let database = env.database(prefix).await?;
        let login = (TestEnv::POSTGRES_USER, TestEnv::POSTGRES_PASSWORD);
        Self::of(env, prefix, ("postgres", database), login).await
    }

    /// Makes them, the database being MariaDB's.
    ///
    /// # Errors
    /// As [`SourceFixture::new`].
    pub async fn mariadb(env: &'static TestEnv, prefix: &str) -> Result<Self> {
        let database = env.mariadb_database(prefix).await?;
        let login = (TestEnv::MARIADB_USER, TestEnv::MARIADB_PASSWORD);
        Self::of(env, prefix, ("mysql", database), login).await
    }

    /// A bucket and a tracking table for a database of a server other than the test environment's own.
    pub(crate) async fn beside(
        env: &'static TestEnv,
        prefix: &str,
        database: (&'static str, String),
    ) -> Result<Self> {
        let login = match database.0 {
            "mysql" => (TestEnv::MARIADB_USER, TestEnv::MARIADB_PASSWORD),
            _ => (TestEnv::POSTGRES_USER, TestEnv::POSTGRES_PASSWORD),
        };
        Self::of(env, prefix, database, login).await
    }

    async fn of(
        env: &'static TestEnv,
        prefix: &str,
        (engine, database): (&'static str, String),
        (user, password): (&str, &str),
    ) -> Result<Self> {
        let folder = env.state.join("local").join(unique(prefix));
        fs::create_dir_all(folder.join("credentials"))?;
        fs::write(folder.join("credentials/username"), user)?;
        fs::write(folder.join("credentials/password"), password)?;
        let (bucket, table) = (env.bucket(prefix).await?, env.table(prefix).await?);
        Ok(Self { env, database, bucket, table, engine, folder })
    }

    /// Sets the user that local runs log in as.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn user(&self, user: &str) -> Result<()> {
        Ok(fs::write(self.folder.join("credentials/username"), user)?)
    }

    /// Sets the password that local runs use.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn password(&self, password: &str) -> Result<()> {
        Ok(fs::write(self.folder.join("credentials/password"), password)?)
    }

    /// A file of this source's own, for pause points.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The tracking key of a table.
    pub fn key(&self, table: &str) -> String {
        format!("{}.{table}", self.database)
    }

    /// A full extract of `table`, to be changed by the test.
    pub fn job(&self, table: &str, extract_type: &str) -> Value {
        let name = table.replace(['.', '_'], "-");
        let by_authority = json!({ "caRef": { "name": "database-ca", "key": "ca.crt" } });
        let tls = if self.engine == "mysql" { Mysql::of_env().tls() } else { by_authority };
        json!({
            "apiVersion": "tidemark.dev/v1alpha1",
            "kind": "ExtractJob",
            "metadata": { "name": name },
            "spec": {
                "source": {
                    "engine": self.engine,
                    "host": TestEnv::IP,
                    "port": if self.engine == "mysql" { TestEnv::MARIADB_PORT } else { TestEnv::POSTGRES_PORT },
                    "database": self.database,
                    "credentials": { "secretRef": { "name": "database" } },
                    "tls": tls,
                },
                "extract": { "table": table, "type": extract_type },
                "output": {
                    "uri": format!("s3://{}/{table}", self.bucket),
                    "endpoint": TestEnv::S3,
                    "pathStyle": true,
                    "region": TestEnv::REGION,
                    "secretRef": { "name": "aws" },
                },
                "tracking": {
                    "table": self.table,
                    "region": TestEnv::REGION,
                    "endpoint": TestEnv::DYNAMODB,
                    "secretRef": { "name": "aws" },
                },
            },
        })
    }

    /// `tidemark` in this process' place, with the credentials that it needs; `sub_command` may hold flags, parted by
    /// a space.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub fn command(&self, sub_command: &str, job: &Value) -> Result<tokio::process::Command> {
        let manifest = self.folder.join(unique("manifest"));
        fs::write(&manifest, job.to_string())?;
        let (id, secret) = Access::Admin.keys();
        let mut command = self.env.command(binary("tidemark")?);
        command
            .args(sub_command.split(' '))
            .arg("-f")
            .arg(manifest)
            .env("TIDEMARK_CREDENTIALS_DIR", self.folder.join("credentials"))
            .env("TIDEMARK_CA_FILE", self.env.ca())
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", TestEnv::REGION);
        Ok(command)
    }

    /// Runs a local run to its end, successful or not.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn try_run(&self, job: &Value) -> Result<Output> {
        self.env.output(self.command("run", job)?, "", RUN_DEADLINE).await
    }

    /// Runs a local run that must publish, and returns what it printed.
    ///
    /// # Errors
    /// With the run's own words.
    pub async fn run(&self, job: &Value) -> Result<Value> {
        let output = self.try_run(job).await?;
        ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
        serde_json::from_str(output.stdout.trim()).context("parse what the run printed")
    }

    /// A local run with so much memory, which must publish and hold no more until its rows
    /// are uploaded; what it printed.
    ///
    /// # Errors
    /// With the run's own words, or if it held more.
    pub async fn run_within(&self, job: &Value, limit: u64) -> Result<Value> {
        let mut command = self.command("run", job)?;
        command.env("TIDEMARK_MEMORY", limit.to_string());
        let mut process = self.start(command, Some("before-record"))?;
        process.paused_within(RUN_DEADLINE).await?;
        let peak = process.peak_bytes()?;
        process.go_on()?;
        let output = process.ended(RUN_DEADLINE).await?;
        ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
        ensure!(peak <= limit, "{} of {} MiB", peak >> 20, limit >> 20);
        serde_json::from_str(output.stdout.trim()).context("parse what the run printed")
    }

    /// What `tidemark verify` says about a table's source: its findings, which must be none.
    ///
    /// # Errors
    /// With the findings.
    pub async fn verify(&self, job: &Value) -> Result<Value> {
        let mut command = self.command("verify", job)?;
        command.env("TIDEMARK_GRACE_SECONDS", "0");
        let output = self.env.output(command, "", RUN_DEADLINE).await?;
        ensure!(
            output.code == Some(0),
            "exit {:?}: {} {}",
            output.code,
            output.stdout,
            output.stderr
        );
        serde_json::from_str(output.stdout.trim()).context("parse what verify printed")
    }

    /// `tidemark` with these words and variables instead of a manifest, as the legacy job was
    /// called; the SDK's own variables lead to the test environment's stores.
    ///
    /// # Errors
    /// If the binary is not built.
    pub fn call(
        &self,
        words: &[String],
        variables: &[(String, String)],
    ) -> Result<tokio::process::Command> {
        let (id, secret) = Access::Admin.keys();
        let mut command = self.env.command(binary("tidemark")?);
        command
            .args(words)
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", TestEnv::REGION)
            .env("AWS_ENDPOINT_URL_S3", TestEnv::S3)
            .env("AWS_ENDPOINT_URL_DYNAMODB", TestEnv::DYNAMODB)
            .envs(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(command)
    }

    /// The run item of a table's source.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn run_item(&self, table: &str) -> Result<Option<Value>> {
        self.env.item(&self.table, &format!("{}#tidemark", self.key(table))).await
    }

    /// The legacy job's item of a table's source.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn watermark_item(&self, table: &str) -> Result<Option<Value>> {
        self.env.item(&self.table, &self.key(table)).await
    }

    /// Open uploads in the bucket.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn open_uploads(&self) -> Result<usize> {
        let listed =
            self.env.s3(Access::Admin).list_multipart_uploads().bucket(&self.bucket).send().await?;
        Ok(listed.uploads().len())
    }
}

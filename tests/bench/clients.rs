//! In: a program and a table. Out: the command that copies the table, and the location of its files. Bound: one bucket
//! or folder for each run. Fails: if the bucket or the folder cannot be created.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use harness::{Access, SourceFixture, TestEnv, unique};
use serde_json::{Value, json};

use crate::load::{PASSWORD, USER, postgres_url};
use crate::measure::{ClientCommand, Meter};
use crate::tables::{Engine, Size, Table};

/// What all cases of a benchmark share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The servers.
    pub(crate) env: &'static TestEnv,
    /// How large the tables are.
    pub(crate) size: Size,
    /// The database of Postgres.
    pub(crate) postgres: SourceFixture,
    /// The database of MariaDB.
    pub(crate) mariadb: SourceFixture,
    /// The `tidemark` binary to measure.
    pub(crate) tidemark: PathBuf,
    /// The venv of the other programs.
    pub(crate) venv: PathBuf,
    /// The venv of Spark, if it could be installed.
    pub(crate) spark: Option<PathBuf>,
    /// The folder of the Python scripts.
    pub(crate) scripts: PathBuf,
    /// A folder for output and requests.
    pub(crate) work: PathBuf,
    /// Measures time, CPU and memory.
    pub(crate) meter: Meter,
}

impl Bench {
    /// The database of an engine.
    pub(crate) const fn source(&self, engine: Engine) -> &SourceFixture {
        match engine {
            Engine::Postgres => &self.postgres,
            Engine::MariaDb => &self.mariadb,
        }
    }

    /// The command of a Python script.
    pub(crate) fn python(&self, venv: &std::path::Path, script: &str) -> Vec<String> {
        vec![
            venv.join("bin/python").display().to_string(),
            self.scripts.join(script).display().to_string(),
        ]
    }

    /// How DuckDB reaches the S3 server.
    pub(crate) fn s3() -> Value {
        let (key, secret) = Access::Admin.keys();
        let endpoint = TestEnv::S3.trim_start_matches("http://");
        json!({ "endpoint": endpoint, "key": key, "secret": secret, "region": TestEnv::REGION })
    }
}

/// Where a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The S3 server.
    S3,
    /// A local file.
    File,
}

/// How Tidemark runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tidemark {
    /// Number of partitions. All of them are read at the same time.
    pub(crate) partitions: u32,
    /// Memory limit, such as `128Mi`; `None`: the default.
    pub(crate) memory: Option<&'static str>,
    /// Whether the connection to the database is encrypted.
    pub(crate) tls: bool,
}

/// A program that copies a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    /// `tidemark run`.
    Tidemark(Tidemark),
    /// `COPY` of DuckDB.
    DuckDb(u32, Destination),
    /// ConnectorX, and pyarrow for the file.
    ConnectorX(u32),
    /// Rivet.
    Rivet(u32),
    /// Spark with JDBC.
    Spark(u32),
}

impl Client {
    /// Its name in the report.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Tidemark(Tidemark { partitions, memory, tls }) => {
                let memory = memory.map(|limit| format!(", {limit} of memory")).unwrap_or_default();
                let tls = if tls { ", TLS" } else { "" };
                let s = if partitions == 1 { "" } else { "s" };
                format!("Tidemark, {partitions} partition{s}{memory}{tls}, to S3")
            }
            Self::DuckDb(threads, to) => {
                let s = if threads == 1 { "" } else { "s" };
                let to = if to == Destination::S3 { "S3" } else { "a local file" };
                format!("DuckDB, {threads} thread{s}, to {to}")
            }
            Self::ConnectorX(count) => {
                format!("ConnectorX and pyarrow, {count} partitions, to a local file")
            }
            Self::Rivet(count) => format!("Rivet, {count} connections, to local files"),
            Self::Spark(count) => format!("Spark JDBC, {count} partitions, to local files"),
        }
    }

    /// The reason why it cannot run here; `None` if it can.
    pub(crate) fn missing_reason(self, bench: &Bench) -> Option<&'static str> {
        match self {
            Self::Rivet(_) if !bench.venv.join("bin/rivet").exists() => {
                Some("Rivet could not be installed")
            }
            Self::Spark(_) if bench.spark.is_none() => Some("Spark could not be installed"),
            _ => None,
        }
    }
}

/// The files that a client writes.
#[derive(Debug)]
pub(crate) enum Files {
    /// All of a bucket.
    Bucket(String),
    /// All of a folder.
    Folder(PathBuf),
}

impl Files {
    /// A new bucket or folder.
    ///
    /// # Errors
    /// If it cannot be created.
    async fn new(bench: &Bench, to: Destination) -> Result<Self> {
        Ok(match to {
            Destination::S3 => Self::Bucket(bench.env.bucket("bench").await?),
            Destination::File => {
                let folder = bench.work.join(unique("files"));
                fs::create_dir_all(&folder)?;
                Self::Folder(folder)
            }
        })
    }

    /// The pattern of its Parquet files.
    pub(crate) fn pattern(&self) -> String {
        match self {
            Self::Bucket(bucket) => format!("s3://{bucket}/**/*.parquet"),
            Self::Folder(folder) => format!("{}/**/*.parquet", folder.display()),
        }
    }

    fn place(&self, name: &str) -> String {
        match self {
            Self::Bucket(bucket) => format!("s3://{bucket}/{name}"),
            Self::Folder(folder) => folder.join(name).display().to_string(),
        }
    }

    /// Removes the files, so that each run starts with the same free space.
    ///
    /// # Errors
    /// The error of the S3 server.
    pub(crate) async fn remove(&self, bench: &Bench) -> Result<()> {
        match self {
            Self::Folder(folder) => fs::remove_dir_all(folder)?,
            Self::Bucket(bucket) => {
                let s3 = bench.env.s3(Access::Admin);
                for key in bench.env.keys(bucket, "").await? {
                    s3.delete_object().bucket(bucket).key(key).send().await?;
                }
                s3.delete_bucket().bucket(bucket).send().await?;
            }
        }
        Ok(())
    }
}

/// The command of a client and the location of its files.
///
/// # Errors
/// If the location cannot be created.
pub(crate) async fn prepare(
    bench: &Bench,
    client: Client,
    engine: Engine,
    table: Table,
) -> Result<(ClientCommand, Files)> {
    let to = match client {
        Client::Tidemark(_) => Destination::S3,
        Client::DuckDb(_, to) => to,
        _ => Destination::File,
    };
    let files = Files::new(bench, to).await?;
    let command = match client {
        Client::Tidemark(how) => tidemark(bench, how, (engine, table), &files)?,
        Client::DuckDb(threads, _) => {
            let mut argv = bench.python(&bench.venv, "duckdb_copy.py");
            let to = files.place("rows.parquet");
            argv.extend(
                [engine.name(), table.name(), &threads.to_string(), &to].map(str::to_owned),
            );
            let mut input = Bench::s3();
            let source = bench.source(engine);
            input["source"] = json!(duckdb_source(engine, source));
            input["database"] = json!(source.database);
            ClientCommand { argv, input: input.to_string(), ..ClientCommand::default() }
        }
        Client::ConnectorX(count) => {
            let mut argv = bench.python(&bench.venv, "connectorx_copy.py");
            let url = match engine {
                Engine::Postgres => postgres_url(&bench.postgres),
                Engine::MariaDb => format!(
                    "mysql://{USER}:{PASSWORD}@{}:{}/{}",
                    TestEnv::IP,
                    TestEnv::MARIADB_PORT,
                    bench.mariadb.database
                ),
            };
            let to = files.place("rows.parquet");
            argv.extend(
                [&url, table.name(), table.key(), &count.to_string(), &to].map(str::to_owned),
            );
            ClientCommand { argv, ..ClientCommand::default() }
        }
        Client::Rivet(count) => rivet(bench, count, table, &files)?,
        Client::Spark(count) => spark(bench, count, table, &files)?,
    };
    Ok((command, files))
}

fn duckdb_source(engine: Engine, source: &SourceFixture) -> String {
    let database = &source.database;
    match engine {
        Engine::Postgres => format!(
            "host={} port={} user={USER} password={PASSWORD} dbname={database} sslmode=disable",
            TestEnv::IP,
            TestEnv::POSTGRES_PORT
        ),
        Engine::MariaDb => format!(
            "host={} port={} user={USER} password={PASSWORD} database={database} compression=disabled ssl_mode=disabled",
            TestEnv::IP,
            TestEnv::MARIADB_PORT
        ),
    }
}

/// The manifest of a full extract.
pub(crate) fn manifest(
    bench: &Bench,
    how: Tidemark,
    (engine, table): (Engine, Table),
    bucket: &str,
) -> Value {
    let name = match engine {
        Engine::Postgres => format!("public.{}", table.name()),
        Engine::MariaDb => table.name().to_owned(),
    };
    let source = bench.source(engine);
    let mut job = source.job(&name, "FE");
    let spec = &mut job["spec"];
    if !how.tls {
        spec["source"]["tls"] = json!({ "mode": "insecurePlaintext" });
    }
    // each run has its own bucket and key, so that it does not remove the files of another one
    spec["output"]["uri"] = json!(format!("s3://{bucket}/{}", table.name()));
    spec["tracking"]["key"] = json!(format!("{}.{name}.{bucket}", source.database));
    let count = how.partitions;
    spec["extract"]["partition"] = match (count, table, engine) {
        (1, _, _) => json!({ "strategy": "none" }),
        (_, Table::Skew, _) => {
            json!({ "column": table.key(), "count": count, "strategy": "quantile" })
        }
        (_, _, Engine::Postgres) => json!({ "count": count, "strategy": "ctid" }),
        (_, _, Engine::MariaDb) => json!({ "column": table.key(), "count": count }),
    };
    spec["worker"] = json!({ "parallelism": count });
    job
}

fn tidemark(
    bench: &Bench,
    how: Tidemark,
    of: (Engine, Table),
    files: &Files,
) -> Result<ClientCommand> {
    let Files::Bucket(bucket) = files else { anyhow::bail!("Tidemark writes to S3 only") };
    let source = bench.source(of.0);
    let file = bench.work.join(format!("{bucket}.json"));
    fs::write(&file, manifest(bench, how, of, bucket).to_string())?;
    let (id, secret) = Access::Admin.keys();
    let mut variables = vec![
        ("TIDEMARK_CREDENTIALS_DIR", source.file("credentials").display().to_string()),
        ("TIDEMARK_CA_FILE", bench.env.ca().display().to_string()),
        ("AWS_ACCESS_KEY_ID", id.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
        ("AWS_REGION", TestEnv::REGION.to_owned()),
    ];
    variables.extend(how.memory.map(|limit| ("TIDEMARK_MEMORY", limit.to_owned())));
    let argv = [&bench.tidemark, &PathBuf::from("run"), &PathBuf::from("-f"), &file];
    Ok(ClientCommand {
        argv: argv.map(|word| word.display().to_string()).to_vec(),
        variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        input: String::new(),
    })
}

fn rivet(bench: &Bench, count: u32, table: Table, files: &Files) -> Result<ClientCommand> {
    let Files::Folder(folder) = files else { anyhow::bail!("this client writes to files") };
    let file = folder.join("rivet.yaml");
    let config = json!({
        "source": { "type": "postgres", "url": postgres_url(&bench.postgres), "tls": { "mode": "disable" },
            "tuning": { "profile": "fast" } },
        "exports": [{
            "name": table.name(), "table": format!("public.{}", table.name()), "mode": "chunked",
            "chunk_column": table.key(), "parallel": count, "format": "parquet", "compression": "zstd",
            "compression_level": 3, "destination": { "type": "local", "path": folder.join("rows") },
        }],
    });
    fs::write(&file, config.to_string())?;
    let argv = [bench.venv.join("bin/rivet"), "run".into(), "--config".into(), file];
    let argv = argv.map(|word: PathBuf| word.display().to_string()).to_vec();
    Ok(ClientCommand { argv, ..ClientCommand::default() })
}

fn spark(bench: &Bench, count: u32, table: Table, files: &Files) -> Result<ClientCommand> {
    let venv = bench.spark.as_ref().context("Spark is not installed")?;
    let jars = fs::read_dir(venv.join("jars"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let jar = jars.into_iter().next().context("find the JDBC driver")?.display().to_string();
    let url = format!(
        "jdbc:postgresql://{}:{}/{}?user={USER}&password={PASSWORD}&sslmode=disable",
        TestEnv::IP,
        TestEnv::POSTGRES_PORT,
        bench.postgres.database
    );
    let highest = format!("{:.0}", bench.size.tpch * 6_000_000.0);
    let mut argv = bench.python(venv, "spark_copy.py");
    let (count, to) = (count.to_string(), files.place("rows"));
    argv.extend(
        [&jar, &url, table.name(), table.key(), "1", &highest, &count, &to].map(str::to_owned),
    );
    let variables = vec![("SPARK_LOCAL_IP".to_owned(), "127.0.0.1".to_owned())];
    Ok(ClientCommand { argv, variables, input: String::new() })
}

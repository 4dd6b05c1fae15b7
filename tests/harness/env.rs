//! Starting, attaching to and entering the test environment.

use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

/// How long one test may take.
const TEST_DEADLINE: Duration = Duration::from_mins(10);

/// A running test environment: the folder with its state, and how to reach its parts.
#[derive(Debug)]
pub struct TestEnv {
    /// Everything of this test environment: `log/`, `pki/`, `kubeconfig`; gone when it is taken down.
    pub state: PathBuf,
    /// Process 1 of its namespaces, as seen from here.
    pub pid: i32,
}

/// A part of the test environment that a test may stop. This affects tests that run at the same time, so give
/// such a test its own test environment, or let it run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The database server (its first process).
    Postgres,
    /// The other database server.
    MariaDb,
    /// The S3 server.
    S3,
    /// DynamoDB Local.
    DynamoDb,
    /// The API server.
    ApiServer,
    /// The node's agent.
    Kubelet,
}

/// What is done to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop answering: connections hang.
    Stop,
    /// Go on.
    Continue,
    /// Kills it. Only a new test environment starts it again.
    Kill,
}

impl TestEnv {
    /// The address of every server, from tests and from pods.
    pub const IP: &str = "198.18.0.1";
    /// Port of Postgres, the same for tests and pods; the name in its certificate is `postgres.test`.
    pub const POSTGRES_PORT: u16 = 5432;
    /// Superuser of Postgres.
    pub const POSTGRES_USER: &str = "postgres";
    /// Its password.
    pub const POSTGRES_PASSWORD: &str = "secret";
    /// Port of MariaDB, the same for tests and pods; the name in its certificate is `mariadb.test`.
    pub const MARIADB_PORT: u16 = 3306;
    /// Superuser of MariaDB, over TLS only.
    pub const MARIADB_USER: &str = "root";
    /// Its password.
    pub const MARIADB_PASSWORD: &str = "secret";
    /// The S3 server from a test; path style only.
    pub const S3: &str = "http://198.18.0.1:8333";
    /// The S3 server from a pod; virtual-hosted style works too.
    pub const S3_POD: &str = "http://s3.test:8333";
    /// DynamoDB Local from a test. It takes any credentials.
    pub const DYNAMODB: &str = "http://198.18.0.1:8000";
    /// DynamoDB Local from a pod.
    pub const DYNAMODB_POD: &str = "http://dynamodb.test:8000";
    /// The region to name; nobody checks it.
    pub const REGION: &str = "us-east-1";

    /// The test environment that all tests share: booted by the first that asks, in about 15 seconds, and kept for later runs while
    /// the test environment's scripts stay the same.
    ///
    /// # Errors
    /// If it does not come up; standard error has its progress, and its folder the logs.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<TestEnv, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start("test").map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("start the test environment: {error}"))
    }

    /// Boots the test environment of this name, or attaches to it. A test that breaks parts takes one of its own and ends it with
    /// [`TestEnv::stop`].
    ///
    /// # Errors
    /// As [`TestEnv::shared`].
    pub fn start(name: &str) -> Result<Self> {
        let output = Command::new(script("up.sh"))
            .args([name, "--reuse"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("run up.sh")?;
        ensure!(output.status.success(), "up.sh {name}: {}", output.status);
        let state = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let process = fs::read_to_string(state.join("process")).context("read its process")?;
        let pid = process.split(' ').next().unwrap_or_default().parse().context("read its pid")?;
        let env = Self { state, pid };
        env.forget_dead_owners()?;
        Ok(env)
    }

    /// Starts another release of Postgres (14, 16, 17, 18) in the test environment, with the certificate and the superuser of its
    /// own, unless it runs already; returns its port.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn postgres_of(&self, version: u16) -> Result<u16> {
        let name = self.state.file_name().context("name of the test environment")?;
        let mut command = Command::new(script("postgres.sh"));
        let output = command.arg(name).arg(version.to_string()).stderr(Stdio::inherit()).output();
        let output = output.context("run postgres.sh")?;
        ensure!(output.status.success(), "postgres.sh {version}: {}", output.status);
        String::from_utf8(output.stdout)?.trim().parse().context("a port")
    }

    /// Ends the test environment and removes its folder.
    ///
    /// # Errors
    /// If something of it cannot be removed.
    pub fn stop(self) -> Result<()> {
        let name = self.state.file_name().context("name of the test environment")?;
        let status = Command::new(script("down.sh")).arg(name).status().context("run down.sh")?;
        ensure!(status.success(), "down.sh: {status}");
        Ok(())
    }

    /// Starts a hot standby of Postgres, unless it runs; its port.
    ///
    /// # Errors
    /// With the words of the script.
    pub async fn standby(&self) -> Result<u16> {
        let name = self.state.file_name().context("name of the test environment")?;
        let output = tokio::process::Command::new(script("standby.sh")).arg(name).output().await?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "standby.sh: {} {words}", output.status);
        String::from_utf8(output.stdout)?.trim().parse().context("a port")
    }

    /// Runs a test inside the test environment's network: the calling thread enters it for good, and so does every thread of the
    /// runtime made here. Programs that it starts are in there too.
    ///
    /// # Errors
    /// What the test fails with, or that it took longer than ten minutes.
    pub fn run<T>(&self, test: impl Future<Output = Result<T>>) -> Result<T> {
        self.run_within(TEST_DEADLINE, test)
    }

    /// As [`TestEnv::run`], for a test that is asked for by itself and takes long.
    ///
    /// # Errors
    /// As there.
    pub fn run_within<T>(
        &self,
        deadline: Duration,
        test: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let network = File::open(format!("/proc/{}/ns/net", self.pid))
            .context("open the test environment's network (is the test environment alive?)")?;
        setns(network, CloneFlags::CLONE_NEWNET).context("enter the test environment's network")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let result = runtime.block_on(async {
            tokio::time::timeout(deadline, Box::pin(test))
                .await
                .with_context(|| format!("the test ran longer than {deadline:?}"))?
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        result
    }

    /// The authority that signed the servers' certificates.
    pub fn ca(&self) -> PathBuf {
        self.state.join("pki/ca.crt")
    }

    /// For `kubectl` and clients, inside the test environment's network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// One log for each part, and a folder for each pod under `pods/`.
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Connection URL of a database, with TLS verified.
    pub fn postgres_url(&self, database: &str) -> String {
        format!(
            "postgres://{}:{}@{}:{}/{database}?sslmode=verify-full&sslrootcert={}",
            Self::POSTGRES_USER,
            Self::POSTGRES_PASSWORD,
            Self::IP,
            Self::POSTGRES_PORT,
            self.ca().display(),
        )
    }

    /// Sends a signal to a part.
    ///
    /// # Errors
    /// If that part is not running.
    pub fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        let name = match part {
            Part::Postgres => "postgres",
            Part::MariaDb => "mariadb",
            Part::S3 => "s3",
            Part::DynamoDb => "dynamodb",
            Part::ApiServer => "apiserver",
            Part::Kubelet => "kubelet",
        };
        let signal = match signal {
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
            Signal::Kill => "-KILL",
        };
        let pid = fs::read_to_string(self.state.join("parts").join(name))?;
        let status = Command::new("nsenter")
            .arg(format!("--target={}", self.pid))
            .args(["--mount", "--pid", "kill", signal, pid.trim()])
            .status()?;
        ensure!(status.success(), "kill {signal} {name}: {status}");
        Ok(())
    }
}

/// A script of the test environment.
pub(crate) fn script(name: &str) -> PathBuf {
    tests_dir().join("env").join(name)
}

/// This package's folder as cargo says it now, or else where the test was started. What it was when the test was
/// compiled may be another clone, which shares the build cache.
pub fn tests_dir() -> PathBuf {
    let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(here, PathBuf::from)
}

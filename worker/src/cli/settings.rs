//! Flags and environment of `tidemark`, read once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use crds::task;
use worker_core::protocol::GRACE_SECONDS;

use crate::stores::checksums::Checksum;

/// Extracts one table to Parquet on S3, one window at a time, each published once.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version)]
pub struct Settings {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Durations, all with the protocol's defaults.
    #[command(flatten)]
    pub durations: DurationFlags,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Claim, plan, hold the snapshot, publish: the coordinator pod.
    Coordinate(Pod),
    /// Read one range: an extract pod.
    Extract(ExtractPod),
    /// End what a stopped coordinator left: the settle pod. With --force: undo a decided run that
    /// cannot be completed (`CommitStuck`).
    Settle(SettlePod),
    /// Whether the coordinator is Ready, for its probe.
    Ready,
    /// Everything in this process, without a cluster.
    Run(Local),
    /// A dry run: statement, ranges, estimates, warnings; nothing is written.
    Plan {
        /// As for a run.
        #[command(flatten)]
        local: Local,
        /// Prints the whole plan as JSON: each column, each range, the statement.
        #[arg(long)]
        json: bool,
    },
    /// Re-check what a source has published: tracking items, manifests, files and their footers.
    Verify {
        /// As for a run.
        #[command(flatten)]
        local: Local,
        /// Counts the rows of each published window in the source, too.
        #[arg(long)]
        source: bool,
    },
    /// The stored watermark of a source.
    #[command(subcommand)]
    Watermark(WatermarkCommand),
    /// Prints ExtractJob manifests for a call, or a YAML of sources, of the replaced job.
    Convert(Convert),
}

/// What to do with the stored watermark.
#[derive(Debug, Subcommand)]
pub enum WatermarkCommand {
    /// Print it, with the revision that `set` and `rewind` ask for.
    Get(Local),
    /// Move it to a value; a window that is owed is void then.
    Set(WatermarkMove),
    /// Move it to a lower value, so that rows are taken again.
    Rewind(WatermarkMove),
}

/// A watermark to be moved by hand.
#[derive(Debug, Args)]
pub struct WatermarkMove {
    /// Whose.
    #[command(flatten)]
    pub local: Local,
    /// The value, as the column holds it.
    #[arg(long, allow_hyphen_values = true)]
    pub value: String,
    /// The revision that `watermark get` printed.
    #[arg(long)]
    pub rev: u64,
    /// Who moves it; kept in the item.
    #[arg(long, env = "USER")]
    pub by: String,
}

/// What to convert: a YAML, the arguments after `--`, or else the environment.
#[derive(Debug, Args)]
pub struct Convert {
    /// A YAML of a source, with `default_arguments` and `tables`.
    #[arg(short = 'f', long = "source")]
    pub source: Option<PathBuf>,
    /// Where the files go when the YAML does not say: `<uri>/<source>/<database>/<schema>/<table>`.
    #[arg(long)]
    pub uri: Option<String>,
    /// The tracking table, where neither YAML nor arguments name one.
    #[arg(long, env = "TIDEMARK_TRACKING_TABLE")]
    pub tracking_table: Option<String>,
    /// Arguments of the replaced job, after `--`.
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// What every pod is told.
#[derive(Debug, Args)]
pub struct Pod {
    /// The task, as JSON.
    #[arg(long, env = task::TASK_ENV, hide_env_values = true)]
    pub task: String,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// What an extract pod is told.
#[derive(Debug, Args)]
pub struct ExtractPod {
    /// As every pod.
    #[command(flatten)]
    pub pod: Pod,
    /// The run.
    #[arg(long, env = task::RUN_ENV)]
    pub run: String,
    /// The range.
    #[arg(long, env = task::INDEX_ENV)]
    pub index: u32,
}

/// What a settle pod is told.
#[derive(Debug, Args)]
pub struct SettlePod {
    /// The task, as JSON.
    #[arg(long, env = task::TASK_ENV, hide_env_values = true)]
    pub task: Option<String>,
    /// How and why, as JSON.
    #[arg(long, env = task::SETTLE_ENV)]
    pub order: Option<String>,
    /// Undo the decided run of this id: abort its uploads, delete its completed files.
    #[arg(long, value_name = "RUN", requires = "manifest")]
    pub force: Option<String>,
    /// With --force: the manifest of the source.
    #[arg(short = 'f', long = "manifest", requires = "force")]
    pub manifest: Option<PathBuf>,
    /// With --force: the tracking table, where the manifest names none.
    #[arg(long, env = "TIDEMARK_TRACKING_TABLE")]
    pub tracking_table: Option<String>,
    /// With --force: who does it; kept in the item.
    #[arg(long, env = "USER")]
    pub by: Option<String>,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// A run or plan without a cluster. S3 and DynamoDB credentials come from the AWS environment.
#[derive(Debug, Args)]
pub struct Local {
    /// An `ExtractJob` manifest.
    #[arg(short = 'f', long = "manifest")]
    pub manifest: PathBuf,
    /// How this process runs.
    #[command(flatten)]
    pub process: Process,
}

/// How a process without a cluster runs.
#[derive(Debug, Args)]
pub struct Process {
    /// A folder with the files username and password, and optionally host.
    #[arg(long, env = "TIDEMARK_CREDENTIALS_DIR", default_value = task::CREDENTIALS_DIR)]
    pub credentials: PathBuf,
    /// The certificate authority of the database, PEM; the public ones when left out.
    #[arg(long, env = "TIDEMARK_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// The tracking table, where the manifest names none.
    #[arg(long, env = "TIDEMARK_TRACKING_TABLE")]
    pub tracking_table: Option<String>,
    /// Fail when another run holds the source, instead of waiting for its deadline.
    #[arg(long)]
    pub no_wait: bool,
    /// Bytes of memory that this process may use; the container's limit when left out.
    #[arg(long, env = "TIDEMARK_MEMORY_BYTES")]
    pub memory_bytes: Option<u64>,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// Durations of the protocol.
#[derive(Debug, Clone, Copy, Args)]
pub struct DurationFlags {
    /// Seconds that a claim lasts unless renewed; more than twice --renew-seconds.
    #[arg(long, global = true, env = "TIDEMARK_LEASE_SECONDS", default_value_t = 600)]
    pub lease_seconds: i64,
    /// Seconds between renewals.
    #[arg(long, global = true, env = "TIDEMARK_RENEW_SECONDS", default_value_t = 180)]
    pub renew_seconds: u64,
    /// Seconds between queries that keep the snapshot's session alive.
    #[arg(long, global = true, env = "TIDEMARK_HEARTBEAT_SECONDS", default_value_t = 15)]
    pub heartbeat_seconds: u64,
    /// Seconds after which what a dead run left is removed.
    #[arg(long, global = true, env = "TIDEMARK_GRACE_SECONDS", default_value_t = GRACE_SECONDS)]
    pub grace_seconds: i64,
    /// Milliseconds between looks for records.
    #[arg(long, global = true, env = "TIDEMARK_POLL_MS", default_value_t = 1000)]
    pub poll_ms: u64,
    /// Seconds that one request to S3 or DynamoDB may take before it is sent again.
    #[arg(long, global = true, env = "TIDEMARK_ATTEMPT_SECONDS", default_value_t = 120)]
    pub attempt_seconds: u64,
    /// Seconds that one request to DynamoDB may take before it is sent again; at most
    /// --attempt-seconds and half of --lease-seconds count.
    #[arg(long, global = true, env = "TIDEMARK_TRACKING_ATTEMPT_SECONDS", default_value_t = 5)]
    pub tracking_attempt_seconds: u64,
    /// Checksum that is sent with the bytes of an object.
    #[arg(long, global = true, env = "TIDEMARK_CHECKSUM", value_enum, default_value = "crc64nvme")]
    pub checksum: Checksum,
    /// Milliseconds, at most, before a request that failed is sent again for the first time; then
    /// twice as long each time.
    #[arg(long, global = true, env = "TIDEMARK_RETRY_MS", default_value_t = 1000)]
    pub retry_ms: u64,
    /// Seconds without a word from the database after which its server is asked, over another
    /// connection, whether it still works on the statement.
    #[arg(long, global = true, env = "TIDEMARK_SILENCE_SECONDS", default_value_t = 60)]
    pub silence_seconds: u64,
}

/// What a call of the replaced job can set beside its own arguments: by the environment alone.
#[derive(Debug, Parser)]
#[command(name = "tidemark")]
pub struct OldSettings {
    /// How this process runs.
    #[command(flatten)]
    pub process: Process,
    /// Durations, all with the protocol's defaults.
    #[command(flatten)]
    pub durations: DurationFlags,
}

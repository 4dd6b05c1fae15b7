//! Commands of `tidemark`, with their flags and environment variables.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use crds::{RunId, task};

use crate::cli::flags::{
    DatabaseFlags, DurationFlags, LogFlags, ManifestFlags, MemoryFlags, RunFlags,
};

/// Extract one database table to Parquet files on S3, one window at a time, and publish each window exactly once.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version)]
pub struct Settings {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Logs.
    #[command(flatten)]
    pub logs: LogFlags,
    /// Durations of the protocol.
    #[command(flatten)]
    pub durations: DurationFlags,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Extract and publish the next window of a table in this process, without a cluster.
    Run(Run),
    /// Show what a run would read, without writing anything.
    Plan(Plan),
    /// Check the published files of a source against its tracking items and manifests.
    Verify(Verify),
    /// Show or move the stored watermark of a source.
    #[command(subcommand)]
    Watermark(WatermarkCommand),
    /// Undo a decided run that cannot be published (CommitStuck).
    Recover(Recover),
    /// Print ExtractJob manifests for calls of the legacy job.
    Convert(Convert),
    /// Claim the source, plan, and publish: the coordinator pod.
    #[command(hide = true)]
    Coordinate(Pod),
    /// Read one partition: an extract pod.
    #[command(hide = true)]
    Extract(ExtractPod),
    /// Exit with 0 if the coordinator is ready: its probe.
    #[command(hide = true)]
    Ready,
}

/// A run in this process.
#[derive(Debug, Args)]
pub struct Run {
    /// Its manifest.
    #[command(flatten)]
    pub manifest: ManifestFlags,
    /// Its database.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// Its memory.
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// Other runs.
    #[command(flatten)]
    pub run: RunFlags,
}

/// A dry run.
#[derive(Debug, Args)]
pub struct Plan {
    /// Its manifest.
    #[command(flatten)]
    pub manifest: ManifestFlags,
    /// Its database.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// The memory that a run would have.
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// Print the whole plan as JSON: each column, each partition and the first statement.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// A check of what is published.
#[derive(Debug, Args)]
pub struct Verify {
    /// The source.
    #[command(flatten)]
    pub manifest: ManifestFlags,
    /// Its database.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// Also count the rows of each published window in the database, and report windows for which the database has
    /// more rows than were published.
    #[arg(long, help_heading = "Check")]
    pub recount: bool,
}

/// What to do with the stored watermark.
#[derive(Debug, Subcommand)]
pub enum WatermarkCommand {
    /// Print the stored watermark and its revision as JSON.
    Get(ManifestFlags),
    /// Set the watermark to a value. The pending window of a failed run is dropped.
    Set(WatermarkMove),
    /// Move the watermark back to a lower value, so that the next run reads rows again.
    Rewind(WatermarkMove),
}

/// A watermark to be moved by a person.
#[derive(Debug, Args)]
pub struct WatermarkMove {
    /// The source.
    #[command(flatten)]
    pub manifest: ManifestFlags,
    /// The new watermark, in the form in which `watermark get` prints it.
    #[arg(long, allow_hyphen_values = true, value_name = "VALUE", help_heading = "Change")]
    pub value: String,
    /// The revision that `watermark get` printed. The command fails if the items have changed since.
    #[arg(long, value_name = "REVISION", help_heading = "Change")]
    pub revision: u64,
    /// Your name. It is stored in the tracking item.
    #[arg(long, env = "USER", value_name = "NAME", help_heading = "Change")]
    pub by: String,
}

/// The calls to convert: a YAML file, the arguments after `--`, or else the environment.
#[derive(Debug, Args)]
pub struct Convert {
    /// Read the calls from a YAML file of the legacy pipeline, with `default_arguments` and `tables`.
    #[arg(long, value_name = "FILE", help_heading = "Legacy calls", conflicts_with = "arguments")]
    pub sources_file: Option<PathBuf>,
    /// Write files below this URI, as `<uri>/<source>/<database>/<schema>/<table>`, if the calls name no URI.
    #[arg(long, value_name = "URI", help_heading = "Defaults for the manifests")]
    pub uri: Option<String>,
    /// Use this tracking table if the calls name none.
    #[arg(
        long,
        env = "TIDEMARK_TRACKING_TABLE",
        value_name = "TABLE",
        help_heading = "Defaults for the manifests"
    )]
    pub tracking_table: Option<String>,
    /// Arguments of one call of the legacy job, such as `--db_engine postgres`. Without them and without
    /// --sources-file, the call is read from the environment.
    #[arg(last = true, value_name = "LEGACY_ARGUMENTS", help_heading = "Legacy calls")]
    pub arguments: Vec<String>,
}

/// What every pod gets.
#[derive(Debug, Args)]
pub struct Pod {
    /// The task, as JSON.
    #[arg(long, env = task::TASK_ENV)]
    pub task: String,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// What an extract pod gets.
#[derive(Debug, Args)]
pub struct ExtractPod {
    /// As every pod.
    #[command(flatten)]
    pub pod: Pod,
    /// Id of the run.
    #[arg(long, env = task::RUN_ENV)]
    pub run: String,
    /// Index of the partition.
    #[arg(long, env = task::INDEX_ENV)]
    pub index: u32,
}

/// A run to undo, or what a recovery pod gets.
#[derive(Debug, Args)]
#[command(override_usage = "tidemark recover [OPTIONS] --force <RUN> --manifest <FILE>")]
pub struct Recover {
    /// Undo the decided run with this id: abort its uploads and delete the files that it has completed.
    #[arg(
        long,
        value_name = "RUN",
        help_heading = "Run",
        requires = "manifest",
        required_unless_present = "order",
        value_parser = run_id
    )]
    pub force: Option<RunId>,
    /// Read the ExtractJob manifest of the source from this file, or from standard input if it is `-`.
    #[arg(
        short = 'f',
        long = "manifest",
        value_name = "FILE",
        help_heading = "Manifest",
        requires = "force"
    )]
    pub manifest: Option<PathBuf>,
    /// Use this DynamoDB table for the watermark if the manifest has no `spec.tracking.table`.
    #[arg(long, env = "TIDEMARK_TRACKING_TABLE", value_name = "TABLE", help_heading = "Manifest")]
    pub tracking_table: Option<String>,
    /// Your name. It is stored in the tracking item.
    #[arg(long, env = "USER", value_name = "NAME", help_heading = "Run")]
    pub by: Option<String>,
    /// The task of a recovery pod, as JSON.
    #[arg(long, env = task::TASK_ENV, hide = true)]
    pub task: Option<String>,
    /// How and why a recovery pod ends the run, as JSON.
    #[arg(long, env = task::RECOVER_ENV, hide = true, requires = "task")]
    pub order: Option<String>,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// What a call of the legacy job can set besides its own arguments, through environment variables only.
#[derive(Debug, Parser)]
#[command(name = "tidemark")]
pub struct LegacySettings {
    /// Its database.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// Its memory.
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// Other runs.
    #[command(flatten)]
    pub run: RunFlags,
    /// Logs.
    #[command(flatten)]
    pub logs: LogFlags,
    /// Durations of the protocol.
    #[command(flatten)]
    pub durations: DurationFlags,
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|_| "use the run id that status.runId and the condition show".to_owned())
}

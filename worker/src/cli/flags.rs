//! Groups of flags that several commands share.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use crds::task;
use worker_core::protocol::GRACE_SECONDS;

use crate::base::telemetry::LogFormat;
use crate::stores::checksums::Checksum;

/// The manifest of a source.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifest")]
pub struct ManifestFlags {
    /// Read the ExtractJob manifest from this file, or from standard input if it is `-`. The manifest is checked as
    /// the API server checks it.
    #[arg(short = 'f', long = "manifest", value_name = "FILE")]
    pub manifest: PathBuf,
    /// Use this DynamoDB table for the watermark if the manifest has no `spec.tracking.table`.
    #[arg(long, env = "TIDEMARK_TRACKING_TABLE", value_name = "TABLE")]
    pub tracking_table: Option<String>,
}

/// How to connect to the database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Database connection")]
pub struct DatabaseFlags {
    /// Read user and password from the files `username` and `password` in this directory, and the host from the file
    /// `host` if there is one.
    #[arg(
        long,
        env = "TIDEMARK_CREDENTIALS_DIR",
        value_name = "DIR",
        default_value = task::CREDENTIALS_DIR
    )]
    pub credentials: PathBuf,
    /// Trust the certificate authorities in this PEM file, in addition to the public ones.
    #[arg(long, env = "TIDEMARK_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Memory of the process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub struct MemoryFlags {
    /// Use at most this much memory, as a Kubernetes quantity such as `512Mi` or `1Gi`. Defaults to the limit of the
    /// container.
    #[arg(long, env = "TIDEMARK_MEMORY", value_name = "QUANTITY", value_parser = memory)]
    pub memory: Option<ByteSize>,
}

/// How a run treats other runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunFlags {
    /// Fail at once if another run has claimed the source. By default the command waits until that run ends or its
    /// claim expires.
    #[arg(long)]
    pub no_wait: bool,
    /// A pause point for tests.
    #[arg(long, env = crate::base::pause::PAUSE_ENV, hide = true)]
    pub pause: Option<String>,
}

/// Logs.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogFlags {
    /// Write log lines in this format. RUST_LOG sets the level, such as `debug`.
    #[arg(
        long,
        global = true,
        env = "TIDEMARK_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "auto"
    )]
    pub log_format: LogFormat,
}

/// Durations of the protocol, which [`super::help::command`] hides in the short help.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Advanced: timing and retries")]
pub struct DurationFlags {
    /// Number of seconds that a claim on the source lasts unless it is renewed. Must be more than twice
    /// --renew-seconds.
    #[arg(long, value_name = "SECONDS", env = "TIDEMARK_LEASE_SECONDS", default_value_t = 600)]
    pub lease_seconds: i64,
    /// Number of seconds between two renewals of the claim.
    #[arg(long, value_name = "SECONDS", env = "TIDEMARK_RENEW_SECONDS", default_value_t = 180)]
    pub renew_seconds: u64,
    /// Number of seconds between two queries that keep the snapshot session alive.
    #[arg(long, value_name = "SECONDS", env = "TIDEMARK_HEARTBEAT_SECONDS", default_value_t = 15)]
    pub heartbeat_seconds: u64,
    /// Number of seconds after which the uploads and files of a run that ended without publishing are removed.
    #[arg(long, value_name = "SECONDS",
        env = "TIDEMARK_GRACE_SECONDS", default_value_t = GRACE_SECONDS)]
    pub grace_seconds: i64,
    /// Number of milliseconds between two checks for finished partitions.
    #[arg(long, value_name = "MILLISECONDS", env = "TIDEMARK_POLL_MS", default_value_t = 1000)]
    pub poll_ms: u64,
    /// Number of seconds after which a request to S3 or DynamoDB times out and is sent again.
    #[arg(long, value_name = "SECONDS", env = "TIDEMARK_ATTEMPT_SECONDS", default_value_t = 120)]
    pub attempt_seconds: u64,
    /// Number of seconds after which a request to DynamoDB times out and is sent again. Limited to --attempt-seconds
    /// and to half of --lease-seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "TIDEMARK_TRACKING_ATTEMPT_SECONDS",
        default_value_t = 5
    )]
    pub tracking_attempt_seconds: u64,
    /// Send this checksum with the bytes of an object.
    #[arg(
        long,
        value_name = "ALGORITHM",
        env = "TIDEMARK_CHECKSUM",
        value_enum,
        default_value = "crc64nvme",
        help_heading = "Advanced: object storage"
    )]
    pub checksum: Checksum,
    /// Maximum number of milliseconds before the first retry of a failed request. The delay doubles with each retry.
    #[arg(long, value_name = "MILLISECONDS", env = "TIDEMARK_RETRY_MS", default_value_t = 1000)]
    pub retry_ms: u64,
    /// Number of seconds without data from the database after which Tidemark checks, over another connection, whether
    /// the server still executes the statement.
    #[arg(long, value_name = "SECONDS", env = "TIDEMARK_SILENCE_SECONDS", default_value_t = 60)]
    pub silence_seconds: u64,
}

/// Least memory that a process can work with.
const MEMORY_MIN: ByteSize = ByteSize::mib(1);

/// An amount of memory, as Kubernetes writes it.
fn memory(text: &str) -> Result<ByteSize, String> {
    let form = || "use a number of bytes, or a quantity such as 512Mi or 1Gi".to_owned();
    // `m` is a thousandth for Kubernetes, and a million elsewhere
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !["", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti"].contains(&suffix) {
        return Err(form());
    }
    let size: ByteSize = text.parse().map_err(|_| form())?;
    if size < MEMORY_MIN {
        return Err("use at least 1Mi".to_owned());
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::memory;

    #[test]
    fn memory_is_a_quantity_of_kubernetes() {
        for (text, bytes) in [
            ("1Gi", 1 << 30),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("2048Ki", 2 << 20),
            ("1G", 1_000_000_000),
            ("500M", 500_000_000),
            ("134217728", 128 << 20),
        ] {
            assert_eq!(memory(text).map(|size| size.as_u64()), Ok(bytes), "{text}");
        }
        for text in
            ["", "Gi", "512m", "512mb", "1 Gi", "-1Gi", "1GiB", "lots", "1e9", "0", "1023Ki"]
        {
            assert!(memory(text).is_err(), "{text}");
        }
    }
}

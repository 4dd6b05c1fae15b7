//! Flags and environment, read once.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use k8s_openapi::api::core::v1::ResourceRequirements;
use operator_core::Settings;
use operator_core::settings::{Timing, TrackingSettings};

use crate::telemetry::LogFormat;

const SCOPE: &str = "Scope";
const OBSERVABILITY: &str = "Observability";
const WORKERS: &str = "Worker pods";
const PERMISSIONS: &str = "Permissions of manifests";
const TRACKING: &str = "Tracking table";
const REPLICAS: &str = "Replicas";

/// Run the ExtractJobs of a Kubernetes cluster: create the Jobs that extract tables to Parquet files on S3, and report
/// their results.
#[derive(Debug, Clone, Parser)]
#[command(name = "tidemark-operator", version)]
pub(crate) struct Flags {
    /// Watch these namespaces, separated by commas. Defaults to all namespaces.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACES",
        help_heading = SCOPE)]
    pub(crate) watch_namespaces: Vec<String>,
    /// Maximum number of objects that are reconciled at the same time, for each watched namespace or for the cluster.
    #[arg(long, env = "CONCURRENCY", value_name = "NUMBER", default_value_t = 32, help_heading = SCOPE)]
    pub(crate) concurrency: u16,
    /// Serve /live, /ready and /metrics at this address.
    #[arg(long, env = "HEALTH_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8080",
        help_heading = OBSERVABILITY)]
    pub(crate) health_address: SocketAddr,
    /// Write log lines in this format. RUST_LOG sets the level, such as `debug`.
    #[arg(long, env = "TIDEMARK_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "auto",
        help_heading = OBSERVABILITY)]
    pub(crate) log_format: LogFormat,
    /// Image of the worker pods.
    #[arg(long, env = "WORKER_IMAGE", value_name = "IMAGE", help_heading = WORKERS)]
    pub(crate) worker_image: String,
    /// Pull policy of the worker image: Always, IfNotPresent or Never.
    #[arg(long, env = "WORKER_PULL_POLICY", value_name = "POLICY", default_value = "IfNotPresent",
        help_heading = WORKERS)]
    pub(crate) worker_pull_policy: String,
    /// Names of Secrets with registry credentials, separated by commas. They must exist in the namespace of the
    /// ExtractJob.
    #[arg(long, env = "WORKER_PULL_SECRETS", value_delimiter = ',', value_name = "SECRETS",
        help_heading = WORKERS)]
    pub(crate) worker_pull_secrets: Vec<String>,
    /// Set this environment variable in every worker pod, for example for a proxy. Can be repeated.
    #[arg(long, value_parser = pair, value_name = "NAME=VALUE", help_heading = WORKERS)]
    pub(crate) worker_env: Vec<(String, String)>,
    /// ServiceAccount of worker pods if the ExtractJob names none.
    #[arg(long, env = "WORKER_SERVICE_ACCOUNT", value_name = "NAME", default_value = "tidemark-extract",
        help_heading = WORKERS)]
    pub(crate) worker_service_account: String,
    /// Requests and limits of worker pods if the ExtractJob names none, as JSON.
    #[arg(long, env = "WORKER_RESOURCES", value_parser = resources, value_name = "JSON", help_heading = WORKERS,
        default_value =
        r#"{"requests":{"cpu":"250m","memory":"512Mi"},"limits":{"cpu":"2","memory":"1Gi"}}"#)]
    pub(crate) worker_resources: ResourceRequirements,
    /// Requests and limits of recovery pods, as JSON.
    #[arg(long, env = "RECOVER_RESOURCES", value_parser = resources, value_name = "JSON", help_heading = WORKERS,
        default_value =
        r#"{"requests":{"cpu":"50m","memory":"128Mi"},"limits":{"cpu":"500m","memory":"256Mi"}}"#)]
    pub(crate) recover_resources: ResourceRequirements,
    /// Allow connections to the database without TLS (source.tls.mode: insecurePlaintext).
    #[arg(long, env = "ALLOW_INSECURE_PLAINTEXT", value_name = "BOOL", help_heading = PERMISSIONS,
        default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_insecure_plaintext: bool,
    /// Allow conditions in the SQL of the database (extract.where).
    #[arg(long, env = "ALLOW_WHERE", value_name = "BOOL", help_heading = PERMISSIONS,
        default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_where: bool,
    /// DynamoDB table that keeps the watermarks of ExtractJobs that name no table.
    #[arg(long, env = "TRACKING_TABLE", value_name = "TABLE", help_heading = TRACKING)]
    pub(crate) tracking_table: Option<String>,
    /// AWS region of --tracking-table. Defaults to the region of the AWS environment.
    #[arg(long, env = "TRACKING_REGION", value_name = "REGION", help_heading = TRACKING)]
    pub(crate) tracking_region: Option<String>,
    /// Endpoint of --tracking-table if the server is not AWS.
    #[arg(long, env = "TRACKING_ENDPOINT", value_name = "URL", help_heading = TRACKING)]
    pub(crate) tracking_endpoint: Option<String>,
    /// Other tables that ExtractJobs may name, separated by commas. A `*` at the end matches any suffix.
    #[arg(long, env = "TRACKING_ALLOWED_TABLES", value_delimiter = ',', value_name = "TABLES",
        help_heading = TRACKING)]
    pub(crate) tracking_allowed_tables: Vec<String>,
    /// Other endpoints that ExtractJobs may name, separated by commas.
    #[arg(long, env = "TRACKING_ALLOWED_ENDPOINTS", value_delimiter = ',', value_name = "URLS",
        help_heading = TRACKING)]
    pub(crate) tracking_allowed_endpoints: Vec<String>,
    /// Put `<namespace>/` before every tracking key, so that namespaces cannot name the sources of each other.
    #[arg(long, env = "TRACKING_NAMESPACE_KEYS", value_name = "BOOL", help_heading = TRACKING,
        default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) tracking_namespace_keys: bool,
    /// Number of seconds after which a read of the tracking table times out.
    #[arg(long = "tracking-timeout-seconds", env = "TRACKING_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "5", value_parser = seconds,
        help_heading = TRACKING)]
    pub(crate) tracking_timeout: Duration,
    /// Name of the Lease that elects the leader of the replicas. Without it, this replica always leads.
    #[arg(long, env = "LEASE_NAME", value_name = "NAME", help_heading = REPLICAS)]
    pub(crate) lease_name: Option<String>,
    /// Name of this replica in the Lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "tidemark-operator",
        help_heading = REPLICAS)]
    pub(crate) lease_identity: String,
    /// Number of seconds without a renewal after which another replica takes the Lease.
    #[arg(long = "lease-duration-seconds", env = "LEASE_DURATION_SECONDS", value_name = "SECONDS", default_value = "15", value_parser = seconds,
        help_heading = REPLICAS)]
    pub(crate) lease_duration: Duration,
    /// A pause point for tests.
    #[arg(long, env = crate::pause::PAUSE_ENV, hide = true)]
    pub(crate) pause: Option<String>,
    /// Durations of the protocol.
    #[command(flatten)]
    pub(crate) timing: TimingFlags,
}

/// Durations, in seconds; fractions are allowed.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Advanced: timing and retries (seconds, fractions allowed)")]
pub(crate) struct TimingFlags {
    /// Number of seconds until a source that another run has claimed is read again.
    #[arg(long = "busy-retry-seconds", env = "BUSY_RETRY_SECONDS", value_name = "SECONDS", default_value = "30", value_parser = seconds, hide_short_help = true)]
    pub(crate) busy_retry: Duration,
    /// Number of seconds before the second attempt of a run. The delay doubles with each further attempt.
    #[arg(long = "retry-first-seconds", env = "RETRY_FIRST_SECONDS", value_name = "SECONDS", default_value = "10", value_parser = seconds, hide_short_help = true)]
    pub(crate) retry_first: Duration,
    /// Maximum number of seconds between two attempts.
    #[arg(long = "retry-most-seconds", env = "RETRY_MOST_SECONDS", value_name = "SECONDS", default_value = "300", value_parser = seconds, hide_short_help = true)]
    pub(crate) retry_most: Duration,
    /// Number of seconds that a pod may take to start before a condition shows it.
    #[arg(long = "pod-start-wait-seconds", env = "POD_START_WAIT_SECONDS", value_name = "SECONDS", default_value = "30", value_parser = seconds, hide_short_help = true)]
    pub(crate) pod_start_wait: Duration,
    /// Number of seconds to wait for stopped pods before the recovery Job is created.
    #[arg(long = "pod-stop-wait-seconds", env = "POD_STOP_WAIT_SECONDS", value_name = "SECONDS", default_value = "60", value_parser = seconds, hide_short_help = true)]
    pub(crate) pod_stop_wait: Duration,
    /// Number of seconds that a ready coordinator waits for its first extract pod.
    #[arg(long = "extract-start-wait-seconds", env = "EXTRACT_START_WAIT_SECONDS", value_name = "SECONDS", default_value = "900", value_parser = seconds, hide_short_help = true)]
    pub(crate) extract_start_wait: Duration,
    /// Number of seconds that the coordinator may take to find all records after the last partition ended.
    #[arg(long = "record-wait-seconds", env = "RECORD_WAIT_SECONDS", value_name = "SECONDS", default_value = "600", value_parser = seconds, hide_short_help = true)]
    pub(crate) record_wait: Duration,
    /// Number of seconds between two reads of the tracking table during --record-wait-seconds.
    #[arg(long = "record-poll-seconds", env = "RECORD_POLL_SECONDS", value_name = "SECONDS", default_value = "60", value_parser = seconds, hide_short_help = true)]
    pub(crate) record_poll: Duration,
    /// Number of consecutive recovery Jobs before the operator waits for --recover-rest-seconds.
    #[arg(
        long,
        env = "RECOVER_TRIES",
        value_name = "NUMBER",
        default_value_t = 5,
        hide_short_help = true
    )]
    pub(crate) recover_tries: u32,
    /// Number of seconds after which a recovery Job is stopped.
    #[arg(long = "recover-deadline-seconds", env = "RECOVER_DEADLINE_SECONDS", value_name = "SECONDS", default_value = "110", value_parser = seconds, hide_short_help = true)]
    pub(crate) recover_deadline: Duration,
    /// Number of seconds before the second recovery Job. The delay doubles with each further one.
    #[arg(long = "recover-retry-seconds", env = "RECOVER_RETRY_SECONDS", value_name = "SECONDS", default_value = "2", value_parser = seconds, hide_short_help = true)]
    pub(crate) recover_retry: Duration,
    /// Number of seconds between recovery Jobs after --recover-tries have failed.
    #[arg(long = "recover-rest-seconds", env = "RECOVER_REST_SECONDS", value_name = "SECONDS", default_value = "1800", value_parser = seconds, hide_short_help = true)]
    pub(crate) recover_rest: Duration,
    /// Number of seconds after which the finalizer of a deleted object is removed, even if its run is still in doubt.
    #[arg(long = "deletion-bound-seconds", env = "DELETION_BOUND_SECONDS", value_name = "SECONDS", default_value = "600", value_parser = seconds, hide_short_help = true)]
    pub(crate) deletion_bound: Duration,
    /// Number of seconds after which every object is reconciled again, even without an event.
    #[arg(long = "resync-seconds", env = "RESYNC_SECONDS", value_name = "SECONDS", default_value = "3600", value_parser = seconds, hide_short_help = true)]
    pub(crate) resync: Duration,
    /// Number of seconds between two reads of the watermark items, which the status shows.
    #[arg(long = "tracking-resync-seconds", env = "TRACKING_RESYNC_SECONDS", value_name = "SECONDS", default_value = "600", value_parser = seconds, hide_short_help = true)]
    pub(crate) tracking_resync: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "use a number of seconds, such as 5 or 0.5".to_owned())
}

fn resources(text: &str) -> Result<ResourceRequirements, String> {
    serde_json::from_str(text).map_err(|reason| {
        format!("use JSON such as {{\"limits\":{{\"memory\":\"1Gi\"}}}}: {reason}")
    })
}

/// Without the empty words that an unset chart value leaves.
fn words(given: &[String]) -> Vec<String> {
    given.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn word(given: Option<&String>) -> Option<String> {
    given.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty())
}

impl Flags {
    /// The namespaces to watch; none stands for all.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        words(&self.watch_namespaces)
    }

    /// The Lease to agree by, if there are to be several replicas.
    pub(crate) fn lease(&self) -> Option<String> {
        word(self.lease_name.as_ref())
    }

    /// What decisions turn on.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            worker_image: self.worker_image.clone(),
            worker_pull_policy: self.worker_pull_policy.clone(),
            worker_pull_secrets: words(&self.worker_pull_secrets),
            worker_env: self.worker_env.clone(),
            service_account: self.worker_service_account.clone(),
            resources: self.worker_resources.clone(),
            recover_resources: self.recover_resources.clone(),
            allow_insecure_plaintext: self.allow_insecure_plaintext,
            allow_where: self.allow_where,
            tracking: TrackingSettings {
                table: word(self.tracking_table.as_ref()),
                region: word(self.tracking_region.as_ref()),
                endpoint: word(self.tracking_endpoint.as_ref()),
                allowed_tables: words(&self.tracking_allowed_tables),
                allowed_endpoints: words(&self.tracking_allowed_endpoints),
                namespace_keys: self.tracking_namespace_keys,
            },
            timing: self.timing.timing(),
        }
    }
}

impl TimingFlags {
    fn timing(&self) -> Timing {
        Timing {
            busy_retry: self.busy_retry,
            retry_first: self.retry_first,
            retry_most: self.retry_most,
            pod_start_wait: self.pod_start_wait,
            pod_stop_wait: self.pod_stop_wait,
            extract_start_wait: self.extract_start_wait,
            record_wait: self.record_wait,
            record_poll: self.record_poll,
            recover_tries: self.recover_tries,
            recover_deadline: self.recover_deadline,
            recover_retry: self.recover_retry,
            recover_rest: self.recover_rest,
            deletion_bound: self.deletion_bound,
            resync: self.resync,
            tracking_resync: self.tracking_resync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_flags_are_those_of_the_decisions() {
        let flags = Flags::parse_from(["tidemark-operator", "--worker-image", "image"]);
        assert_eq!(format!("{:?}", flags.settings().timing), format!("{:?}", Timing::default()));
        assert!(!flags.allow_insecure_plaintext && !flags.allow_where);
        assert!(flags.namespaces().is_empty());
    }

    #[test]
    fn flags_accept_lists_fractions_and_bare_switches() {
        let flags = Flags::parse_from([
            "tidemark-operator",
            "--worker-image=image",
            "--watch-namespaces=a, b,",
            "--busy-retry-seconds=0.5",
            "--allow-insecure-plaintext",
        ]);
        assert_eq!(flags.namespaces(), ["a", "b"]);
        assert_eq!(flags.timing.busy_retry, Duration::from_millis(500));
        assert!(flags.allow_insecure_plaintext);
    }
}

//! Flags and environment, read once.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use k8s_openapi::api::core::v1::ResourceRequirements;
use operator_core::Settings;
use operator_core::settings::{Timing, TrackingSettings};

use crate::telemetry::LogFormat;

/// The Tidemark operator.
#[derive(Debug, Clone, Parser)]
#[command(name = "tidemark-operator", version)]
pub(crate) struct Flags {
    /// Namespaces to watch, separated by commas; all when empty.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
    /// Where /live, /ready and /metrics are served.
    #[arg(long, env = "HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) health_address: SocketAddr,
    /// How log lines look; RUST_LOG filters them.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub(crate) log_format: LogFormat,
    /// Reconciles at a time, in each watched scope.
    #[arg(long, env = "CONCURRENCY", default_value_t = 32)]
    pub(crate) concurrency: u16,
    /// Image of coordinator, extract and settle pods.
    #[arg(long, env = "WORKER_IMAGE")]
    pub(crate) worker_image: String,
    /// When the kubelet pulls it.
    #[arg(long, env = "WORKER_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) worker_pull_policy: String,
    /// Secrets with registry credentials, in the object's namespace.
    #[arg(long, env = "WORKER_PULL_SECRETS", value_delimiter = ',')]
    pub(crate) worker_pull_secrets: Vec<String>,
    /// Further environment of every worker pod, such as a proxy; given once for each `NAME=VALUE`.
    #[arg(long, value_parser = pair)]
    pub(crate) worker_env: Vec<(String, String)>,
    /// ServiceAccount of pods whose object names none.
    #[arg(long, env = "WORKER_SERVICE_ACCOUNT", default_value = "tidemark-extract")]
    pub(crate) worker_service_account: String,
    /// Resources of pods whose object names none, as JSON.
    #[arg(long, env = "WORKER_RESOURCES", value_parser = resources, default_value =
        r#"{"requests":{"cpu":"250m","memory":"512Mi"},"limits":{"cpu":"2","memory":"1Gi"}}"#)]
    pub(crate) worker_resources: ResourceRequirements,
    /// Resources of settle pods, as JSON.
    #[arg(long, env = "SETTLE_RESOURCES", value_parser = resources, default_value =
        r#"{"requests":{"cpu":"50m","memory":"128Mi"},"limits":{"cpu":"500m","memory":"256Mi"}}"#)]
    pub(crate) settle_resources: ResourceRequirements,
    /// Lets a manifest ask for a connection without TLS.
    #[arg(long, env = "ALLOW_INSECURE_PLAINTEXT", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_insecure_plaintext: bool,
    /// Lets a manifest hold SQL of its own, as extract.where.
    #[arg(long, env = "ALLOW_WHERE", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_where: bool,
    /// Tracking table of objects that name none.
    #[arg(long, env = "TRACKING_TABLE")]
    pub(crate) tracking_table: Option<String>,
    /// Its region.
    #[arg(long, env = "TRACKING_REGION")]
    pub(crate) tracking_region: Option<String>,
    /// Its endpoint, if it is no server of AWS.
    #[arg(long, env = "TRACKING_ENDPOINT")]
    pub(crate) tracking_endpoint: Option<String>,
    /// Further tracking tables that objects may name; `*` at the end stands for any ending.
    #[arg(long, env = "TRACKING_ALLOWED_TABLES", value_delimiter = ',')]
    pub(crate) tracking_allowed_tables: Vec<String>,
    /// Further endpoints that objects may name.
    #[arg(long, env = "TRACKING_ALLOWED_ENDPOINTS", value_delimiter = ',')]
    pub(crate) tracking_allowed_endpoints: Vec<String>,
    /// Puts `<namespace>/` before every tracking key.
    #[arg(long, env = "TRACKING_NAMESPACE_KEYS", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) tracking_namespace_keys: bool,
    /// Longest time for one read of the tracking table, in seconds.
    #[arg(long, env = "TRACKING_TIMEOUT", default_value = "5", value_parser = seconds)]
    pub(crate) tracking_timeout: Duration,
    /// Lease by which replicas agree on one that does the work; none when empty.
    #[arg(long, env = "LEASE_NAME")]
    pub(crate) lease_name: Option<String>,
    /// What this replica calls itself in it.
    #[arg(long, env = "POD_NAME", default_value = "tidemark-operator")]
    pub(crate) lease_identity: String,
    /// How long a leader that says nothing more is waited for, in seconds.
    #[arg(long, env = "LEASE_DURATION", default_value = "15", value_parser = seconds)]
    pub(crate) lease_duration: Duration,
    /// A pause point for tests.
    #[arg(long, env = crate::pause::PAUSE_ENV, hide = true)]
    pub(crate) pause: Option<String>,
    /// Every duration of the protocol.
    #[command(flatten)]
    pub(crate) timing: TimingFlags,
}

/// Durations, in seconds; fractions are allowed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TimingFlags {
    /// Until a busy source is looked at again.
    #[arg(long, env = "BUSY_RETRY", default_value = "30", value_parser = seconds)]
    pub(crate) busy_retry: Duration,
    /// Pause before the second attempt; it doubles from there.
    #[arg(long, env = "RETRY_FIRST", default_value = "10", value_parser = seconds)]
    pub(crate) retry_first: Duration,
    /// The longest pause between attempts.
    #[arg(long, env = "RETRY_MOST", default_value = "300", value_parser = seconds)]
    pub(crate) retry_most: Duration,
    /// How long a pod may take to start before that is shown.
    #[arg(long, env = "POD_START_WAIT", default_value = "30", value_parser = seconds)]
    pub(crate) pod_start_wait: Duration,
    /// How long stopped pods are waited for before settle starts.
    #[arg(long, env = "POD_STOP_WAIT", default_value = "60", value_parser = seconds)]
    pub(crate) pod_stop_wait: Duration,
    /// How long a ready coordinator waits for its first extract pod.
    #[arg(long, env = "EXTRACT_START_WAIT", default_value = "900", value_parser = seconds)]
    pub(crate) extract_start_wait: Duration,
    /// How long after the last range's end the coordinator may take to see all records.
    #[arg(long, env = "RECORD_WAIT", default_value = "600", value_parser = seconds)]
    pub(crate) record_wait: Duration,
    /// How often tracking is read meanwhile.
    #[arg(long, env = "RECORD_LOOK", default_value = "60", value_parser = seconds)]
    pub(crate) record_look: Duration,
    /// How many settle Jobs are tried in a row.
    #[arg(long, env = "SETTLE_TRIES", default_value_t = 5)]
    pub(crate) settle_tries: u32,
    /// How long each may take.
    #[arg(long, env = "SETTLE_DEADLINE", default_value = "110", value_parser = seconds)]
    pub(crate) settle_deadline: Duration,
    /// Pause before the second settle Job; it doubles from there.
    #[arg(long, env = "SETTLE_RETRY", default_value = "2", value_parser = seconds)]
    pub(crate) settle_retry: Duration,
    /// Pause between settle Jobs once the tries in a row are used up.
    #[arg(long, env = "SETTLE_REST", default_value = "1800", value_parser = seconds)]
    pub(crate) settle_rest: Duration,
    /// After this long a deleted object is let go, settled or not.
    #[arg(long, env = "DELETION_BOUND", default_value = "600", value_parser = seconds)]
    pub(crate) deletion_bound: Duration,
    /// When everything is looked at again, whatever happened.
    #[arg(long, env = "RESYNC", default_value = "3600", value_parser = seconds)]
    pub(crate) resync: Duration,
    /// Interval at which the watermark items are read for status.watermark and status.tracking.
    #[arg(long, env = "TRACKING_RESYNC", default_value = "600", value_parser = seconds)]
    pub(crate) tracking_resync: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|reason| reason.to_string())
}

fn resources(text: &str) -> Result<ResourceRequirements, String> {
    serde_json::from_str(text).map_err(|reason| reason.to_string())
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
            settle_resources: self.settle_resources.clone(),
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
            record_look: self.record_look,
            settle_tries: self.settle_tries,
            settle_deadline: self.settle_deadline,
            settle_retry: self.settle_retry,
            settle_rest: self.settle_rest,
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
    fn flags_take_lists_fractions_and_bare_switches() {
        let flags = Flags::parse_from([
            "tidemark-operator",
            "--worker-image=image",
            "--watch-namespaces=a, b,",
            "--busy-retry=0.5",
            "--allow-insecure-plaintext",
        ]);
        assert_eq!(flags.namespaces(), ["a", "b"]);
        assert_eq!(flags.timing.busy_retry, Duration::from_millis(500));
        assert!(flags.allow_insecure_plaintext);
    }
}

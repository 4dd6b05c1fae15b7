//! In: flags, read elsewhere. Out: [`Settings`], which hold for every object.
//! Bound: none. Fails: never.

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;

/// The settings with which the operator was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Image of coordinator, extract and recovery pods.
    pub worker_image: String,
    /// When the kubelet pulls it.
    pub worker_pull_policy: String,
    /// Secrets of the object's namespace that hold registry credentials.
    pub worker_pull_secrets: Vec<String>,
    /// ServiceAccount of pods whose object names none.
    pub service_account: String,
    /// Resources of pods whose object names none.
    pub resources: ResourceRequirements,
    /// Resources of recovery pods.
    pub recover_resources: ResourceRequirements,
    /// Further environment of every worker pod.
    pub worker_env: Vec<(String, String)>,
    /// Whether a manifest may ask for a connection without TLS.
    pub allow_insecure_plaintext: bool,
    /// Whether a manifest may hold SQL of its own.
    pub allow_where: bool,
    /// Where watermarks are kept.
    pub tracking: TrackingSettings,
    /// Every duration of the operator.
    pub timing: Timing,
}

/// Which tracking table stands in for an absent one, and which may be named.
#[derive(Debug, Clone, Default)]
pub struct TrackingSettings {
    /// Table of objects that name none.
    pub table: Option<String>,
    /// Region of objects that name none.
    pub region: Option<String>,
    /// Endpoint of objects that name none.
    pub endpoint: Option<String>,
    /// Further tables that an object may name; `*` at the end stands for any ending.
    pub allowed_tables: Vec<String>,
    /// Further endpoints that an object may name.
    pub allowed_endpoints: Vec<String>,
    /// Whether `<namespace>/` is put before every key.
    pub namespace_keys: bool,
}

/// Every duration of the operator; tests shorten them.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Time until a busy source is read again.
    pub busy_retry: Duration,
    /// Pause before the second attempt; it doubles from there.
    pub retry_first: Duration,
    /// The longest pause between attempts.
    pub retry_most: Duration,
    /// How long a pod may take to start before that is shown.
    pub pod_start_wait: Duration,
    /// How long stopped pods are waited for before recovery starts.
    pub pod_stop_wait: Duration,
    /// How long a ready coordinator waits for its first extract pod.
    pub extract_start_wait: Duration,
    /// How long after the last partition's end the coordinator may take to see all records.
    pub record_wait: Duration,
    /// How often tracking is read while the above is open.
    pub record_poll: Duration,
    /// How many recovery Jobs are tried in a row.
    pub recover_tries: u32,
    /// How long each may take.
    pub recover_deadline: Duration,
    /// Pause before the second recovery Job; it doubles from there.
    pub recover_retry: Duration,
    /// Pause between recovery Jobs once the tries in a row are used up.
    pub recover_rest: Duration,
    /// Time after which the finalizer of a deleted object is removed, even if its run is in doubt.
    pub deletion_bound: Duration,
    /// Time after which each object is decided again, even without an event.
    pub resync: Duration,
    /// Pause between two reads of the watermark items, which show what other writers did.
    pub tracking_resync: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Self {
            busy_retry: Duration::from_secs(30),
            retry_first: Duration::from_secs(10),
            retry_most: minutes(5),
            pod_start_wait: Duration::from_secs(30),
            pod_stop_wait: minutes(1),
            extract_start_wait: minutes(15),
            record_wait: minutes(10),
            record_poll: minutes(1),
            recover_tries: 5,
            recover_deadline: Duration::from_secs(110),
            recover_retry: Duration::from_secs(2),
            recover_rest: minutes(30),
            deletion_bound: minutes(10),
            resync: minutes(60),
            tracking_resync: minutes(10),
        }
    }
}

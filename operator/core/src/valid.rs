//! In: the spec as the API server accepted it. Out: [`ValidExtractJob`].
//! Bound: none. Fails: a [`Report`] for mistakes that only the operator's settings show.

use crds::extract_job::ExtractJobSpec;
use crds::output::Tracking;
use crds::request::{HASH_VERSION, request_hash};
use crds::requested::latest;
use crds::source::TlsMode;
use crds::task::{REQUESTED_AT, TaskTracking};
use crds::tracking::Owner;
use crds::{ExtractJob, ExtractJobStatus, Reason, Report};

use crate::settings::{Settings, TrackingSettings};

/// An object that may run: tracking table resolved, nothing in it that the operator forbids.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidExtractJob {
    /// The spec for the pods, tracking resolved.
    pub spec: ExtractJobSpec,
    /// Where its watermark is.
    pub tracking: TaskTracking,
    /// For whom an attempt that starts now would run.
    pub owner: Owner,
    /// ServiceAccount of its pods.
    pub service_account: String,
}

/// Checks what the schema cannot know.
///
/// # Errors
/// `TrackingNotAllowed` or `InvalidSpec`, each with a remedy.
pub fn valid(job: &ExtractJob, settings: &Settings) -> Result<ValidExtractJob, Report> {
    let tracking = tracking(job, &settings.tracking)?;
    let mode = job.spec.source.tls.as_ref().and_then(|tls| tls.mode).unwrap_or_default();
    if mode == TlsMode::InsecurePlaintext && !settings.allow_insecure_plaintext {
        return Err(Report::new(
            Reason::InvalidSpec,
            "source.tls.mode is insecurePlaintext, which this operator does not allow",
            "Set source.tls.mode: verifyFull and source.tls.caRef, or start the operator with --allow-insecure-plaintext.",
        ));
    }
    if job.spec.extract.filter.is_some() && !settings.allow_where {
        return Err(Report::new(
            Reason::InvalidSpec,
            "extract.where is set, but this operator does not allow SQL in manifests",
            "Create a view with the condition and set extract.table to it, or start the operator with --allow-where.",
        ));
    }
    let owner = owner(job).ok_or_else(|| {
        Report::new(Reason::Internal, "the request of the object cannot be hashed", "")
    })?;
    let mut spec = job.spec.clone();
    spec.tracking = Some(Tracking {
        table: Some(tracking.table.clone()),
        region: tracking.region.clone(),
        endpoint: tracking.endpoint.clone(),
        secret_ref: spec.tracking.and_then(|given| given.secret_ref),
        key: Some(tracking.key.clone()),
    });
    Ok(ValidExtractJob { service_account: service_account(job, settings), spec, tracking, owner })
}

/// ServiceAccount of the object's pods.
pub fn service_account(job: &ExtractJob, settings: &Settings) -> String {
    job.spec
        .worker
        .as_ref()
        .and_then(|worker| worker.service_account_name.clone())
        .unwrap_or_else(|| settings.service_account.clone())
}

/// For whom an attempt that starts now would run.
pub fn owner(job: &ExtractJob) -> Option<Owner> {
    let hash = request_hash(&job.spec, HASH_VERSION)?;
    Some(Owner {
        uid: job.metadata.uid.clone().unwrap_or_default(),
        request: hash.request,
        hash_version: hash.hash_version,
        generation: job.metadata.generation.unwrap_or_default(),
        requested_at: latest([requested_at(job)]).map(ToOwned::to_owned),
    })
}

/// The annotation that asks for another run, as it is.
pub(crate) fn requested_at(job: &ExtractJob) -> Option<&str> {
    job.metadata.annotations.as_ref()?.get(REQUESTED_AT).map(String::as_str)
}

/// The tracking table of an object: its own words, else the settings', and only allowed ones.
///
/// # Errors
/// `TrackingNotAllowed`.
pub fn tracking(job: &ExtractJob, settings: &TrackingSettings) -> Result<TaskTracking, Report> {
    let given = job.spec.tracking.clone().unwrap_or_default();
    let table = given.table.or_else(|| settings.table.clone()).ok_or_else(|| {
        Report::new(
            Reason::TrackingNotAllowed,
            "no tracking table is set",
            "Set spec.tracking.table, or start the operator with --tracking-table.",
        )
    })?;
    if !is_table_allowed(&table, settings) {
        return Err(table_report(&table));
    }
    let endpoint = given.endpoint.or_else(|| settings.endpoint.clone());
    if let Some(endpoint) = endpoint.as_ref().filter(|it| !is_endpoint_allowed(it, settings)) {
        return Err(endpoint_report(endpoint));
    }
    let key = key(job, settings);
    let region = given.region.or_else(|| settings.region.clone());
    Ok(TaskTracking { table, region, endpoint, key })
}

/// The key of the object's source.
fn key(job: &ExtractJob, settings: &TrackingSettings) -> String {
    let given = job.spec.tracking.as_ref().and_then(|given| given.key.clone());
    let key =
        given.unwrap_or_else(|| format!("{}.{}", job.spec.source.database, job.spec.extract.table));
    if settings.namespace_keys {
        format!("{}/{key}", job.metadata.namespace.as_deref().unwrap_or_default())
    } else {
        key
    }
}

fn is_table_allowed(table: &str, settings: &TrackingSettings) -> bool {
    settings.table.as_deref() == Some(table)
        || settings.allowed_tables.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => table.starts_with(start),
            None => pattern == table,
        })
}

fn is_endpoint_allowed(endpoint: &String, settings: &TrackingSettings) -> bool {
    settings.endpoint.as_ref() == Some(endpoint) || settings.allowed_endpoints.contains(endpoint)
}

fn table_report(table: &str) -> Report {
    Report::new(
        Reason::TrackingNotAllowed,
        format!("tracking table {table} is not on the operator's allow-list"),
        "Name an allowed table, or allow this table with the operator's flag --tracking-allowed-tables.",
    )
}

fn endpoint_report(endpoint: &str) -> Report {
    Report::new(
        Reason::TrackingNotAllowed,
        format!("tracking endpoint {endpoint} is not on the operator's allow-list"),
        "Remove spec.tracking.endpoint, or allow the endpoint with the operator's flag --tracking-allowed-endpoints.",
    )
}

/// Whether the operator may read the table that a task names: anyone who may create Jobs in the
/// namespace can forge a Job. A run in flight is read in the table of its task, even if the settings
/// changed since. An endpoint that was removed from the allow-list must be the one that the operator wrote to
/// status when the attempt began. A table must still be allowed.
///
/// # Errors
/// `TrackingNotAllowed`, or `TrackingChanged` for a table that was allowed when the run began.
pub fn may_read(
    job: &ExtractJob,
    named: &TaskTracking,
    settings: &TrackingSettings,
) -> Result<(), Report> {
    if key(job, settings) != named.key {
        return Err(Report::new(
            Reason::TrackingNotAllowed,
            "the task of the current attempt has another tracking key than the object",
            "Find out who created the coordinator Job of the attempt, and delete the Job.",
        ));
    }
    let recorded_at = |what: fn(&ExtractJobStatus) -> &Option<String>| {
        job.status.as_ref().and_then(|status| what(status).as_ref())
    };
    let table = &named.table;
    if !is_table_allowed(table, settings) {
        return Err(match recorded_at(|status| &status.tracking_table) {
            Some(recorded_at) if recorded_at == table => Report::new(
                Reason::TrackingChanged,
                format!(
                    "tracking table {table} of the current run was removed from the allow-list"
                ),
                "Restore the operator's default tracking table, or allow this table (--tracking-allowed-tables) until the run has ended.",
            ),
            Some(_) | None => table_report(table),
        });
    }
    match &named.endpoint {
        Some(endpoint)
            if !is_endpoint_allowed(endpoint, settings)
                && recorded_at(|status| &status.tracking_endpoint) != Some(endpoint) =>
        {
            Err(endpoint_report(endpoint))
        }
        Some(_) | None => Ok(()),
    }
}

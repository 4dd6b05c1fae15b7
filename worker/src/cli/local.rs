//! A process without a cluster: its task, clients and memory, and how a run in it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crds::condition::Exit;
use crds::task::{TASK_VERSION, TaskTracking};
use crds::tracking::{OutcomeItem, Owner, outcome_key};
use crds::{ExtractJob, HASH_VERSION, Reason, Task};
use serde_json::json;
use uuid::Uuid;
use worker_core::encoding::batches::MemoryBudget;
use worker_core::errors::failure::Failure;
use worker_core::protocol::transitions::answers_complete;
use worker_core::protocol::{Ending, Role};

use crate::base::pause::Pause;
use crate::base::shutdown::Stop;
use crate::cli::settings::{Local, Process};
use crate::cli::terminal::print;
use crate::extraction::batches::budget_from_cgroup;
use crate::extraction::extract::readers_asked;
use crate::publishing::drive::drive;
use crate::publishing::durations::Durations;
use crate::publishing::world::{Readers, Underway, World};
use crate::source::credentials::login;
use crate::source::login::Login;
use crate::stores::clients::{SecretDirs, Stores, connect};
use crate::stores::tracking::TrackingTable;

/// Seconds that a process may work, where the manifest does not say.
const DEADLINE_SECONDS: i64 = 86_400;

/// Listens for what asks the process to stop.
///
/// # Errors
/// `Internal` where the handlers cannot be installed.
pub(crate) fn listen(task: &Task) -> Result<Stop, Failure> {
    let seconds = task.spec.active_deadline_seconds.unwrap_or(DEADLINE_SECONDS);
    let deadline = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Stop::listen(deadline).map_err(|_| {
        Failure::transient(Reason::Internal, "signal handlers cannot be installed", "")
    })
}

/// Reads a manifest for a run or plan without a cluster.
///
/// # Errors
/// `InvalidSpec` and `TrackingNotAllowed`, each with a remedy.
pub fn local_task(local: &Local) -> Result<Task, Failure> {
    read_task(&local.manifest, local.process.tracking_table.as_ref())
}

pub(super) fn read_task(manifest: &Path, tracking_table: Option<&String>) -> Result<Task, Failure> {
    let invalid =
        |message: String| Failure::permanent(Reason::InvalidSpec, message, "mend the manifest");
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| invalid(format!("the manifest cannot be read: {}", error.kind())))?;
    let job: ExtractJob = serde_saphyr::from_str(&text)
        .map_err(|error| invalid(format!("the manifest is no ExtractJob: {error}")))?;
    task_of(job, tracking_table)
}

/// The task of a process without a cluster, for an `ExtractJob`.
///
/// # Errors
/// `TrackingNotAllowed` where no tracking table is named.
pub fn task_of(job: ExtractJob, tracking_table: Option<&String>) -> Result<Task, Failure> {
    let tracking = job.spec.tracking.clone().unwrap_or_default();
    let table = tracking.table.clone().or_else(|| tracking_table.cloned()).ok_or_else(|| {
        Failure::permanent(
            Reason::TrackingNotAllowed,
            "no tracking table is named",
            "set tracking.table, or --tracking-table",
        )
    })?;
    let default_key = format!("{}.{}", job.spec.source.database, job.spec.extract.table);
    let request = crds::request::request_hash(&job.spec, HASH_VERSION);
    Ok(Task {
        version: TASK_VERSION,
        tracking: TaskTracking {
            table,
            region: tracking.region,
            endpoint: tracking.endpoint,
            key: tracking.key.unwrap_or(default_key),
        },
        owner: Owner {
            uid: format!("cli/{}", Uuid::now_v7()),
            request: request.map(|request| request.request).unwrap_or_default(),
            hash_version: HASH_VERSION,
            generation: 1,
            requested_at: None,
        },
        attempt: 1,
        retry: 0,
        name: job.metadata.name.unwrap_or_else(|| "run".to_owned()),
        spec: job.spec,
    })
}

/// Clients of a process without a cluster: the AWS environment has their credentials.
///
/// # Errors
/// None today; those of [`connect`].
pub async fn local_stores(task: &Task, durations: Durations) -> Result<Stores, Failure> {
    let nowhere = PathBuf::new();
    let dirs = SecretDirs { output: &nowhere, tracking: &nowhere };
    connect(&task.spec, &task.tracking, dirs, (durations.requests, durations.checksum)).await
}

/// Clients and login of a process without a cluster.
///
/// # Errors
/// `CredentialsMissing`.
pub async fn local_world(
    local: &Local,
    task: &Task,
    durations: Durations,
) -> Result<(Stores, Login), Failure> {
    let stores = local_stores(task, durations).await?;
    let process = &local.process;
    let found = login(&task.spec.source, &process.credentials, process.ca_file.clone()).await?;
    Ok((stores, Login { silence: durations.silence, ..found }))
}

/// The memory of a process without a cluster.
pub(crate) fn memory(process: &Process) -> MemoryBudget {
    process.memory_bytes.map_or_else(budget_from_cgroup, |bytes| MemoryBudget::new(Some(bytes)))
}

/// Runs a task in this process.
///
/// # Errors
/// Whatever ended the run.
pub async fn here(
    task: Task,
    stores: Stores,
    login: Login,
    process: &Process,
    durations: Durations,
) -> Result<String, Failure> {
    let budget = memory(process);
    let mut world = World {
        stores,
        login: Some(login),
        readers: Readers::Here { asked: readers_asked(&task.spec), budget },
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(process.pause.as_deref(), task.attempt),
        ready: Arc::new(|| Ok(())),
        underway: Underway::default(),
        task: task.clone(),
    };
    loop {
        let role = Role::Hold { task: Box::new(task.clone()), last: true };
        let ending = drive(durations.carrier(role), &mut world).await;
        let busy = matches!(&ending, Ending::Failed(failure)
            if failure.exit == Exit::Fenced && failure.report.reason == Reason::SourceBusy);
        if let (Ending::Published(manifest), false) = (&ending, busy) {
            let said = json!({
                "run": manifest.run, "rows": manifest.rows, "bytes": manifest.bytes,
                "files": manifest.files.0, "window": manifest.window,
                "watermark": manifest.watermark_max, "fidelity": manifest.fidelity,
            });
            // the run is published, whether or not anybody can be told
            if let Err(failure) = print(&said.to_string()) {
                tracing::warn!(%failure, "published");
            }
        }
        if !busy || process.no_wait {
            return ended(ending, &world).await;
        }
        if let Ending::Failed(failure) = &ending {
            tracing::warn!(message = %failure.report, "waiting for the source");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = world.stop.stopped() => return Err(world.stop.failure()),
        }
    }
}
/// Exit 0 only if the outcome answers the task as Complete.
pub(super) async fn ended(ending: Ending, world: &World) -> Result<String, Failure> {
    match ending {
        Ending::Published(manifest) => Ok(format!(
            "run {} is published: {} rows, {} files",
            manifest.run, manifest.rows, manifest.files.0
        )),
        Ending::Answered => Ok("the request had been answered before".to_owned()),
        Ending::Settled => Ok("settled".to_owned()),
        Ending::Failed(failure) => Err(failure),
        Ending::CarriedByAnother => {
            let tracking = &world.task.tracking;
            let table = TrackingTable::new(world.stores.dynamodb.clone(), tracking.table.clone());
            let key = outcome_key(&tracking.key, &world.task.owner.uid);
            let outcome: Option<OutcomeItem> = table.read(&key).await?;
            let result = outcome.and_then(|outcome| outcome.result);
            if result.is_some_and(|result| answers_complete(&result, &world.task)) {
                return Ok("the run was published by another carrier".to_owned());
            }
            Err(Failure::fenced(Reason::Fenced, "another process has taken the source"))
        }
    }
}

//! The sub-commands: from what a process was told to its exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crds::condition::Exit;
use crds::task::{self, SettleOrder, TASK_VERSION, TaskTracking};
use crds::tracking::{OutcomeItem, Owner, outcome_key};
use crds::{ExtractJob, HASH_VERSION, Reason, RunId, Task};
use serde_json::json;
use uuid::Uuid;
use worker_core::batches::MemoryBudget;
use worker_core::commits::transitions::answers_complete;
use worker_core::commits::{Ending, Role};
use worker_core::error::Failure;
use worker_core::plan::{self, Plan};

use crate::base::pause::Pause;
use crate::base::shutdown::Stop;
use crate::cli::report;
use crate::cli::settings::{Command, ExtractPod, Local, Pod, Process, Settings, SettlePod};
use crate::extraction::batches::budget_from_cgroup;
use crate::extraction::extract::{RangeReader, readers_asked};
use crate::publishing::commits::{Readers, Underway, World, drive};
use crate::publishing::durations::Durations;
use crate::source::credentials::login;
use crate::source::login::Login;
use crate::stores::clients::{SecretDirs, Stores, connect};
use crate::stores::control::Control;
use crate::stores::tracking::TrackingTable;

/// Seconds that a process may work, where the manifest does not say.
const DEADLINE_SECONDS: i64 = 86_400;

/// Does what was asked for.
pub async fn run(settings: Settings) -> ExitCode {
    if matches!(settings.command, Command::Ready) {
        return ready();
    }
    let result = match Durations::try_from(settings.durations) {
        Ok(durations) => run_command(settings.command, durations).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok(message) => report::done(&message),
        Err(failure) => report::failed(&failure),
    }
}

async fn run_command(command: Command, durations: Durations) -> Result<String, Failure> {
    match command {
        // answered before, since it needs no durations
        Command::Ready => Ok(String::new()),
        Command::Coordinate(pod) => Box::pin(coordinate(&pod, durations)).await,
        Command::Extract(pod) => Box::pin(extract(&pod, durations)).await,
        Command::Settle(pod) => Box::pin(settle(&pod, durations)).await,
        Command::Run(local) => Box::pin(local_run(&local, durations)).await,
        Command::Verify { local, source } => {
            Box::pin(crate::cli::verify::verify(&local, source, durations)).await
        }
        Command::Watermark(command) => {
            Box::pin(crate::cli::watermarks::watermark(&command, durations)).await
        }
        Command::Plan { local, json } => {
            Box::pin(crate::cli::dry_run::plan(&local, json, durations)).await
        }
        Command::Convert(wanted) => crate::cli::convert::convert(&wanted),
    }
}

fn ready() -> ExitCode {
    if Path::new(task::READY_FILE).exists() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unreadable(what: &str) -> Failure {
    Failure::permanent(Reason::Internal, format!("{what} cannot be understood"), "report this")
}

fn letter(text: &str) -> Result<Task, Failure> {
    let version = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("version").and_then(serde_json::Value::as_u64));
    if version.is_some_and(|version| version > u64::from(TASK_VERSION)) {
        return Err(Failure::permanent(
            Reason::NewerRelease,
            "the task was written by a newer release",
            "use the worker image of the operator's release",
        ));
    }
    serde_json::from_str(text).map_err(|_| unreadable("the task"))
}

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

async fn pod_stores(task: &Task, durations: Durations) -> Result<Stores, Failure> {
    let dirs = SecretDirs {
        output: Path::new(task::OUTPUT_SECRET_DIR),
        tracking: Path::new(task::TRACKING_SECRET_DIR),
    };
    connect(&task.spec, &task.tracking, dirs, (durations.requests, durations.checksum)).await
}

async fn pod_login(task: &Task, durations: Durations) -> Result<Login, Failure> {
    let ca = Path::new(task::CA_FILE);
    let ca = ca.exists().then(|| ca.to_path_buf());
    let found = login(&task.spec.source, Path::new(task::CREDENTIALS_DIR), ca).await?;
    Ok(Login { silence: durations.silence, ..found })
}

async fn coordinate(pod: &Pod, durations: Durations) -> Result<String, Failure> {
    let task = letter(&pod.task)?;
    let stores = pod_stores(&task, durations).await?;
    // a missing Secret key must not keep the protocol from saying N
    let login = pod_login(&task, durations).await?;
    let mut world = World {
        stores,
        login: Some(login),
        readers: Readers::Pods,
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(pod.pause.as_deref(), task.attempt),
        ready: Arc::new(say_ready),
        underway: Underway::default(),
        task: task.clone(),
    };
    let role = Role::Hold { task: Box::new(task), last: false };
    let ending = drive(durations.carrier(role), &mut world).await;
    ended(ending, &world).await
}

fn say_ready() -> Result<(), Failure> {
    std::fs::write(task::READY_FILE, "").map_err(|_| {
        Failure::transient(Reason::Internal, "the ready file cannot be written", "report this")
    })
}

/// Exit 0 only if the outcome answers the task as Complete.
async fn ended(ending: Ending, world: &World) -> Result<String, Failure> {
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

async fn extract(pod: &ExtractPod, durations: Durations) -> Result<String, Failure> {
    let task = letter(&pod.pod.task)?;
    let run: RunId = pod.run.parse().map_err(|_| unreadable("the run id"))?;
    let stores = pod_stores(&task, durations).await?;
    let control = Control::new(stores.s3.clone(), &task.spec.output.uri)?;
    let found = control.bytes(&control.prefix.plan(run)).await?;
    let (body, _) = found.ok_or_else(|| {
        Failure::fenced(Reason::Fenced, "the plan of the run is gone, so the run is over")
    })?;
    let planned: Plan = serde_json::from_slice(&body).map_err(|_| unreadable("the plan"))?;
    if pod.index as usize >= planned.ranges.len() {
        return Err(unreadable("the index of this pod"));
    }
    let reader = RangeReader {
        plan_hash: plan::hash(&body),
        plan: Arc::new(planned),
        login: pod_login(&task, durations).await?,
        aligned: None,
        s3: stores.s3.clone(),
        control,
        budget: budget_from_cgroup(),
        stop: listen(&task)?.receiver(),
        others: None,
        pause: Pause::parse(pod.pod.pause.as_deref(), task.attempt),
    };
    let record = Box::pin(reader.read(pod.index)).await?;
    Ok(format!("range {}: {} rows, {} files", record.index, record.rows, record.files.len()))
}

async fn settle(pod: &SettlePod, durations: Durations) -> Result<String, Failure> {
    let (role, stores) = match (&pod.force, &pod.task, &pod.order) {
        (Some(named), ..) => forced(pod, named, durations).await?,
        (None, Some(task), Some(order)) => {
            let task = letter(task)?;
            let order: SettleOrder =
                serde_json::from_str(order).map_err(|_| unreadable("the settle order"))?;
            let stores = pod_stores(&task, durations).await?;
            (Role::Settle { task: Box::new(task), order: Box::new(order) }, stores)
        }
        (None, ..) => return Err(unreadable("the settle order")),
    };
    let task = role.task().clone();
    let mut world = World {
        stores,
        login: None,
        readers: Readers::Pods,
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(pod.pause.as_deref(), task.attempt),
        ready: Arc::new(|| Ok(())),
        underway: Underway::default(),
        task,
    };
    let ending = drive(durations.carrier(role), &mut world).await;
    ended(ending, &world).await
}

/// A human's word: which run, of which source, and who says so.
async fn forced(
    pod: &SettlePod,
    named: &str,
    durations: Durations,
) -> Result<(Role, Stores), Failure> {
    let run: RunId = named.parse().map_err(|_| {
        let remedy = "give the id that status.runId and the condition name";
        Failure::permanent(Reason::InvalidSpec, "--force is not the id of a run", remedy)
    })?;
    let manifest = pod.manifest.as_deref().unwrap_or(Path::new(""));
    let task = read_task(manifest, pod.tracking_table.as_ref())?;
    let stores = local_stores(&task, durations).await?;
    let by = pod.by.clone().unwrap_or_else(|| "somebody".to_owned());
    Ok((Role::Force { task: Box::new(task), run, by }, stores))
}

/// Reads a manifest for a run or plan without a cluster.
///
/// # Errors
/// `InvalidSpec` and `TrackingNotAllowed`, each with a remedy.
pub fn local_task(local: &Local) -> Result<Task, Failure> {
    read_task(&local.manifest, local.process.tracking_table.as_ref())
}

fn read_task(manifest: &Path, tracking_table: Option<&String>) -> Result<Task, Failure> {
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

/// Everything in this process. Where another run holds the source, waits until its deadline.
async fn local_run(local: &Local, durations: Durations) -> Result<String, Failure> {
    let task = local_task(local)?;
    let (stores, login) = local_world(local, &task, durations).await?;
    here(task, stores, login, &local.process, durations).await
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
            if let Err(failure) = crate::cli::dry_run::print(&said.to_string()) {
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

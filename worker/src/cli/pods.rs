//! The commands of pods: coordinate, extract and recovery.

use std::path::Path;
use std::sync::Arc;

use crds::task::{self, RecoverOrder, TASK_VERSION};
use crds::{Reason, RunId, Task};
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::planning::plan::{self, Plan};
use worker_core::protocol::Role;

use crate::base::pause::Pause;
use crate::cli::errors::CommandError;
use crate::cli::local::{ended, listen, local_stores};
use crate::cli::manifest::read_task;
use crate::cli::settings::{ExtractPod, Pod, Recover};
use crate::extraction::batches::budget_from_cgroup;
use crate::extraction::counters::Counters;
use crate::extraction::extract::PartitionReader;
use crate::publishing::context::{Context, InFlight, Readers};
use crate::publishing::drive::drive;
use crate::publishing::durations::Durations;
use crate::source::credentials::login;
use crate::source::login::Login;
use crate::stores::clients::{SecretDirs, Stores, connect};
use crate::stores::control::Control;

fn invalid(message: &str) -> Failure {
    Failure::permanent(Reason::Internal, message, REPORT)
}

fn parse_task(text: &str) -> Result<Task, Failure> {
    let version = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| value.get("version").and_then(serde_json::Value::as_u64));
    if version.is_some_and(|version| version > u64::from(TASK_VERSION)) {
        return Err(Failure::permanent(
            Reason::NewerRelease,
            "the task was written by a newer release",
            "Use the worker image of the operator's release.",
        ));
    }
    serde_json::from_str(text).map_err(|_| invalid("task JSON is invalid"))
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

pub(super) async fn coordinate(pod: &Pod, durations: Durations) -> Result<String, Failure> {
    let task = parse_task(&pod.task)?;
    let stores = pod_stores(&task, durations).await?;
    // a missing Secret key must not keep the protocol from saying N
    let login = pod_login(&task, durations).await?;
    let mut context = Context {
        stores,
        login: Some(login),
        readers: Readers::Pods,
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(pod.pause.as_deref(), task.attempt),
        ready: Arc::new(say_ready),
        in_flight: InFlight::default(),
        counters: Arc::default(),
        task: task.clone(),
    };
    let role = Role::Coordinate { task: Box::new(task), last: false };
    let ending = drive(durations.process(role), &mut context).await;
    ended(ending, &context).await
}

fn say_ready() -> Result<(), Failure> {
    std::fs::write(task::READY_FILE, "")
        .map_err(|_| Failure::transient(Reason::Internal, "cannot write the ready file", REPORT))
}

pub(super) async fn extract(pod: &ExtractPod, durations: Durations) -> Result<String, Failure> {
    let task = parse_task(&pod.pod.task)?;
    let run: RunId = pod.run.parse().map_err(|_| invalid("run id is invalid"))?;
    let stores = pod_stores(&task, durations).await?;
    let control = Control::new(stores.s3.clone(), &task.spec.output.uri)?;
    let found = control.bytes(&control.prefix.plan(run)).await?;
    let (body, _) = found.ok_or_else(|| {
        Failure::fenced(Reason::Fenced, "the plan of the run does not exist, so the run has ended")
    })?;
    let planned: Plan =
        serde_json::from_slice(&body).map_err(|_| invalid("plan JSON is invalid"))?;
    if pod.index as usize >= planned.partitions.len() {
        return Err(invalid("the plan has no partition with the index of this pod"));
    }
    let reader = PartitionReader {
        plan_hash: plan::hash(&body),
        plan: Arc::new(planned),
        login: pod_login(&task, durations).await?,
        aligned: None,
        s3: stores.s3.clone(),
        control,
        budget: budget_from_cgroup(),
        stop: listen(&task)?.receiver(),
        others: None,
        counters: Arc::new(Counters::default()),
        pause: Pause::parse(pod.pod.pause.as_deref(), task.attempt),
    };
    let record = Box::pin(reader.read(pod.index)).await?;
    Ok(format!("partition {}: {} rows, {} files", record.index, record.rows, record.files.len()))
}

pub(super) async fn recover(pod: &Recover, durations: Durations) -> Result<String, CommandError> {
    let (role, stores) = match (pod.force, &pod.task, &pod.order) {
        (Some(run), ..) => forced(pod, run, durations).await?,
        (None, Some(task), Some(order)) => {
            let task = parse_task(task)?;
            let order: RecoverOrder = serde_json::from_str(order)
                .map_err(|_| invalid("recover order JSON is invalid"))?;
            let stores = pod_stores(&task, durations).await?;
            (Role::Recover { task: Box::new(task), order: Box::new(order) }, stores)
        }
        (None, ..) => return Err(invalid("recover order JSON is invalid").into()),
    };
    let task = role.task().clone();
    let mut context = Context {
        stores,
        login: None,
        readers: Readers::Pods,
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(pod.pause.as_deref(), task.attempt),
        ready: Arc::new(|| Ok(())),
        in_flight: InFlight::default(),
        counters: Arc::default(),
        task,
    };
    let ending = drive(durations.process(role), &mut context).await;
    Ok(ended(ending, &context).await?)
}

/// The run that a person undoes, its source, and the name of the person.
async fn forced(
    pod: &Recover,
    run: RunId,
    durations: Durations,
) -> Result<(Role, Stores), CommandError> {
    let manifest = pod.manifest.as_deref().unwrap_or(Path::new(""));
    let task = read_task(manifest, pod.tracking_table.as_ref())?;
    let stores = local_stores(&task, durations).await?;
    let by = pod.by.clone().unwrap_or_else(|| "a person".to_owned());
    Ok((Role::Force { task: Box::new(task), run, by }, stores))
}

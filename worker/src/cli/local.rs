//! A process without a cluster: its clients, its memory, and how a run in it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::condition::Exit;
use crds::tracking::{OutcomeItem, outcome_key};
use crds::{Reason, Task};
use worker_core::encoding::batches::MemoryBudget;
use worker_core::errors::failure::Failure;
use worker_core::protocol::transitions::answers_complete;
use worker_core::protocol::{Ending, Role};

use crate::base::pause::Pause;
use crate::base::shutdown::Stop;
use crate::cli::flags::{DatabaseFlags, MemoryFlags, RunFlags};
use crate::cli::progress::Shown;
use crate::cli::summary;
use crate::extraction::batches::budget_from_cgroup;
use crate::extraction::counters::Counters;
use crate::extraction::extract::readers_asked;
use crate::publishing::context::{Context, InFlight, Readers};
use crate::publishing::drive::drive;
use crate::publishing::durations::Durations;
use crate::source::credentials::login;
use crate::source::login::Login;
use crate::stores::clients::{SecretDirs, Stores, connect};
use crate::stores::tracking::TrackingTable;

/// Seconds after which a process stops, unless the manifest has `activeDeadlineSeconds`.
const DEADLINE_SECONDS: i64 = 86_400;

/// Waits for signals and the deadline.
///
/// # Errors
/// `Internal` if the handlers cannot be installed.
pub(crate) fn listen(task: &Task) -> Result<Stop, Failure> {
    let seconds = task.spec.active_deadline_seconds.unwrap_or(DEADLINE_SECONDS);
    let deadline = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Stop::listen(deadline)
        .map_err(|_| Failure::transient(Reason::Internal, "cannot install signal handlers", ""))
}

/// Clients of a process without a cluster. Their credentials come from the AWS environment.
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
pub async fn local_context(
    database: &DatabaseFlags,
    task: &Task,
    durations: Durations,
) -> Result<(Stores, Login), Failure> {
    let stores = local_stores(task, durations).await?;
    let given = &task.spec.source.credentials;
    if given.aws_secret.is_none() && given.rds_iam.is_none() {
        has_files(&database.credentials)?;
    }
    let found = login(&task.spec.source, &database.credentials, database.ca_file.clone()).await?;
    Ok((stores, Login { silence: durations.silence, ..found }))
}

/// Refuses a directory without the files that the keys of a Secret are in a pod.
fn has_files(folder: &Path) -> Result<(), Failure> {
    match ["username", "password"].iter().find(|key| !folder.join(key).exists()) {
        None => Ok(()),
        Some(key) => Err(Failure::permanent(
            Reason::CredentialsMissing,
            format!("directory {} has no file {key}", folder.display()),
            "Write the credentials of the database to the files username and password in one directory, and pass it \
             as --credentials.",
        )),
    }
}

/// The memory of a process without a cluster.
pub(crate) fn memory(flags: &MemoryFlags) -> MemoryBudget {
    let given = flags.memory.map(|size| size.as_u64());
    given.map_or_else(budget_from_cgroup, |bytes| MemoryBudget::new(Some(bytes)))
}

/// Runs a task in this process.
///
/// # Errors
/// The failure that ended the run.
pub async fn here(
    task: Task,
    stores: Stores,
    login: Login,
    (memory_flags, flags): (&MemoryFlags, &RunFlags),
    durations: Durations,
) -> Result<String, Failure> {
    let (budget, began) = (memory(memory_flags), Instant::now());
    let counters = Arc::new(Counters::default());
    let shown = Shown::start(Arc::clone(&counters));
    let mut context = Context {
        stores,
        login: Some(login),
        readers: Readers::Here { asked: readers_asked(&task.spec), budget },
        durations,
        stop: listen(&task)?,
        pause: Pause::parse(flags.pause.as_deref(), task.attempt),
        ready: Arc::new(|| Ok(())),
        in_flight: InFlight::default(),
        counters,
        task: task.clone(),
    };
    loop {
        let role = Role::Coordinate { task: Box::new(task.clone()), last: true };
        let ending = drive(durations.process(role), &mut context).await;
        let busy = matches!(&ending, Ending::Failed(failure)
            if failure.exit == Exit::Fenced && failure.report.reason == Reason::SourceBusy);
        if let (Ending::Published(manifest), false) = (&ending, busy) {
            shown.stop();
            // the run is published, even if standard output is closed
            if let Err(failure) = summary::print(manifest, began.elapsed()) {
                tracing::warn!(%failure, "the run is published, but its summary cannot be printed");
            }
        }
        if !busy || flags.no_wait {
            return ended(ending, &context).await;
        }
        if let Ending::Failed(failure) = &ending {
            tracing::warn!(message = %failure.report, "waiting for the source");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = context.stop.stopped() => return Err(context.stop.failure()),
        }
    }
}

/// Exit 0 only if the outcome answers the task as Complete.
pub(super) async fn ended(ending: Ending, context: &Context) -> Result<String, Failure> {
    match ending {
        Ending::Published(manifest) => Ok(format!(
            "run {} is published: {} rows, {} files",
            manifest.run, manifest.rows, manifest.files.0
        )),
        Ending::Answered => Ok("the request was already answered".to_owned()),
        Ending::Recovered => Ok("the run is recovered".to_owned()),
        Ending::Failed(failure) => Err(failure),
        Ending::FinishedByAnother => {
            let tracking = &context.task.tracking;
            let table = TrackingTable::new(context.stores.dynamodb.clone(), tracking.table.clone());
            let key = outcome_key(&tracking.key, &context.task.owner.uid);
            let outcome: Option<OutcomeItem> = table.read(&key).await?;
            let result = outcome.and_then(|outcome| outcome.result);
            if result.is_some_and(|result| answers_complete(&result, &context.task)) {
                return Ok("another process published the run".to_owned());
            }
            Err(Failure::fenced(Reason::Fenced, "another process has claimed the source"))
        }
    }
}

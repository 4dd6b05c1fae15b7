//! `tidemark plan`: shows what a run would read, without writing anything.

use crds::tracking::{outcome_key, run_key};
use crds::{Reason, RunId};
use serde_json::json;
use uuid::Uuid;
use worker_core::encoding::batches::Parallelism;
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::layout::manifests::{Pointer, SourceIdentity};
use worker_core::layout::shown;
use worker_core::planning::plan::{CONTROL_VERSION, Plan};
use worker_core::protocol::ObservedItems;
use worker_core::protocol::claim_rules::{Claim, claim};
use worker_core::sql::rows::read_statement;

use crate::base::pause::Pause;
use crate::cli::errors::CommandError;
use crate::cli::local::{listen, local_context, memory};
use crate::cli::manifest::task_in;
use crate::cli::settings;
use crate::cli::terminal::print;
use crate::extraction::extract::{parallelism, readers_asked};
use crate::planning::published::Published;
use crate::publishing::durations::Durations;
use crate::stores::control::Control;
use crate::stores::tracking::TrackingTable;

/// Plans as a run does, and prints the plan as text or JSON.
///
/// # Errors
/// As CLAIM and PLAN of a run.
pub async fn plan(wanted: &settings::Plan, durations: Durations) -> Result<String, CommandError> {
    let task = task_in(&wanted.manifest)?;
    let (stores, login) = local_context(&wanted.database, &task, durations).await?;
    let table = TrackingTable::new(stores.dynamodb.clone(), task.tracking.table.clone());
    let control = Control::new(stores.s3.clone(), &task.spec.output.uri)?;
    let key = &task.tracking.key;
    let identity: Option<(SourceIdentity, String)> = control.read(&control.prefix.source()).await?;
    let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
    let observed = ObservedItems {
        now: jiff::Timestamp::now().as_second(),
        run: table.read(&run_key(key)).await?,
        watermark_item: table.read(key).await?,
        outcome: table.read(&outcome_key(key, &task.owner.uid)).await?,
        owner_outcome: None,
        pointer: pointer.map(|(pointer, _)| pointer),
        own_identity: SourceIdentity {
            version: CONTROL_VERSION,
            tracking: table.place().await?,
            table: task.tracking.table.clone(),
            source: key.clone(),
        },
        identity: identity.map(|(identity, _)| identity),
    };
    let order = match claim(&task, &observed, RunId(Uuid::now_v7()), 0) {
        Claim::Write(claimed) => claimed.order,
        Claim::Refused(failure) => return Err(failure.into()),
        Claim::Answered | Claim::FinishFirst | Claim::CleanupFirst => {
            return Err(Failure::transient(
                Reason::Committing,
                "another run of this source is being published",
                "Run the command again in a few seconds.",
            )
            .into());
        }
    };
    let published = Published::of(&stores.s3, &task.spec.output.uri, order.head.as_ref()).await?;
    let points = Pause::default().points();
    // the requests before this line end with the process
    let stop = listen(&task)?;
    let inputs = (&published, &points as crate::base::pause::PausePoints<'_>);
    let snapshot_session =
        crate::planning::planner::open_until(&login, &task.spec, &order, inputs, stop.stopped());
    let snapshot_session = Box::pin(snapshot_session).await?;
    let (asked, budget) = (readers_asked(&task.spec), memory(&wanted.memory));
    let readers = parallelism(&snapshot_session.plan, asked, budget);
    let snapshot_session = snapshot_session
        .align((&login, &task.spec.extract), readers.readers, stop.stopped())
        .await?;
    let plan = snapshot_session.plan.clone();
    snapshot_session.release().await;
    let readers = parallelism(&plan, asked, budget);
    if wanted.json {
        show_json(&plan, &readers)?;
    } else {
        shown::lines(&plan)?.iter().try_for_each(|line| print(line))?;
        let Parallelism { readers, reason } = readers;
        print(&format!("readers    {readers} partitions at a time in one process: {reason}"))?;
    }
    Ok(format!("planned {} partitions", plan.partitions.len()))
}

/// Prints the whole plan and the statement of its first partition as JSON.
fn show_json(plan: &Plan, readers: &Parallelism) -> Result<(), Failure> {
    let unreadable =
        |_| Failure::permanent(Reason::Internal, "cannot write the plan as JSON", REPORT);
    let mut said = serde_json::to_value(plan).map_err(unreadable)?;
    if let Some(partition) = plan.partitions.first() {
        said["statement"] = read_statement(plan, partition)?.into();
    }
    said["readers"] = json!({ "inOneProcess": readers.readers, "reason": readers.reason });
    print(&serde_json::to_string_pretty(&said).map_err(unreadable)?)
}

//! `tidemark plan`: what a run would do, without writing anything.

use crds::tracking::{outcome_key, run_key};
use crds::{Reason, RunId};
use serde_json::json;
use uuid::Uuid;
use worker_core::encoding::batches::Parallelism;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{Pointer, SourceIdentity};
use worker_core::layout::shown;
use worker_core::planning::plan::{CONTROL_VERSION, Plan};
use worker_core::protocol::Seen;
use worker_core::protocol::claim_rules::{Claim, claim};
use worker_core::sql::rows::read_statement;

use crate::base::pause::Pause;
use crate::cli::local::{listen, local_task, local_world, memory};
use crate::cli::settings::Local;
use crate::cli::terminal::print;
use crate::extraction::extract::{parallelism, readers_asked};
use crate::planning::published::Published;
use crate::publishing::durations::Durations;
use crate::stores::control::Control;
use crate::stores::tracking::TrackingTable;

/// Asks the database as a run would, and prints what it would read: for people, or as JSON.
///
/// # Errors
/// As CLAIM and PLAN of a run.
pub async fn plan(local: &Local, json: bool, durations: Durations) -> Result<String, Failure> {
    let task = local_task(local)?;
    let (stores, login) = local_world(local, &task, durations).await?;
    let table = TrackingTable::new(stores.dynamodb.clone(), task.tracking.table.clone());
    let control = Control::new(stores.s3.clone(), &task.spec.output.uri)?;
    let key = &task.tracking.key;
    let identity: Option<(SourceIdentity, String)> = control.read(&control.prefix.source()).await?;
    let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
    let seen = Seen {
        now: jiff::Timestamp::now().as_second(),
        run: table.read(&run_key(key)).await?,
        legacy: table.read(key).await?,
        outcome: table.read(&outcome_key(key, &task.owner.uid)).await?,
        holder_outcome: None,
        pointer: pointer.map(|(pointer, _)| pointer),
        own_identity: SourceIdentity {
            version: CONTROL_VERSION,
            tracking: table.place().await?,
            table: task.tracking.table.clone(),
            source: key.clone(),
        },
        identity: identity.map(|(identity, _)| identity),
    };
    let order = match claim(&task, &seen, RunId(Uuid::now_v7()), 0) {
        Claim::Write(claimed) => claimed.order,
        Claim::Refused(failure) => return Err(failure),
        Claim::Answered | Claim::CarryFirst | Claim::TidyFirst => {
            return Err(Failure::transient(
                Reason::Committing,
                "a run of this source is being published; plan again in a moment",
                "",
            ));
        }
    };
    let published = Published::of(&stores.s3, &task.spec.output.uri, order.head.as_ref()).await?;
    let points = Pause::default().points();
    // from here on: what is asked of the stores before ends with the process
    let stop = listen(&task)?;
    let told = (&published, &points as crate::base::pause::PausePoints<'_>);
    let holder =
        crate::planning::planner::open_until(&login, &task.spec, &order, told, stop.stopped());
    let holder = Box::pin(holder).await?;
    let (asked, budget) = (readers_asked(&task.spec), memory(&local.process));
    let readers = parallelism(&holder.plan, asked, budget);
    let holder =
        holder.align((&login, &task.spec.extract), readers.readers, stop.stopped()).await?;
    let plan = holder.plan.clone();
    holder.release().await;
    let readers = parallelism(&plan, asked, budget);
    if json {
        show_json(&plan, &readers)?;
    } else {
        shown::lines(&plan)?.iter().try_for_each(|line| print(line))?;
        let Parallelism { readers, reason } = readers;
        print(&format!("readers    {readers} partitions at a time in one process: {reason}"))?;
    }
    Ok(format!("planned {} ranges", plan.ranges.len()))
}

/// The whole plan, and the statement of its first range, as JSON.
fn show_json(plan: &Plan, readers: &Parallelism) -> Result<(), Failure> {
    let unreadable = |_| Failure::permanent(Reason::Internal, "the plan is no JSON", "report this");
    let mut said = serde_json::to_value(plan).map_err(unreadable)?;
    if let Some(range) = plan.ranges.first() {
        said["statement"] = read_statement(plan, range)?.into();
    }
    said["readers"] = json!({ "inOneProcess": readers.readers, "reason": readers.reason });
    print(&serde_json::to_string_pretty(&said).map_err(unreadable)?)
}

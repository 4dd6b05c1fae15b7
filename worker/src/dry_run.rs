//! `tidemark plan`: what a run would do, without writing anything.

use std::io::Write;

use crds::extract_job::Consistency;
use crds::source::Engine;
use crds::status::FidelityCounts;
use crds::tracking::{outcome_key, run_key};
use crds::{Reason, RunId};
use uuid::Uuid;
use worker_core::columns::Column;
use worker_core::commits::Seen;
use worker_core::commits::claim::{Claim, claim};
use worker_core::consistency;
use worker_core::error::Failure;
use worker_core::fidelity;
use worker_core::manifests::{Pointer, SourceIdentity};
use worker_core::plan::{CONTROL_VERSION, Plan};
use worker_core::ranges::{KeyRange, Part};
use worker_core::rows::read_statement;

use crate::control::Control;
use crate::durations::Durations;
use crate::extract::ranges_at_once;
use crate::pause::Pause;
use crate::run::{local_task, local_world};
use crate::settings::Local;
use crate::tracking::TrackingTable;

/// Prints one line on standard output.
///
/// # Errors
/// `OutputFailed` where it cannot be written (a full disk); a closed pipe is the reader's wish.
pub fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::transient(
            Reason::OutputFailed,
            format!("standard output cannot be written: {}", error.kind()),
            "make room where it goes to; nothing of the tracking table and S3 is lost by it",
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Asks the database as a run would, and prints what it would read.
///
/// # Errors
/// As CLAIM and PLAN of a run.
pub async fn plan(local: &Local, durations: Durations) -> Result<String, Failure> {
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
    let (published, points) = (control.columns().await?, Pause::default().points());
    let holder =
        Box::pin(crate::bounds::open(&login, &task.spec, &order, published.as_deref(), &points))
            .await?
            .align(&login, ranges_at_once(&task.spec))
            .await?;
    show(&holder.plan)?;
    Ok(format!("planned {} ranges", holder.plan.ranges.len()))
}

fn show(plan: &Plan) -> Result<(), Failure> {
    print(&format!("table      {}", plan.table))?;
    print(&format!("mode       {:?}", plan.mode))?;
    let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "-".to_owned());
    let window = &plan.window;
    let guard = window.guard.map_or_else(|| "-".to_owned(), |guard| format!("{guard:?}"));
    print(&format!(
        "window     low {} high {} guard {}{}",
        bound(&window.low),
        bound(&window.high),
        guard.to_lowercase(),
        if window.empty { " (nothing to take)" } else { "" }
    ))?;
    if let Some(filter) = &plan.filter {
        print(&format!("where      {filter}"))?;
    }
    print(&format!("rows       {} in the table, estimated", plan.estimated_rows))?;
    let FidelityCounts { exact, widened, string, lossy } = fidelity::counts(&plan.columns);
    let kept = format!("{exact} exact, {widened} widened, {string} string, {lossy} lossy");
    print(&format!("columns    {}: {kept}", plan.columns.len()))?;
    for column in &plan.columns {
        let Column { name, type_name, target, reason, .. } = column;
        let (target, kept) = (target.to_string(), column.fidelity().name());
        let line = format!("  {name:<30} {type_name:<30} {target:<24} {kept:<8} {reason}");
        print(line.trim_end())?;
    }
    for name in plan.shape.columns.names() {
        print(&format!("  {name:<30} {:<30} added", ""))?;
    }
    if !plan.shape.partition_by.is_empty() {
        let sorted = if plan.shape.sorted { "; the database sorts the rows by them" } else { "" };
        print(&format!("folders    by {}{sorted}", plan.shape.partition_by.join(", ")))?;
    }
    show_ranges(plan)?;
    if let Some(range) = plan.ranges.first() {
        print(&format!("statement  {}", read_statement(plan, range)?))?;
    }
    for warning in &plan.warnings {
        print(&format!("warning    {warning}"))?;
    }
    Ok(())
}

fn show_ranges(plan: &Plan) -> Result<(), Failure> {
    if let Some(how) = &plan.partitioning {
        let names: Vec<_> = how.columns.iter().map(|column| format!("{:?}", column.name)).collect();
        let by = if names.is_empty() { String::new() } else { format!(" by {}", names.join(", ")) };
        let skew = how.predicted_skew.as_deref().unwrap_or("unknown");
        print(&format!("partition  {}{by}, predicted skew {skew}", how.strategy.name()))?;
        print(&format!("why        {}", how.reason))?;
    }
    let instant = match (consistency::held(plan), &plan.snapshot) {
        (Consistency::Snapshot, Some(point)) if plan.engine == Engine::Mysql => {
            format!("snapshot: one pod reads all ranges, as of {point} in the binary log")
        }
        (held, _) => held.name().to_owned(),
    };
    print(&format!("consistent {instant}"))?;
    print(&format!("ranges     {}", plan.ranges.len()))?;
    for (index, range) in plan.ranges.iter().enumerate() {
        print(&format!("  {index:<4} {}", shown(range)))?;
    }
    Ok(())
}

fn shown(range: &KeyRange) -> String {
    let bound = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "-".to_owned());
    match range.part {
        Some(Part::Nulls) => "NULL".to_owned(),
        Some(Part::Hash { class, classes }) => format!("hash class {class} of {classes}"),
        Some(Part::Blocks { first, end }) => {
            let end = end.map_or_else(|| "-".to_owned(), |end| end.to_string());
            format!("blocks {first} to below {end}")
        }
        None => {
            let nulls = if range.nulls { " and NULL" } else { "" };
            format!("from {} to below {}{nulls}", bound(&range.from), bound(&range.to))
        }
    }
}

//! In: the tracking items of one source, a human's wish. Out: the stored watermark, shown or moved.
//! Bound: two reads, one transaction. Fails: what [`worker_core::protocol::watermark::set`] names.

use crds::Reason;
use crds::tracking::{LegacyItem, RunItem, run_key};
use serde_json::json;
use worker_core::errors::failure::Failure;
use worker_core::protocol::Reply;
use worker_core::protocol::watermark::{Wish, set};

use crate::cli::local::{local_stores, local_task};
use crate::cli::settings::{WatermarkCommand, WatermarkMove};
use crate::cli::terminal::print;
use crate::publishing::durations::Durations;
use crate::stores::tracking::TrackingTable;

/// Shows or moves the watermark that a manifest's source has.
///
/// # Errors
/// As the module says; `RevisionChanged` too where somebody else was faster.
pub async fn watermark(
    command: &WatermarkCommand,
    durations: Durations,
) -> Result<String, Failure> {
    let (local, moved) = match command {
        WatermarkCommand::Get(local) => (local, None),
        WatermarkCommand::Set(moved) => (&moved.local, Some((moved, false))),
        WatermarkCommand::Rewind(moved) => (&moved.local, Some((moved, true))),
    };
    let task = local_task(local)?;
    let stores = local_stores(&task, durations).await?;
    let table = TrackingTable::new(stores.dynamodb, task.tracking.table.clone());
    let key = &task.tracking.key;
    if let Some((moved, rewind)) = moved {
        move_to(&table, key, moved, rewind).await?;
    }
    let run: Option<RunItem> = table.read(&run_key(key)).await?;
    let legacy: Option<LegacyItem> = table.read(key).await?;
    let shown = json!({
        "source": key,
        "rev": run.as_ref().map_or(0, |run| run.rev),
        "watermark": legacy.as_ref().and_then(|legacy| legacy.lwm_value.clone()),
        "high": legacy.as_ref().and_then(|legacy| legacy.hwm_value.clone()),
        "column": legacy.as_ref().and_then(|legacy| legacy.hwm_col_name.clone()),
        "type": legacy.as_ref().and_then(|legacy| legacy.hwm_column_type.clone()),
        "successful": legacy.as_ref().and_then(|legacy| legacy.extract_successful.clone()),
        "state": run.as_ref().map(|run| run.state),
        "run": run.as_ref().map(|run| run.run),
        "owed": run.as_ref().and_then(|run| run.owed.clone()),
        "set": run.as_ref().and_then(|run| run.set.clone()),
    });
    print(&shown.to_string())?;
    Ok(if moved.is_some() { "the watermark was moved" } else { "the watermark was read" }
        .to_owned())
}

async fn move_to(
    table: &TrackingTable,
    key: &str,
    moved: &WatermarkMove,
    rewind: bool,
) -> Result<(), Failure> {
    let run: Option<RunItem> = table.read(&run_key(key)).await?;
    let legacy: Option<LegacyItem> = table.read(key).await?;
    let wish = Wish { rev: moved.rev, to: moved.value.clone(), by: moved.by.clone(), rewind };
    let now = jiff::Timestamp::now().as_second();
    match table.write(&set(run.as_ref(), legacy.as_ref(), &wish, now)?).await? {
        Reply::Done => Ok(()),
        Reply::Refused | Reply::Gone | Reply::Kept(_) => Err(Failure::permanent(
            Reason::RevisionChanged,
            "somebody else wrote the tracking items meanwhile",
            "look again with `tidemark watermark get`",
        )),
    }
}

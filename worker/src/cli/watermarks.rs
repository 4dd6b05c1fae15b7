//! In: the tracking items of one source, and a value that a person gives. Out: the stored watermark, printed or
//! changed. Bound: two reads, one transaction. Fails: as [`worker_core::protocol::watermark::set`].

use crds::Reason;
use crds::tracking::{RunItem, WatermarkItem, run_key};
use serde_json::json;
use worker_core::errors::failure::Failure;
use worker_core::protocol::Reply;
use worker_core::protocol::watermark::{WatermarkRequest, set};

use crate::cli::errors::CommandError;
use crate::cli::local::local_stores;
use crate::cli::manifest::task_in;
use crate::cli::settings::{WatermarkCommand, WatermarkMove};
use crate::cli::terminal::print;
use crate::publishing::durations::Durations;
use crate::stores::tracking::TrackingTable;

/// Prints or changes the stored watermark of a source.
///
/// # Errors
/// As the module says, and `RevisionChanged` if the items changed meanwhile.
pub async fn watermark(
    command: &WatermarkCommand,
    durations: Durations,
) -> Result<String, CommandError> {
    let (manifest, moved) = match command {
        WatermarkCommand::Get(manifest) => (manifest, None),
        WatermarkCommand::Set(moved) => (&moved.manifest, Some((moved, false))),
        WatermarkCommand::Rewind(moved) => (&moved.manifest, Some((moved, true))),
    };
    let task = task_in(manifest)?;
    let stores = local_stores(&task, durations).await?;
    let table = TrackingTable::new(stores.dynamodb, task.tracking.table.clone());
    let key = &task.tracking.key;
    if let Some((moved, rewind)) = moved {
        move_to(&table, key, moved, rewind).await?;
    }
    let run: Option<RunItem> = table.read(&run_key(key)).await?;
    let watermark_item: Option<WatermarkItem> = table.read(key).await?;
    let shown = json!({
        "source": key,
        "revision": run.as_ref().map_or(0, |run| run.revision),
        "watermark": watermark_item.as_ref().and_then(|watermark_item| watermark_item.lwm_value.clone()),
        "high": watermark_item.as_ref().and_then(|watermark_item| watermark_item.hwm_value.clone()),
        "column": watermark_item.as_ref().and_then(|watermark_item| watermark_item.hwm_col_name.clone()),
        "type": watermark_item.as_ref().and_then(|watermark_item| watermark_item.hwm_column_type.clone()),
        "successful": watermark_item.as_ref().and_then(|watermark_item| watermark_item.extract_successful.clone()),
        "state": run.as_ref().map(|run| run.state),
        "run": run.as_ref().map(|run| run.run),
        "pendingWindow": run.as_ref().and_then(|run| run.pending_window.clone()),
        "set": run.as_ref().and_then(|run| run.set.clone()),
    });
    print(&shown.to_string())?;
    Ok(if moved.is_some() { "watermark changed" } else { "watermark read" }.to_owned())
}

async fn move_to(
    table: &TrackingTable,
    key: &str,
    moved: &WatermarkMove,
    rewind: bool,
) -> Result<(), Failure> {
    let run: Option<RunItem> = table.read(&run_key(key)).await?;
    let watermark_item: Option<WatermarkItem> = table.read(key).await?;
    let request = WatermarkRequest {
        revision: moved.revision,
        to: moved.value.clone(),
        by: moved.by.clone(),
        rewind,
    };
    let now = jiff::Timestamp::now().as_second();
    match table.write(&set(run.as_ref(), watermark_item.as_ref(), &request, now)?).await? {
        Reply::Done => Ok(()),
        Reply::Refused | Reply::Gone | Reply::Locked(_) => Err(Failure::permanent(
            Reason::RevisionChanged,
            "the tracking items changed since they were read",
            "Run `tidemark watermark get` again, and use the revision that it prints.",
        )),
    }
}

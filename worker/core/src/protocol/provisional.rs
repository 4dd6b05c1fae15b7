//! What CLAIM wrote into the watermark item for runs that published nothing: a corrected manifest takes its place, so that
//! following the remedy of a refused first run works.

use crds::Task;
use crds::extract_job::WatermarkType;
use crds::tracking::{Provisional, WatermarkItem};

use super::observed::ObservedItems;
use super::transitions::pending_window_after;

/// Whether the stored watermark is not of the column and type that the task names.
pub(super) fn is_of_another(task: &Task, watermark_item: &WatermarkItem) -> bool {
    let Some(watermark) = &task.spec.extract.watermark else { return false };
    let column = watermark_item.hwm_col_name.as_deref().filter(|name| !name.is_empty());
    let value_type = watermark_item.hwm_column_type.as_deref().and_then(WatermarkType::parse);
    column.is_some_and(|column| {
        column != watermark.column || value_type.is_some_and(|known| known != watermark.value_type)
    })
}

/// What of the watermark item the task's own words replace: what CLAIM made of earlier tasks' words with nothing published,
/// unless somebody else wrote since, or a window of this very column is pending.
pub(super) fn replaced(task: &Task, observed: &ObservedItems) -> Option<Provisional> {
    let (run, watermark_item) = (observed.run.as_ref()?, observed.watermark_item.as_ref()?);
    let made = made(observed, watermark_item)?;
    let pending_window = pending_window_after(run, Some(watermark_item)).is_some();
    (!pending_window || is_of_another(task, watermark_item)).then_some(made)
}

/// The watermark item, or where it is gone the copy of it.
pub(super) fn stored(observed: &ObservedItems) -> Option<&WatermarkItem> {
    observed.watermark_item.as_ref().or_else(|| observed.run.as_ref()?.watermark_item.as_ref())
}

pub(super) fn has_no_column(watermark_item: &WatermarkItem) -> bool {
    watermark_item.hwm_col_name.as_deref().unwrap_or_default().is_empty()
}

/// What CLAIM makes of the watermark item, or made of it before.
pub(super) fn provisional(observed: &ObservedItems) -> Option<Provisional> {
    let Some(watermark_item) = stored(observed) else { return Some(Provisional::Item) };
    made(observed, watermark_item)
        .or_else(|| has_no_column(watermark_item).then_some(Provisional::Column))
}

/// What CLAIM made of the watermark item before; nothing where somebody else wrote since.
fn made(observed: &ObservedItems, watermark_item: &WatermarkItem) -> Option<Provisional> {
    let run = observed.run.as_ref()?;
    run.provisional.filter(|_| run.watermark_item.as_ref() == Some(watermark_item))
}

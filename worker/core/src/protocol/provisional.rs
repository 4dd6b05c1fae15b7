//! What CLAIM wrote into `L` for runs that published nothing: a corrected manifest takes its place, so that
//! following the remedy of a refused first run works.

use crds::Task;
use crds::extract_job::WatermarkType;
use crds::tracking::{LegacyItem, Provisional};

use super::observed::ObservedItems;
use super::transitions::pending_window_after;

/// Whether the stored watermark is not of the column and type that the task names.
pub(super) fn is_of_another(task: &Task, legacy: &LegacyItem) -> bool {
    let Some(watermark) = &task.spec.extract.watermark else { return false };
    let column = legacy.hwm_col_name.as_deref().filter(|name| !name.is_empty());
    let value_type = legacy.hwm_column_type.as_deref().and_then(WatermarkType::parse);
    column.is_some_and(|column| {
        column != watermark.column || value_type.is_some_and(|known| known != watermark.value_type)
    })
}

/// What of `L` the task's own words replace: what CLAIM made of earlier tasks' words with nothing published,
/// unless somebody else wrote since, or a window of this very column is pending.
pub(super) fn replaced(task: &Task, observed: &ObservedItems) -> Option<Provisional> {
    let (run, legacy) = (observed.run.as_ref()?, observed.legacy.as_ref()?);
    let made = made(observed, legacy)?;
    let pending_window = pending_window_after(run, Some(legacy)).is_some();
    (!pending_window || is_of_another(task, legacy)).then_some(made)
}

/// `L`, or where it is gone the copy of it.
pub(super) fn stored(observed: &ObservedItems) -> Option<&LegacyItem> {
    observed.legacy.as_ref().or_else(|| observed.run.as_ref()?.legacy.as_ref())
}

pub(super) fn has_no_column(legacy: &LegacyItem) -> bool {
    legacy.hwm_col_name.as_deref().unwrap_or_default().is_empty()
}

/// What CLAIM makes of `L`, or made of it before.
pub(super) fn provisional(observed: &ObservedItems) -> Option<Provisional> {
    let Some(legacy) = stored(observed) else { return Some(Provisional::Item) };
    made(observed, legacy).or_else(|| has_no_column(legacy).then_some(Provisional::Column))
}

/// What CLAIM made of `L` before; nothing where somebody else wrote since.
fn made(observed: &ObservedItems, legacy: &LegacyItem) -> Option<Provisional> {
    let run = observed.run.as_ref()?;
    run.provisional.filter(|_| run.legacy.as_ref() == Some(legacy))
}

//! What people should know about a plan.

use crds::tracking::{Mode, Window};
use worker_core::decoding::columns::{Target, differ_by_case};
use worker_core::layout::shown;
use worker_core::planning::plan::PlanOrder;
use worker_core::sql::rows;

use crate::source::table::SourceTable;

/// The warnings of a plan, after those of its guard.
pub(super) fn warnings(
    source_table: &SourceTable,
    order: &PlanOrder,
    window: &Window,
    mut warnings: Vec<String>,
) -> Vec<String> {
    let as_text = source_table.columns.iter().filter(|column| column.target == Target::AsText);
    let as_text: Vec<_> =
        as_text.map(|column| format!("{} ({})", column.name, column.type_name)).collect();
    if let Some(why) = &source_table.unproven.snapshot {
        warnings.push(format!("the partitions are not read from one consistent snapshot: {why}"));
    }
    if !as_text.is_empty() {
        warnings.push(format!(
            "these columns are written as text, in the form that the database prints: {}",
            shown::few(&as_text)
        ));
    }
    let alike = differ_by_case(&source_table.columns);
    if !alike.is_empty() {
        warnings.push(format!(
            "many readers treat these columns as one because their names differ only in case: {}",
            shown::few(&alike)
        ));
    }
    if order.mode == Mode::FE && rows::bounds_rows(order.mode, window) {
        warnings.push(
            "the given watermark values limit the full extract, as the legacy job's documentation says; the \
             legacy job's code ignored them"
                .to_owned(),
        );
    }
    warnings
}

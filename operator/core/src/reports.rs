//! What an object says while a run is in flight.

use crds::extract_job::Consistency;
use crds::source::Engine;
use crds::{ExtractJobSpec, Reason, Report};

/// What is said while the coordinator plans.
pub(crate) fn planning_report(attempt: u32) -> Report {
    Report::new(
        Reason::Planning,
        format!("attempt {attempt}: the coordinator claims the source and plans"),
        "",
    )
}

/// What is said while rows are read.
pub(crate) fn reading_report(spec: &ExtractJobSpec) -> Report {
    let aligned = match spec.extract.consistency {
        Some(consistency) => consistency == Consistency::Snapshot,
        None => spec.extract.partition.is_none(),
    };
    let message = if aligned && spec.source.engine == Engine::Mysql {
        "rows are being read, all partitions by the coordinator"
    } else {
        "rows are being read"
    };
    Report::new(Reason::Extracting, message, "")
}

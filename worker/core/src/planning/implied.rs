//! In: a manifest without `extract.partition`, what the catalog and the server say. Out: how its table may be divided:
//! as by `auto`, but only into partitions that together show what one statement shows. Bound: one plan. Fails: never.

use crds::Reason;
use crds::extract_job::{Consistency, Extract, Partition, Strategy};

use crate::errors::failure::Failure;
use crate::planning::consistency::OTHERWISE;
use crate::planning::partitioning::Partitioning;
use crate::planning::partitions::PlannedPartition;
use crate::planning::plan::Plan;
use crate::planning::relations::Unproven;

/// How a user asks for partitions that are read at different times.
const SEVERAL: &str = "For several partitions that are read at different times, set \
    extract.partition.strategy: auto and extract.consistency: perPartition.";

/// What stands in for the partition that the manifest does not have.
pub const fn partition() -> Partition {
    Partition {
        column: None,
        lower_bound: None,
        upper_bound: None,
        count: None,
        strategy: Some(Strategy::Auto),
        rebalance: None,
    }
}

/// Why the table is one partition on any server, however large it is.
pub fn why_one(extract: &Extract, unproven: &Unproven) -> Option<String> {
    if extract.consistency == Some(Consistency::PerPartition) {
        return Some(
            "with extract.consistency: perPartition, several partitions would show the table at different times"
                .to_owned(),
        );
    }
    let why = unproven.snapshot.as_ref()?;
    Some(format!("several partitions would not share a consistent snapshot: {why}"))
}

/// Whether one partition can be read although sessions with the same snapshot could not be started: the server or the
/// database user does not allow it, or does not allow that many sessions.
pub fn falls_back(failure: &Failure) -> bool {
    matches!(
        failure.report.reason,
        Reason::SnapshotUnavailable | Reason::DatabaseDenied | Reason::DatabaseUnreachable
    )
}

/// Why sessions with the same snapshot could not be started, and what would allow it.
pub fn why_not_together(failure: &Failure) -> String {
    let remedy = failure.report.remedy.split(OTHERWISE).next().unwrap_or_default();
    let message = &failure.report.message;
    if remedy.is_empty() { message.clone() } else { format!("{message}. {remedy}") }
}

/// How one partition is described.
pub fn one(why: &str) -> Partitioning {
    Partitioning {
        strategy: Strategy::None,
        columns: Vec::new(),
        reason: why.to_owned(),
        predicted_skew: None,
    }
}

/// What people should know about a large table that is one partition.
pub fn warning(why: &str) -> String {
    let why = why.trim_end_matches('.');
    format!("the table is read as one partition: {why}. {SEVERAL}")
}

/// Makes one partition of a plan that has several.
pub fn make_one(plan: &mut Plan, why: &str) {
    plan.partitions = vec![PlannedPartition::whole()];
    plan.partition_column = None;
    plan.partitioning = Some(one(why));
    plan.warnings.push(warning(why));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::consistency::{BinaryLog, never_together};
    use crate::planning::partitioning::strategy;

    fn extract(fields: serde_json::Value) -> Extract {
        let mut extract = serde_json::json!({ "table": "t", "type": "FE" });
        if let (Some(all), serde_json::Value::Object(more)) = (extract.as_object_mut(), fields) {
            all.extend(more);
        }
        serde_json::from_value(extract).expect("an extract")
    }

    #[test]
    fn absent_partition_means_auto() {
        assert_eq!(strategy(&partition()), Strategy::Auto);
    }

    #[test]
    fn relation_without_proven_snapshot_is_one_partition() {
        let proven = Unproven::default();
        let foreign = Unproven { snapshot: Some("foreign table f".to_owned()), ..proven.clone() };
        for consistency in [None, Some("snapshot")] {
            let extract = extract(serde_json::json!({ "consistency": consistency }));
            assert_eq!(why_one(&extract, &proven), None);
            let why = why_one(&extract, &foreign).expect("one partition");
            assert!(why.contains("foreign table f"), "{why}");
        }
    }

    #[test]
    fn per_partition_consistency_is_one_partition() {
        let extract = extract(serde_json::json!({ "consistency": "perPartition" }));
        let why = why_one(&extract, &Unproven::default()).expect("one partition");
        assert!(why.contains("perPartition"), "{why}");
    }

    #[test]
    fn only_failures_that_one_partition_avoids_fall_back_to_it() {
        let silent = BinaryLog::default().check().expect_err("MySQL shows no position");
        assert!(falls_back(&silent) && falls_back(&never_together(4)));
        for reason in [Reason::DatabaseDenied, Reason::DatabaseUnreachable] {
            assert!(falls_back(&Failure::permanent(reason, "", "")), "{reason}");
        }
        assert!(!falls_back(&Failure::stopped()));
        // the table was altered, the definition is invalid: these are true of one partition too
        for reason in [Reason::DatabaseFailed, Reason::InvalidSpec, Reason::QueryFailed] {
            assert!(!falls_back(&Failure::transient(reason, "", "")), "{reason}");
        }
    }

    #[test]
    fn warning_names_reason_and_remedy_but_not_what_changes_nothing() {
        let user = BinaryLog {
            says: [("version", "11.8.3-MariaDB"), ("log_bin", "ON")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            tells: true,
            filters: None,
        };
        let why = why_not_together(&user.check().expect_err("a privilege is missing"));
        assert!(why.contains("GRANT BINLOG MONITOR"), "{why}");
        // alone it leaves one partition
        assert!(!why.contains(OTHERWISE), "{why}");
        let warning = warning(&why);
        assert!(warning.starts_with("the table is read as one partition: "), "{warning}");
        assert!(warning.contains("extract.partition.strategy: auto"), "{warning}");
    }
}

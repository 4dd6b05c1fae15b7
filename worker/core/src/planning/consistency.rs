//! In: the manifest, the table's storage engine, the server's binary log settings, and the positions at which
//! sessions began. Out: whether all partitions are read from one consistent snapshot. Bound: one check. Fails:
//! `SnapshotUnavailable` if the manifest requires a snapshot and nothing proves one.

mod binary_log;
mod refusal;
pub mod table_lock;

use crds::extract_job::{Consistency, Extract};
use crds::source::Engine;

use crate::errors::failure::Failure;
use crate::planning::plan::Plan;
use crate::planning::relations::Unproven;

pub use self::binary_log::{BinaryLog, never_together, one_point};
pub(crate) use self::refusal::OTHERWISE;
use self::refusal::unavailable;

/// What the manifest asks for, or the default. Sessions of MySQL rarely share a snapshot, so partitions that the
/// manifest asks for need none there. Partitions that it does not ask for always share one: see
/// [`crate::planning::implied`].
pub fn asked(extract: &Extract, engine: Engine) -> Consistency {
    extract.consistency.unwrap_or(match engine {
        Engine::Mysql if extract.partition.is_some() => Consistency::PerPartition,
        Engine::Postgres | Engine::Mysql => Consistency::Snapshot,
    })
}

/// The consistency of a plan. One partition is one statement, which sees a consistent snapshot in both databases, but
/// only of tables that keep snapshots, also through views.
pub fn reached(plan: &Plan) -> Consistency {
    if plan.unproven.is_none() && (plan.partitions.len() <= 1 || plan.snapshot.is_some()) {
        Consistency::Snapshot
    } else {
        Consistency::PerPartition
    }
}

/// Why a table of MySQL or MariaDB has no snapshots, by its kind (`TABLE_TYPE`) and storage engine; a
/// view does not show what lies below it. `None`: it has.
pub fn unproven_storage(kind: &str, storage: &str) -> Option<String> {
    match (kind, storage) {
        ("BASE TABLE" | "SYSTEM VERSIONED", "InnoDB") => None,
        ("VIEW", _) | (_, "") => {
            Some("a view does not show which storage engine the tables below it use".to_owned())
        }
        ("BASE TABLE" | "SYSTEM VERSIONED", other) => Some(format!(
            "the table uses storage engine {other}, which has no consistent snapshots"
        )),
        (other, _) => {
            let kind = other.to_lowercase();
            Some(format!("the table is a {kind}, which has no consistent snapshots"))
        }
    }
}

/// Checks that the relations that are read allow what the manifest requests; `unproven` has the reason if not.
///
/// # Errors
/// `SnapshotUnavailable` where `extract.consistency: snapshot` is written.
pub fn check_asked(extract: &Extract, unproven: &Unproven) -> Result<(), Failure> {
    match (extract.consistency, &unproven.snapshot) {
        (Some(Consistency::Snapshot), Some(why)) => {
            let remedy = if unproven.by_column {
                "Exclude the column with extract.excludeColumns and do not name it in extract.where, or \
                 declare it STORED"
            } else if unproven.by_condition {
                "Write extract.where with columns, literals, and functions and operators of the server \
                 only, without subqueries and without the current time"
            } else {
                "Set extract.table to a table that this server stores, or remove extract.consistency: \
                 snapshot"
            };
            Err(unavailable(why, remedy))
        }
        (Some(Consistency::Snapshot | Consistency::PerPartition) | None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crds::Reason;

    use super::*;

    #[test]
    fn only_innodb_tables_of_mysql_have_snapshots() {
        assert_eq!(unproven_storage("BASE TABLE", "InnoDB"), None);
        assert_eq!(unproven_storage("SYSTEM VERSIONED", "InnoDB"), None);
        for (kind, storage, word) in [
            ("BASE TABLE", "MyISAM", "MyISAM"),
            ("BASE TABLE", "FEDERATED", "FEDERATED"),
            ("SYSTEM VERSIONED", "Aria", "Aria"),
            ("VIEW", "", "view"),
            ("SEQUENCE", "InnoDB", "sequence"),
            ("SYSTEM VIEW", "MEMORY", "system view"),
        ] {
            let why = unproven_storage(kind, storage).expect(storage);
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn only_who_asks_for_a_snapshot_is_refused_where_it_is_not_proved() {
        let extract = |consistency: Option<&str>| -> Extract {
            let mut extract = serde_json::json!({ "table": "t", "type": "FE" });
            if let Some(consistency) = consistency {
                extract["consistency"] = consistency.into();
            }
            serde_json::from_value(extract).expect("extract")
        };
        let all = Unproven::default();
        let table = Unproven { snapshot: Some("foreign table f".to_owned()), ..all.clone() };
        for asked in [None, Some("snapshot"), Some("perPartition")] {
            assert_eq!(check_asked(&extract(asked), &all), Ok(()));
            for (unproven, remedy) in [
                (table.clone(), "Set extract.table to a table"),
                (
                    table.clone().with_condition("extract.where calls f"),
                    "Set extract.table to a table",
                ),
                (all.clone().with_condition("extract.where calls f"), "Write extract.where with"),
            ] {
                let refused = check_asked(&extract(asked), &unproven).err();
                assert_eq!(refused.is_some(), asked == Some("snapshot"), "{asked:?}");
                let Some(failure) = refused else { continue };
                assert_eq!(failure.report.reason, Reason::SnapshotUnavailable);
                assert!(failure.report.remedy.starts_with(remedy), "{failure}");
            }
        }
    }
}

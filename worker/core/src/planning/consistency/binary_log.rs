//! Whether sessions of MySQL began at one point of the binary log, which proves that their snapshots are
//! the same.

use std::collections::BTreeMap;

use crds::Reason;

use super::refusal::unavailable;
use crate::errors::failure::Failure;
use crate::planning::server::is_mariadb;

const SILENT: &str = "the server does not show the binary log position at which a snapshot started \
    (MariaDB and Percona Server do, MySQL does not)";

/// What a server says about the log whose position tells snapshots apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinaryLog {
    /// Its variables and counters, those of the names in
    /// [`crate::sql::rows::mysql_statements::LOG_VARIABLES`] that it has; names in lower case.
    pub says: BTreeMap<String, String>,
    /// Whether a session tells at which point of the log its snapshot began.
    pub tells: bool,
    /// The databases that are logged alone or left out; `None` where the user may not see them.
    pub filters: Option<String>,
}

impl BinaryLog {
    fn value(&self, name: &str) -> &str {
        self.says.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.value(name), "ON" | "1")
    }

    /// Whether every commit moves the log's position, so that two snapshots of one position are equal.
    /// What a session keeps out of the log by `sql_log_bin = 0` nobody can see.
    ///
    /// # Errors
    /// `SnapshotUnavailable`.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.tells && !is_mariadb(self.value("version")) {
            return Err(silent());
        }
        if !self.is_on("log_bin") {
            return Err(unavailable(
                "the server writes no binary log, so the positions of snapshots cannot be compared",
                "Turn on log_bin",
            ));
        }
        if !self.tells {
            return Err(silent());
        }
        // only MariaDB tells a user without rights whether it is a replica
        let applies = !is_mariadb(self.value("version"))
            || !self.value("gtid_slave_pos").is_empty()
            || !matches!(self.value("slaves_running"), "" | "0");
        if applies && !self.is_on("log_slave_updates") && !self.is_on("log_replica_updates") {
            return Err(unavailable(
                "the server is or may be a replica that does not log the changes that it applies",
                "Turn on log_slave_updates, or extract from the primary",
            ));
        }
        if matches!(self.value("binlog_order_commits"), "OFF" | "0") {
            return Err(unavailable(
                "the server commits in another order than that of its binary log",
                "Turn on binlog_order_commits",
            ));
        }
        if self.is_on("wsrep_on") {
            return Err(unavailable(
                "the server is a Galera cluster node, on which equal binary log positions do not prove \
                 equal snapshots",
                "Extract from a server that is not a node of a Galera cluster",
            ));
        }
        match &self.filters {
            Some(filters) if filters.is_empty() => Ok(()),
            Some(_) => Err(unavailable(
                "the server excludes databases from its binary log (binlog_do_db, binlog_ignore_db)",
                "Remove binlog_do_db and binlog_ignore_db",
            )),
            None => Err(unavailable(
                "the database user may not read whether databases are excluded from the binary log",
                "GRANT BINLOG MONITOR ON *.* (before MariaDB 10.5: REPLICATION CLIENT) to the database user",
            )),
        }
    }
}

/// The position of the log at which all sessions began; `None` if commits came in between.
///
/// # Errors
/// `SnapshotUnavailable` if a session does not show its position.
pub fn one_point(points: &[Option<String>]) -> Result<Option<&str>, Failure> {
    let known: Option<Vec<&str>> = points.iter().map(Option::as_deref).collect();
    let known = known.filter(|known| !known.is_empty()).ok_or_else(silent)?;
    Ok(known.iter().all(|point| *point == known[0]).then(|| known[0]))
}

/// The server does not show where a snapshot started.
fn silent() -> Failure {
    unavailable(
        SILENT,
        "Set extract.consistencyLock: brief (the run then locks the table, usually for a few milliseconds), \
         or use one partition",
    )
}

/// The sessions never began together.
pub fn never_together(sessions: usize) -> Failure {
    Failure::transient(
        Reason::SnapshotUnavailable,
        format!(
            "the snapshots of {sessions} sessions started at different positions of the binary log, because other \
             transactions committed in between"
        ),
        "Lower worker.parallelism, extract from a replica, or set extract.consistency: perPartition.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(says: &[(&str, &str)], filters: Option<&str>) -> BinaryLog {
        let mut all: BTreeMap<String, String> =
            BTreeMap::from([("log_bin".to_owned(), "ON".to_owned())]);
        all.extend(says.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        all.entry("version".to_owned()).or_insert_with(|| "10.11.6-MariaDB-log".to_owned());
        BinaryLog { says: all, tells: true, filters: filters.map(str::to_owned) }
    }

    fn refused(log: &BinaryLog) -> String {
        let failure = log.check().expect_err("refused");
        assert_eq!(failure.report.reason, Reason::SnapshotUnavailable);
        failure.report.message
    }

    #[test]
    fn a_log_counts_where_every_commit_moves_it() {
        assert_eq!(log(&[], Some("")).check(), Ok(()));
        assert!(refused(&log(&[("log_bin", "OFF")], Some(""))).contains("no binary log"));
        assert!(refused(&log(&[], Some("shop"))).contains("binlog_do_db"));
        assert!(refused(&log(&[], None)).contains("may not read"));
        assert!(refused(&log(&[("wsrep_on", "ON")], Some(""))).contains("Galera"));
        for replica in [("gtid_slave_pos", "0-1-7"), ("slaves_running", "1")] {
            assert!(refused(&log(&[replica], Some(""))).contains("replica"));
            let logs = log(&[replica, ("log_slave_updates", "ON")], Some(""));
            assert_eq!(logs.check(), Ok(()));
        }
        assert_eq!(log(&[("slaves_running", "0")], Some("")).check(), Ok(()));
        let silent = BinaryLog { tells: false, filters: None, ..log(&[], None) };
        assert!(refused(&silent).contains("MySQL does not"));
        let mysql = log(&[("version", "9.7.4-2"), ("log_bin", "OFF")], None);
        assert!(refused(&BinaryLog { tells: false, ..mysql }).contains("MySQL does not"));
    }

    #[test]
    fn percona_server_must_log_in_commit_order() {
        let percona = ("version", "8.0.36-28");
        assert!(refused(&log(&[percona], Some(""))).contains("replica"));
        let logs = ("log_replica_updates", "ON");
        assert_eq!(log(&[percona, logs], Some("")).check(), Ok(()));
        let unordered = log(&[percona, logs, ("binlog_order_commits", "OFF")], Some(""));
        assert!(refused(&unordered).contains("another order"));
    }

    #[test]
    fn sessions_are_aligned_where_all_report_one_point() {
        let points = |points: &[&str]| {
            points.iter().map(|point| Some((*point).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(one_point(&points(&["log.1:7", "log.1:7"])), Ok(Some("log.1:7")));
        assert_eq!(one_point(&points(&["log.1:7", "log.2:7"])), Ok(None));
        assert!(one_point(&[Some("log.1:7".to_owned()), None]).is_err());
        assert!(one_point(&[]).is_err());
    }
}

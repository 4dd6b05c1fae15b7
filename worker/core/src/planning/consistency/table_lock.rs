//! Whether sessions of MySQL that start their snapshots while another session locks the table see the same
//! rows of it, and what an answer to `LOCK TABLES` means.
//!
//! MySQL keeps a metadata lock of the table for each transaction that has written it, until the transaction has ended.
//! `LOCK TABLES ... READ` waits for all of them, and new writes wait for `UNLOCK TABLES`. `tests/consistency/lock.rs`
//! shows it on 8.0.15 and 9.7.4 for open transactions, prepared XA transactions and cascades of foreign keys.

use std::collections::BTreeMap;

use crds::Reason;
use crds::extract_job::{ConsistencyLock, Extract};

use super::refusal;
use crate::errors::failure::Failure;
use crate::errors::mysql::{self, Answer};
use crate::planning::server::is_mariadb;

/// What is done when the table is locked.
pub const LOCK: &str = "lock the table";
/// What is done before the table is unlocked.
pub const PROVE: &str = "check the table lock";
/// How often the lock is asked for, each time for 2 seconds.
pub const TRIES: u32 = 3;
/// `ER_LOCK_WAIT_TIMEOUT`.
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// `ER_DBACCESS_DENIED_ERROR`: how the server refuses `LOCK TABLES`.
const DATABASE_DENIED: u16 = 1044;
/// `ER_TABLEACCESS_DENIED_ERROR`: the same where the user may read some columns, or has no other privilege.
const TABLE_DENIED: u16 = 1142;
/// `ER_TABLE_NOT_LOCKED`.
const NOT_LOCKED: u16 = 1100;

/// Refuses the lock.
fn unavailable(message: &str, remedy: &str) -> Failure {
    refusal::refused(
        message,
        &format!(
            "{remedy}, or set extract.consistency: perPartition and remove extract.consistencyLock."
        ),
    )
}

/// How sessions of MySQL get the same snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// They start their snapshots until all have the same position of the binary log.
    BinaryLog,
    /// They start their snapshots while the table is locked.
    TableLock,
}

/// The method for a server of this version. MariaDB shows the position, so it needs no lock.
pub fn method(extract: &Extract, version: &str) -> Method {
    match extract.consistency_lock {
        Some(ConsistencyLock::Brief) if !is_mariadb(version) => Method::TableLock,
        Some(ConsistencyLock::Brief) | None => Method::BinaryLog,
    }
}

/// What a server says about writes that do not wait for the lock of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockFacts {
    /// Its variables of [`crate::sql::rows::mysql_statements::LOCK_VARIABLES`]; names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Whether the memcached plugin is active.
    pub memcached: bool,
    /// Whether a change of another table changes rows of the table by a foreign key.
    pub cascades: bool,
    /// Whether a prepared XA transaction whose session has ended stays open; false if the user may not see it.
    pub detached: bool,
}

impl LockFacts {
    fn is_on(&self, name: &str) -> bool {
        matches!(self.variables.get(name).map(String::as_str), Some("ON" | "1"))
    }

    /// Whether every write to a locked table waits.
    ///
    /// # Errors
    /// `SnapshotUnavailable`.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_on("innodb_read_only") {
            return Err(unavailable(
                "innodb_read_only is on (as on an Aurora reader), and changes that arrive from the writer do not wait for a \
                 table lock",
                "Extract from the writer",
            ));
        }
        if self.is_on("wsrep_on") {
            return Err(unavailable(
                "the server is a Galera cluster node, and changes from other nodes do not wait for a table \
                 lock",
                "Extract from a server that is not a node of a Galera cluster",
            ));
        }
        if self.cascades && self.is_on("read_only") {
            return Err(unavailable(
                "the server is a replica (read_only is on), and the table has a foreign key with CASCADE or SET NULL: \
                 changes that arrive from the primary through this key may not wait for a table lock",
                "Extract from the primary",
            ));
        }
        if self.memcached {
            return Err(unavailable(
                "the memcached plugin (daemon_memcached) is active, and its writes do not wait for a table lock",
                "Uninstall the plugin",
            ));
        }
        if self.detached {
            return Err(Failure::transient(
                Reason::SnapshotUnavailable,
                "a prepared XA transaction without a session is still open, and its table locks may be lost",
                "Commit or roll back the transaction (XA RECOVER lists it).",
            ));
        }
        Ok(())
    }
}

/// Whether to ask for the lock again, after the server refused it.
///
/// # Errors
/// `SnapshotUnavailable` (retryable) after the last try, `DatabaseDenied` without the privilege, and what
/// [`mysql::failure`] gives.
pub fn refused(answer: &Answer<'_>, tries_left: u32) -> Result<(), Failure> {
    match answer.number {
        LOCK_WAIT_TIMEOUT if tries_left > 0 => Ok(()),
        LOCK_WAIT_TIMEOUT => Err(Failure::transient(
            Reason::SnapshotUnavailable,
            format!(
                "the table could not be locked in {TRIES} tries of 2 seconds because transactions that \
                 write or alter it were open"
            ),
            "Run the extract at a time with fewer and shorter writing transactions, or set \
             extract.consistency: perPartition and remove extract.consistencyLock.",
        )),
        DATABASE_DENIED | TABLE_DENIED => Err(Failure::permanent(
            Reason::DatabaseDenied,
            "the database user lacks SELECT or LOCK TABLES on the table's database, which \
             extract.consistencyLock: brief needs",
            "GRANT SELECT, LOCK TABLES ON <database>.* TO the database user, or set extract.consistency: \
             perPartition and remove extract.consistencyLock.",
        )),
        _ => Err(mysql::failure(LOCK, answer)),
    }
}

/// A name of the server leads to several.
pub fn several_servers() -> Failure {
    Failure::transient(
        Reason::SnapshotUnavailable,
        "the sessions are connected to different servers, and a table lock applies to only one of them",
        "Set source.host to a name that resolves to one server.",
    )
}

/// Whether the answer to [`crate::sql::rows::mysql_statements::proves_lock`] shows the lock. `None`: rows came.
///
/// # Errors
/// `SnapshotUnavailable`, and what [`mysql::failure`] gives for any other error.
pub fn proven(answer: Option<&Answer<'_>>) -> Result<(), Failure> {
    match answer {
        Some(Answer { number: NOT_LOCKED, .. }) => Ok(()),
        Some(answer) => Err(mysql::failure(PROVE, answer)),
        None => Err(unavailable(
            "the table lock could not be verified: a proxy may be between Tidemark and the server, or the server \
             ignores LOCK TABLES",
            "Set source.host to the MySQL server itself",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::mysql as settings;
    use crate::sql::rows::mysql_statements;

    fn extract(lock: bool) -> Extract {
        let mut extract =
            serde_json::json!({ "table": "t", "type": "FE", "consistency": "snapshot" });
        if lock {
            extract["consistencyLock"] = "brief".into();
        }
        serde_json::from_value(extract).expect("extract")
    }

    fn answer(number: u16) -> Answer<'static> {
        Answer { number, state: "HY000", message: "" }
    }

    #[test]
    fn table_is_locked_on_mysql_only_and_only_where_the_manifest_asks_for_it() {
        for (lock, version, expected) in [
            (true, "8.0.15", Method::TableLock),
            (true, "9.7.4-2", Method::TableLock),
            (true, "8.0.36-28", Method::TableLock),
            (true, "10.11.6-MariaDB-log", Method::BinaryLog),
            (false, "9.7.4-2", Method::BinaryLog),
            (false, "10.11.6-MariaDB-log", Method::BinaryLog),
        ] {
            assert_eq!(method(&extract(lock), version), expected, "{lock} {version}");
        }
    }

    #[test]
    fn server_with_writes_that_do_not_wait_for_the_lock_is_refused() {
        let variables = |name: &str, value: &str| LockFacts {
            variables: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..LockFacts::default()
        };
        assert_eq!(LockFacts::default().check(), Ok(()));
        assert_eq!(variables("read_only", "ON").check(), Ok(()));
        for off in ["OFF", "0"] {
            assert_eq!(variables("innodb_read_only", off).check(), Ok(()));
            assert_eq!(variables("wsrep_on", off).check(), Ok(()));
            let cascades = LockFacts { cascades: true, ..variables("read_only", off) };
            assert_eq!(cascades.check(), Ok(()));
        }
        for (facts, word) in [
            (variables("innodb_read_only", "ON"), "innodb_read_only"),
            (variables("innodb_read_only", "1"), "innodb_read_only"),
            (variables("wsrep_on", "ON"), "Galera"),
            (LockFacts { cascades: true, ..variables("read_only", "ON") }, "primary"),
            (LockFacts { memcached: true, ..LockFacts::default() }, "daemon_memcached"),
            (LockFacts { detached: true, ..LockFacts::default() }, "XA"),
        ] {
            let failure = facts.check().expect_err(word);
            assert_eq!(failure.report.reason, Reason::SnapshotUnavailable);
            assert!(failure.report.message.contains(word), "{failure}");
            assert_eq!(failure.exit == crds::condition::Exit::Transient, word == "XA", "{failure}");
        }
    }

    #[test]
    fn busy_table_is_tried_again_and_then_refused_for_now() {
        for tries_left in 1..TRIES {
            assert_eq!(refused(&answer(LOCK_WAIT_TIMEOUT), tries_left), Ok(()));
        }
        let failure = refused(&answer(LOCK_WAIT_TIMEOUT), 0).expect_err("refused");
        assert_eq!(failure.report.reason, Reason::SnapshotUnavailable);
        assert_eq!(failure.exit, crds::condition::Exit::Transient, "{failure}");
        for tries_left in 0..TRIES {
            for number in [DATABASE_DENIED, TABLE_DENIED] {
                let failure = refused(&answer(number), tries_left).expect_err("denied");
                assert_eq!(failure.report.reason, Reason::DatabaseDenied);
                assert!(failure.report.remedy.contains("LOCK TABLES"), "{failure}");
                assert_eq!(failure.exit, crds::condition::Exit::Permanent, "{failure}");
            }
            assert!(refused(&answer(1146), tries_left).is_err());
        }
    }

    #[test]
    fn reading_sessions_wait_for_locks_as_all_sessions_do_after_the_table_is_unlocked() {
        let (name, value) = settings::ALWAYS
            .iter()
            .find(|(name, _)| *name == "lock_wait_timeout")
            .expect("a limit");
        let expected = format!("SET SESSION {name} = {value}");
        assert_eq!(mysql_statements::LIMIT_WAIT_OF_SESSIONS, expected);
    }

    #[test]
    fn only_the_refusal_of_another_name_proves_the_lock() {
        assert_eq!(proven(Some(&answer(NOT_LOCKED))), Ok(()));
        let lost = proven(None).expect_err("rows came");
        assert_eq!(lost.report.reason, Reason::SnapshotUnavailable);
        // the server ends, a manager of the server ends the session, the table is gone
        for (number, reason, exit) in [
            (1053, Reason::DatabaseUnreachable, crds::condition::Exit::Transient),
            (1205, Reason::DatabaseFailed, crds::condition::Exit::Transient),
            (1146, Reason::QueryFailed, crds::condition::Exit::Permanent),
        ] {
            let failure = proven(Some(&answer(number))).expect_err("no proof");
            assert_eq!((failure.report.reason, failure.exit), (reason, exit), "{failure}");
        }
    }
}

//! Statement texts for MySQL and MariaDB without a dynamic part. What varies is bound as a
//! parameter.

use crate::planning::server::is_mariadb;

/// Seconds that a planning statement may take, where the manifest does not say how long a run may.
const PLANNING_SECONDS: i64 = 3600;
/// Seconds that a planning statement (a sample, extremes, a count, an estimate) may take: half of
/// `activeDeadlineSeconds`, or an hour. The server ends it then, also for a worker that was killed.
pub fn planning_seconds(active_deadline_seconds: Option<i64>) -> i64 {
    active_deadline_seconds.map_or(PLANNING_SECONDS, |seconds| (seconds / 2).max(1))
}
/// Sets that limit in a session, by the server's version: MariaDB's word is in seconds and for every
/// statement, MySQL's in milliseconds and for `SELECT`.
pub fn limit_planning(version: &str, seconds: i64) -> String {
    if is_mariadb(version) {
        format!("SET SESSION max_statement_time = {seconds}")
    } else {
        let milliseconds = seconds.saturating_mul(1000).min(i64::from(u32::MAX));
        format!("SET SESSION max_execution_time = {milliseconds}")
    }
}
/// Ends the statement of session `number`, which must be the user's own.
pub fn kill_query(number: u64) -> String {
    format!("KILL QUERY {number}")
}
/// Which server it is.
pub const VERSION: &str = "SELECT CONVERT(VERSION() USING utf8mb4)";
/// The session's number, and the server that it is one of.
pub const BACKEND: &str = "SELECT CAST(CONNECTION_ID() AS UNSIGNED), \
    CONCAT(CONVERT(@@hostname USING utf8mb4), ':', @@port)";
/// Whether the server works for session `$1`, and when that began or ended. It does not where it
/// waits for the client: for a statement, or for it to take what was sent (in the words of MySQL, then
/// of MariaDB). A user sees its own sessions without any right.
pub const WORKS: &str = "SELECT CAST(COMMAND NOT IN ('Sleep', 'Killed') AND COALESCE(STATE, '') NOT IN \
    ('Sending to client', 'Receiving from client', 'Writing to net', 'Reading from net') AS SIGNED), \
    COALESCE(CONVERT(CAST(UNIX_TIMESTAMP() - TIME AS CHAR) USING utf8mb4), '') \
    FROM information_schema.PROCESSLIST WHERE ID = ?";
/// Starts a transaction that sees one snapshot, from now on.
pub const BEGIN_SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
/// At which point of the binary log the session's snapshot began: name and value, `file` before
/// `position`. No row, or empty, if the server does not show it.
pub const SNAPSHOT_POINT: &str = "SHOW SESSION STATUS WHERE Variable_name IN \
    ('Binlog_snapshot_file', 'Binlog_snapshot_position')";
/// What the server says about its log: name and value.
pub const LOG_VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', \
    'log_slave_updates', 'log_replica_updates', 'gtid_slave_pos', 'wsrep_on', 'version', \
    'binlog_order_commits')";
/// How many threads apply another server's log: name and value.
pub const LOG_APPLIERS: &str = "SHOW GLOBAL STATUS WHERE Variable_name = 'Slaves_running'";
/// File, position, and the databases that are logged alone or left out; the name that all versions of
/// MariaDB know.
pub const LOG_FILTERS: &str = "SHOW MASTER STATUS";
/// What decides whether a locked table has one state: name and value.
pub const LOCK_VARIABLES: &str = "SHOW VARIABLES WHERE Variable_name IN ('version', 'innodb_read_only', \
    'wsrep_on', 'read_only')";
/// Foreign keys of table `$2` in schema `$1` by which a change of another table changes its rows.
pub const CASCADES: &str = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.REFERENTIAL_CONSTRAINTS \
    WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? \
    AND (DELETE_RULE IN ('CASCADE', 'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL'))";
/// Whether the memcached plugin writes tables without taking their locks.
pub const WRITES_PAST_LOCKS: &str = "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.PLUGINS \
    WHERE PLUGIN_NAME = 'daemon_memcached' AND PLUGIN_STATUS = 'ACTIVE'";
/// Prepared XA transactions whose session has ended and that have changed rows. Releases such as 8.0.15 do not give
/// them their table locks again after a start of the server. The server refreshes this view every 0.1 seconds, and
/// short transactions of the server itself are in it too. Needs PROCESS.
pub const DETACHED_TRANSACTIONS: &str = "SELECT CONVERT(CAST(trx_id AS CHAR) USING utf8mb4) \
    FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id = 0 AND trx_rows_modified > 0";
/// Limits of the session that locks a table: seconds that it waits for the lock, and seconds without a
/// statement after which the server ends it, and with it the lock, if the process or its machine is gone.
pub const LIMIT_LOCK: &str = "SET SESSION lock_wait_timeout = 2, SESSION wait_timeout = 10";
/// Limits the wait of a session that starts its snapshot while the table is locked.
pub const LIMIT_WAIT: &str = "SET SESSION lock_wait_timeout = 2";
/// Sets the limit that all sessions have ([`crate::settings::mysql::ALWAYS`]).
pub const LIMIT_WAIT_OF_SESSIONS: &str = "SET SESSION lock_wait_timeout = 30";
/// Which server a session has reached: two servers may have the same host name and port.
pub const SERVER: &str = "SELECT CONVERT(@@server_uuid USING utf8mb4)";
/// Ends the lock.
pub const UNLOCK: &str = "UNLOCK TABLES";
/// The time by the server's clock, without reading a table.
pub const UTC: &str = "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)";

/// Lets all sessions read the table, and none write it. `table` is quoted.
pub fn lock(table: &str) -> String {
    format!("LOCK TABLES {table} AS locked READ")
}

/// A query that a session with [`lock`] is refused with error 1100, because this name of the table is not
/// locked. Any other answer shows that the session has no lock.
pub fn proves_lock(table: &str) -> String {
    format!("SELECT 1 FROM {table} AS not_locked LIMIT 0")
}
/// Ends a transaction.
pub const COMMIT: &str = "COMMIT";

/// When a table (`$1`, `$2`) was made, by its file: another one in its place has another time.
pub const MADE_AT: &str = "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";

/// Tables of a name (one of two spellings, `$2` and `$3`) in a schema (`$1`, or `$4`).
pub const RELATIONS: &str = "SELECT CONVERT(TABLE_SCHEMA USING utf8mb4), \
    CONVERT(TABLE_NAME USING utf8mb4), COALESCE(CONVERT(ENGINE USING utf8mb4), ''), \
    CAST(COALESCE(TABLE_ROWS, -1) AS SIGNED), \
    CAST(COALESCE(DATA_LENGTH + INDEX_LENGTH, 0) AS SIGNED), \
    CONVERT(TABLE_TYPE USING utf8mb4) \
    FROM information_schema.TABLES WHERE TABLE_SCHEMA IN (?, ?) AND TABLE_NAME IN (?, ?)";

/// Columns of a table (`$1`, `$2`) in their order.
pub const COLUMNS: &str = "SELECT CONVERT(COLUMN_NAME USING utf8mb4), \
    LOWER(CONVERT(DATA_TYPE USING utf8mb4)), CONVERT(COLUMN_TYPE USING utf8mb4), \
    CAST(NUMERIC_PRECISION AS SIGNED), CAST(NUMERIC_SCALE AS SIGNED), \
    CAST(DATETIME_PRECISION AS SIGNED), CONVERT(IS_NULLABLE USING utf8mb4), \
    CONVERT(EXTRA USING utf8mb4), COALESCE(CONVERT(GENERATION_EXPRESSION USING utf8mb4), '') \
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
    ORDER BY ORDINAL_POSITION";

/// Columns of the primary key of a table (`$1`, `$2`) in their order.
pub const PRIMARY_KEY: &str = "SELECT CONVERT(COLUMN_NAME USING utf8mb4) \
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
    AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX";

/// Whether a table (`$1`, `$2`) has an index whose first column is `$3`.
pub const IS_INDEXED: &str = "SELECT CAST(EXISTS (SELECT 1 FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND COLUMN_NAME = ? AND SEQ_IN_INDEX = 1 \
    AND INDEX_TYPE = 'BTREE') AS SIGNED)";

/// Reads the clock in another zone: a parameter, or the server's own.
pub const SET_ZONE: &str = "SET time_zone = ?";
/// The zone that a session of the server has unless it asks for another.
pub const SET_SERVER_ZONE: &str = "SET time_zone = @@GLOBAL.time_zone";
/// Its name.
pub const SERVER_ZONE: &str = "SELECT CONVERT(CASE @@GLOBAL.time_zone WHEN 'SYSTEM' \
    THEN @@system_time_zone ELSE @@GLOBAL.time_zone END USING utf8mb4)";
/// Back to UTC.
pub const SET_UTC: &str = "SET time_zone = '+00:00'";

/// Seconds since 1970 by the server's clock.
pub const NOW: &str = "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED)";
/// The zone that [`OPEN_SINCE`] must be asked in: the server shows when a transaction began by its
/// machine's clock.
pub const SET_MACHINE_ZONE: &str = "SET time_zone = 'SYSTEM'";
/// Seconds since 1970 before which nothing was written that is not committed yet, as far as the server
/// shows it: the oldest of the statements in flight that may be about to, and of the transactions that
/// have written (asked last: a statement that ends in between has one). NULL: there are none. Needs
/// PROCESS. Threads of the server itself idle as `Query` in MySQL 8, without a statement. Where the zone's
/// clock has gone back, a start is taken for the earlier of the moments that read so.
pub const OPEN_SINCE: &str = "SELECT CAST(MIN(began) - 1 AS SIGNED) FROM \
    (SELECT UNIX_TIMESTAMP() - TIME AS began FROM information_schema.PROCESSLIST \
        WHERE COMMAND IN ('Query', 'Execute', 'Bulk_execute') AND ID <> CONNECTION_ID() \
        AND USER NOT IN ('system user', 'event_scheduler') AND INFO IS NOT NULL \
        AND INFO NOT REGEXP '^([[:space:](]|/[*]([^*]|[*][^/])*[*]/|--[^\\n]*\\n|#[^\\n]*\\n)*\
(select|show|with|explain|describe|desc|table|values|set|use|kill)' \
    UNION ALL SELECT LEAST(UNIX_TIMESTAMP(trx_started), \
            UNIX_TIMESTAMP(trx_started - INTERVAL 1 HOUR) + 3600) \
        FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0) open";

/// A moment (seconds since 1970, `$1`) in the session's zone. Where that zone's clock goes back within
/// two hours it is lower still by that jump, since the same readings will come again.
pub const CLOCK_AT: &str = "SELECT CAST(LEAST(FROM_UNIXTIME(t.s), \
    FROM_UNIXTIME(t.s + 3600) - INTERVAL 1 HOUR, FROM_UNIXTIME(t.s + 7200) - INTERVAL 2 HOUR) \
    AS CHAR) FROM (SELECT CAST(? AS SIGNED) AS s) t";

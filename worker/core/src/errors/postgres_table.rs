//! The table of Postgres: rows of single codes first, then one of each class of the documentation's Appendix A.

use crds::Reason;

use super::postgres_row::{Row, When};
use super::{Meaning, Shows, permanent, transient};

const fn row(codes: &'static [&'static str], when: When, meaning: Meaning) -> Row {
    Row { codes, when, meaning }
}

const GRANT: &str = "Grant SELECT on the object that the message names (for a view: to the owner of the \
     view) and USAGE on its schema, or EXECUTE on the function.";
const VIEW: &str = "Correct the view or the function that it calls, and check that the objects that they \
     name exist.";
const VALUE: &str = "Correct the rows, or the expression (in the view, the function or extract.where) that \
     computes or converts them. To find the row, select the column with psql.";
const AGAIN: &str = "Wait for the next attempt. If the error returns, check the server's log.";
const SPACE: &str = "If plan.json shows that the server sorts the rows (output.partitionBy), set \
     output.partitionSort: never. Otherwise give the server more temporary space.";
const LIMITS: &str = "Raise the limit, or lower worker.parallelism.";
const POOL: &str = "Set source.host and source.port to the server itself, or to a pool with pool_mode = \
     session and at least worker.parallelism + 2 connections.";
/// The routines that report to a session of a standby that it blocks recovery.
const RECOVERY: When = When::By(&[
    "ProcessRecoveryConflictInterrupt",
    "ProcessRecoveryConflictInterrupts",
    "report_recovery_conflict",
]);

/// The routine that reads what the planner needs to know of a table, which an unlogged one does not have on a standby.
const PLANNED: When = When::By(&["get_relation_info"]);
/// The routine that plans a prepared statement anew.
const PLANNED_AGAIN: When = When::By(&["RevalidateCachedQuery"]);
/// Functions about the WAL that a server writes, which a standby does not.
const WAL_FUNCTION: When = When::By(&[
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_walfile_name",
    "pg_walfile_name_offset",
]);

/// Every meaning; the first row that applies counts, and single codes before classes.
pub const TABLE: &[Row] = &[
    // connecting
    row(&["28P01", "28000"], When::Always, permanent(Reason::CredentialsRejected,
        "the database rejects the user, its password, or this kind of connection",
        "Check the Secret of source.credentials.secretRef (for rdsIam: rds-db:connect, the grant of \
         rds_iam, and the region), the server's pg_hba.conf and source.tls.")),
    row(&["3D000"], When::Always, permanent(Reason::DatabaseNotFound, "the database does not exist",
        "Correct source.database.")),
    row(&["42501"], When::By(&["CheckMyDatabase"]), permanent(Reason::DatabaseDenied,
        "the database user may not connect to the database",
        "Grant CONNECT on the database to the database user.")),
    row(&["55000"], When::By(&["CheckMyDatabase"]), permanent(Reason::DatabaseDenied,
        "the database accepts no connections (ALLOW_CONNECTIONS false), or is invalid after an interrupted \
         DROP DATABASE",
        "Alter the database to allow connections, or set source.database to another database.")),
    row(&["53300"], When::By(&["InitializeSessionUserId"]), transient(Reason::DatabaseUnreachable,
        "all connections that the database user may open are in use (CONNECTION LIMIT of the role)",
        "Raise the role's CONNECTION LIMIT, or lower worker.parallelism.")),
    row(&["53300"], When::By(&["CheckMyDatabase"]), transient(Reason::DatabaseUnreachable,
        "all connections that the database allows are in use (CONNECTION LIMIT of the database)",
        "Raise the database's CONNECTION LIMIT, or lower worker.parallelism.")),
    row(&["53300"], When::Always, transient(Reason::DatabaseUnreachable,
        "all connections of the server, or of a pooler in front of it, are in use (max_connections)",
        "Raise max_connections, end idle sessions, or lower worker.parallelism.")),
    row(&["57P03"], When::Always, transient(Reason::DatabaseUnreachable,
        "the server accepts no connections at the moment: it is starting, stopping, recovering, or a \
         standby without hot_standby",
        "Wait until the server is up. On a standby, turn on hot_standby.").shown(Shows::Message)),
    row(&["08P01"], When::Says("query_wait_timeout"), transient(Reason::DatabaseUnreachable,
        "no connection of the pooler in front of the database became free in time",
        "Give the pool at least worker.parallelism + 2 connections for this database and user (PgBouncer: \
         pool_size), or set source.host and source.port to the server itself.")),
    row(&["08P01"], When::Says("query timeout"), POOLER_LIMIT),
    row(&["08P01"], When::Says("query_timeout"), POOLER_LIMIT),
    row(&["08P01"], When::Says("transaction timeout"), POOLER_LIMIT),
    row(&["08P01"], When::Says("idle transaction timeout"), POOLER_LIMIT),
    row(&["08P01"], When::Says("transaction blocks not allowed"), permanent(Reason::PoolerUnsupported,
        "a connection pooler in front of the database does not give each client its own session (PgBouncer: \
         pool_mode transaction or statement)", POOL)),
    row(&["26000", "42P05"], When::Inside, permanent(Reason::QueryFailed,
        "a function prepares a statement that already exists, or runs one that does not exist", VIEW)),
    row(&["26000", "42P05"], When::Always, permanent(Reason::PoolerUnsupported,
        "a prepared statement of this session does not exist or belongs to another session, because a \
         connection pooler in front of the database mixes sessions", POOL)),
    row(&["08P01"], When::Always, transient(Reason::DatabaseFailed,
        "the database, or a pooler in front of it, reports a protocol error",
        "Check the logs of the pooler and of the server.")),
    // ended by somebody
    row(&["40001", "40P01", "57P01", "57P04"], RECOVERY, STANDBY_CONFLICT),
    row(&["40001", "40P01"], When::By(&["ProcessInterrupts"]), STANDBY_CONFLICT),
    row(&["57014"], When::Always, transient(Reason::DatabaseFailed,
        "the statement was cancelled",
        "Check the server's log for what cancels statements: a person or script (pg_cancel_backend), a \
         proxy, or a function that sets statement_timeout.")
        .shown(Shows::Message)),
    row(&["57P01"], When::Always, transient(Reason::DatabaseFailed,
        "the session was ended by a shutdown of the server or by an administrator",
        AGAIN).shown(Shows::Message)),
    row(&["57P02"], When::Always, transient(Reason::DatabaseFailed,
        "the session was ended because another process of the server crashed", AGAIN)),
    row(&["57P04"], When::Always, transient(Reason::DatabaseFailed,
        "the database was dropped during the read", "Restore the database, or delete the ExtractJob.")),
    row(&["57P05"], When::Always, transient(Reason::DatabaseFailed,
        "the server ended an idle session (idle_session_timeout)",
        "Raise idle_session_timeout of the database user (ALTER ROLE ... SET).")),
    row(&["25P03"], When::Always, transient(Reason::DatabaseFailed,
        "the server ended a session that was idle in its transaction: something set \
         idle_in_transaction_session_timeout, although Tidemark turns it off",
        "Find out what sets idle_in_transaction_session_timeout in the session: a pooler, a proxy, or a \
         function that the view calls.")),
    row(&["25P04"], When::Always, transient(Reason::DatabaseFailed,
        "the server ended a transaction that took too long: something set transaction_timeout, although \
         Tidemark turns it off",
        "Find out what sets transaction_timeout in the session: a pooler, a proxy, or a function that the \
         view calls.")),
    row(&["40P01"], When::Always, transient(Reason::DatabaseFailed,
        "the server ended the statement to break a deadlock", AGAIN)),
    row(&["40001"], When::Always, transient(Reason::DatabaseFailed,
        "the transaction cannot be serialized with other transactions", AGAIN)),
    row(&["72000"], When::Always, transient(Reason::DatabaseFailed,
        "the server removed rows of the snapshot (old_snapshot_threshold)",
        "Raise old_snapshot_threshold, or use more partitions (extract.partition.count).")),
    // rights
    row(&["42501"], When::By(&["check_enable_rls"]), permanent(Reason::DatabaseDenied,
        "row level security would hide rows from the database user",
        "Use a database user with BYPASSRLS, or one to which no policy of the table applies.")),
    row(&["42501"], When::Inside, permanent(Reason::DatabaseDenied,
        "a function that the table or view calls lacks the privilege to use an object", GRANT).shown(Shows::Message)),
    row(&["42501"], When::Always, permanent(Reason::DatabaseDenied,
        "the database user may not read the table, one of its columns, or an object that the view reads", GRANT)
        .shown(Shows::Message)),
    // objects
    row(&["42P01"], When::Inside, permanent(Reason::QueryFailed,
        "a function that the table or view calls names a relation that does not exist", VIEW).shown(Shows::Named)),
    row(&["42P01"], When::Ours, permanent(Reason::TableNotFound, "the table does not exist",
        "Correct extract.table, or the name that the message shows.").shown(Shows::Named)),
    row(&["42P01"], When::Always, permanent(Reason::QueryFailed,
        "the view, or the value of a row, names a relation that does not exist", VIEW).shown(Shows::Named)),
    row(&["42703"], When::Inside, permanent(Reason::QueryFailed,
        "a function that the table or view calls names a column that does not exist", VIEW).shown(Shows::Named)),
    row(&["42703"], When::Ours, permanent(Reason::ColumnNotFound, "a column no longer exists",
        "Check the table's columns, and start another run.").shown(Shows::Named)),
    row(&["42703"], When::Always, permanent(Reason::QueryFailed,
        "the view, or the value of a row, names a column that does not exist", VIEW).shown(Shows::Named)),
    row(&["42883"], When::Always, permanent(Reason::QueryFailed,
        "the server finds no function or operator with this name and these argument types",
        "Create the function or operator, or correct the view, the function or extract.where that names it. \
         Inside a function, name it with its schema, because without extract.where the search_path is empty.")
        .shown(Shows::Named)),
    row(&["3F000", "42704", "42P02", "42725", "42702", "42P08", "42P09"], When::Always, permanent(Reason::QueryFailed,
        "a name in the view, in a function or in extract.where does not exist or is ambiguous", VIEW)
        .shown(Shows::Named)),
    row(&["42601"], When::Always, permanent(Reason::QueryFailed,
        "a statement of a function, or extract.where, is not valid SQL for the server",
        "Correct extract.where, or the function that builds the statement.")),
    row(&["42P17"], When::Always, permanent(Reason::QueryFailed,
        "a view, rule or policy refers to itself", "Correct the view, the rule or the policy.").shown(Shows::Message)),
    row(&["55000"], When::By(&["ExecOpenScanRelation"]), permanent(Reason::QueryFailed,
        "a materialized view has no rows yet", "Run REFRESH MATERIALIZED VIEW on the view that the \
             message names, and start another run.").shown(Shows::Message)),
    row(&["55000"], WAL_FUNCTION, permanent(Reason::QueryFailed,
        "a function that the table or view calls does not work on a standby",
        "Extract from the primary, or correct the view or the function.")),
    row(&["0A000"], PLANNED, permanent(Reason::QueryFailed,
        "the table, or a table that the view reads, is unlogged, and a standby has no rows of unlogged \
         tables",
        "Extract from the primary, or make the table logged (ALTER TABLE ... SET LOGGED).")),
    row(&["0A000"], PLANNED_AGAIN, transient(Reason::DatabaseFailed,
        "the table or view was altered while the statement was prepared", AGAIN)),
    row(&["55000"], When::Always, permanent(Reason::QueryFailed,
        "an object is not in the state that the query needs", VIEW).shown(Shows::Message)),
    row(&["55P03"], When::Always, transient(Reason::DatabaseFailed,
        "another session has an exclusive lock on the table", "Wait until the other session ends, or end it.")),
    row(&["55006"], When::Always, transient(Reason::DatabaseFailed, "an object is in use by another session",
        "Wait until the other session ends.").shown(Shows::Message)),
    row(&["25006"], When::Always, permanent(Reason::QueryFailed,
        "a function that the table or view calls writes, but Tidemark's sessions are read-only",
        "Extract a table, or a view whose functions do not write (nextval, INSERT, UPDATE, temporary \
         tables).")
        .shown(Shows::Message)),
    row(&["25P02"], When::Always, transient(Reason::DatabaseFailed,
        "an earlier statement of the transaction failed", AGAIN)),
    // values
    row(&["22012"], When::Always, permanent(Reason::QueryFailed, "an expression divides by zero", VALUE)),
    row(&["22021", "22P05"], When::Always, permanent(Reason::DecodeFailed,
        "a text value of the table cannot be converted to UTF-8; the server does not name the column",
        "Correct the text value, or convert the database from SQL_ASCII to UTF8.")),
    row(&["22P02", "22P03", "22007", "22008", "22003", "22018"], When::Always, permanent(Reason::QueryFailed,
        "an expression converts a value that does not fit its type", VALUE)),
    row(&["22023"], When::Always, permanent(Reason::QueryFailed, "a function was called with an invalid \
         argument", VALUE)),
    row(&["21000"], When::Always, permanent(Reason::QueryFailed,
        "a subquery of a view or function returns more than one row",
        "Correct the view or the function.").shown(Shows::Message)),
    // resources and damage
    row(&["53100", "53400"], When::Always, transient(Reason::DatabaseFailed,
        "the server has no space left for temporary files, such as those of a sort", SPACE)),
    row(&["53200"], When::Always, transient(Reason::DatabaseFailed,
        "the server is out of memory, or its lock table is full (max_locks_per_transaction)",
        "Give the server more memory, lower its work_mem, or raise max_locks_per_transaction.").shown(Shows::Message)),
    row(&["54001"], When::Always, permanent(Reason::QueryFailed,
        "a function calls itself too deeply, or an expression is nested too deeply (max_stack_depth)",
        "Correct the function, or raise max_stack_depth.")),
    row(&["XX001", "XX002"], When::Always, permanent(Reason::DatabaseFailed,
        "the table or one of its indexes is damaged",
        "Restore the table from a backup, or run REINDEX on the index that the message names.").shown(Shows::Message)),
    row(&["XX000"], When::Always, transient(Reason::DatabaseFailed,
        "the server or an extension reported an internal error", "Check the server's log.").shown(Shows::Message)),
    row(&["HV00N"], When::Always, transient(Reason::DatabaseFailed,
        "the server of a foreign table is unreachable", "Make sure that the database can connect to the \
             foreign server.")),
    // classes
    row(&["00", "01", "02", "03"], When::Always, permanent(Reason::QueryFailed,
        "a function raised an error with a SQLSTATE that is not an error code", VIEW)),
    row(&["08"], When::Always, transient(Reason::DatabaseUnreachable,
        "the connection to the database, or a connection from the database to another server, failed",
        "Check source.host and source.port, that the server is running, and that the network allows the \
         pods to connect to it.")
        .shown(Shows::Message)),
    row(&["0A"], When::Always, permanent(Reason::QueryFailed,
        "the server does not support a part of the query", VIEW).shown(Shows::Named)),
    row(&["09", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "24", "26", "27", "2B", "2D", "2F", "34", "38", "39",
          "3B", "3D", "3F", "44", "P0"], When::Always, permanent(Reason::QueryFailed,
        "a function that the table or view calls, or a language that it is written in, failed", VIEW)),
    row(&["22"], When::Always, permanent(Reason::QueryFailed,
        "an expression cannot be computed for the value of a row", VALUE)),
    row(&["23"], When::Always, permanent(Reason::QueryFailed,
        "a value violates a constraint of a domain, or of a table that a function writes", VALUE)),
    row(&["25"], When::Always, permanent(Reason::QueryFailed,
        "a statement is not allowed in this state of the transaction", VIEW).shown(Shows::Message)),
    row(&["28"], When::Always, permanent(Reason::CredentialsRejected,
        "the database rejects the user or its role", "Check the Secret of source.credentials, and the \
             user's roles.")),
    row(&["40"], When::Always, transient(Reason::DatabaseFailed,
        "the server rolled the transaction back", AGAIN).shown(Shows::Message)),
    row(&["42"], When::Always, permanent(Reason::QueryFailed,
        "the view, a function or extract.where is not valid for the server", VIEW).shown(Shows::Named)),
    row(&["53"], When::Always, transient(Reason::DatabaseFailed,
        "the server has no resources left", LIMITS).shown(Shows::Message)),
    row(&["54"], When::Always, permanent(Reason::QueryFailed,
        "the query exceeds a limit of the server", VIEW).shown(Shows::Message)),
    row(&["55"], When::Always, permanent(Reason::QueryFailed,
        "an object or setting is not in the state that the query needs", VIEW).shown(Shows::Message)),
    row(&["57"], When::Always, transient(Reason::DatabaseFailed,
        "an administrator of the server intervened", AGAIN).shown(Shows::Message)),
    row(&["58"], When::Always, transient(Reason::DatabaseFailed,
        "the server reported an error of its operating system", "Check the server's log and disks.").shown(Shows::Message)),
    row(&["72"], When::Always, transient(Reason::DatabaseFailed, "the snapshot can no longer be used", AGAIN)),
    row(&["F0"], When::Always, transient(Reason::DatabaseFailed,
        "a configuration file of the server is invalid", "Correct the server's configuration.").shown(Shows::Message)),
    row(&["HV"], When::Always, permanent(Reason::QueryFailed,
        "a foreign data wrapper failed", "Correct the foreign table, its server or its user mapping.")),
    row(&["XX"], When::Always, transient(Reason::DatabaseFailed,
        "the server reported an internal error", "Check the server's log.").shown(Shows::Message)),
];

/// A pooler's own words for its time limits, which are not those of the server.
const POOLER_LIMIT: Meaning = transient(
    Reason::DatabaseFailed,
    "a connection pooler in front of the database ended the session at one of its time limits",
    "Raise the limit of the pooler that the message names (PgBouncer: query_timeout and others), or set \
     source.host and source.port to the server itself.",
)
.shown(Shows::Message);

const STANDBY_CONFLICT: Meaning = transient(
    Reason::DatabaseFailed,
    "the standby ended the query or the session because recovery had to change rows or locks that it used",
    "Raise max_standby_streaming_delay or turn on hot_standby_feedback on the standby, use more partitions \
     (extract.partition.count), or extract from the primary.",
);

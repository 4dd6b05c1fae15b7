//! Statement texts without a dynamic part: session, catalog, guard and snapshot. What varies is
//! bound as a parameter.

use crate::settings::postgres as settings;

/// Starts a transaction whose statements each see what is committed by then.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE";
/// Starts a transaction that sees one snapshot.
pub const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE";
/// Ends a transaction.
pub const COMMIT: &str = "COMMIT";

/// Pins what changes the rows, the text of a value or the meaning of a statement, inside the transaction
/// only: a pooler would pass session settings to the next client. None of these takes a snapshot. One
/// row for each of [`settings::shown`]. `begin` is what begins it.
pub fn pinned(version: u32, begin: &str) -> String {
    format!("{begin}; {}", settings::statements(version, &[]))
}

/// One message that begins a pinned transaction, runs a statement and ends the transaction, for what is
/// asked outside any other one. Its rows come after those of [`pinned`].
pub fn alone(version: u32, statement: &str) -> String {
    format!("{}; {statement}; {COMMIT}", pinned(version, BEGIN))
}

/// A scan of a large table otherwise begins where another one is, so that rows come out of their order
/// on the disk; for this transaction.
pub const KEEP_ORDER: &str = "SET LOCAL synchronize_seqscans = off";

/// What some settings are in a plain session of the database user: a message of a session that has set
/// nothing, in a transaction that pins no more than its time-out. One row for each, NULL where the server
/// does not have it.
pub fn plain_settings(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; \
         SELECT s.name, pg_catalog.current_setting(s.name, true) \
            FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) AS s (name); COMMIT",
        names.join(", ")
    )
}

/// Sets settings (`$1`) to values (`$2`) for this transaction.
pub const SET_LOCAL: &str = "SELECT pg_catalog.set_config(s.name, s.value, true) \
    FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS s (name, value)";

/// The setting that says in which order day, month and year of a date are read, and its values: the last
/// one is the pinned one. Dates are printed alike under all of them.
pub const DATE_ORDERS: (&str, [&str; 3]) = ("DateStyle", ["ISO, DMY", "ISO, YMD", "ISO, MDY"]);

/// The setting that says how money is read and printed, and its pinned value.
pub const MONEY: (&str, &str) = ("lc_monetary", "C");
/// Lets it be what it is in a plain session.
pub const MONEY_PLAIN: &str = "SET LOCAL lc_monetary TO DEFAULT";

/// Takes over a snapshot; must be the first statement that takes one. The id is checked to
/// be of hexadecimal digits and dashes, since this statement takes no parameters.
pub fn import_snapshot(id: &str) -> Option<String> {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    plain.then(|| format!("SET TRANSACTION SNAPSHOT '{id}'"))
}

/// Publishes the snapshot of this transaction.
pub const EXPORT_SNAPSHOT: &str = "SELECT pg_catalog.pg_export_snapshot()";
/// Anything at all, on the session that holds the snapshot.
pub const STILL_THERE: &str = "SELECT 1";

/// The first server that has the setting of [`CHECK_CLIENT`], as `server_version_num`.
pub const CHECKS_CLIENT_FROM: u32 = 140_000;

/// Makes the server check during a statement whether its client is still connected, so that the statement of a
/// killed worker ends. A server on a platform that cannot do that refuses it, so it has a savepoint of
/// its own: then [`UNCHECKED_CLIENT`] follows. For this transaction; takes no snapshot.
pub const CHECK_CLIENT: &str = "SAVEPOINT client_check; \
    SET LOCAL client_connection_check_interval = '3s'; RELEASE SAVEPOINT client_check";

/// Goes on without the setting of [`CHECK_CLIENT`].
pub const UNCHECKED_CLIENT: &str =
    "ROLLBACK TO SAVEPOINT client_check; RELEASE SAVEPOINT client_check";

/// Names this session, and the server that it is one of. A process number is used again, so the start
/// belongs to it. The replicas behind one name share their system identifier; they differ in address,
/// port or the start of their first process.
pub const BACKEND: &str = "SELECT pg_catalog.concat(a.pid, ' ', \
        (pg_catalog.date_part('epoch', a.backend_start) * 1000000)::pg_catalog.int8), \
    pg_catalog.concat_ws(' ', pg_catalog.host(pg_catalog.inet_server_addr()), \
        pg_catalog.inet_server_port(), \
        (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8) \
    FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid()";

/// Whether a row `a` of `pg_stat_activity` is the session that [`BACKEND`] names so: two numbers.
fn is_session(session: &str) -> String {
    let name: String =
        session.chars().filter(|letter| letter.is_ascii_digit() || *letter == ' ').collect();
    format!(
        "pg_catalog.concat(a.pid, ' ', \
            (pg_catalog.date_part('epoch', a.backend_start) * 1000000)::pg_catalog.int8) = '{name}'"
    )
}

/// Ends the statement of the session that [`BACKEND`] names so. A user may do so for its own sessions.
pub fn cancel(session: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE {}",
        is_session(session)
    )
}

/// Ends the session that [`BACKEND`] names so: one that waits for its client to take rows hears no
/// [`cancel`].
pub fn terminate(session: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a WHERE {}",
        is_session(session)
    )
}

/// The server's process of this session, and since when it is: that no other session ever was.
pub const SESSION: &str = "SELECT pg_catalog.concat(pid, ' ', pg_catalog.date_part('epoch', backend_start)) \
    FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";

/// Whether the server works for the session that [`BACKEND`] names so, and when that began or ended. It
/// does not where it waits for the client: for a statement, or for it to take what was sent. A
/// user who may not see that gets the answer that it works, also if the session shows nothing (`track_activities`).
pub fn works(session: &str) -> String {
    format!(
        "SELECT coalesce(state = 'disabled' OR state = 'active' \
            AND wait_event_type IS DISTINCT FROM 'Client', true), coalesce(state_change::pg_catalog.text, '') \
        FROM pg_catalog.pg_stat_activity a WHERE {}",
        is_session(session)
    )
}

/// Whether a relation that this transaction has locked was rewritten between its snapshot and
/// the lock. `pg_class` is read under the snapshot, `pg_relation_filenode` as of now; a rewritten
/// table appears empty under an older snapshot.
pub const REWRITTEN: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l \
    LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation \
    WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() AND l.granted \
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
    AND (c.oid IS NULL OR (c.relkind NOT IN ('i', 'I') AND c.relfilenode <> 0 \
        AND c.relfilenode <> coalesce(pg_catalog.pg_relation_filenode(c.oid), 0))))";

/// Tables other than `$1` (quoted) that this transaction has locked and that were not a child under its
/// snapshot: `pg_inherits` is read under it, and which children a query reads as of now. A
/// table that is younger than the snapshot shows no row, and is none of these.
pub const OTHERS: &str = "SELECT coalesce(pg_catalog.array_agg(l.relation::pg_catalog.int8), '{}') \
    FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'f') \
    WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() AND l.granted \
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
    AND c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace \
    AND l.relation IS DISTINCT FROM pg_catalog.to_regclass($1)::pg_catalog.oid \
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = l.relation)";

/// Whether any of these tables (`$1`) is a child now.
pub const ARE_CHILDREN: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits \
    WHERE inhrelid::pg_catalog.int8 = ANY ($1))";

/// The schemas in which a session of the user finds a name without a schema, the first before the
/// others: asked before anything is pinned but the time-out, whose own value may be too short.
pub const SEARCHED_SCHEMAS: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; \
    SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]; COMMIT";

/// Relations of some names (`$2`), in some schemas (`$1`) or in any. Also the server's name of the database: a
/// pooler may use another name.
pub const RELATIONS: &str = "SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
    pg_catalog.current_database()::pg_catalog.text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname::pg_catalog.text = ANY ($2) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    AND ($1::pg_catalog.text[] IS NULL OR n.nspname::pg_catalog.text = ANY ($1)) \
    ORDER BY n.nspname, c.relname LIMIT 1000";

/// Which of the types `$2` each of the types `$1` contains at any depth: as base of a domain, element of an array,
/// field of a composite, or bound of a partition or multirange (Postgres 14 or newer).
pub const TYPES_WITHIN: &str = "WITH RECURSIVE nested (top, inside) AS (\
        SELECT w.oid, w.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS w (oid) \
        UNION \
        SELECT n.top, below.oid FROM nested n JOIN pg_catalog.pg_type t ON t.oid = n.inside \
        CROSS JOIN LATERAL (\
            SELECT t.typbasetype WHERE t.typtype = 'd' \
            UNION ALL \
            SELECT t.typelem WHERE t.typelem <> 0 \
            UNION ALL \
            SELECT a.atttypid FROM pg_catalog.pg_attribute a \
            WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped \
            UNION ALL \
            SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid \
            OR (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid = t.oid) below (oid)) \
    SELECT n.top, n.inside FROM nested n WHERE n.inside = ANY ($2::pg_catalog.oid[]) \
    ORDER BY n.top, n.inside";

/// One unit of money as the server stores it under the `lc_monetary` that the session has inherited,
/// in hexadecimal digits; then the pin again.
pub const MONEY_UNIT: &str = "SET LOCAL lc_monetary TO DEFAULT; \
    SELECT pg_catalog.encode(pg_catalog.cash_send(pg_catalog.money(1)), 'hex'); \
    SET LOCAL lc_monetary = 'C'";

/// Rows (-1: unknown) and bytes of a relation (`$1`) and its partitions, by the statistics.
pub const SIZE: &str = "SELECT coalesce(CASE WHEN pg_catalog.bool_and(c.reltuples < 0) THEN -1 \
    ELSE pg_catalog.sum(greatest(c.reltuples, 0)) END, -1)::pg_catalog.int8, \
    coalesce(pg_catalog.sum(pg_catalog.pg_table_size(c.oid)), 0)::pg_catalog.int8 \
    FROM (SELECT $1 AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass)) t \
    JOIN pg_catalog.pg_class c ON c.oid = t.oid WHERE c.relkind IN ('r', 'm')";

/// What relation `$1` is (`relkind`, whether it is stored as Postgres does, whether others inherit
/// from it), its own blocks, the server's version, whether the user may read all of it, and the
/// columns of its primary key in their order.
pub const SHAPE: &str = "SELECT c.relkind::pg_catalog.text, coalesce(m.amname = 'heap', false), \
    EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid), \
    coalesce(pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8, 0)::pg_catalog.int8, \
    pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
    coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), false), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_index i \
        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place) \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
        WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts \
        ORDER BY k.place) \
    FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam WHERE c.oid = $1";

/// What the server knows about the values of column `$2` of table `$1`, shares in millionths: only
/// where no more than a tenth of the rows was changed since.
pub const STATISTICS: &str = "SELECT (s.null_frac * 1000000)::pg_catalog.int8, \
    coalesce(s.most_common_vals::pg_catalog.text::pg_catalog.text[], '{}'), \
    ARRAY(SELECT (f.share * 1000000)::pg_catalog.int8 FROM pg_catalog.unnest(s.most_common_freqs) \
        WITH ORDINALITY AS f (share, place) ORDER BY f.place), \
    coalesce(s.histogram_bounds::pg_catalog.text::pg_catalog.text[], '{}') \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname \
        AND s.attname::pg_catalog.text = $2 AND NOT s.inherited \
    JOIN pg_catalog.pg_stat_all_tables t ON t.relid = c.oid \
    WHERE c.oid = $1 AND coalesce(t.last_analyze, t.last_autoanalyze) IS NOT NULL \
    AND t.n_mod_since_analyze <= c.reltuples / 10";

/// What the server can prove: whether it is a replica, and whether we see when others' transactions
/// began (a session with `track_activities = off` shows it to nobody).
pub const GUARD_FACTS: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') \
        AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity \
            WHERE datname = pg_catalog.current_database() AND state = 'disabled')";

/// The lower of this statement's clock and the start of the oldest open transaction of this
/// database, less one second, read in zone `$1`. Where that zone's clock goes back within two
/// hours it is lower still by that jump, since the same readings will come again. NULL where a
/// session does not show its start.
///
/// A session at work between two transactions counts from the start of its message: all
/// transactions of one message have the same `now()`. That of a walsender is the start of its
/// replication, perhaps months ago, and does not count; the server does not show when a transaction of
/// a walsender began, so that one which is asked for anything else counts from the start of its session.
/// Left out are the kinds of
/// processes that write no rows of users; one of another kind, or of none that we may see, counts.
pub const EXACT_CLOCK: &str = "SELECT least(c.at AT TIME ZONE $1, \
    (c.at + '1 hour') AT TIME ZONE $1 - interval '1 hour', \
    (c.at + '2 hours') AT TIME ZONE $1 - interval '2 hours')::pg_catalog.text \
    FROM (SELECT CASE WHEN pg_catalog.bool_or(a.state = 'disabled') THEN NULL ELSE \
            least(pg_catalog.min(coalesce(a.xact_start, CASE \
                WHEN coalesce(a.state, 'idle') = 'idle' THEN NULL \
                WHEN a.backend_type IS DISTINCT FROM 'walsender' THEN a.query_start \
                WHEN a.query !~* '^\\s*START_REPLICATION' THEN a.backend_start END)), \
                pg_catalog.statement_timestamp()) - interval '1 second' END AS at \
        FROM pg_catalog.pg_stat_activity a \
        WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() \
        AND coalesce(a.backend_type, '') NOT IN ('autovacuum launcher', 'autovacuum worker', \
            'archiver', 'background writer', 'checkpointer', 'io worker', 'logger', \
            'logical replication launcher', 'slotsync worker', 'startup', 'walreceiver', \
            'walsummarizer', 'walwriter') \
        AND coalesce(a.application_name, '') NOT LIKE 'tidemark/%') c";

/// The clock less `$2` seconds, read in zone `$1` as [`EXACT_CLOCK`] is.
pub const LAG_CLOCK: &str = "SELECT least(c.at AT TIME ZONE $1, \
    (c.at + '1 hour') AT TIME ZONE $1 - interval '1 hour', \
    (c.at + '2 hours') AT TIME ZONE $1 - interval '2 hours')::pg_catalog.text \
    FROM (SELECT pg_catalog.statement_timestamp() - pg_catalog.make_interval(secs => $2) AS at) c";

/// Whether the server knows a zone by name (`$1`).
pub const ZONE_KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_timezone_names WHERE pg_catalog.lower(name) = pg_catalog.lower($1))";

/// The zone that a session of Tidemark would have without its own start-up setting, as far as SQL
/// tells: what is set for role and database, else the zone of the server's log.
pub const SERVER_ZONE: &str = "SELECT coalesce((SELECT pg_catalog.substr(s.entry, pg_catalog.length('TimeZone=') + 1) \
        FROM pg_catalog.pg_db_role_setting r, pg_catalog.unnest(r.setconfig) AS s (entry) \
        WHERE pg_catalog.lower(pg_catalog.split_part(s.entry, '=', 1)) = 'timezone' \
        AND r.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database \
            WHERE datname = pg_catalog.current_database())) \
        AND r.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)) \
        ORDER BY r.setrole <> 0 AND r.setdatabase <> 0 DESC, r.setrole <> 0 DESC, \
            r.setdatabase <> 0 DESC LIMIT 1), \
    pg_catalog.current_setting('log_timezone'))";

/// The transactions that are open in this database, without ours and autovacuum's: the process,
/// and the transaction's virtual id.
pub const OPEN_TRANSACTIONS: &str = "SELECT l.pid, l.virtualxid FROM pg_catalog.pg_locks l \
    JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction \
    AND a.datname = pg_catalog.current_database() AND a.usesysid IS NOT NULL \
    AND a.pid <> pg_catalog.pg_backend_pid() \
    AND coalesce(a.application_name, '') NOT LIKE 'tidemark/%'";

/// Which of the transactions `$1` are still open, and any transactions of the processes `$2`.
pub const STILL_OPEN: &str = "SELECT l.pid, l.virtualxid FROM pg_catalog.pg_locks l \
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction \
    AND (l.virtualxid = ANY ($1) OR l.pid = ANY ($2))";

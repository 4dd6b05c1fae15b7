//! The tables of MySQL and MariaDB: single numbers first, then SQLSTATEs, and the ranges of documented numbers.

use crds::Reason;

use super::mysql_row::{Range, Row, SIGNALLED, State, UNKNOWN};
use super::{Meaning, permanent, transient};

const fn row(numbers: &'static [u16], meaning: Meaning) -> Row {
    Row { numbers, connected: false, says: None, shown: &[], meaning }
}

impl Row {
    const fn says(self, shape: &'static str) -> Self {
        Self { says: Some(shape), ..self }
    }

    const fn connected(self) -> Self {
        Self { connected: true, ..self }
    }

    const fn shown(self, shapes: &'static [&'static str]) -> Self {
        Self { shown: shapes, ..self }
    }
}

const fn state(starts: &'static [&'static str], meaning: Meaning) -> State {
    State { starts, meaning }
}

/// The remedy for a view that names objects which are missing or may not be read.
pub const REPAIR_VIEW: &str = "Repair the view: restore the tables, columns and functions that it names, or grant privileges on them to its definer (with SQL SECURITY INVOKER: to the database user).";
const VIEW: &str = "Correct the view or the function that it calls, and check that the objects that they \
     name exist.";
const VALUE: &str = "Correct the rows, or the expression (in the view, the function or extract.where) that \
     computes or converts them.";
const AGAIN: &str = "Wait for the next attempt. If the error returns, check the server's log.";
const SPACE: &str = "If plan.json shows that the server sorts the rows (output.partitionBy), set \
     output.partitionSort: never. Otherwise give the server more temporary space.";
const NETWORK: &str = "Check source.host and source.port, that the server is running, and what drops \
     connections between the pods and the database (a firewall, a proxy).";
const DAMAGED: &str = "Run CHECK TABLE on the table, and repair the table or restore it from a backup. Then start another run.";
const DEFINER: &str = "Create the view or function again with a definer that exists.";
const WRITES: &str = "Extract a table, or a view whose functions do not write.";

/// Every single number that a session which reads can meet; the first row that applies counts.
pub const TABLE: &[Row] = &[
    // connecting
    row(&[1820, 1862], permanent(Reason::CredentialsRejected, "the password of the database user has expired",
        "Set a new password for the user, and write it into the Secret of source.credentials.")),
    row(&[1130], permanent(Reason::CredentialsRejected, "the server has no user for connections from the pod's address",
        "Create the database user for that address, such as 'name'@'%'.")),
    row(&[3118, 4151], permanent(Reason::CredentialsRejected,
        "the database refuses the user: its account is locked", "Unlock the account (ALTER USER ... ACCOUNT \
             UNLOCK)."))
        .says("A%"),
    row(&[3955], permanent(Reason::CredentialsRejected,
        "the database has locked the account after too many wrong passwords (FAILED_LOGIN_ATTEMPTS)",
        "Correct the Secret of source.credentials, then unlock the account (ALTER USER ... ACCOUNT UNLOCK).")).says("A%"),
    row(&[4150], permanent(Reason::CredentialsRejected,
        "the database refuses the user after too many wrong passwords (max_password_errors)",
        "Correct the Secret of source.credentials, and run FLUSH PRIVILEGES on the server.")).says("User is blocked%"),
    // MySQL's answer to a user who may not see the definer
    row(&[1045], permanent(Reason::DatabaseDenied, "the definer of the view or function does not exist", DEFINER)).connected(),
    row(&[1045, 1698, 1873], permanent(Reason::CredentialsRejected,
        "the database rejects the user, its password, or this kind of connection",
        "Check the Secret of source.credentials (for rdsIam: rds-db:connect, AWSAuthenticationPlugin of the \
         account, and the region), the account's host and REQUIRE clause, and source.tls.")),
    row(&[3159], permanent(Reason::CredentialsRejected, "the database requires TLS",
        "Set source.tls.mode: verifyFull or verifyCa.")),
    row(&[1251, 1524, 2059], permanent(Reason::CredentialsRejected,
        "the account uses an authentication method that is not supported",
        "Use an account with mysql_native_password or caching_sha2_password.")),
    row(&[1049], permanent(Reason::DatabaseNotFound, "the database does not exist", "Correct source.database.")),
    row(&[1040], transient(Reason::DatabaseUnreachable,
        "all connections of the server are in use (max_connections)",
        "Raise max_connections, end idle sessions, or lower worker.parallelism.")),
    row(&[1203], transient(Reason::DatabaseUnreachable,
        "all connections that the database user may open are in use (max_user_connections)",
        "Raise max_user_connections, or lower worker.parallelism.")),
    row(&[1226], transient(Reason::DatabaseUnreachable,
        "the database user has used up a limit of its account (MAX_USER_CONNECTIONS, MAX_CONNECTIONS_PER_HOUR or \
         MAX_QUERIES_PER_HOUR)", "Raise the limit of the account, or lower worker.parallelism.")),
    row(&[1129], transient(Reason::DatabaseUnreachable,
        "the server blocks the pod's address after too many failed connections (max_connect_errors)",
        "Run FLUSH HOSTS on the server, and find out why the connections failed.")),
    row(&[1047], transient(Reason::DatabaseUnreachable, "the node of the cluster is not ready for queries (wsrep_ready)",
        "Wait until the node has joined its cluster, or set source.host to another node.")).says("WSREP%"),
    row(&[3032], transient(Reason::DatabaseUnreachable, "the server is offline (offline_mode)",
        "Wait until offline_mode is off, or set it to OFF.")),
    // of MySQL for a session that was killed, too
    row(&[1053], transient(Reason::DatabaseUnreachable, "the server is shutting down, or another session \
         ended this session (KILL)",
        "Wait until the server is up. If it did not shut down, find out which client ran KILL.")),
    row(&[1077, 1078, 1079, 1080, 3168], transient(Reason::DatabaseUnreachable,
        "the server is shutting down or starting", "Wait until the server is up.")),
    row(&[1135, 1041], transient(Reason::DatabaseUnreachable,
        "the server cannot start a thread or has no memory for another connection",
        "Give the server memory and threads, or lower worker.parallelism.")),
    row(&[1042, 1043, 1047, 1081, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161], transient(
        Reason::DatabaseUnreachable, "the connection to the database failed", NETWORK)),
    row(&[1153], permanent(Reason::QueryFailed, "a statement or a row is longer than the server accepts \
        (max_allowed_packet)", "Raise max_allowed_packet of the server.")),
    // ended by somebody
    row(&[1317], transient(Reason::DatabaseFailed, "the statement was cancelled by another session (KILL QUERY)",
        "Find out who runs KILL QUERY.")),
    row(&[1927, 3169], transient(Reason::DatabaseFailed, "the session was ended by another session (KILL)",
        "Find out who runs KILL.")),
    // of MariaDB, then of MySQL; every session sets them, and planning alone to something else than 0
    row(&[1969, 3024], transient(Reason::DatabaseFailed, "the statement took longer than half of \
        activeDeadlineSeconds, or one hour if that is not set (max_statement_time, max_execution_time)",
        "Raise activeDeadlineSeconds, index the watermark and partition columns, or set \
         extract.partition.strategy: none.")),
    row(&[1184], transient(Reason::DatabaseFailed, "the server's init_connect fails for the database user",
        "Correct the global variable init_connect, or grant the privileges that it needs.")),
    row(&[1038], transient(Reason::DatabaseFailed, "the server's sort_buffer_size is too small to sort the rows",
        "Raise sort_buffer_size, or set output.partitionSort: never if the plan shows that rows are sorted.")),
    row(&[4031], transient(Reason::DatabaseFailed,
        "the server ended an idle session: something set wait_timeout, which Tidemark sets to one day",
        "Find out what sets wait_timeout in the session: a proxy, or a function that the view calls.")).says("The client was disconnected%"),
    row(&[1205, 3572], transient(Reason::DatabaseFailed, "another session has an exclusive lock on the table",
        "Wait until the other session ends, or end it.")),
    row(&[1213, 1614, 3058, 3132], transient(Reason::DatabaseFailed,
        "the server ended the statement to break a deadlock", AGAIN)),
    row(&[1412], transient(Reason::DatabaseFailed, "the table was altered after the snapshot was taken",
        "Wait for the next attempt, which plans with the new columns.")),
    row(&[1020], transient(Reason::DatabaseFailed, "a row changed after the snapshot was taken", AGAIN)),
    row(&[1615], transient(Reason::DatabaseFailed, "the table was altered while the statement was prepared", AGAIN)),
    // rights
    row(&[1044], permanent(Reason::DatabaseDenied,
        "the database user has no privileges on the database, or the database does not exist",
        "Correct source.database, or GRANT SELECT on its tables to the database user. A role counts only if \
         it is a default role (SET DEFAULT ROLE). On MySQL 8.0 and later, check SHOW GRANTS for partial \
         revokes.")),
    row(&[1142, 1143, 1227], permanent(Reason::DatabaseDenied,
        "the database user may not read the table or one of its columns",
        "GRANT SELECT on the table (all of its columns) to the database user, or set extract.columns to the \
         columns that it may read. For a table that a view or function reads, GRANT SELECT to the definer.")).shown(&[
        "SELECT command denied to user %@% for table %",
        "SELECT command denied to user %@% for column '%' in table '%'",
        "Access denied; you need (at least one of) the % privilege(s) for this operation"]),
    row(&[1345, 1370, 1141, 1147, 1403, 1419, 4087], permanent(Reason::DatabaseDenied,
        "the database user, or the definer of the view, may not use an object that the view reads",
        "Grant EXECUTE on the function, or SELECT on the table, to the database user and the view's definer.")).shown(&[
        "execute command denied to user %@% for routine '%'", "EXECUTE command denied to user %@% for routine '%'"]),
    row(&[1356], permanent(Reason::DatabaseDenied,
        "the view names an object that does not exist, or that its definer or the database user may not read", REPAIR_VIEW)).shown(&[
        "View '%' references invalid table(s) or column(s) or function(s) or definer/invoker of view lack rights to use them"]),
    row(&[1449], permanent(Reason::DatabaseDenied, "the definer of the view or function does not exist", DEFINER)).shown(&[
        "The user specified as a definer (%) does not exist"]),
    // objects
    row(&[1146, 1932], permanent(Reason::QueryFailed, "a table does not exist",
        "Restore the table that the message names, or correct the view, the function or extract.table that \
         names it.")).shown(&["Table '%' doesn't exist", "Table '%' doesn't exist in engine"]),
    row(&[1054], permanent(Reason::ColumnNotFound, "a column no longer exists",
        "Check the columns of the table, and those of the view or function that names them. Then start \
         another run."))
        .shown(&["Unknown column '%' in 'field list'", "Unknown column '%' in 'SELECT'",
                 "Unknown column '%' in 'where clause'", "Unknown column '%' in 'WHERE'",
                 "Unknown column '%' in 'order clause'", "Unknown column '%' in 'ORDER BY'"]),
    row(&[1305, 1128, 1630, 4091, 4092], permanent(Reason::QueryFailed, "a function, sequence or view does not exist",
        "Create it, or correct the view, the function or extract.where that names it.")).shown(&[
        "FUNCTION % does not exist", "PROCEDURE % does not exist", "Function '%' is not defined"]),
    row(&[1051, 1109, 1176, 1347, 1735, 1462, 1350, 1353], permanent(Reason::QueryFailed,
        "the view or a function names an object that does not exist or is of another kind", VIEW)),
    row(&[1064, 1065, 1149], permanent(Reason::QueryFailed,
        "extract.where, or a statement of a function, is not valid SQL for the server",
        "Correct extract.where, or the function.")),
    row(&[1267, 1270, 1271, 1273, 1115, 3995, 1977], permanent(Reason::QueryFailed,
        "text values with different character sets or collations are compared or converted", VIEW)).shown(&[
        "Illegal mix of collations (%,%) and (%,%) for operation '%'", "Unknown collation: '%'",
        "Unknown character set: '%'"]),
    row(&[1193, 1231, 1232, 1229, 1238, 1298, 1621, 1568], permanent(Reason::QueryFailed,
        "the server does not accept a setting of the session",
        "Use a supported version of the server. For time zones, load the server's time zone tables.")),
    row(&[1104], permanent(Reason::QueryFailed,
        "the query would read more rows than the session allows: something set max_join_size or \
         sql_big_selects, although Tidemark removes that limit",
        "Find out what sets max_join_size or sql_big_selects in the session: a proxy, or a function that \
         the view calls.")),
    row(&[3170, 3171, 3186], permanent(Reason::QueryFailed, "the query exceeds a limit of the server",
        "Raise the limit (range_optimizer_max_mem_size, parser_max_mem_size).")),
    row(&[1290], permanent(Reason::QueryFailed,
        "a function that the view calls does something that a server option forbids, such as writing to a \
         read-only server", WRITES)).shown(&[
        "The MySQL server is running with the % option so it cannot execute this statement",
        "The MariaDB server is running with the % option so it cannot execute this statement"]),
    row(&[1792], permanent(Reason::QueryFailed,
        "a function that the view calls writes, but Tidemark's sessions are read-only", WRITES)),
    row(&[1836, 1874, 3989], permanent(Reason::QueryFailed,
        "a function that the view calls writes, and the server, its storage engine or the database is read-only",
        WRITES)),
    row(&[1223, 1099, 1100, 1192], transient(Reason::DatabaseFailed,
        "another statement or session holds a lock", AGAIN)),
    row(&[1436, 1456, 1424, 4026], permanent(Reason::QueryFailed,
        "a function calls itself too deeply, or an expression is nested too deeply (thread_stack, \
         max_sp_recursion_depth)",
        "Correct the function, or raise thread_stack.")),
    row(&[1235, 1178, 1214, 1295, 3110, 3167, 3999, 1970], permanent(Reason::QueryFailed,
        "the server does not support a part of the query", VIEW)),
    // values
    row(&[1642, 1643, 1644, 1645, 1646], SIGNALLED),
    row(&[1365], permanent(Reason::QueryFailed, "an expression divides by zero", VALUE)),
    row(&[1690, 1264, 1367, 1916], permanent(Reason::QueryFailed,
        "an expression computes a value that does not fit its type", VALUE)),
    row(&[1265, 1292, 1366, 1406, 1411, 1300, 1301, 1525, 1918, 1919, 3020, 3988, 4079, 4078], permanent(
        Reason::QueryFailed, "an expression converts a value that does not fit its type", VALUE)),
    row(&[3033, 3034, 3035, 3036, 3037, 3038, 3039, 3040, 3041, 3042, 3043, 3045, 3046, 3047, 3048, 3049, 3050,
          3051, 3052, 3053, 3054, 3055, 3134, 3516, 3548, 3616, 3617, 3618], permanent(Reason::QueryFailed,
        "a spatial function cannot use a value", VALUE)),
    row(&[3069, 3070, 3071, 3072, 3073, 3140, 3141, 3142, 3143, 3144, 3145, 3146, 3147, 3148, 3149, 3150, 3151,
          3152, 3153, 3154, 3155, 3156, 3157, 3158, 3165], permanent(Reason::QueryFailed,
        "a JSON function cannot use a value or a path", VALUE)),
    row(&[3685, 3686, 3687, 3688, 3689, 3690, 3691, 3692, 3693, 3694, 3695, 3696, 3697, 3698, 3699, 1139],
        permanent(Reason::QueryFailed, "a regular expression cannot be used, or takes too long", VALUE)),
    row(&[1241, 1242, 1172], permanent(Reason::QueryFailed,
        "a subquery of a view or function returns more than one row or column", "Correct the view or the \
             function.")),
    // resources and damage
    row(&[3, 28, 1021, 1026, 1114, 1878], transient(Reason::DatabaseFailed,
        "the server has no space left for temporary files, such as those of a sort", SPACE)),
    row(&[5, 1037, 3015, 3044, 3985], transient(Reason::DatabaseFailed, "the server is out of memory",
        "Give the server more memory, or lower worker.parallelism.")),
    row(&[1206], transient(Reason::DatabaseFailed, "the lock table of the server is full",
        "Raise innodb_buffer_pool_size, or wait until large transactions end.")),
    row(&[1033, 1034, 1035, 1194, 1195, 1259, 1712, 1812, 1814, 1817, 1877, 3000, 126, 127, 145], permanent(
        Reason::DatabaseFailed, "the table, one of its indexes or its file is damaged or missing", DAMAGED)).shown(&[
        "Incorrect key file for table '%'; try to repair it", "Table '%' is marked as crashed and should be repaired",
        "Table '%' is marked as crashed and last (automatic?) repair failed", "Index % is corrupted",
        "Tablespace is missing for table %", "Tablespace has been discarded for table %"]),
    row(&[1015, 1016, 1017, 1018, 1023, 1024, 1025, 1030, 1036, 1105, 1180, 1296, 1297, 1815], transient(
        Reason::DatabaseFailed, "the server or its storage engine reported an error",
        "Check the server's log and disks.")).shown(&["Got error % from storage engine%",
        "Got error % during %", "Can't open file: '%' (errno: %)", "Can't find file: '%' (errno: %)"]),
    row(&[1429, 1430, 1431, 1432, 1939, 12_701, 12_721], transient(Reason::DatabaseFailed,
        "the foreign server of a federated table is unreachable or returned an error",
        "Make sure that the database can connect to the foreign server, and correct the federated table.")),
    row(&[1931], transient(Reason::DatabaseFailed,
        "the statement examined more rows than LIMIT ROWS EXAMINED allows, so its result is incomplete",
        "Remove LIMIT ROWS EXAMINED from the view.")),
];

/// SQLSTATEs, for numbers that no row names.
pub const STATES: &[State] = &[
    state(&["45"], SIGNALLED),
    state(
        &["08"],
        transient(Reason::DatabaseUnreachable, "the connection to the database failed", NETWORK),
    ),
    state(
        &["28"],
        permanent(
            Reason::CredentialsRejected,
            "the database rejects the user",
            "Check the Secret of source.credentials and the account.",
        ),
    ),
    state(
        &["3D"],
        permanent(
            Reason::DatabaseNotFound,
            "the database does not exist",
            "Correct source.database.",
        ),
    ),
    state(
        &["40"],
        transient(Reason::DatabaseFailed, "the server rolled the transaction back", AGAIN),
    ),
    state(
        &["53"],
        transient(
            Reason::DatabaseFailed,
            "the server has no resources left",
            "Raise the server's limits, or lower worker.parallelism.",
        ),
    ),
    state(&["70", "57"], transient(Reason::DatabaseFailed, "the statement was cancelled", AGAIN)),
    state(
        &["22"],
        permanent(
            Reason::QueryFailed,
            "an expression cannot be computed for the value of a row",
            VALUE,
        ),
    ),
    state(
        &["23"],
        permanent(
            Reason::QueryFailed,
            "a value violates a constraint of a table that a function writes",
            VALUE,
        ),
    ),
    state(
        &["25"],
        permanent(
            Reason::QueryFailed,
            "a statement is not allowed in this state of the transaction",
            VIEW,
        ),
    ),
    state(
        &["42S02"],
        permanent(
            Reason::QueryFailed,
            "a table that the view or a function names does not exist",
            VIEW,
        ),
    ),
    state(
        &["42"],
        permanent(
            Reason::QueryFailed,
            "the view, a function or extract.where is not valid for the server",
            VIEW,
        ),
    ),
    state(
        &[
            "00", "01", "02", "0A", "0K", "0Z", "10", "20", "21", "24", "26", "2F", "34", "35",
            "38", "39", "3B", "3C", "44", "HV",
        ],
        permanent(Reason::QueryFailed, "a function that the view calls failed", VIEW),
    ),
    state(
        &["XA"],
        transient(Reason::DatabaseFailed, "a distributed transaction blocks the statement", AGAIN),
    ),
    state(&["HY"], UNKNOWN),
];

/// The documented numbers; those that no row names are taken by the SQLSTATE that comes with them.
pub const RANGES: &[Range] = &[
    Range { from: 1, to: 999, of: "files and storage engines, of both servers" },
    Range { from: 1000, to: 1879, of: "both servers" },
    Range { from: 1880, to: 1999, of: "MySQL up to 5.7, and MariaDB with different meanings" },
    Range { from: 2000, to: 2999, of: "clients" },
    Range { from: 3000, to: 3999, of: "MySQL; MariaDB uses 3000 to 3060 with the same meaning" },
    Range { from: 4000, to: 4999, of: "MySQL and MariaDB, each with different meanings" },
    Range { from: 5000, to: 6999, of: "MySQL" },
    Range {
        from: 10_000,
        to: 14_999,
        of: "the log of MySQL, and engines of MariaDB such as Spider",
    },
];

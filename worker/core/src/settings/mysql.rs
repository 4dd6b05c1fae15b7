//! The settings of MySQL and MariaDB.

mod harmless;

use std::collections::BTreeMap;

use crate::errors::failure::Failure;

use super::{Rule, Table, add, add_groups, refusal};

pub use self::harmless::HARMLESS;

/// A setting, and the literal that each session sets it to.
pub type Pin = (&'static str, &'static str);

/// The name of the pin that says how statements are parsed.
pub const SQL_MODE: &str = "sql_mode";

/// What every server knows. `completion_type` comes first: with another one `ROLLBACK` ends the session;
/// and `max_join_size` before `sql_big_selects`, which it resets.
/// `sql_mode` without a word: no other quotes, no padding of `char`, and zero dates are shown as they are.
pub const ALWAYS: &[Pin] = &[
    ("completion_type", "0"),
    ("autocommit", "1"),
    ("sql_select_limit", "18446744073709551615"),
    ("max_join_size", "18446744073709551615"),
    ("sql_big_selects", "1"),
    (SQL_MODE, "''"),
    ("time_zone", "'+00:00'"),
    ("character_set_client", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("lock_wait_timeout", "30"),
    ("wait_timeout", "86400"),
    ("net_read_timeout", "86400"),
    ("net_write_timeout", "86400"),
];

/// What MariaDB has since 10.1.22 and MySQL has not: in a comment that MySQL does not read, since it may
/// end the statement that asks what the server knows.
pub const MARIADB: &[Pin] =
    &[("max_statement_time", "0"), ("max_session_mem_used", "9223372036854775807")];

/// What only some servers know: set where the server shows it.
pub const WHERE_KNOWN: &[Pin] = &[
    // which rows
    ("sql_auto_is_null", "0"),
    ("standard_compliant_cte", "1"),
    ("max_recursive_iterations", "4294967295"),
    ("cte_max_recursion_depth", "4294967295"),
    ("default_regex_flags", "''"),
    ("wsrep_dirty_reads", "0"),
    ("use_secondary_engine", "'OFF'"),
    ("show_gipk_in_create_table_and_information_schema", "1"),
    // the text of values
    ("old_mode", "''"),
    ("character_set_collations", "''"),
    ("div_precision_increment", "4"),
    ("windowing_use_high_precision", "1"),
    ("group_concat_max_len", "1073741824"),
    ("max_sort_length", "1024"),
    ("default_week_format", "0"),
    ("lc_time_names", "'en_US'"),
    ("block_encryption_mode", "'aes-128-ecb'"),
    ("sql_quote_show_create", "1"),
    ("explain_format", "'TRADITIONAL'"),
    // a table that was empty a day ago would be planned as an empty one
    ("information_schema_stats_expiry", "0"),
    // whether a statement may run
    ("sql_safe_updates", "0"),
    ("max_execution_time", "0"),
    ("idle_transaction_timeout", "0"),
    ("idle_readonly_transaction_timeout", "0"),
    ("tmp_disk_table_size", "18446744073709551615"),
];

/// What ends a transaction and locks that the connection began with (`init_connect`), and says how each
/// transaction reads.
pub const BEGUN: [&str; 3] = [
    "ROLLBACK AND NO CHAIN NO RELEASE",
    "UNLOCK TABLES",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
];

/// Back to the server's own clock, where the connection began with another time. A server that lets
/// nobody set the clock (`secure_timestamp`) refuses this, and then nobody has set it.
pub const CLOCK: &str = "SET timestamp = 0";

/// Settings that the database user may not set, the value that is needed, and why.
pub const REFUSED: &[(&str, &str, &str)] = &[
    (
        "default_collation_for_utf8mb4",
        "utf8mb4_0900_ai_ci",
        "it changes how views compare texts, and only an administrator may set it",
    ),
    (
        "system_versioning_asof",
        "DEFAULT",
        "the server would return rows of the past, and a session cannot reset it",
    ),
    (
        "max_allowed_packet",
        "at least 1048576",
        "a function result that is longer becomes NULL, and a longer row is an error",
    ),
];

/// The least `max_allowed_packet`.
const PACKET_BYTES_MIN: u64 = 1 << 20;

/// What a session sets first, when it knows nothing of its server.
pub fn first() -> String {
    let mariadb = assignments(MARIADB.iter().copied());
    let mariadb = mariadb.trim_start_matches("SET ");
    format!("{} /*M!100122 , {mariadb} */", assignments(ALWAYS.iter().copied()))
}

/// Asks which settings the server knows, and for those that may be refused: name and value.
pub fn show() -> String {
    let optional = WHERE_KNOWN.iter().map(|(name, _)| *name);
    let names: Vec<_> = optional
        .chain(REFUSED.iter().map(|(name, ..)| *name))
        .map(|name| format!("'{name}'"))
        .collect();
    format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({})", names.join(", "))
}

/// What a session sets then, by the answer of [`show`].
///
/// # Errors
/// `SettingRefused`.
pub fn then(known: &BTreeMap<String, String>) -> Result<String, Failure> {
    for (name, needed, _) in REFUSED {
        let good = match (*name, known.get(*name)) {
            (_, None) => true,
            ("max_allowed_packet", Some(value)) => {
                value.parse::<u64>().is_ok_and(|bytes| bytes >= PACKET_BYTES_MIN)
            }
            (_, Some(value)) => value == needed,
        };
        if !good {
            return Err(refusal(
                name,
                format!("Set the global variable {name} to {needed}, or correct init_connect."),
            ));
        }
    }
    let pins = WHERE_KNOWN.iter().filter(|(name, _)| known.contains_key(*name));
    Ok(assignments(pins.copied()))
}

fn assignments(pins: impl Iterator<Item = Pin>) -> String {
    let pins: Vec<_> = pins.map(|(name, value)| format!("SESSION {name} = {value}")).collect();
    format!("SET {}", pins.join(", "))
}

/// Which limit a session sets after it is pinned, for its planning statements.
const LIMIT_OF_PLANNING: &str = "SET SESSION of each session; in planning statements: half \
    of activeDeadlineSeconds, or one hour if that is not set";

/// Pins that another statement sets too, or a pin of another name.
const BY_OTHERS: &[(&str, &str, &str)] = &[
    ("max_statement_time", "0", LIMIT_OF_PLANNING),
    ("max_execution_time", "0", LIMIT_OF_PLANNING),
    ("tx_isolation", "REPEATABLE READ", "SET SESSION TRANSACTION"),
    ("tx_read_only", "READ ONLY", "SET SESSION TRANSACTION"),
    ("transaction_isolation", "REPEATABLE READ", "SET SESSION TRANSACTION"),
    ("transaction_read_only", "READ ONLY", "SET SESSION TRANSACTION"),
    ("character_set_connection", "utf8mb4", "set by collation_connection"),
    (
        "timestamp",
        "0",
        "SET of each session; if the session may not set it, the server's clock applies",
    ),
];

/// All of them.
pub fn table() -> Table {
    let mut table = Table::new();
    add_groups(&mut table, HARMLESS);
    for (name, value) in ALWAYS.iter().chain(MARIADB).chain(WHERE_KNOWN) {
        add(&mut table, name, Rule::Pinned(value), "SET SESSION of each session");
    }
    for (name, value, how) in BY_OTHERS {
        add(&mut table, name, Rule::Pinned(value), how);
    }
    for (name, needed, why) in REFUSED {
        add(&mut table, name, Rule::Refused(needed), why);
    }
    table
}

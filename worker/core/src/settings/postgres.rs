//! The settings of Postgres, 14 to 18.

mod harmless;

use std::fmt::Write as _;

use crate::errors::failure::Failure;

use super::{Rule, Table, add, add_groups, refusal};

pub use self::harmless::HARMLESS;

/// A setting that each transaction sets for itself.
#[derive(Debug, Clone, Copy)]
pub struct Pin {
    /// Its name.
    pub name: &'static str,
    /// The literal, as SQL.
    pub value: &'static str,
    /// The releases that know it: the first one of each major that got it late, as `server_version_num`.
    /// Empty: all of them.
    pub since: &'static [u32],
}

const fn pin(name: &'static str, value: &'static str) -> Pin {
    Pin { name, value, since: &[] }
}

/// The name of the pinned setting that resolves names without a schema.
pub const SEARCH_PATH: &str = "search_path";

/// What each transaction sets, with `SET LOCAL`. The values are those of a server that nobody has
/// configured, except where the value itself would be ambiguous or cut.
pub const PINS: &[Pin] = &[
    // first, since the ones that follow may take their time
    pin("statement_timeout", "0"),
    // the text of values
    pin("TimeZone", "'UTC'"),
    pin("timezone_abbreviations", "'Default'"),
    pin("DateStyle", "'ISO, MDY'"),
    pin("IntervalStyle", "'postgres'"),
    pin("bytea_output", "'hex'"),
    pin("extra_float_digits", "1"),
    pin("lc_monetary", "'C'"),
    pin("lc_numeric", "'C'"),
    pin("lc_time", "'C'"),
    pin("xmlbinary", "'base64'"),
    pin("client_encoding", "'UTF8'"),
    pin("quote_all_identifiers", "off"),
    // how statements and literals are parsed
    pin(SEARCH_PATH, "''"),
    pin("standard_conforming_strings", "on"),
    pin("backslash_quote", "'safe_encoding'"),
    pin("transform_null_equals", "off"),
    pin("array_nulls", "on"),
    pin("xmloption", "'content'"),
    pin("default_text_search_config", "'pg_catalog.simple'"),
    // which rows
    pin("row_security", "off"),
    pin("gin_fuzzy_search_limit", "0"),
    pin("constraint_exclusion", "'partition'"),
    pin("pg_trgm.similarity_threshold", "0.3"),
    pin("pg_trgm.word_similarity_threshold", "0.6"),
    pin("pg_trgm.strict_word_similarity_threshold", "0.5"),
    // whether a statement may run
    Pin {
        name: "restrict_nonsystem_relation_kind",
        value: "''",
        since: &[120_020, 130_016, 140_013, 150_008, 160_004, 170_000],
    },
    pin("exit_on_error", "off"),
    pin("lock_timeout", "'30s'"),
    pin("idle_in_transaction_session_timeout", "0"),
    Pin { name: "transaction_timeout", value: "0", since: &[170_000] },
    // notices may hold values, and would be logged
    pin("client_min_messages", "'error'"),
];

/// What the statement that begins a transaction says.
pub const BEGUN: &[(&str, &str)] = &[
    ("default_transaction_isolation", "READ COMMITTED or REPEATABLE READ"),
    ("default_transaction_read_only", "READ ONLY"),
    ("default_transaction_deferrable", "NOT DEFERRABLE"),
    ("transaction_isolation", "READ COMMITTED or REPEATABLE READ"),
    ("transaction_read_only", "READ ONLY"),
    ("transaction_deferrable", "NOT DEFERRABLE"),
];

/// Settings that the database user may not set, the value that is needed, and why.
pub const REFUSED: &[(&str, &str, &str)] = &[
    ("zero_damaged_pages", "off", "damaged pages would be read as empty pages, without an error"),
    ("ignore_checksum_failure", "off", "damaged pages would be read without an error"),
    (
        "idle_session_timeout",
        "0, or at least 1min",
        "a transaction cannot set it, and the server would end a session between two transactions",
    ),
];

/// Since when there is `idle_session_timeout`.
const IDLE_SESSION_SINCE: u32 = 140_000;
/// The least `idle_session_timeout` that leaves a session its time between two transactions.
const IDLE_SECONDS_MIN: u64 = 60;

impl Pin {
    /// Whether a server of this `server_version_num` knows the setting.
    pub fn is_known(&self, version: u32) -> bool {
        let major = version / 10_000;
        match self.since.iter().find(|since| **since / 10_000 == major) {
            Some(since) => version >= *since,
            None => self.since.last().is_none_or(|last| major > *last / 10_000),
        }
    }
}

/// The statements that pin a transaction of a server of this version, without the pins of these names;
/// none of them takes a snapshot. Then what [`check`] reads.
pub fn statements(version: u32, without: &[&str]) -> String {
    let mut text = String::new();
    for pin in PINS.iter().filter(|pin| pin.is_known(version) && !without.contains(&pin.name)) {
        // writing to a String does not fail
        let _ = write!(text, "SET LOCAL {} = {}; ", pin.name, pin.value);
    }
    for name in shown(version) {
        let _ = write!(text, "SHOW {name}; ");
    }
    text.truncate(text.trim_end_matches("; ").len());
    text
}

/// The settings that [`statements`] shows, one row each, in this order.
pub fn shown(version: u32) -> impl Iterator<Item = &'static str> {
    let names = REFUSED.iter().map(|(name, ..)| *name);
    names.filter(move |name| *name != "idle_session_timeout" || version >= IDLE_SESSION_SINCE)
}

/// Refuses what the database user may not set.
///
/// # Errors
/// `SettingRefused`.
pub fn check(name: &str, value: &str) -> Result<(), Failure> {
    let good = match name {
        "idle_session_timeout" => leaves_time(value),
        _ => REFUSED.iter().any(|(known, needed, _)| *known == name && *needed == value),
    };
    if good {
        return Ok(());
    }
    Err(refusal(
        name,
        format!(
            "Run ALTER ROLE or ALTER DATABASE ... RESET {name} for the database user, or correct postgresql.conf."
        ),
    ))
}

/// One unit of money as the locale C stores it, with two digits after the point.
const TWO_DIGITS: &str = "0000000000000064";

/// Refuses money of other digits than the pinned `lc_monetary` has: it would be another amount. `unit`:
/// one of it, as stored.
///
/// # Errors
/// `SettingRefused`.
pub fn check_money(unit: &str) -> Result<(), Failure> {
    if unit == TWO_DIGITS {
        return Ok(());
    }
    Err(refusal(
        "lc_monetary",
        "Exclude the columns of type money with extract.excludeColumns, or read them as numeric through a view."
            .to_owned(),
    ))
}

/// A time as `SHOW` prints it: a number with `ms`, `s`, `min`, `h` or `d`; 0 is none at all.
fn leaves_time(value: &str) -> bool {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().unwrap_or_default();
    match &value[digits..] {
        "" => number == 0,
        "ms" => number >= IDLE_SECONDS_MIN * 1000,
        "s" => number >= IDLE_SECONDS_MIN,
        "min" | "h" | "d" => true,
        _ => false,
    }
}

/// All of them.
pub fn table() -> Table {
    let mut table = Table::new();
    add_groups(&mut table, HARMLESS);
    for pin in PINS {
        add(&mut table, pin.name, Rule::Pinned(pin.value), "SET LOCAL in each transaction");
    }
    for (name, value) in BEGUN {
        add(&mut table, name, Rule::Pinned(value), "BEGIN of each transaction");
    }
    for (name, needed, why) in REFUSED {
        add(&mut table, name, Rule::Refused(needed), why);
    }
    table
}

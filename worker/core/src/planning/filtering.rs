//! In: what a plain session of the database user has set. Out: the settings under which `extract.where`
//! is read, so that it means what it means to that user. Bound: a few settings. Fails: `InvalidSpec`
//! where a setting would change what else the statement returns.
//!
//! The time zone is none of them: it is UTC in every session.

use std::collections::BTreeMap;

use crds::Reason;
use crds::source::Engine;

use crate::decoding::columns::{Column, Target, oids};
use crate::errors::failure::Failure;
use crate::planning::selection;
use crate::settings::postgres::PINS;

/// Values of settings by name.
pub type Settings = BTreeMap<String, String>;

/// What a condition's setting is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The user's own value holds while the condition is read.
    Adopt,
    /// The value that every session of Tidemark has; another one changes how values are printed too.
    Equal(&'static str),
    /// The user's own value holds if it begins so: what follows says how values are read, not how they are
    /// printed.
    Begins(&'static str),
}

/// Settings of Postgres that say what a condition means. Those that are adopted print no column of a table
/// otherwise, but for those of [`readable`].
/// Source: chapters "Client Connection Defaults" and "Version and Platform Compatibility" of its manual.
const POSTGRES: &[(&str, Use)] = &[
    ("search_path", Use::Adopt),
    ("default_text_search_config", Use::Adopt),
    ("transform_null_equals", Use::Adopt),
    ("array_nulls", Use::Adopt),
    ("xmloption", Use::Adopt),
    ("timezone_abbreviations", Use::Adopt),
    ("lc_time", Use::Adopt),
    ("lc_numeric", Use::Adopt),
    (MONEY, Use::Adopt),
    ("quote_all_identifiers", Use::Adopt),
    ("pg_trgm.similarity_threshold", Use::Adopt),
    ("pg_trgm.word_similarity_threshold", Use::Adopt),
    ("pg_trgm.strict_word_similarity_threshold", Use::Adopt),
    ("IntervalStyle", Use::Equal("postgres")),
    ("bytea_output", Use::Equal("hex")),
    ("extra_float_digits", Use::Equal("1")),
    ("xmlbinary", Use::Equal("base64")),
    // the order of day, month and year follows
    ("DateStyle", Use::Begins("ISO")),
];

/// Says how money is read and printed.
const MONEY: &str = "lc_monetary";

/// Settings of MySQL and MariaDB that say what a condition means. Their own statements read alike under all.
const MYSQL: &[(&str, Use)] = &[
    ("sql_mode", Use::Adopt),
    ("collation_connection", Use::Adopt),
    ("old_mode", Use::Adopt),
    ("character_set_collations", Use::Adopt),
    ("default_week_format", Use::Equal("0")),
    ("div_precision_increment", Use::Equal("4")),
    ("lc_time_names", Use::Equal("en_US")),
    ("sql_auto_is_null", Use::Equal("OFF")),
    ("default_regex_flags", Use::Equal("")),
    ("block_encryption_mode", Use::Equal("aes-128-ecb")),
];

/// Modes of MySQL that change values or the type of a literal, so that no statement may have them.
const MODES_REFUSED: &[&str] = &["PAD_CHAR_TO_FULL_LENGTH", "ORACLE"];

/// Character set of all that is sent and received.
const CHARSET: &str = "utf8mb4";

fn table(engine: Engine) -> &'static [(&'static str, Use)] {
    match engine {
        Engine::Postgres => POSTGRES,
        Engine::Mysql => MYSQL,
    }
}

/// The settings that are asked for.
pub fn names(engine: Engine) -> Vec<&'static str> {
    table(engine).iter().map(|(name, _)| *name).collect()
}

/// The settings under which a condition is read, from those of a plain session.
///
/// # Errors
/// `InvalidSpec`, with the setting's name.
pub fn adopt(engine: Engine, plain: &Settings) -> Result<Settings, Failure> {
    let mut adopted = Settings::new();
    for (name, how) in table(engine) {
        // a setting that the server does not have means nothing to it
        let Some(value) = plain.get(*name) else { continue };
        match how {
            Use::Adopt => {
                check(name, value)?;
                adopted.insert((*name).to_owned(), value.clone());
            }
            Use::Begins(ours) if value.starts_with(ours) => {
                adopted.insert((*name).to_owned(), value.clone());
            }
            Use::Equal(ours) if value.eq_ignore_ascii_case(ours) => {}
            Use::Equal(ours) | Use::Begins(ours) => return Err(differs(name, ours)),
        }
    }
    Ok(adopted)
}

fn check(name: &str, value: &str) -> Result<(), Failure> {
    match name {
        "sql_mode" => {
            let refused = value.split(',').find(|mode| MODES_REFUSED.contains(mode));
            refused.map_or(Ok(()), |mode| Err(refusal(&format!("sql_mode has {mode}"))))
        }
        // text would arrive in another character set than it is read in
        "collation_connection" if value.split('_').next() != Some(CHARSET) => {
            Err(refusal("collation_connection does not use the character set utf8mb4"))
        }
        _ => Ok(()),
    }
}

fn differs(name: &str, ours: &str) -> Failure {
    refusal(&format!("{name} is not {ours:?}"))
}

fn refusal(what: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!(
            "extract.where cannot be evaluated with the settings of the database user: {what}, and this \
             setting would change the values that Tidemark reads"
        ),
        "Reset the setting for the database user, or create a view with the condition and set extract.table to it.",
    )
}

/// Types of columns, each with a type of [`setting_types`] that it contains at any depth.
pub type TypesWithin = [(u32, u32)];

/// Types whose text depends on an adopted setting.
pub fn setting_types() -> Vec<u32> {
    oids::REG.into_iter().chain([oids::MONEY]).collect()
}

/// Whether a column is of one of these types, or of a type that contains one.
pub fn holds(column: &Column, types: &[u32], within: &TypesWithin) -> bool {
    let contains = |(top, inner): &(u32, u32)| *top == column.type_oid && types.contains(inner);
    types.contains(&column.type_oid) || within.iter().any(contains)
}

/// The adopted settings under which these columns can be read too: the text of some names depends on
/// `search_path`, and that of money on `lc_monetary`, which is pinned together with such a column.
///
/// # Errors
/// `InvalidSpec`, with the column.
pub fn readable(
    mut adopted: Settings,
    (columns, within): (&[Column], &TypesWithin),
    filter: &str,
) -> Result<Settings, Failure> {
    if let Some(column) = columns.iter().find(|column| holds(column, &oids::REG, within)) {
        return Err(unreadable(column, "search_path"));
    }
    let is_c = |locale: &String| matches!(locale.split('.').next(), Some("C" | "POSIX"));
    // an extension's own type may print money too
    let own = |it: &Column| it.target == Target::AsText && it.type_oid >= oids::FIRST_OF_USERS;
    let money = |it: &Column| holds(it, &[oids::MONEY], within);
    if let Some(column) = columns.iter().find(|column| own(column) || money(column))
        && let Some(locale) = adopted.remove(MONEY)
        && !is_c(&locale)
        && may_read_money(filter, columns.iter().any(money))
    {
        return Err(unreadable(column, MONEY));
    }
    Ok(adopted)
}

/// Whether a condition may read or print money for each row. Its literals are checked elsewhere.
fn may_read_money(filter: &str, has_money: bool) -> bool {
    let reads = selection::reads(Engine::Postgres, filter);
    let named = ["money", "to_char", "to_number"];
    let words = ["and", "or", "not", "in", "like", "between", "is", "any", "all"];
    let calls = reads.calls.iter().any(|name| !words.contains(&name.as_str()));
    let converts = filter.contains("::") || calls;
    reads.names.iter().any(|name| named.contains(&name.as_str())) || converts && has_money
}

fn unreadable(column: &Column, setting: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!(
            "column {:?} ({}) cannot be extracted together with extract.where: both depend on {setting}, \
             and they need different values",
            column.name, column.type_name
        ),
        "Exclude the column with extract.excludeColumns, or create a view with the condition and set extract.table to it.",
    )
}

/// A condition that reads a literal by a setting that the user's sessions may have otherwise.
pub fn ambiguous(setting: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!("extract.where contains a literal whose meaning depends on {setting}"),
        "Write dates as year-month-day, for example '2024-02-01', and amounts of money as numeric.",
    )
}

/// The pinned values of adopted settings of Postgres, for statements that hold no condition.
pub fn pinned(adopted: &Settings) -> Settings {
    let pins = PINS.iter().filter(|pin| adopted.contains_key(pin.name));
    pins.map(|pin| (pin.name.to_owned(), pin.value.trim_matches('\'').to_owned())).collect()
}

/// The statement that puts a session of MySQL under these settings; `None` where there are none.
///
/// # Errors
/// `InvalidSpec` where the plan was edited.
pub fn mysql_statement(settings: &Settings) -> Result<Option<String>, Failure> {
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_,=".contains(&byte))
    };
    let assignments = settings.iter().map(|(name, value)| {
        // of letters, digits, commas, underscores and `=` alone, so that there is nothing to escape
        if !plain(name) || !plain(value) {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                "the plan contains a setting that the server does not have",
                "Do not edit plan.json. Start another run.",
            ));
        }
        Ok(format!("SESSION {name} = '{value}'"))
    });
    let assignments = assignments.collect::<Result<Vec<_>, Failure>>()?;
    Ok((!assignments.is_empty()).then(|| format!("SET {}", assignments.join(", "))))
}

#[cfg(test)]
mod tests;

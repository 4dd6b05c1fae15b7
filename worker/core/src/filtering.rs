//! In: what a plain session of the database user has set. Out: the settings under which `extract.where`
//! is read, so that it means what it means to that user. Bound: a few settings. Fails: `InvalidSpec`
//! where a setting would change what else the statement returns.
//!
//! The time zone is none of them: it is UTC in every session.

use std::collections::BTreeMap;

use crds::Reason;
use crds::source::Engine;

use crate::columns::{Column, Target, oids};
use crate::error::Failure;
use crate::selection;
use crate::settings::postgres::PINS;

/// Values of settings by name.
pub type Settings = BTreeMap<String, String>;

/// What a condition's setting is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The user's own value holds while the condition is read.
    Adopt,
    /// The value that every session of ours has; another one changes how values are printed too.
    Equal(&'static str),
    /// The user's own value holds if it begins so: what follows says how values are read, not how they are
    /// printed.
    Begins(&'static str),
}

/// Settings of Postgres that say what a condition means. Those that are adopted print no column of a table
/// otherwise, but for those of [`beside`].
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
            Err(refusal("collation_connection is of a character set other than utf8mb4"))
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
            "extract.where cannot be read as in a plain session of the database user: {what}, which would \
             change the values that are read"
        ),
        "Set it back for the database user, or create a view with the condition and set extract.table to it.",
    )
}

/// The adopted settings under which these columns can be read too: the text of some names depends on
/// `search_path`, and that of money on `lc_monetary`, which is pinned beside such a column.
///
/// # Errors
/// `InvalidSpec`, with the column.
pub fn beside(
    mut adopted: Settings,
    columns: &[Column],
    filter: &str,
) -> Result<Settings, Failure> {
    if let Some(column) = columns.iter().find(|column| oids::REG.contains(&column.type_oid)) {
        return Err(unreadable(column, "search_path"));
    }
    let is_c = |locale: &String| matches!(locale.split('.').next(), Some("C" | "POSIX"));
    let prints = |column: &&Column| prints_money(column);
    if let Some(column) = columns.iter().find(prints)
        && let Some(locale) = adopted.remove(MONEY)
        && !is_c(&locale)
        && may_read_money(filter, column)
    {
        return Err(unreadable(column, MONEY));
    }
    Ok(adopted)
}

/// Whether the text of a column may hold money: a type of a user's own may have it inside.
fn prints_money(column: &Column) -> bool {
    let own = column.target == Target::AsText && column.type_oid >= oids::FIRST_OF_USERS;
    own || matches!(column.type_oid, oids::MONEY | oids::MONEY_ARRAY)
}

/// Whether a condition may read or print money for each row. Its literals are looked at elsewhere.
fn may_read_money(filter: &str, column: &Column) -> bool {
    let reads = selection::reads(filter);
    let named = ["money", "to_char", "to_number"];
    let words = ["and", "or", "not", "in", "like", "between", "is", "any", "all"];
    let calls = reads.calls.iter().any(|name| !words.contains(&name.as_str()));
    let converts = filter.contains("::") || calls;
    reads.names.iter().any(|name| named.contains(&name.as_str()))
        || converts && matches!(column.type_oid, oids::MONEY | oids::MONEY_ARRAY)
}

fn unreadable(column: &Column, setting: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!(
            "column {:?} ({}) cannot be read together with extract.where: its text depends on the {setting} \
             that the condition is read under",
            column.name, column.type_name
        ),
        "Exclude the column with extract.excludeColumns, or create a view with the condition and set extract.table to it.",
    )
}

/// A condition that reads a literal by a setting that the user's sessions may have otherwise.
pub fn ambiguous(setting: &str) -> Failure {
    Failure::permanent(
        Reason::InvalidSpec,
        format!("extract.where holds a literal whose meaning depends on the setting {setting}"),
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
                "the plan has a setting that is not one of the server's",
                "Do not edit plan.json; start another run.",
            ));
        }
        Ok(format!("SESSION {name} = '{value}'"))
    });
    let assignments = assignments.collect::<Result<Vec<_>, Failure>>()?;
    Ok((!assignments.is_empty()).then(|| format!("SET {}", assignments.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_setting_that_prints_no_value_is_adopted() {
        let plain = settings(&[
            ("search_path", "\"$user\", public"),
            ("bytea_output", "hex"),
            ("transform_null_equals", "on"),
            ("work_mem", "4096"),
        ]);
        let adopted = adopt(Engine::Postgres, &plain).expect("adopted");
        let wanted =
            settings(&[("search_path", "\"$user\", public"), ("transform_null_equals", "on")]);
        assert_eq!(adopted, wanted);
    }

    #[test]
    fn a_setting_that_prints_values_otherwise_is_refused_by_name() {
        let cases = POSTGRES.iter().map(|case| (Engine::Postgres, case));
        for (engine, (name, how)) in cases.chain(MYSQL.iter().map(|case| (Engine::Mysql, case))) {
            let Use::Equal(ours) = how else { continue };
            assert!(adopt(engine, &settings(&[(name, ours)])).is_ok(), "{name}");
            let failure = adopt(engine, &settings(&[(name, "other")])).expect_err(name);
            assert!(failure.report.message.contains(name), "{failure}");
        }
        for (name, value, word) in [
            ("sql_mode", "STRICT_TRANS_TABLES,PAD_CHAR_TO_FULL_LENGTH", "PAD_CHAR_TO_FULL_LENGTH"),
            ("sql_mode", "PIPES_AS_CONCAT,ANSI_QUOTES,ORACLE", "ORACLE"),
            ("collation_connection", "latin1_german2_ci", "collation_connection"),
        ] {
            let failure = adopt(Engine::Mysql, &settings(&[(name, value)])).expect_err(name);
            assert!(failure.report.message.contains(word), "{failure}");
        }
    }

    /// Pinned settings that say nothing of what a condition means, and why.
    const MEANINGLESS: [(&str, &[&str]); 5] = [
        ("UTC in every session, as the docs say", &["TimeZone", "time_zone"]),
        (
            "text is sent and received as UTF-8",
            &["client_encoding", "character_set_client", "character_set_results"],
        ),
        (
            "bears on backslashes, which a condition does not have",
            &["standard_conforming_strings", "backslash_quote"],
        ),
        (
            "says whether a statement may run, or for how long",
            &[
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "transaction_timeout",
                "exit_on_error",
                "row_security",
                "client_min_messages",
                "restrict_nonsystem_relation_kind",
                "constraint_exclusion",
                "completion_type",
                "autocommit",
                "lock_wait_timeout",
                "wait_timeout",
                "net_read_timeout",
                "net_write_timeout",
                "max_statement_time",
                "max_session_mem_used",
                "sql_safe_updates",
                "max_execution_time",
                "idle_transaction_timeout",
                "idle_readonly_transaction_timeout",
                "tmp_disk_table_size",
                "explain_format",
                "sql_quote_show_create",
                "show_gipk_in_create_table_and_information_schema",
            ],
        ),
        (
            "a limit that would leave rows or parts of values out: it is lifted",
            &[
                "gin_fuzzy_search_limit",
                "sql_select_limit",
                "max_join_size",
                "sql_big_selects",
                "max_recursive_iterations",
                "cte_max_recursion_depth",
                "group_concat_max_len",
                "max_sort_length",
                "wsrep_dirty_reads",
                "use_secondary_engine",
                "standard_compliant_cte",
                "windowing_use_high_precision",
            ],
        ),
    ];

    #[test]
    fn each_pinned_setting_is_taken_over_refused_or_means_nothing_to_a_condition() {
        use crate::settings::mysql::{ALWAYS, MARIADB, WHERE_KNOWN};
        let mysql = ALWAYS.iter().chain(MARIADB).chain(WHERE_KNOWN).map(|(name, _)| *name);
        for (engine, pinned) in [
            (Engine::Postgres, PINS.iter().map(|pin| pin.name).collect::<Vec<_>>()),
            (Engine::Mysql, mysql.collect()),
        ] {
            for name in pinned {
                let decided = names(engine).contains(&name);
                let meaningless = MEANINGLESS.iter().any(|(_, names)| names.contains(&name));
                assert!(decided != meaningless, "{name}: {decided}");
            }
        }
    }

    #[test]
    fn the_order_of_a_date_is_taken_over_and_another_style_refused() {
        let adopted = |style: &str| adopt(Engine::Postgres, &settings(&[("DateStyle", style)]));
        for style in ["ISO, MDY", "ISO, DMY", "ISO, YMD"] {
            assert_eq!(adopted(style).expect(style)["DateStyle"], style);
        }
        for style in ["German, DMY", "SQL, MDY", "Postgres, MDY"] {
            let failure = adopted(style).expect_err(style);
            assert!(failure.report.message.contains("DateStyle"), "{failure}");
        }
        let back = pinned(&settings(&[("DateStyle", "ISO, DMY")]));
        assert_eq!(back["DateStyle"], "ISO, MDY");
    }

    #[test]
    fn money_is_read_as_the_user_does_unless_a_column_prints_it() {
        let column = |type_oid, target| Column {
            name: "c".to_owned(),
            type_oid,
            type_name: "t".to_owned(),
            type_modifier: -1,
            nullable: true,
            target,
            fidelity: None,
            reason: String::new(),
        };
        let own = |locale: &str, column: &Column, filter: &str| {
            beside(settings(&[(MONEY, locale)]), std::slice::from_ref(column), filter)
        };
        let (number, money) =
            (column(oids::INT4, Target::Int32), column(oids::MONEY, Target::AsText));
        let composite = column(20_000, Target::AsText);
        assert_eq!(own("de_DE", &number, "a::money > b").expect("taken over")[MONEY], "de_DE");
        for (column, filter) in [
            (&money, "c::text = '1'"),
            (&money, "name = lower('x')"),
            (&composite, "to_char(a, 'L9') = 'x'"),
        ] {
            let failure = own("de_DE", column, filter).expect_err(filter);
            assert!(failure.report.message.contains(MONEY), "{failure}");
            for locale in ["C", "C.UTF-8", "POSIX"] {
                assert!(own(locale, column, filter).is_ok(), "{locale}: {filter}");
            }
        }
        for (column, filter) in
            [(&money, "c > '1' and (a = 2 or b in (3))"), (&composite, "f(a) = 1")]
        {
            assert_eq!(own("de_DE", column, filter).expect(filter).get(MONEY), None, "{filter}");
        }
        let regclass = column(2205, Target::AsText);
        let failure = own("C", &regclass, "a = 1").expect_err("refused");
        assert!(failure.report.message.contains("search_path"), "{failure}");
    }

    #[test]
    fn every_adopted_setting_of_postgres_has_a_pin_to_go_back_to() {
        let adopted = POSTGRES.iter().filter(|(_, how)| *how == Use::Adopt);
        let adopted: Settings =
            adopted.map(|(name, _)| ((*name).to_owned(), "other".to_owned())).collect();
        let pinned = pinned(&adopted);
        assert_eq!(pinned.len(), adopted.len(), "{pinned:?}");
        assert_eq!(pinned["search_path"], "");
        assert_eq!(pinned["transform_null_equals"], "off");
    }

    #[test]
    fn mysql_is_put_under_settings_by_literals() {
        let both = settings(&[
            ("sql_mode", "ANSI_QUOTES,PIPES_AS_CONCAT"),
            ("collation_connection", "utf8mb4_bin"),
        ]);
        let statement = mysql_statement(&both).expect("a statement").expect("settings");
        assert_eq!(
            statement,
            "SET SESSION collation_connection = 'utf8mb4_bin', SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'"
        );
        assert!(
            mysql_statement(&settings(&[("sql_mode", "', SESSION sql_log_bin = '0")])).is_err()
        );
        assert_eq!(mysql_statement(&Settings::new()).expect("nothing"), None);
    }
}

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
    let wanted = settings(&[("search_path", "\"$user\", public"), ("transform_null_equals", "on")]);
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
            "information_schema_stats_expiry",
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
fn each_pinned_setting_is_adopted_refused_or_irrelevant_to_a_condition() {
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
fn the_order_of_a_date_is_adopted_and_another_style_refused() {
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
        let within = [(20_001, oids::MONEY), (20_002, 2205)];
        let columns = (std::slice::from_ref(column), within.as_slice());
        readable(settings(&[(MONEY, locale)]), columns, filter)
    };
    let (number, money) = (column(oids::INT4, Target::Int32), column(oids::MONEY, Target::AsText));
    let composite = column(20_000, Target::AsText);
    assert_eq!(own("de_DE", &number, "a::money > b").expect("taken over")[MONEY], "de_DE");
    for (column, filter) in [
        (&money, "c::text = '1'"),
        (&money, "name = lower('x')"),
        (&composite, "to_char(a, 'L9') = 'x'"),
        (&column(20_001, Target::AsText), "name = lower('x')"),
    ] {
        let failure = own("de_DE", column, filter).expect_err(filter);
        assert!(failure.report.message.contains(MONEY), "{failure}");
        for locale in ["C", "C.UTF-8", "POSIX"] {
            assert!(own(locale, column, filter).is_ok(), "{locale}: {filter}");
        }
    }
    for (column, filter) in [(&money, "c > '1' and (a = 2 or b in (3))"), (&composite, "f(a) = 1")]
    {
        assert_eq!(own("de_DE", column, filter).expect(filter).get(MONEY), None, "{filter}");
    }
    for type_oid in oids::REG.into_iter().chain([20_002]) {
        let named = column(type_oid, Target::AsText);
        let failure = own("C", &named, "a = 1").expect_err("refused");
        assert!(failure.report.message.contains("search_path"), "{failure}");
    }
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
    assert!(mysql_statement(&settings(&[("sql_mode", "', SESSION sql_log_bin = '0")])).is_err());
    assert_eq!(mysql_statement(&Settings::new()).expect("nothing"), None);
}

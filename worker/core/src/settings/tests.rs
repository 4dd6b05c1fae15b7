use super::*;

#[test]
fn a_setting_has_one_rule() {
    for (table, names) in
        [(postgres::table(), all(postgres::HARMLESS)), (mysql::table(), all(mysql::HARMLESS))]
    {
        for name in names {
            assert_eq!(table[&name.to_lowercase()].rule, Rule::Harmless, "{name} has two rules");
        }
    }
}

fn all(groups: &[Group]) -> Vec<&'static str> {
    groups.iter().flat_map(|group| group.names.iter().copied()).collect()
}

#[test]
fn a_pin_of_a_later_release_is_left_out_before_it() {
    let pins = |version| postgres::statements(version, &[]);
    let has = |version, name: &str| pins(version).contains(&format!("SET LOCAL {name} = "));
    assert!(has(150_019, "TimeZone") && has(0, "TimeZone"));
    assert!(!has(160_011, "transaction_timeout") && has(170_000, "transaction_timeout"));
    assert!(has(180_001, "transaction_timeout"));
    let late = "restrict_nonsystem_relation_kind";
    assert!(!has(150_007, late) && has(150_008, late) && !has(160_003, late) && has(180_000, late));
    assert!(!has(110_022, late) && !has(0, late), "a server that does not say its version");
    assert!(!pins(130_000).contains("idle_session_timeout"));
    assert!(pins(140_000).ends_with("SHOW idle_session_timeout"));
}

#[test]
fn one_pin_can_be_left_out() {
    let text = postgres::statements(150_000, &[postgres::SEARCH_PATH]);
    assert!(!text.contains("search_path") && text.contains("row_security"), "{text}");
}

#[test]
fn settings_the_user_may_not_set_are_refused_by_name() {
    for (name, bad) in [
        ("zero_damaged_pages", "on"),
        ("ignore_checksum_failure", "on"),
        ("idle_session_timeout", "59s"),
        ("idle_session_timeout", "1ms"),
    ] {
        let failure = postgres::check(name, bad).expect_err("refused");
        assert_eq!(failure.report.reason, Reason::SettingRefused);
        assert!(failure.report.message.contains(name), "{failure}");
    }
    for good in ["0", "60s", "1min", "2h", "1d", "90000ms"] {
        assert!(postgres::check("idle_session_timeout", good).is_ok(), "{good}");
    }
    assert!(postgres::check("zero_damaged_pages", "off").is_ok());
    assert!(postgres::check_money("0000000000000064").is_ok());
    let failure = postgres::check_money("0000000000000001").expect_err("no digits");
    assert!(failure.report.message.contains("lc_monetary"), "{failure}");
    let known = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    for (name, bad, good) in [
        ("system_versioning_asof", "2020-01-01 00:00:00.000000", "DEFAULT"),
        ("max_allowed_packet", "1024", "1048576"),
    ] {
        let failure = mysql::then(&known(name, bad)).expect_err("refused");
        assert!(failure.report.message.contains(name), "{failure}");
        assert!(mysql::then(&known(name, good)).is_ok(), "{name}");
    }
}

#[test]
fn settings_unknown_to_the_server_are_not_set() {
    let known = ["sql_safe_updates", "old_mode"].map(|name| (name.to_owned(), "1".to_owned()));
    let text = mysql::then(&known.into()).expect("good");
    let wanted = "SET SESSION old_mode = '', SESSION sql_safe_updates = 0";
    assert_eq!(text, wanted);
}

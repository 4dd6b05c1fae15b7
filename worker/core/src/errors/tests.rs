use crds::Reason;
use crds::condition::Exit;

use super::postgres::{Position, RAISED, When};
use super::{Class, Meaning, Shows, mysql, page, postgres};
use crate::settings;

mod built;

/// Codes of the server's own list, of every supported version.
const SQLSTATES: &str = include_str!("documented/postgres.txt");
/// Numbers of the lists of the servers.
const NUMBERS: [&str; 2] =
    [include_str!("documented/mysql.txt"), include_str!("documented/mariadb.txt")];

fn numbers() -> impl Iterator<Item = u16> {
    NUMBERS.iter().flat_map(|list| list.lines()).map(|line| line.parse().expect("a number"))
}

/// An error of Postgres that its own code raised.
fn said<'a>(code: &'a str, message: &'a str) -> postgres::Answer<'a> {
    postgres::Answer { code, message, file: Some("postgres.c"), ..postgres::Answer::default() }
}

#[test]
fn every_documented_code_of_postgres_has_a_row_and_every_row_a_documented_code() {
    let documented: Vec<&str> = SQLSTATES.lines().collect();
    assert!(documented.len() > 260, "{}", documented.len());
    for code in &documented {
        let found = postgres::meaning(&said(code, ""));
        assert_ne!(found, postgres::UNKNOWN, "{code} has no row");
        let class = postgres::TABLE.iter().any(|row| row.codes.contains(&&code[..2]));
        assert!(class, "class {} has no row", &code[..2]);
    }
    for code in postgres::TABLE.iter().flat_map(|row| row.codes) {
        assert!(documented.iter().any(|known| known.starts_with(code)), "{code} is not documented");
    }
}

#[test]
fn every_documented_number_of_both_servers_has_a_row_or_is_taken_by_its_sqlstate() {
    assert!(numbers().count() > 2900);
    for number in numbers() {
        let row = mysql::TABLE.iter().any(|row| row.numbers.contains(&number));
        let range = mysql::RANGES.iter().any(|range| (range.from..=range.to).contains(&number));
        assert!(row || range, "{number}");
    }
    let clients = [2059, 3, 5, 28, 126, 127, 145, 12_701, 12_721];
    for number in mysql::TABLE.iter().flat_map(|row| row.numbers) {
        let known = clients.contains(number) || numbers().any(|documented| documented == *number);
        assert!(known, "{number} is not documented");
    }
}

#[test]
fn no_row_hides_behind_an_earlier_one() {
    for (at, row) in mysql::TABLE.iter().enumerate() {
        for number in row.numbers {
            let earlier = mysql::TABLE[..at].iter().any(|other| {
                other.numbers.contains(number) && other.says.is_none() && !other.connected
            });
            assert!(!earlier, "{number} is in an earlier row");
        }
    }
    for (at, row) in postgres::TABLE.iter().enumerate() {
        for code in row.codes {
            let earlier = postgres::TABLE[..at].iter().any(|other| {
                other.codes.contains(code) && (other.when == When::Always || other.when == row.when)
            });
            assert!(!earlier, "{code} is in an earlier row");
        }
    }
}

#[test]
fn every_meaning_has_a_message_and_a_remedy() {
    let postgres = postgres::TABLE.iter().map(|row| row.meaning);
    let mysql = mysql::TABLE.iter().map(|row| row.meaning);
    let states = mysql::STATES.iter().map(|state| state.meaning);
    let others = [postgres::UNKNOWN, postgres::RAISED, postgres::REMOTE, mysql::UNKNOWN];
    for Meaning { reason, class, what, remedy, .. } in
        postgres.chain(mysql).chain(states).chain(others)
    {
        assert!(!what.is_empty() && !what.ends_with('.') && !what.contains("  "), "{what}");
        assert!(remedy.len() > 5 && remedy.ends_with('.') && !remedy.contains("  "), "{remedy}");
        assert!(remedy.starts_with(|c: char| c.is_ascii_uppercase()), "{remedy}");
        // a reason says by its meaning whether it is tried again
        let retried = matches!(reason, Reason::DatabaseUnreachable | Reason::DatabaseFailed);
        let damaged = reason == Reason::DatabaseFailed && what.contains("damaged");
        assert_eq!(retried && !damaged, class == Class::Transient, "{reason}: {what}");
    }
}

/// Every meaning of an engine, with the settings that its sessions pin.
fn meanings() -> [(Vec<Meaning>, settings::Table); 2] {
    let postgres = postgres::TABLE.iter().map(|row| row.meaning);
    let mysql = mysql::TABLE.iter().map(|row| row.meaning);
    let states = mysql::STATES.iter().map(|state| state.meaning);
    [
        (
            postgres.chain([postgres::UNKNOWN, RAISED, postgres::REMOTE]).collect(),
            settings::postgres::table(),
        ),
        (mysql.chain(states).chain([mysql::UNKNOWN]).collect(), settings::mysql::table()),
    ]
}

/// The user's own value of a pinned setting is never in force: to change it would not help.
#[test]
fn no_remedy_changes_a_setting_that_every_session_pins() {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut named = 0;
    for (meanings, table) in meanings() {
        for Meaning { remedy, .. } in meanings {
            let lower = remedy.to_lowercase();
            for word in lower.split(|c| !is_word(c)).filter(|word| word.contains('_')) {
                if !table
                    .get(word)
                    .is_some_and(|known| matches!(known.rule, settings::Rule::Pinned(_)))
                {
                    continue;
                }
                named += 1;
                // what a function may find there is said, not changed
                let said = word == "search_path" && lower.contains("name it with its schema");
                let set_by_others = ["find out what sets", "a function that sets"]
                    .iter()
                    .any(|words| lower.contains(words));
                assert!(said || set_by_others, "{word} is pinned: {remedy}");
            }
        }
    }
    assert!(named >= 5, "the rows that name what others set: {named}");
}

#[test]
fn the_page_of_the_docs_is_printed_from_the_tables() {
    let committed = include_str!("../../../../docs/database-errors.md");
    assert!(
        committed == page::page(),
        "cargo run -p system-tests --bin error_table > docs/database-errors.md"
    );
}

/// A function raises any error with any code, with the value of a row anywhere in it.
#[test]
fn no_text_that_a_function_chose_is_shown() {
    let canary = "relation \"canary\" does not exist";
    let raising = ["exec_stmt_raise", "exec_stmt_assert"];
    let codes: Vec<&str> = SQLSTATES.lines().chain(["P0001", "AB123", "99999"]).collect();
    for code in codes {
        let raised = raising.iter().map(|routine| (Some("pl_exec.c"), Some(*routine)));
        let languages =
            ["plpy_elog.c", "plperl.c", "pltcl.c", "plv8.cc"].map(|file| (Some(file), None));
        for (file, routine) in raised.chain(languages) {
            let answer = postgres::Answer {
                code,
                message: canary,
                context: Some("PL/pgSQL function s.f(integer) line 3 at RAISE"),
                position: Position::None,
                inner: None,
                file,
                routine,
                object: [Some("canary"); 5],
            };
            let failure = postgres::failure("read the rows", &answer);
            let text = failure.to_string();
            assert!(!text.contains("canary"), "{text}");
            assert!(text.contains(code) && text.contains("s.f(integer)"), "{text}");
            let reason = failure.report.reason;
            assert!(
                matches!(reason, Reason::QueryFailed | Reason::DatabaseFailed),
                "{code}: {text}"
            );
            let transient = postgres::meaning(&answer).class == Class::Transient
                && SQLSTATES.lines().any(|known| known == code);
            assert_eq!(failure.exit == Exit::Transient, transient, "{code}: {text}");
        }
        // an extension's: its code counts, its message does not
        let extension = postgres::Answer { file: Some("lwgeom_geos.c"), ..said(code, canary) };
        assert!(!postgres::failure("read", &extension).to_string().contains("canary"), "{code}");
    }
    for number in numbers() {
        for state in ["45000", "42S02", "HY000", "01000", ""] {
            let answer = mysql::Answer { number, state, message: "the row canary is bad" };
            let failure = mysql::failure("read the rows", &answer);
            assert!(!failure.to_string().contains("canary"), "{failure}");
            assert!(failure.to_string().contains(&number.to_string()), "{failure}");
        }
    }
}

#[test]
fn a_message_that_can_hold_a_value_is_not_shown_although_the_server_wrote_it() {
    for code in SQLSTATES.lines().filter(|code| ["22", "23", "28"].contains(&&code[..2])) {
        let failure = postgres::failure("read", &said(code, "canary"));
        assert!(!failure.to_string().contains("canary"), "{failure}");
        assert!(failure.to_string().contains(code), "{failure}");
    }
    // a name that was read from a row: a cast to regclass has no position
    let cast = postgres::Answer {
        file: Some("namespace.c"),
        ..said("42P01", "relation \"canary\" does not exist")
    };
    assert!(!postgres::failure("read", &cast).to_string().contains("canary"));
    // a name of three parts, too
    let cast = postgres::Answer {
        file: Some("namespace.c"),
        ..said("0A000", "cross-database references are not implemented: \"canary.a.b\"")
    };
    assert!(!postgres::failure("read", &cast).to_string().contains("canary"));
    // the name of a file
    for file in ["fd.c", "dfmgr.c", "copyto.c", "genfile.c"] {
        for code in ["58P01", "42501"] {
            let opened = postgres::Answer {
                file: Some(file),
                ..said(code, "could not open directory \"canary\"")
            };
            assert!(!postgres::failure("read", &opened).to_string().contains("canary"), "{file}");
        }
    }
}

#[test]
fn an_error_in_a_function_never_blames_the_table_of_the_manifest() {
    for code in ["42P01", "42703", "42883", "42501", "42601", "3F000"] {
        let answer = postgres::Answer {
            context: Some("SQL function \"s.f()\" during startup"),
            position: Position::Function,
            file: Some("parse_relation.c"),
            ..said(code, "relation \"s.gone\" does not exist")
        };
        let failure = postgres::failure("read", &answer);
        let reason = failure.report.reason;
        assert!(matches!(reason, Reason::QueryFailed | Reason::DatabaseDenied), "{failure}");
        assert!(failure.report.message.contains("s.f()"), "{failure}");
        assert!(code == "42601" || failure.report.message.contains("s.gone"), "{failure}");
        assert!(!failure.report.remedy.contains("extract.table"), "{failure}");
    }
    let ours = postgres::Answer {
        position: Position::Ours,
        file: Some("parse_relation.c"),
        ..said("42P01", "relation \"s.t\" does not exist")
    };
    let failure = postgres::failure("open the table", &ours);
    assert_eq!(failure.report.reason, Reason::TableNotFound);
    assert!(failure.report.message.contains("s.t"), "{failure}");
}

#[test]
fn a_foreign_server_is_not_mistaken_for_the_source() {
    for code in ["28P01", "3D000", "42P01", "53300", "08001"] {
        let answer = postgres::Answer {
            file: Some("connection.c"),
            ..said(code, "relation \"far.t\" does not exist")
        };
        let failure = postgres::failure("read", &answer);
        let reason = failure.report.reason;
        assert!(matches!(reason, Reason::QueryFailed | Reason::DatabaseFailed), "{failure}");
        // a view of the foreign server may have cast a value to regclass
        assert!(!failure.report.message.contains("far.t"), "{failure}");
        let local = postgres::Answer { message: "could not connect to server \"far\"", ..answer };
        let shown = postgres::failure("read", &local).to_string().contains("far");
        assert_eq!(shown, code == "08001");
        let dblink = postgres::Answer { file: Some("dblink.c"), ..local };
        assert!(!postgres::failure("read", &dblink).to_string().contains("far"));
    }
}

#[test]
fn connection_limits_standbys_and_read_only_servers_have_their_own_messages() {
    let postgres = |code, routine| {
        let answer = postgres::Answer { routine: Some(routine), ..said(code, "") };
        postgres::meaning(&answer).what
    };
    let mut words = vec![
        postgres("53300", "InitializeSessionUserId"),
        postgres("53300", "CheckMyDatabase"),
        postgres("53300", "InitProcess"),
        postgres("40001", "ProcessInterrupts"),
        postgres("40001", "heap_update"),
        postgres("40P01", "ProcessInterrupts"),
        postgres("40P01", "DeadLockReport"),
        postgres("57014", "ProcessInterrupts"),
        postgres("57P01", "ProcessInterrupts"),
        postgres("57P03", "ProcessStartupPacket"),
        postgres("25P03", "ProcessInterrupts"),
        postgres("25P04", "ProcessInterrupts"),
        postgres("25006", "PreventCommandIfReadOnly"),
        postgres("55000", "ExecOpenScanRelation"),
        postgres("55000", "pg_current_wal_lsn"),
        postgres("55000", "currval_oid"),
        postgres("0A000", "get_relation_info"),
        postgres("0A000", "RevalidateCachedQuery"),
        postgres("0A000", "RangeVarGetRelidExtended"),
    ];
    assert_eq!(words[3], words[5], "both are a standby's");
    words.remove(5);
    let mysql = |number, message| {
        mysql::meaning("read", &mysql::Answer { number, state: "", message }).what
    };
    words.extend(
        [1040, 1203, 1226, 1129, 1290, 1792, 1836, 1969, 1317].map(|number| mysql(number, "")),
    );
    words.push(mysql(1047, "WSREP has not yet prepared node for application use"));
    words.push(mysql(1047, "Unknown command"));
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
}

#[test]
fn error_numbers_with_two_meanings_are_distinguished_by_the_message() {
    let class = |number, state, message| {
        mysql::meaning("read", &mysql::Answer { number, state, message }).class
    };
    let idle = "The client was disconnected by the server because of inactivity. See wait_timeout and \
                interactive_timeout for configuring this behavior.";
    assert_eq!(class(4031, "HY000", idle), Class::Transient);
    // of MariaDB, a trigger that is not there; by its SQLSTATE
    assert_eq!(class(4031, "42000", "Referenced trigger 'x' does not exist"), Class::Permanent);
}

#[test]
fn refused_user_is_the_definer_once_the_session_is_connected() {
    let reason = |action, number| {
        mysql::meaning(action, &mysql::Answer { number, state: "28000", message: "" }).reason
    };
    assert_eq!(reason(mysql::CONNECT, 1045), Reason::CredentialsRejected);
    assert_eq!(reason(mysql::PIN, 1045), Reason::CredentialsRejected);
    assert_eq!(reason("open the table", 1045), Reason::DatabaseDenied);
    assert_eq!(reason("open the table", 1698), Reason::CredentialsRejected);
}

#[test]
fn a_message_of_mysql_is_shown_in_the_servers_own_form_without_the_user() {
    let message = |number, message| {
        mysql::failure("read", &mysql::Answer { number, state: "42000", message }).report.message
    };
    assert!(message(1146, "Table 'shop.gone' doesn't exist").contains("'shop.gone'"));
    let denied = "SELECT command denied to user 'canary'@'10.1.1.1' for table `shop`.`t`";
    let shown = message(1142, denied);
    assert!(shown.contains("`shop`.`t`") && !shown.contains("canary"), "{shown}");
    assert!(!shown.contains("10.1.1.1"), "{shown}");
}

#[test]
fn an_error_packet_is_read_with_and_without_a_sqlstate() {
    let read = mysql::Answer::of_packet;
    let answer = read(b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist");
    assert_eq!(
        (answer.number, answer.state, answer.message),
        (1146, "42S02", "Table 'a.b' doesn't exist")
    );
    let answer = read(b"\xff\x10\x04Too many connections");
    assert_eq!((answer.number, answer.state, answer.message), (1040, "", "Too many connections"));
    for cut in 0..8 {
        let _ = read(&b"\xff\x7a\x04#42S02"[..cut]);
    }
}

#[test]
fn a_message_is_one_line_and_short() {
    let long = "x\n".repeat(1000);
    let failure = postgres::failure("read", &said("XX000", &long));
    assert!(!failure.report.message.contains('\n') && failure.report.message.len() < 500);
    assert_eq!(postgres::meaning(&said("XX000", "")).shows, Shows::Message);
    assert_eq!(RAISED.class, Class::Permanent);
}

/// Source: `janitor.c` of PgBouncer, whose messages have the code of a broken protocol.
#[test]
fn a_poolers_time_limit_is_named_and_retried() {
    for limit in
        ["query timeout", "query_timeout", "transaction timeout", "idle transaction timeout"]
    {
        let failure = postgres::failure("read the rows", &said("08P01", limit));
        assert!(failure.report.message.contains("time limits"), "{failure}");
        assert!(failure.report.message.contains(limit), "{failure}");
        assert_eq!(failure.exit, Exit::Transient, "{limit}");
    }
}

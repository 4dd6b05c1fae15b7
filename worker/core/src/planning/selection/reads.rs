//! In: a condition. Out: what it reads other than its own row, as far as its words show.
//! Bound: one condition. Fails: never.

use crds::source::Engine;

/// What a condition reads other than its own row, by its words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// A property other than a call that may make the result differ between sessions; completes a sentence after
    /// the name of the field.
    pub doubt: Option<&'static str>,
    /// Names of what it may call, as the catalog has them.
    pub calls: Vec<String>,
    /// All its names: columns, types, and words of the language too.
    pub names: Vec<String>,
    /// Its operators, and those that words of the language stand for.
    pub operators: Vec<String>,
}

const SUBQUERY: &str = "has a subquery, which may read other rows";
const TIME: &str = "uses the current time, which differs between sessions";
const VARIABLE: &str = "reads a variable, whose value may differ between sessions";
const ESCAPES: &str = "has a literal or name with UESCAPE, which Tidemark cannot read";
const SEQUENCE: &str = "reads values from a sequence, so each session gets different values";

/// Words of both engines that stand for a query.
const QUERIES: [&str; 4] = ["select", "table", "with", "values"];
/// Keywords of both engines that return the current time without parentheses.
const CLOCKS: [&str; 5] =
    ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
/// Those of MySQL and MariaDB alone.
/// Source: their manuals, chapter "Date and Time Functions".
const CLOCKS_OF_MYSQL: [&str; 3] = ["utc_date", "utc_time", "utc_timestamp"];

/// Whether Postgres may parse a literal as the session's time: it contains one of four words, and otherwise only
/// numbers, signs, words such as `am` and at most one time zone.
/// Source: chapter "Date/Time Types" of its manual, and `ParseDateTime` for words within a text.
fn is_time(literal: &str) -> bool {
    const TIMES: [&str; 4] = ["now", "today", "yesterday", "tomorrow"];
    // of a partition or an array each value
    let values = literal.split(|it: char| ",[](){}\"".contains(it));
    values.into_iter().any(|value| {
        let is_word = |part: &&str| part.contains(char::is_alphabetic);
        let (mut times, mut unknown) = (0, 0);
        for word in value.split_whitespace().filter(is_word) {
            let mut letters = word.split(|it: char| !it.is_alphabetic());
            if letters.any(|run| TIMES.contains(&run)) {
                times += 1;
            } else if !["am", "pm", "at", "on", "t", "z", "utc", "gmt"].contains(&word) {
                unknown += 1;
            }
        }
        times > 0 && unknown <= 1
    })
}

/// Words of Postgres that stand for operators, which are found by their names.
const OPERATOR_WORDS: [(&str, &[&str]); 8] = [
    ("in", &["=", "<>"]),
    ("case", &["="]),
    ("nullif", &["="]),
    ("distinct", &["="]),
    ("between", &["<", "<=", ">", ">="]),
    ("like", &["~~", "!~~"]),
    ("ilike", &["~~*", "!~~*"]),
    ("similar", &["~", "!~"]),
];

/// An operator as Postgres parses it: trailing `+` and `-` belong to the operand, unless the operator contains a
/// sign of this list.
fn operator(signs: &str) -> &str {
    if signs.contains(['~', '!', '@', '%', '^', '&', '|', '?']) {
        return signs;
    }
    let end = signs.trim_end_matches(['+', '-']).len();
    &signs[..end.max(1)]
}

/// What an unquoted word shows about a condition; `before` is the preceding word.
fn doubt(engine: Engine, word: &str, before: Option<&String>) -> Option<&'static str> {
    let is_mysql = engine == Engine::Mysql;
    if QUERIES.contains(&word) {
        Some(SUBQUERY)
    } else if CLOCKS.contains(&word) || is_mysql && CLOCKS_OF_MYSQL.contains(&word) {
        Some(TIME)
    } else if !is_mysql && word == "uescape" {
        Some(ESCAPES)
    } else {
        let sequence = is_mysql && word == "value" && before.is_some_and(|it| is_neighbour(it));
        sequence.then_some(SEQUENCE)
    }
}

/// Whether a word begins `NEXT VALUE FOR` or `PREVIOUS VALUE FOR`.
fn is_neighbour(word: &str) -> bool {
    ["next", "previous"].contains(&word)
}

/// Splits a condition into words, as far as that shows what it reads.
pub fn reads(engine: Engine, filter: &str) -> Reads {
    let mut reads = Reads::default();
    let mut word: Option<String> = None;
    let mut rest = filter.chars().peekable();
    while let Some(now) = rest.next() {
        match now {
            '\'' => {
                word = None;
                let mut text = String::new();
                while let Some(it) = rest.next().filter(|it| *it != '\'') {
                    text.extend(it.to_lowercase());
                }
                let time = engine == Engine::Postgres && is_time(&text);
                reads.doubt = reads.doubt.or(time.then_some(TIME));
            }
            it if "+-*/<>=~!@%^&|?".contains(it) => {
                word = None;
                let mut signs = String::from(it);
                while let Some(it) = rest.next_if(|it| "+-*/<>=~!@%^&|?".contains(*it)) {
                    signs.push(it);
                }
                let variable = engine == Engine::Mysql && signs.contains('@');
                reads.doubt = reads.doubt.or(variable.then_some(VARIABLE));
                reads.operators.push(operator(&signs).to_owned());
                // what is left is a sign of its own
                let left = signs.len() > operator(&signs).len();
                reads.operators.extend(left.then(|| signs[signs.len() - 1..].to_owned()));
            }
            '"' | '`' => {
                let mut name = String::new();
                while let Some(it) = rest.next().filter(|it| *it != now) {
                    name.push(it);
                }
                reads.names.push(name.clone());
                word = Some(name);
            }
            '(' => reads.calls.extend(word.take()),
            it if it.is_whitespace() => {}
            it if it.is_alphanumeric() || it == '_' => {
                let mut name: String = it.to_lowercase().collect();
                while let Some(it) = rest.next_if(|it| it.is_alphanumeric() || *it == '_') {
                    name.extend(it.to_lowercase());
                }
                reads.doubt = reads.doubt.or(doubt(engine, &name, word.as_ref()));
                let meant = OPERATOR_WORDS.iter().filter(|(word, _)| *word == name);
                let meant = meant.flat_map(|(_, operators)| operators.iter());
                reads.operators.extend(meant.map(|operator| (*operator).to_owned()));
                reads.names.push(name.clone());
                word = Some(name);
            }
            _ => word = None,
        }
    }
    reads
}

/// Functions of MySQL and MariaDB whose result depends on their arguments alone, and other words that a
/// parenthesis may follow.
const CERTAIN: &str = "and or not in like between is xor div mod abs ceil ceiling floor round truncate sign lower lcase \
    upper ucase concat concat_ws length char_length character_length octet_length left right substr \
    substring mid trim ltrim rtrim replace reverse instr locate strcmp coalesce ifnull nullif if \
    greatest least cast convert binary year month day dayofmonth hour minute second date time \
    quarter datediff hex unhex md5 sha1 sha2 crc32 json_extract json_unquote json_value \
    json_contains find_in_set field bit_count regexp rlike char decimal when then else end case interval \
    extract date_format date_add date_sub adddate subdate str_to_date to_days from_days to_seconds last_day \
    dayofweek dayofyear weekday weekofyear yearweek week microsecond makedate maketime sec_to_time time_to_sec \
    timestampdiff timestampadd substring_index format lpad rpad repeat space ascii ord conv bin oct pow power sqrt \
    exp ln log log2 log10 sin cos tan asin acos atan atan2 degrees radians pi elt insert json_valid json_length \
    json_type json_array json_object json_keys json_search json_quote json_compact json_exists json_query \
    regexp_replace regexp_substr regexp_instr inet_aton inet_ntoa inet6_aton inet6_ntoa to_base64 from_base64 \
    uncompress compress soundex varchar nchar unsigned signed numeric float double";

/// A function of MySQL or MariaDB among these that may give each session another result: any that is not
/// known to depend on its arguments alone.
pub fn doubtful_call(calls: &[String]) -> Option<&String> {
    calls.iter().find(|name| CERTAIN.split(' ').all(|certain| certain != name.as_str()))
}

/// Whether a condition of MySQL or MariaDB may convert a time of day to a date and time, for which the server
/// uses the session's date: it has both, as a column of `columns` (name and type), a type or a function.
pub fn mixes_time_and_date(reads: &Reads, columns: &[(&str, &str)]) -> bool {
    const DATES: [&str; 3] = ["date", "datetime", "timestamp"];
    const PARTS: [&str; 12] = [
        "year",
        "quarter",
        "month",
        "week",
        "weekofyear",
        "yearweek",
        "day",
        "dayofmonth",
        "dayofweek",
        "dayofyear",
        "weekday",
        "datediff",
    ];
    let has = |name: &str| reads.names.iter().any(|it| it.eq_ignore_ascii_case(name));
    let calls = |name: &str| reads.calls.iter().any(|it| it == name);
    let word = |(_, type_name): &(&str, &str)| {
        let end = type_name.find(|it: char| !it.is_alphabetic());
        type_name[..end.unwrap_or(type_name.len())].to_lowercase()
    };
    let named: Vec<_> = columns.iter().filter(|(name, _)| has(name)).map(word).collect();
    let is_column =
        |name: &str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
    let typed = |name: &str| has(name) && !is_column(name);
    let dates = DATES.iter().any(|date| typed(date) || named.iter().any(|it| it == date));
    let times = typed("time") || named.iter().any(|it| it == "time");
    times && (dates || PARTS.iter().any(|part| calls(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_classified_by_what_it_reads_besides_its_row() {
        for (filter, doubt, calls) in [
            ("a = 1 and note = 'select f(x)'", None, ""),
            ("\"select\" = 1 or \"F\" (a) > 2", None, "F"),
            ("lower(a) in ('x') and Far.Off (a)", None, "lower in off"),
            ("a in (SELECT k from t)", Some(SUBQUERY), "in"),
            ("exists(table t)", Some(SUBQUERY), "exists"),
            ("d = u&'t!006fday' uescape '!'", Some(ESCAPES), ""),
            ("at < current_Timestamp", Some(TIME), ""),
            ("at < now ( )", None, "now"),
            ("note = 'it''s' and f('(')", None, "f"),
        ] {
            let reads = reads(Engine::Postgres, filter);
            assert_eq!(reads.doubt, doubt, "{filter}");
            assert_eq!(reads.calls.join(" "), calls, "{filter}");
        }
    }

    #[test]
    fn a_condition_is_known_by_its_operators_and_by_all_its_names() {
        for (filter, operators) in [
            ("a===b and c = -1", "=== = -"),
            ("a=-1 or b <@ c or d||'<>' = 'x'", "= - <@ || ="),
            ("a between 1 and 2", "< <= > >="),
            ("name not ilike 'a%' and id in (1)", "~~* !~~* = <>"),
            ("a is distinct from b", "="),
        ] {
            assert_eq!(reads(Engine::Postgres, filter).operators.join(" "), operators, "{filter}");
        }
        let filter = "t.Full and x::Kind = \"Odd\" and 'no name'::s.point is null";
        let names = reads(Engine::Postgres, filter).names;
        assert_eq!(names.join(" "), "t full and x kind Odd and s point is null");
    }

    #[test]
    fn a_literal_that_postgres_reads_as_the_time_asks_for_it() {
        let doubt = |literal: &str| reads(Engine::Postgres, &format!("at < '{literal}'")).doubt;
        for word in ["now", "today", "Yesterday", "TOMORROW"] {
            for literal in [
                word.to_owned(),
                format!(" {word} "),
                format!("{word} 10:00"),
                format!("{word},10:00 PM"),
                format!("10:00:00.5 {word}"),
                format!("{word}10:00"),
                format!("{word} 10:00 America/New_York"),
                format!("{word} 10:00 EST"),
                format!("[2024-01-01,{word}]"),
                format!("[{word} 00:00 Europe/Berlin, {word} 12:00 Europe/Berlin)"),
                format!("{{{word},infinity,-infinity}}"),
            ] {
                assert_eq!(doubt(&literal), Some(TIME), "{literal}");
            }
            for literal in [format!("{word}here"), format!("see you {word}"), format!("x{word}")] {
                assert_eq!(doubt(&literal), None, "{literal}");
            }
            assert_eq!(reads(Engine::Mysql, &format!("a = '{word}'")).doubt, None);
        }
    }

    #[test]
    fn a_word_or_a_variable_of_mysql_differs_between_sessions() {
        for (filter, doubt) in [
            ("at < utc_timestamp", Some(TIME)),
            ("at < UTC_DATE or a = 1", Some(TIME)),
            ("a < utc_time", Some(TIME)),
            ("at < current_date", Some(TIME)),
            ("a = @@timestamp", Some(VARIABLE)),
            ("a =@x", Some(VARIABLE)),
            ("a > next value for s", Some(SEQUENCE)),
            ("a > PREVIOUS VALUE FOR s", Some(SEQUENCE)),
            ("`utc_date` = 1 and mail = 'a@b' and `@@x` = 2", None),
            ("value = 1 and next > 2", None),
        ] {
            assert_eq!(reads(Engine::Mysql, filter).doubt, doubt, "{filter}");
        }
        for filter in ["utc_date = 1", "a <@ b", "next = value"] {
            assert_eq!(reads(Engine::Postgres, filter).doubt, None, "{filter}");
        }
    }

    #[test]
    fn a_call_of_mysql_is_doubtful_unless_it_depends_on_its_arguments_alone() {
        let doubt = |filter: &str| doubtful_call(&reads(Engine::Mysql, filter).calls).cloned();
        assert_eq!(doubt("lower(name) = 'a' and (id in (1, 2))"), None);
        for name in ["now", "curdate", "rand", "uuid", "my_function"] {
            assert_eq!(doubt(&format!("a > {name}()")).as_deref(), Some(name));
        }
    }

    #[test]
    fn time_compared_with_date_is_doubtful() {
        let columns = [
            ("at", "time(6)"),
            ("on", "date"),
            ("since", "timestamp"),
            ("name", "varchar(9)"),
            ("Date", "int(11)"),
        ];
        for (filter, mixes) in [
            ("At > `on`", true),
            ("at = since", true),
            ("cast(at as datetime) > '2024-01-01'", true),
            ("timestamp(at) > 0", true),
            ("year(at) = 2024", true),
            ("datediff(at, '2024-01-01') > 0", true),
            ("since > cast('10:00' as time)", true),
            ("time '10:00' < since", true),
            ("time(since) < `on`", true),
            ("at > '10:00'", false),
            ("hour(at) > 10", false),
            ("`Date` = 1 and at > '10:00'", false),
            ("year(since) = 2024", false),
            ("`on` = since and name = 'at'", false),
        ] {
            let reads = reads(Engine::Mysql, filter);
            assert_eq!(mixes_time_and_date(&reads, &columns), mixes, "{filter}");
        }
    }
}

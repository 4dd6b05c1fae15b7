//! In: the table's columns, what the manifest wants of them. Out: the columns that are read. Bound: one
//! table. Fails: `ColumnNotFound`, `InvalidSpec`.

use crds::Reason;
use crds::extract_job::{Extract, Strategy};

use crate::bounds::find_column;
use crate::columns::Column;
use crate::error::Failure;

/// The columns that `extract.columns` and `extract.excludeColumns` leave, in the table's order. Each of
/// their names must be a column: one that is misspelt would be read after all, or be missing unseen.
///
/// # Errors
/// `ColumnNotFound`; `InvalidSpec` where nothing is left, or the watermark or partition column is not.
pub fn select(columns: Vec<Column>, extract: &Extract) -> Result<Vec<Column>, Failure> {
    let (names, field) = match (&extract.columns, &extract.exclude_columns) {
        (Some(names), _) => (names, "extract.columns"),
        (None, Some(names)) => (names, "extract.excludeColumns"),
        (None, None) => return Ok(columns),
    };
    let named = names
        .iter()
        .map(|name| find_column(&columns, name, field).map(|column| column.name.clone()))
        .collect::<Result<Vec<String>, Failure>>()?;
    let taken = extract.columns.is_some();
    let (left, gone): (Vec<Column>, Vec<Column>) =
        columns.into_iter().partition(|column| named.contains(&column.name) == taken);
    if left.is_empty() {
        return Err(Failure::permanent(
            Reason::InvalidSpec,
            format!("{field} leaves no column to extract"),
            "name at least one column that is taken",
        ));
    }
    let watermark = extract.watermark.as_ref().map(|watermark| watermark.column.as_str());
    let partition = extract.partition.as_ref();
    let partition = partition.filter(|partition| partition.strategy != Some(Strategy::None));
    let partition = partition.and_then(|partition| partition.column.as_deref());
    for (role, needed) in [("watermark", watermark), ("partition", partition)] {
        let Some(needed) = needed else { continue };
        if find_column(&left, needed, field).is_err() && find_column(&gone, needed, field).is_ok() {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                format!("{field} leaves out the {role} column {needed:?}, which each run reads"),
                format!("take it too, or choose another {role} column"),
            ));
        }
    }
    Ok(left)
}

/// Whether `extract.where` stays inside the parentheses that it is put in, however the database reads
/// it: no comment, no statement after it, no quote or parenthesis left open, and no backslash or dollar
/// sign, since engines and settings read those differently.
///
/// # Errors
/// `InvalidSpec`.
pub fn check_filter(filter: &str) -> Result<(), Failure> {
    let bad = |what: &str| {
        Err(Failure::permanent(
            Reason::InvalidSpec,
            format!("extract.where {what}"),
            "write one condition without comments, semicolons, backslashes and dollar signs, every quote \
             and parenthesis closed; or make a view of the rows and extract that",
        ))
    };
    let (mut quote, mut depth, mut before) = (None, 0_u32, '\0');
    for now in filter.chars() {
        match (quote, now) {
            (_, '\\' | '\0') => return bad("holds a backslash or a NUL"),
            // a doubled quote closes and opens again
            (Some(open), _) if now == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(now),
            (None, ';' | '$' | '#') => return bad("holds a semicolon, a dollar sign or a hash"),
            (None, '-') if before == '-' => return bad("holds a comment"),
            (None, '*') if before == '/' => return bad("holds a comment"),
            (None, '(') => depth += 1,
            (None, ')') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return bad("closes a parenthesis that it did not open"),
            },
            (Some(_) | None, _) => {}
        }
        before = now;
    }
    match (quote, depth, filter.trim()) {
        (_, _, "") => bad("is empty"),
        (Some(_), ..) => bad("leaves a quote open"),
        (None, 1.., _) => bad("leaves a parenthesis open"),
        (None, 0, _) => Ok(()),
    }
}

/// What a condition reads besides the row that it is asked of, by its words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// It has a sub-query.
    pub sub_query: bool,
    /// It asks for the time, which each session has for itself.
    pub clock: bool,
    /// Names of what it may call, as the catalog has them.
    pub calls: Vec<String>,
    /// All its names: columns, types, and words of the language too.
    pub names: Vec<String>,
    /// Its operators, and those that words of the language stand for.
    pub operators: Vec<String>,
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

/// A run of signs as Postgres reads it: the signs at its end are of the operand, unless a sign of the first
/// list is in it.
fn operator(signs: &str) -> &str {
    if signs.contains(['~', '!', '@', '%', '^', '&', '|', '?']) {
        return signs;
    }
    let end = signs.trim_end_matches(['+', '-']).len();
    &signs[..end.max(1)]
}

/// Takes a condition apart into words, as far as that tells what it reads.
pub fn reads(filter: &str) -> Reads {
    const SUB_QUERIES: [&str; 4] = ["select", "table", "with", "values"];
    const CLOCKS: [&str; 5] =
        ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
    const TIMES: [&str; 4] = ["now", "today", "yesterday", "tomorrow"];
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
                // Postgres reads these as the time of the session, where a date is wanted
                reads.clock |= TIMES.contains(&text.trim());
            }
            it if "+-*/<>=~!@%^&|?".contains(it) => {
                word = None;
                let mut signs = String::from(it);
                while let Some(it) = rest.next_if(|it| "+-*/<>=~!@%^&|?".contains(*it)) {
                    signs.push(it);
                }
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
                reads.sub_query |= SUB_QUERIES.contains(&name.as_str());
                reads.clock |= CLOCKS.contains(&name.as_str());
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
    json_contains find_in_set field bit_count regexp rlike char decimal";

/// A function of MySQL or MariaDB among these that may give each session another result: any that is not
/// known to depend on its arguments alone.
pub fn doubtful_call(calls: &[String]) -> Option<&String> {
    calls.iter().find(|name| CERTAIN.split(' ').all(|certain| certain != name.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::columns::{oids, target_for};

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_oid: oids::INT4,
            type_name: "integer".to_owned(),
            type_modifier: -1,
            nullable: true,
            target: target_for(oids::INT4, -1),
            fidelity: None,
            reason: String::new(),
        };
        names.iter().map(column).collect()
    }

    fn left(fields: &Value) -> Result<String, String> {
        let mut extract = json!({ "table": "t", "type": "FE" });
        for (key, value) in fields.as_object().expect("fields") {
            extract[key] = value.clone();
        }
        let extract = serde_json::from_value(extract).expect("extract");
        match select(columns(&["id", "a", "A", "at"]), &extract) {
            Ok(left) => {
                Ok(left.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(" "))
            }
            Err(failure) => Err(failure.report.message),
        }
    }

    #[test]
    fn a_condition_is_known_by_what_it_reads_besides_its_row() {
        for (filter, sub_query, clock, calls) in [
            ("a = 1 and note = 'select f(x)'", false, false, ""),
            ("\"select\" = 1 or \"F\" (a) > 2", false, false, "F"),
            ("lower(a) in ('x') and Far.Off (a)", false, false, "lower in off"),
            ("a in (SELECT k from t)", true, false, "in"),
            ("exists(table t)", true, false, "exists"),
            ("at < current_Timestamp", false, true, ""),
            ("at < now ( )", false, false, "now"),
            ("note = 'it''s' and f('(')", false, false, "f"),
        ] {
            let reads = reads(filter);
            assert_eq!((reads.sub_query, reads.clock), (sub_query, clock), "{filter}");
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
            assert_eq!(reads(filter).operators.join(" "), operators, "{filter}");
        }
        let names = reads("t.Full and x::Kind = \"Odd\" and 'no name'::s.point is null").names;
        assert_eq!(names.join(" "), "t full and x kind Odd and s point is null");
    }

    #[test]
    fn columns_are_taken_or_left_out_in_the_tables_order() {
        assert_eq!(left(&json!({})), Ok("id a A at".to_owned()));
        assert_eq!(left(&json!({ "columns": ["at", "A", "ID"] })), Ok("id A at".to_owned()));
        assert_eq!(left(&json!({ "excludeColumns": ["A"] })), Ok("id a at".to_owned()));
        for (fields, words) in [
            (json!({ "columns": ["id", "b"] }), "no column \"b\""),
            (json!({ "excludeColumns": ["b"] }), "no column \"b\""),
            (json!({ "excludeColumns": ["id", "a", "A", "at"] }), "leaves no column"),
            (
                json!({ "columns": ["id"], "watermark": { "column": "at", "type": "int" } }),
                "leaves out the watermark column \"at\"",
            ),
            (
                json!({ "excludeColumns": ["id"], "partition": { "column": "ID" } }),
                "leaves out the partition column \"ID\"",
            ),
        ] {
            let said = left(&fields).expect_err(words);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_word_that_postgres_reads_as_the_time_asks_for_the_clock() {
        assert!(reads("at < 'now'").clock && reads("d = ' Today '").clock);
        assert!(!reads("name = 'nowhere'").clock);
    }

    #[test]
    fn a_call_of_mysql_is_doubtful_unless_it_depends_on_its_arguments_alone() {
        let doubt = |filter: &str| doubtful_call(&reads(filter).calls).cloned();
        assert_eq!(doubt("lower(name) = 'a' and (id in (1, 2))"), None);
        for name in ["now", "curdate", "rand", "uuid", "my_function"] {
            assert_eq!(doubt(&format!("a > {name}()")).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_condition_cannot_leave_its_parentheses() {
        for fine in [
            "a = 1",
            "a = 'it''s (; -- /* $' and (b > -1 or \"odd)\" is null)",
            "a - -1 > 2 and b / 2 * 3 > 1",
            "`odd;` = 'x'",
        ] {
            assert!(check_filter(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "",
            "  ",
            "a = 1; drop table t",
            "a = 1) or (1 = 1",
            "a = (1",
            "a = 'x",
            "a = 1 -- b",
            "a /* b",
            "a = 1 # b",
            "a = '\\' or 1 = 1",
            "a = $$x$$",
            "a = \"b",
            "a = 'x''",
        ] {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
    }
}

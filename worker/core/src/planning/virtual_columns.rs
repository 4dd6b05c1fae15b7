//! In: the columns of a table of MariaDB. Out: those whose values may differ between statements. Bound: one
//! table. Fails: `InvalidSpec` where one is the watermark or partition column.
//!
//! MariaDB allows functions such as `rand()` in a VIRTUAL column. MySQL and Postgres 18 allow only
//! deterministic (Postgres: built-in immutable) functions, so there a virtual column depends only on its row.
//! Source: the manuals' chapters on generated columns.

use std::fmt;

use crds::Reason;
use crds::extract_job::Extract;
use crds::source::Engine;

use crate::decoding::columns::Column;
use crate::errors::failure::Failure;
use crate::planning::selection::{self, Reads};

/// A column as the catalog has it.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type with its arguments.
    pub type_name: &'a str,
    /// `EXTRA` of `information_schema.COLUMNS`.
    pub extra: &'a str,
    /// `GENERATION_EXPRESSION`.
    pub expression: &'a str,
}

/// A column that is not stored and whose values may differ between statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recomputed {
    /// The column.
    pub column: String,
    /// Why: follows on the column.
    pub why: String,
    /// Whether they are known to differ; else Tidemark does not know a function that the column calls.
    pub certainly: bool,
}

impl fmt::Display for Recomputed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, why, .. } = self;
        write!(
            f,
            "column {column:?} is VIRTUAL, and {why}, so its values may differ between statements"
        )
    }
}

/// Functions that a VIRTUAL column of MariaDB may call and whose result depends on time, session or chance.
const NOT_DETERMINISTIC: &str = "benchmark connection_id curdate current_date current_role current_time \
    current_timestamp current_user curtime database found_rows get_lock is_free_lock is_used_lock \
    last_insert_id lastval load_file localtime localtimestamp nextval now rand release_lock row_count \
    schema session_user setval sleep sys_guid sysdate system_user unix_timestamp user utc_date utc_time \
    utc_timestamp uuid uuid_short uuid_v4 uuid_v7 version";

/// The columns whose values may differ between statements: computed from more than the row, or from such a
/// column.
pub fn recomputed(columns: &[Described<'_>]) -> Vec<Recomputed> {
    let types: Vec<_> = columns.iter().map(|column| (column.name, column.type_name)).collect();
    let is_virtual = |column: &&Described<'_>| column.extra.to_uppercase().contains("VIRTUAL");
    let all: Vec<_> = columns
        .iter()
        .filter(is_virtual)
        .map(|column| (column, selection::reads(Engine::Mysql, column.expression)))
        .collect();
    let mut found: Vec<Recomputed> = all
        .iter()
        .filter_map(|(column, reads)| {
            let (why, certainly) = doubt(column.expression, reads, &types)?;
            Some(Recomputed { column: column.name.to_owned(), why, certainly })
        })
        .collect();
    // a virtual column may read another one, which may read another one
    loop {
        let next = all.iter().find_map(|(column, reads)| {
            let known = found.iter().any(|it| it.column == column.name);
            let names = |it: &&Recomputed| reads.names.iter().any(|name| same(name, &it.column));
            let below =
                found.iter().filter(names).max_by_key(|it| it.certainly).filter(|_| !known)?;
            let (column, certainly) = (column.name.to_owned(), below.certainly);
            let why =
                format!("its expression reads column {:?}, which is recomputed", below.column);
            Some(Recomputed { column, why, certainly })
        });
        match next {
            Some(next) => found.push(next),
            None => return found,
        }
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Why an expression may have another value in each statement, and whether it is known to.
fn doubt(expression: &str, reads: &Reads, types: &[(&str, &str)]) -> Option<(String, bool)> {
    if expression.trim().is_empty() || expression.contains('\\') {
        return Some(("its expression cannot be read".to_owned(), false));
    }
    if let Some(doubt) = reads.doubt {
        return Some((format!("its expression {doubt}"), true));
    }
    if selection::mixes_time_and_date(reads, types) {
        let why = "its expression may convert a time of day to a date and time, which uses the current date";
        return Some((why.to_owned(), true));
    }
    let is_known = |name: &&String| NOT_DETERMINISTIC.split(' ').any(|it| it == name.as_str());
    if let Some(function) = reads.calls.iter().find(is_known) {
        return Some((format!("its expression calls {function}"), true));
    }
    let function = selection::doubtful_call(&reads.calls)?;
    Some((
        format!("its expression calls {function}, which may depend on more than its arguments"),
        false,
    ))
}

/// The first of these columns that the extract reads or that its condition names.
pub fn read_of<'a>(
    recomputed: &'a [Recomputed],
    columns: &[Column],
    extract: &Extract,
) -> Option<&'a Recomputed> {
    let filter = extract.filter.as_deref();
    let filter = filter.map(|filter| selection::reads(Engine::Mysql, filter)).unwrap_or_default();
    recomputed.iter().find(|it| {
        columns.iter().any(|column| column.name == it.column)
            || filter.names.iter().any(|name| same(name, &it.column))
    })
}

/// Refuses a column (`what` it is used as) whose values are known to differ between statements.
///
/// # Errors
/// `InvalidSpec`.
pub fn check_stored(what: &str, column: &str, recomputed: &[Recomputed]) -> Result<(), Failure> {
    match recomputed.iter().find(|it| it.column == column && it.certainly) {
        None => Ok(()),
        Some(it) => Err(Failure::permanent(
            Reason::InvalidSpec,
            format!("{what} {it}"),
            format!("Choose another {what} column, or declare this one STORED."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIRTUAL: &str = "VIRTUAL GENERATED";

    fn described<'a>(name: &'a str, extra: &'a str, expression: &'a str) -> Described<'a> {
        Described { name, type_name: "int(11)", extra, expression }
    }

    fn found(extra: &str, expression: &str) -> Option<Recomputed> {
        let time = Described { type_name: "time(6)", ..described("at", "", "") };
        recomputed(&[time, described("v", extra, expression)]).pop()
    }

    #[test]
    fn virtual_column_that_reads_more_than_its_row_is_recomputed() {
        for certain in [
            "`a` + 1",
            "upper(`a`)",
            "concat(`a`,'x rand()')",
            "case when (`a` > 1) then 2 else (3) end",
            "date_format(`b`,'%Y')",
            "substring_index(`a`,'.',1)",
            "extract(year from `b`)",
            "hour(`at`)",
        ] {
            assert_eq!(found(VIRTUAL, certain), None, "{certain}");
        }
        for (certainly, doubtful) in [
            (true, "rand()"),
            (true, "floor(rand() * 100)"),
            (true, "current_timestamp()"),
            (true, "now()"),
            (true, "sysdate()"),
            (true, "unix_timestamp()"),
            (true, "connection_id()"),
            (true, "current_user()"),
            (true, "user()"),
            (true, "uuid()"),
            (true, "session_user()"),
            (true, "last_insert_id()"),
            (true, "`a` > current_date"),
            (true, "year(`at`)"),
            (true, "cast(`at` as datetime)"),
            (false, "shop.f(`a`)"),
            (false, ""),
            (false, "concat('a\\'',rand(),'\\'')"),
        ] {
            let it = found(VIRTUAL, doubtful).expect(doubtful);
            assert!(it.to_string().contains("column \"v\" is VIRTUAL"), "{it}");
            assert_eq!(it.certainly, certainly, "{doubtful}");
            assert_eq!(found("STORED GENERATED", doubtful), None, "{doubtful}");
            assert_eq!(found("", doubtful), None, "{doubtful}");
            // what is not known costs the claim, not the column
            let all = [it];
            assert_eq!(check_stored("watermark", "v", &all).is_err(), certainly, "{doubtful}");
        }
    }

    #[test]
    fn virtual_column_that_reads_a_recomputed_one_is_recomputed_too() {
        let columns = [
            described("third", VIRTUAL, "`Second` * 2"),
            described("second", VIRTUAL, "`first` * 10"),
            described("first", VIRTUAL, "rand()"),
            described("plain", VIRTUAL, "`a` * 10"),
            described("kept", "STORED GENERATED", "`first` * 10"),
        ];
        let mut names: Vec<_> = recomputed(&columns).into_iter().map(|it| it.column).collect();
        names.sort_unstable();
        assert_eq!(names, ["first", "second", "third"]);
        let all = recomputed(&columns);
        let refused = check_stored("watermark", "third", &all).expect_err("refused").report;
        assert!(refused.message.contains("reads column"), "{}", refused.message);
        assert_eq!(check_stored("watermark", "plain", &all), Ok(()));
    }

    #[test]
    fn condition_that_names_a_recomputed_column_reads_it() {
        let all = recomputed(&[described("v", VIRTUAL, "rand()")]);
        let extract = |filter: &str| -> Extract {
            serde_json::from_value(
                serde_json::json!({ "table": "t", "type": "FE", "where": filter }),
            )
            .expect("extract")
        };
        assert_eq!(read_of(&all, &[], &extract("a > 1")), None);
        for named in ["v > 1", "V > 1", "a < `v`"] {
            assert!(read_of(&all, &[], &extract(named)).is_some(), "{named}");
        }
    }
}

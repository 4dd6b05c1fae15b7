//! Prints the tables as `docs/database-errors.md`.

use std::fmt::Write as _;

use super::postgres::{RAISED, REMOTE, When};
use super::{Class, Meaning, Shows, mysql, postgres};

const HEAD: &str = "\
# Database errors

How Tidemark classifies the errors of a database server. This page is printed from the tables that the program
uses (`worker/core/src/errors`): `cargo run -p system-tests --bin error_table > docs/database-errors.md`.

- **Permanent**: another attempt cannot help. The run stops with the remedy.
- **Transient**: the next attempt may succeed.
- **Message**: whether the condition shows the server's own message. A message that may contain row values is never
  shown. The code is always shown.
  - `yes`: if the server itself wrote the message, not a function.
  - `names`: if the name in the message comes from Tidemark's own statement or from the source of a function in SQL or
    PL/pgSQL. Dynamic SQL may contain row values.
  - `form`: if the text of the message matches the server's own message for this code.
  - `no`: never.
- The first matching row applies. Rows for a single code come before rows for its class.

The condition also shows the function in which the error happened, and the schema, table, column, constraint or type,
if the server names them. A function can raise any code with any message (`RAISE`, `SIGNAL`). On Postgres, Tidemark
recognizes such errors, and errors of a foreign server, by the place where they were raised. The code then does not
decide the reason or the remedy, because the function chose it. It decides only whether the run is retried.
";

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Postgres, by SQLSTATE\n\nEvery class of the documentation's Appendix A has a row.\n\n");
    page.push_str("| SQLSTATE | when | meaning | reason | class | message | remedy |\n|---|---|---|---|---|---|---|\n");
    for row in postgres::TABLE {
        let codes: Vec<_> = row.codes.iter().map(|code| sqlstate(code)).collect();
        let when = match row.when {
            When::Always => String::new(),
            When::Inside => "in a function".to_owned(),
            When::Ours => "in the text of Tidemark's statement".to_owned(),
            When::By(routines) => format!("raised by `{}`", routines.join("`, `")),
            When::Says(words) => format!("message `{words}`"),
        };
        line(&mut page, &codes.join(", "), Some(&when), &row.meaning, None);
    }
    line(&mut page, "any", Some("raised by a function itself"), &RAISED, None);
    line(&mut page, "any", Some("from a foreign server"), &REMOTE, None);
    line(&mut page, "any other", Some(""), &postgres::UNKNOWN, None);
    page.push_str("\n## MySQL and MariaDB, by number\n\n");
    page.push_str("| number | when | meaning | reason | class | message | remedy |\n|---|---|---|---|---|---|---|\n");
    for row in mysql::TABLE {
        let numbers: Vec<_> = row.numbers.iter().map(ToString::to_string).collect();
        let when = match row.says {
            Some(shape) => format!("message `{}`", shape.replace('%', "...")),
            None if row.connected => "after the connection is made".to_owned(),
            None => String::new(),
        };
        let form = (!row.shown.is_empty()).then_some("form");
        line(&mut page, &numbers.join(", "), Some(&when), &row.meaning, form);
    }
    page.push_str("\nIf no row names a number, the SQLSTATE that comes with it decides:\n\n");
    page.push_str(
        "| SQLSTATE | meaning | reason | class | message | remedy |\n|---|---|---|---|---|---|\n",
    );
    for state in mysql::STATES {
        let starts: Vec<_> = state.starts.iter().map(|start| sqlstate(start)).collect();
        line(&mut page, &starts.join(", "), None, &state.meaning, None);
    }
    page.push_str("\nNumbers in use:\n\n| from | to | used by |\n|---|---|---|\n");
    for range in mysql::RANGES {
        let _ = writeln!(page, "| {} | {} | {} |", range.from, range.to, range.of);
    }
    page
}

fn sqlstate(code: &str) -> String {
    format!("{code}{}", "x".repeat(5 - code.len().min(5)))
}

fn line(page: &mut String, codes: &str, when: Option<&str>, meaning: &Meaning, form: Option<&str>) {
    let class = match meaning.class {
        Class::Permanent => "permanent",
        Class::Transient => "transient",
    };
    let shows = form.unwrap_or(match meaning.shows {
        Shows::Code => "no",
        Shows::Named => "names",
        Shows::Message => "yes",
    });
    let when = when.map(|when| format!(" {when} |")).unwrap_or_default();
    let Meaning { reason, what, remedy, .. } = meaning;
    let _ =
        writeln!(page, "| {codes} |{when} {what} | `{reason}` | {class} | {shows} | {remedy} |");
}

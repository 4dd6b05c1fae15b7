//! `docs/settings.md`: the rules, with what was tried.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::tests_dir;
use worker_core::settings::{Known, Rule, Table, mysql, postgres};

use super::Tried;

/// Of a value no more is printed.
const VALUE_CHARS_MAX: usize = 40;

const HEAD: &str = "\
# Database settings

No setting of the server, the database, the role or the connection changes the rows and values that Tidemark reads.
Each setting has one of three rules:

- **pinned**: every session sets it to the value in the table. Postgres: with `SET LOCAL`, in each transaction.
  MySQL and MariaDB: with `SET SESSION`, after login, if the server has the setting.
- **harmless**: a session inherits it. It changes neither the rows and values of Tidemark's own statements nor how the
  server parses them. If functions and searches inside a view depend on it, the reason says so. They then work as in
  every other session of the database user.
- **refused**: Tidemark's sessions cannot set it. If it has a value other than those in the table, the run fails with
  `SettingRefused`, and the message names the setting.

The pinned settings apply to views too. For example, `to_char(at, 'TMMonth')` in a view prints English names. A function
with its own settings (`CREATE FUNCTION ... SET`) keeps them. With `extract.where`, some settings have the values of a
plain session of the database user instead: see [Columns and rows](selection.md#where).

Settings of an extension that is not in the table are inherited: its functions, operators and indexes work as in every other
session of the database user.

`make test-settings` prints this page. It sets each setting of the server to the values in the last column, for the role
(Postgres), the server (MariaDB) or the connection (`init_connect`). Then it compares extracts of a table with every type
byte by byte. The last column shows:

- a value with `refused`: the run failed with a message that names the setting.
- `-`: no value was tried. The server does not have the setting, the setting cannot be set there, or the page was printed
  from the rules alone.

A limit of one millisecond may end a session before Tidemark lifts the limit. The run then fails with a message that
names the limit, and is retried.
";

fn path() -> PathBuf {
    tests_dir().join("../docs/settings.md")
}

/// One row without what was tried.
fn row(name: &str, known: &Known) -> String {
    let text = match known.rule {
        Rule::Pinned(value) => format!("`{value}` ({})", known.why),
        Rule::Refused(needed) => format!("needs `{needed}`: {}", known.why),
        Rule::Harmless => known.why.to_owned(),
    };
    format!("| `{name}` | {} | {text} |", known.rule.word())
}

fn section(page: &mut String, title: &str, table: &Table, tried: &Tried) -> Result<()> {
    write!(
        page,
        "\n## {title}\n\n| setting | rule | value or reason | tried |\n|---|---|---|---|\n"
    )?;
    for (name, known) in table {
        let pinned = matches!(known.rule, Rule::Pinned(_));
        let values = tried.get(name).into_iter().flatten();
        // whether a limit of a millisecond ends a session before it is pinned is chance
        let values: Vec<_> =
            values.map(|(value, refused)| shown(value, *refused && !pinned)).collect();
        let values = if values.is_empty() { "-".to_owned() } else { values.join(", ") };
        writeln!(page, "{} {values} |", row(name, known))?;
    }
    Ok(())
}

fn shown(value: &str, refused: bool) -> String {
    let mut text: String = value.chars().take(VALUE_CHARS_MAX).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    let text = text.replace('|', "\\|");
    format!(
        "`{}`{}",
        if text.is_empty() { "''" } else { &text },
        if refused { " (refused)" } else { "" }
    )
}

/// Writes the page.
pub(crate) fn write(of_postgres: &Tried, of_mariadb: &Tried) -> Result<()> {
    let mut page = HEAD.to_owned();
    section(&mut page, "Postgres", &postgres::table(), of_postgres)?;
    section(&mut page, "MySQL and MariaDB", &mysql::table(), of_mariadb)?;
    std::fs::write(path(), page).context("write docs/settings.md")
}

/// Whether the page has the rules of the tables: all of them, and no others.
pub(crate) fn agrees() -> Result<()> {
    let page = std::fs::read_to_string(path()).context("read docs/settings.md")?;
    ensure!(
        page.starts_with(HEAD),
        "the head of docs/settings.md is another one: run make test-settings"
    );
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let tables = [postgres::table(), mysql::table()];
    let known = tables.iter().flatten();
    ensure!(rows.len() == known.clone().count(), "{} rows: run make test-settings", rows.len());
    for ((name, known), line) in known.zip(rows) {
        let want = row(name, known);
        ensure!(
            line.starts_with(&want),
            "docs/settings.md: {line}\nwant {want}: run make test-settings"
        );
    }
    Ok(())
}

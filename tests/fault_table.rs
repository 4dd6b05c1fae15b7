//! Writes `docs/faults.md`: which fault is shown to do no harm by which test, and how that test ended.
//!
//! `fault_table <tests/faults.txt> <README.md> <output of cargo test>` prints the page. It is made from the
//! very run that it speaks of: a test that is named, there or in the promises of the README, and did not run, or
//! failed, ends it with exit code 1.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

/// A fault of the list.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    /// `T01` ...
    id: String,
    /// What happens, and what is promised then.
    promise: String,
    /// `<binary>::<path of the test>`.
    tests: Vec<String>,
    /// Why nothing, or not everything, shows it.
    open: Option<String>,
}

/// How each test of a run ended, by `<binary>::<path>`.
type Ended = BTreeMap<String, String>;

fn main() -> ExitCode {
    match page() {
        Ok(page) => {
            use std::io::Write as _;
            if std::io::stdout().write_all(page.as_bytes()).is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            use std::io::Write as _;
            // nothing can be said where even this fails
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn page() -> Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, readme, output] = arguments.as_slice() else {
        bail!("usage: fault_table LIST README OUTPUT");
    };
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("read {path}"));
    let ended = ended(&read(output)?);
    for test in promised(&read(readme)?) {
        let end = ended.get(&test).map_or("did not run", String::as_str);
        ensure!(end == "ok", "the README names {test}, which {end}");
    }
    table(&faults(&read(list)?)?, &ended)
}

/// The tests that the rows of a page name.
fn promised(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    words.filter(|word| word.contains("::")).map(str::to_owned).collect()
}

/// Reads the list: a line `T01  promise`, and below it, indented, `binary::test` or `- why not`.
fn faults(text: &str) -> Result<Vec<Fault>> {
    let mut all: Vec<Fault> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let place = || format!("line {}: {line}", number + 1);
        if !line.starts_with(' ') {
            let (id, promise) = line.split_once(' ').with_context(place)?;
            ensure!(all.last().is_none_or(|last| *last.id < *id), "not in order, {}", place());
            let (id, promise) = (id.to_owned(), promise.trim().to_owned());
            all.push(Fault { id, promise, tests: Vec::new(), open: None });
            continue;
        }
        let fault = all.last_mut().with_context(place)?;
        match line.trim().strip_prefix("- ") {
            Some(why) => fault.open = Some(why.to_owned()),
            None => fault.tests.push(line.trim().to_owned()),
        }
    }
    for fault in &all {
        ensure!(!fault.tests.is_empty() || fault.open.is_some(), "{} has no test", fault.id);
    }
    Ok(all)
}

/// Reads what `cargo test` printed: which program ran, and how each of its tests ended.
fn ended(output: &str) -> Ended {
    let (mut program, mut all) = (String::new(), Ended::new());
    for line in output.lines() {
        if let Some(path) = line.trim_start().strip_prefix("Running ") {
            let file = path.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
            file.rsplit_once('-').map_or(file, |(name, _)| name).clone_into(&mut program);
        } else if let Some((test, end)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            all.insert(format!("{program}::{}", test.trim()), end.trim().to_owned());
        }
    }
    all
}

/// The page, where every test that it names has passed.
fn table(faults: &[Fault], ended: &Ended) -> Result<String> {
    let mut page = String::from(
        "# Faults and their tests\n\n\
         `make test` writes this page from `tests/faults.txt` and from its own output. It fails if a test of this page did\n\
         not run or did not pass. A test is named `binary::test`: `cargo test --workspace --test binary test`.\n\n\
         | fault | what happens, and the promised result | test | result |\n|---|---|---|---|\n",
    );
    let mut wrong = Vec::new();
    for fault in faults {
        let mut cells = Vec::new();
        for test in &fault.tests {
            match ended.get(test).map(String::as_str) {
                Some("ok") => cells.push(format!("`{test}`")),
                Some(other) => wrong.push(format!("{} {test}: {other}", fault.id)),
                None => wrong.push(format!("{} {test}: did not run", fault.id)),
            }
        }
        let (shown, result) = match (&fault.open, cells.is_empty()) {
            (None, _) => (cells.join(", "), "passed".to_owned()),
            (Some(why), true) => ("-".to_owned(), format!("no test: {why}")),
            (Some(why), false) => (cells.join(", "), format!("passed; open: {why}")),
        };
        writeln!(page, "| {} | {} | {shown} | {result} |", fault.id, fault.promise)?;
    }
    ensure!(wrong.is_empty(), "the table would lie:\n{}", wrong.join("\n"));
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# a comment\nT01  one dies: nothing is lost\n     run::a::b\n     sweep::c\n\
                        T02  two die: the same\n     - nobody has tried\n";
    const OUTPUT: &str = "     Running tests/run.rs (target/debug/deps/run-0123456789abcdef)\n\
                          test a::b ... ok\ntest d ... FAILED\n\
                          \x20    Running unittests src/lib.rs (target/debug/deps/two_words-01)\ntest e ... ok\n\
                          \x20    Running sweep.rs (target/debug/deps/sweep-01)\ntest c ... ok\n";

    #[test]
    fn a_table_names_tests_that_passed() -> Result<()> {
        let page = table(&faults(LIST)?, &ended(OUTPUT))?;
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| T")).collect();
        assert_eq!(
            rows,
            [
                "| T01 | one dies: nothing is lost | `run::a::b`, `sweep::c` | passed |",
                "| T02 | two die: the same | - | no test: nobody has tried |",
            ]
        );
        Ok(())
    }

    #[test]
    fn a_test_that_failed_or_did_not_run_is_no_proof() -> Result<()> {
        for (test, why) in [("run::d", "FAILED"), ("run::never", "did not run")] {
            let list = LIST.replace("run::a::b", test);
            let error = table(&faults(&list)?, &ended(OUTPUT)).err().context("accepted")?;
            let text = error.to_string();
            assert!(text.contains(test) && text.contains(why), "{text}");
        }
        Ok(())
    }

    #[test]
    fn tests_are_named_in_the_rows_of_a_page() {
        let page = "see `a::b`\n| `run` | what | `c::d`, `e::f::g` |\n";
        assert_eq!(promised(page), ["c::d", "e::f::g"]);
    }

    #[test]
    fn a_list_out_of_order_or_without_a_test_is_refused() {
        for list in ["T02  a\n  b::c\nT01  d\n  b::c\n", "T01  a\n", "  b::c\n", "T01\n"] {
            assert!(faults(list).is_err(), "{list}");
        }
    }
}

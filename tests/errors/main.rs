//! What an error of the real servers becomes: the reason, the class, the object that it names, and no value of a
//! row; and which log-ins are taken, compared with the servers' own clients.

mod built;
mod certificates;
mod mysql;
mod passwords;
mod postgres;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture};
use serde_json::{Value, json};

/// What stands in the rows; it must be in no message.
const CANARY: &str = "canary";

/// What a run against a relation must end with.
struct Case {
    relation: &'static str,
    code: i32,
    reason: &'static str,
    /// Words of message and remedy.
    says: &'static [&'static str],
}

const fn stops(
    relation: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
) -> Case {
    Case { relation, code: 10, reason, says }
}

/// A full extract of a relation, below a prefix of its own.
fn job(source: &SourceFixture, relation: &str) -> Value {
    let mut job = source.job(relation, "FE");
    // one pod, so that no second session changes what is met first
    job["spec"]["extract"]["partition"] = json!({ "strategy": "none" });
    job
}

async fn check(source: &SourceFixture, case: &Case) -> Result<()> {
    let output = source.try_run(&job(source, case.relation)).await?;
    ends(&output, case).with_context(|| case.relation.to_owned())
}

/// The run ended so, and says no value of a row.
fn ends(output: &Output, case: &Case) -> Result<()> {
    ensure!(output.code == Some(case.code), "exit {:?}: {}", output.code, output.stderr);
    let last = output.stderr.lines().last().context("no last word")?;
    let said: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
    let fields = &said["fields"];
    ensure!(fields["reason"] == case.reason, "{fields}, not {}", case.reason);
    for words in case.says {
        ensure!(fields.to_string().contains(words), "{words}: {fields}");
    }
    ensure!(!output.stderr.contains(CANARY), "{}", output.stderr);
    let named = case.says.contains(&"extract.table");
    ensure!(named || !fields.to_string().contains("Correct extract.table.\""), "{fields}");
    Ok(())
}

//! The YAML of a source: `default_arguments`, and what each of the `tables` says otherwise.

use serde_json::{Map, Value};

use super::legacy::{Argument, LegacyJob, invalid};
use crate::errors::failure::Failure;

/// Keys that set up Glue and the pipelines around the extract; manifests have no use for them.
const WITHOUT_MEANING: &[&str] = &[
    "job_type",
    "script_name",
    "source_type",
    "arguments",
    "default_arguments",
    "tables",
    "worker_no",
    "worker_type",
    "run_crawler",
];

/// The calls that a source's YAML stands for, one for each table, and the name of the source.
///
/// # Errors
/// `InvalidSpec`, naming the key.
pub fn source_file(file: &Value) -> Result<(String, Vec<LegacyJob>), Failure> {
    let extract = file.get("extract").and_then(Value::as_object).ok_or_else(|| {
        invalid(
            "the file has no section extract",
            "Pass the YAML file of a source of the legacy job.",
        )
    })?;
    let kind = extract.get("source_type").or_else(|| file.get("source_type"));
    if kind.is_some_and(|kind| kind != "jdbc") {
        return Err(invalid(
            "source_type is not jdbc, the only type that the legacy job extracts from a database",
            "Convert the sources of type jdbc, and keep the others in the legacy job.",
        ));
    }
    let source = file.get("source_name").and_then(text).unwrap_or_default();
    let none = Map::new();
    let section = |name: &str| extract.get(name).and_then(Value::as_object).unwrap_or(&none);
    let tables = section("tables");
    if tables.is_empty() {
        return Err(invalid(
            "extract.tables names no table",
            "Name at least one table in extract.tables.",
        ));
    }
    let jobs = tables.iter().map(|(table, own)| {
        let own = own.as_object().unwrap_or(&none);
        let mut job = LegacyJob::default();
        job.fill(Argument::ExtractTable, table);
        // what the table says wins, nothing being said where the value is empty or false
        for (place, keys) in [
            (table.as_str(), own),
            ("default_arguments", section("default_arguments")),
            ("extract", extract),
        ] {
            take(&mut job, place, keys);
        }
        job
    });
    Ok((source, jobs.collect()))
}

fn take(job: &mut LegacyJob, place: &str, keys: &Map<String, Value>) {
    for (key, value) in keys {
        match (Argument::named(key), text(value)) {
            (Some(argument), Some(text)) => job.fill(argument, text),
            (Some(_), None) => {}
            (None, _) if WITHOUT_MEANING.contains(&key.as_str()) => {}
            (None, _) => job.warn(format!("{place}: {key} is unknown and was ignored")),
        }
    }
}

/// A scalar as the job's own YAML reader and `str()` made it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

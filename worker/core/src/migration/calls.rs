//! The three forms of a call. One form for each call: with arguments, the environment is not read.

use std::collections::BTreeMap;

use super::legacy::{Argument, LegacyJob, invalid};
use crate::errors::failure::Failure;

/// Environment variable that chose between the replaced project's pipelines.
const PIPELINE: &str = "EDL_TYPE";
/// Environment variable with the name of the old script.
const SCRIPT: &str = "SCRIPT_NAME";

/// Arguments of the legacy job, Glue or `spark-submit` that have no meaning here. A warning lists
/// other unknown arguments.
const WITHOUT_MEANING: &[&str] = &[
    "job_name",
    "jars",
    "source_name",
    "source_type",
    "job_type",
    "etl_type",
    "source_topic_arn",
    "script_name",
    "edl_type",
    "job_id",
    "job_run_id",
    "security_configuration",
    "job_bookmark_option",
    "job_bookmark_from",
    "job_bookmark_to",
    "tempdir",
    "job_language",
    "class",
    "scriptlocation",
    "extra_py_files",
    "extra_jars",
    "extra_files",
    "additional_python_modules",
    "enable_metrics",
    "enable_continuous_cloudwatch_log",
    "enable_spark_ui",
    "spark_event_logs_path",
    "enable_glue_datacatalog",
    "enable_job_insights",
    "enable_observability_metrics",
    "conf",
];

/// The legacy job's call that these arguments (without the program's name) and this environment are,
/// if they are one: without arguments the environment's, where it names a pipeline or a table;
/// with arguments theirs, where the first is no sub-command and any is one of the legacy job's.
///
/// # Errors
/// `InvalidSpec` where it is one and cannot be meant.
pub fn call(
    arguments: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<Option<LegacyJob>, Failure> {
    let Some(first) = arguments.first() else {
        let named = |name: &str| variables.get(name).is_some_and(|text| !text.is_empty());
        let asked = named(PIPELINE) || named("EXTRACT_TABLE");
        return if asked { environment(variables).map(Some) } else { Ok(None) };
    };
    let old = |word: &String| {
        word.strip_prefix("--").is_some_and(|rest| Argument::named(name_of(rest)).is_some())
    };
    if first.starts_with("--") && arguments.iter().any(old) {
        return words(arguments).map(Some);
    }
    Ok(None)
}

/// A call by environment variables, in capitals.
///
/// # Errors
/// `InvalidSpec` for a pipeline other than `extract`.
pub fn environment(variables: &BTreeMap<String, String>) -> Result<LegacyJob, Failure> {
    let mut job = LegacyJob::default();
    match variables.get(PIPELINE).map(|text| text.trim()) {
        None | Some("" | "extract") => {}
        Some(_) => {
            return Err(invalid(
                "EDL_TYPE names a pipeline other than extract, and Tidemark supports only extract",
                "Set EDL_TYPE=extract, and keep transform and load in the legacy job.",
            ));
        }
    }
    for argument in Argument::ALL {
        if let Some(text) = variables.get(&argument.name().to_ascii_uppercase()) {
            job.given.insert(*argument, text.clone());
        }
    }
    if variables.contains_key(SCRIPT) {
        job.warn("SCRIPT_NAME is ignored because Tidemark runs no script");
    }
    Ok(job)
}

/// A call by arguments: `--name value` or `--name=value`, in either case. The last one counts.
fn words(arguments: &[String]) -> Result<LegacyJob, Failure> {
    let mut job = LegacyJob::default();
    let mut rest = arguments.iter().peekable();
    while let Some(word) = rest.next() {
        let Some(word) = word.strip_prefix("--") else {
            return Err(invalid(
                "an argument does not begin with --, and the argument before it takes no value",
                "Write --name value or --name=value, and quote a value that contains spaces.",
            ));
        };
        let name = name_of(word);
        let value = match word.split_once('=') {
            Some((_, value)) => Some(value.to_owned()),
            // a negative number is a value, another argument is none
            None => rest.next_if(|next| !next.starts_with("--")).cloned(),
        };
        match (Argument::named(name), value) {
            (Some(argument), Some(value)) => {
                job.given.insert(argument, value);
            }
            (Some(argument), None) => {
                return Err(invalid(
                    format!("--{name} has no value"),
                    format!("Write --{} <value>, or remove the argument.", argument.name()),
                ));
            }
            (None, _) => unknown(&mut job, name),
        }
    }
    if job.given.contains_key(&Argument::DbPassword) {
        job.warn(
            "a password in the arguments is visible to all users of the machine; use --db_secret",
        );
    }
    Ok(job)
}

fn unknown(job: &mut LegacyJob, name: &str) {
    let folded = name.to_ascii_lowercase().replace('-', "_");
    if !WITHOUT_MEANING.contains(&folded.as_str()) {
        job.warn(format!("--{name} is unknown and was ignored, as in the legacy job"));
    }
}

fn name_of(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

//! Moving from the job that Tidemark replaces, and back: its calls, its tracking item, its output,
//! its nine defects; on real stores, without a cluster but for what `convert` prints.

mod calls;
mod convert;
mod defects;
mod secrets;
mod turns;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture, TestEnv};
use serde_json::Value;

/// The forms in which the legacy job was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The environment of a container, in capitals.
    Environment,
    /// `--DB_ENGINE x`.
    Glue,
    /// `--db_engine=x`.
    Script,
}

/// The arguments of an incremental extract of `table`, in the legacy job's words; `id` is the
/// watermark. What a test changes comes later in the list, and counts.
fn arguments(source: &SourceFixture, table: &str) -> Vec<(String, String)> {
    let (uri, port) =
        (format!("s3://{}/{table}/", source.bucket), TestEnv::POSTGRES_PORT.to_string());
    let all = [
        ("db_engine", "postgres"),
        ("db_host", TestEnv::IP),
        ("db_port", &port),
        ("db_name", &source.database),
        ("db_user", TestEnv::POSTGRES_USER),
        ("db_password", TestEnv::POSTGRES_PASSWORD),
        ("extract_table", table),
        ("extract_type", "PE"),
        ("hwm_col_name", "id"),
        ("hwm_column_type", "IntegerType"),
        ("lwm_value", "0"),
        ("hwm_value", "-1"),
        ("partition_column", "id"),
        ("lower_bound", "1"),
        ("upper_bound", "1000"),
        ("num_partitions", "2"),
        ("fetchsize", "1000"),
        ("repartition_dataframe", "false"),
        ("extract_s3_uri", &uri),
        ("extract_s3_partitions", "jdbc_extract_time"),
        ("reingest", "false"),
        ("tracking_table_name", &source.table),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn with(mut arguments: Vec<(String, String)>, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    for (name, value) in changes {
        arguments.retain(|(known, _)| known != name);
        arguments.push(((*name).to_owned(), (*value).to_owned()));
    }
    arguments
}

/// The words and the variables of a call.
fn spelled(form: Form, arguments: &[(String, String)]) -> (Vec<String>, Vec<(String, String)>) {
    match form {
        Form::Environment => {
            let capitals =
                arguments.iter().map(|(name, value)| (name.to_uppercase(), value.clone()));
            let further = [("EDL_TYPE", "extract"), ("SCRIPT_NAME", "jdbc_extract_job.py")];
            let further = further.map(|(name, value)| (name.to_owned(), value.to_owned()));
            (Vec::new(), capitals.chain(further).collect())
        }
        Form::Glue => {
            let words = arguments
                .iter()
                .flat_map(|(name, value)| [format!("--{}", name.to_uppercase()), value.clone()]);
            let job = ["--JOB_NAME".to_owned(), "extract".to_owned()];
            (job.into_iter().chain(words).collect(), Vec::new())
        }
        Form::Script => (
            arguments.iter().map(|(name, value)| format!("--{name}={value}")).collect(),
            Vec::new(),
        ),
    }
}

/// Runs a call of the legacy job to its end, successful or not.
async fn try_call(
    source: &SourceFixture,
    form: Form,
    arguments: &[(String, String)],
) -> Result<Output> {
    let (words, variables) = spelled(form, arguments);
    let command = source.call(&words, &variables)?;
    source.env.output(command, "", std::time::Duration::from_mins(3)).await
}

/// A call that must publish; gives what it printed.
async fn call(source: &SourceFixture, form: Form, arguments: &[(String, String)]) -> Result<Value> {
    let output = try_call(source, form, arguments).await?;
    ensure!(output.code == Some(0), "{form:?}: exit {:?}: {}", output.code, output.stderr);
    ensure!(
        !output.stderr.contains(&format!("\"{}\"", TestEnv::POSTGRES_PASSWORD)),
        "a password was logged"
    );
    serde_json::from_str(output.stdout.trim()).context("parse what the call printed")
}

/// The reason in the last line of a log.
fn reason(output: &Output) -> Result<String> {
    let last: Value = serde_json::from_str(output.stderr.lines().last().context("a line")?)?;
    Ok(last["fields"]["reason"].as_str().context("a reason")?.to_owned())
}

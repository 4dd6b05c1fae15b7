//! `extract.where` means what it means to the database user in a plain session, and nothing that a user
//! may define in the database changes what is read.

mod mariadb;
mod objects;
mod plain_session;
mod server_settings;
mod views;

use anyhow::{Context, Result, ensure};
use harness::{Output, SourceFixture, TestEnv};
use serde_json::{Value, json};

const RUN: std::time::Duration = std::time::Duration::from_mins(1);

/// A database of its own, whose role has its name and may do everything in it.
async fn with_role(env: &'static TestEnv, prefix: &str, sql: &str) -> Result<SourceFixture> {
    let source = SourceFixture::new(env, prefix).await?;
    let role = &source.database;
    let role = format!(
        "create role {role} login password 'secret'; grant all on schema public to {role}; \
         grant all on database {role} to {role}"
    );
    env.psql(&source.database, &role).await?;
    env.psql(&source.database, sql).await?;
    let grants = format!("grant select on all tables in schema public to {}", source.database);
    env.psql(&source.database, &grants).await?;
    source.user(&source.database)?;
    Ok(source)
}

/// What the role itself reads in a plain session, apart from the time zone.
async fn as_role(source: &SourceFixture, sql: &str) -> Result<String> {
    let mut command = source.env.command("psql");
    let role = format!("postgres://{}:", source.database);
    let url = source.env.postgres_url(&source.database).replace("postgres://postgres:", &role);
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &url]);
    let told = source.env.succeed(command, &format!("set time zone 'UTC'; {sql}")).await?;
    Ok(told.trim_end().to_owned())
}

/// The text of a column of all that is published, in the order of `id`.
async fn published(source: &SourceFixture, table: &str, column: &str) -> Result<Vec<Value>> {
    let sql = format!("select {column} as v from t order by id");
    let rows = source.env.read_parquet(&source.bucket, table, &sql).await?;
    Ok(rows.into_iter().map(|row| row["v"].clone()).collect())
}

async fn command(source: &SourceFixture, what: &str, job: &Value) -> Result<Output> {
    source.env.output(source.command(what, job)?, "", RUN).await
}

async fn refused(source: &SourceFixture, job: &Value, words: &[&str]) -> Result<()> {
    let output = source.try_run(job).await?;
    ensure!(output.code == Some(10), "{words:?}: {:?} {}", output.code, output.stderr);
    for word in words {
        ensure!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    Ok(())
}

/// The ids that a run has published of a table, parted by commas.
async fn ids(source: &SourceFixture, output: &Output, table: &str) -> Result<String> {
    ensure!(output.code == Some(0), "{:?} {}", output.code, output.stderr);
    let said: Value = serde_json::from_str(output.stdout.trim())?;
    let ids = match said["rows"].as_u64() {
        // without rows there is no file
        Some(0) => Vec::new(),
        _ => published(source, table, "id").await?.iter().map(Value::to_string).collect(),
    };
    Ok(ids.join(","))
}

/// A run under `job` publishes the ids that the user's own session selects (`plain`, parted by commas), or is
/// refused where that session is.
async fn as_plain(
    source: &SourceFixture,
    job: &Value,
    table: &str,
    plain: Option<&str>,
) -> Result<()> {
    let output = source.try_run(job).await?;
    let Some(plain) = plain else {
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        return Ok(());
    };
    let found = ids(source, &output, table).await?;
    ensure!(found == plain, "{found}, plainly {plain}");
    Ok(())
}

/// A full extract of `public.t` under a condition.
fn filtered(source: &SourceFixture, condition: &str) -> Value {
    let mut job = source.job("public.t", "FE");
    job["spec"]["extract"]["where"] = json!(condition);
    job
}

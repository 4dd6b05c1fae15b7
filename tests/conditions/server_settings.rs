//! Settings of the whole server (`postgresql.conf`), which no role and no database has: a server of its own.

use harness::{tests_dir, wait_until};

use super::*;

const PORT: u16 = 5434;

/// Dates as people write them: only `DateStyle` says what they mean when a row is read.
const TABLE: &str = "drop table if exists t; create table t (id int primary key, day text, took text); \
    insert into t select i, i || '/' || 13 - i || '/2024', i || ' hours' from generate_series(1, 12) i; \
    insert into t values (13, '1 Feb 2024', '1 day')";

/// Conditions that convert a text of each row.
const CONDITIONS: [&str; 3] = [
    "day::date >= '2024-06-15'",
    "id between 2 and 9 and cast(day as timestamp) < '2024-05-05 12:00:00'",
    "extract(month from date(day)) = 3",
];

/// The server, which trusts everybody. It goes on with the settings of its file.
async fn server(env: &'static TestEnv) -> Result<()> {
    let name = env.state.file_name().context("name of the test environment")?;
    let mut command = tokio::process::Command::new(tests_dir().join("env/login_server.sh"));
    command.arg(name).arg("plain").env("AUTH", "trust");
    let output = command.output().await.context("run login_server.sh")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "login_server.sh: {} {words}", output.status);
    sql(env, "alter system reset all").await.map(drop)
}

async fn sql(env: &'static TestEnv, sql: &str) -> Result<String> {
    let mut command = env.command("psql");
    let url = format!("postgres://postgres@{}:{PORT}/postgres?sslmode=disable", TestEnv::IP);
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &url]);
    Ok(env.succeed(command, sql).await?.trim_end().to_owned())
}

/// Sets a setting for the whole server, and waits until new sessions have it.
async fn set(env: &'static TestEnv, name: &str, value: &str) -> Result<()> {
    sql(env, &format!("alter system set {name} = '{value}'")).await?;
    sql(env, "select pg_reload_conf()").await?;
    wait_until("the server's new setting", RUN, async || {
        let told = sql(env, &format!("show {name}")).await?;
        let same = told.replace(' ', "").eq_ignore_ascii_case(&value.replace(' ', ""));
        ensure!(same, "{told}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn job(source: &SourceFixture, condition: &str) -> Value {
    let mut job = filtered(source, condition);
    job["spec"]["source"]["port"] = json!(PORT);
    job["spec"]["source"]["database"] = json!("postgres");
    job["spec"]["source"]["tls"] = json!({ "mode": "insecurePlaintext" });
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    job
}

#[test]
fn server_setting_is_applied_to_a_condition_or_refused_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        server(env).await?;
        let source = SourceFixture::new(env, "server").await?;
        sql(env, TABLE).await?;
        let mut selected = std::collections::BTreeSet::new();
        for style in ["ISO, DMY", "ISO, MDY", "ISO, YMD"] {
            set(env, "DateStyle", style).await?;
            for condition in CONDITIONS {
                let asked = format!("select id from t where {condition} order by id");
                let plain = sql(env, &asked).await.ok().map(|ids| ids.replace('\n', ","));
                let job = job(&source, condition);
                same(&source, &job, plain.as_deref()).await.context(style).context(condition)?;
                selected.insert((condition, plain));
            }
        }
        ensure!(selected.len() > CONDITIONS.len(), "no setting made a difference: {selected:?}");
        for (name, value) in [
            ("DateStyle", "German, DMY"),
            ("DateStyle", "SQL, MDY"),
            ("IntervalStyle", "iso_8601"),
            ("bytea_output", "escape"),
        ] {
            set(env, name, value).await?;
            refused(&source, &job(&source, "id > 1"), &["InvalidSpec", name, "view"]).await?;
            let mut whole = job(&source, "");
            whole["spec"]["extract"].as_object_mut().context("extract")?.remove("where");
            ensure!(source.run(&whole).await?["rows"] == 13, "{name} = {value}");
            sql(env, &format!("alter system reset {name}")).await?;
        }
        sql(env, "alter system reset all").await?;
        sql(env, "select pg_reload_conf()").await.map(drop)
    })
}

/// The same rows are published, by a run and by its recount; or both refuse the condition.
async fn same(source: &SourceFixture, job: &Value, plain: Option<&str>) -> Result<()> {
    as_plain(source, job, "public.t", plain).await?;
    if plain.is_none() {
        return Ok(());
    }
    let counted = command(source, "verify --recount", job).await?;
    ensure!(counted.code == Some(0), "{} {}", counted.stdout, counted.stderr);
    Ok(())
}

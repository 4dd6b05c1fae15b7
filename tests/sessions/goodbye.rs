//! What the server's log says of sessions: they say goodbye, however a run ends.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::{Calls, Fault, Proxy, Session, SourceFixture, Speaks, TestEnv, wait_until};
use serde_json::{Value, json};

use crate::{GONE, RUN, in_env, no_sessions, short};

/// What Postgres says of a session that broke off, or of a statement that was ended.
const BROKEN: [&str; 7] = [
    "unexpected EOF",
    "connection to client lost",
    "could not receive data",
    "could not send data",
    "SSL error",
    "terminating connection",
    "canceling statement",
];

/// What it says of a session that broke off, where statements may be ended.
pub(crate) const DROPPED: [&str; 6] =
    [BROKEN[0], BROKEN[1], BROKEN[2], BROKEN[3], BROKEN[4], BROKEN[5]];
/// What MariaDB says of one.
pub(crate) const ABORTED: [&str; 1] = ["Aborted connection"];

/// Lines of a server's log about a database that have any of these words.
pub(crate) fn lines(
    env: &TestEnv,
    part: &str,
    database: &str,
    words: &[&str],
) -> Result<Vec<String>> {
    let log = fs::read(env.log().join(format!("{part}.log")))?;
    let log = String::from_utf8_lossy(&log);
    let of_it = log.lines().filter(|line| line.contains(database));
    let found = of_it.filter(|line| words.iter().any(|word| line.contains(word)));
    Ok(found.map(str::to_owned).collect())
}

async fn ends_well(source: &SourceFixture, sub_command: &str, job: &Value) -> Result<Value> {
    let mut command = source.command(sub_command, job)?;
    short(&mut command);
    let output = source.start(command, None)?.ended(RUN).await?;
    ensure!(output.code == Some(0), "{sub_command}: {}", output.stderr);
    Ok(serde_json::from_str(output.stdout.trim()).unwrap_or_default())
}

/// Full, incremental in partitions, nothing new, a dry run, a check: on a table of both engines.
async fn every_kind(source: &SourceFixture, consistencies: &[&str]) -> Result<()> {
    for consistency in consistencies {
        let of = |kind: &str, count: u32| {
            let mut job = source.job("t", kind);
            let uri = format!("s3://{}/{kind}-{count}-{consistency}", source.bucket);
            job["spec"]["output"]["uri"] = json!(uri);
            job["spec"]["tracking"]["key"] = json!(format!("{kind}-{count}-{consistency}"));
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": count });
            job["spec"]["extract"]["consistency"] = json!(consistency);
            if kind == "PE" {
                job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
            }
            job
        };
        for job in [of("FE", 1), of("FE", 3), of("PE", 1), of("PE", 3)] {
            ends_well(source, "plan", &job).await?;
            let said = ends_well(source, "run", &job).await?;
            ensure!(said["rows"] == 300, "{said}");
        }
        for job in [of("PE", 1), of("PE", 3)] {
            let said = ends_well(source, "run", &job).await?;
            ensure!(said["rows"] == 0 && said["window"]["empty"] == true, "{said}");
            ends_well(source, "verify --recount", &job).await?;
        }
    }
    no_sessions(source, GONE).await
}

#[test]
fn runs_that_end_well_leave_no_line_in_the_log_of_postgres() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, "goodbye").await?;
        let sql = "create table t (id int primary key, v text); \
            insert into t select i, repeat('x', 1000) from generate_series(1, 300) i";
        env.psql(&source.database, sql).await?;
        every_kind(&source, &["snapshot", "perPartition"]).await?;
        let found = lines(env, "postgres", &source.database, &BROKEN)?;
        ensure!(found.is_empty(), "{} lines: {found:#?}", found.len());

        // the log contains the line that this test searches for
        let mut dropped = Session::open(env, &source.database)?;
        dropped.say("begin;").await?;
        drop(dropped);
        wait_until("the server to notice", RUN, async || {
            let found = lines(env, "postgres", &source.database, &BROKEN)?;
            ensure!(!found.is_empty(), "no line");
            Ok(())
        })
        .await
    })
}

#[test]
fn runs_that_end_well_leave_no_aborted_connection_in_the_log_of_mariadb() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        env.mariadb("mysql", "set global log_warnings = 4").await?;
        let source = SourceFixture::mariadb(env, "goodbye").await?;
        let sql = "create table t (id int primary key, v text); \
            insert into t select seq, repeat('x', 1000) from seq_1_to_300";
        env.mariadb(&source.database, sql).await?;
        every_kind(&source, &["snapshot", "perPartition"]).await?;
        let aborted = ["Aborted connection"];
        let found = lines(env, "mariadb", &source.database, &aborted)?;
        ensure!(found.is_empty(), "{} lines: {found:#?}", found.len());

        // the log contains the line that this test searches for
        let kill = env.mariadb(&source.database, "kill connection_id()").await;
        ensure!(kill.is_err(), "a session killed itself and lives");
        let (database, part) = (&source.database, "mariadb");
        wait_until("the server to notice", RUN, async || {
            let found = lines(env, part, database, &aborted)?;
            ensure!(!found.is_empty(), "no line");
            Ok(())
        })
        .await
        .context("log_warnings")
    })
}

/// A run, plan or check that fails: what it is called, the change of the manifest, and the reason.
type Failing = (&'static str, fn(&mut Value), &'static str);

/// One for each place where a session is open and what it is for fails.
fn failing(engine: &str) -> Vec<Failing> {
    let mut cases: Vec<Failing> = vec![
        (
            "no such table",
            |job| job["spec"]["extract"]["table"] = json!("missing"),
            "TableNotFound",
        ),
        (
            "no such column",
            |job| job["spec"]["extract"]["columns"] = json!(["id", "missing"]),
            "ColumnNotFound",
        ),
        (
            "a watermark of another type",
            |job| {
                job["spec"]["extract"]["type"] = json!("PE");
                job["spec"]["extract"]["watermark"] = json!({ "column": "v", "type": "int" });
            },
            "ColumnTypeUnsupported",
        ),
        (
            "a condition that is none",
            |job| job["spec"]["extract"]["where"] = json!("id = nonsense(id)"),
            "InvalidSpec",
        ),
        (
            "a guard in an unknown zone",
            |job| {
                job["spec"]["extract"]["type"] = json!("PE");
                job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp",
                    "lagSeconds": 300,
                    "timeZone": "Nowhere/City", "nullPolicy": "exclude" });
            },
            "InvalidSpec",
        ),
        (
            "rows without watermark",
            |job| {
                job["spec"]["extract"]["type"] = json!("PE");
                job["spec"]["extract"]["watermark"] = json!({ "column": "n", "type": "int" });
            },
            "NullWatermarkRows",
        ),
        (
            "an error in the middle of the rows",
            |job| job["spec"]["extract"]["table"] = json!("breaks"),
            "QueryFailed",
        ),
        (
            "an error in the middle of the rows of one snapshot",
            |job| {
                job["spec"]["extract"]["table"] = json!("breaks");
                job["spec"]["extract"]["consistency"] = json!("perPartition");
            },
            "QueryFailed",
        ),
    ];
    if engine == "postgres" {
        cases.push((
            "a value that no file can hold",
            |job| job["spec"]["extract"]["table"] = json!("endless"),
            "NonFiniteValue",
        ));
    }
    cases
}

/// How a process ends that fails: by that reason.
async fn fails(
    source: &SourceFixture,
    sub_command: &str,
    (name, job, reason): (&str, &Value, &str),
) -> Result<()> {
    let mut command = source.command(sub_command, job)?;
    short(&mut command);
    let output = source.start(command, None)?.ended(RUN).await?;
    ensure!(output.code != Some(0), "{name}: {sub_command} succeeded: {}", output.stdout);
    let last = output.stderr.lines().last().context("no last word")?;
    ensure!(last.contains(reason), "{name}: {sub_command}: {last}");
    all_left(source).await.with_context(|| format!("{sub_command}: {name}"))
}

/// Every session has said goodbye.
pub(crate) async fn all_left(source: &SourceFixture) -> Result<()> {
    no_sessions(source, GONE).await?;
    let found = match source.engine {
        "mysql" => lines(source.env, "mariadb", &source.database, &ABORTED)?,
        _ => lines(source.env, "postgres", &source.database, &DROPPED)?,
    };
    // what was cancelled is named as well
    let dropped: Vec<_> = found.iter().filter(|line| !line.ends_with("(KILLED)")).collect();
    ensure!(dropped.is_empty(), "{} lines: {dropped:#?}", dropped.len());
    Ok(())
}

async fn every_failure(source: &SourceFixture) -> Result<()> {
    let mut job = source.job("t", "FE");
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3, "strategy": "range",
        "lowerBound": "1", "upperBound": "300" });
    for (name, change, reason) in failing(source.engine) {
        let mut job = job.clone();
        change(&mut job);
        let own = name.replace(' ', "-");
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/{own}", source.bucket));
        job["spec"]["tracking"]["key"] = json!(own);
        if reason != "QueryFailed" && reason != "NonFiniteValue" {
            fails(source, "plan", (name, &job, reason)).await?;
        }
        fails(source, "run", (name, &job, reason)).await?;
    }
    // the store refuses in the middle of the rows: of several partitions, from one snapshot and not
    let s3 = Proxy::start(Speaks::S3).await?;
    s3.on("UploadPart", Calls::Every, Fault::Answer(403, "AccessDenied"));
    for consistency in ["snapshot", "perPartition"] {
        let mut job = source.job("big", "FE");
        job["spec"]["output"]["endpoint"] = json!(s3.url());
        job["spec"]["extract"]["consistency"] = json!(consistency);
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        fails(source, "run", ("a store that refuses", &job, "StorageDenied")).await?;
    }
    // the table is altered before its partitions are read
    let mut job = source.job("alters", "FE");
    job["spec"]["extract"]["consistency"] = json!("perPartition");
    let mut run = source.start(source.command("run", &job)?, Some("ready"))?;
    run.paused().await?;
    let longer = if source.engine == "mysql" { "modify id bigint" } else { "alter id type bigint" };
    say(source, &format!("alter table alters {longer}")).await?;
    run.go_on()?;
    let output = run.ended(RUN).await?;
    ensure!(output.code == Some(75), "{}", output.stderr);
    ensure!(output.stderr.contains("was altered"), "{}", output.stderr);
    all_left(source).await.context("an altered table")?;
    // more rows than were published
    let mut job = source.job("t", "PE");
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    ends_well(source, "run", &job).await?;
    let late = "insert into t (id, v, n) values (0, 'late', 1)";
    say(source, late).await?;
    fails(source, "verify --recount", ("a row that came late", &job, "VerifyFailed")).await
}

async fn say(source: &SourceFixture, sql: &str) -> Result<()> {
    let (env, database) = (source.env, &source.database);
    let said = match source.engine {
        "mysql" => env.mariadb(database, sql).await,
        _ => env.psql(database, sql).await,
    };
    said.map(drop)
}

/// Rows 1 to 300 with a column for a time without a zone, and 40 MB of what cannot be compressed.
fn tables(rows: &str, many: &str, (time, fails_at): (&str, &str)) -> String {
    format!(
        "create table t (id int primary key, v text, n int, at {time} null); \
         insert into t (id, v) select seq, repeat('x', 1000) from {rows}; \
         create table big (id int primary key, v text); \
         insert into big select seq, concat(md5(concat(seq, 'a')), md5(concat(seq, 'b')), \
            md5(concat(seq, 'c')), md5(concat(seq, 'd')), md5(concat(seq, 'e'))) from {many}; \
         create table alters as select * from t; \
         create view breaks as select id, {fails_at} as one from t"
    )
}

#[test]
fn runs_that_fail_leave_no_dropped_session_in_the_log_of_postgres() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        let source = SourceFixture::new(env, "sorry").await?;
        let sql = tables(
            "generate_series(1, 300) seq",
            "generate_series(1, 200000) seq",
            ("timestamp", "1 / (id - 250)"),
        );
        let endless = "; create table endless (id int primary key, x date); \
            insert into endless select seq, case when seq = 250 then date 'infinity' else date '2024-01-01' end \
            from generate_series(1, 300) seq";
        env.psql(&source.database, &(sql + endless)).await?;
        every_failure(&source).await
    })
}

#[test]
fn runs_that_fail_leave_no_aborted_connection_in_the_log_of_mariadb() -> Result<()> {
    in_env(async {
        let env = TestEnv::shared()?;
        env.mariadb("mysql", "set global log_warnings = 4").await?;
        let source = SourceFixture::mariadb(env, "sorry").await?;
        let two_rows = "if(id = 250, (select other.id from t other where other.id < t.id), 1)";
        let sql = tables("seq_1_to_300", "seq_1_to_200000", ("datetime", two_rows));
        env.mariadb(&source.database, &sql).await?;
        every_failure(&source).await
    })
}

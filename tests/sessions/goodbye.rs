//! What the server's log says of sessions: those of runs that end well leave no line in it.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::{Bed, Session, SourceFixture, wait_until};
use serde_json::{Value, json};

use crate::{GONE, RUN, in_bed, no_sessions, short};

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

/// Lines of a server's log about a database that have any of these words.
pub(crate) fn lines(bed: &Bed, part: &str, database: &str, words: &[&str]) -> Result<Vec<String>> {
    let log = fs::read(bed.log().join(format!("{part}.log")))?;
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
            ends_well(source, "verify --source", &job).await?;
        }
    }
    no_sessions(source, GONE).await
}

#[test]
fn runs_that_end_well_leave_no_line_in_the_log_of_postgres() -> Result<()> {
    in_bed(async {
        let bed = Bed::shared()?;
        let source = SourceFixture::new(bed, "goodbye").await?;
        let sql = "create table t (id int primary key, v text); \
            insert into t select i, repeat('x', 1000) from generate_series(1, 300) i";
        bed.psql(&source.database, sql).await?;
        every_kind(&source, &["snapshot", "perPartition"]).await?;
        let found = lines(bed, "postgres", &source.database, &BROKEN)?;
        ensure!(found.is_empty(), "{} lines: {found:#?}", found.len());

        // the log has what this looks for
        let mut dropped = Session::open(bed, &source.database)?;
        dropped.say("begin;").await?;
        drop(dropped);
        wait_until("the server to notice", RUN, async || {
            let found = lines(bed, "postgres", &source.database, &BROKEN)?;
            ensure!(!found.is_empty(), "no line");
            Ok(())
        })
        .await
    })
}

#[test]
fn runs_that_end_well_leave_no_aborted_connection_in_the_log_of_mariadb() -> Result<()> {
    in_bed(async {
        let bed = Bed::shared()?;
        bed.mariadb("mysql", "set global log_warnings = 4").await?;
        let source = SourceFixture::mariadb(bed, "goodbye").await?;
        let sql = "create table t (id int primary key, v text); \
            insert into t select seq, repeat('x', 1000) from seq_1_to_300";
        bed.mariadb(&source.database, sql).await?;
        every_kind(&source, &["snapshot", "perPartition"]).await?;
        let aborted = ["Aborted connection"];
        let found = lines(bed, "mariadb", &source.database, &aborted)?;
        ensure!(found.is_empty(), "{} lines: {found:#?}", found.len());

        // the log has what this looks for
        let kill = bed.mariadb(&source.database, "kill connection_id()").await;
        ensure!(kill.is_err(), "a session killed itself and lives");
        let (database, part) = (&source.database, "mariadb");
        wait_until("the server to notice", RUN, async || {
            let found = lines(bed, part, database, &aborted)?;
            ensure!(!found.is_empty(), "no line");
            Ok(())
        })
        .await
        .context("log_warnings")
    })
}

//! The oldest and the newest supported release of each engine: types, a full extract, three incremental ones, and one
//! that is refused. `make test-versions` runs the whole suites against every release.

mod logins;
mod planning;
mod refusals;
mod views;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Server, SourceFixture, SupportedRelease, TestEnv};
use serde_json::{Value, json};

/// How long a count may take.
const COUNT: Duration = Duration::from_mins(1);

/// Values of a column: its type, and how each engine writes two of them.
const POSTGRES: &[(&str, &str)] = &[
    ("boolean", "true"),
    ("smallint", "-32768"),
    ("bigint", "9223372036854775807"),
    ("real", "1.5"),
    ("double precision", "0.1"),
    ("numeric(38,10)", "1234567890123456789012345678.0123456789"),
    ("numeric", "-0.00000000000000000001"),
    ("text", "'Käse 🧀'"),
    ("char(5)", "'ab'"),
    ("bytea", "'\\x00ff5c'"),
    ("date", "'2024-02-29'"),
    ("time", "'23:59:59.999999'"),
    ("timestamp", "'2024-07-01 12:00:00.000001'"),
    ("timestamptz", "'2024-07-01 12:00:00.000001+02'"),
    ("interval", "'1 year 2 mons -3 days 04:05:06.7'"),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'"),
    ("json", "'{\"a\": [1, null]}'"),
    ("jsonb", "'{\"a\": [1, null]}'"),
    ("int[]", "'{1,NULL,3}'"),
    ("inet", "'10.0.0.1/8'"),
    ("int4range", "'[1,5)'"),
];

const MYSQL: &[(&str, &str)] = &[
    ("tinyint", "-128"),
    ("bigint unsigned", "18446744073709551615"),
    ("float", "1.5"),
    ("double", "0.1"),
    ("decimal(65,30)", "12345678901234567890123456789012345.012345678901234567890123456789"),
    ("varchar(20)", "'Käse 🧀'"),
    ("char(5)", "'ab'"),
    ("varbinary(9)", "x'00ff5c'"),
    ("longtext", "'long'"),
    ("date", "'2024-02-29'"),
    ("time(6)", "'-838:59:58.999999'"),
    ("datetime(6)", "'2024-07-01 12:00:00.000001'"),
    ("timestamp(6) null", "'2024-07-01 12:00:00.000001'"),
    ("year", "2024"),
    ("bit(5)", "b'10101'"),
    ("enum('calm','angry')", "'angry'"),
    ("set('a','b','c')", "'a,c'"),
    ("json", "'{\"a\": [1, null]}'"),
];

fn table(columns: &[(&str, &str)]) -> String {
    let made: Vec<_> =
        columns.iter().enumerate().map(|(at, (kind, _))| format!("c{at} {kind}")).collect();
    let values: Vec<_> = columns.iter().map(|(_, value)| *value).collect();
    let nulls = vec!["null"; columns.len()];
    format!(
        "create table types (id int primary key, {}); insert into types values (1, {}), (2, {})",
        made.join(", "),
        values.join(", "),
        nulls.join(", ")
    )
}

/// All types in one table; what arrives is what the releases of the test environment's own servers give.
async fn types(server: &Server, source: &SourceFixture, schema: &str) -> Result<Vec<Value>> {
    let columns = if source.engine == "mysql" { MYSQL } else { POSTGRES };
    server.sql(&source.database, &table(columns)).await?;
    let job = server.job(source, &format!("{schema}types"), "FE");
    let said = source.run(&job).await?;
    ensure!(said["rows"] == 2, "{said}");
    source.env.parquet_values(&source.bucket, &format!("{schema}types")).await
}

/// One full extract in three partitions, then incremental ones: late and equal values, and nothing new.
async fn windows(server: &Server, source: &SourceFixture, schema: &str) -> Result<()> {
    let name = format!("{schema}orders");
    let made = "create table orders (id int primary key, at timestamp(6) not null, v varchar(9))";
    server.sql(&source.database, made).await?;
    let insert = async |ids: &str, at: &str| -> Result<()> {
        let values: Vec<_> = ids.split(' ').map(|id| format!("({id}, '{at}', 'v{id}')")).collect();
        let sql = format!("insert into orders values {}", values.join(", "));
        server.sql(&source.database, &sql).await.map(|_| ())
    };
    insert("1 2 3 4 5 6 7", "2024-01-01 00:00:00.000001").await?;
    let mut whole = server.job(source, &name, "FE");
    whole["spec"]["output"]["uri"] = json!(format!("s3://{}/whole", source.bucket));
    whole["spec"]["tracking"]["key"] = json!(format!("{}.whole", source.database));
    whole["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
    ensure!(source.run(&whole).await?["rows"] == 7, "a full extract");
    let mut job = server.job(source, &name, "PE");
    job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp" });
    ensure!(source.run(&job).await?["rows"] == 7, "the first window");
    insert("8 9", "2024-01-01 00:00:00.000002").await?;
    ensure!(source.run(&job).await?["rows"] == 2, "the second window");
    ensure!(source.run(&job).await?["rows"] == 0, "the third window");
    let rows =
        source.env.read_parquet(&source.bucket, &name, "select count(*) n, sum(id)::int s from t");
    let rows = rows.await?;
    ensure!(rows[0]["n"] == 9 && rows[0]["s"] == 45, "{}", rows[0]);
    source.verify(&job).await?;
    Ok(())
}

/// Rows between the greatest published number and the end of a window that stays behind are the next run's:
/// they contradict nothing.
async fn counted(server: &Server, source: &SourceFixture, schema: &str) -> Result<()> {
    let made =
        "create table numbers (id int primary key); insert into numbers values (1), (2), (5), (20)";
    server.sql(&source.database, made).await?;
    let mut job = server.job(source, &format!("{schema}numbers"), "PE");
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int", "lagUnits": 10 });
    ensure!(source.run(&job).await?["rows"] == 3, "rows up to 10");
    server.sql(&source.database, "insert into numbers values (7)").await?;
    let output = source.env.output(source.command("verify --recount", &job)?, "", COUNT).await?;
    ensure!(output.code == Some(0), "{} {}", output.stdout, output.stderr);
    ensure!(source.run(&job).await?["rows"] == 1, "the row between");
    // a row below it is lost to the chain, and said to be
    server.sql(&source.database, "insert into numbers values (4)").await?;
    let output = source.env.output(source.command("verify --recount", &job)?, "", COUNT).await?;
    ensure!(output.code == Some(10), "{} {}", output.stdout, output.stderr);
    ensure!(output.stdout.contains("1 more rows"), "{}", output.stdout);
    Ok(())
}

/// A read that takes longer than the database's `transaction_timeout`, which Postgres has since 17.
async fn unhurried(server: &Server, source: &SourceFixture) -> Result<()> {
    if !matches!(server.release, SupportedRelease::Postgres(17..)) {
        return Ok(());
    }
    let sql = format!(
        "create view slow as select n from generate_series(1, 3) n, pg_sleep(2); \
         alter database {} set transaction_timeout = '1s'",
        source.database
    );
    server.sql(&source.database, &sql).await?;
    let said = source.run(&server.job(source, "public.slow", "FE")).await?;
    ensure!(said["rows"] == 3, "{said}");
    Ok(())
}

/// A table that does not exist, and a column that cannot be a watermark.
async fn refused(server: &Server, source: &SourceFixture, schema: &str) -> Result<()> {
    let missing = server.job(source, &format!("{schema}missing"), "FE");
    let mut mistyped = server.job(source, &format!("{schema}orders"), "PE");
    mistyped["spec"]["output"]["uri"] = json!(format!("s3://{}/mistyped", source.bucket));
    mistyped["spec"]["tracking"]["key"] = json!(format!("{}.mistyped", source.database));
    mistyped["spec"]["extract"]["watermark"] = json!({ "column": "v", "type": "int" });
    for (job, reason) in [(missing, "TableNotFound"), (mistyped, "ColumnTypeUnsupported")] {
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "{reason}: {:?} {}", output.code, output.stderr);
        ensure!(output.stderr.contains(reason), "{reason}: {}", output.stderr);
    }
    Ok(())
}

fn smoke(releases: &[SupportedRelease]) -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut first: Option<Vec<Value>> = None;
        for release in releases {
            let server = Server::start(env, *release)?;
            let version = server.version().await?;
            let all = async {
                let source = server.source("versions").await?;
                let schema = if source.engine == "mysql" { "" } else { "public." };
                let values = types(&server, &source, schema).await.context("types")?;
                ensure!(values.len() == 2, "{values:?}");
                let want = first.get_or_insert_with(|| values.clone());
                ensure!(values == *want, "{values:?} instead of {want:?}");
                windows(&server, &source, schema).await.context("windows")?;
                counted(&server, &source, schema).await.context("counted")?;
                refused(&server, &source, schema).await.context("refused")?;
                unhurried(&server, &source).await.context("unhurried")
            };
            all.await.context(version)?;
        }
        Ok(())
    })
}

#[test]
fn oldest_and_newest_postgres_are_extracted_alike() -> Result<()> {
    smoke(&[SupportedRelease::Postgres(14), SupportedRelease::Postgres(18)])
}

#[test]
fn oldest_and_newest_mysql_are_extracted_alike() -> Result<()> {
    smoke(&[SupportedRelease::Mysql(Mysql::Mysql80), SupportedRelease::Mysql(Mysql::Mysql97)])
}

#[test]
fn newest_mariadb_is_extracted() -> Result<()> {
    smoke(&[SupportedRelease::Mysql(Mysql::MariaDb118)])
}

#[test]
fn column_of_vectors_arrives_as_its_bytes() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for release in [Mysql::Mysql97, Mysql::MariaDb118] {
            let server = Server::start(env, SupportedRelease::Mysql(release))?;
            let source = server.source("vectors").await?;
            let convert = if release.is_mariadb() { "vec_fromtext" } else { "string_to_vector" };
            let sql = format!(
                "create table t (id int primary key, v vector(3)); \
                 insert into t values (1, {convert}('[1,2,-0.5]')), (2, {convert}('[0,0,0]'))"
            );
            server.sql(&source.database, &sql).await?;
            for (excluded, rows) in [(false, "2"), (true, "0")] {
                let mut job = server.job(&source, "t", "FE");
                if excluded {
                    job["spec"]["extract"]["excludeColumns"] = json!(["v"]);
                }
                let said = source.run(&job).await?;
                ensure!(said["rows"] == 2, "{release:?}: {said}");
                if excluded {
                    continue;
                }
                let count =
                    "select count(*)::varchar n, min(lower(hex(v))) filter (where id = 1) v from t";
                let read = source.env.read_parquet(&source.bucket, "t", count).await?;
                ensure!(read[0]["n"] == rows, "{}", read[0]);
                ensure!(read[0]["v"] == "0000803f00000040000000bf", "{release:?}: {}", read[0]);
            }
        }
        Ok(())
    })
}

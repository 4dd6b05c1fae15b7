//! VIRTUAL columns of MariaDB, whose values may differ between statements.

use anyhow::{Result, ensure};
use crds::Reason;
use harness::{Mysql, SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::in_env;

const TABLE: &str = "create table t (id int primary key, a int not null, \
    random double as (rand()) virtual, moment datetime as (now()) virtual, \
    session int as (connection_id()) virtual, person varchar(100) as (current_user()) virtual, \
    double_a int as (a * 2) virtual, stored_a int as (a + 1) persistent); \
    insert into t (id, a) select seq, seq from seq_1_to_100";

/// Columns that are doubtful, and the type of a watermark that they would be.
const DOUBTFUL: [(&str, &str, &str); 4] = [
    ("random", "double", "rand"),
    ("moment", "timestamp", "current time"),
    ("session", "int", "connection_id"),
    ("person", "", "current_user"),
];

async fn refused(
    source: &SourceFixture,
    job: &Value,
    (reason, words): (Reason, &[&str]),
) -> Result<()> {
    let output = source.try_run(job).await?;
    ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
    for word in [reason.to_string().as_str()].iter().chain(words) {
        ensure!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn recomputed_virtual_column_reports_per_partition() -> Result<()> {
    if Mysql::of_env().lacks("VIRTUAL columns that call rand()") {
        return Ok(());
    }
    in_env(async {
        let source = SourceFixture::mariadb(TestEnv::shared()?, "virtual").await?;
        source.env.mariadb(&source.database, TABLE).await?;
        for (column, _, function) in DOUBTFUL {
            let mut job = source.job("t", "FE");
            job["spec"]["extract"]["columns"] = json!(["id", column]);
            let plan = source.env.succeed(source.command("plan", &job)?, "").await?;
            ensure!(plan.contains("consistent perPartition"), "{column}: {plan}");
            ensure!(plan.contains(column) && plan.contains(function), "{column}: {plan}");
            job["spec"]["extract"]["consistency"] = json!("snapshot");
            let words = [column, function, "excludeColumns"];
            refused(&source, &job, (Reason::SnapshotUnavailable, &words)).await?;
            // a condition reads it too
            job["spec"]["extract"]["columns"] = json!(["id"]);
            job["spec"]["extract"]["where"] = json!(format!("{column} is not null"));
            refused(&source, &job, (Reason::SnapshotUnavailable, &words)).await?;
            // the remedy
            job["spec"]["extract"]["where"] = json!("a > 0");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 100, "{said}");
        }
        let mut job = source.job("t", "FE");
        job["spec"]["extract"]["columns"] = json!(["id", "double_a", "stored_a"]);
        job["spec"]["extract"]["consistency"] = json!("snapshot");
        source.run(&job).await.map(|_| ())
    })
}

#[test]
fn recomputed_virtual_column_is_refused_as_watermark_and_partition_column() -> Result<()> {
    if Mysql::of_env().lacks("VIRTUAL columns that call rand()") {
        return Ok(());
    }
    in_env(async {
        let source = SourceFixture::mariadb(TestEnv::shared()?, "cut").await?;
        source.env.mariadb(&source.database, TABLE).await?;
        for (column, value_type, function) in DOUBTFUL {
            let words = [column, function, "STORED"];
            if !value_type.is_empty() {
                let mut job = source.job("t", "PE");
                job["spec"]["extract"]["watermark"] =
                    json!({ "column": column, "type": value_type });
                refused(&source, &job, (Reason::InvalidSpec, &words)).await?;
            }
            for strategy in ["hash", "auto"] {
                let mut job = source.job("t", "FE");
                job["spec"]["extract"]["partition"] =
                    json!({ "strategy": strategy, "column": column, "count": 3 });
                refused(&source, &job, (Reason::InvalidSpec, &words)).await?;
            }
        }
        // the remedy: a column that depends on its row, or is stored
        for column in ["double_a", "stored_a"] {
            let mut job = source.job("t", "PE");
            job["spec"]["tracking"]["key"] = json!(source.key(column));
            job["spec"]["output"]["uri"] = json!(format!("s3://{}/{column}", source.bucket));
            job["spec"]["extract"]["watermark"] = json!({ "column": column, "type": "int" });
            job["spec"]["extract"]["partition"] = json!({ "column": column, "count": 3 });
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 100, "{said}");
        }
        Ok(())
    })
}

//! A source that comes to lead to another database with a table of the same name.

use anyhow::{Context, Result, ensure};
use crds::Reason;
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::in_env;

const OLD: &str = "create table orders (id int primary key); insert into orders values (1), (20)";
const NEW: &str =
    "create table orders (id int primary key); insert into orders values (5), (30), (40)";

/// A source with a tracking key of its own, and another database of the same engine.
async fn two(engine: &str, kind: &str) -> Result<(SourceFixture, String, Value)> {
    let env = TestEnv::shared()?;
    let (source, other) = if engine == "mysql" {
        let source = SourceFixture::mariadb(env, "old").await?;
        let other = env.mariadb_database("new").await?;
        env.mariadb(&source.database, OLD).await?;
        env.mariadb(&other, NEW).await?;
        (source, other)
    } else {
        let source = SourceFixture::new(env, "old").await?;
        let other = env.database("new").await?;
        env.psql(&source.database, OLD).await?;
        env.psql(&other, NEW).await?;
        (source, other)
    };
    let mut job = source.job("orders", kind);
    job["spec"]["tracking"]["key"] = json!(source.key("orders"));
    job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    Ok((source, other, job))
}

async fn refused(source: &SourceFixture, job: &Value, names: &[&str]) -> Result<()> {
    for command in ["run", "plan"] {
        let command = source.command(command, job)?;
        let output = source.env.output(command, "", std::time::Duration::from_mins(2)).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        let reason = Reason::TableChanged.to_string();
        for word in names.iter().chain([&reason.as_str()]) {
            ensure!(output.stderr.contains(word), "{word}: {}", output.stderr);
        }
    }
    Ok(())
}

#[test]
fn run_against_another_database_is_refused_with_both_names() -> Result<()> {
    in_env(async {
        for (engine, kind, table) in [
            ("postgres", "PE", "orders"),
            ("postgres", "PE", "public.orders"),
            ("postgres", "FE", "orders"),
            ("postgres", "FE", "public.orders"),
            ("mysql", "PE", "orders"),
            ("mysql", "FE", "orders"),
        ] {
            let (source, other, mut job) = two(engine, kind).await?;
            job["spec"]["extract"]["table"] = json!(table);
            ensure!(source.run(&job).await?["rows"] == 2, "rows of the old database");
            job["spec"]["source"]["database"] = json!(other);
            refused(&source, &job, &[&source.database, &other]).await?;
            let item = source.watermark_item("orders").await?.context("watermark item")?;
            ensure!(kind == "FE" || item["lwm_value"] == "20", "{item}");
            // each remedy: the database set back, a source of its own, a new beginning
            job["spec"]["source"]["database"] = json!(source.database);
            source.run(&job).await?;
            let mut own = job.clone();
            own["spec"]["source"]["database"] = json!(other);
            own["spec"]["tracking"]["key"] = json!(source.key("own"));
            own["spec"]["output"]["uri"] = json!(format!("s3://{}/own", source.bucket));
            ensure!(source.run(&own).await?["rows"] == 3, "rows under a key of their own");
            job["spec"]["source"]["database"] = json!(other);
            job["spec"]["extract"]["reingest"] = json!(true);
            ensure!(source.run(&job).await?["rows"] == 3, "rows of the new database");
            job["spec"]["extract"]["reingest"] = json!(false);
            source.run(&job).await?;
        }
        Ok(())
    })
}

/// A table of MySQL is named with its database: it is the same one wherever a session begins.
#[test]
fn mysql_table_with_named_database_is_unchanged_when_source_database_changes() -> Result<()> {
    in_env(async {
        let (source, other, mut job) = two("mysql", "PE").await?;
        job["spec"]["extract"]["table"] = json!(format!("{}.orders", source.database));
        ensure!(source.run(&job).await?["rows"] == 2, "rows of the old database");
        job["spec"]["source"]["database"] = json!(other);
        ensure!(source.run(&job).await?["rows"] == 0, "the same table");
        Ok(())
    })
}

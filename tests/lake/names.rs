//! Names that Tidemark adds: refused where a reader would have two columns of one name.

use anyhow::{Context, Result, ensure};
use harness::{Access, SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::{both, changed, plan, refused, said, sql};

const TABLE: &str = "create table t (id int primary key, extract_run varchar(9), note varchar(9)); \
    insert into t values (1, 'mine', 'n')";

/// What each of three readers shows of the only row, directories being columns.
async fn shown(source: &SourceFixture, prefix: &str, column: &str) -> Result<Vec<Value>> {
    let readers = source.env.read_hive(&source.bucket, prefix).await?;
    ensure!(readers.len() == 3, "{readers:?}");
    Ok(readers.iter().map(|reader| reader["rows"][0][column].clone()).collect())
}

#[test]
fn a_column_shadowed_by_the_run_directory_is_refused_and_the_remedy_works() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "shadow").await? {
            sql(&source, TABLE).await?;
            let job = source.job(table, "FE");
            let words = ["InvalidSpec", "\"extract_run\"", "Set output.runFolder: time"];
            refused(&source, &job, &words).await?;
            said(&plan(&source, &job).await?, &words)?;
            let keys = env.keys(&source.bucket, &format!("{table}/")).await?;
            ensure!(!keys.iter().any(|key| key.ends_with(".parquet")), "{keys:?}");
            // one remedy
            let job = changed(&job, &json!({ "output": { "runFolder": "time" } }));
            source.run(&job).await?;
            let values = shown(&source, &format!("{table}/"), "extract_run").await?;
            ensure!(values == vec![json!("mine"); 3], "{values:?}");
            // the other
            let left = json!({ "output": { "runFolder": null }, "extract": { "excludeColumns": ["extract_run"] } });
            source.run(&changed(&job, &left)).await?;

            // why it is refused: readers show what the directory says, and say nothing of the column
            source.run(&job).await?;
            let keys = env.keys(&source.bucket, &format!("{table}/jdbc_extract_time=")).await?;
            let file = env.object(&source.bucket, keys.first().context("a file")?).await?;
            env.s3(Access::Admin)
                .put_object()
                .bucket(&source.bucket)
                .key("seen/extract_run=R/part.parquet")
                .body(file.into())
                .send()
                .await?;
            let values = shown(&source, "seen/", "extract_run").await?;
            ensure!(values == vec![json!("R"); 3], "{values:?}");
        }
        Ok(())
    })
}

#[test]
fn an_added_name_in_use_is_refused_and_the_remedy_works() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "added").await? {
            sql(&source, &TABLE.replace("extract_run", "_day")).await?;
            let job = source.job(table, "FE");
            for (wrong, words, right) in [
                (
                    json!({ "columns": { "rowHash": "NOTE" } }),
                    ["output.columns.rowHash", "\"note\""],
                    json!({ "columns": { "rowHash": "hash" } }),
                ),
                (
                    json!({ "columns": { "runId": "Extract_Run" } }),
                    ["output.columns must not use", "extract_run;"],
                    json!({ "columns": { "runId": "run_id" } }),
                ),
                (
                    json!({ "runFolder": "time", "columns": { "extractTime": "JDBC_extract_time" } }),
                    ["output.columns must not use", "jdbc_extract_time)"],
                    json!({ "columns": { "extractTime": "extracted_at" } }),
                ),
                (
                    json!({ "columns": { "runId": "mark", "rowHash": "Mark" } }),
                    ["output.columns: two", "must not have the same name"],
                    json!({ "columns": { "runId": "run_id" } }),
                ),
                (
                    json!({ "partitionBy": ["_day"] }),
                    ["output.partitionBy", "\"_day\""],
                    json!({ "partitionBy": null }),
                ),
            ] {
                let job = changed(&job, &json!({ "output": wrong }));
                refused(&source, &job, &[&["InvalidSpec"], &words[..]].concat()).await?;
                source.run(&changed(&job, &json!({ "output": right }))).await?;
                let values = shown(&source, &format!("{table}/"), "note").await?;
                ensure!(values == vec![json!("n"); 3], "{values:?}");
            }
        }
        let source = SourceFixture::new(env, "alike").await?;
        env.psql(&source.database, "create table t (id int, region text, \"Region\" text); insert into t values (1, 'a', 'b')")
            .await?;
        let job = changed(&source.job("public.t", "FE"), &json!({ "output": { "partitionBy": ["Region"] } }));
        refused(&source, &job, &["InvalidSpec", "\"Region\"", "\"region\""]).await?;
        source.run(&changed(&job, &json!({ "extract": { "excludeColumns": ["region"] } }))).await?;
        let values = shown(&source, "public.t/", "Region").await?;
        ensure!(values == vec![json!("b"); 3], "{values:?}");
        // a directory of the uri is the user's own: a warning
        let uri = format!("s3://{}/region=EU/t", source.bucket);
        let job = changed(&source.job("public.t", "FE"), &json!({ "output": { "uri": uri } }));
        let output = plan(&source, &job).await?;
        ensure!(output.code == Some(0) && output.stdout.contains("output.uri contains directories"), "{}", output.stdout);
        Ok(())
    })
}

//! JSON: the logical type only for what every reader takes.

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::{all_read, changed, manifest, refused};

/// Stands in values, and must be in no error.
const CANARY: &str = "canary-7f3a91";

/// The column `c` as a manifest has it.
fn column(manifest: &Value) -> (Value, Value) {
    let columns = manifest["columns"].as_array();
    let found = columns.and_then(|columns| columns.iter().find(|column| column["name"] == "c"));
    found.map_or((Value::Null, Value::Null), |column| {
        (column["target"].clone(), column["fidelity"].clone())
    })
}

#[test]
fn json_that_a_reader_refuses_fails_with_column_and_row_and_is_text_on_request() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "json").await?;
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        let long = format!("1{}", "0".repeat(400));
        for (number, (column_type, value)) in [
            ("json", format!("[\"{CANARY}\\ud83d\"]")),
            ("json", format!("{{\"{CANARY}\\ude00\": 1}}")),
            ("json", "1e400".to_owned()),
            ("json", deep.clone()),
            ("jsonb", deep),
            ("jsonb", long),
        ]
        .into_iter()
        .enumerate()
        {
            let table = format!("t{number}");
            let statement = format!(
                "create table {table} (id int, c {column_type}); \
                 insert into {table} values (1, null), (2, '{{}}'), (3, '{value}')"
            );
            env.psql(&source.database, &statement).await?;
            let table = format!("public.{table}");
            let job = source.job(&table, "FE");
            let place = format!("column c ({column_type}) in row 3: invalid JSON");
            let words = ["DecodeFailed", place.as_str(), "extract.types to string"];
            let said = refused(&source, &job, &words).await?;
            ensure!(!said.contains(CANARY), "{said}");
            let keys = env.keys(&source.bucket, &table).await?;
            ensure!(!keys.iter().any(|key| key.ends_with(".parquet")), "published: {keys:?}");
            // following the remedy works, and the text is the database's own
            let run = source.run(&changed(&job, &json!({ "extract": { "types": { "c": "string" } } }))).await?;
            all_read(&source, &table, 3).await?;
            let kept = column(&manifest(&source, &table, &run).await?);
            ensure!(kept == (json!("text"), json!("string")), "{kept:?}");
            let own = env.psql(&source.database, &format!("select c::text from {table} where id = 3")).await?;
            let read = env.read_parquet(&source.bucket, &table, "select c from t where id = 3").await?;
            ensure!(read[0]["c"] == json!(own), "{column_type} {value}");
        }
        let fine = "create table fine (id int, c json, d jsonb); insert into fine values (1, '{\"a\":1,\"a\":2}', '1e300'), \
            (2, '\"\\u0000\\ud83d\\ude00\"', 'null'), (3, ' [1e-400] ', '{\"\": [true]}'), (4, null, null)";
        env.psql(&source.database, fine).await?;
        let run = source.run(&source.job("public.fine", "FE")).await?;
        all_read(&source, "public.fine", 4).await?;
        let kept = column(&manifest(&source, "public.fine", &run).await?);
        ensure!(kept == (json!("json"), json!("exact")), "{kept:?}");
        Ok(())
    })
}

#[test]
fn a_longtext_is_json_only_by_its_own_check() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "checks").await?;
        let database = &source.database;
        for (number, (column, more, is_json)) in [
            ("json", "", true),
            ("longtext check (json_valid(c))", "", true),
            ("longtext default '{\"it''s\": \"(\"}' comment 'it''s, (json_valid(`id`)' check (json_valid(c))", "", true),
            ("longtext check (c = '' or json_valid(c))", "", false),
            ("longtext check (json_valid(c) or c = '')", "", false),
            ("longtext check (json_valid(c) and length(c) < 900)", "", false),
            ("longtext check (not json_valid(c))", "", false),
            ("longtext check (json_valid(c) is null or true)", "", false),
            ("longtext check (json_valid(concat('[', c, ']')))", "", false),
            ("longtext comment 'json_valid(`c`)'", "", false),
            ("longtext comment 'it\\'s check (json_valid(`c`))'", "", false),
            ("longtext default 'check (json_valid(`c`))'", "", false),
            ("longtext as (if(json_valid(id), 'a', 'b'))", "", false),
            ("longtext", ", constraint c check (json_valid(c) or c = '')", false),
            ("longtext", ", d json default '1', constraint e check (json_valid(d))", false),
            ("text check (json_valid(c))", "", false),
        ]
        .into_iter()
        .enumerate()
        {
            let table = format!("t{number}");
            let make = format!("create table {table} (id int, c {column}{more}); insert into {table} (id) values (1)");
            env.mariadb(database, &make).await?;
            if !is_json && !column.contains(" as (") {
                // what the check lets pass is no JSON
                let _refused = env.mariadb(database, &format!("insert into {table} (id, c) values (2, '')")).await;
            }
            let run = source.run(&source.job(&table, "FE")).await?;
            all_read(&source, &table, run["rows"].as_u64().unwrap_or_default()).await?;
            let kept = column_of(&source, &table, &run).await?;
            ensure!(kept == (if is_json { json!("json") } else { json!("text") }), "{column}{more}: {kept}");
        }
        Ok(())
    })
}

async fn column_of(source: &SourceFixture, table: &str, run: &Value) -> Result<Value> {
    Ok(column(&manifest(source, table, run).await?).0)
}

#[test]
fn json_of_mariadb_is_checked_before_publication() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "loose").await?;
        for (number, value) in
            ["", CANARY, "[1,]", "\"\\\\ud83d\"", "\"a\tb\"", "1 2"].into_iter().enumerate()
        {
            let table = format!("t{number}");
            // the check can be switched off, and takes more than readers do
            let make = format!(
                "create table {table} (id int, c json); set check_constraint_checks = 0; \
                 insert into {table} values (1, '{{}}'), (2, '{value}')"
            );
            env.mariadb(&source.database, &make).await?;
            let job = source.job(&table, "FE");
            let words = [
                "DecodeFailed",
                "column c (longtext) in row 2: invalid JSON",
                "extract.types to string",
            ];
            let said = refused(&source, &job, &words).await?;
            ensure!(!said.contains(CANARY), "{said}");
            source
                .run(&changed(&job, &json!({ "extract": { "types": { "c": "string" } } })))
                .await?;
            all_read(&source, &table, 2).await?;
        }
        Ok(())
    })
}

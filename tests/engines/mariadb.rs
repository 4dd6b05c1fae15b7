//! `tidemark run` on MariaDB: the protocol without a cluster.

mod cluster;
mod guard;
mod refused;
mod types;

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn a_full_extract_of_several_partitions_has_every_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria").await?;
        env.mariadb(
            &source.database,
            "create table orders (id bigint primary key, price decimal(12,2), at datetime(6), note varchar(40));
             insert into orders select seq, seq * 1.25, '2020-01-01' + interval seq second, concat('№ ', seq)
             from seq_1_to_200000;
             insert into orders (id) values (0), (-9223372036854775808), (9223372036854775807);",
        )
        .await?;
        let mut job = source.job("orders", "FE");
        job["spec"]["extract"]["partition"] =
            json!({ "column": "id", "count": 3, "lowerBound": "1", "upperBound": "200000" });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 200_003, "{said}");
        let rows = env
            .read_parquet(
                &source.bucket,
                "orders",
                "select count(*) n, count(distinct id) ids, sum(price)::varchar price, max(\"at\")::varchar at_, \
                 count(note) notes, min(note) note from t",
            )
            .await?;
        let expected = json!({
            "n": 200_003, "ids": 200_003, "price": "25000125000.00", "at_": "2020-01-03 07:33:20",
            "notes": 200_000, "note": "№ 1",
        });
        ensure!(rows[0] == expected, "read {}\nwant {expected}", rows[0]);
        let files = env.parquet_files(&source.bucket, "orders").await?;
        ensure!(files.len() == 3, "{} files", files.len());
        ensure!(source.open_uploads().await? == 0, "open uploads");
        source.verify(&job).await?;
        Ok(())
    })
}

#[test]
fn incremental_runs_lose_and_repeat_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-incr").await?;
        let db = &source.database;
        env.mariadb(db, "create table orders (id int, v int, at timestamp(3) not null, key (at));
            insert into orders select seq, 0, now(3) - interval 1 day from seq_1_to_1000").await?;
        let mut job = source.job("orders", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp" });
        let first = source.run(&job).await?;
        ensure!(first["rows"] == 1000 && first["window"]["guard"] == "lag", "{first}");
        env.mariadb(db, "insert into orders select seq, 0, now(3) - interval 1 hour from seq_1001_to_1100;
            update orders set v = 1, at = now(3) - interval 30 minute where id <= 10;
            insert into orders values (9999, 0, now(3));").await?;
        let second = source.run(&job).await?;
        ensure!(second["rows"] == 110, "the row of this moment waits for its lag: {second}");
        let third = source.run(&job).await?;
        ensure!(third["rows"] == 0, "{third}");
        let legacy = source.watermark_item("orders").await?.context("watermark item")?;
        ensure!(text(&legacy, "extract_successful") == "Y" && text(&legacy, "hwm_value") == "-1", "{legacy}");
        let max = env
            .mariadb(db, "set time_zone='+00:00'; select date_format(max(at), '%Y-%m-%d %H:%i:%s.%f') from orders where id <> 9999")
            .await?;
        ensure!(text(&legacy, "lwm_value") == max.trim_end_matches(".000000"), "{legacy} {max}");
        let rows = env
            .read_parquet(&source.bucket, "orders", "select count(*) n, count(distinct (id, v)) d from t")
            .await?;
        ensure!(rows[0] == json!({ "n": 1110, "d": 1110 }), "{}", rows[0]);
        // from the beginning, with what the lag left out by now still left out
        job["spec"]["extract"]["reingest"] = json!(true);
        let again = source.run(&job).await?;
        ensure!(again["rows"] == 1100, "{again}");
        source.verify(&job).await?;
        Ok(())
    })
}

#[test]
fn a_watermark_of_each_type_continues_where_it_stopped() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-kinds").await?;
        let db = &source.database;
        for (name, column_type, watermark_type, first, second) in [
            ("ids", "bigint unsigned", "int", "7", "9"),
            (
                "wide",
                "decimal(65,30)",
                "decimal",
                "1.000000000000000000000000000001",
                "1.000000000000000000000000000002",
            ),
            ("money", "decimal(12,2)", "decimal", "-1.25", "0.50"),
            ("narrow", "float", "double", "0.1", "0.2"),
            ("reals", "double", "double", "-1e300", "0.30000000000000004"),
            ("days", "date", "date", "'2020-02-29'", "'2020-03-01'"),
            (
                "moments",
                "datetime(6)",
                "timestamp",
                "'2020-02-29 23:59:59.999999'",
                "'2020-03-01 00:00:00'",
            ),
        ] {
            env.mariadb(
                db,
                &format!(
                    "create table {name} (w {column_type}); insert into {name} values ({first})"
                ),
            )
            .await?;
            let mut job = source.job(name, "PE");
            job["spec"]["extract"]["watermark"] = json!({ "column": "w", "type": watermark_type });
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{name}: {said}");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 0, "{name}, nothing new: {said}");
            env.mariadb(db, &format!("insert into {name} values ({second})")).await?;
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{name}, one new: {said}");
        }
        Ok(())
    })
}

#[test]
fn rows_without_a_watermark_follow_the_policy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-null").await?;
        env.mariadb(
            &source.database,
            "create table t (w int); insert into t values (1), (2), (null)",
        )
        .await?;
        let mut job = source.job("t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "w", "type": "int" });
        let output = source.try_run(&job).await?;
        ensure!(
            output.code == Some(10) && output.stderr.contains("NullWatermarkRows"),
            "{}",
            output.stderr
        );
        job["spec"]["extract"]["watermark"]["nullPolicy"] = json!("include");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 3, "{said}");
        Ok(())
    })
}

#[test]
fn dates_of_the_year_0_in_a_watermark_follow_the_policy_for_null() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (kind, zero) in
            [("date", "0000-00-00"), ("datetime(3)", "0000-00-00"), ("timestamp", "0000-00-00")]
        {
            let source = SourceFixture::mariadb(env, "maria-zero").await?;
            let add = async |id: u32, at: &str| {
                let sql = format!("set sql_mode = ''; insert into t values ({id}, '{at}')");
                env.mariadb(&source.database, &sql).await
            };
            let table = format!("create table t (id int primary key, at {kind} not null)");
            env.mariadb(&source.database, &table).await?;
            add(1, "2024-01-01").await?;
            let mut job = source.job("t", "PE");
            job["spec"]["extract"]["watermark"] =
                json!({ "column": "at", "type": if kind == "date" { kind } else { "timestamp" } });
            job["spec"]["extract"]["zeroDates"] = json!("null");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{said}");
            // below every watermark: no window would take it
            add(2, zero).await?;
            let output = source.try_run(&job).await?;
            ensure!(output.code == Some(10), "{kind}: {}", output.stderr);
            ensure!(output.stderr.contains("a date of the year 0"), "{}", output.stderr);
            add(3, "2024-01-02").await?;
            job["spec"]["extract"]["watermark"]["nullPolicy"] = json!("exclude");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{kind}: {said}");
            job["spec"]["extract"]["watermark"]["nullPolicy"] = json!("include");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{kind}: {said}");
            job["spec"]["extract"]["reingest"] = json!(true);
            for (policy, rows) in [("exclude", 2), ("include", 3)] {
                job["spec"]["extract"]["watermark"]["nullPolicy"] = json!(policy);
                let said = source.run(&job).await?;
                ensure!(said["rows"] == rows, "{kind} {policy}: {said}");
            }
        }
        Ok(())
    })
}

#[test]
fn session_settings_override_those_of_the_server() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-pins").await?;
        // a view tells the session that reads it
        env.mariadb(
            &source.database,
            "create function pins() returns varchar(200) no sql return concat_ws('|', @@time_zone, @@tx_read_only, \
               @@tx_isolation, @@net_write_timeout, @@wait_timeout, @@max_statement_time, \
               @@character_set_client, @@idle_transaction_timeout);
             create view pinned as select 1 as id, pins() as pins, cast(timestamp'2024-07-01 12:00:00' as char) as at",
        )
        .await?;
        source.run(&source.job("pinned", "FE")).await?;
        let rows = env.read_parquet(&source.bucket, "pinned", "select pins from t").await?;
        let pins = "+00:00|ON|REPEATABLE-READ|86400|86400|0.000000|utf8mb4|0";
        ensure!(rows == [json!({ "pins": pins })], "{rows:?}");
        Ok(())
    })
}

#[test]
fn an_empty_table_and_an_empty_window_are_published_as_no_files() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-empty").await?;
        env.mariadb(&source.database, "create table t (id int primary key, at date)").await?;
        let said = source.run(&source.job("t", "FE")).await?;
        ensure!(said["rows"] == 0 && said["files"] == 0, "{said}");
        Ok(())
    })
}

#[test]
fn wide_rows_and_wide_tables_are_read_whole() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-wide").await?;
        let db = &source.database;
        // a row of more than a packet's 16 MiB, and one that fills a packet to its last byte
        env.mariadb(db, "set global max_allowed_packet = 67108864").await?;
        env.mariadb(db, "create table big (id int, doc longtext); insert into big values (1, repeat('x', 17000000)), \
            (2, repeat('y', 16777205)), (3, 'z')").await?;
        let said = source.run(&source.job("big", "FE")).await?;
        ensure!(said["rows"] == 3, "{said}");
        let rows = env
            .read_parquet(&source.bucket, "big", "select id, length(doc) n, doc[1:1] c from t order by id")
            .await?;
        let expected = json!([
            { "id": 1, "n": 17_000_000, "c": "x" }, { "id": 2, "n": 16_777_205, "c": "y" }, { "id": 3, "n": 1, "c": "z" }
        ]);
        ensure!(json!(rows) == expected, "{}", json!(rows));
        let columns: Vec<_> = (0..1000).map(|index| format!("c{index} int")).collect();
        env.mariadb(db, &format!("create table wide ({}); insert into wide (c999) values (7)", columns.join(","))).await?;
        let said = source.run(&source.job("wide", "FE")).await?;
        ensure!(said["rows"] == 1, "{said}");
        let rows = env.read_parquet(&source.bucket, "wide", "select c999, c0 from t").await?;
        ensure!(rows[0] == json!({ "c999": 7, "c0": null }), "{}", rows[0]);
        Ok(())
    })
}

//! The legacy job's nine defects, one test each (some need no stores: `worker/core` has
//! `legacy_job_7_..` and two of `legacy_job_8_..`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{LegacyJob, Session, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

use super::{Form, arguments, call, reason, spelled, try_call, with};

/// The new watermark was the maximum of the partition column.
#[test]
fn legacy_job_1_the_watermark_is_the_maximum_of_its_own_column() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect1").await?;
        let rows = "create table t (id int primary key, mark int); \
                    insert into t select i, 1000 - i from generate_series(1, 900) i";
        env.psql(&source.database, rows).await?;
        let arguments = with(arguments(&source, "public.t"), &[("hwm_col_name", "mark")]);
        let said = call(&source, Form::Glue, &arguments).await?;
        ensure!(said["rows"] == 900 && said["watermark"] == "999", "{said}");
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(item["lwm_value"] == "999", "{item}");
        Ok(())
    })
}

/// Rows that came while the job read could be covered by the watermark and be in no file.
#[test]
fn legacy_job_2_rows_committed_during_a_run_are_left_to_the_next() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect2").await?;
        let db = &source.database;
        env.psql(db, "create table t (id int primary key); insert into t select generate_series(1, 100)").await?;
        let arguments = arguments(&source, "public.t");
        let (words, variables) = spelled(Form::Script, &arguments);
        let gate = source.file("gate");
        let mut command = source.call(&words, &variables)?;
        command.env("TIDEMARK_TEST_PAUSE", format!("partition-start={}", gate.display()));
        let meanwhile = async {
            at_gate(&gate).await?;
            env.psql(db, "insert into t select generate_series(101, 150); update t set id = -id where id = 7").await?;
            Ok::<_, anyhow::Error>(std::fs::remove_file(&gate)?)
        };
        let (output, meanwhile) =
            tokio::join!(env.output(command, "", Duration::from_mins(2)), meanwhile);
        meanwhile?;
        let output = output?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let first: Value = serde_json::from_str(output.stdout.trim())?;
        ensure!(first["rows"] == 100 && first["watermark"] == "100", "{first}");
        let second = call(&source, Form::Script, &arguments).await?;
        ensure!(second["rows"] == 50, "{second}");
        let rows = env
            .read_parquet(&source.bucket, "public.t", "select count(*) n, count(distinct id) d, min(id) low from t")
            .await?;
        ensure!(rows[0] == json!({ "n": 150, "d": 150, "low": 1 }), "{}", rows[0]);
        Ok(())
    })
}

async fn at_gate(gate: &std::path::Path) -> Result<()> {
    wait_until("the pause", Duration::from_mins(1), async || {
        ensure!(gate.exists(), "not there yet");
        Ok(())
    })
    .await
}

/// An overwrite deleted the old extract before the new one was there.
#[test]
fn legacy_job_3_the_earlier_extract_stays_until_the_new_one_is_whole() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect3").await?;
        let db = &source.database;
        env.psql(
            db,
            "create table t (id int primary key); insert into t select generate_series(1, 100)",
        )
        .await?;
        let full =
            with(arguments(&source, "public.t"), &[("extract_type", "FE"), ("lwm_value", "None")]);
        call(&source, Form::Environment, &full).await?;
        env.psql(db, "delete from t where id > 40").await?;
        let gate = source.file("gate");
        let (words, variables) = spelled(Form::Environment, &full);
        let mut command = source.call(&words, &variables)?;
        command
            .env("TIDEMARK_TEST_PAUSE", format!("before-record={}", gate.display()))
            .env("TIDEMARK_LEASE_SECONDS", "3")
            .env("TIDEMARK_RENEW_SECONDS", "1");
        let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
        at_gate(&gate).await?;
        let count = "select count(*) n from t";
        let rows = env.read_parquet(&source.bucket, "public.t", count).await?;
        ensure!(rows[0]["n"] == 100, "while the new one is being made: {}", rows[0]);
        child.kill().await?;
        std::fs::remove_file(&gate)?;
        let rows = env.read_parquet(&source.bucket, "public.t", count).await?;
        ensure!(rows[0]["n"] == 100, "after its death: {}", rows[0]);
        call(&source, Form::Environment, &full).await?;
        let rows = env.read_parquet(&source.bucket, "public.t", count).await?;
        ensure!(rows[0]["n"] == 40, "{}", rows[0]);
        Ok(())
    })
}

/// Two runs of one table overwrote each other's item.
#[test]
fn legacy_job_4_two_runs_of_one_table_do_not_mix() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect4").await?;
        let db = &source.database;
        env.psql(
            db,
            "create table t (id int primary key); insert into t select generate_series(1, 100)",
        )
        .await?;
        let arguments = arguments(&source, "public.t");
        let gate = source.file("gate");
        let (words, variables) = spelled(Form::Glue, &arguments);
        let mut command = source.call(&words, &variables)?;
        command.env("TIDEMARK_TEST_PAUSE", format!("before-record={}", gate.display()));
        let meanwhile = async {
            at_gate(&gate).await?;
            let mut job = source.job("public.t", "PE");
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
            let mut second = source.command("run", &job)?;
            second.arg("--no-wait");
            let output = env.output(second, "", Duration::from_mins(1)).await?;
            ensure!(
                output.code == Some(20) && reason(&output)? == "SourceBusy",
                "{}",
                output.stderr
            );
            Ok::<_, anyhow::Error>(std::fs::remove_file(&gate)?)
        };
        let (output, meanwhile) =
            tokio::join!(env.output(command, "", Duration::from_mins(2)), meanwhile);
        meanwhile?;
        let output = output?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let rows = env.read_parquet(&source.bucket, "public.t", "select count(*) n from t").await?;
        ensure!(rows[0]["n"] == 100, "{}", rows[0]);
        Ok(())
    })
}

/// A first run without rows broke off.
#[test]
fn legacy_job_5_a_first_run_without_rows_succeeds() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect5").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let arguments = with(arguments(&source, "public.t"), &[("lwm_value", "None")]);
        let said = call(&source, Form::Environment, &arguments).await?;
        ensure!(said["rows"] == 0 && said["files"] == 0, "{said}");
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        LegacyJob::knows(&item)?;
        ensure!(item["lwm_value"] == "-2147483648" && item["hwm_value"] == "-1", "{item}");
        ensure!(
            item["extract_metadata"] == "{\"row_count\": 0}" && item["extract_successful"] == "Y",
            "{item}"
        );
        Ok(())
    })
}

/// The map of types was never used, and guessed.
#[test]
fn legacy_job_6_types_come_from_the_catalog() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect6").await?;
        let rows = "create table t (id int primary key, price numeric(30,12), plain timestamp, zoned timestamptz); \
                    insert into t values (1, 123456789012345678.123456789012, '2023-01-31 10:00:00', '2023-01-31 10:00:00+02')";
        env.psql(&source.database, rows).await?;
        call(&source, Form::Script, &arguments(&source, "public.t")).await?;
        let files = env.parquet_files(&source.bucket, "public.t").await?;
        let types = &files.first().context("a file")?.schema;
        for (column, kind) in [
            ("id", "int32"),
            ("price", "decimal128(30, 12)"),
            ("plain", "timestamp[us]"),
            ("zoned", "timestamp[us, tz=UTC]"),
            ("hash", "string"),
        ] {
            ensure!(types.get(column).map(String::as_str) == Some(kind), "{column}: {types:?}");
        }
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.t",
                "select price::varchar price, epoch(plain)::bigint plain, epoch(zoned)::bigint zoned from t",
            )
            .await?;
        let exact = json!({ "price": "123456789012345678.123456789012", "plain": 1_675_159_200, "zoned": 1_675_152_000 });
        ensure!(rows[0] == exact, "{}", rows[0]);
        Ok(())
    })
}

/// Nothing verified the server, and values went into statements as they came.
#[test]
fn legacy_job_8_manifests_verify_the_server_and_arguments_are_escaped_in_sql() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect8").await?;
        let rows = "create table \"t; drop table t\" (id int primary key, \"a'\"\"b\" int); \
                    insert into \"t; drop table t\" values (1, 1); create table t (id int)";
        env.psql(&source.database, rows).await?;
        let odd = with(
            arguments(&source, "public.t; drop table t"),
            &[
                ("hwm_col_name", "a'\"b"),
                ("partition_column", "a'\"b"),
                ("extract_s3_uri", &format!("s3://{}/odd", source.bucket)),
            ],
        );
        let said = call(&source, Form::Glue, &odd).await?;
        ensure!(said["rows"] == 1, "{said}");
        let injected = with(arguments(&source, "public.t"), &[("lwm_value", "0' or '1' = '1")]);
        let output = try_call(&source, Form::Script, &injected).await?;
        ensure!(output.code == Some(10) && reason(&output)? == "InvalidSpec", "{}", output.stderr);
        let mut job = source.job("public.t", "FE");
        job["spec"]["source"]["tls"] = Value::Null;
        let mut command = source.command("run", &job)?;
        // without the test environment's authority, which is not a public one
        command.env_remove("TIDEMARK_CA_FILE");
        let output = env.output(command, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(10) && reason(&output)? == "TlsFailed", "{}", output.stderr);
        env.psql(&source.database, "select count(*) from t").await?;
        Ok(())
    })
}

/// Rows without watermark were left out in silence.
#[test]
fn legacy_job_9_rows_without_watermark_are_never_left_out_in_silence() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "defect9").await?;
        let rows =
            "create table t (id int primary key, mark int); insert into t values (1, 1), (2, null)";
        env.psql(&source.database, rows).await?;
        let arguments = with(arguments(&source, "public.t"), &[("hwm_col_name", "mark")]);
        let output = try_call(&source, Form::Environment, &arguments).await?;
        ensure!(
            output.code == Some(10) && reason(&output)? == "NullWatermarkRows",
            "{}",
            output.stderr
        );
        ensure!(output.stderr.contains("NULL_POLICY"), "no remedy for a call: {}", output.stderr);
        for (policy, count) in [("exclude", 1), ("include", 1)] {
            let chosen = with(arguments.clone(), &[("null_policy", policy)]);
            let said = call(&source, Form::Environment, &chosen).await?;
            ensure!(said["rows"] == count, "{policy}: {said}");
        }
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.t",
                "select count(*) n, count(distinct id) d from t",
            )
            .await?;
        ensure!(rows[0] == json!({ "n": 2, "d": 2 }), "{}", rows[0]);
        Ok(())
    })
}

/// A row tied with the watermark that came later was lost.
#[test]
fn legacy_job_9_a_row_tied_with_the_watermark_is_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "ties").await?;
        let db = &source.database;
        env.psql(db, "create table t (id int, at timestamptz(0) default now())").await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
        // two rows of one second, one of which commits after a run has read
        let mut session = Session::open(env, db)?;
        session.say("begin; insert into t values (2);").await?;
        let tied = "insert into t select 1, xact_start::timestamptz(0) from pg_stat_activity \
                    where datname = current_database() and state = 'idle in transaction'";
        env.psql(db, tied).await?;
        let mut taken = source.run(&job).await?["rows"].as_i64().context("rows")?;
        session.say("commit;").await?;
        wait_until("both rows", Duration::from_secs(30), async || {
            taken += source.run(&job).await?["rows"].as_i64().context("rows")?;
            ensure!(taken == 2, "{taken} rows");
            Ok(())
        })
        .await?;
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.t",
                "select count(*) n, count(distinct id) d from t",
            )
            .await?;
        ensure!(rows[0] == json!({ "n": 2, "d": 2 }), "{}", rows[0]);
        Ok(())
    })
}

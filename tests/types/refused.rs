//! Values that Parquet has no place for: refused by column, type and row, and never shown.

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::json;

/// How long a plan or run may take on a busy machine.
const RUN: std::time::Duration = std::time::Duration::from_mins(1);

#[test]
fn a_value_that_does_not_fit_is_refused_by_column_type_and_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "refused").await?;
        for (number, (column_type, value, reason, why)) in [
            ("date", "'infinity'", "NonFiniteValue", "NaN or infinity"),
            ("date", "'-infinity'", "NonFiniteValue", "NaN or infinity"),
            ("timestamp without time zone", "'infinity'", "NonFiniteValue", "NaN or infinity"),
            ("timestamp with time zone", "'-infinity'", "NonFiniteValue", "NaN or infinity"),
            ("numeric(12,2)", "'NaN'", "NonFiniteValue", "NaN or infinity"),
            ("time without time zone", "'24:00:00'", "DecodeFailed", "the end of the day"),
            ("timestamp without time zone", "'294276-12-31'", "DecodeFailed", "year out of range"),
        ]
        .into_iter()
        .enumerate()
        {
            let table = format!("t{number}");
            env.psql(
                &source.database,
                &format!(
                    "create table {table} (id int, c {column_type});
                     insert into {table} values (1, null), (2, {value})"
                ),
            )
            .await?;
            let output = source.try_run(&source.job(&format!("public.{table}"), "FE")).await?;
            let said = &output.stderr;
            ensure!(
                output.code == Some(10),
                "{column_type} {value}: exit {:?}: {said}",
                output.code
            );
            let place = format!("column c ({column_type}) in row 2: {why}");
            for words in [reason, place.as_str(), "remedy"] {
                ensure!(said.contains(words), "{column_type} {value}: no {words:?} in {said}");
            }
            for secret in ["-infinity", "24:00", "294276"] {
                ensure!(!said.contains(secret), "{secret}: {said}");
            }
            let files = env.keys(&source.bucket, &format!("public.{table}")).await?;
            ensure!(!files.iter().any(|key| key.ends_with(".parquet")), "published: {files:?}");
        }
        ensure!(source.open_uploads().await? == 0, "open uploads");
        Ok(())
    })
}

#[test]
fn text_that_is_not_utf_8_is_refused_without_showing_its_bytes() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "ascii").await?;
        let database = format!("{}_ascii", source.database);
        env.psql(
            &source.database,
            &format!("create database {database} encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"),
        )
        .await?;
        let sql = "create table t (c text); insert into t values ('fine'), (E'canary-7f3a91\\xff')";
        env.psql(&database, sql).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["source"]["database"] = json!(database);
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        for words in ["DecodeFailed", "cannot be converted to UTF-8", "SQL_ASCII"] {
            ensure!(output.stderr.contains(words), "no {words:?} in {}", output.stderr);
        }
        ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
        Ok(())
    })
}

#[test]
fn a_table_without_columns_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "empty").await?;
        let sql = "create table t (); insert into t default values; create table u (a int); alter table u drop a";
        env.psql(&source.database, sql).await?;
        for (table, reason) in [
            ("public.t", "the table has no columns"),
            ("public.u", "the table has no columns"),
            ("public.missing", "the database has no table or view public.missing"),
        ] {
            for command in ["plan", "run"] {
                let command = source.command(command, &source.job(table, "FE"))?;
                let output = env.output(command, "", RUN).await?;
                ensure!(output.code == Some(10), "{table}: {}", output.stderr);
                for words in [reason, "extract.table"] {
                    ensure!(output.stderr.contains(words), "{table}: no {words:?} in {}", output.stderr);
                }
            }
        }
        Ok(())
    })
}

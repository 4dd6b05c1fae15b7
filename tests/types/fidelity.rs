//! How the fidelity of columns is reported, and what it refuses.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::json;

use super::manifest;

#[test]
fn plan_manifest_and_outcome_report_the_fidelity_of_each_column() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "kept").await?;
        env.psql(&source.database, "create table t (id int, o oid, net inet, price numeric(12,2)); insert into t values (1)")
            .await?;
        let job = source.job("public.t", "FE");
        let output = env.output(source.command("plan", &job)?, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let squeezed: Vec<_> =
            output.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "columns 4: 2 exact, 1 widened, 1 string, 0 lossy",
            "id integer INT(32) exact",
            "o oid INT(64) widened few readers support unsigned numbers, so the next wider type is used",
            "net inet STRING, as text string Parquet has no such type",
            "price numeric(12,2) DECIMAL(12, 2) exact",
        ] {
            ensure!(squeezed.iter().any(|found| found == line), "no {line:?} in\n{}", output.stdout);
        }
        let said = source.run(&job).await?;
        let counts = json!({ "exact": 2, "widened": 1, "string": 1, "lossy": 0 });
        ensure!(said["fidelity"] == counts, "{said}");
        let manifest = manifest(&source, &said).await?;
        ensure!(manifest["fidelity"] == counts, "{}", manifest["fidelity"]);
        ensure!(manifest["columns"][1]["fidelity"] == "widened", "{}", manifest["columns"]);
        Ok(())
    })
}

#[test]
fn strict_refuses_lossy_columns_before_a_row_is_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "lossy").await?;
        env.mariadb(
            &source.database,
            "create table t (id int, place point, day date); insert into t values (1, ST_GeomFromText('POINT(1 2)'), '2023-01-31')",
        )
        .await?;
        let mut job = source.job("t", "FE");
        job["spec"]["extract"]["fidelity"] = json!("strict");
        for command in ["plan", "run"] {
            let command = source.command(command, &job)?;
            let output = env.output(command, "", Duration::from_mins(1)).await?;
            ensure!(output.code == Some(10), "{}", output.stderr);
            for words in ["LossyColumn", "place (point): WKB does not contain", "extract.fidelity: report"] {
                ensure!(output.stderr.contains(words), "no {words:?} in {}", output.stderr);
            }
            ensure!(!output.stderr.contains("day"), "{}", output.stderr);
        }
        ensure!(env.keys(&source.bucket, "t/extract_run").await?.is_empty(), "data was written");
        // a column that is left out loses nothing
        job["spec"]["extract"]["excludeColumns"] = json!(["place"]);
        let said = source.run(&job).await?;
        let counts = json!({ "exact": 2, "widened": 0, "string": 0, "lossy": 0 });
        ensure!(said["fidelity"] == counts, "{said}");
        job["spec"]["extract"]["excludeColumns"] = json!(null);
        // what a zero date was is lost where NULL stands for it
        job["spec"]["extract"]["zeroDates"] = json!("null");
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10) && output.stderr.contains("day (date): zeroDates: null"), "{}", output.stderr);
        job["spec"]["extract"]["fidelity"] = json!("report");
        let said = source.run(&job).await?;
        let counts = json!({ "exact": 1, "widened": 0, "string": 0, "lossy": 2 });
        ensure!(said["fidelity"] == counts, "{said}");
        Ok(())
    })
}

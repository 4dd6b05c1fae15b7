//! What users read about the partitions: from `tidemark plan`, in the plan, the manifest and the outcome.

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

async fn control(source: &SourceFixture, run: &str, name: &str) -> Result<Value> {
    let key = format!("public.t/_tidemark/{run}/{name}.json");
    Ok(serde_json::from_slice(&source.env.object(&source.bucket, &key).await?)?)
}

#[test]
fn strategy_chosen_by_auto_is_in_plan_manifest_and_outcome() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "told").await?;
        let sql = "create table t (n int, k int); insert into t select g, g % 5 from generate_series(1, 20000) g";
        env.psql(&source.database, sql).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "strategy": "auto", "count": 4 });
        let deadline = std::time::Duration::from_mins(1);
        let shown = env.output(source.command("plan", &job)?, "", deadline).await?;
        ensure!(shown.code == Some(0), "{}", shown.stderr);
        for part in
            ["partition  ctid, predicted skew 1.00", "why        the table has no primary key", "3    blocks "]
        {
            ensure!(shown.stdout.contains(part), "no {part:?} in {}", shown.stdout);
        }
        let said = source.run(&job).await?;
        let run = said["run"].as_str().context("run")?;
        let plan = control(&source, run, "plan").await?;
        ensure!(plan["partitioning"]["strategy"] == "ctid", "{}", plan["partitioning"]);
        let manifest = control(&source, run, "manifest").await?;
        let how = &manifest["partitioning"];
        ensure!(how["strategy"] == "ctid" && how["predictedSkew"] == "1.00", "{how}");
        let actual: f64 = how["actualSkew"].as_str().context("skew")?.parse()?;
        ensure!((1.0..1.3).contains(&actual), "{how}");
        let read = env
            .read_parquet(&source.bucket, "public.t", "select count(*) c, count(distinct n) d from t")
            .await?;
        ensure!(read == [json!({ "c": 20000, "d": 20000 })], "{read:?}");
        // without a count, the estimated size of the table sets the number of partitions; here the estimate of its rows
        env.psql(
            &source.database,
            "create table s (n int primary key); insert into s select case when g <= 240000 then g \
             else g * 400 end from generate_series(1, 250000) g; \
             alter table s set (autovacuum_enabled = false); analyze s; \
             update pg_class set reltuples = 12500000 where oid = 's'::regclass",
        )
        .await?;
        let mut skewed = source.job("public.s", "FE");
        skewed["spec"]["extract"]["partition"] = json!({ "strategy": "auto" });
        let shown = env.output(source.command("plan", &skewed)?, "", deadline).await?;
        for part in ["partition  quantile by \"n\"", "equal strides of \"n\" would have skew", "partitions 3"] {
            ensure!(shown.stdout.contains(part), "no {part:?} in {} {}", shown.stdout, shown.stderr);
        }
        // without a partition of the manifest too, here with the reason for one partition
        job["spec"]["extract"]["partition"] = Value::Null;
        let said = source.run(&job).await?;
        let manifest = control(&source, said["run"].as_str().context("run")?, "manifest").await?;
        let how = &manifest["partitioning"];
        ensure!(how["strategy"] == "none" && manifest["partitions"] == 1, "{manifest}");
        ensure!(how["reason"].as_str().is_some_and(|why| why.contains("estimated size")), "{how}");
        skewed["spec"]["extract"]["partition"] = Value::Null;
        let shown = env.output(source.command("plan", &skewed)?, "", deadline).await?;
        for part in ["partition  quantile by \"n\"", "equal strides of \"n\" would have skew", "partitions 3"] {
            ensure!(shown.stdout.contains(part), "no {part:?} in {} {}", shown.stdout, shown.stderr);
        }
        Ok(())
    })
}

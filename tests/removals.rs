//! `output.retainReplacedSeconds` while the source moves to another URI.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Calls, Fault, Proxy, SourceFixture, Speaks, TestEnv, wait_until};
use serde_json::{Value, json};

/// Seconds that replaced files are kept.
const RETAINED: i64 = 12;

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// How many data files there are under a prefix.
async fn files(source: &SourceFixture, prefix: &str) -> Result<usize> {
    let keys = source.env.keys(&source.bucket, &format!("{prefix}/extract_run=")).await?;
    Ok(keys.len())
}

async fn removals(source: &SourceFixture) -> Result<Value> {
    let run = source.run_item("public.t").await?.context("run item")?;
    Ok(run["pendingCleanup"]["removals"].clone())
}

#[test]
fn a_postponed_removal_survives_a_change_of_the_uri() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "removal").await?;
        let sql = "create table t (id int primary key); insert into t values (1), (2)";
        env.psql(&source.database, sql).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["retainReplacedSeconds"] = json!(RETAINED);
        source.run(&job).await?;
        source.run(&job).await?;
        let postponed = removals(&source).await?;
        let due = postponed[0]["due"].as_i64().context("due")?;

        let mut moved = source.job("public.t", "FE");
        moved["spec"]["output"]["uri"] = json!(format!("s3://{}/moved", source.bucket));
        source.run(&moved).await?;
        ensure!(removals(&source).await? == postponed, "forgotten: {postponed}");
        wait_until("the removal", Duration::from_mins(1), async || {
            // each run takes the source anew
            source.run(&moved).await?;
            let before = now()? < due;
            let (earlier, now) =
                (files(&source, "public.t").await?, files(&source, "moved").await?);
            ensure!(!before || earlier == 2, "removed before {due}");
            ensure!(now == 1, "{now} files at the new URI");
            ensure!(earlier == 1, "{earlier} files at the earlier URI");
            Ok(())
        })
        .await?;
        ensure!(removals(&source).await? == Value::Null, "it is done");
        // what was published there last stays, whole
        let count = "select count(*) n from t";
        let rows = env.read_parquet(&source.bucket, "public.t", count).await?;
        ensure!(rows == [json!({ "n": 2 })], "{rows:?}");
        source.verify(&moved).await.map(|_| ())
    })
}

/// The first of two stores with an earlier extract whose removal is postponed, and a job that goes to the
/// second one. `moved`: to another URI there.
async fn two_stores(source: &SourceFixture, moved: &str) -> Result<(Proxy, Proxy, Value)> {
    let (first, second) = (Proxy::start(Speaks::S3).await?, Proxy::start(Speaks::S3).await?);
    let sql = "create table t (id int primary key); insert into t values (1), (2)";
    source.env.psql(&source.database, sql).await?;
    let mut job = source.job("public.t", "FE");
    job["spec"]["output"]["retainReplacedSeconds"] = json!(1);
    job["spec"]["output"]["endpoint"] = json!(first.url());
    source.run(&job).await?;
    source.run(&job).await?;
    // nothing of the earlier prefix is in the second store
    second.on_some(
        "GetObject",
        "public.t/_tidemark",
        Calls::Every,
        Fault::Answer(404, "NoSuchKey"),
    );
    let mut job = source.job("public.t", "FE");
    job["spec"]["output"]["uri"] = json!(format!("s3://{}/{moved}", source.bucket));
    job["spec"]["output"]["endpoint"] = json!(second.url());
    Ok((first, second, job))
}

#[test]
fn removal_in_another_store_is_done_there_and_waits_while_that_store_refuses() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "stores").await?;
        let (first, second, job) = two_stores(&source, "moved").await?;
        let entry = removals(&source).await?[0].clone();
        ensure!(entry["store"]["endpoint"] == first.url(), "{entry}");
        let due = entry["due"].as_i64().context("due")?;
        wait_until("the removal to be due", Duration::from_secs(30), async || {
            ensure!(now()? >= due, "not yet");
            Ok(())
        })
        .await?;
        first.on("GetObject", Calls::Every, Fault::Answer(403, "AccessDenied"));
        source.run(&job).await?;
        let waiting = removals(&source).await?[0].clone();
        let retry = waiting["retry"].as_i64().context("it does not wait")?;
        ensure!(retry >= due + 3500, "{waiting}");
        ensure!(files(&source, "public.t").await? == 2, "removed too early");
        // an hour later
        let key = AttributeValue::S(format!("{}#tidemark", source.key("public.t")));
        let update = env.dynamodb().update_item().table_name(&source.table).key("source", key);
        update.update_expression("remove pendingCleanup.removals[0].retry").send().await?;
        first.heal();
        source.run(&job).await?;
        ensure!(removals(&source).await? == Value::Null, "it is done");
        ensure!(files(&source, "public.t").await? == 1, "the replaced file is gone");
        ensure!(first.asked("DeleteObject").len() == 1, "{:?}", first.asked("DeleteObject"));
        let strayed = second.asked("DeleteObject");
        ensure!(strayed.iter().all(|asked| !asked.target.contains("/public.t/")), "{strayed:?}");
        Ok(())
    })
}

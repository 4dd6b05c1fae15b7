//! `output.retainReplaced` while the source moves to another URI.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use harness::{Bed, SourceFixture, wait_until};
use serde_json::{Value, json};

/// Seconds that replaced files are kept.
const RETAINED: i64 = 12;

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// How many data files there are under a prefix.
async fn files(source: &SourceFixture, prefix: &str) -> Result<usize> {
    let keys = source.bed.keys(&source.bucket, &format!("{prefix}/extract_run=")).await?;
    Ok(keys.len())
}

async fn removals(source: &SourceFixture) -> Result<Value> {
    let run = source.run_item("public.t").await?.context("run item")?;
    Ok(run["todo"]["removals"].clone())
}

#[test]
fn removal_that_is_put_off_survives_a_move_of_the_uri() -> Result<()> {
    let bed = Bed::shared()?;
    bed.run(async {
        let source = SourceFixture::new(bed, "removal").await?;
        let sql = "create table t (id int primary key); insert into t values (1), (2)";
        bed.psql(&source.database, sql).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["retainReplaced"] = json!(RETAINED);
        source.run(&job).await?;
        source.run(&job).await?;
        let put_off = removals(&source).await?;
        let due = put_off[0]["due"].as_i64().context("due")?;

        let mut moved = source.job("public.t", "FE");
        moved["spec"]["output"]["uri"] = json!(format!("s3://{}/moved", source.bucket));
        source.run(&moved).await?;
        ensure!(removals(&source).await? == put_off, "forgotten: {put_off}");
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
        let rows = bed.read_parquet(&source.bucket, "public.t", count).await?;
        ensure!(rows == [json!({ "n": 2 })], "{rows:?}");
        source.verify(&moved).await.map(|_| ())
    })
}

//! Promises 1, 2 and 9 on the real cluster: what is extracted is what the table holds.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Bed, Release, condition};
use serde_json::json;

#[test]
fn a_full_extract_in_four_ranges_holds_the_whole_table() -> Result<()> {
    let bed = Bed::shared()?;
    bed.run(async {
        let release = Release::new(bed, "full", &[]).await?;
        let source = &release.source;
        bed.psql(
            &source.database,
            "create table events (id bigint primary key, name text, price numeric(12,2), at timestamptz);
             insert into events select i, 'event ' || i, i / 100.0, timestamptz '2024-01-01' + i * interval '1 second'
             from generate_series(1, 1100000) i",
        )
        .await?;
        let mut job = release.source.job("public.events", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 4 });
        job["spec"]["worker"] = json!({ "parallelism": 4, "resources": {
            "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } } });
        release.apply(&job).await?;
        release
            .kubectl(&["wait", "--for=condition=Complete", "extractjob/public-events", "--timeout=240s"])
            .await?;
        let object = release.condition("public-events", "Complete", Duration::from_secs(5)).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 1_100_000 && status["files"] == 4, "{status}");
        ensure!(status["partitions"] == json!({ "total": 4, "succeeded": 4, "failed": 0 }), "{status}");
        ensure!(condition(&object, "Committed")["status"] == "True", "{status}");
        let rows = bed
            .read_parquet(
                &source.bucket,
                "public.events",
                "select count(*) n, sum(id)::varchar ids, sum(price)::varchar price, sum(hash(name) % 1000)::varchar h from t",
            )
            .await?;
        ensure!(rows[0]["n"] == 1_100_000, "{}", rows[0]);
        let want = bed.psql(&source.database, "select sum(id) || ' ' || sum(price) from events").await?;
        let got = format!("{} {}", rows[0]["ids"].as_str().unwrap_or(""), rows[0]["price"].as_str().unwrap_or(""));
        ensure!(got == want.trim(), "{got} {want}");
        Ok(())
    })
}

//! What a manifest chooses, on the real cluster: columns, rows, ranges, folders, policies; and what status says of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Bed, Release, condition, wait_until};
use serde_json::json;

const STEP: Duration = Duration::from_mins(2);

#[test]
fn what_a_manifest_chooses_is_what_is_published_and_status_says_how() -> Result<()> {
    let bed = Bed::shared()?;
    bed.run(async {
        let release = Release::with(bed, "choices", &[], json!({ "allowWhere": true })).await?;
        let source = &release.source;
        // nine tenths of the rows have a key in a hundredth of its span
        bed.psql(
            &source.database,
            "create table events (id bigint primary key, region text, kind inet, card text);
             insert into events select case when i % 10 > 0 then i else 60000000 + i * 90 end,
             (array['EU', 'US', null])[1 + i % 3], '10.0.0.1', 'secret' from generate_series(1, 60000) i",
        )
        .await?;
        let mut job = source.job("public.events", "FE");
        let extract = &mut job["spec"]["extract"];
        extract["excludeColumns"] = json!(["card"]);
        extract["where"] = json!("id <> 7");
        extract["fidelity"] = json!("strict");
        extract["schemaPolicy"] = json!("freeze");
        extract["partition"] = json!({ "strategy": "auto", "count": 3 });
        job["spec"]["output"]["partitionBy"] = json!(["region"]);
        release.complete(&job).await?;
        let object = release.condition("public-events", "Complete", STEP).await?;
        let status = &object["status"];
        let ranges = &status["partitions"];
        ensure!(ranges["total"] == 3 && ranges["strategy"] == "quantile", "{status}");
        ensure!(ranges["reason"].as_str().is_some_and(|why| !why.is_empty()), "{status}");
        ensure!(ranges["predictedSkew"].as_str().is_some_and(|skew| skew < "1.30"), "{status}");
        ensure!(ranges["actualSkew"].as_str().is_some_and(|skew| skew < "1.30"), "{status}");
        let kept = json!({ "exact": 2, "widened": 0, "string": 1, "lossy": 0 });
        ensure!(status["fidelity"] == kept, "{status}");
        ensure!(status["rows"] == 59_999 && status["files"] == 9, "{status}");
        let sql = "select count(*) n, count(distinct id) d, count(*) filter (region is null) u, min(kind) kind from h";
        let rows = bed.read_parquet(&source.bucket, "public.events", sql).await?;
        let all = json!({ "n": 59_999, "d": 59_999, "u": 20_000, "kind": "10.0.0.1/32" });
        ensure!(rows[0] == all, "{}", rows[0]);

        // the table changes, and the policy has it wait for a human
        bed.psql(&source.database, "alter table events add column note text").await?;
        release.request("public-events", "again").await?;
        let object = wait_until("the refusal", STEP, async || {
            let object = release.get(&["extractjob", "public-events"]).await?;
            let failed = condition(&object, "Failed");
            ensure!(failed["reason"] == "SchemaChanged", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        let said = condition(&object, "Failed")["message"].to_string();
        ensure!(said.contains("note (text) is new") && said.contains("schemaPolicy"), "{said}");
        // what was published stays as it is
        ensure!(release.published("public.events").await? == 1, "{object}");
        let more = json!({ "spec": { "extract": { "schemaPolicy": "additiveOnly" } } }).to_string();
        release
            .kubectl(&["patch", "extractjob", "public-events", "--type=merge", "-p", &more])
            .await?;
        let object = wait_until("the next run", STEP, async || {
            let object = release.get(&["extractjob", "public-events"]).await?;
            ensure!(condition(&object, "Complete")["status"] == "True", "{}", object["status"]);
            Ok(object)
        })
        .await?;
        ensure!(object["status"]["fidelity"]["exact"] == 3, "{}", object["status"]);
        Ok(())
    })
}

//! MariaDB on the real cluster: coordinator, extract pods and operator.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Bed, Release, SourceFixture};
use serde_json::json;

#[test]
fn ranges_of_mariadb_are_extracted_by_pods_and_published_once() -> Result<()> {
    let bed = Bed::shared()?;
    bed.run(async {
        let release = Release::new(bed, "maria-pods", &[]).await?;
        let source = SourceFixture::mariadb(bed, "maria-pods").await?;
        let login = [("username", Bed::MARIADB_USER), ("password", Bed::MARIADB_PASSWORD)];
        release.secret("mariadb", &login).await?;
        bed.mariadb(
            &source.database,
            "create table events (id bigint primary key, name varchar(40), at timestamp(6));
             insert into events select seq, concat('event ', seq), '2024-01-01' + interval seq second from seq_1_to_300000",
        )
        .await?;
        let mut job = source.job("events", "PE");
        job["spec"]["source"]["credentials"]["secretRef"]["name"] = json!("mariadb");
        job["spec"]["tracking"] = release.source.job("events", "PE")["spec"]["tracking"].clone();
        job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp" });
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        release.complete(&job).await?;
        let object = release.condition("events", "Complete", Duration::from_secs(5)).await?;
        let status = &object["status"];
        ensure!(status["rows"] == 300_000 && status["files"] == 3, "{status}");
        let ranges = json!({
            "total": 3, "succeeded": 3, "failed": 0,
            "strategy": "range", "reason": "the manifest asks for it", "actualSkew": "1.00",
        });
        ensure!(status["partitions"] == ranges, "{status}");
        ensure!(status["consistency"] == "perPartition", "{status}");
        let sql = "select count(*) n, count(distinct name) names from t";
        let rows = bed.read_parquet(&source.bucket, "events", sql).await?;
        ensure!(rows[0] == json!({ "n": 300_000, "names": 300_000 }), "{}", rows[0]);
        bed.mariadb(&source.database, "insert into events values (300001, 'late', '2024-06-01')").await?;
        let object = release.again("events", "second").await?;
        ensure!(object["status"]["rows"] == 1, "{}", object["status"]);
        Ok(())
    })
}

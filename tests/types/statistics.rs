//! What the footers say about the watermark, and what a reader leaves out by it.

use anyhow::{Context, Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

const ROWS: i64 = 100_000;

/// Extracts by this watermark and holds what the footers say of it against the table.
async fn groups(
    source: &SourceFixture,
    column: &str,
    value_type: &str,
    low: &str,
) -> Result<Vec<Value>> {
    let mut job = source.job("public.t", "PE");
    job["metadata"]["name"] = json!(column);
    job["spec"]["output"]["uri"] = json!(format!("s3://{}/{column}", source.bucket));
    job["spec"]["output"]["rowGroupBytes"] = json!(1 << 20);
    job["spec"]["tracking"]["key"] = json!(column);
    job["spec"]["extract"]["watermark"] =
        json!({ "column": column, "type": value_type, "stampedBy": "database" });
    let said = source.run(&job).await?;
    ensure!(said["rows"] == ROWS, "{column}: {said}");
    source.env.row_groups(&source.bucket, column, column, low).await
}

#[test]
fn a_reader_skips_row_groups_by_the_watermark() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "groups").await?;
        env.psql(
            &source.database,
            &format!(
                "create table t (id bigint, at timestamptz, day date, price numeric(20,3), noise text);
                 insert into t select i, timestamptz '2020-01-01 00:00+00' + i * interval '1 minute',
                     date '1900-01-01' + i / 5, i * 1.5, md5(i::text) from generate_series(1, {ROWS}) i"
            ),
        )
        .await?;
        for (column, value_type, low) in [
            ("id", "int", "99990"),
            ("at", "timestamp", "2020-03-10 10:30:00+00:00"),
            ("day", "date", "1954-09-30"),
            ("price", "decimal", "149985.000"),
        ] {
            let groups = groups(&source, column, value_type, low).await?;
            ensure!(groups.len() > 3, "{column}: {} row groups show nothing", groups.len());
            for group in &groups {
                let text = |key: &str| group[key].as_str().with_context(|| format!("{column}: {key} of {group}"));
                ensure!(text("min")? != text("max")?, "{column}: {group}");
                ensure!(group["nulls"] == 0, "{column}: {group}");
                ensure!(group["column_index"] == true && group["offset_index"] == true, "{column}: {group}");
            }
            let rows: i64 = groups.iter().filter_map(|group| group["rows"].as_i64()).sum();
            ensure!(rows == ROWS, "{column}: {rows} rows");
            let read = groups.iter().filter(|group| group["read"] == true).count();
            ensure!(read == 1, "{column}: {read} of {} row groups are read for the last rows", groups.len());
        }
        Ok(())
    })
}

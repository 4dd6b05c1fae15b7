//! `worker.parallelism` below the number of partitions, in one process.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::json;

/// How long a run may take on a busy machine.
const RUN: Duration = Duration::from_mins(2);
/// Statements that read a partition, at this moment.
const READING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
    and state = 'active' and query like 'COPY%' and application_name ~ '^tidemark/.+/[0-9]+$'";

#[test]
fn partitions_of_one_process_are_read_once_and_up_to_the_given_number_at_a_time() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        // a second for each partition, so that one too many would be seen
        let sql = "create table t (id int primary key); insert into t select generate_series(1, 5000); \
            create view slow as select t.* from t, pg_sleep(1) where id is not null";
        for (parallelism, seen) in [(Some(2), 2), (Some(1), 1), (None, 4)] {
            let source = SourceFixture::new(env, "turns").await?;
            env.psql(&source.database, sql).await?;
            let mut job = source.job("public.slow", "FE");
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 5 });
            if let Some(parallelism) = parallelism {
                job["spec"]["worker"] = json!({ "parallelism": parallelism });
            }
            let mut run = source.start(source.command("run", &job)?, None)?;
            let (mut most, end) = (0, Instant::now() + RUN);
            let output = loop {
                if let Ok(output) = run.ended(Duration::from_millis(20)).await {
                    break output;
                }
                ensure!(Instant::now() < end, "still running after {RUN:?}");
                let reading: u32 = env.psql(&source.database, READING).await?.parse()?;
                most = most.max(reading);
            };
            ensure!(output.code == Some(0), "{}", output.stderr);
            ensure!(most == seen, "{most} ranges at a time, not {seen}");
            let sql = "select count(*) n, count(distinct id) d from t";
            let rows = env.read_parquet(&source.bucket, "public.slow", sql).await?;
            ensure!(rows[0] == json!({ "n": 5000, "d": 5000 }), "{parallelism:?}: {}", rows[0]);
        }
        Ok(())
    })
}

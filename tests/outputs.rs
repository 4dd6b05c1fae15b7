//! What a manifest asks of the files: how they are compressed, and how large they and their row groups are.

use anyhow::{Context, Result, ensure};
use harness::{Access, Calls, Fault, Proxy, SecretsManager, SourceFixture, Speaks, TestEnv};
use serde_json::{Value, json};

/// How long a plan may take on a busy machine.
const RUN: std::time::Duration = std::time::Duration::from_mins(1);

/// Rows that compress badly, some 100 bytes each.
async fn table(source: &SourceFixture, rows: u32) -> Result<()> {
    let sql = format!(
        "create table t (id bigint primary key, a text, b text, c text);
         insert into t select i, md5(i::text), md5((-i)::text), md5((i * 7)::text) from generate_series(1, {rows}) i"
    );
    source.env.psql(&source.database, &sql).await.map(|_| ())
}

#[test]
fn files_are_compressed_as_asked() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "codecs").await?;
        table(&source, 1000).await?;
        for (asked, codec) in [
            (Value::Null, "ZSTD"),
            (json!("zstd"), "ZSTD"),
            (json!("snappy"), "SNAPPY"),
            (json!("gzip"), "GZIP"),
            (json!("lz4"), "LZ4"),
            (json!("none"), "UNCOMPRESSED"),
        ] {
            let mut job = source.job("public.t", "FE");
            job["spec"]["output"]["compression"] = asked;
            source.run(&job).await?;
            let found = env.parquet_files(&source.bucket, "public.t").await?;
            let codecs: Vec<_> = found.iter().flat_map(|file| &file.codecs).collect();
            ensure!(codecs == [codec], "{codecs:?}, not {codec}");
            let sql = "select count(*) n, count(*) filter (a = md5(id::varchar)) whole from t";
            let read = env.read_parquet(&source.bucket, "public.t", sql).await?;
            ensure!(read == [json!({ "n": 1000, "whole": 1000 })], "{codec}: {read:?}");
        }
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["compression"] = json!("brotli");
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10) && output.stderr.contains("brotli"), "{}", output.stderr);
        Ok(())
    })
}

#[test]
fn files_and_row_groups_are_as_large_as_asked() -> Result<()> {
    const TARGET: u64 = 5 << 20;
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "sizes").await?;
        table(&source, 300_000).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        job["spec"]["output"]["compression"] = json!("none");
        job["spec"]["output"]["targetFileBytes"] = json!(TARGET);
        let said = source.run(&job).await?;
        let run = said["run"].as_str().context("run")?;
        let sizes = sizes(&source, run).await?;
        let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        ensure!(sizes.len() as u64 <= total.div_ceil(TARGET) + 2, "{sizes:?}");
        ensure!(total > 4 * TARGET, "{total} bytes show nothing");
        for partition in 0..2 {
            let name = format!("part-{partition:05}-");
            let files: Vec<_> = sizes.iter().filter(|(key, _)| key.contains(&name)).collect();
            let (last, full) = files.split_last().context("files")?;
            for (key, bytes) in full {
                ensure!((TARGET..=TARGET * 6 / 5).contains(bytes), "{key}: {bytes}");
            }
            ensure!(last.1 <= TARGET * 6 / 5, "{last:?}");
        }

        job["spec"]["output"]["targetFileBytes"] = Value::Null;
        let few = groups(&source, &job).await?;
        job["spec"]["output"]["rowGroupBytes"] = json!(2 << 20);
        let many = groups(&source, &job).await?;
        ensure!(few < many && many >= total / (2 << 20), "{few} and {many} row groups");
        Ok(())
    })
}

#[test]
fn every_object_is_encrypted_with_the_requested_key_or_none_is_published() -> Result<()> {
    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/6b3a9c1e-0000-4000-8000-000000000001";
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "kms").await?;
        table(&source, 1000).await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["kmsKeyId"] = json!(KEY);
        // a store that ignores the setting takes the object and says nothing of a key
        let proxy = Proxy::start(Speaks::S3).await?;
        proxy.on("PutObject", Calls::Nth(1), Fault::Answer(200, "Ignored"));
        job["spec"]["output"]["endpoint"] = json!(proxy.url());
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "{}", output.stderr);
        ensure!(output.stderr.contains("NotEncrypted"), "{}", output.stderr);
        ensure!(source.open_uploads().await? == 0, "open uploads");

        // moto plays AWS here: it keeps and tells how an object was to be encrypted
        let aws = SecretsManager::start(env).await?;
        let s3 = TestEnv::s3_at(SecretsManager::ENDPOINT, Access::Admin);
        s3.create_bucket().bucket(&source.bucket).send().await?;
        job["spec"]["output"]["endpoint"] = json!(SecretsManager::ENDPOINT);
        let output = source.try_run(&job).await?;
        // its ListParts cannot be read, so the run ends there: its upload was begun, and answered with
        // the key, by then
        ensure!(output.stderr.contains("list the parts of an upload"), "{}", output.stderr);
        let listed = s3.list_objects_v2().bucket(&source.bucket).send().await?;
        let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
        ensure!(keys.iter().any(|key| key.contains("/partitions/")), "{keys:?}");
        for key in keys {
            let head = s3.head_object().bucket(&source.bucket).key(key).send().await?;
            ensure!(head.ssekms_key_id() == Some(KEY), "{key}: {head:?}");
        }
        drop(aws);
        Ok(())
    })
}

#[test]
fn rows_go_into_directories_by_their_values() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "folders").await?;
        let sql = "create table t (id int primary key, region text, day date, n numeric(6,2)); \
            insert into t select i, (array['EU', 'a/b=c %ü', null, '..'])[1 + i % 4], \
                case when i % 5 > 0 then date '2024-02-27' + i % 3 end, i % 2 from generate_series(1, 1000) i";
        env.psql(&source.database, sql).await?;
        for folder in [Value::Null, json!("time")] {
            let mut job = source.job("public.t", "FE");
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
            job["spec"]["output"]["partitionBy"] = json!(["Region", "day"]);
            job["spec"]["output"]["runFolder"] = folder;
            source.run(&job).await?;
            let keys = env.keys(&source.bucket, "public.t/").await?;
            let odd = "/region=a%2Fb%3Dc %25ü/day=__HIVE_DEFAULT_PARTITION__/part-";
            ensure!(keys.iter().any(|key| key.contains(odd)), "{keys:?}");
            // 4 regions with 4 days each in two partitions
            ensure!(keys.iter().filter(|key| key.contains("/part-")).count() == 32, "{keys:?}");
            let sql = "select count(*) n, count(distinct id) d, sum(case when region is not distinct from \
                (['EU', 'a/b=c %ü', null, '..'])[1 + id % 4] and day is not distinct from \
                case when id % 5 > 0 then date '2024-02-27' + id % 3 end then 1 else 0 end) whole from h";
            let read = env.read_parquet(&source.bucket, "public.t", sql).await?;
            ensure!(read == [json!({ "n": 1000, "d": 1000, "whole": 1000 })], "{read:?}");
            let columns = env.read_parquet(&source.bucket, "public.t", "select * from t limit 1").await?;
            ensure!(columns[0].as_object().is_some_and(|row| row.len() == 2), "{columns:?}");
            source.verify(&job).await?;
        }
        // what dies leaves its uploads in the folders, and they are found
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["partitionBy"] = json!(["region"]);
        job["spec"]["output"]["runFolder"] = json!("time");
        let mut command = source.command("run", &job)?;
        command.env("TIDEMARK_LEASE_SECONDS", "3")
            .env("TIDEMARK_RENEW_SECONDS", "1").env("TIDEMARK_GRACE_SECONDS", "0");
        let mut process = source.start(command, Some("before-record"))?;
        process.paused().await?;
        process.die().await?;
        ensure!(source.open_uploads().await? == 4, "{} uploads", source.open_uploads().await?);
        let mut command = source.command("run", &job)?;
        command.env("TIDEMARK_LEASE_SECONDS", "3")
            .env("TIDEMARK_RENEW_SECONDS", "1").env("TIDEMARK_GRACE_SECONDS", "0");
        let said = source.start(command, None)?.ended(std::time::Duration::from_mins(1)).await?;
        ensure!(said.code == Some(0), "{}", said.stderr);
        ensure!(source.open_uploads().await? == 0, "{} uploads", source.open_uploads().await?);

        for (value, words) in [("", "empty text"), ("canary__".repeat(60).as_str(), "too long")] {
            env.psql(&source.database, &format!("update t set region = '{value}' where id = 7")).await?;
            let output = source.try_run(&job).await?;
            ensure!(output.code == Some(10) && output.stderr.contains(words), "{}", output.stderr);
            ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
            ensure!(source.open_uploads().await? == 0, "uploads are open");
        }
        Ok(())
    })
}

#[test]
fn thousands_of_directories_are_written_within_the_memory_limit() -> Result<()> {
    const LIMIT: u64 = 128 << 20;
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "many").await?;
        let sql = "create table t (id int primary key, k int, v text); insert into t select i, i * 7919 % 5000, \
            repeat(md5(i::text), 7) from generate_series(1, 50000) i";
        env.psql(&source.database, sql).await?;
        for sorted in [false, true] {
            let mut job = folders(&source, "public.t", "k");
            if !sorted {
                job["spec"]["output"]["partitionSort"] = json!("never");
            }
            let said = source.run_within(&job, LIMIT).await?;
            let manifest = manifest(&source, said["run"].as_str().context("run")?).await?;
            let early = manifest["closedEarly"].as_u64().unwrap_or_default();
            let files = said["files"].as_u64().context("files")?;
            ensure!((early == 0) == sorted, "{early} closed early");
            ensure!(files == 5000 + early, "{early} of {files} closed early");
            ensure!(manifest["layout"]["sorted"] == json!(sorted.then_some(true)), "{manifest}");
            let sql = "select count(*) n, count(distinct id) d, count(distinct k) k, sum(case when \
                k = id * 7919 % 5000 and v = repeat(md5(id::varchar), 7) then 1 else 0 end) whole from h";
            let read = env.read_parquet(&source.bucket, "public.t", sql).await?;
            let all = json!({ "n": 50_000, "d": 50_000, "k": 5000, "whole": 50_000 });
            ensure!(read == [all], "{read:?}");
        }
        Ok(())
    })
}

#[test]
fn unordered_rows_are_sorted_by_the_database_for_each_partition_column_type() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let columns = "id int primary key, name varchar(20), day date, flag boolean, n numeric(6, 2)";
        let postgres = SourceFixture::new(env, "sorted").await?;
        let sql = format!(
            "create table t ({columns}, kind inet); insert into t select i, case when i % 7 > 0 then \
             (array['a', 'A', 'b'])[1 + i % 3] end, date '2024-02-27' + i % 11, i % 2 = 0, i % 4, '::1' \
             from generate_series(1, 40000) i"
        );
        env.psql(&postgres.database, &sql).await?;
        let mariadb = SourceFixture::mariadb(env, "sorted").await?;
        let sql = format!(
            "create table t ({columns}, kind inet6); insert into t select seq, case when seq % 7 > 0 then \
             elt(1 + seq % 3, 'a', 'A', 'b') end, '2024-02-27' + interval seq % 11 day, seq % 2 = 0, \
             seq % 4, '::1' from seq_1_to_40000"
        );
        env.mariadb(&mariadb.database, &sql).await?;
        for (source, table) in [(&postgres, "public.t"), (&mariadb, "t")] {
            let mut job = source.job(table, "FE");
            job["spec"]["output"]["partitionBy"] = json!(["name", "day", "flag", "n", "kind"]);
            for (asked, sorted) in [("auto", true), ("always", true), ("never", false)] {
                job["spec"]["output"]["partitionSort"] = json!(asked);
                let planned = env.output(source.command("plan", &job)?, "", RUN).await?;
                let says = planned.stdout.contains("the database sorts the rows");
                ensure!(says == sorted, "{asked}: {} {}", planned.stdout, planned.stderr);
                source.run(&job).await?;
                let sql = "select count(*) n, count(distinct id) d, sum(case when name is not distinct from \
                    case when id % 7 > 0 then (array['a', 'A', 'b'])[1 + id % 3] end and n::double = id % 4 \
                    and day = date '2024-02-27' + (id % 11)::int and kind like '::1%' then 1 else 0 end) whole from h";
                let read = env.read_parquet(&source.bucket, table, sql).await?;
                let all = json!({ "n": 40_000, "d": 40_000, "whole": 40_000 });
                ensure!(read == [all], "{table} {asked}: {read:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn files_in_directories_have_the_requested_size() -> Result<()> {
    const TARGET: u64 = 2 << 20;
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "folders-sizes").await?;
        table(&source, 200_000).await?;
        env.psql(&source.database, "alter table t add k int; update t set k = id % 4").await?;
        let mut job = folders(&source, "public.t", "k");
        job["spec"]["output"]["compression"] = json!("none");
        job["spec"]["output"]["targetFileBytes"] = json!(TARGET);
        for asked in ["never", "always"] {
            job["spec"]["output"]["partitionSort"] = json!(asked);
            let said = source.run(&job).await?;
            let sizes = sizes(&source, said["run"].as_str().context("run")?).await?;
            for k in 0..4 {
                let folder = format!("/k={k}/");
                let files: Vec<_> = sizes.iter().filter(|(key, _)| key.contains(&folder)).collect();
                let (last, full) = files.split_last().context("files")?;
                ensure!(!full.is_empty(), "{asked} {folder}: {files:?} shows nothing");
                for (key, bytes) in full {
                    ensure!((TARGET..=TARGET * 6 / 5).contains(bytes), "{asked} {key}: {bytes}");
                }
                ensure!(last.1 <= TARGET * 6 / 5, "{asked} {last:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn memory_does_not_grow_with_narrow_rows_in_directory_order() -> Result<()> {
    const LIMIT: u64 = 128 << 20;
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "narrow").await?;
        let sql = "create table n (day date, x smallint); insert into n \
            select date '2024-01-01' + i / 40000, i % 100 from generate_series(0, 2999999) i";
        env.psql(&source.database, sql).await?;
        let said = source.run_within(&folders(&source, "public.n", "day"), LIMIT).await?;
        // one file for each of 75 days, since none has to make room before it is done
        ensure!(said["rows"] == 3_000_000 && said["files"] == 75, "{said}");
        Ok(())
    })
}

/// A full extract into folders.
fn folders(source: &SourceFixture, table: &str, by: &str) -> Value {
    let mut job = source.job(table, "FE");
    job["spec"]["output"]["partitionBy"] = json!([by]);
    job
}

async fn manifest(source: &SourceFixture, run: &str) -> Result<Value> {
    let key = format!("public.t/_tidemark/{run}/manifest.json");
    Ok(serde_json::from_slice(&source.env.object(&source.bucket, &key).await?)?)
}

/// Files of a run by its manifest: key and bytes.
async fn sizes(source: &SourceFixture, run: &str) -> Result<Vec<(String, u64)>> {
    let manifest = manifest(source, run).await?;
    let files = manifest["files"].as_array().context("files")?.iter();
    files
        .map(|file| {
            let key = file["key"].as_str().context("key")?;
            Ok((key.to_owned(), file["bytes"].as_u64().context("bytes")?))
        })
        .collect()
}

/// Row groups of what a run publishes.
async fn groups(source: &SourceFixture, job: &Value) -> Result<u64> {
    source.run(job).await?;
    let found = source.env.parquet_files(&source.bucket, "public.t").await?;
    Ok(found.iter().map(|file| file.row_groups).sum())
}

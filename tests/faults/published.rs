//! Published extracts, and other objects under the prefix: T34, T35, T37 to T39, T41.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use futures::future::try_join_all;
use harness::{Access, Calls, Fault, Proxy, Speaks, TestEnv, wait_until};
use serde_json::{Value, json};

use crate::{Bench, RUN, TABLE, in_env, short};

/// A reader that follows `current.json`: it wants whole versions, and commit numbers that never fall.
struct Reader {
    client: Client,
    bucket: String,
    commit: AtomicU64,
    looks: AtomicU64,
}

impl Reader {
    fn new(client: Client, bench: &Bench) -> Self {
        let bucket = bench.source.bucket.clone();
        Self { client, bucket, commit: AtomicU64::new(0), looks: AtomicU64::new(0) }
    }

    async fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        let got = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let got = got.with_context(|| format!("a reader found no {key}"))?;
        Ok(got.body.collect().await?.to_vec())
    }

    /// Reads all of what is published; nothing before the first run.
    async fn look(&self) -> Result<()> {
        let Ok(pointer) = self.bytes(&format!("{TABLE}/_tidemark/current.json")).await else {
            ensure!(self.commit.load(Ordering::Relaxed) == 0, "current.json is gone");
            return Ok(());
        };
        let pointer: Value = serde_json::from_slice(&pointer)?;
        let commit = pointer["commit"].as_u64().context("commit")?;
        let before = self.commit.swap(commit, Ordering::Relaxed);
        ensure!(commit >= before, "commit {commit} after {before}");
        let manifest = self.bytes(pointer["manifest"].as_str().context("manifest")?).await?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        ensure!(manifest["commit"] == commit, "{manifest}");
        let mut rows = 0;
        for file in manifest["files"].as_array().context("files")? {
            let bytes = self.bytes(file["key"].as_str().context("key")?).await?;
            ensure!(file["bytes"] == bytes.len(), "{file}: {} bytes", bytes.len());
            rows += file["rows"].as_u64().context("rows")?;
        }
        ensure!(manifest["rows"] == rows, "{manifest}: {rows} rows");
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads until `over` is set.
    async fn until(&self, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            self.look().await?;
        }
        self.look().await
    }
}

/// Does the work while the readers read.
async fn while_read(readers: &[Reader], work: impl Future<Output = Result<()>>) -> Result<()> {
    let over = AtomicBool::new(false);
    let work = async {
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let reading = try_join_all(readers.iter().map(|reader| reader.until(&over)));
    tokio::try_join!(work, reading).map(|_| ())
}

#[test]
fn t34_a_reader_never_sees_half_of_a_run_whose_committer_died() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t34", "FE", 500, 3).await?;
        // what an open reader still reads must not be removed below it
        bench.job["spec"]["output"]["retainReplacedSeconds"] = json!(600);
        let reader = Reader::new(bench.client(), &bench);
        let readers = [reader];
        let points = [
            "after-put-manifest",
            "before-complete",
            "after-complete",
            "after-publish",
            "after-put-pointer",
        ];
        for point in points {
            while_read(&readers, async {
                bench.grow(100).await?;
                bench.paused(point).await?.die().await?;
                bench.publishes().await?;
                Ok(())
            })
            .await
            .context(point)?;
        }
        let looks = readers[0].looks.load(Ordering::Relaxed);
        ensure!(looks > 10, "only {looks} looks");
        bench.source.verify(&bench.direct()).await?;
        Ok(())
    })
}

#[test]
fn t35_readers_of_a_replaced_extract_read_it_to_the_end() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t35", "FE", 500, 4).await?;
        bench.job["spec"]["output"]["retainReplacedSeconds"] = json!(600);
        bench.publishes().await?;
        // they are slow: each file takes them a while
        let slow = Proxy::start(Speaks::S3).await?;
        slow.on_some(
            "GetObject",
            "/extract_run=",
            Calls::Every,
            Fault::Delay(Duration::from_millis(100)),
        );
        let readers: Vec<Reader> = (0..5)
            .map(|_| Reader::new(TestEnv::s3_at(&slow.url(), Access::Admin), &bench))
            .collect();
        while_read(&readers, async {
            for _ in 0..4 {
                bench.grow(100).await?;
                bench.publishes().await?;
            }
            Ok(())
        })
        .await?;
        for reader in &readers {
            let (looks, commit) =
                (reader.looks.load(Ordering::Relaxed), reader.commit.load(Ordering::Relaxed));
            ensure!(looks >= 3 && commit == 5, "{looks} looks, up to commit {commit}");
        }
        // once the time is over the next run removes them
        bench.job["spec"]["output"]["retainReplacedSeconds"] = json!(0);
        bench.publishes().await?;
        bench.whole().await
    })
}

#[test]
fn t37_verify_finds_a_published_file_that_is_missing_or_changed() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t37", "FE", 2000, 4).await?;
        bench.publishes().await?;
        let (client, bucket) = (bench.client(), &bench.source.bucket);
        let files = bench.files().await?;
        ensure!(files.len() == 4, "{files:?}");
        client.delete_object().bucket(bucket).key(&files[0]).send().await?;
        for (key, shorten) in [(&files[1], true), (&files[2], false)] {
            let head = client.head_object().bucket(bucket).key(key).send().await?;
            let mut bytes = bench.env.object(bucket, key).await?;
            if shorten {
                bytes.truncate(bytes.len() / 2);
            } else {
                bytes[100] ^= 1;
            }
            let put = client.put_object().bucket(bucket).key(key).set_metadata(head.metadata);
            put.body(ByteStream::from(bytes)).send().await?;
        }
        let mut command = bench.command("verify")?;
        command.env("TIDEMARK_GRACE_SECONDS", "0");
        let output = bench.source.start(command, None)?.ended(RUN).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        let said: Value = serde_json::from_str(output.stdout.trim())?;
        let findings = said["findings"].as_array().context("findings")?;
        let found = |key: &str| {
            let about = findings
                .iter()
                .filter(|finding| finding["what"].as_str().is_some_and(|what| what.contains(key)));
            about.count()
        };
        let counts: Vec<usize> = files.iter().map(|key| found(key)).collect();
        ensure!(
            counts[..3].iter().all(|count| *count >= 1) && counts[3] == 0,
            "{counts:?}: {said}"
        );
        Ok(())
    })
}

#[test]
fn t38_a_sweep_with_a_clock_that_is_a_day_wrong_removes_nothing_that_lives() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t38", "PE", 500, 2).await?;
        bench.publishes().await?;
        bench.grow(100).await?;
        // a dead run, so that there is something to sweep
        bench.paused("before-record").await?.die().await?;
        let dead = bench.item().await?["run"].as_str().context("run")?.to_owned();
        let mut live = bench.paused("before-record").await?;
        let alive = bench.item().await?["run"].as_str().context("run")?.to_owned();
        let task = bench.source.task(&bench.direct(), "somebody-else", 1);
        let open = async |run: &str| -> Result<usize> {
            let listed =
                bench.client().list_multipart_uploads().bucket(&bench.source.bucket).send().await?;
            Ok(listed
                .uploads()
                .iter()
                .filter(|open| open.key().is_some_and(|key| key.contains(run)))
                .count())
        };
        // the pause is that of one partition: the other one may begin its upload later
        wait_until("both uploads of the live run", RUN, async || {
            let begun = open(&alive).await?;
            ensure!(begun == 2, "{begun} uploads");
            Ok(())
        })
        .await?;
        let before = (open(&dead).await?, open(&alive).await?);
        ensure!(before.0 > 0, "{before:?}");
        for (clock, dead_left) in [("172800", before.0), ("-86400", 0)] {
            let mut recover = bench.source.recover_pod(&task, true)?;
            short(&mut recover);
            recover.env("TIDEMARK_GRACE_SECONDS", clock);
            let output = bench.source.start(recover, None)?.ended(RUN).await?;
            ensure!(output.code == Some(0), "{clock}: {}", output.stderr);
            let left = (open(&dead).await?, open(&alive).await?);
            ensure!(left == (dead_left, before.1), "{clock}: {left:?}, before {before:?}");
        }
        live.go_on()?;
        let output = live.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        bench.whole().await
    })
}

#[test]
fn t39_only_abandoned_uploads_of_own_dead_runs_are_aborted() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t39", "PE", 100, 1).await?;
        bench.publishes().await?;
        bench.grow(100).await?;
        bench.paused("before-record").await?.die().await?;
        let dead = bench.item().await?["run"].as_str().context("run")?.to_owned();
        let stranger = "01890000-0000-7000-8000-000000000001";
        let ours = |n: u32| format!("{TABLE}/extract_run={dead}/part-{n:05}-abandoned-000.parquet");
        // no plan says whose that run is; the other is not a file of Tidemark; the last is another prefix
        let others = [
            format!("{TABLE}/extract_run={stranger}/part-00000-x-000.parquet"),
            format!("{TABLE}/by-hand/big.bin"),
            format!("{TABLE}2/extract_run={dead}/part-00000-x-000.parquet"),
        ];
        let keys: Vec<String> = (0..1000).map(ours).chain(others.iter().cloned()).collect();
        let creating = keys.chunks(keys.len() / 8 + 1).map(|keys| {
            let (client, bucket, keys) =
                (bench.client(), bench.source.bucket.clone(), keys.to_vec());
            tokio::spawn(async move {
                for key in keys {
                    client.create_multipart_upload().bucket(&bucket).key(key).send().await?;
                }
                Ok::<_, anyhow::Error>(())
            })
        });
        for created in creating.collect::<Vec<_>>() {
            created.await??;
        }
        let mut command = bench.command("run")?;
        command.env("TIDEMARK_GRACE_SECONDS", "-86400");
        let output = bench.source.start(command, None)?.ended(RUN).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let aborted = bench.s3.asked("AbortMultipartUpload").len();
        ensure!(aborted >= 1000, "{aborted} were aborted");
        let listed =
            bench.client().list_multipart_uploads().bucket(&bench.source.bucket).send().await?;
        let mut left: Vec<&str> =
            listed.uploads().iter().filter_map(|upload| upload.key()).collect();
        left.sort_unstable();
        let mut expected: Vec<&str> = others.iter().map(String::as_str).collect();
        expected.sort_unstable();
        ensure!(left == expected, "{} are left: {left:?}", left.len());
        Ok(())
    })
}

#[test]
fn t41_a_pointer_set_back_by_a_person_is_repaired_upwards_only() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t41", "PE", 100, 1).await?;
        bench.publishes().await?;
        let key = format!("{TABLE}/_tidemark/current.json");
        let old = bench.env.object(&bench.source.bucket, &key).await?;
        bench.grow(10).await?;
        bench.publishes().await?;
        let put = async |bytes: Vec<u8>| {
            let put = bench.client().put_object().bucket(&bench.source.bucket).key(&key);
            put.body(ByteStream::from(bytes)).send().await
        };
        put(old.clone()).await?;
        let verify = bench.source.command("verify", &bench.direct())?;
        let found = bench.source.start(verify, None)?.ended(RUN).await?;
        ensure!(
            found.code == Some(10)
                && found.stdout.contains("does not name the latest published run"),
            "{}",
            found.stdout
        );
        bench.publishes().await?;
        ensure!(bench.control("current.json").await?["commit"] == 3, "not repaired");
        bench.whole().await?;

        // one that was set too high is never moved down, and the next run is above it
        let mut high: Value = serde_json::from_slice(&old)?;
        high["commit"] = json!(100);
        put(serde_json::to_vec(&high)?).await?;
        bench.publishes().await?;
        ensure!(bench.control("current.json").await?["commit"] == 101, "not above it");
        bench.whole().await?;

        // one that is not a pointer stops the run, and says what to do
        put(b"oops".to_vec()).await?;
        let output = bench.run().await?;
        crate::refused(&output, 10, "StorageFailed")?;
        ensure!(output.stderr.contains("Restore the object"), "{}", output.stderr);
        Ok(())
    })
}

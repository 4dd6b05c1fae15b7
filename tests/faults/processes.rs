//! Processes that are killed, stopped, doubled or cut off: T07, T19 to T22, and the pods' part of T28.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Calls, Fault, Gate, Process, Proxy, Speaks, Wire, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Bench, RUN, in_env, refused, short};

/// A coordinator without a cluster, Ready, whose partitions others read.
struct Run {
    bench: Bench,
    task: Value,
    coordinator: Process,
    id: String,
}

impl Run {
    async fn new(name: &str, rows: u64, partitions: u32) -> Result<Self> {
        let bench = Bench::new(name, "PE", rows, partitions).await?;
        let task = bench.source.task(&bench.job, name, 1);
        let mut command = bench.source.pod("coordinate", &task)?;
        short(&mut command);
        crate::unrenewed(&mut command);
        let coordinator = bench.source.start(command, None)?;
        let id = wait_until("the run", RUN, async || {
            let item = bench.item().await?;
            ensure!(item["state"] == "running", "{item}");
            Ok(item["run"].as_str().context("run")?.to_owned())
        })
        .await
        .with_context(|| coordinator.log().unwrap_or_default())?;
        Ok(Self { bench, task, coordinator, id })
    }

    /// An extract pod.
    fn extract(&self, index: u32, point: Option<&str>) -> Result<Process> {
        self.extract_of(&self.task, index, point)
    }

    fn extract_of(&self, task: &Value, index: u32, point: Option<&str>) -> Result<Process> {
        let mut command = self.bench.source.extract_pod(task, &self.id, index)?;
        short(&mut command);
        self.bench.source.start(command, point)
    }

    /// Open uploads of a partition.
    async fn open(&self, index: u32) -> Result<usize> {
        let bucket = &self.bench.source.bucket;
        let listed = self.bench.client().list_multipart_uploads().bucket(bucket).send().await?;
        let part = format!("/part-{index:05}-");
        let of_partition =
            listed.uploads().iter().filter_map(|open| open.key()).filter(|key| key.contains(&part));
        Ok(of_partition.count())
    }

    /// The coordinator publishes; so many files, every row once.
    async fn published(&mut self, files: usize) -> Result<()> {
        ends(&mut self.coordinator, 0).await?;
        let found = self.bench.files().await?;
        ensure!(found.len() == files, "{} files: {found:?}", found.len());
        self.bench.whole().await
    }
}

/// The process ends with that code.
async fn ends(process: &mut Process, code: i32) -> Result<()> {
    let output = process.ended(RUN).await?;
    ensure!(output.code == Some(code), "exit {:?}, not {code}: {}", output.code, output.stderr);
    Ok(())
}

#[test]
fn t19_worker_killed_at_any_point_is_retried_with_the_same_rows() -> Result<()> {
    in_env(async {
        let mut run = Run::new("t19", 5000, 5).await?;
        // nothing read; rows read and a part in flight; all parts written; the record in flight; the record written
        let mut process = run.extract(0, Some("partition-start"))?;
        process.paused().await?;
        process.die().await?;
        for (index, operation, holds, reply) in [
            (1, "UploadPart", "/part-00001-", false),
            (2, "UploadPart", "/part-00002-", true),
            (3, "PutObject", "/partitions/3.json", false),
            (4, "PutObject", "/partitions/4.json", true),
        ] {
            let gate = Gate::shut();
            let fault =
                if reply { Fault::HoldReply(gate.clone()) } else { Fault::Hold(gate.clone()) };
            run.bench.s3.on_some(operation, holds, Calls::Nth(1), fault);
            let process = run.extract(index, None)?;
            gate.came(1, RUN).await?;
            process.die().await?;
            gate.open();
        }
        // the request of partition 3 may still arrive: in any order, there is one record
        for index in 0..5 {
            ends(&mut run.extract(index, None)?, 0)
                .await
                .with_context(|| format!("range {index}"))?;
        }
        run.published(5).await
    })
}

#[test]
fn t20_of_two_workers_on_one_partition_one_counts_and_the_other_leaves_nothing() -> Result<()> {
    in_env(async {
        let mut run = Run::new("t20", 3000, 3).await?;
        for index in 0..3 {
            let mut first = run.extract(index, Some("before-record"))?;
            let mut second = run.extract(
                index,
                Some(if index == 2 { "partition-start" } else { "before-record" }),
            )?;
            first.paused().await?;
            second.paused().await?;
            // first, then second; second, then first; the first before the second has read anything
            let (one, other) =
                if index == 1 { (&mut second, &mut first) } else { (&mut first, &mut second) };
            if index == 0 {
                ensure!(run.open(index).await? == 2, "both have uploads");
            }
            one.go_on()?;
            // of the last partition all are recorded then, and the coordinator goes on without the other
            ends(one, 0).await?;
            other.go_on()?;
            ends(other, 0).await?;
            let open = run.open(index).await?;
            ensure!(open <= 1, "range {index}: {open} uploads are open");
        }
        run.published(3).await
    })
}

#[test]
fn t21_a_worker_that_wakes_up_after_the_commit_changes_nothing() -> Result<()> {
    in_env(async {
        let mut run = Run::new("t21", 2000, 2).await?;
        let mut asleep = Vec::new();
        for point in ["partition-start", "before-record"] {
            let mut process = run.extract(0, Some(point))?;
            process.paused().await?;
            process.signal(Signal::SIGSTOP)?;
            process.go_on()?;
            asleep.push(process);
        }
        for index in 0..2 {
            ends(&mut run.extract(index, None)?, 0).await?;
        }
        run.published(2).await?;
        let before = everything(&run.bench).await?;
        for mut process in asleep {
            process.signal(Signal::SIGCONT)?;
            ends(&mut process, 0).await?;
        }
        ensure!(everything(&run.bench).await? == before, "something changed");
        run.bench.whole().await
    })
}

/// Every item of the table, and every object with its `ETag`.
async fn everything(bench: &Bench) -> Result<(Vec<String>, Vec<String>)> {
    let scan = bench.env.dynamodb().scan().table_name(&bench.source.table).send().await?;
    let keys = scan.items().iter().filter_map(|item| item.get("source")?.as_s().ok());
    let mut items = Vec::new();
    for key in keys {
        items.push(format!("{key} {:?}", bench.env.item(&bench.source.table, key).await?));
    }
    let listed = bench.client().list_objects_v2().bucket(&bench.source.bucket).send().await?;
    let objects =
        listed.contents().iter().map(|object| format!("{:?} {:?}", object.key(), object.e_tag()));
    let mut objects: Vec<String> = objects.collect();
    items.sort();
    objects.sort();
    Ok((items, objects))
}

#[test]
fn t22_worker_stopped_by_a_signal_exits_with_143_and_leaves_no_upload() -> Result<()> {
    in_env(async {
        let mut run = Run::new("t22", 4000, 4).await?;
        let mut process = run.extract(0, Some("partition-start"))?;
        process.paused().await?;
        process.signal(Signal::SIGTERM)?;
        process.go_on()?;
        ends(&mut process, 143).await?;
        // in the middle of a part, and of the beginning of an upload
        for (index, operation) in [(1, "UploadPart"), (2, "CreateMultipartUpload")] {
            let gate = Gate::shut();
            let holds = format!("/part-0000{index}-");
            run.bench.s3.on_some(operation, &holds, Calls::Nth(1), Fault::Hold(gate.clone()));
            let mut process = run.extract(index, None)?;
            gate.came(1, RUN).await?;
            process.signal(Signal::SIGTERM)?;
            ends(&mut process, 143).await.context(operation)?;
            ensure!(run.open(index).await? == 0, "{operation}: an upload is open");
        }
        // with the record on its way: it may say 0, and then the record is there
        let mut process = run.extract(3, Some("before-record"))?;
        process.paused().await?;
        process.signal(Signal::SIGTERM)?;
        process.go_on()?;
        let code = process.ended(RUN).await?.code;
        let record = run.bench.control(&format!("{}/partitions/3.json", run.id)).await;
        ensure!(
            code == Some(0) && record.is_ok() || code == Some(143),
            "exit {code:?}, {record:?}"
        );
        for index in 0..4 {
            ends(&mut run.extract(index, None)?, 0).await?;
        }
        run.published(4).await
    })
}

#[test]
fn t22_run_stopped_by_a_signal_fails_before_decide_and_finishes_after_it() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t22-run", "PE", 100, 2).await?;
        for point in [
            "after-claim",
            "after-guard",
            "after-pin",
            "partition-start",
            "after-put-manifest",
            "after-decide",
            "after-publish",
        ] {
            bench.grow(10).await?;
            let mut process = bench.paused(point).await?;
            process.signal(Signal::SIGTERM)?;
            process.go_on()?;
            let code = process.ended(RUN).await?.code;
            let item = bench.item().await?;
            let open = bench.source.open_uploads().await?;
            let decided = ["after-put-manifest", "after-decide", "after-publish"].contains(&point);
            let (wanted, state) = if decided { (0, "published") } else { (143, "failed") };
            ensure!(
                code == Some(wanted) && item["state"] == state,
                "{point}: exit {code:?}, {item}"
            );
            ensure!(open == 0, "{point}: an upload is open");
        }
        bench.publishes().await?;
        bench.publishes().await?;
        bench.whole().await
    })
}

#[test]
fn t07_a_committer_that_wakes_up_when_another_has_committed_changes_nothing() -> Result<()> {
    in_env(async {
        let all = [
            ("PE", "after-put-manifest"),
            ("PE", "after-decide"),
            ("PE", "after-complete"),
            ("PE", "after-put-pointer"),
            ("FE", "after-decide"),
            ("FE", "after-publish"),
        ];
        for kind in ["PE", "FE"] {
            let mut bench = Bench::new("t07", kind, 100, 2).await?;
            for (_, point) in all.into_iter().filter(|(of, _)| *of == kind) {
                bench.grow(10).await?;
                let mut asleep = bench.paused(point).await?;
                asleep.signal(Signal::SIGSTOP)?;
                asleep.go_on()?;
                // it waits for the deadline of the sleeper, or finishes its run
                bench.publishes().await?;
                bench.grow(10).await?;
                bench.publishes().await?;
                let before = everything(&bench).await?;
                asleep.signal(Signal::SIGCONT)?;
                let output = asleep.ended(RUN).await?;
                let context = || format!("{kind} {point}: {}", output.stderr);
                ensure!(
                    matches!(output.code, Some(0 | 20)),
                    "exit {:?}, {}",
                    output.code,
                    context()
                );
                ensure!(everything(&bench).await? == before, "something changed: {}", context());
            }
            bench.whole().await.with_context(|| kind.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn t28_worker_cut_off_but_alive_ends_by_its_own_timeouts() -> Result<()> {
    in_env(async {
        let mut run = Run::new("t28-pods", 50_000, 2).await?;
        // from S3, while it sends a part; from the database, in mid stream
        let (s3, wire) = (Proxy::start(Speaks::S3).await?, Wire::start().await?);
        s3.on("UploadPart", Calls::Every, Fault::Hold(Gate::shut()));
        let mut far_s3 = run.task.clone();
        far_s3["spec"]["output"]["endpoint"] = json!(s3.url());
        let mut far_database = run.task.clone();
        far_database["spec"]["source"]["host"] = json!("127.0.0.1");
        far_database["spec"]["source"]["port"] = json!(wire.port());
        let mut first = run.extract_of(&far_s3, 0, None)?;
        let mut second = run.extract_of(&far_database, 1, Some("partition-start"))?;
        second.paused().await?;
        wire.stall_after(1 << 20);
        second.go_on()?;
        refused(&second.ended(Duration::from_secs(20)).await?, 75, "DatabaseUnreachable")?;
        refused(&first.ended(Duration::from_secs(40)).await?, 75, "StorageUnreachable")?;
        ensure!(run.open(0).await? + run.open(1).await? == 0, "an upload is open");
        for index in 0..2 {
            ends(&mut run.extract(index, None)?, 0).await?;
        }
        run.published(2).await
    })
}

//! Removes replaced files in batches (`DeleteObjects`), also if the store deletes only a part of a batch or nothing.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::{Calls, Fault, Proxy, Speaks};
use serde_json::{Value, json};

use crate::{Bench, TABLE, in_env, printed, refused};

/// Files of each run.
const FILES: usize = 8;

/// Publishes a run of [`FILES`] files, and starts a proxy between the next run and its store.
async fn published(name: &str) -> Result<(Bench, Proxy)> {
    let mut bench = Bench::new(name, "FE", 100).await?;
    bench.job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": FILES });
    let s3 = Proxy::start(Speaks::S3).await?;
    bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
    printed(&bench.run(&[]).await?)?;
    ensure!(files(&bench).await? == FILES, "{} files", files(&bench).await?);
    bench.grow(10).await?;
    Ok((bench, s3))
}

async fn files(bench: &Bench) -> Result<usize> {
    let folder = format!("{TABLE}/extract_run=");
    Ok(bench.source.env.keys(&bench.source.bucket, &folder).await?.len())
}

async fn removals(bench: &Bench) -> Result<Value> {
    let run = bench.source.run_item(TABLE).await?.context("run item")?;
    Ok(run["pendingCleanup"]["removals"].clone())
}

/// Checks that only the files of the second run exist, that each row is in them once, and that no removal is pending.
async fn check_replaced(bench: &Bench) -> Result<()> {
    ensure!(files(bench).await? == FILES, "{} files", files(bench).await?);
    ensure!(bench.seen().await? == (110, 110), "{:?}", bench.seen().await?);
    ensure!(removals(bench).await? == Value::Null, "{}", removals(bench).await?);
    Ok(())
}

#[test]
fn replaced_files_are_deleted_by_one_request_with_a_checksum() -> Result<()> {
    in_env(async {
        for checksum in ["crc64nvme", "sha256"] {
            let (bench, s3) = published("batch").await?;
            s3.demand_checksums();
            printed(&bench.run(&[("TIDEMARK_CHECKSUM", checksum)]).await?)?;
            let batches = s3.asked("DeleteObjects");
            ensure!(batches.len() == 1 && batches[0].status == Some(200), "{batches:?}");
            ensure!(s3.asked("DeleteObject").is_empty(), "{:?}", s3.asked("DeleteObject"));
            check_replaced(&bench).await?;
        }
        // the SDK sends its default checksum
        let (bench, s3) = published("default").await?;
        printed(&bench.run(&[("TIDEMARK_CHECKSUM", "off")]).await?)?;
        ensure!(s3.asked("DeleteObjects").len() == 1, "{:?}", s3.asked("DeleteObjects"));
        check_replaced(&bench).await
    })
}

/// The keys that a `DeleteObjects` request names.
fn keys(body: &Bytes) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let parts = text.split("<Key>").skip(1);
    parts.filter_map(|part| Some(part.split_once("</Key>")?.0.to_owned())).collect()
}

#[test]
fn file_that_a_batch_does_not_report_as_deleted_is_deleted_by_its_own_request() -> Result<()> {
    in_env(async {
        let (bench, s3) = published("partly").await?;
        let named: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&named);
        // deletes nothing: reports an error for the first file, omits the second, reports both results for the third
        s3.answer(Arc::new(move |operation, _, body| {
            if operation != "DeleteObjects" {
                return None;
            }
            let all = keys(body);
            let error = |key: &String| {
                format!(
                    "<Error><Key>{key}</Key><Code>InternalError</Code><Message>m</Message></Error>"
                )
            };
            let deleted = |key: &String| format!("<Deleted><Key>{key}</Key></Deleted>");
            let reply = [
                all.first().map(error),
                all.get(2).map(|key| deleted(key) + &error(key)),
                Some(all.iter().skip(3).map(deleted).collect()),
            ];
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = all;
            let reply: String = reply.into_iter().flatten().collect();
            Some((200, Bytes::from(format!("<DeleteResult>{reply}</DeleteResult>"))))
        }));
        printed(&bench.run(&[]).await?)?;
        let named = named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(named.len() == FILES, "{named:?}");
        let single = s3.asked("DeleteObject");
        let of = |key: &String| {
            // the path of a request is percent-encoded except for the file name
            let name = key.rsplit('/').next().unwrap_or_default();
            single.iter().filter(|one| one.target.contains(name)).count()
        };
        let counts: Vec<usize> = named.iter().map(of).collect();
        ensure!(counts == [1, 1, 1, 0, 0, 0, 0, 0], "{counts:?}");
        ensure!(files(&bench).await? == 2 * FILES - 3, "{} files", files(&bench).await?);
        Ok(())
    })
}

#[test]
fn store_that_refuses_batches_gets_a_request_for_each_file() -> Result<()> {
    in_env(async {
        for (status, code) in [
            (501, "NotImplemented"),
            (405, "MethodNotAllowed"),
            (400, "MissingContentMD5"),
            (403, "AccessDenied"),
        ] {
            let (bench, s3) = published("singly").await?;
            s3.on("DeleteObjects", Calls::Every, Fault::Answer(status, code));
            printed(&bench.run(&[]).await?)?;
            ensure!(s3.asked("DeleteObject").len() == FILES, "{code}: {:?}", s3.asked("*"));
            check_replaced(&bench).await.with_context(|| code)?;
        }
        Ok(())
    })
}

#[test]
fn batch_that_the_store_throttles_or_whose_reply_is_lost_is_sent_again() -> Result<()> {
    in_env(async {
        for (calls, fault) in [
            (Calls::UpTo(5), Fault::Answer(503, "SlowDown")),
            (Calls::Nth(1), Fault::Answer(200, "InternalError")),
            (Calls::Nth(1), Fault::LoseReply),
            (Calls::Nth(1), Fault::CutReply),
        ] {
            let (bench, s3) = published("again").await?;
            s3.on("DeleteObjects", calls, fault.clone());
            printed(&bench.run(&[]).await?)?;
            ensure!(s3.asked("DeleteObjects").len() > 1, "{fault:?}");
            ensure!(s3.asked("DeleteObject").is_empty(), "{fault:?}");
            check_replaced(&bench).await.with_context(|| format!("{fault:?}"))?;
        }
        Ok(())
    })
}

#[test]
fn batch_without_the_permission_fails_the_run_and_names_the_missing_right() -> Result<()> {
    in_env(async {
        let (bench, s3) = published("denied").await?;
        // like S3: status 200, with an error for each file
        s3.answer(Arc::new(|operation, _, body| {
            let error = |key: &String| {
                format!(
                    "<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>m</Message></Error>"
                )
            };
            let errors: String = keys(body).iter().map(error).collect();
            let reply = Bytes::from(format!("<DeleteResult>{errors}</DeleteResult>"));
            (operation == "DeleteObjects").then_some((200, reply))
        }));
        s3.on("DeleteObject", Calls::Every, Fault::Answer(403, "AccessDenied"));
        let output = bench.run(&[]).await?;
        refused(&output, 10, "StorageDenied")?;
        ensure!(output.stderr.contains("s3:DeleteObject"), "{}", output.stderr);
        ensure!(removals(&bench).await?[0]["run"].is_string(), "the pending removal is lost");
        Ok(())
    })
}

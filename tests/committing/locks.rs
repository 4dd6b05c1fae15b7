//! Buckets that lock their objects, or take no bytes without a checksum.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetentionMode, ObjectLockRule,
    VersioningConfiguration,
};
use harness::{Access, Calls, Fault, Output, Proxy, Speaks, unique};
use serde_json::{Value, json};

use crate::{Bench, TABLE, in_env, printed, refused};

#[test]
fn bucket_that_requires_checksums_accepts_every_object_of_a_run() -> Result<()> {
    in_env(async {
        for checksum in ["crc64nvme", "sha256"] {
            let mut bench = Bench::new("checked", "PE", 5000).await?;
            let s3 = Proxy::start(Speaks::S3).await?;
            s3.demand_checksums();
            bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
            bench.job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
            let named = [("TIDEMARK_CHECKSUM", checksum)];
            // the first run by the default
            let variables = if checksum == "crc64nvme" { &[][..] } else { &named[..] };
            printed(&bench.run(variables).await?)?;
            bench.grow(10).await?;
            printed(&bench.run(variables).await?)?;
            // source.json, and of each run plan, two parts at most, as many records, manifest, pointer
            ensure!(s3.checked() >= 11, "{checksum}: {} were checked", s3.checked());
            let refused = s3.asked("*").into_iter().find(|asked| asked.status == Some(400));
            ensure!(refused.is_none(), "{checksum}: {refused:?}");
            let verified = bench.command("verify", variables).await?;
            ensure!(verified.code == Some(0), "{} {}", verified.stdout, verified.stderr);
            ensure!(bench.seen().await? == (bench.rows, bench.rows), "{:?}", bench.seen().await?);
        }
        Ok(())
    })
}

#[test]
fn run_without_checksums_is_refused_for_good_with_a_remedy() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("unchecked", "FE", 10).await?;
        let s3 = Proxy::start(Speaks::S3).await?;
        s3.demand_checksums();
        bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
        let output = bench.run(&[("TIDEMARK_CHECKSUM", "off")]).await?;
        refused(&output, 10, "StorageFailed")?;
        for word in ["InvalidRequest", "TIDEMARK_CHECKSUM"] {
            ensure!(output.stderr.contains(word), "{}", output.stderr);
        }
        let sent = s3.asked("PutObject").len();
        ensure!(sent == 1, "sent {sent} times");
        Ok(())
    })
}

#[test]
fn error_code_for_an_invalid_request_is_permanent_for_every_operation() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("wrong", "FE", 10).await?;
        let s3 = Proxy::start(Speaks::S3).await?;
        bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
        for (operation, code) in [
            ("GetObject", "InvalidRequest"),
            ("PutObject", "InvalidRequest"),
            ("CreateMultipartUpload", "InvalidRequest"),
            ("UploadPart", "InvalidArgument"),
            ("ListParts", "InvalidRequest"),
            ("CompleteMultipartUpload", "InvalidRequest"),
        ] {
            s3.heal();
            s3.on(operation, Calls::Every, Fault::Answer(400, code));
            let before = s3.asked(operation).len();
            let output = bench.run(&[("TIDEMARK_LEASE_SECONDS", "361")]).await?;
            refused(&output, 10, "StorageFailed")?;
            let sent = s3.asked(operation).len() - before;
            ensure!(sent == 1, "{operation}: {sent} attempts");
        }
        // what was decided is published once the store takes the request
        s3.heal();
        printed(&bench.run(&[]).await?)?;
        ensure!(bench.seen().await? == (10, 10), "{:?}", bench.seen().await?);
        Ok(())
    })
}

/// Makes a bucket that can lock its objects; with `retain`, it locks each of them for a day.
async fn locking(bench: &mut Bench, retain: bool) -> Result<()> {
    let s3 = bench.source.env.s3(Access::Admin);
    let bucket = unique("locked");
    s3.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true).send().await?;
    let versions =
        VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(versions).send().await?;
    let retention =
        DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(1).build();
    let rule = ObjectLockRule::builder().default_retention(retention).build();
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .set_rule(retain.then_some(rule))
        .build();
    s3.put_object_lock_configuration()
        .bucket(&bucket)
        .object_lock_configuration(lock)
        .send()
        .await?;
    bench.job["spec"]["output"]["uri"] = json!(format!("s3://{bucket}/{TABLE}"));
    bench.source.bucket = bucket;
    Ok(())
}

#[test]
fn bucket_with_object_lock_is_published_to_and_replaced_files_are_hidden() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("locks", "FE", 100).await?;
        locking(&mut bench, true).await?;
        let s3 = Proxy::start(Speaks::S3).await?;
        s3.demand_checksums();
        bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
        for _ in 0..3 {
            bench.grow(10).await?;
            printed(&bench.run(&[("TIDEMARK_GRACE_SECONDS", "0")]).await?)?;
            ensure!(bench.seen().await? == (bench.rows, bench.rows), "{:?}", bench.seen().await?);
        }
        let verified = bench.command("verify", &[]).await?;
        ensure!(verified.code == Some(0), "{} {}", verified.stdout, verified.stderr);
        Ok(())
    })
}

/// A second run whose removal the store refuses with this code, as it does these operations.
async fn refuse(
    bench: &mut Bench,
    operations: &[&str],
    code: &'static str,
) -> Result<(Proxy, Output)> {
    let s3 = Proxy::start(Speaks::S3).await?;
    bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
    printed(&bench.run(&[]).await?)?;
    bench.grow(10).await?;
    for operation in operations.iter().chain(&["DeleteObject"]) {
        s3.on(operation, Calls::Every, Fault::Answer(403, code));
    }
    let output = bench.run(&[("TIDEMARK_GRACE_SECONDS", "0")]).await?;
    ensure!(!s3.asked("DeleteObject").is_empty(), "nothing was to be removed");
    Ok((s3, output))
}

async fn removals(bench: &Bench) -> Result<Value> {
    let run = bench.source.run_item(TABLE).await?.context("run item")?;
    Ok(run["pendingCleanup"]["removals"].clone())
}

#[test]
fn removal_of_a_locked_object_is_postponed_until_its_retention_ends_and_a_later_run_does_it()
-> Result<()> {
    in_env(async {
        for code in ["ObjectLocked", "ObjectUnderActiveHold"] {
            let mut bench = Bench::new("keeps", "FE", 100).await?;
            locking(&mut bench, true).await?;
            let (s3, output) = refuse(&mut bench, &[], code).await?;
            printed(&output)?;
            ensure!(output.stderr.contains("Object Lock"), "{}", output.stderr);
            // the tracking item says that both files stand, and when the earlier one goes
            let left = removals(&bench).await?;
            let retry = left[0]["retry"].as_i64().context("nothing is postponed")?;
            let days =
                retry - SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
            ensure!((80_000..=86_400).contains(&days), "{code}: tried again in {days} s");
            ensure!(bench.seen().await?.0 == 210, "{:?}", bench.seen().await?);
            s3.heal();
            printed(&bench.run(&[]).await?)?;
            ensure!(removals(&bench).await? == Value::Null, "{code}: it is done");
            ensure!(bench.seen().await? == (110, 110), "{:?}", bench.seen().await?);
        }
        Ok(())
    })
}

#[test]
fn removal_refused_for_an_object_without_a_lock_fails_the_run_and_names_the_missing_right()
-> Result<()> {
    in_env(async {
        // a bucket without locks, one that does not say, and two with versions, where no lock refuses
        for (locks, retain, tells) in
            [(false, false, true), (false, false, false), (true, false, true), (true, true, true)]
        {
            let mut bench = Bench::new("right", "FE", 100).await?;
            if locks {
                locking(&mut bench, retain).await?;
            }
            let unreadable =
                if tells { &[][..] } else { &["GetObjectRetention", "GetObjectLegalHold"] };
            let (s3, output) = refuse(&mut bench, unreadable, "AccessDenied").await?;
            refused(&output, 10, "StorageDenied")?;
            ensure!(output.stderr.contains("s3:DeleteObject"), "{}", output.stderr);
            let named = output.stderr.contains("s3:GetObjectRetention");
            ensure!(named != tells, "{locks} {tells}: {}", output.stderr);
            // the removal is still to be done, and is as soon as the right is there
            ensure!(removals(&bench).await?[0]["run"].is_string(), "it is forgotten");
            s3.heal();
            printed(&bench.run(&[]).await?)?;
            ensure!(bench.seen().await? == (110, 110), "{:?}", bench.seen().await?);
        }
        Ok(())
    })
}

#[test]
fn removal_of_an_object_under_a_legal_hold_is_retried_a_day_later() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("held", "FE", 100).await?;
        locking(&mut bench, false).await?;
        printed(&bench.run(&[]).await?)?;
        let s3 = bench.source.env.s3(Access::Admin);
        let files = format!("{TABLE}/extract_run=");
        let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
        for key in bench.source.env.keys(&bench.source.bucket, &files).await? {
            let request = s3.put_object_legal_hold().bucket(&bench.source.bucket).key(key);
            request.legal_hold(hold.clone()).send().await?;
        }
        let proxy = Proxy::start(Speaks::S3).await?;
        proxy.on("DeleteObject", Calls::Every, Fault::Answer(403, "ObjectUnderActiveHold"));
        bench.job["spec"]["output"]["endpoint"] = json!(proxy.url());
        printed(&bench.run(&[]).await?)?;
        ensure!(removals(&bench).await?[0]["retry"].is_i64(), "{}", removals(&bench).await?);
        Ok(())
    })
}

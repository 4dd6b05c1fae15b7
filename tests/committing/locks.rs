//! Buckets that lock their objects, or take no bytes without a checksum.

use anyhow::{Result, ensure};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled,
    ObjectLockRetentionMode, ObjectLockRule, VersioningConfiguration,
};
use harness::{Access, Calls, Fault, Proxy, Speaks, unique};
use serde_json::json;

use crate::{Bench, TABLE, in_bed, printed, refused};

#[test]
fn bucket_that_demands_checksums_takes_every_object_of_a_run() -> Result<()> {
    in_bed(async {
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
    in_bed(async {
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
fn code_that_says_the_request_is_wrong_is_permanent_for_every_operation() -> Result<()> {
    in_bed(async {
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

/// Makes a bucket that locks its objects, with a default retention; `false`: the server has none.
async fn locking(bench: &mut Bench) -> Result<()> {
    let s3 = bench.source.bed.s3(Access::Admin);
    let bucket = unique("locked");
    s3.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true).send().await?;
    let versions =
        VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(versions).send().await?;
    let retention =
        DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(1).build();
    let lock = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(retention).build())
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
fn bucket_that_locks_its_objects_is_published_to_and_what_is_replaced_is_hidden() -> Result<()> {
    in_bed(async {
        let mut bench = Bench::new("locks", "FE", 100).await?;
        locking(&mut bench).await?;
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

#[test]
fn removal_that_a_lock_refuses_does_not_fail_the_run_and_a_missing_right_does() -> Result<()> {
    in_bed(async {
        let mut bench = Bench::new("keeps", "FE", 100).await?;
        let open = bench.source.bucket.clone();
        for locked in [true, false] {
            if locked {
                locking(&mut bench).await?;
            } else {
                bench.job["spec"]["output"]["uri"] = json!(format!("s3://{open}/{TABLE}"));
                bench.source.bucket.clone_from(&open);
            }
            let s3 = Proxy::start(Speaks::S3).await?;
            bench.job["spec"]["output"]["endpoint"] = json!(s3.url());
            printed(&bench.run(&[]).await?)?;
            s3.on("DeleteObject", Calls::Every, Fault::Answer(403, "AccessDenied"));
            bench.grow(10).await?;
            let output = bench.run(&[("TIDEMARK_GRACE_SECONDS", "0")]).await?;
            ensure!(!s3.asked("DeleteObject").is_empty(), "nothing was to be removed");
            if locked {
                printed(&output)?;
                ensure!(output.stderr.contains("Object Lock"), "{}", output.stderr);
            } else {
                refused(&output, 10, "StorageDenied")?;
            }
        }
        Ok(())
    })
}

//! S3 during a run: T30 to T33, T36, T40.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use harness::{Calls, Fault, Gate};
use serde_json::json;

use crate::{Bench, RUN, TABLE, in_env, printed, refused};

/// What one request may be sent at most.
const ATTEMPTS_MAX: usize = 8;

#[test]
fn t30_a_run_gets_through_a_store_that_fails_every_tenth_call() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t30", "FE", 2000, 8).await?;
        let faults = [
            (3, Fault::Answer(500, "InternalError")),
            (3, Fault::Answer(503, "SlowDown")),
            (2, Fault::Refuse),
            (2, Fault::LoseReply),
            (2, Fault::CutRequest),
            (2, Fault::CutReply),
        ];
        for (seed, (percent, fault)) in (1..).zip(faults) {
            bench.s3.on("*", Calls::Percent(percent, seed), fault);
        }
        bench.publishes().await?;
        bench.s3.heal();
        bench.whole().await?;
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        let asked = bench.s3.asked("*");
        let failed =
            asked.iter().filter(|asked| asked.status.is_none_or(|status| status >= 500)).count();
        ensure!(failed >= 4, "{failed} of {} failed", asked.len());
        for asked in asked.iter().filter(|asked| asked.operation == "UploadPart") {
            *sent.entry(asked.target.clone()).or_default() += 1;
        }
        ensure!(sent.len() >= 8 && sent.values().all(|sent| *sent <= ATTEMPTS_MAX), "{sent:?}");
        Ok(())
    })
}

#[test]
fn t30_a_store_that_fails_always_is_asked_eight_times_with_pauses_that_grow_by_chance() -> Result<()>
{
    in_env(async {
        let bench = Bench::new("t30b", "FE", 10, 1).await?;
        bench.s3.on("GetObject", Calls::Every, Fault::Answer(503, "SlowDown"));
        refused(&bench.run().await?, 75, "StorageUnreachable")?;
        let asked = bench.s3.asked("GetObject");
        ensure!(asked.len() == ATTEMPTS_MAX, "{} attempts", asked.len());
        let times: Vec<_> = asked.iter().map(|asked| asked.at).collect();
        let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // each is a part by chance of at most 10 ms, doubled each time
        let (early, late): (Duration, Duration) = (gaps[..3].iter().sum(), gaps[3..].iter().sum());
        ensure!(late > early, "{gaps:?}");
        ensure!(bench.source.run_item(TABLE).await?.is_none(), "it had claimed");
        Ok(())
    })
}

#[test]
fn t31_a_completion_whose_reply_was_lost_is_known_by_token_and_size() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t31", "FE", 1000, 2).await?;
        // the store answers the second as AWS may: the upload is gone, since the first completed it
        bench.s3.on("CompleteMultipartUpload", Calls::UpTo(2), Fault::LoseReply);
        bench.s3.on("CompleteMultipartUpload", Calls::Every, Fault::Answer(404, "NoSuchUpload"));
        bench.publishes().await?;
        let looks = bench.s3.asked("HeadObject").len();
        ensure!(looks == 2, "{looks} files were looked at");
        ensure!(bench.files().await?.len() == 2, "two files");
        bench.s3.heal();
        bench.whole().await
    })
}

#[test]
fn t31_an_object_that_is_not_ours_does_not_pass_for_a_completed_upload() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t31b", "FE", 1000, 1).await?;
        let gate = Gate::shut();
        bench.s3.on("CompleteMultipartUpload", Calls::Nth(1), Fault::Hold(gate.clone()));
        let mut run = bench.source.start(bench.command("run")?, None)?;
        gate.came(1, RUN).await?;
        let (key, upload) = only_upload(&bench).await?;
        let client = bench.client();
        let bucket = &bench.source.bucket;
        client.abort_multipart_upload().bucket(bucket).key(&key).upload_id(upload).send().await?;
        let body = ByteStream::from_static(b"PAR1 of somebody else PAR1");
        client.put_object().bucket(bucket).key(&key).body(body).send().await?;
        gate.open();
        let output = run.ended(RUN).await?;
        refused(&output, 10, "CommitStuck")?;
        ensure!(output.stderr.contains("recover --force"), "{}", output.stderr);
        ensure!(bench.item().await?["state"] == "committing", "{}", bench.item().await?);
        ensure!(bench.legacy().await?["extract_successful"] == "N", "published");
        Ok(())
    })
}

/// Key and id of the only open upload.
async fn only_upload(bench: &Bench) -> Result<(String, String)> {
    let open = bench.client().list_multipart_uploads().bucket(&bench.source.bucket).send().await?;
    let upload = open.uploads().first().context("no upload is open")?;
    let text = |text: Option<&str>| text.map(str::to_owned).context("an upload without a name");
    Ok((text(upload.key())?, text(upload.upload_id())?))
}

#[test]
fn t32_an_error_in_the_body_of_a_200_is_a_failure() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t32", "PE", 1000, 1).await?;
        // nothing was completed, so believing the 200 would publish a file that is not there
        bench.s3.on("CompleteMultipartUpload", Calls::UpTo(3), Fault::Answer(200, "InternalError"));
        bench.publishes().await?;
        let sent = bench.s3.asked("CompleteMultipartUpload").len();
        ensure!(sent == 4, "sent {sent} times");
        bench.whole().await?;

        bench.grow(10).await?;
        bench.s3.heal();
        bench.s3.on("CompleteMultipartUpload", Calls::Every, Fault::Answer(200, "InternalError"));
        bench.job["spec"]["activeDeadlineSeconds"] = json!(10);
        let output = bench.run().await?;
        ensure!(output.code == Some(75), "exit {:?}: {}", output.code, output.stderr);
        ensure!(bench.item().await?["state"] == "committing", "{}", bench.item().await?);
        bench.s3.heal();
        bench.publishes().await?;
        bench.whole().await
    })
}

#[test]
fn t33_status_409_is_retried_and_does_not_count_as_existing() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t33", "FE", 1000, 2).await?;
        let conflict = || Fault::Answer(409, "ConditionalRequestConflict");
        let acted = || Fault::Swap(409, "ConditionalRequestConflict");
        bench.s3.on_some("PutObject", "source.json", Calls::UpTo(2), conflict());
        bench.s3.on_some("PutObject", "plan.json", Calls::Nth(1), acted());
        bench.s3.on_some("PutObject", "partitions/0.json", Calls::UpTo(3), conflict());
        bench.s3.on_some("PutObject", "partitions/1.json", Calls::Nth(1), acted());
        bench.s3.on_some("PutObject", "manifest.json", Calls::UpTo(2), conflict());
        bench.s3.on_some("PutObject", "current.json", Calls::UpTo(2), conflict());
        bench.publishes().await?;
        let puts = bench.s3.asked("PutObject");
        let sent = |name: &str| puts.iter().filter(|put| put.target.contains(name)).count();
        let counts =
            ["source.json", "plan.json", "partitions/0", "partitions/1", "manifest", "current"]
                .map(sent);
        ensure!(counts == [3, 2, 4, 2, 3, 3], "{counts:?}");
        bench.whole().await
    })
}

#[test]
fn t36_upload_that_is_gone_or_has_other_bytes_is_not_committed() -> Result<()> {
    in_env(async {
        let mut bench = Bench::new("t36", "PE", 1000, 1).await?;
        for tamper in ["abort", "shorten", "flip"] {
            bench.s3.heal();
            let gate = Gate::shut();
            bench.s3.on("ListParts", Calls::Nth(1), Fault::Hold(gate.clone()));
            let mut run = bench.source.start(bench.command("run")?, None)?;
            gate.came(1, RUN).await?;
            let (key, upload) = only_upload(&bench).await?;
            let (client, bucket) = (bench.client(), &bench.source.bucket);
            let bytes = if tamper == "shorten" { &b"PAR1"[..] } else { &[0x5a; 4096][..] };
            if tamper == "abort" {
                let abort = client.abort_multipart_upload().bucket(bucket).key(&key);
                abort.upload_id(upload).send().await?;
            } else {
                let part = client.upload_part().bucket(bucket).key(&key).upload_id(upload);
                // with another checksum than that of the upload the store would refuse it
                let part = part.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
                part.part_number(1).body(ByteStream::from_static(bytes)).send().await?;
            }
            gate.open();
            let output = run.ended(RUN).await?;
            refused(&output, 75, "RecordMismatch").context(tamper)?;
            let item = bench.item().await?;
            ensure!(
                item["state"] == "failed" && item["pendingWindow"].is_object(),
                "{tamper}: {item}"
            );
            ensure!(bench.files().await?.is_empty(), "{tamper}: a file was published");
        }
        bench.s3.heal();
        bench.publishes().await?;
        bench.whole().await?;

        // the same after the decision, where only the store still checks
        bench.grow(10).await?;
        bench.s3.on("CompleteMultipartUpload", Calls::Every, Fault::Answer(400, "InvalidPart"));
        refused(&bench.run().await?, 10, "CommitStuck")?;
        let sent = bench.s3.asked("CompleteMultipartUpload").len();
        ensure!(sent == 2, "completed {} times", sent - 1);
        Ok(())
    })
}

#[test]
fn t40_a_refusal_that_only_a_person_can_lift_is_reported_at_the_first_attempt() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t40", "FE", 1000, 1).await?;
        let cases = [
            ("UploadPart", 403, "AccessDenied", "StorageDenied"),
            ("CreateMultipartUpload", 404, "NoSuchBucket", "BucketNotFound"),
            ("GetObject", 301, "PermanentRedirect", "BucketNotFound"),
            ("GetObject", 400, "AuthorizationHeaderMalformed", "BucketNotFound"),
            ("GetObject", 400, "ExpiredToken", "StorageDenied"),
        ];
        for (operation, status, code, reason) in cases {
            bench.s3.heal();
            bench.s3.on(operation, Calls::Every, Fault::Answer(status, code));
            let before = bench.s3.asked(operation).len();
            refused(&bench.run().await?, 10, reason).context(code)?;
            let sent = bench.s3.asked(operation).len() - before;
            ensure!(sent == 1, "{code}: {sent} attempts");
            ensure!(bench.source.open_uploads().await? == 0, "{code}: an upload is open");
        }
        bench.s3.heal();
        bench.dynamodb.on(
            "TransactWriteItems",
            Calls::From(2),
            Fault::Answer(400, "AccessDeniedException"),
        );
        let before = bench.dynamodb.asked("TransactWriteItems").len();
        refused(&bench.run().await?, 10, "TrackingDenied")?;
        // CLAIM held; PIN was refused, and so was FAIL
        let sent = bench.dynamodb.asked("TransactWriteItems").len() - before;
        ensure!(sent == 3, "{sent} writes");
        bench.dynamodb.heal();
        let said = printed(&bench.run().await?)?;
        ensure!(said["rows"] == 1000, "{said}");
        bench.whole().await
    })
}

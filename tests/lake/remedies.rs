//! Following a remedy works: for each reason of docs/failures.md whose remedy is a change of the manifest, a run
//! is refused, the remedy that it printed is followed, and the next run publishes.

mod cases;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use crds::ConditionReason;
use futures::{StreamExt as _, stream};
use harness::{Access, Pooler, SourceFixture, TestEnv};
use serde_json::{Value, json};

use self::cases::{Between, Case, Engines, cases};
use crate::{changed, sql};

/// Where the remedy of a reason is followed.
enum Remedy {
    /// In the manifest: [`cases`] has at least one.
    Manifest,
    /// Elsewhere, and where.
    Elsewhere(&'static str),
}

use Remedy::{Elsewhere, Manifest};

/// Cases of one engine that are followed at the same time.
const AT_ONCE: usize = 6;

/// Every reason that docs/failures.md has.
const REASONS: [(&str, Remedy); 66] = [
    ("Succeeded", Elsewhere("nothing is to be done")),
    ("Planning", Elsewhere("nothing is to be done")),
    ("Extracting", Elsewhere("nothing is to be done")),
    ("Committing", Elsewhere("nothing is to be done")),
    ("SourceBusy", Elsewhere("the other run ends")),
    ("RetryPending", Elsewhere("the cause has a reason of its own")),
    ("Suspended", Elsewhere("a field of the cluster alone: the tests of life have it")),
    ("Deleting", Elsewhere("nothing is to be done")),
    ("InvalidSpec", Manifest),
    (
        "InvalidRequest",
        Elsewhere("an annotation: the tests of the watermark in the cluster have it"),
    ),
    ("ServiceAccountNotAllowed", Elsewhere("the ServiceAccount")),
    ("NewerRelease", Elsewhere("another release")),
    ("TrackingNotAllowed", Manifest),
    ("TrackingTableNotFound", Manifest),
    ("TrackingDenied", Elsewhere("rights of AWS")),
    ("TrackingUnreachable", Manifest),
    ("TrackingUnreadable", Elsewhere("the item")),
    ("TrackingChanged", Elsewhere("the chart's values")),
    ("TrackingLost", Manifest),
    ("WatermarkColumnChanged", Manifest),
    ("WatermarkRegressed", Manifest),
    ("Unguarded", Manifest),
    ("WatermarkMoved", Elsewhere("the other writer")),
    ("CredentialsMissing", Elsewhere("the Secret")),
    ("CredentialsUnreachable", Elsewhere("AWS Secrets Manager")),
    ("CredentialsRejected", Elsewhere("the Secret")),
    ("DatabaseUnreachable", Manifest),
    (
        "TlsFailed",
        Elsewhere("the authority's Secret, or the certificate: the tests of log-ins have it"),
    ),
    ("PoolerUnsupported", Manifest),
    ("DatabaseNotFound", Manifest),
    ("TableNotFound", Manifest),
    ("TableChanged", Manifest),
    ("SettingRefused", Elsewhere("the server's settings")),
    ("QueryFailed", Elsewhere("the view or function")),
    ("ColumnNotFound", Manifest),
    ("DatabaseDenied", Elsewhere("rights of the database")),
    ("ColumnTypeUnsupported", Manifest),
    ("SchemaChanged", Manifest),
    ("LossyColumn", Manifest),
    ("NullWatermarkRows", Manifest),
    ("NonFiniteValue", Manifest),
    ("DatabaseFailed", Elsewhere("the database")),
    ("SnapshotUnavailable", Manifest),
    ("SnapshotLost", Elsewhere("the database, or a pooler")),
    ("DecodeFailed", Manifest),
    ("RowCountMismatch", Elsewhere("a defect")),
    ("StorageUnreachable", Manifest),
    ("BucketNotFound", Elsewhere("the bucket; output.region needs a store with regions")),
    ("NotEncrypted", Elsewhere("a key of KMS")),
    ("StorageDenied", Elsewhere("rights of S3")),
    ("StorageFailed", Elsewhere("S3")),
    ("PrefixTaken", Manifest),
    ("UriChanged", Manifest),
    ("CommitStuck", Elsewhere("a command, by a person")),
    ("Reverted", Elsewhere("an annotation")),
    ("ManifestMissing", Manifest),
    ("NotStuck", Elsewhere("a command")),
    ("RevisionChanged", Elsewhere("a command")),
    ("OutputFailed", Elsewhere("the disk")),
    ("VerifyFailed", Manifest),
    ("Fenced", Elsewhere("nothing is to be done")),
    ("DeadlineExceeded", Manifest),
    ("Stopped", Elsewhere("nothing is to be done")),
    ("PodNotStarted", Elsewhere("the cluster")),
    ("PodLost", Elsewhere("the cluster")),
    ("ExtractNotStarted", Elsewhere("the cluster")),
];

/// Reasons that only the cluster has, in addition to the above and those of single conditions.
const OF_THE_CLUSTER: [&str; 7] = [
    "RecordMissing",
    "RecordMismatch",
    "RecoveryFailed",
    "ForeignJob",
    "Internal",
    "CleanupFailed",
    "RequestFailed",
];

#[test]
fn every_documented_reason_names_the_test_of_its_remedy() {
    let documented: BTreeSet<&str> = include_str!("../../docs/failures.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(reason, _)| reason))
        .collect();
    let known: BTreeSet<&str> = REASONS
        .iter()
        .map(|(reason, _)| *reason)
        .chain(OF_THE_CLUSTER)
        .chain(ConditionReason::ALL.iter().map(|reason| reason.name()))
        .collect();
    let new: Vec<_> = documented.difference(&known).collect();
    assert!(new.is_empty(), "say in REASONS where the remedy of these is followed: {new:?}");
    let gone: Vec<_> = known.difference(&documented).collect();
    assert!(gone.is_empty(), "docs/failures.md has no such reasons: {gone:?}");
    let tried: BTreeSet<&str> = cases().iter().map(|case| case.reason).collect();
    for (reason, remedy) in &REASONS {
        match remedy {
            // a test of its own: `consistency::relations` follows the second
            Manifest if ["PoolerUnsupported", "TableChanged"].contains(reason) => {}
            Manifest => assert!(tried.contains(reason), "{reason} has no case"),
            Elsewhere(place) => {
                assert!(!tried.contains(reason) && !place.is_empty(), "{reason} has a case");
            }
        }
    }
}

/// What the places in a manifest's texts stand for; numbers go without their quotes.
fn named(value: &Value, source: &SourceFixture, table: &str) -> Value {
    let port =
        if source.engine == "mysql" { TestEnv::MARIADB_PORT } else { TestEnv::POSTGRES_PORT };
    let text = value
        .to_string()
        .replace("{t}", table)
        .replace("{bucket}", &source.bucket)
        .replace("{database}", &source.database)
        .replace("{tracking}", &source.table)
        .replace("{s3}", TestEnv::S3)
        .replace("{dynamodb}", TestEnv::DYNAMODB)
        .replace("\"{port}\"", &port.to_string());
    serde_json::from_str(&text).unwrap_or_default()
}

/// What is done to the stores.
async fn meddle(source: &SourceFixture, key: &str, between: &Between, run: &Value) -> Result<()> {
    match between {
        Between::Sql(statement) => {
            sql(source, &statement.replace("{t}", key)).await?;
        }
        Between::LegacyItemLost => {
            let name = aws_sdk_dynamodb::types::AttributeValue::S(source.key(key));
            let client = source.env.dynamodb();
            client.delete_item().table_name(&source.table).key("source", name).send().await?;
        }
        Between::ObjectLost(part) => {
            let run = run["run"].as_str().context("run")?;
            let keys = source.env.keys(&source.bucket, &format!("{key}/")).await?;
            let found = keys.iter().find(|found| found.contains(run) && found.contains(part));
            let client = source.env.s3(Access::Admin);
            client
                .delete_object()
                .bucket(&source.bucket)
                .key(found.context("an object")?)
                .send()
                .await?;
        }
    }
    Ok(())
}

async fn follow(source: &SourceFixture, number: usize, case: &Case) -> Result<()> {
    let key = format!("c{number}");
    sql(source, &case.setup.replace("{t}", &key)).await?;
    let mut base = source.job(&key, "PE");
    base["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
    let base = changed(&base, &named(&case.base, source, &key));
    if let Some(earlier) = &case.earlier {
        let published = source.run(&changed(&base, &named(earlier, source, &key))).await?;
        for between in &case.between {
            meddle(source, &key, between, &published).await?;
        }
    }
    let wrong = changed(&base, &named(&case.wrong, source, &key));
    let mut refused = source.command(case.command, &wrong)?;
    // a store that does not answer is tried as often as ever, with shorter pauses
    refused.env("TIDEMARK_RETRY_MS", "20");
    let output = source.env.output(refused, "", crate::PLAN * 3).await?;
    // a run without a guard is published: its reason is in status alone
    let unguarded = case.reason == "Unguarded";
    let words = [if unguarded { "no guard" } else { case.reason }, case.remedy.0];
    let told = crate::unquoted(&format!("{}{}", output.stdout, output.stderr));
    ensure!(words.iter().all(|words| told.contains(words)), "no {words:?} in {told}");
    ensure!((output.code == Some(0)) == unguarded, "{:?}", output.code);
    let right = changed(&wrong, &named(&case.remedy.1, source, &key));
    let run =
        source.run(&right).await.with_context(|| format!("{} was followed", case.remedy.0))?;
    ensure!(run["window"]["guard"] != "unguarded" || !unguarded, "{run}");
    if let Some(rows) = case.rows {
        ensure!(run["rows"] == rows, "{run}");
    }
    source.verify(&right).await.map(|_| ())
}

async fn follow_all(source: &SourceFixture, engine: Engines) -> Result<()> {
    let cases = cases();
    let of_engine = |case: &Case| case.engines == Engines::Both || case.engines == engine;
    // each has a table, a key and a prefix of its own
    let ours = cases.iter().enumerate().filter(|(_, case)| of_engine(case));
    let failed: Vec<String> = stream::iter(ours)
        .map(async |(number, case)| {
            let failed = follow(source, number, case).await.err();
            failed.map(|error| format!("{} ({}): {error:#}", case.reason, case.remedy.0))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failed| failed)
        .collect()
        .await;
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

#[test]
fn documented_remedies_work_with_postgres() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "remedy").await?;
        follow_all(&source, Engines::Postgres).await?;
        // a pooler is a server of the test's own
        let pooler = Pooler::start(env, "transaction", 5, &[]).await?;
        env.psql(&source.database, "create table pooled (id int); insert into pooled values (1)")
            .await?;
        let mut job = source.job("public.pooled", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        let wrong = changed(&job, &json!({ "source": { "port": pooler.port } }));
        crate::refused(&source, &wrong, &["PoolerUnsupported", "source.host"]).await?;
        ensure!(source.run(&job).await?["rows"] == 1, "the remedy was followed");
        Ok(())
    })
}

#[test]
fn documented_remedies_work_with_mariadb() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        follow_all(&SourceFixture::mariadb(env, "remedy").await?, Engines::Mariadb).await
    })
}

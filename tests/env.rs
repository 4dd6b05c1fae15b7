//! The test environment keeps the promises that the product's tests rest on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use harness::{Access, TestEnv, unique, wait_until};
use serde_json::json;

/// A pod starts under the restricted standard, finds the servers by name, and ends.
#[test]
fn a_restricted_job_reaches_the_servers_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let namespace = env.namespace("smoke").await?;
        let containers: Vec<_> = ["postgres.test:5432", "s3.test:8333", "dynamodb.test:8000"]
            .iter()
            .map(|server| {
                json!({
                    "name": server.split('.').next(),
                    "image": "localhost/tidemark-pause:1",
                    "imagePullPolicy": "Never",
                    "args": ["dial", server],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                })
            })
            .collect();
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": "dial" },
            "spec": { "backoffLimit": 0, "template": { "spec": {
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": true,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": containers,
            }}},
        });
        env.kubectl_with(&["-n", &namespace, "create", "-f", "-"], &job.to_string()).await?;
        let done = wait_until("the Job", Duration::from_mins(1), async || {
            let job = env.get(&namespace, &["job", "dial"]).await?;
            ensure!(job["status"]["succeeded"] == 1, "status {}", job["status"]);
            Ok(())
        })
        .await;
        if let Err(error) = done {
            return Err(error.context(env.describe(&namespace).await));
        }
        let log = env.kubectl(&["-n", &namespace, "logs", "job/dial", "-c", "postgres"]).await?;
        ensure!(log.contains("connected to 198.18.0.1:5432"), "log: {log}");
        Ok(())
    })
}

/// A pod that wants more than the restricted standard gives is refused.
#[test]
fn a_privileged_pod_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let namespace = env.namespace("smoke").await?;
        let run = ["-n", &namespace, "run", "root", "--image=localhost/tidemark-pause:1"];
        let refusal = env.kubectl(&run).await.unwrap_err();
        ensure!(format!("{refusal:#}").contains("violates PodSecurity"), "{refusal:#}");
        Ok(())
    })
}

/// `If-None-Match: *` lets one writer win; a reader's key may not write at all.
#[test]
fn conditional_puts_have_one_winner() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let bucket = env.bucket("smoke").await?;
        let put = |access| {
            let put = env.s3(access).put_object().bucket(&bucket).key("plan.json");
            put.if_none_match("*").body(b"{}".to_vec().into()).send()
        };
        let refused = put(Access::Reader).await.unwrap_err();
        ensure!(refused.raw_response().unwrap().status().as_u16() == 403, "{refused:?}");
        put(Access::Admin).await?;
        let second = put(Access::Admin).await.unwrap_err();
        ensure!(second.raw_response().unwrap().status().as_u16() == 412, "{second:?}");
        ensure!(env.keys(&bucket, "").await? == ["plan.json"]);
        ensure!(env.object(&bucket, "plan.json").await? == b"{}");
        Ok(())
    })
}

/// A late complete must not bring back a file that was deleted after the first complete.
#[test]
fn complete_after_delete_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (s3, bucket, key) = (env.s3(Access::Admin), env.bucket("smoke").await?, "a.parquet");
        let upload = s3.create_multipart_upload().bucket(&bucket).key(key).send().await?;
        let id = upload.upload_id().context("upload id")?;
        let part = s3.upload_part().bucket(&bucket).key(key).upload_id(id).part_number(1);
        let part = part.body(b"rows".to_vec().into()).send().await?;
        ensure!(env.keys(&bucket, "").await?.is_empty(), "an open upload is listed");
        let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = || {
            let complete = s3.complete_multipart_upload().bucket(&bucket).key(key).upload_id(id);
            complete.multipart_upload(parts.clone()).send()
        };
        complete().await?;
        complete().await.context("complete again")?;
        s3.delete_object().bucket(&bucket).key(key).send().await?;
        let zombie = complete().await.unwrap_err();
        ensure!(zombie.code() == Some("NoSuchUpload"), "{zombie:?}");
        ensure!(env.keys(&bucket, "").await?.is_empty(), "the file is back");
        Ok(())
    })
}

/// Of writers that race with one condition in a transaction, one wins, and all of its items are there.
#[test]
fn racing_transactions_have_one_winner() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let table = env.table("smoke").await?;
        let client = env.dynamodb();
        for round in 0..10 {
            let race = (0..8).map(|writer| {
                let item = |key: String| {
                    let put = Put::builder()
                        .table_name(&table)
                        .item("source", AttributeValue::S(key))
                        .item("writer", AttributeValue::N(writer.to_string()))
                        .condition_expression("attribute_not_exists(#s)")
                        .expression_attribute_names("#s", "source");
                    TransactWriteItem::builder().put(put.build().unwrap()).build()
                };
                let transaction = client
                    .transact_write_items()
                    .transact_items(item(format!("{round}")))
                    .transact_items(item(format!("{round}#tidemark")));
                tokio::spawn(async move { (writer, transaction.send().await.is_ok()) })
            });
            let mut winners = Vec::new();
            for writer in race.collect::<Vec<_>>() {
                let (writer, won) = writer.await?;
                winners.extend(won.then_some(writer));
            }
            ensure!(winners.len() == 1, "round {round}: won by {winners:?}");
            for key in [format!("{round}"), format!("{round}#tidemark")] {
                let item = env.item(&table, &key).await?.context("item of the winner")?;
                ensure!(item == json!({ "source": key, "writer": winners[0] }), "{item}");
            }
        }
        Ok(())
    })
}

/// Postgres proves who it is, and talks to nobody in the clear.
#[test]
fn postgres_speaks_verified_tls_only() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let database = env.database("smoke").await?;
        let tls = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
        ensure!(env.psql(&database, tls).await? == "t|TLSv1.3");
        ensure!(env.psql(&database, "show wal_level").await? == "logical");
        ensure!(env.psql(&database, "show max_prepared_transactions").await? == "10");
        let mut plain = env.command("psql");
        let url = env.postgres_url(&database).replace("sslmode=verify-full", "sslmode=disable");
        plain.args(["-d", &url, "-c", "select 1"]);
        let refused = env.succeed(plain, "").await.unwrap_err();
        ensure!(format!("{refused:#}").contains("no encryption"), "{refused:#}");
        let wrong = env.psql(&database, "select broken").await.unwrap_err();
        ensure!(format!("{wrong:#}").contains("column \"broken\" does not exist"), "{wrong:#}");
        Ok(())
    })
}

/// A wait that fails says what it waited for and what it saw last.
#[test]
fn a_wait_reports_the_last_observation() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut looks = 0;
        let wait = wait_until("the tide", Duration::from_millis(350), async || {
            looks += 1;
            anyhow::bail!("low at look {looks}");
            #[expect(unreachable_code, reason = "gives the closure its type")]
            Ok(())
        });
        let error = format!("{:#}", wait.await.unwrap_err());
        ensure!(error.contains("the tide") && error.contains("low at look"), "{error}");
        ensure!(looks > 1, "looked {looks} times");
        Ok(())
    })
}

/// Both independent readers see files that a test put on S3, folder names included.
#[test]
fn parquet_is_read_back() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let bucket = env.bucket("smoke").await?;
        let file = std::env::temp_dir().join(unique("rows"));
        let mut write = env.command(env.state.join("venv/bin/python"));
        let code = "import duckdb, sys; duckdb.sql(\"copy (select 7 as id, 'ä' as name, \
                    timestamp '2023-01-31 10:00:00.5' as at) to '\" + sys.argv[1] + \"' \
                    (format parquet, compression zstd)\")";
        write.args(["-c", code]).arg(&file);
        env.succeed(write, "").await?;
        let bytes = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        let key = "orders/extract_run=1/day=2023-01-31/part-0.parquet";
        let put = env.s3(Access::Admin).put_object().bucket(&bucket).key(key);
        put.body(bytes.into()).send().await?;
        let rows = env.read_parquet(&bucket, "orders/extract_run=1/", "select * from t").await?;
        ensure!(rows == [json!({ "id": 7, "name": "ä", "at": "2023-01-31 10:00:00.500000" })]);
        let days = env.read_parquet(&bucket, "orders", "select day from h").await?;
        ensure!(days == [json!({ "day": "2023-01-31" })], "{days:?}");
        let files = env.parquet_files(&bucket, "orders/extract_run=1/").await?;
        let [file] = files.as_slice() else { panic!("{files:?}") };
        ensure!(file.name == "day=2023-01-31/part-0.parquet" && file.rows == 1, "{file:?}");
        ensure!(file.codecs == ["ZSTD"] && file.schema["at"] == "timestamp[us]", "{file:?}");
        Ok(())
    })
}

/// The images of the product, built from the binaries of this workspace, are there for pods.
#[test]
fn images_are_imported() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        env.load_images().await?;
        let socket = env.state.join("containerd.sock");
        let mut list = env.command("ctr");
        list.arg("-a").arg(&socket).args(["-n", "k8s.io", "images", "ls", "-q"]);
        let images = env.succeed(list, "").await?;
        for image in ["localhost/tidemark-operator:dev", "localhost/tidemark:dev"] {
            ensure!(images.lines().any(|line| line == image), "{image} is not among: {images}");
        }
        env.load_images().await.context("load them again")
    })
}

/// The Dockerfile copies the binaries that cargo builds. Only the release profile strips them.
#[test]
fn release_binaries_of_the_images_have_no_symbols() -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(harness::tests_dir().join("..").join(name));
    let (dockerfile, manifest) = (read("Dockerfile")?, read("Cargo.toml")?);
    ensure!(dockerfile.contains("cargo build --release --locked"), "{dockerfile}");
    let profile = manifest.split("[profile.release]").nth(1).context("[profile.release]")?;
    let profile = profile.split("\n[").next().unwrap_or_default();
    ensure!(profile.lines().any(|line| line == "strip = \"symbols\""), "{profile}");
    Ok(())
}

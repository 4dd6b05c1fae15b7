//! In: a manifest. Out: what `tidemark verify` found about its source. Bound: one chain, 16 files
//! at a time, the footer of each. Fails: what reading fails with; `VerifyFailed` with findings.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use crds::tracking::{LegacyItem, RunItem, run_key};
use crds::{Reason, Task};
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::json;
use worker_core::error::Failure;
use worker_core::manifests::{Manifest, Pointer};
use worker_core::plan::{self, Plan};
use worker_core::verify::{FileFacts, Found, Recount, RunFacts, verify as check};

use crate::control::Control;
use crate::database::Database;
use crate::dry_run::print;
use crate::durations::Durations;
use crate::ending::Session;
use crate::run::{listen, local_stores, local_task, local_world};
use crate::sessions::Login;
use crate::settings::Local;
use crate::tracking::TrackingTable;

/// Files looked at at a time.
const FILES_AT_ONCE: usize = 16;
/// Bytes of a file's end that are read first; a footer is seldom longer.
const FOOTER_BYTES: u64 = 64 << 10;

/// Re-checks what the source of a manifest has published, file by file, and where `recount` is set
/// against the source itself.
///
/// # Errors
/// As the module says.
pub async fn verify(local: &Local, recount: bool, durations: Durations) -> Result<String, Failure> {
    let task = local_task(local)?;
    // the database is not asked for, nor logged in to, unless it is to be counted in
    let (stores, login) = if recount {
        let (stores, login) = local_world(local, &task, durations).await?;
        (stores, Some(login))
    } else {
        (local_stores(&task, durations).await?, None)
    };
    let table = TrackingTable::new(stores.dynamodb, task.tracking.table.clone());
    let control = Control::new(stores.s3, &task.spec.output.uri)?;
    let mut found = look(&table, &control, &task.tracking.key).await?;
    // what a run left that died a moment ago is not a contradiction yet
    let before = jiff::Timestamp::now().as_second() - durations.grace_seconds;
    found.uploading.retain(|run| run.began().is_none_or(|began| began < before));
    if let Some(login) = login {
        found.recounts = recounts(&control, &login, &task, &found.chain).await?;
    }
    let findings = check(&found);
    let chain = found.chain.iter().filter_map(|facts| facts.manifest.as_ref());
    let (runs, rows) = chain.fold((0_u64, 0), |(runs, rows), run| (runs + 1, rows + run.rows));
    let mut said = json!({
        "source": task.tracking.key, "runs": runs, "rows": rows, "files": found.files.len(),
        "watermark": found.legacy.as_ref().and_then(|legacy| legacy.lwm_value.clone()),
        "state": found.run.as_ref().map(|run| run.state), "findings": findings,
    });
    if recount {
        said["recounts"] = json!(found.recounts);
    }
    print(&said.to_string())?;
    if findings.is_empty() {
        return Ok(format!("{runs} runs, {rows} rows: all as recorded"));
    }
    Err(Failure::permanent(
        Reason::VerifyFailed,
        format!("{} contradictions between tracking table and prefix", findings.len()),
        "read the findings; restore objects from a version of the bucket, or reingest",
    ))
}

async fn look(table: &TrackingTable, control: &Control, key: &str) -> Result<Found, Failure> {
    let run: Option<RunItem> = table.read(&run_key(key)).await?;
    let legacy: Option<LegacyItem> = table.read(key).await?;
    let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
    let pointer = pointer.map(|(pointer, _)| pointer);
    let uri = control.prefix.uri();
    let head = run.as_ref().and_then(|run| run.head.as_ref()).filter(|head| head.uri == uri);
    let mut next = head.map(|head| head.run).or(pointer.as_ref().map(|pointer| pointer.run));
    let (mut chain, mut walked) = (Vec::new(), BTreeSet::new());
    while let Some(id) = next.filter(|id| walked.insert(*id)) {
        let manifest: Option<(Manifest, String)> =
            control.read(&control.prefix.manifest(id)).await?;
        let manifest = manifest.map(|(manifest, _)| manifest);
        next = manifest.as_ref().and_then(|manifest| manifest.parent);
        let plan_hash =
            control.bytes(&control.prefix.plan(id)).await?.map(|(body, _)| plan::hash(&body));
        let records = control.records(&control.recorded(id).await?).await?;
        chain.push(RunFacts { run: id, manifest, plan_hash, records });
    }
    // the walk ended at a run that it had passed
    let ring = next;
    let retained = retained(control, run.as_ref()).await?;
    let files = files(control).await?;
    let uploading = control.uploading().await?;
    let recounts = Vec::new();
    Ok(Found { run, legacy, pointer, chain, ring, retained, files, uploading, recounts })
}

/// Counts the rows of each window of a chain, all in one snapshot of the source.
async fn recounts(
    control: &Control,
    login: &Login,
    task: &Task,
    chain: &[RunFacts],
) -> Result<Vec<Recount>, Failure> {
    let stop = listen(task)?;
    let mut database = Database::connect(login, "tidemark/verify").await?;
    let backend = database.backend().await?;
    let mut session = Session::new(database, login, backend);
    let counted = tokio::select! {
        counted = count(control, &mut session.database, chain) => counted,
        () = stop.stopped() => Err(stop.failure()),
    };
    if counted.is_ok() {
        session.commit().await;
    } else {
        session.interrupt().await;
    }
    counted
}

async fn count(
    control: &Control,
    database: &mut Database,
    chain: &[RunFacts],
) -> Result<Vec<Recount>, Failure> {
    database.begin_snapshot().await?;
    let mut recounts = Vec::new();
    for facts in chain {
        let Some(manifest) = &facts.manifest else { continue };
        let found: Option<(Plan, String)> = control.read(&control.prefix.plan(facts.run)).await?;
        let Some((plan, _)) = found.filter(|(plan, _)| !plan.window.empty) else { continue };
        let source = database.count(&plan).await?;
        recounts.push(Recount { run: facts.run, published: manifest.rows, source });
    }
    Ok(recounts)
}

/// Manifests of runs whose removal is put off.
async fn retained(control: &Control, run: Option<&RunItem>) -> Result<Vec<Manifest>, Failure> {
    let todo = run.and_then(|run| run.todo.as_ref());
    let removal = todo.and_then(|todo| todo.removal_at(&control.prefix.uri()));
    let Some(removal) = removal else { return Ok(Vec::new()) };
    let manifest = control.prefix.manifest(removal.run);
    let pending: Option<(Manifest, String)> = control.read(&manifest).await?;
    let mut retained = Vec::new();
    for run in pending.into_iter().flat_map(|(manifest, _)| manifest.replaces) {
        let found: Option<(Manifest, String)> = control.read(&control.prefix.manifest(run)).await?;
        retained.extend(found.map(|(manifest, _)| manifest));
    }
    Ok(retained)
}

/// Every data file under the prefix, by key.
async fn files(control: &Control) -> Result<BTreeMap<String, FileFacts>, Failure> {
    let keys = control.keys(&control.prefix.root()).await?;
    let root = control.prefix.control_root();
    stream::iter(keys.into_iter().filter(|key| !key.starts_with(&root)))
        .map(|key| async move {
            let facts = facts(control, &key).await?;
            Ok((key, facts))
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect()
        .await
}

async fn facts(control: &Control, key: &str) -> Result<FileFacts, Failure> {
    let (bytes, token, etag) = control.head(key).await?;
    let mut wanted = FOOTER_BYTES.min(bytes);
    loop {
        let tail: Bytes = control.tail(key, bytes - wanted).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, bytes) {
            Ok(()) => {
                let rows = reader.finish().ok().map(|found| found.file_metadata().num_rows());
                let rows = rows.and_then(|rows| u64::try_from(rows).ok());
                return Ok(FileFacts { bytes, token, etag, rows });
            }
            Err(ParquetError::NeedMoreData(more)) if (more as u64) > wanted && wanted < bytes => {
                wanted = (more as u64).min(bytes);
            }
            Err(_) => return Ok(FileFacts { bytes, token, etag, rows: None }),
        }
    }
}

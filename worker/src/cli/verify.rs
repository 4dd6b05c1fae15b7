//! In: a manifest. Out: the findings of `tidemark verify` about its source. Bound: one chain, 16 files at a time, the
//! footer of each, a few records. File entries are read one by one. Fails: as the reads fail, and `VerifyFailed` if
//! there are findings.

use std::collections::BTreeSet;
use std::pin::pin;

use bytes::Bytes;
use crds::tracking::{ObjectStore, RunItem, WatermarkItem, run_key};
use crds::{Reason, RunId, Task};
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::json;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{ManifestFile, Pointer};
use worker_core::layout::verify::{FileFacts, Recount, Supplement, Verifier};
use worker_core::planning::plan::{self, Plan};
use worker_core::sql::rows::mysql_statements::planning_seconds;

use crate::cli::errors::CommandError;
use crate::cli::local::{listen, local_context, local_stores};
use crate::cli::manifest::task_in;
use crate::cli::settings::Verify;
use crate::cli::terminal::print;
use crate::publishing::durations::Durations;
use crate::source::backend::Progress;
use crate::source::database::Database;
use crate::source::ending::Session;
use crate::source::login::Login;
use crate::source::watch;
use crate::stores::control::Control;
use crate::stores::tracking::TrackingTable;

/// Number of files that are checked at the same time.
const FILES_AT_ONCE: usize = 16;
/// Bytes at the end of a file that are read first. A footer is seldom longer.
const FOOTER_BYTES: u64 = 64 << 10;

/// Checks the published files of a source, and with `--recount` also counts their rows in the database.
///
/// # Errors
/// As the module says.
pub async fn verify(wanted: &Verify, durations: Durations) -> Result<String, CommandError> {
    let (task, recount) = (task_in(&wanted.manifest)?, wanted.recount);
    // without --recount, no credentials are needed and no connection is opened
    let (stores, login) = if recount {
        let (stores, login) = local_context(&wanted.database, &task, durations).await?;
        (stores, Some(login))
    } else {
        (local_stores(&task, durations).await?, None)
    };
    let table = TrackingTable::new(stores.dynamodb, task.tracking.table.clone());
    let control = Control::new(stores.s3, &task.spec.output.uri)?;
    let run: Option<RunItem> = table.read(&run_key(&task.tracking.key)).await?;
    let watermark_item: Option<WatermarkItem> = table.read(&task.tracking.key).await?;
    let watermark =
        watermark_item.as_ref().and_then(|watermark_item| watermark_item.lwm_value.clone());
    let state = run.as_ref().map(|run| run.state);
    let store = ObjectStore::of(&task.spec.output);
    let (verifier, mut supplement) = look(&control, &store, run, watermark_item).await?;
    // uploads of a run that was killed a moment ago are not a contradiction yet
    let before = jiff::Timestamp::now().as_second() - durations.grace_seconds;
    supplement.uploading.retain(|run| run.began().is_none_or(|began| began < before));
    let chain: Vec<(RunId, u64, Option<String>)> = verifier.published().collect();
    if let Some(login) = login {
        supplement.recounts = recounts(&control, &login, &task, &chain).await?;
    }
    let (runs, rows) = (chain.len(), chain.iter().map(|(_, rows, _)| rows).sum::<u64>());
    let files = verifier.keys();
    let findings = verifier.finish(&supplement);
    let mut said = json!({
        "source": task.tracking.key, "runs": runs, "rows": rows, "files": files,
        "watermark": watermark, "state": state, "findings": findings.kept,
    });
    if findings.more > 0 {
        said["moreFindings"] = json!(findings.more);
    }
    if recount {
        said["recounts"] = json!(supplement.recounts);
    }
    print(&said.to_string())?;
    if findings.count() == 0 {
        return Ok(format!("checked {runs} runs with {rows} rows: no contradictions"));
    }
    Err(Failure::permanent(
        Reason::VerifyFailed,
        format!("{} contradictions between tracking table and prefix", findings.count()),
        "Read the findings on standard output. Restore objects from a version of the bucket, or reingest.",
    )
    .into())
}

/// Checks everything under the prefix, one object at a time.
async fn look(
    control: &Control,
    store: &ObjectStore,
    run: Option<RunItem>,
    watermark_item: Option<WatermarkItem>,
) -> Result<(Verifier, Supplement), Failure> {
    let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
    let pointer = pointer.map(|(pointer, _)| pointer);
    let uri = control.prefix.uri();
    let head = run.as_ref().and_then(|run| run.head.as_ref()).filter(|head| head.uri == uri);
    let mut next = head.map(|head| head.run).or(pointer.as_ref().map(|pointer| pointer.run));
    let pending_cleanup = run.as_ref().and_then(|run| run.pending_cleanup.as_ref());
    let removal = pending_cleanup
        .and_then(|pending_cleanup| pending_cleanup.retained_at(&uri, store))
        .map(|removal| removal.run);
    let mut verifier = Verifier::new(run, watermark_item, pointer);
    let mut walked = BTreeSet::new();
    while let Some(id) = next.filter(|id| walked.insert(*id)) {
        next = one_run(control, &mut verifier, id).await?;
    }
    // the parents form a ring: the walk ended at a run that it had read before
    let ring = next;
    if let Some(of) = removal {
        retained(control, &mut verifier, of).await?;
    }
    let root = control.prefix.control_root();
    let data = |key: &str| {
        if !key.starts_with(&root) {
            verifier.listed(key);
        }
    };
    control.each_key(&control.prefix.root(), data).await?;
    let uploading = control.uploading().await?;
    Ok((verifier, Supplement { ring, uploading, recounts: Vec::new() }))
}

/// Checks the manifest, the plan, the records and the files of a run. Returns its parent.
async fn one_run(
    control: &Control,
    verifier: &mut Verifier,
    run: RunId,
) -> Result<Option<RunId>, Failure> {
    let head = control.head_of(run).await?;
    let plan = control.bytes(&control.prefix.plan(run)).await?;
    let plan_hash = plan.map(|(body, _)| plan::hash(&body));
    verifier.begin(run, head.as_ref(), plan_hash.as_deref());
    let (keys, largest) = control.recorded(run).await?;
    let mut records = pin!(control.records(&keys, largest));
    while let Some(record) = records.next().await {
        verifier.record(&record?);
    }
    if let Some(files) = control.files_of::<ManifestFile>(run).await? {
        let files = files.map_ok(|file| async move {
            let facts = facts(control, &file.key).await?;
            Ok((file, facts))
        });
        let mut files = pin!(files.try_buffered(FILES_AT_ONCE));
        while let Some(found) = files.next().await {
            let (file, facts) = found?;
            verifier.file(&file, facts.as_ref());
        }
    }
    Ok(head.and_then(|head| head.parent))
}

/// Counts the rows of each window of a chain, in one snapshot of the database.
async fn recounts(
    control: &Control,
    login: &Login,
    task: &Task,
    chain: &[(RunId, u64, Option<String>)],
) -> Result<Vec<Recount>, Failure> {
    let stop = listen(task)?;
    let connecting = async {
        let mut database = Database::connect(login, "tidemark/verify").await?;
        database.limit(planning_seconds(task.spec.active_deadline_seconds)).await?;
        let backend = database.backend().await?;
        Ok(Session::new(database, login, backend))
    };
    let mut session = tokio::select! {
        session = Box::pin(connecting) => session?,
        () = stop.stopped() => return Err(stop.failure()),
    };
    let (backend, waiting) = (session.backend().clone(), Progress::waiting());
    let counted = tokio::select! {
        counted = count(control, &mut session.database, chain) => counted,
        failure = watch::lost(login, backend, &waiting) => Err(failure),
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
    chain: &[(RunId, u64, Option<String>)],
) -> Result<Vec<Recount>, Failure> {
    database.begin_snapshot().await?;
    let mut recounts = Vec::new();
    for (run, published, next) in chain {
        let (run, published) = (*run, *published);
        let found: Option<(Plan, String)> = control.read(&control.prefix.plan(run)).await?;
        let Some((mut plan, _)) = found.filter(|(plan, _)| !plan.window.empty) else { continue };
        if plan.window.high.is_some() && next.is_some() {
            plan.window.high.clone_from(next);
        }
        let source = database.count(&plan).await?;
        recounts.push(Recount { run, published, source });
    }
    Ok(recounts)
}

/// Adds the files of runs that `of` replaces and whose removal is postponed.
async fn retained(control: &Control, verifier: &mut Verifier, of: RunId) -> Result<(), Failure> {
    let pending = control.head_of(of).await?;
    for run in pending.into_iter().flat_map(|pending| pending.replaces) {
        let Some(files) = control.files_of::<ManifestFile>(run).await? else { continue };
        let mut files = pin!(files);
        while let Some(file) = files.next().await {
            verifier.retained(run, &file?.key);
        }
    }
    Ok(())
}

/// The size, the ETag and the rows of the object with this key, if there is one.
async fn facts(control: &Control, key: &str) -> Result<Option<FileFacts>, Failure> {
    let Some((bytes, token, etag)) = control.head(key).await? else { return Ok(None) };
    let mut wanted = FOOTER_BYTES.min(bytes);
    loop {
        let tail: Bytes = control.tail(key, bytes - wanted).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, bytes) {
            Ok(()) => {
                let rows = reader.finish().ok().map(|found| found.file_metadata().num_rows());
                let rows = rows.and_then(|rows| u64::try_from(rows).ok());
                return Ok(Some(FileFacts { bytes, token, etag, rows }));
            }
            Err(ParquetError::NeedMoreData(more)) if (more as u64) > wanted && wanted < bytes => {
                wanted = (more as u64).min(bytes);
            }
            Err(_) => return Ok(Some(FileFacts { bytes, token, etag, rows: None })),
        }
    }
}

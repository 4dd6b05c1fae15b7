//! The cleanup of abandoned runs: removes what they left once it is older than the grace.
//!
//! Runs are listed first, the run item and the pointer read after that: a run that is listed and not kept
//! by what is read later can never come to life again. Runs keep their plan to the last, since it
//! says whose they are.

use std::collections::BTreeSet;

use crds::RunId;

use super::acts::Orphan;
use super::acts::{Act, Ending};
use super::effects::Effect;
use super::observed::ObservedItems;
use super::phases::After;
use super::phases::{Phase, Process, Why};

/// Runs that one process removes at most: the rest is the next one's.
const RUNS_MAX: usize = 100;

pub(super) fn listed(process: Process, runs: Vec<RunId>, after: After) -> (Process, Act) {
    if runs.is_empty() { end(process, after) } else { process.read(Why::Orphans(runs, after)) }
}

/// Without the run item nothing is removed, because it is unknown which runs are in flight.
pub(super) fn observed(
    process: Process,
    observed: &ObservedItems,
    runs: Vec<RunId>,
    after: After,
) -> (Process, Act) {
    let Some(run) = &observed.run else { return end(process, after) };
    let uri = process.task().spec.output.uri.clone();
    let head = run.head.as_ref().filter(|head| head.uri == uri).map(|head| head.run);
    let pending_cleanup = run.pending_cleanup.as_ref();
    let removal = pending_cleanup
        .and_then(|pending_cleanup| pending_cleanup.retained_at(&uri, &process.store()));
    let pending = removal.map(|removal| removal.run);
    let runs: Vec<RunId> = runs.into_iter().filter(|listed| *listed != run.run).collect();
    process.go(Phase::Keeping(runs, after), Act::ReadKept { uri, head, pending })
}

pub(super) fn kept(
    process: Process,
    runs: Vec<RunId>,
    kept: Option<&BTreeSet<RunId>>,
    after: After,
) -> (Process, Act) {
    // another source, or one of the same key in another table: its runs are not ours to judge
    let Some(kept) = kept else { return end(process, after) };
    let dead = some(runs.into_iter().filter(|run| !kept.contains(run)).collect(), process.now);
    next(process, dead, after)
}

/// Reads what dead runs left.
pub(super) fn next(process: Process, runs: Vec<RunId>, after: After) -> (Process, Act) {
    if runs.is_empty() {
        return end(process, after);
    }
    let uri = process.task().spec.output.uri.clone();
    process.go(Phase::Finding(runs.clone(), after), Act::ReadOrphans { uri, runs })
}

/// As many as one process removes. Where there are more it begins now here, now there: folders without
/// a plan stay, and must not hold up for ever what comes after them.
fn some(mut dead: Vec<RunId>, now: i64) -> Vec<RunId> {
    if dead.len() > RUNS_MAX {
        let begin = usize::try_from(now).unwrap_or(0) % dead.len();
        dead.rotate_left(begin);
        dead.truncate(RUNS_MAX);
    }
    dead
}

/// Only what its plan says is this source's.
pub(super) fn found(
    process: Process,
    runs: Vec<RunId>,
    orphans: Vec<Orphan>,
    after: After,
) -> (Process, Act) {
    if orphans.is_empty() {
        return end(process, after);
    }
    let rest = runs.into_iter().skip(orphans.len()).collect();
    let uri = process.task().spec.output.uri.clone();
    let source = process.task().tracking.key.clone();
    let ours: Vec<Orphan> =
        orphans.into_iter().filter(|orphan| orphan.source.as_deref() == Some(&source)).collect();
    let mut effects = Vec::new();
    for orphan in &ours {
        effects.extend(orphan.uploads.iter().map(|(key, upload_id)| Effect::Abort {
            uri: uri.clone(),
            key: key.clone(),
            upload_id: upload_id.clone(),
        }));
        effects.extend(orphan.keys.iter().map(|key| delete(&uri, key.clone())));
    }
    let whole = ours.into_iter().filter(|orphan| !orphan.more);
    let plans: Vec<String> = whole.map(|orphan| orphan.plan).collect();
    if effects.is_empty() {
        return forget(process, plans, rest, after);
    }
    process.go(Phase::Sweeping(plans, rest, after), Act::Write(effects))
}

fn delete(uri: &str, key: String) -> Effect {
    Effect::Delete { uri: uri.to_owned(), store: None, key }
}

pub(super) fn forget(
    process: Process,
    plans: Vec<String>,
    rest: Vec<RunId>,
    after: After,
) -> (Process, Act) {
    if plans.is_empty() {
        return next(process, rest, after);
    }
    let uri = process.task().spec.output.uri.clone();
    let effects = plans.into_iter().map(|key| delete(&uri, key)).collect();
    process.go(Phase::Forgetting(rest, after), Act::Write(effects))
}

/// A sweep that fails is the next process's: what was to be done is done.
pub(super) fn end(process: Process, after: After) -> (Process, Act) {
    match after {
        After::Publish => process.published(),
        After::Recover => process.end(Ending::Recovered),
    }
}

//! After PUBLISH: moves the pointer, and removes what the run replaced.

use crds::tracking::{Removal, RunItem};
use crds::{Reason, RunId};

use super::acts::Act;
use super::effects::{Effect, Reply};
use super::enter::{other_store, read_cleanup};
use super::phases::{Cleanup, Phase, Process, Then};
use super::{removals, transitions};
use crate::errors::failure::Failure;
use crate::layout::body::to_body;
use crate::layout::manifests::Pointer;
use crate::layout::objects::Prefix;
use crate::planning::plan::CONTROL_VERSION;

/// The replaced files after those that were deleted.
pub(super) fn more(
    process: Process,
    run: RunItem,
    then: Then,
    after: Option<(RunId, String)>,
) -> (Process, Act) {
    let due = removals::due(&run, process.now, &process.store()).and_then(|due| due.removal);
    let Some(removal) = due else { return process.finish(then) };
    let act = read_cleanup(&process, removal, after);
    process.go(Phase::ReadingCleanup(Box::new(run), then, 0), act)
}

/// The pointer moves only up, and only as it was read.
pub(super) fn cleanup_read(
    process: Process,
    run: RunItem,
    cleanup: Cleanup,
    then: Then,
    tries: u32,
) -> (Process, Act) {
    let commit = cleanup.pointer.as_ref().map_or(0, |(pointer, _)| pointer.commit);
    let Some(head) = run.head.clone() else { return process.finish(then) };
    if removals::due(&run, process.now, &process.store()).is_some_and(|due| due.elsewhere) {
        return remove(process, run, &cleanup, then);
    }
    let Ok(prefix) = Prefix::parse(&head.uri) else { return remove(process, run, &cleanup, then) };
    if commit >= head.commit {
        return remove(process, run, &cleanup, then);
    }
    let pointer = Pointer {
        version: CONTROL_VERSION,
        source: run.source.trim_end_matches("#tidemark").to_owned(),
        run: head.run,
        commit: head.commit,
        manifest: prefix.manifest(head.run),
    };
    let effect = Effect::PutPointer {
        uri: head.uri,
        key: prefix.pointer(),
        body: to_body(&pointer),
        etag: cleanup.pointer.as_ref().map(|(_, etag)| etag.clone()),
    };
    let phase = Phase::Pointing(Box::new(run), Box::new(cleanup), then, tries);
    process.go(phase, Act::Write(vec![effect]))
}

/// Replaced files go only once the pointer is at or past the run that replaces them.
pub(super) fn remove(
    process: Process,
    run: RunItem,
    cleanup: &Cleanup,
    then: Then,
) -> (Process, Act) {
    let removal = removals::due(&run, process.now, &process.store()).and_then(|due| due.removal);
    let head = run.head.as_ref().map(|head| head.run);
    let effects: Vec<Effect> = removal
        .iter()
        .flat_map(|removal| cleanup.replaced.iter().map(move |replaced| (removal, replaced)))
        .filter(|(removal, (replaced, _))| *replaced != removal.run && Some(*replaced) != head)
        .map(|(removal, (_, key))| Effect::Delete {
            uri: removal.uri.clone(),
            store: other_store(&process, removal),
            key: key.clone(),
        })
        .collect();
    let after = cleanup.replaced.last().filter(|_| removal.is_some() && cleanup.more).cloned();
    if !effects.is_empty() {
        return process.go(Phase::Removing(Box::new(run), then, after), Act::Write(effects));
    }
    match after {
        Some(_) => more(process, run, then, after),
        None => record_cleanup(process, &run, then),
    }
}

/// Handles the deletion of one page of replaced files. Files that a lock protects stay.
pub(super) fn removed(
    process: Process,
    run: RunItem,
    then: Then,
    after: Option<(RunId, String)>,
    replies: &[Reply],
) -> (Process, Act) {
    let locked = [process.locked, Reply::locked(replies)].into_iter().flatten().max();
    let process = Process { locked, ..process };
    match after {
        Some(_) => more(process, run, then, after),
        None => record_cleanup(process, &run, then),
    }
}

/// Completes a removal. If a lock protects a file, the removal is retried when the last known lock ends.
pub(super) fn record_cleanup(process: Process, run: &RunItem, then: Then) -> (Process, Act) {
    let change = match process.locked {
        Some(until) => transitions::postponed(run, process.now, until, &process.store()),
        None => transitions::record_cleanup(run, process.now, &process.store()),
    };
    let process = Process { locked: None, ..process };
    process.track(Phase::RecordingCleanup(Box::new(change.item), then), change.transaction)
}

/// Whether the process may continue without the next removal: it is at an earlier URI or store, whose
/// bucket or permissions may be gone by now. Only recovery of the object that postponed it may not,
/// because no other process reports it.
pub(super) fn may_wait(process: &Process, run: &RunItem, then: Then) -> bool {
    let due = removals::due(run, process.now, &process.store()).filter(|due| due.elsewhere);
    let own = |removal: &Removal| removal.uid == process.task().owner.uid;
    due.and_then(|due| due.removal).is_some_and(|removal| then != Then::Recover || !own(&removal))
}

/// A removal at an earlier URI cannot be done now. Without the manifest it can never be
/// done, because only the manifest lists the replaced files.
pub(super) fn postponed(
    process: Process,
    run: &RunItem,
    then: Then,
    failure: &Failure,
) -> (Process, Act) {
    let process = Process { locked: None, ..process };
    if failure.report.reason == Reason::ManifestMissing {
        return record_cleanup(process, run, then);
    }
    let change = transitions::postponed(run, process.now, process.now, &process.store());
    process.track(Phase::RecordingCleanup(Box::new(change.item), then), change.transaction)
}

//! Carrying a decided run to `Y`, and what is left to do after it: by its holder, by settle, or by
//! the next claimant.

use crds::tracking::{ObjectStore, Removal, RunItem, RunState};
use crds::{Reason, Report, RunId};

use super::{
    Act, AfterSweep, Carried, Carrier, Effect, Ending, Phase, Reply, Seen, Sweep, TRIES_MAX, Then,
    Tidy, Why, removals, transitions,
};
use crate::errors::failure::Failure;
use crate::layout::manifests::{ManifestHead, Pointer, to_body};
use crate::layout::objects::Prefix;
use crate::planning::plan::CONTROL_VERSION;

/// Another's decided run: its manifest says what to complete.
pub(super) fn fetch(carrier: Carrier, run: RunItem, then: Then) -> (Carrier, Act) {
    let act = Act::ReadManifest { uri: run.uri.clone(), run: run.run };
    carrier.go(Phase::Fetching(Box::new(run), then), act)
}

pub(super) fn complete(carrier: Carrier, carried: Carried) -> (Carrier, Act) {
    if carried.manifest.files.0 == 0 {
        return carrier.look(Why::Yes(Box::new(carried), 0));
    }
    let effect = Effect::CompleteAll { uri: carried.run.uri.clone(), run: carried.run.run };
    carrier.go(Phase::Completing(Box::new(carried)), Act::Write(vec![effect]))
}

fn stuck(run: &RunItem, what: &str) -> Failure {
    Failure::permanent(
        Reason::CommitStuck,
        format!("the decided run {} cannot be completed: {what}", run.run),
        "look whether a lifecycle rule of the bucket aborts uploads too early, and restore the \
         objects named in the run's manifest; or undo the run with `tidemark settle --force`",
    )
}

/// An upload was gone: fine, if somebody else carried the run meanwhile.
pub(super) fn gone(carrier: Carrier, carried: &Carried, seen: &Seen) -> (Carrier, Act) {
    match &seen.run {
        Some(run) if run.run == carried.run.run && run.state == RunState::Committing => carrier
            .end(Ending::Failed(stuck(
                run,
                "an upload is gone or holds other parts, and its object is not there",
            ))),
        Some(_) | None => passed(carrier, carried.then),
    }
}

/// Somebody else brought the run to its end.
fn passed(carrier: Carrier, then: Then) -> (Carrier, Act) {
    match then {
        Then::Finish => carrier.end(Ending::CarriedByAnother),
        Then::Claim => carrier.look(Why::Claim(1)),
        Then::Settle => carrier.look(Why::Settle { swept: false, tries: 1 }),
    }
}

pub(super) fn yes(carrier: Carrier, carried: Carried, seen: &Seen, tries: u32) -> (Carrier, Act) {
    let Some(run) = seen.run.as_ref().filter(|run| run.run == carried.run.run) else {
        return passed(carrier, carried.then);
    };
    match run.state {
        RunState::Committing if tries <= TRIES_MAX => {
            let change = transitions::yes(run, &carried.manifest, seen, carrier.task(), &moved());
            let phase = Phase::Publishing(Box::new(carried), Box::new(change.item), tries);
            carrier.track(phase, change.transaction)
        }
        RunState::Published => tidy(carrier, run.clone(), carried.then, Some(carried.manifest), 0),
        RunState::Committing
        | RunState::Claimed
        | RunState::Running
        | RunState::Failed
        | RunState::Aborted
        | RunState::Reverting => carrier.end(Ending::Failed(Failure::transient(
            Reason::Committing,
            "the run is decided, but its outcome could not be written yet",
            "",
        ))),
    }
}

fn moved() -> Report {
    Report::new(
        Reason::WatermarkMoved,
        "somebody else moved the stored watermark after the run was decided; theirs was kept",
        "let only one writer use the tracking item; rows of this run may be taken again",
    )
}

/// Whether something is to be done after the last `Y` now: the pointer, or a removal that is due.
pub(super) fn has_todo(run: &RunItem, now: i64) -> bool {
    // whether anything is due does not depend on the store
    removals::due(run, now, &ObjectStore::default()).is_some()
}

/// After `Y`: pointer and removal, whoever's run it was.
pub(super) fn tidy(
    carrier: Carrier,
    run: RunItem,
    then: Then,
    manifest: Option<ManifestHead>,
    tries: u32,
) -> (Carrier, Act) {
    let carrier = match (then, manifest) {
        (Then::Finish, Some(manifest)) => carrier.keep(manifest),
        (Then::Finish | Then::Claim | Then::Settle, _) => carrier,
    };
    let (Some(due), Some(head)) = (removals::due(&run, carrier.now, &carrier.store()), &run.head)
    else {
        return finish(carrier, then);
    };
    if tries > TRIES_MAX {
        let failure = Failure::transient(
            Reason::Committing,
            "the run is published, but current.json could not be moved yet",
            "",
        );
        return carrier.end(Ending::Failed(failure));
    }
    let act = match due.removal {
        Some(removal) => read_tidy(&carrier, removal, None),
        None => Act::ReadTidy {
            uri: head.uri.clone(),
            store: None,
            run: head.run,
            removal: false,
            after: None,
        },
    };
    carrier.go(Phase::Tidying(Box::new(run), then, tries), act)
}

/// The store of a removal, where it is not the process's own.
fn other_store(carrier: &Carrier, removal: &Removal) -> Option<ObjectStore> {
    removal.store.clone().filter(|store| *store != carrier.store())
}

fn read_tidy(carrier: &Carrier, removal: Removal, after: Option<(RunId, String)>) -> Act {
    let store = other_store(carrier, &removal);
    Act::ReadTidy { uri: removal.uri, store, run: removal.run, removal: true, after }
}

/// The replaced files after those that were deleted.
pub(super) fn more(
    carrier: Carrier,
    run: RunItem,
    then: Then,
    after: Option<(RunId, String)>,
) -> (Carrier, Act) {
    let due = removals::due(&run, carrier.now, &carrier.store()).and_then(|due| due.removal);
    let Some(removal) = due else { return finish(carrier, then) };
    let act = read_tidy(&carrier, removal, after);
    carrier.go(Phase::Tidying(Box::new(run), then, 0), act)
}

/// The pointer moves only up, and only as it was read.
pub(super) fn tidied(
    carrier: Carrier,
    run: RunItem,
    tidy: Tidy,
    then: Then,
    tries: u32,
) -> (Carrier, Act) {
    let commit = tidy.pointer.as_ref().map_or(0, |(pointer, _)| pointer.commit);
    let Some(head) = run.head.clone() else { return finish(carrier, then) };
    if removals::due(&run, carrier.now, &carrier.store()).is_some_and(|due| due.elsewhere) {
        return remove(carrier, run, &tidy, then);
    }
    let Ok(prefix) = Prefix::parse(&head.uri) else { return remove(carrier, run, &tidy, then) };
    if commit >= head.commit {
        return remove(carrier, run, &tidy, then);
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
        etag: tidy.pointer.as_ref().map(|(_, etag)| etag.clone()),
    };
    let phase = Phase::Pointing(Box::new(run), Box::new(tidy), then, tries);
    carrier.go(phase, Act::Write(vec![effect]))
}

/// Replaced files go only once the pointer is at or past the run that replaces them.
pub(super) fn remove(carrier: Carrier, run: RunItem, tidy: &Tidy, then: Then) -> (Carrier, Act) {
    let removal = removals::due(&run, carrier.now, &carrier.store()).and_then(|due| due.removal);
    let head = run.head.as_ref().map(|head| head.run);
    let effects: Vec<Effect> = removal
        .iter()
        .flat_map(|removal| tidy.replaced.iter().map(move |replaced| (removal, replaced)))
        .filter(|(removal, (replaced, _))| *replaced != removal.run && Some(*replaced) != head)
        .map(|(removal, (_, key))| Effect::Delete {
            uri: removal.uri.clone(),
            store: other_store(&carrier, removal),
            key: key.clone(),
        })
        .collect();
    let after = tidy.replaced.last().filter(|_| removal.is_some() && tidy.more).cloned();
    if !effects.is_empty() {
        return carrier.go(Phase::Removing(Box::new(run), then, after), Act::Write(effects));
    }
    match after {
        Some(_) => more(carrier, run, then, after),
        None => clear(carrier, &run, then),
    }
}

/// Handles the deletion of one page of replaced files. Files that a lock protects stay.
pub(super) fn removed(
    carrier: Carrier,
    run: RunItem,
    then: Then,
    after: Option<(RunId, String)>,
    replies: &[Reply],
) -> (Carrier, Act) {
    let locked = [carrier.locked, Reply::locked(replies)].into_iter().flatten().max();
    let carrier = Carrier { locked, ..carrier };
    match after {
        Some(_) => more(carrier, run, then, after),
        None => clear(carrier, &run, then),
    }
}

/// Completes a removal. If a lock protects a file, the removal is retried when the last known lock ends.
pub(super) fn clear(carrier: Carrier, run: &RunItem, then: Then) -> (Carrier, Act) {
    let change = match carrier.locked {
        Some(until) => transitions::put_off(run, carrier.now, until, &carrier.store()),
        None => transitions::clear(run, carrier.now, &carrier.store()),
    };
    let carrier = Carrier { locked: None, ..carrier };
    carrier.track(Phase::Clearing(Box::new(change.item), then), change.transaction)
}

/// Whether the process may go on without the removal that is next: it is at an earlier URI or store, whose
/// bucket or rights may be gone by now. Only settle of the object that put it off may not: nobody else
/// is told.
pub(super) fn may_wait(carrier: &Carrier, run: &RunItem, then: Then) -> bool {
    let due = removals::due(run, carrier.now, &carrier.store()).filter(|due| due.elsewhere);
    let own = |removal: &Removal| removal.uid == carrier.task().owner.uid;
    due.and_then(|due| due.removal).is_some_and(|removal| then != Then::Settle || !own(&removal))
}

/// A removal at an earlier URI cannot be done now. Without the manifest it can never be: nobody can
/// tell any more what was replaced.
pub(super) fn put_off(
    carrier: Carrier,
    run: &RunItem,
    then: Then,
    failure: &Failure,
) -> (Carrier, Act) {
    let carrier = Carrier { locked: None, ..carrier };
    if failure.report.reason == Reason::ManifestMissing {
        return clear(carrier, run, then);
    }
    let change = transitions::put_off(run, carrier.now, carrier.now, &carrier.store());
    carrier.track(Phase::Clearing(Box::new(change.item), then), change.transaction)
}

/// The end of a run of our own.
pub(super) fn published(carrier: Carrier) -> (Carrier, Act) {
    match carrier.kept.clone() {
        Some(manifest) => carrier.end(Ending::Published(manifest)),
        None => carrier.end(Ending::CarriedByAnother),
    }
}

/// A refused CLEAR means that the next claimant or another carrier has done it.
pub(super) fn finish(carrier: Carrier, then: Then) -> (Carrier, Act) {
    match then {
        // all that the manifest names is completed: an upload that is still open belongs to a pod
        // that died, or came second
        Then::Finish => match &carrier.kept {
            Some(manifest) => {
                let uri = carrier.task().spec.output.uri.clone();
                let sweep = Sweep::new(uri, manifest.run, 1, AfterSweep::Publish);
                super::settle::sweep(carrier, sweep)
            }
            None => carrier.end(Ending::CarriedByAnother),
        },
        Then::Claim => carrier.look(Why::Claim(1)),
        Then::Settle => carrier.look(Why::Settle { swept: false, tries: 1 }),
    }
}

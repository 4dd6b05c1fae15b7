//! In: what is left to do after PUBLISH. Out: the next piece of it, and what is left after that.
//! Bound: [`REMOVALS_MAX`] removals. Fails: never.
//!
//! A removal belongs to the URI and the object store where its files are. A run at another URI leaves it alone, a run that
//! replaces at the same URI takes it over, since its manifest also names what was still to be removed.

use crds::tracking::{ObjectStore, PendingCleanup, Removal, RunItem};

use crate::layout::manifests::ManifestHead;

/// Removals that one item keeps. Each is at a URI of its own, so only a source that moves this often
/// within the retention of its first extracts comes near it; the one that is due first is then given
/// up, since an item that grows beyond the table's limit would stop the source.
pub const REMOVALS_MAX: usize = 64;

/// Seconds until a removal that cannot be done now is tried again, at least.
pub const RETRY_SECONDS: i64 = 3600;

/// The next piece of what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// A removal, if one is due.
    pub removal: Option<Removal>,
    /// Whether it is at another URI or store than the head. Its pointer was updated before the source moved.
    pub elsewhere: bool,
}

/// What is to be done now: the pointer and the removal under the head's URI first, then one removal
/// after the other at earlier URIs.
pub fn due(run: &RunItem, now: i64, store: &ObjectStore) -> Option<Due> {
    let (pending_cleanup, head) = (run.pending_cleanup.as_ref()?, run.head.as_ref()?);
    let is_due = |removal: &&Removal| removal.is_due(now);
    let here = pending_cleanup.removal_at(&head.uri, store).filter(is_due);
    if pending_cleanup.pointer || here.is_some() {
        return Some(Due { removal: here.cloned(), elsewhere: false });
    }
    let removal = pending_cleanup.removals.iter().find(is_due)?.clone();
    Some(Due { removal: Some(removal), elsewhere: true })
}

/// What is left once the next piece is done, and with it the pointer.
pub fn done(run: &RunItem, now: i64, store: &ObjectStore) -> Option<PendingCleanup> {
    let removal = due(run, now, store).and_then(|due| due.removal);
    let mut pending_cleanup = run.pending_cleanup.clone()?;
    pending_cleanup.pointer = false;
    pending_cleanup.removals.retain(|kept| Some(kept) != removal.as_ref());
    (!pending_cleanup.removals.is_empty()).then_some(pending_cleanup)
}

/// What is left where the removal that is next cannot be done before `until`, and the pointer is done.
pub fn postponed(
    run: &RunItem,
    now: i64,
    until: i64,
    store: &ObjectStore,
) -> Option<PendingCleanup> {
    let removal = due(run, now, store).and_then(|due| due.removal);
    let mut pending_cleanup = run.pending_cleanup.clone()?;
    pending_cleanup.pointer = false;
    for kept in pending_cleanup.removals.iter_mut().filter(|kept| Some(&**kept) == removal.as_ref())
    {
        kept.retry = Some(until.max(now.saturating_add(RETRY_SECONDS)));
    }
    Some(pending_cleanup)
}

/// What is left to do once `run` is published in `store`.
pub fn published(
    run: &RunItem,
    manifest: &ManifestHead,
    now: i64,
    store: &ObjectStore,
) -> PendingCleanup {
    let mut removals = run.pending_cleanup.clone().unwrap_or_default().removals;
    if run.mode.replaces() {
        removals.retain(|removal| !removal.is_at(&run.uri, store));
        if !manifest.replaces.is_empty() {
            let retained = i64::try_from(run.retain_seconds.unwrap_or(0)).unwrap_or(i64::MAX);
            removals.push(Removal {
                uri: run.uri.clone(),
                store: Some(store.clone()),
                run: run.run,
                due: now.saturating_add(retained),
                retry: None,
                uid: run.owner.uid.clone(),
            });
        }
    }
    while removals.len() > REMOVALS_MAX {
        let first = removals.iter().enumerate().min_by_key(|(_, removal)| removal.due);
        let at = first.map_or(0, |(at, _)| at);
        removals.remove(at);
    }
    PendingCleanup { pointer: true, removals }
}

/// Whether something is to be done after the last PUBLISH now: the pointer, or a removal that is due.
pub(super) fn has_pending_cleanup(run: &RunItem, now: i64) -> bool {
    // whether anything is due does not depend on the store
    due(run, now, &ObjectStore::default()).is_some()
}

//! Chains of manifests on S3: which runs replace which, which are live, and what dead runs left.

use std::collections::BTreeSet;

use crds::RunId;
use crds::tracking::{RunItem, run_key};
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{Earlier, ManifestHead, Pointer, SourceIdentity};
use worker_core::planning::plan::Plan;
use worker_core::protocol::Event;
use worker_core::protocol::Orphan;

use super::context::{AT_ONCE, Context};
use crate::stores::control::Control;

impl Context {
    /// A manifest but for its lists.
    pub(super) async fn manifest(&self, uri: &str, run: RunId) -> Result<ManifestHead, Failure> {
        let found = self.control(uri)?.head_of(run).await?;
        found.ok_or_else(|| manifest_missing(run))
    }

    /// The runs that `run` replaces, and whose files it has yet to remove. A committer that woke up
    /// late finds no manifest: then another process has removed them, and the run item does not ask for it
    /// any more.
    pub(super) async fn replaced(
        &self,
        control: &Control,
        run: RunId,
    ) -> Result<Vec<RunId>, Failure> {
        if let Some(manifest) = control.head_of(run).await? {
            return Ok(manifest.replaces);
        }
        let item: Option<RunItem> = self.table().read(&run_key(&self.task.tracking.key)).await?;
        let pending_cleanup = item.and_then(|item| item.pending_cleanup).unwrap_or_default();
        let asked = pending_cleanup.removals.iter().any(|removal| removal.run == run);
        if asked { Err(manifest_missing(run)) } else { Ok(Vec::new()) }
    }

    /// From `run` down its parents, and what the `pending` one still has to remove; oldest first.
    pub(super) async fn chain(
        &self,
        uri: &str,
        run: Option<RunId>,
        pending: Option<RunId>,
    ) -> Result<Vec<RunId>, Failure> {
        let control = self.control(uri)?;
        let end = match run {
            Some(run) => Some(run),
            None => {
                let found: Option<(Pointer, String)> =
                    control.read(&control.prefix.pointer()).await?;
                found.map(|(pointer, _)| pointer.run)
            }
        };
        // no object of Tidemark is there (any more)
        let Some(end) = end else { return Ok(Vec::new()) };
        // of a ring, what was walked is replaced: a new chain is what ends it
        let mut runs = BTreeSet::from_iter(self.walk(uri, end).await?.0.runs);
        if let Some(pending) = pending {
            runs.extend(self.manifest(uri, pending).await?.replaces);
        }
        Ok(runs.into_iter().collect())
    }

    /// Where all files up to `run` stand, since the last run that replaced.
    pub(super) async fn all(&self, uri: &str, run: RunId) -> Result<Earlier, Failure> {
        match self.walk(uri, run).await? {
            (earlier, None) => Ok(earlier),
            (_, Some(ring)) => Err(is_a_ring(ring)),
        }
    }

    /// From `run` down its parents. Where somebody has edited them into a ring, the walk ends at the
    /// run that it would come to a second time, and names it.
    async fn walk(&self, uri: &str, run: RunId) -> Result<(Earlier, Option<RunId>), Failure> {
        let (mut earlier, mut walked) = (Earlier::default(), BTreeSet::new());
        let mut next = Some(run);
        while let Some(run) = next.filter(|run| walked.insert(*run)) {
            let head = self.manifest(uri, run).await?;
            next = head.parent.filter(|_| head.earlier.is_none());
            earlier.prepend(&head);
        }
        Ok((earlier, next))
    }

    /// The runs of both chains, of the pointer and of the head, and what is still to be removed.
    pub(super) async fn kept(
        &self,
        uri: &str,
        head: Option<RunId>,
        pending: Option<RunId>,
    ) -> Result<Event, Failure> {
        let control = self.control(uri)?;
        let marked: Option<(SourceIdentity, String)> =
            control.read(&control.prefix.source()).await?;
        let own = self.identity(true).await?;
        if marked.is_none_or(|(identity, _)| identity != own) {
            return Ok(Event::Kept(None));
        }
        let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
        let pointed = pointer.map(|(pointer, _)| pointer.run);
        let mut kept = BTreeSet::new();
        for end in [pointed, head].into_iter().flatten() {
            if kept.contains(&end) {
                continue;
            }
            let (earlier, ring) = self.walk(uri, end).await?;
            if let Some(ring) = ring {
                // what the ring has cut off is published, and cannot be distinguished from abandoned runs
                tracing::warn!(failure = %is_a_ring(ring), "the cleanup of abandoned runs removes no objects");
                return Ok(Event::Kept(None));
            }
            kept.extend(earlier.runs);
        }
        if let Some(pending) = pending {
            kept.extend(self.manifest(uri, pending).await?.replaces);
        }
        Ok(Event::Kept(Some(kept)))
    }

    /// Reads what dead runs left: of the first run, and of the next ones until about [`AT_ONCE`] keys are read.
    pub(super) async fn orphans(&self, uri: &str, runs: &[RunId]) -> Result<Event, Failure> {
        let control = self.control(uri)?;
        let mut orphans = Vec::with_capacity(runs.len());
        let mut room = AT_ONCE;
        for &run in runs {
            if room == 0 {
                break;
            }
            let plan = control.prefix.plan(run);
            let found: Option<(Plan, String)> = control.read(&plan).await?;
            let (uploads, more_uploads) = control.uploads(run, room).await?;
            room = room.saturating_sub(uploads.len());
            let (mut keys, more_files) = control.data_files(run, None, room).await?;
            let more = more_uploads || more_files;
            if !more {
                // at most two for each partition
                let control_keys = control.keys(&control.prefix.control_folder(run)).await?;
                keys.extend(control_keys.into_iter().filter(|key| *key != plan));
            }
            room = room.saturating_sub(keys.len());
            // a run that does not fit is read by the next act, unless it is the first
            if more && !orphans.is_empty() {
                break;
            }
            orphans.push(Orphan {
                run,
                source: found.map(|(plan, _)| plan.source),
                uploads,
                keys,
                plan,
                more,
            });
        }
        Ok(Event::Orphans(orphans))
    }
}

pub(super) fn manifest_missing(run: RunId) -> Failure {
    Failure::permanent(
        crds::Reason::ManifestMissing,
        format!("the manifest of run {run} is missing"),
        "Restore the manifest from a version of the bucket. If that run is decided and cannot be completed, \
         undo it with `tidemark recover --force`. Otherwise run an FE at another URI.",
    )
}

fn is_a_ring(run: RunId) -> Failure {
    Failure::permanent(
        crds::Reason::VerifyFailed,
        format!("the chain of manifests is circular: the parents of run {run} lead back to it"),
        "Restore the manifest that `tidemark verify` names from a version of the bucket, or run a reingest \
         or an FE, which replaces the published extract.",
    )
}

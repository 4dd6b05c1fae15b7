//! Chains of manifests on S3: who replaces whom, what is alive, and what dead runs left.

use std::collections::BTreeSet;

use crds::RunId;
use crds::tracking::{RunItem, run_key};
use worker_core::commits::Event;
use worker_core::commits::orphans::Orphan;
use worker_core::error::Failure;
use worker_core::manifests::{Listing, Manifest, Pointer, SourceIdentity};
use worker_core::plan::Plan;

use super::World;

impl World {
    pub(super) async fn manifest(&self, uri: &str, run: RunId) -> Result<Manifest, Failure> {
        let control = self.control(uri)?;
        let found = control.read(&control.prefix.manifest(run)).await?;
        found.map(|(manifest, _)| manifest).ok_or_else(|| {
            Failure::permanent(
                crds::Reason::ManifestMissing,
                format!("the manifest of run {run} is gone"),
                "restore it from a version of the bucket; if that run is decided and cannot be \
                 completed, undo it with `tidemark settle --force`; or start a new chain with an \
                 FE at another uri",
            )
        })
    }

    /// The runs that `run` replaces, and whose files it has yet to remove. A carrier that woke up
    /// late finds its manifest swept: then another has removed them, and `R` does not ask for it
    /// any more.
    pub(super) async fn replaced(&self, uri: &str, run: RunId) -> Result<Vec<RunId>, Failure> {
        let missing = match self.manifest(uri, run).await {
            Ok(manifest) => return Ok(manifest.replaces),
            Err(failure) if failure.report.reason == crds::Reason::ManifestMissing => failure,
            Err(failure) => return Err(failure),
        };
        let item: Option<RunItem> = self.table().read(&run_key(&self.task.tracking.key)).await?;
        let asked = item.and_then(|item| item.todo).and_then(|todo| todo.removal_of);
        if asked == Some(run) { Err(missing) } else { Ok(Vec::new()) }
    }

    /// Keys of the data files that a run may have completed: by its manifest, or else its records.
    pub(super) async fn files(&self, uri: &str, run: RunId) -> Result<Vec<String>, Failure> {
        let control = self.control(uri)?;
        let found: Option<(Manifest, String)> = control.read(&control.prefix.manifest(run)).await?;
        if let Some((manifest, _)) = found {
            return Ok(manifest.files.into_iter().map(|file| file.key).collect());
        }
        let keys = control.recorded(run).await?;
        let records = control.records(&keys).await?;
        Ok(records.into_iter().flat_map(|record| record.files).map(|file| file.key).collect())
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
        let mut runs = BTreeSet::new();
        if let Some(end) = end {
            // of a ring, what was walked is replaced: a new chain is what ends it
            runs.extend(self.walk(uri, end).await?.0.runs);
        }
        if let Some(pending) = pending {
            runs.extend(self.manifest(uri, pending).await?.replaces);
        }
        Ok(runs.into_iter().collect())
    }

    /// All files up to `run`, since the last run that replaced.
    pub(super) async fn all(&self, uri: &str, run: RunId) -> Result<Listing, Failure> {
        match self.walk(uri, run).await? {
            (listing, None) => Ok(listing),
            (_, Some(ring)) => Err(is_a_ring(ring)),
        }
    }

    /// From `run` down its parents. Where somebody has edited them into a ring, the walk ends at the
    /// run that it would come to a second time, and names it.
    async fn walk(&self, uri: &str, run: RunId) -> Result<(Listing, Option<RunId>), Failure> {
        let (mut listing, mut walked) = (Listing::default(), BTreeSet::new());
        let mut next = Some(run);
        while let Some(run) = next.filter(|run| walked.insert(*run)) {
            let manifest = self.manifest(uri, run).await?;
            next = manifest.parent.filter(|_| manifest.earlier.is_none());
            listing.prepend(manifest);
        }
        Ok((listing, next))
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
            let (listing, ring) = self.walk(uri, end).await?;
            if let Some(ring) = ring {
                // what the ring has cut off is published, and cannot be told from what is dead
                tracing::warn!(failure = %is_a_ring(ring), "nothing is removed");
                return Ok(Event::Kept(None));
            }
            kept.extend(listing.runs);
        }
        if let Some(pending) = pending {
            kept.extend(self.manifest(uri, pending).await?.replaces);
        }
        Ok(Event::Kept(Some(kept)))
    }

    /// What runs that are dead left behind.
    pub(super) async fn orphans(&self, uri: &str, runs: &[RunId]) -> Result<Event, Failure> {
        let control = self.control(uri)?;
        let mut orphans = Vec::with_capacity(runs.len());
        for &run in runs {
            let plan = control.prefix.plan(run);
            let found: Option<(Plan, String)> = control.read(&plan).await?;
            let mut keys: BTreeSet<String> = self.files(uri, run).await?.into_iter().collect();
            keys.extend(control.keys(&control.prefix.control_folder(run)).await?);
            keys.remove(&plan);
            orphans.push(Orphan {
                run,
                source: found.map(|(plan, _)| plan.source),
                uploads: control.uploads(run).await?,
                keys: keys.into_iter().collect(),
                plan,
            });
        }
        Ok(Event::Orphans(orphans))
    }
}

fn is_a_ring(run: RunId) -> Failure {
    Failure::permanent(
        crds::Reason::VerifyFailed,
        format!("the chain of manifests is a ring: the parents of run {run} lead back to it"),
        "Restore the manifest that `tidemark verify` names from a version of the bucket, or run a \
         reingest or FE, which starts a new chain.",
    )
}

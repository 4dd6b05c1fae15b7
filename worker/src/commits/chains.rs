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
        let todo = item.and_then(|item| item.todo).unwrap_or_default();
        let asked = todo.removals.iter().any(|removal| removal.run == run);
        if asked { Err(missing) } else { Ok(Vec::new()) }
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
        // nothing of ours is there (any more)
        let Some(end) = end else { return Ok(Vec::new()) };
        let mut runs = BTreeSet::from_iter(self.all(uri, end).await?.runs);
        if let Some(pending) = pending {
            runs.extend(self.manifest(uri, pending).await?.replaces);
        }
        Ok(runs.into_iter().collect())
    }

    /// All files up to `run`, since the last run that replaced.
    pub(super) async fn all(&self, uri: &str, run: RunId) -> Result<Listing, Failure> {
        let (mut listing, mut walked) = (Listing::default(), BTreeSet::new());
        let mut next = Some(run);
        // a chain that somebody edited into a ring has an end too
        while let Some(run) = next.filter(|run| walked.insert(*run)) {
            let manifest = self.manifest(uri, run).await?;
            next = manifest.parent.filter(|_| manifest.earlier.is_none());
            listing.prepend(manifest);
        }
        Ok(listing)
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
            kept.extend(self.all(uri, end).await?.runs);
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

//! What a process reads of them.

use std::collections::BTreeSet;

use crds::{Reason, RunId, Task};
use uuid::Uuid;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{Earlier, Manifest, SourceIdentity};
use worker_core::layout::records::tally;
use worker_core::planning::plan::Plan;
use worker_core::protocol::Orphan;
use worker_core::protocol::{Act, Cleanup, Event, ObservedItems};

use super::{KEY, Stores, root};

/// Files and uploads of one listing: fewer than a run leaves, so that none is the only one.
const PAGE: usize = 1;

impl Stores {
    fn look(&mut self, task: &Task) -> Event {
        self.runs += 1;
        let coordinator = self.run().filter(|run| run.owner.uid != task.owner.uid);
        Event::Observed(
            Box::new(ObservedItems {
                now: self.now,
                run: self.run(),
                watermark_item: self.watermark_item(),
                outcome: self.outcome(&task.owner.uid),
                owner_outcome: coordinator.and_then(|run| self.outcome(&run.owner.uid)),
                pointer: self.pointer_at(root(&task.spec.output.uri)),
                identity: self
                    .object(&format!("{}/_tidemark/source.json", root(&task.spec.output.uri))),
                own_identity: SourceIdentity {
                    version: 1,
                    tracking: "here".to_owned(),
                    table: "tracking".to_owned(),
                    source: KEY.to_owned(),
                },
            }),
            RunId(Uuid::from_u128(self.runs)),
        )
    }

    pub(super) fn read(&mut self, act: Act, task: &Task) -> Event {
        match act {
            Act::Read => self.look(task),
            Act::Plan(order) => Event::Planned(Box::new(self.plan(&order)), self.now),
            Act::Extract(active) => {
                let records = self.extract(&active);
                let sums = tally(&active.plan, &active.plan_hash, &records).unwrap();
                self.records.insert(active.run.run, records);
                Event::Recorded(Box::new(sums))
            }
            Act::Assure { .. } => Event::Assured(self.now),
            Act::ReadChain { uri, run, pending } => {
                Event::Chain(self.chain(root(&uri), run, pending))
            }
            Act::ReadManifest { run, .. } => Event::Fetched(Box::new(self.head(run).unwrap())),
            Act::ReadCleanup { uri, run, removal, after, .. } => {
                self.cleanup(root(&uri), run, removal, after.as_ref()).unwrap_or_else(Event::Failed)
            }
            Act::ReadAll { run, .. } => Event::All(Box::new(self.all(run))),
            Act::ListRuns { uri, before } => {
                let observed = self.runs_at(root(&uri));
                let old = observed.into_iter().filter(|_| before > self.began);
                Event::Runs(old.collect())
            }
            Act::ReadKept { uri, head, pending } => {
                let ends = [self.pointer_at(root(&uri)).map(|pointer| pointer.run), head];
                let ends = ends.into_iter().flatten();
                let mut kept: BTreeSet<RunId> = ends.flat_map(|end| self.all(end).runs).collect();
                let pending = pending.and_then(|run| self.manifest(run));
                kept.extend(pending.into_iter().flat_map(|manifest| manifest.replaces));
                Event::Kept(Some(kept))
            }
            Act::ReadOrphans { uri, runs } => {
                let orphan = |run| self.orphan(root(&uri), run);
                Event::Orphans(runs.into_iter().take(self.orphans_at_once).map(orphan).collect())
            }
            Act::ListFiles { uri, run, after } => {
                let mut keys: Vec<String> = self
                    .files_after(root(&uri), run, after.as_ref())
                    .into_iter()
                    .map(|(_, key)| key)
                    .collect();
                let more = keys.len() > PAGE;
                keys.truncate(PAGE);
                Event::Files(keys, more)
            }
            Act::ListUploads { uri, run } => {
                let folder = format!("{}/extract_run={run}/", root(&uri));
                let found = self.uploads.iter().filter(|(key, _)| key.starts_with(&folder));
                let mut found: Vec<_> = found.cloned().collect();
                let more = found.len() > PAGE;
                found.truncate(PAGE);
                Event::Uploads(found, more)
            }
            Act::Write(_) | Act::End(_) => unreachable!("not a read"),
        }
    }

    /// The pointer, and a page of the files that are to be removed.
    fn cleanup(
        &self,
        root: &str,
        run: RunId,
        removal: bool,
        after: Option<&(RunId, String)>,
    ) -> Result<Event, Failure> {
        if self.unreachable.as_deref() == Some(root) && (!self.midway || after.is_some()) {
            let reason = Reason::StorageUnreachable;
            return Err(Failure::transient(reason, "the bucket does not answer", ""));
        }
        let pointer = self.pointer_at(root).map(|pointer| {
            let body = &self.objects[&format!("{root}/_tidemark/current.json")];
            (pointer, format!("{body:?}"))
        });
        let Some(Manifest { replaces, .. }) = self.manifest(run) else {
            let reason = Reason::ManifestMissing;
            return Err(Failure::permanent(reason, "the manifest is missing", ""));
        };
        let left = |run: &RunId| self.files_after(root, *run, None);
        let mut replaced: Vec<(RunId, String)> =
            replaces.iter().filter(|_| removal).flat_map(left).collect();
        replaced.retain(|file| after.is_none_or(|after| file > after));
        let more = replaced.len() > PAGE;
        replaced.truncate(PAGE);
        Ok(Event::CleanupRead(Box::new(Cleanup { pointer, replaced, more })))
    }

    /// The runs of a chain, and what its postponed removal replaces.
    fn chain(&self, root: &str, run: Option<RunId>, pending: Option<RunId>) -> Vec<RunId> {
        let Some(run) = run.or_else(|| self.pointer_at(root).map(|pointer| pointer.run)) else {
            return Vec::new();
        };
        let mut chain = vec![run];
        while let Some(parent) = self.manifest(chain[chain.len() - 1]).and_then(|m| m.parent) {
            chain.push(parent);
        }
        let pending = pending.and_then(|run| self.manifest(run));
        chain.extend(pending.into_iter().flat_map(|manifest| manifest.replaces));
        chain.sort_unstable();
        chain
    }

    fn all(&self, run: RunId) -> Earlier {
        let (mut earlier, mut next) = (Earlier::default(), Some(run));
        while let Some(head) = next.and_then(|run| self.head(run)) {
            next = head.parent.filter(|_| head.earlier.is_none());
            earlier.prepend(&head);
        }
        earlier
    }

    /// Completed files of a run, after one of them.
    fn files_after(&self, root: &str, run: RunId, after: Option<&String>) -> Vec<(RunId, String)> {
        let folder = format!("{root}/extract_run={run}/");
        let keys = self.files.iter().filter(|key| key.starts_with(&folder));
        let keys = keys.filter(|key| after.is_none_or(|after| *key > after));
        keys.map(|key| (run, key.clone())).collect()
    }

    /// Every run that left a control object.
    pub(crate) fn runs_seen(&self) -> BTreeSet<RunId> {
        self.runs_at("orders")
    }

    fn runs_at(&self, root: &str) -> BTreeSet<RunId> {
        let folder = format!("{root}/_tidemark/");
        let names = self.objects.keys().filter_map(|key| key.strip_prefix(&folder));
        names.filter_map(|name| name.split('/').next()?.parse().ok()).collect()
    }

    fn orphan(&self, root: &str, run: RunId) -> Orphan {
        let plan = format!("{root}/_tidemark/{run}/plan.json");
        let (data, control) =
            (format!("{root}/extract_run={run}/"), format!("{root}/_tidemark/{run}/"));
        let uploads = self.uploads.iter().filter(|(key, _)| key.starts_with(&data));
        let files = self.files.iter().filter(|key| key.starts_with(&data));
        let objects = self.objects.keys().filter(|key| key.starts_with(&control) && **key != plan);
        Orphan {
            run,
            source: self.object(&plan).map(|plan: Plan| plan.source),
            uploads: uploads.cloned().collect(),
            keys: files.chain(objects).cloned().collect(),
            plan,
            more: false,
        }
    }
}

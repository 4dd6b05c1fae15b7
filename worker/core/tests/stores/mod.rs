//! S3 and the tracking table in memory, as far as the protocol needs them.

use std::collections::{BTreeMap, BTreeSet};

use crds::extract_job::ExtractType;
use crds::task::SettleOrder;
use crds::tracking::{LegacyItem, OutcomeItem, RunItem, outcome_key, run_key};
use crds::{Reason, Report, RunId, Task};
use serde_json::{from_slice, from_value, json};
use uuid::Uuid;
use worker_core::commits::orphans::Orphan;
use worker_core::commits::{
    Act, Carrier, Effect, Ending, Event, Held, Item, Reply, Seen, Tidy, step,
};
use worker_core::error::Failure;
use worker_core::manifests::{Listing, Manifest, Pointer, SourceIdentity};
use worker_core::plan::Plan;
use worker_core::records::{PendingFile, TaskRecord};

mod plan;

const KEY: &str = "shop.orders";

/// Everything outside the process.
pub(crate) struct Stores {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) uploads: BTreeSet<(String, String)>,
    pub(crate) files: BTreeSet<String>,
    /// Greatest watermark in the table.
    pub(crate) rows_up_to: i64,
    pub(crate) now: i64,
    /// When every run so far began.
    pub(crate) began: i64,
    /// The prefix whose bucket cannot be read.
    pub(crate) unreachable: Option<String>,
    heads: BTreeSet<RunId>,
    runs: u128,
}

/// The prefix of a URI of the bucket `lake`.
fn root(uri: &str) -> &str {
    uri.strip_prefix("s3://lake/").unwrap()
}

pub(crate) fn task(uid: &str, attempt: u32, kind: ExtractType) -> Task {
    let value = json!({
        "version": 1, "attempt": attempt, "retry": 0, "name": "orders",
        "tracking": { "table": "tracking", "key": KEY },
        "owner": { "uid": uid, "request": "r", "hash_version": 1, "generation": 1 },
        "spec": {
            "source": { "engine": "postgres", "database": "shop", "credentials": {} },
            "extract": { "table": "orders", "type": kind.name(),
                "watermark": (kind == ExtractType::PE).then(|| json!({ "column": "id", "type": "int" })) },
            "output": { "uri": "s3://lake/orders" },
        },
    });
    from_value(value).unwrap()
}

pub(crate) fn order(last: bool, aborted: bool) -> SettleOrder {
    SettleOrder { last, aborted, report: Report::new(Reason::PodLost, "a pod was lost", "") }
}

impl Stores {
    pub(crate) fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            objects: BTreeMap::new(),
            uploads: BTreeSet::new(),
            files: BTreeSet::new(),
            rows_up_to: 20,
            now: 1_700_000_000,
            began: 1_700_000_000,
            unreachable: None,
            heads: BTreeSet::new(),
            runs: 1 << 64,
        }
    }

    /// Drives a process to its end, or until it dies after so many writes: `None` then.
    pub(crate) fn drive(&mut self, mut carrier: Carrier, mut writes: usize) -> Option<Ending> {
        let mut event = Event::Begin;
        for _ in 0..1000 {
            let (next, act) = step(carrier, event);
            carrier = next;
            event = match act {
                Act::End(ending) => return Some(ending),
                Act::Write(effects) => {
                    let mut replies = Vec::new();
                    for effect in effects {
                        writes = writes.checked_sub(1)?;
                        replies.push(self.write(effect));
                    }
                    Event::Replied(replies)
                }
                act => self.read(act, carrier.role.task()),
            };
        }
        panic!("the process does not end: {:?}", carrier.phase);
    }

    /// Whether a write of somebody outside any process holds.
    pub(crate) fn track(&mut self, effect: Effect) -> bool {
        self.write(effect) == Reply::Done
    }

    fn write(&mut self, effect: Effect) -> Reply {
        match effect {
            Effect::Track(transaction) => {
                let holds = |write: &worker_core::commits::ItemWrite| {
                    write.expect.holds(self.items.get(&write.key))
                };
                if !transaction.writes.iter().all(holds) {
                    return Reply::Refused;
                }
                for write in transaction.writes {
                    if let Some(item) = write.put {
                        if let Item::Run(run) = &item {
                            self.heads.extend(run.head.as_ref().map(|head| head.run));
                        }
                        self.items.insert(write.key, item);
                    }
                }
                Reply::Done
            }
            Effect::PutOnce { key, body, .. } => {
                if self.objects.contains_key(&key) {
                    return Reply::Refused;
                }
                self.objects.insert(key, body);
                Reply::Done
            }
            Effect::PutPointer { key, body, etag, .. } => {
                if self.objects.get(&key).map(|body| format!("{body:?}")) != etag {
                    return Reply::Refused;
                }
                self.objects.insert(key, body);
                Reply::Done
            }
            Effect::Complete { file, .. } => {
                if self.uploads.remove(&(file.key.clone(), file.upload_id)) {
                    self.files.insert(file.key);
                    return Reply::Done;
                }
                if self.files.contains(&file.key) { Reply::Done } else { Reply::Gone }
            }
            Effect::Abort { key, upload_id, .. } => {
                self.uploads.remove(&(key, upload_id));
                Reply::Done
            }
            Effect::Delete { key, .. } => {
                self.files.remove(&key);
                self.objects.remove(&key);
                Reply::Done
            }
        }
    }

    fn look(&mut self, task: &Task) -> Event {
        self.runs += 1;
        let holder = self.run().filter(|run| run.owner.uid != task.owner.uid);
        Event::Seen(
            Box::new(Seen {
                now: self.now,
                run: self.run(),
                legacy: self.legacy(),
                outcome: self.outcome(&task.owner.uid),
                holder_outcome: holder.and_then(|run| self.outcome(&run.owner.uid)),
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

    fn read(&mut self, act: Act, task: &Task) -> Event {
        match act {
            Act::Read => self.look(task),
            Act::Plan(order) => Event::Planned(Box::new(self.plan(&order)), self.now),
            Act::Extract(held) => Event::Recorded(self.extract(&held)),
            Act::Assure(_) => Event::Assured(self.now),
            Act::ReadChain { uri, run, pending } => {
                let pointed = self.pointer_at(root(&uri)).map(|pointer| pointer.run);
                let Some(run) = run.or(pointed) else {
                    return Event::Chain(Vec::new());
                };
                let mut chain = vec![run];
                while let Some(parent) =
                    self.manifest(chain[chain.len() - 1]).and_then(|m| m.parent)
                {
                    chain.push(parent);
                }
                let pending = pending.and_then(|run| self.manifest(run));
                chain.extend(pending.into_iter().flat_map(|manifest| manifest.replaces));
                chain.sort_unstable();
                Event::Chain(chain)
            }
            Act::ReadManifest { run, .. } => Event::Fetched(Box::new(self.manifest(run).unwrap())),
            Act::ReadTidy { uri, .. } if self.unreachable.as_deref() == Some(root(&uri)) => {
                let reason = Reason::StorageUnreachable;
                Event::Failed(Failure::transient(reason, "the bucket does not answer", ""))
            }
            Act::ReadTidy { uri, run, removal } => {
                let pointer = self.pointer_at(root(&uri)).map(|pointer| {
                    let body = &self.objects[&format!("{}/_tidemark/current.json", root(&uri))];
                    (pointer, format!("{body:?}"))
                });
                let Some(Manifest { replaces, .. }) = self.manifest(run) else {
                    let reason = Reason::ManifestMissing;
                    return Event::Failed(Failure::permanent(reason, "the manifest is gone", ""));
                };
                let replaced =
                    replaces.iter().filter(|_| removal).filter_map(|run| self.manifest(*run));
                Event::Tidied(Box::new(Tidy { pointer, replaced: replaced.collect() }))
            }
            Act::ReadAll { run, .. } => Event::All(Box::new(self.all(run))),
            Act::ListRuns { uri, before } => {
                let seen = self.runs_at(root(&uri));
                let old = seen.into_iter().filter(|_| before > self.began);
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
                Event::Orphans(runs.into_iter().map(orphan).collect())
            }
            Act::ListFiles { run, .. } => {
                let manifest = self.manifest(run).unwrap();
                Event::Files(manifest.files.into_iter().map(|file| file.key).collect())
            }
            Act::ListUploads { uri, run } => {
                let folder = format!("{}/extract_run={run}/", root(&uri));
                let found = self.uploads.iter().filter(|(key, _)| key.starts_with(&folder));
                Event::Uploads(found.cloned().collect())
            }
            Act::Write(_) | Act::End(_) => unreachable!("not a read"),
        }
    }

    fn all(&self, run: RunId) -> Listing {
        let (mut listing, mut next) = (Listing::default(), Some(run));
        while let Some(manifest) = next.and_then(|run| self.manifest(run)) {
            next = manifest.parent.filter(|_| manifest.earlier.is_none());
            listing.prepend(manifest);
        }
        listing
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
        }
    }

    fn extract(&mut self, held: &Held) -> Vec<TaskRecord> {
        let run = held.plan.run;
        let records: Vec<TaskRecord> = (0..2)
            .map(|index| TaskRecord {
                version: 1,
                run,
                index,
                token: format!("t{index}"),
                plan_hash: held.plan_hash.clone(),
                snapshot: held.plan.snapshot.clone(),
                schema: "schema".to_owned(),
                rows: 10,
                watermark_max: Some(if index == 0 { "9" } else { "20" }.to_owned()),
                watermark_min: Some("1".to_owned()),
                closed_early: 0,
                files: vec![PendingFile {
                    key: format!("{}/extract_run={run}/part-{index}.parquet", root(&held.run.uri)),
                    upload_id: format!("u{run}{index}"),
                    parts: vec!["e".to_owned()],
                    bytes: 100,
                    rows: 10,
                }],
            })
            .collect();
        let dead = format!("{}/extract_run={run}/part-dead.parquet", root(&held.run.uri));
        self.uploads.insert((dead, "of a pod that was killed".to_owned()));
        for file in records.iter().flat_map(|record| &record.files) {
            self.uploads.insert((file.key.clone(), file.upload_id.clone()));
        }
        records
    }

    fn object<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.objects.get(key).map(|body| from_slice(body).unwrap())
    }

    pub(crate) fn pointer(&self) -> Option<Pointer> {
        self.pointer_at("orders")
    }

    pub(crate) fn pointer_at(&self, root: &str) -> Option<Pointer> {
        self.object(&format!("{root}/_tidemark/current.json"))
    }

    pub(crate) fn manifest(&self, run: RunId) -> Option<Manifest> {
        let name = format!("/_tidemark/{run}/manifest.json");
        let key = self.objects.keys().find(|key| key.ends_with(&name))?;
        self.object(key)
    }

    pub(crate) fn run(&self) -> Option<RunItem> {
        match self.items.get(&run_key(KEY)) {
            Some(Item::Run(item)) => Some((**item).clone()),
            _ => None,
        }
    }

    pub(crate) fn legacy(&self) -> Option<LegacyItem> {
        match self.items.get(KEY) {
            Some(Item::Legacy(item)) => Some((**item).clone()),
            _ => None,
        }
    }

    pub(crate) fn put_legacy(&mut self, item: LegacyItem) {
        self.items.insert(KEY.to_owned(), Item::Legacy(Box::new(item)));
    }

    pub(crate) fn outcome(&self, uid: &str) -> Option<OutcomeItem> {
        match self.items.get(&outcome_key(KEY, uid)) {
            Some(Item::Outcome(item)) => Some((**item).clone()),
            _ => None,
        }
    }

    pub(crate) fn lose(&mut self, item: &str) {
        let key = if item == "L" { KEY.to_owned() } else { run_key(KEY) };
        self.items.remove(&key);
    }

    /// How many runs became published.
    pub(crate) fn published(&self) -> usize {
        self.heads.len()
    }

    /// What must hold whenever nothing is under way: the pointer names the head, and exactly the
    /// files of its chain can be seen.
    pub(crate) fn check(&self) {
        let pointer = self.pointer().unwrap();
        let run = self.run().unwrap();
        assert_eq!(Some(pointer.run), run.head.map(|head| head.run));
        assert!(run.todo.is_none_or(|todo| !todo.pointer), "the pointer is behind");
        let mut expected = BTreeSet::new();
        let mut next = Some(pointer.run);
        while let Some(run) = next {
            let manifest = self.manifest(run).unwrap();
            expected.extend(manifest.files.iter().map(|file| file.key.clone()));
            next = manifest.parent;
        }
        assert_eq!(self.files, expected);
    }
}

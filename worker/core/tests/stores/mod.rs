//! S3 and the tracking table in memory, as far as the protocol needs them.

use std::collections::{BTreeMap, BTreeSet};

use crds::extract_job::{ExtractType, NullPolicy, WatermarkType};
use crds::task::SettleOrder;
use crds::tracking::{LegacyItem, OutcomeItem, RunItem, Window, outcome_key, run_key};
use crds::{Reason, Report, RunId, Task};
use serde_json::{from_slice, from_value, json};
use uuid::Uuid;
use worker_core::commits::orphans::Orphan;
use worker_core::commits::{
    Act, Carrier, Effect, Ending, Event, Held, Item, NewManifest, Reply, Seen, Tidy, step,
};
use worker_core::manifests::{
    Earlier, ListedFile, Lists, Manifest, ManifestFile, ManifestHead, Pointer, SourceIdentity,
};
use worker_core::plan::{Plan, PlanOrder, PlannedWatermark, Shape, TableName};
use worker_core::ranges::KeyRange;
use worker_core::records::{PendingFile, TaskRecord, tally};

const KEY: &str = "shop.orders";
/// Files and uploads of one listing: fewer than a run leaves, so that none is the only one.
const PAGE: usize = 1;

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
    heads: BTreeSet<RunId>,
    records: BTreeMap<RunId, Vec<TaskRecord>>,
    runs: u128,
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
            heads: BTreeSet::new(),
            records: BTreeMap::new(),
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
                        let mut reply = Reply::Done;
                        for single in self.singles(effect) {
                            writes = writes.checked_sub(1)?;
                            reply = match self.write(single) {
                                Reply::Done => reply,
                                other => other,
                            };
                        }
                        replies.push(reply);
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

    /// The writes that an effect consists of.
    fn singles(&self, effect: Effect) -> Vec<Effect> {
        let Effect::CompleteAll { uri, run } = effect else { return vec![effect] };
        let files = self.manifest(run).unwrap().files;
        files.into_iter().map(|file| Effect::Complete { uri: uri.clone(), file }).collect()
    }

    /// A manifest, file by file as the product writes it.
    fn body(&self, new: &NewManifest) -> Vec<u8> {
        let mut body = Vec::new();
        let mut lists = Lists::begin(&new.head, &mut body);
        for file in self.records[&new.head.run].clone().into_iter().flat_map(ManifestFile::of) {
            lists.file(&mut body, &file);
        }
        if let Some(earlier) = &new.earlier {
            lists.earlier(&mut body, &earlier.runs);
            let first = earlier.manifests.first().and_then(|run| self.manifest(*run));
            let listed = first.and_then(|manifest| manifest.earlier).map(|earlier| earlier.files);
            let own = earlier.manifests.iter().flat_map(|run| self.manifest(*run).unwrap().files);
            let own =
                own.map(|ManifestFile { key, rows, bytes, .. }| ListedFile { key, rows, bytes });
            for file in listed.into_iter().flatten().chain(own) {
                lists.earlier_file(&mut body, &file);
            }
        }
        lists.end(&mut body);
        body
    }

    fn write(&mut self, effect: Effect) -> Reply {
        match effect {
            Effect::CompleteAll { .. } => panic!("it is written one by one"),
            Effect::PutManifest(new) => {
                let (uri, key, body) = (new.uri.clone(), new.key.clone(), self.body(&new));
                self.write(Effect::PutOnce { uri, key, body })
            }
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
                pointer: self.pointer(),
                identity: self.object("orders/_tidemark/source.json"),
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
            Act::Extract(held) => {
                let records = self.extract(&held);
                let sums = tally(&held.plan, &held.plan_hash, &records).unwrap();
                self.records.insert(held.run.run, records);
                Event::Recorded(Box::new(sums))
            }
            Act::Assure { .. } => Event::Assured(self.now),
            Act::ReadChain { run, pending, .. } => Event::Chain(self.chain(run, pending)),
            Act::ReadManifest { run, .. } => Event::Fetched(Box::new(self.head(run).unwrap())),
            Act::ReadTidy { run, removal, after, .. } => {
                let pointer = self.pointer().map(|pointer| {
                    let body = &self.objects["orders/_tidemark/current.json"];
                    (pointer, format!("{body:?}"))
                });
                let replaces = self.manifest(run).unwrap().replaces;
                let left = |run: &RunId| self.files_after(*run, None);
                let mut replaced: Vec<(RunId, String)> =
                    replaces.iter().filter(|_| removal).flat_map(left).collect();
                replaced.retain(|file| after.as_ref().is_none_or(|after| file > after));
                let more = replaced.len() > PAGE;
                replaced.truncate(PAGE);
                Event::Tidied(Box::new(Tidy { pointer, replaced, more }))
            }
            Act::ReadAll { run, .. } => Event::All(Box::new(self.all(run))),
            Act::ListRuns { before, .. } => {
                let old = self.runs_seen().into_iter().filter(|_| before > self.began);
                Event::Runs(old.collect())
            }
            Act::ReadKept { head, pending, .. } => {
                let ends = [self.pointer().map(|pointer| pointer.run), head];
                let ends = ends.into_iter().flatten();
                let mut kept: BTreeSet<RunId> = ends.flat_map(|end| self.all(end).runs).collect();
                let pending = pending.and_then(|run| self.manifest(run));
                kept.extend(pending.into_iter().flat_map(|manifest| manifest.replaces));
                Event::Kept(Some(kept))
            }
            Act::ReadOrphans { runs, .. } => {
                Event::Orphans(runs.into_iter().map(|run| self.orphan(run)).collect())
            }
            Act::ListFiles { run, after, .. } => {
                let mut keys: Vec<String> =
                    self.files_after(run, after.as_ref()).into_iter().map(|(_, key)| key).collect();
                let more = keys.len() > PAGE;
                keys.truncate(PAGE);
                Event::Files(keys, more)
            }
            Act::ListUploads { run, .. } => {
                let folder = format!("orders/extract_run={run}/");
                let found = self.uploads.iter().filter(|(key, _)| key.starts_with(&folder));
                let mut found: Vec<_> = found.cloned().collect();
                let more = found.len() > PAGE;
                found.truncate(PAGE);
                Event::Uploads(found, more)
            }
            Act::Write(_) | Act::End(_) => unreachable!("not a read"),
        }
    }

    /// The runs of a chain, and what its removal that is put off replaces.
    fn chain(&self, run: Option<RunId>, pending: Option<RunId>) -> Vec<RunId> {
        let Some(run) = run.or_else(|| self.pointer().map(|pointer| pointer.run)) else {
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
    fn files_after(&self, run: RunId, after: Option<&String>) -> Vec<(RunId, String)> {
        let folder = format!("orders/extract_run={run}/");
        let keys = self.files.iter().filter(|key| key.starts_with(&folder));
        let keys = keys.filter(|key| after.is_none_or(|after| *key > after));
        keys.map(|key| (run, key.clone())).collect()
    }

    /// Every run that left a control object.
    pub(crate) fn runs_seen(&self) -> BTreeSet<RunId> {
        let names = self.objects.keys().filter_map(|key| key.strip_prefix("orders/_tidemark/"));
        names.filter_map(|name| name.split('/').next()?.parse().ok()).collect()
    }

    fn orphan(&self, run: RunId) -> Orphan {
        let plan = format!("orders/_tidemark/{run}/plan.json");
        let (data, control) =
            (format!("orders/extract_run={run}/"), format!("orders/_tidemark/{run}/"));
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

    fn plan(&self, order: &PlanOrder) -> Plan {
        let high = order.high.clone().unwrap_or_else(|| self.rows_up_to.to_string());
        let fresh = Window {
            low: order.low.clone(),
            low_text: order.low_text.clone(),
            high: Some(high),
            empty: false,
            guard: None,
        };
        let range = |from: Option<&str>, to: Option<&str>| KeyRange {
            from: from.map(Into::into),
            to: to.map(Into::into),
            nulls: from.is_none(),
            part: None,
        };
        Plan {
            version: 1,
            run: order.run,
            source: order.source.clone(),
            engine: crds::source::Engine::Postgres,
            mode: order.mode,
            table: TableName { schema: "public".to_owned(), table: "orders".to_owned() },
            columns: Vec::new(),
            watermark: Some(PlannedWatermark {
                column: "id".to_owned(),
                value_type: WatermarkType::Int,
                null_policy: NullPolicy::Fail,
            }),
            window: order.owed.clone().unwrap_or(fresh),
            filter: None,
            partition_column: Some("id".to_owned()),
            partitioning: None,
            ranges: vec![range(None, Some("10")), range(Some("10"), None)],
            snapshot: Some("s".to_owned()),
            unproven: None,
            unenforced: false,
            estimated_rows: 20,
            filter_settings: std::collections::BTreeMap::new(),
            filtered_rows: None,
            warnings: Vec::new(),
            shape: Shape::default(),
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
                    key: format!("orders/extract_run={run}/part-{index}.parquet"),
                    upload_id: format!("u{run}{index}"),
                    parts: vec!["e".to_owned()],
                    checksums: Vec::new(),
                    bytes: 100,
                    rows: 10,
                }],
            })
            .collect();
        let dead = format!("orders/extract_run={run}/part-dead.parquet");
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
        self.object("orders/_tidemark/current.json")
    }

    pub(crate) fn manifest(&self, run: RunId) -> Option<Manifest> {
        self.object(&format!("orders/_tidemark/{run}/manifest.json"))
    }

    fn head(&self, run: RunId) -> Option<ManifestHead> {
        self.object(&format!("orders/_tidemark/{run}/manifest.json"))
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

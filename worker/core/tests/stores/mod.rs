//! S3 and the tracking table in memory, as far as the protocol needs them.

use std::collections::{BTreeMap, BTreeSet};

use crds::extract_job::ExtractType;
use crds::task::RecoverOrder;
use crds::tracking::{ObjectStore, OutcomeItem, RunItem, WatermarkItem, outcome_key, run_key};
use crds::{Reason, Report, RunId, Task};
use serde_json::{from_slice, from_value, json};
use worker_core::layout::manifests::{
    ListedFile, Lists, Manifest, ManifestFile, ManifestHead, Pointer,
};
use worker_core::layout::records::PartitionRecord;
use worker_core::protocol::{Act, Effect, Ending, Event, Item, NewManifest, Process, Reply, step};

mod plan;
mod reads;

const KEY: &str = "shop.orders";

/// Everything outside the process.
pub(crate) struct Stores {
    pub(crate) items: BTreeMap<String, Item>,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) uploads: BTreeSet<(String, String)>,
    pub(crate) files: BTreeSet<String>,
    /// Number of partitions of each plan.
    pub(crate) partitions: u32,
    /// Bytes of the largest item so far, as JSON.
    pub(crate) largest_item_bytes: usize,
    /// Greatest watermark in the table.
    pub(crate) rows_up_to: i64,
    pub(crate) now: i64,
    /// When every run so far began.
    pub(crate) began: i64,
    /// The prefix whose bucket cannot be read.
    pub(crate) unreachable: Option<String>,
    /// Parts of the keys that a lock protects, and until when.
    pub(crate) locked: BTreeMap<String, i64>,
    /// In which store each object was deleted.
    pub(crate) deleted: Vec<Option<ObjectStore>>,
    /// How many dead runs one act has room for.
    pub(crate) orphans_at_once: usize,
    /// It cannot be read only once something was removed there.
    pub(crate) midway: bool,
    heads: BTreeSet<RunId>,
    records: BTreeMap<RunId, Vec<PartitionRecord>>,
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
        "owner": { "uid": uid, "request": "r", "hashVersion": 1, "generation": 1 },
        "spec": {
            "source": { "engine": "postgres", "database": "shop", "credentials": {} },
            "extract": { "table": "orders", "type": kind.name(),
                "watermark": (kind == ExtractType::PE).then(|| json!({ "column": "id", "type": "int" })) },
            "output": { "uri": "s3://lake/orders" },
        },
    });
    from_value(value).unwrap()
}

pub(crate) fn order(last: bool, aborted: bool) -> RecoverOrder {
    RecoverOrder { last, aborted, report: Report::new(Reason::PodLost, "a pod was lost", "") }
}

/// Size of an item as JSON. DynamoDB counts fewer bytes, because it does not count quotes and colons.
fn bytes(item: &Item) -> usize {
    let text = match item {
        Item::Watermark(item) => serde_json::to_string(item),
        Item::Run(item) => serde_json::to_string(item),
        Item::Outcome(item) => serde_json::to_string(item),
    };
    text.unwrap().len()
}

impl Stores {
    pub(crate) fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            objects: BTreeMap::new(),
            uploads: BTreeSet::new(),
            files: BTreeSet::new(),
            partitions: 2,
            largest_item_bytes: 0,
            rows_up_to: 20,
            now: 1_700_000_000,
            began: 1_700_000_000,
            unreachable: None,
            midway: false,
            locked: BTreeMap::new(),
            deleted: Vec::new(),
            orphans_at_once: usize::MAX,
            heads: BTreeSet::new(),
            records: BTreeMap::new(),
            runs: 1 << 64,
        }
    }

    /// Drives a process to its end, or until it dies after so many writes: `None` then.
    pub(crate) fn drive(&mut self, mut process: Process, mut writes: usize) -> Option<Ending> {
        let mut event = Event::Begin;
        for _ in 0..1000 {
            let (next, act) = step(process, event);
            process = next;
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
                act => self.read(act, process.role.task()),
            };
        }
        panic!("the process does not end: {:?}", process.phase);
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
                let holds = |write: &worker_core::protocol::ItemWrite| {
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
                        self.largest_item_bytes = self.largest_item_bytes.max(bytes(&item));
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
            Effect::Delete { key, store, .. } => {
                self.deleted.push(store);
                let lock = self.locked.iter().find(|(part, _)| key.contains(*part));
                if let Some((_, until)) = lock.filter(|(_, until)| **until > self.now) {
                    return Reply::Locked(*until);
                }
                self.files.remove(&key);
                self.objects.remove(&key);
                Reply::Done
            }
        }
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
        self.object(self.manifest_key(run)?)
    }

    /// Under whichever prefix it is.
    fn manifest_key(&self, run: RunId) -> Option<&str> {
        let name = format!("/_tidemark/{run}/manifest.json");
        self.objects.keys().find(|key| key.ends_with(&name)).map(String::as_str)
    }

    fn head(&self, run: RunId) -> Option<ManifestHead> {
        self.object(self.manifest_key(run)?)
    }

    pub(crate) fn run(&self) -> Option<RunItem> {
        match self.items.get(&run_key(KEY)) {
            Some(Item::Run(item)) => Some((**item).clone()),
            _ => None,
        }
    }

    pub(crate) fn watermark_item(&self) -> Option<WatermarkItem> {
        match self.items.get(KEY) {
            Some(Item::Watermark(item)) => Some((**item).clone()),
            _ => None,
        }
    }

    pub(crate) fn put_watermark_item(&mut self, item: WatermarkItem) {
        self.items.insert(KEY.to_owned(), Item::Watermark(Box::new(item)));
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

    /// What must hold whenever nothing is in flight: the pointer names the head, and exactly the
    /// files of its chain can be seen.
    pub(crate) fn check(&self) {
        let pointer = self.pointer().unwrap();
        let run = self.run().unwrap();
        assert_eq!(Some(pointer.run), run.head.map(|head| head.run));
        assert!(
            run.pending_cleanup.is_none_or(|pending_cleanup| !pending_cleanup.pointer),
            "the pointer is behind"
        );
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

//! In: what `step` asks for. Out: [`Ask`]: the same with every key and value as a number.
//! Bound: one act. Fails: never.

use crds::output::RunFolder;
use worker_core::layout::objects::Prefix;
use worker_core::protocol::{Act, Effect, Ending, NewManifest, Step, Transaction};

use crate::pool::NONE;
use crate::shop::{Shop, number};

/// One act, compiled.
#[derive(Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) act: Act,
    pub(crate) kind: Kind,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    Read,
    Plan,
    /// Run, key of its plan, keys of its records.
    Extract(u8, Vec<u32>),
    /// Keys of the records that name the uploads, and their hash.
    Assure(Vec<u32>, String),
    /// Run if known, run whose removal is still to come, prefix.
    Chain(Option<u8>, Option<u8>, u8),
    Fetch(u32),
    /// Key of the pointer, of the manifest, whether replaced manifests are wanted, prefix.
    Cleanup(u32, u32, bool, u8),
    /// Folder of the run.
    List(String),
    /// Prefix.
    Runs(u8),
    /// Prefix, head there, run whose removal is still to come.
    Kept(u8, Option<u8>, Option<u8>),
    /// Prefix, runs.
    Orphans(u8, Vec<u8>),
    /// Prefix, run.
    Files(u8, u8),
    Write(Vec<Op>),
    End(End),
}

/// One external write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Track(Transaction, Vec<u32>),
    Put {
        key: u32,
        body: u32,
    },
    /// Key, what is known of it, keys of the records that name its files.
    Manifest(u32, Box<NewManifest>, Vec<u32>),
    Pointer {
        key: u32,
        body: u32,
        etag: Option<String>,
    },
    /// What the manifest of that key names, each by [`Self::Complete`].
    CompleteAll {
        manifest: u32,
    },
    /// The manifest that was to say what to complete is not there.
    Unknown,
    Complete {
        upload: u32,
    },
    Abort {
        upload: u32,
    },
    Delete {
        key: u32,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    Published,
    DecidedRun,
    Answered,
    Recovered,
    Failed,
    Fenced,
    Permanent,
    /// With the reason `TrackingLost`.
    Lost,
    Defect,
}

impl Op {
    pub(crate) fn step(&self) -> Option<Step> {
        match self {
            Self::Track(transaction, _) => Some(transaction.step),
            Self::Put { .. }
            | Self::Manifest(..)
            | Self::Pointer { .. }
            | Self::CompleteAll { .. }
            | Self::Unknown
            | Self::Complete { .. }
            | Self::Abort { .. }
            | Self::Delete { .. } => None,
        }
    }
}

impl Kind {
    /// The transaction that is to be written, if it is one.
    pub(crate) fn step(&self) -> Option<Step> {
        match self {
            Self::Write(ops) => ops.iter().find_map(Op::step),
            _ => None,
        }
    }
}

fn prefix_number(uri: &str) -> u8 {
    (0..2).find(|number| crate::shop::uri(*number) == uri).unwrap_or(0)
}

fn ending(ending: &Ending) -> End {
    use crds::Reason;
    use crds::condition::Exit;
    match ending {
        Ending::Published(_) => End::Published,
        Ending::FinishedByAnother => End::DecidedRun,
        Ending::Answered => End::Answered,
        Ending::Recovered => End::Recovered,
        Ending::Failed(failure) if failure.report.reason == Reason::Internal => End::Defect,
        Ending::Failed(failure) if failure.report.reason == Reason::TrackingLost => End::Lost,
        Ending::Failed(failure) => match failure.exit {
            Exit::Fenced => End::Fenced,
            Exit::Permanent => End::Permanent,
            _ => End::Failed,
        },
    }
}

impl Shop {
    pub(crate) fn compile(&self, act: Act) -> u32 {
        let kind = self.kind(&act);
        self.asks.put(Ask { act, kind })
    }

    fn kind(&self, act: &Act) -> Kind {
        let parse = |uri: &str| Prefix::parse(uri).expect("a uri of the model");
        match act {
            Act::Read => Kind::Read,
            Act::Plan(_) => Kind::Plan,
            Act::Extract(held) => {
                let partitions = u32::try_from(held.plan.partitions.len()).unwrap_or(0);
                let run = held.run.run;
                Kind::Extract(number(run), self.record_keys(&held.run.uri, run, partitions))
            }
            Act::Assure { uri, run, records, hash } => {
                Kind::Assure(self.record_keys(uri, *run, *records), hash.clone())
            }
            Act::ReadChain { uri, run, pending } => {
                Kind::Chain(run.map(number), pending.map(number), prefix_number(uri))
            }
            Act::ReadManifest { uri, run } => Kind::Fetch(self.keys.put(parse(uri).manifest(*run))),
            Act::ReadCleanup { uri, run, removal, .. } => {
                let prefix = parse(uri);
                let (pointer, manifest) = (prefix.pointer(), prefix.manifest(*run));
                let (pointer, manifest) = (self.keys.put(pointer), self.keys.put(manifest));
                Kind::Cleanup(pointer, manifest, *removal, prefix_number(uri))
            }
            Act::ListUploads { uri, run } => {
                // no run at all stands for the whole prefix: only a planted mistake asks for it
                let prefix = parse(uri);
                Kind::List(if number(*run) == 0 {
                    format!("{}/", prefix.prefix)
                } else {
                    prefix.data_folder(*run, RunFolder::Run)
                })
            }
            Act::ListRuns { uri, .. } => Kind::Runs(prefix_number(uri)),
            Act::ReadKept { uri, head, pending } => {
                Kind::Kept(prefix_number(uri), head.map(number), pending.map(number))
            }
            Act::ReadOrphans { uri, runs } => {
                Kind::Orphans(prefix_number(uri), runs.iter().map(|run| number(*run)).collect())
            }
            Act::ListFiles { uri, run, .. } => Kind::Files(prefix_number(uri), number(*run)),
            // no case has a chain of twenty
            Act::ReadAll { .. } => Kind::End(End::Defect),
            Act::Write(effects) => Kind::Write(effects.iter().map(|one| self.op(one)).collect()),
            Act::End(end) => Kind::End(ending(end)),
        }
    }

    fn record_keys(&self, uri: &str, run: crds::RunId, count: u32) -> Vec<u32> {
        let prefix = Prefix::parse(uri).expect("a uri of the model");
        (0..count).map(|index| self.keys.put(prefix.record(run, index))).collect()
    }

    fn op(&self, effect: &Effect) -> Op {
        match effect {
            Effect::Track(transaction) => {
                let keys = transaction.writes.iter().map(|write| self.keys.put(write.key.clone()));
                Op::Track(transaction.clone(), keys.collect())
            }
            Effect::PutOnce { key, body, .. } => {
                Op::Put { key: self.keys.put(key.clone()), body: self.body(key, body.clone()) }
            }
            Effect::PutManifest(new) => {
                let records = self.record_keys(&new.uri, new.head.run, new.head.partitions);
                Op::Manifest(self.keys.put(new.key.clone()), new.clone(), records)
            }
            Effect::CompleteAll { uri, run } => {
                let prefix = Prefix::parse(uri).expect("a uri of the model");
                Op::CompleteAll { manifest: self.keys.put(prefix.manifest(*run)) }
            }
            Effect::PutPointer { key, body, etag, .. } => Op::Pointer {
                key: self.keys.put(key.clone()),
                body: self.body(key, body.clone()),
                etag: etag.clone(),
            },
            Effect::Complete { file, .. } => {
                Op::Complete { upload: self.upload(&file.key, &file.upload_id) }
            }
            Effect::Abort { key, upload_id, .. } => {
                Op::Abort { upload: self.upload(key, upload_id) }
            }
            Effect::Delete { key, .. } => Op::Delete { key: self.keys.put(key.clone()) },
        }
    }

    /// The items that a transaction puts, as numbers.
    pub(crate) fn puts(&self, transaction: &Transaction) -> Vec<u32> {
        let put = |item: &Option<worker_core::protocol::Item>| {
            item.clone().map_or(NONE, |item| self.items.put(item))
        };
        transaction.writes.iter().map(|write| put(&write.put)).collect()
    }
}

impl Op {
    /// Whether a write that is sent again, its first reply lost, is refused.
    pub(crate) fn has_reply(&self) -> bool {
        matches!(
            self,
            Self::Track(..) | Self::Put { .. } | Self::Manifest(..) | Self::Pointer { .. }
        )
    }
}

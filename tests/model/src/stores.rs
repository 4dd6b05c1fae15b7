//! In: one external write. Out: the state after it, and the reply. Bound: one write. Fails: never;
//! a condition that does not hold is a reply.

use std::borrow::Cow;

use worker_core::layout::manifests::{Lists, ManifestFile};
use worker_core::layout::records::{PartitionRecord, RecordsHash};
use worker_core::protocol::{Expect, Item, NewManifest, Transaction};

use crate::alter::Lie;
use crate::asks::Op;
use crate::bodies::Parsed;
use crate::inputs::{DONE, GONE, REFUSED, etag};
use crate::pool::NONE;
use crate::rules::{self, Touched};
use crate::shop::Shop;
use crate::state::{State, get, set};

/// A condition that always holds: only planted mistakes write it.
pub(crate) const ANY: &str = "*";
/// A revision that stands for any, state included: only planted mistakes write it.
pub(crate) const ANY_REVISION: u64 = u64::MAX;
/// A key that stands for the files of all runs but one: only planted mistakes write it.
pub(crate) const OTHERS: &str = "all but run ";

/// The product's meaning of a condition, and that of the marks above.
fn holds(expect: &Expect, there: Option<&Item>) -> bool {
    match (expect, there) {
        (Expect::WatermarkLow(low), _) if low == ANY => true,
        (Expect::Run { run, revision: ANY_REVISION, .. }, Some(Item::Run(item))) => {
            item.run == *run
        }
        _ => expect.holds(there),
    }
}

impl Shop {
    /// Applies one write of the process of slot `at`.
    pub(crate) fn apply(&self, state: &mut State, at: usize, op: &Op) -> u8 {
        match op {
            Op::Track(transaction, keys) => self.track(state, at, (transaction, keys)),
            Op::Put { key, body } => {
                if state.object(*key) != NONE {
                    return REFUSED;
                }
                set(&mut state.objects, *key, *body);
                DONE
            }
            Op::Manifest(key, new, records) => match self.manifest(state, new, records) {
                Some(body) => self.apply(state, at, &Op::Put { key: *key, body }),
                // `perform` has found the records
                None => REFUSED,
            },
            Op::Unknown | Op::CompleteAll { .. } => GONE,
            Op::Pointer { key, body, etag: read } => {
                let there = state.object(*key);
                let found = (there != NONE).then(|| etag(there));
                // `*` is what a planted mistake asks for: any value
                if found != *read && read.as_deref() != Some(ANY) {
                    return REFUSED;
                }
                set(&mut state.objects, *key, *body);
                rules::put(self, state, Touched { key: *key, before: there, after: *body });
                DONE
            }
            Op::Complete { upload } => self.complete(state, *upload),
            Op::Abort { upload } => {
                if state.close(*upload) {
                    rules::aborted(self, state, *upload);
                }
                DONE
            }
            Op::Delete { key } if self.keys.get(*key).starts_with(OTHERS) => {
                let kept =
                    self.keys.get(*key).strip_prefix(OTHERS).and_then(|run| run.parse().ok());
                for (key, upload) in state.files.clone() {
                    let run = self.uploads.get(upload).run;
                    if Some(run) != kept {
                        set(&mut state.files, key, NONE);
                        rules::removed(self, state, run);
                    }
                }
                DONE
            }
            Op::Delete { key } if state.object(*key) != NONE => {
                let body = self.bodies.get(state.object(*key));
                set(&mut state.objects, *key, NONE);
                if let Some(run) = body.run() {
                    rules::removed(self, state, run);
                }
                DONE
            }
            Op::Delete { key } => {
                let upload = get(&state.files, *key);
                if upload != NONE {
                    set(&mut state.files, *key, NONE);
                    rules::removed(self, state, self.uploads.get(upload).run);
                }
                DONE
            }
        }
    }

    /// The records with these keys, if all are there.
    pub(crate) fn records_at(&self, state: &State, keys: &[u32]) -> Option<Vec<PartitionRecord>> {
        let record = |key: &u32| match &self.bodies.find(state.object(*key))?.parsed {
            Parsed::Record(record) => Some((**record).clone()),
            _ => None,
        };
        keys.iter().map(record).collect()
    }

    /// The bytes of a manifest, made of the records as they are now: those that were checked, or else
    /// none.
    pub(crate) fn manifest(&self, state: &State, new: &NewManifest, keys: &[u32]) -> Option<u32> {
        let records = self.records_at(state, keys)?;
        let (mut body, mut hash) = (Vec::new(), RecordsHash::default());
        let mut lists = Lists::begin(&new.head, &mut body);
        for record in records {
            hash.add(&record);
            ManifestFile::of(record).for_each(|file| lists.file(&mut body, &file));
        }
        lists.end(&mut body);
        (hash.finish() == new.hash).then(|| self.body(&new.key, body))
    }

    /// The writes that these consist of, for the process of slot `at`.
    pub(crate) fn singles<'a>(&self, state: &State, at: usize, ops: &'a [Op]) -> Cow<'a, [Op]> {
        if !ops.iter().any(|op| matches!(op, Op::CompleteAll { .. })) {
            return Cow::Borrowed(ops);
        }
        let mut singles = Vec::new();
        for op in ops {
            let Op::CompleteAll { manifest } = op else {
                singles.push(op.clone());
                continue;
            };
            let body = self.bodies.find(state.object(*manifest));
            match body.as_ref().map(|body| &body.parsed) {
                Some(Parsed::Manifest(facts)) => {
                    let complete = |(_, upload): &(u32, u32)| Op::Complete { upload: *upload };
                    singles.extend(facts.files.iter().map(complete));
                }
                // removed in the middle: the rest cannot be completed
                _ => {
                    let begun = state.procs[at].replies.len().max(1);
                    singles.resize(begun.max(singles.len()), Op::Unknown);
                }
            }
        }
        Cow::Owned(singles)
    }

    fn track(
        &self,
        state: &mut State,
        at: usize,
        (transaction, keys): (&Transaction, &[u32]),
    ) -> u8 {
        let before = state.clone();
        if !self.write_items(state, transaction, keys) {
            return REFUSED;
        }
        rules::tracked(self, &before, state, at, transaction.step);
        DONE
    }

    fn write_items(&self, state: &mut State, transaction: &Transaction, keys: &[u32]) -> bool {
        let holds =
            transaction.writes.iter().zip(keys).all(|(write, key)| {
                holds(&write.expect, self.items.find(state.item(*key)).as_deref())
            });
        if holds {
            for (put, key) in self.puts(transaction).into_iter().zip(keys) {
                if put != NONE {
                    set(&mut state.items, *key, put);
                }
            }
        }
        holds
    }

    /// A transaction of nobody's process; whether it held.
    pub(crate) fn transact(&self, state: &mut State, transaction: &Transaction) -> bool {
        let keys = transaction.writes.iter().map(|write| self.keys.put(write.key.clone()));
        self.write_items(state, transaction, &keys.collect::<Vec<_>>())
    }

    /// As S3 does: an upload that is gone may have been completed by us.
    fn complete(&self, state: &mut State, upload: u32) -> u8 {
        let key = self.uploads.get(upload).key_id;
        let run = self.uploads.get(upload).run;
        let open = state.close(upload);
        if open || (self.alter.lie == Lie::CompletesAgain && get(&state.files, key) == NONE) {
            set(&mut state.files, key, upload);
            rules::shown(self, state, run);
            return DONE;
        }
        if get(&state.files, key) == upload { DONE } else { GONE }
    }

    /// A pod writes its record; `false`: another's is there.
    pub(crate) fn put_record(&self, state: &mut State, key: u32, body: u32) -> bool {
        let there = state.object(key);
        if there != NONE && self.alter.lie != Lie::RecordsOverwritten {
            return there == body;
        }
        set(&mut state.objects, key, body);
        rules::put(self, state, Touched { key, before: there, after: body });
        true
    }
}

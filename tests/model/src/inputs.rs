//! In: numbers of what a process received. Out: the [`Event`] that the product's `step` takes.
//! Bound: one event. Fails: never.

use crds::tracking::{OutcomeItem, RunItem, WatermarkItem};
use crds::{Reason, RunId};
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{ManifestHead, Pointer};
use worker_core::layout::records::{PartitionRecord, tally};
use worker_core::protocol::{Act, Cleanup, Event, Item, ObservedItems, Reply};

use crate::bodies::Parsed;
use crate::config::Sweeping;
use crate::database;
use crate::shop::{Next, Shop, TICK, identity, run_id};

/// What a process received, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Begin,
    /// The run item, the watermark item, the outcome item, the outcome item of the coordinator; pointer, identity; clock, fresh run.
    ObservedItems([u32; 4], [u32; 2], u8, u8),
    /// Epoch of the guard, epoch of the snapshot, clock.
    Planned(u8, u8, u8),
    Recorded(Vec<u32>),
    RenewDue(u8, u32),
    Assured(u8),
    Chain(Vec<u8>),
    Fetched(u32),
    /// The pointer; run and key of replaced files.
    CleanupRead(u32, Vec<(u8, u32)>),
    Uploads(Vec<u32>),
    Replied(Vec<u8>),
    Runs(Vec<u8>),
    /// Absent: the prefix is not marked.
    Kept(Option<Vec<u8>>),
    Orphans(Vec<Left>),
    /// Keys.
    Files(Vec<u32>),
    /// Something failed that may pass.
    Transient,
    /// The snapshot's session, or an upload, is gone.
    Lost,
}

/// What a dead run left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) run: u8,
    pub(crate) prefix: u8,
    pub(crate) uploads: Vec<u32>,
    /// Keys of its objects but for the plan.
    pub(crate) keys: Vec<u32>,
}

/// `Done`, `Refused`, `Gone` as numbers.
pub(crate) const DONE: u8 = 0;
pub(crate) const REFUSED: u8 = 1;
pub(crate) const GONE: u8 = 2;

pub(crate) fn seconds(clock: u8) -> i64 {
    i64::from(clock) * TICK
}

/// The version of a pointer, in text.
pub(crate) fn etag(body: u32) -> String {
    format!("v{body}")
}

impl Shop {
    /// The next state of a process that is at `process`, was asked `ask` and receives `input`.
    pub(crate) fn next(&self, process: u32, ask: u32, input: Input) -> Next {
        self.nexts.of((process, ask, input), |(process, ask, input)| {
            let before = (*self.processes.get(*process)).clone();
            let event = self.event(*ask, input);
            let (mut after, mut act) = self.step(before, event);
            // where no run is older than the grace, a sweep finds nothing
            let young = self.config.sweeping == Sweeping::AfterOutside;
            while let (Act::ListRuns { .. }, true) = (&act, young) {
                (after, act) = self.step(after, Event::Runs(Vec::new()));
            }
            Next { process: self.processes.put(after), ask: self.compile(act) }
        })
    }

    fn event(&self, ask: u32, input: &Input) -> Event {
        match input {
            Input::Begin => Event::Begin,
            Input::ObservedItems(items, objects, clock, fresh) => {
                let (observed, fresh) = self.observed(*items, *objects, *clock, *fresh);
                Event::Observed(Box::new(observed), fresh)
            }
            Input::Planned(guard, snapshot, clock) => {
                let ask = self.asks.get(ask);
                let Act::Plan(order) = &ask.act else { return lost() };
                match database::plan(&self.config, order, *guard, *snapshot) {
                    Ok(plan) => Event::Planned(Box::new(plan), seconds(*clock)),
                    Err(failure) => Event::Failed(failure),
                }
            }
            Input::Recorded(bodies) => {
                let record = |body: &u32| match &self.bodies.get(*body).parsed {
                    Parsed::Record(record) => Some((**record).clone()),
                    _ => None,
                };
                let records: Vec<PartitionRecord> = bodies.iter().filter_map(record).collect();
                let ask = self.asks.get(ask);
                let Act::Extract(held) = &ask.act else { return lost() };
                match tally(&held.plan, &held.plan_hash, &records) {
                    Ok(tally) => Event::Recorded(Box::new(tally)),
                    Err(failure) => Event::Failed(failure),
                }
            }
            Input::RenewDue(clock, records) => Event::RenewDue(seconds(*clock), *records),
            Input::Assured(clock) => Event::Assured(seconds(*clock)),
            Input::Chain(runs) => Event::Chain(runs.iter().map(|run| run_id(*run)).collect()),
            Input::Fetched(body) => match self.head_of(*body) {
                Some(head) => Event::Fetched(Box::new(head)),
                None => lost(),
            },
            Input::CleanupRead(pointer, replaced) => {
                let pointer = self.pointer_of(*pointer).map(|found| (found, etag(*pointer)));
                let file = |(run, key): &(u8, u32)| (run_id(*run), (*self.keys.get(*key)).clone());
                let replaced = replaced.iter().map(file).collect();
                Event::CleanupRead(Box::new(Cleanup { pointer, replaced, more: false }))
            }
            Input::Uploads(found) => {
                let pair = |upload: &u32| {
                    let upload = self.uploads.get(*upload);
                    (upload.key.clone(), upload.id.clone())
                };
                Event::Uploads(found.iter().map(pair).collect(), false)
            }
            Input::Runs(runs) => Event::Runs(runs.iter().map(|run| run_id(*run)).collect()),
            Input::Kept(kept) => {
                Event::Kept(kept.as_ref().map(|kept| kept.iter().map(|run| run_id(*run)).collect()))
            }
            Input::Orphans(found) => {
                Event::Orphans(found.iter().map(|left| self.orphan(left)).collect())
            }
            Input::Files(keys) => {
                let keys = keys.iter().map(|key| (*self.keys.get(*key)).clone());
                Event::Files(keys.collect(), false)
            }
            Input::Replied(replies) => Event::Replied(replies.iter().copied().map(reply).collect()),
            Input::Transient => {
                Event::Failed(Failure::transient(Reason::DatabaseFailed, "a fault", ""))
            }
            Input::Lost => lost(),
        }
    }

    fn observed(
        &self,
        items: [u32; 4],
        objects: [u32; 2],
        clock: u8,
        fresh: u8,
    ) -> (ObservedItems, RunId) {
        let [run, watermark_item, outcome, coordinator] = items;
        let [pointer, source] = objects;
        let identity_found = self.bodies.find(source).and_then(|body| match &body.parsed {
            Parsed::Identity(found) => Some(found.clone()),
            _ => None,
        });
        let observed = ObservedItems {
            now: seconds(clock),
            run: self.run_item(run),
            watermark_item: self.watermark_item(watermark_item),
            outcome: self.outcome_item(outcome),
            owner_outcome: self.outcome_item(coordinator),
            pointer: self.pointer_of(pointer),
            identity: identity_found,
            own_identity: identity(),
        };
        (observed, run_id(fresh))
    }

    pub(crate) fn run_item(&self, id: u32) -> Option<RunItem> {
        self.items.find(id).and_then(|item| match &*item {
            Item::Run(run) => Some((**run).clone()),
            Item::Watermark(_) | Item::Outcome(_) => None,
        })
    }

    pub(crate) fn watermark_item(&self, id: u32) -> Option<WatermarkItem> {
        self.items.find(id).and_then(|item| match &*item {
            Item::Watermark(watermark_item) => Some((**watermark_item).clone()),
            Item::Run(_) | Item::Outcome(_) => None,
        })
    }

    pub(crate) fn outcome_item(&self, id: u32) -> Option<OutcomeItem> {
        self.items.find(id).and_then(|item| match &*item {
            Item::Outcome(outcome) => Some((**outcome).clone()),
            Item::Run(_) | Item::Watermark(_) => None,
        })
    }

    /// A manifest as the protocol is shown it.
    fn head_of(&self, body: u32) -> Option<ManifestHead> {
        let manifest = self.bodies.find(body)?;
        serde_json::from_slice(&manifest.bytes).ok()
    }

    pub(crate) fn pointer_of(&self, body: u32) -> Option<Pointer> {
        self.bodies.find(body).and_then(|body| match &body.parsed {
            Parsed::Pointer(pointer) => Some(pointer.clone()),
            _ => None,
        })
    }
}

fn reply(number: u8) -> Reply {
    match number {
        DONE => Reply::Done,
        REFUSED => Reply::Refused,
        _ => Reply::Gone,
    }
}

fn lost() -> Event {
    Event::Failed(Failure::transient(Reason::SnapshotLost, "it is gone", ""))
}

//! In: task records. Out: commits. Bound: one act at a time, 16 writes of an act at a time.
//! Fails: [`Failure`] of the act that failed.
//!
//! Drives the protocol: asks `step` what to do, does it, and tells `step` what happened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crds::tracking::{OutcomeItem, RunItem, outcome_key, run_key};
use crds::{RunId, Task};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;
use uuid::Uuid;
use worker_core::batches::MemoryBudget;
use worker_core::commits::{Act, Carrier, Effect, Ending, Event, Held, Reply, Seen, Tidy, step};
use worker_core::error::Failure;
use worker_core::manifests::{Manifest, Pointer, SourceIdentity};
use worker_core::plan::CONTROL_VERSION;
use worker_core::records::TaskRecord;

use crate::batches::budget_from_cgroup;
use crate::bounds::Holder;
use crate::control::{Control, Only};
use crate::extract::{Extraction, here};
use crate::pause::Pause;
use crate::run::Durations;
use crate::sessions::Login;
use crate::shutdown::Stop;
use crate::stores::Stores;
use crate::tracking::TrackingTable;

/// Writes of one act that are under way at a time.
const WRITES_AT_ONCE: usize = 16;

/// Who reads the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// This process.
    Here {
        /// Ranges read at a time.
        parallel: usize,
        /// Memory for all of them.
        budget: MemoryBudget,
    },
    /// Pods of an extract Job; a plan of at most one range is read here all the same.
    Pods,
}

/// Everything that the acts of one process need.
pub struct World {
    /// For whom.
    pub task: Task,
    /// S3 and DynamoDB.
    pub stores: Stores,
    /// How to log in to the database; absent in settle.
    pub login: Option<Login>,
    /// Who reads the ranges.
    pub readers: Readers,
    /// Flags.
    pub durations: Durations,
    /// Signals.
    pub stop: Stop,
    /// Pause points for tests.
    pub pause: Pause,
    /// Called once the run is pinned and the snapshot held.
    pub ready: Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>,
    /// Where ranges that are read here stand.
    pub extraction: Option<Extraction>,
    /// The session that exported the snapshot.
    pub holder: Option<Holder>,
}

/// Drives `carrier` to its end.
pub async fn drive(mut carrier: Carrier, world: &mut World) -> Ending {
    let mut event = Event::Begin;
    loop {
        let (next, act) = step(carrier, event);
        carrier = next;
        tracing::debug!(act = act_name(&act), "next act");
        event = match act {
            Act::End(ending) => {
                world.stop_reading().await;
                return ending;
            }
            act => Box::pin(world.perform(act)).await.unwrap_or_else(Event::Failed),
        };
    }
}

fn act_name(act: &Act) -> &'static str {
    match act {
        Act::Read => "read",
        Act::Write(_) => "write",
        Act::Plan(_) => "plan",
        Act::Extract(_) => "extract",
        Act::Assure(_) => "assure",
        Act::ReadChain { .. } => "read chain",
        Act::ReadManifest { .. } => "read manifest",
        Act::ReadTidy { .. } => "read tidy",
        Act::ListUploads { .. } => "list uploads",
        Act::End(_) => "end",
    }
}

/// Seconds since 1970, UTC.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl World {
    async fn perform(&mut self, act: Act) -> Result<Event, Failure> {
        match act {
            Act::Read => self.look().await,
            Act::Write(effects) => self.write(effects).await,
            Act::Plan(order) => self.plan(&order).await,
            Act::Extract(held) => match self.extract(&held).await {
                Ok(event) => Ok(event),
                Err(failure) => {
                    // FAIL lists the open uploads: no new one may begin after that
                    self.stop_reading().await;
                    Err(failure)
                }
            },
            Act::Assure(records) => self.assure(&records).await,
            Act::ReadChain { uri, run } => {
                let runs = self.chain(&uri, run).await?;
                Ok(Event::Chain(runs))
            }
            Act::ReadManifest { uri, run } => {
                let manifest = self.manifest(&uri, run).await?;
                Ok(Event::Fetched(Box::new(manifest)))
            }
            Act::ReadTidy { uri, run, removal } => self.tidy(&uri, run, removal).await,
            Act::ListUploads { uri, run } => {
                Ok(Event::Uploads(self.control(&uri)?.uploads(run).await?))
            }
            // `drive` never hands it here
            Act::End(_) => Err(Failure::stopped()),
        }
    }

    async fn stop_reading(&mut self) {
        if let Some(extraction) = self.extraction.take() {
            extraction.stop().await;
        }
    }

    fn control(&self, uri: &str) -> Result<Control, Failure> {
        Control::new(self.stores.s3.clone(), uri)
    }

    fn table(&self) -> TrackingTable {
        TrackingTable::new(self.stores.dynamodb.clone(), self.task.tracking.table.clone())
    }

    async fn look(&self) -> Result<Event, Failure> {
        let (key, uid) = (&self.task.tracking.key, &self.task.owner.uid);
        let table = self.table();
        self.pause.at("before-read").await;
        // what follows from `R` is read after it, what `R` follows from before it: see `Seen`
        let (pointer, identity) = self.prefix_says().await?;
        let outcome = table.read(&outcome_key(key, uid)).await?;
        let run: Option<RunItem> = table.read(&run_key(key)).await?;
        let legacy = table.read(key).await?;
        let holder_outcome: Option<OutcomeItem> = match &run {
            Some(run) if run.owner.uid != *uid => {
                table.read(&outcome_key(key, &run.owner.uid)).await?
            }
            Some(_) | None => None,
        };
        let seen = Seen {
            now: now(),
            run,
            legacy,
            outcome,
            holder_outcome,
            pointer,
            identity,
            own_identity: self.identity(),
        };
        Ok(Event::Seen(Box::new(seen), RunId(Uuid::now_v7())))
    }

    /// What a claim turns on. Settle claims nothing, and must end what never had a bucket or the
    /// right to look into it: it does not look.
    async fn prefix_says(&self) -> Result<(Option<Pointer>, Option<SourceIdentity>), Failure> {
        if self.login.is_none() {
            return Ok((None, None));
        }
        let control = self.control(&self.task.spec.output.uri)?;
        let pointer: Option<(Pointer, String)> = control.read(&control.prefix.pointer()).await?;
        let identity: Option<(SourceIdentity, String)> =
            control.read(&control.prefix.source()).await?;
        Ok((pointer.map(|(pointer, _)| pointer), identity.map(|(identity, _)| identity)))
    }

    fn identity(&self) -> SourceIdentity {
        let tracking = &self.task.tracking;
        let region = self.stores.dynamodb.config().region().map(ToString::to_string);
        SourceIdentity {
            version: CONTROL_VERSION,
            tracking: tracking.endpoint.clone().or(region).unwrap_or_default(),
            table: tracking.table.clone(),
            source: tracking.key.clone(),
        }
    }

    async fn write(&self, effects: Vec<Effect>) -> Result<Event, Failure> {
        let named = effects.first().map(|effect| effect_name(effect));
        if let Some(name) = named {
            self.pause.at(&format!("before-{name}")).await;
        }
        let replies: Vec<Reply> = stream::iter(effects)
            .map(|effect| self.effect(effect))
            .buffered(WRITES_AT_ONCE)
            .try_collect()
            .await?;
        if let Some(name) = named {
            self.pause.at(&format!("after-{name}")).await;
        }
        Ok(Event::Replied(replies))
    }

    async fn effect(&self, effect: Effect) -> Result<Reply, Failure> {
        tracing::info!(effect = effect_name(&effect), "write");
        match effect {
            Effect::Track(transaction) => self.table().write(&transaction).await,
            Effect::PutOnce { uri, key, body } => {
                self.control(&uri)?.put(&key, &body, &Only::IfAbsent).await
            }
            Effect::PutPointer { uri, key, body, etag } => {
                let only = etag.map_or(Only::IfAbsent, Only::IfAt);
                self.control(&uri)?.put(&key, &body, &only).await
            }
            Effect::Complete { uri, file } => self.control(&uri)?.complete(&file).await,
            Effect::Abort { uri, key, upload_id } => {
                self.control(&uri)?.abort(&key, &upload_id).await
            }
            Effect::Delete { uri, key } => self.control(&uri)?.delete(&key).await,
        }
    }

    async fn plan(&mut self, order: &worker_core::plan::PlanOrder) -> Result<Event, Failure> {
        let Some(login) = self.login.clone() else { return Err(Failure::stopped()) };
        let extract = self.task.spec.extract.clone();
        let pause = self.pause.points();
        let opening = crate::bounds::open(&login, &extract, order, &pause);
        let holder = tokio::select! {
            holder = Box::pin(opening) => holder?,
            () = self.stop.stopped() => return Err(Failure::stopped()),
        };
        let plan = holder.plan.clone();
        for warning in &plan.warnings {
            tracing::warn!(warning, "plan");
        }
        self.holder = Some(holder);
        Ok(Event::Planned(Box::new(plan), now()))
    }

    /// Ready, until all records are there: read here, or waited for.
    async fn extract(&mut self, held: &Held) -> Result<Event, Failure> {
        (self.ready)()?;
        self.pause.at("ready").await;
        let renew = Instant::now() + self.durations.renew;
        let ranges = held.plan.ranges.len();
        let mine = ranges <= 1 || self.readers != Readers::Pods;
        if mine && self.extraction.is_none() {
            let (parallel, budget) = match self.readers {
                Readers::Here { parallel, budget } => (parallel, budget),
                Readers::Pods => (1, budget_from_cgroup()),
            };
            self.extraction = Some(here(self, held, parallel, budget)?);
        }
        let control = self.control(&held.run.uri)?;
        let mut beat = Instant::now() + self.durations.heartbeat;
        let mut seen = BTreeSet::new();
        loop {
            if let Some(extraction) = &mut self.extraction
                && let Some(ended) = extraction.ended().await?
            {
                return Ok(Event::Recorded(ended));
            }
            if !mine {
                let keys = control.recorded(held.run.run).await?;
                seen = keys.iter().cloned().collect();
                if seen.len() >= ranges {
                    let records = control.records(&keys).await?;
                    return Ok(Event::Recorded(records));
                }
            }
            if Instant::now() >= renew {
                let records = u32::try_from(seen.len()).unwrap_or(u32::MAX);
                return Ok(Event::RenewDue(now(), records));
            }
            if Instant::now() >= beat {
                self.still_there().await?;
                beat = Instant::now() + self.durations.heartbeat;
            }
            let wait = if mine { Duration::from_millis(20) } else { self.durations.poll };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.stopped() => return Err(Failure::stopped()),
            }
        }
    }

    async fn still_there(&mut self) -> Result<(), Failure> {
        match &mut self.holder {
            Some(holder) => holder.still_there().await,
            None => Ok(()),
        }
    }

    /// Every part as recorded, and then one more query on the very session that exported the
    /// snapshot: it lived until after the last record.
    async fn assure(&mut self, records: &[TaskRecord]) -> Result<Event, Failure> {
        let control = self.control(&self.task.spec.output.uri)?;
        stream::iter(records.iter().flat_map(|record| &record.files))
            .map(|file| control.assure(file))
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        self.still_there().await?;
        Ok(Event::Assured(now()))
    }

    async fn manifest(&self, uri: &str, run: RunId) -> Result<Manifest, Failure> {
        let control = self.control(uri)?;
        let found = control.read(&control.prefix.manifest(run)).await?;
        found.map(|(manifest, _)| manifest).ok_or_else(|| {
            Failure::permanent(
                crds::Reason::CommitStuck,
                format!("the manifest of run {run} is gone"),
                "restore it from a version of the bucket",
            )
        })
    }

    /// From `run` down its parents, and all that each of them replaced; oldest first.
    async fn chain(&self, uri: &str, run: Option<RunId>) -> Result<Vec<RunId>, Failure> {
        let mut runs = BTreeSet::new();
        let control = self.control(uri)?;
        let mut next = match run {
            Some(run) => Some(run),
            None => {
                let found: Option<(Pointer, String)> =
                    control.read(&control.prefix.pointer()).await?;
                found.map(|(pointer, _)| pointer.run)
            }
        };
        while let Some(run) = next {
            if !runs.insert(run) {
                break;
            }
            let manifest = self.manifest(uri, run).await?;
            next = manifest.parent;
        }
        Ok(runs.into_iter().collect())
    }

    async fn tidy(&self, uri: &str, run: RunId, removal: bool) -> Result<Event, Failure> {
        let control = self.control(uri)?;
        let pointer = control.read(&control.prefix.pointer()).await?;
        let mut replaced = Vec::new();
        if removal {
            for run in self.manifest(uri, run).await?.replaces {
                let found = control.read(&control.prefix.manifest(run)).await?;
                replaced.extend(found.map(|(manifest, _): (Manifest, _)| manifest));
            }
        }
        Ok(Event::Tidied(Box::new(Tidy { pointer, replaced })))
    }
}

/// The name of an effect: pause points and logs speak of it.
fn effect_name(effect: &Effect) -> &'static str {
    use worker_core::commits::Step;
    match effect {
        Effect::Track(transaction) => match transaction.step {
            Step::Claim => "claim",
            Step::Pin => "pin",
            Step::Renew => "renew",
            Step::Decide => "decide",
            Step::Yes => "yes",
            Step::Clear => "clear",
            Step::Fail => "fail",
            Step::Raise => "raise",
        },
        Effect::PutOnce { key, .. } if key.ends_with("plan.json") => "put-plan",
        Effect::PutOnce { key, .. } if key.ends_with("source.json") => "put-source",
        Effect::PutOnce { .. } => "put-manifest",
        Effect::PutPointer { .. } => "put-pointer",
        Effect::Complete { .. } => "complete",
        Effect::Abort { .. } => "abort",
        Effect::Delete { .. } => "delete",
    }
}

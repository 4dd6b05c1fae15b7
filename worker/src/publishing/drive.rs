//! In: task records. Out: commits. Bound: one act at a time, 16 writes of an act at a time.
//! Fails: [`Failure`] of the act that failed.
//!
//! Drives the protocol: asks `step` what to do, does it, and tells `step` what happened.

use std::time::Duration;

use crds::tracking::{OutcomeItem, RunItem, outcome_key, run_key};
use crds::{Reason, RunId};
use futures::stream::{self, StreamExt, TryStreamExt};
use uuid::Uuid;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::{Pointer, SourceIdentity};
use worker_core::planning::plan::CONTROL_VERSION;
use worker_core::protocol::{
    Act, Cleanup, Effect, Ending, Event, ObservedItems, Process, Reply, step,
};

use super::batches::{Batch, batches};
use super::context::{AT_ONCE, Context, WRITES_AT_ONCE, now};
use crate::stores::control::{Control, Only};

/// How long what goes on besides may take to end, once the process has nothing else to do.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Drives `process` to its end.
pub async fn drive(mut process: Process, context: &mut Context) -> Ending {
    let mut event = Event::Begin;
    loop {
        let (next, act) = step(process, event);
        process = next;
        if !process.needs_snapshot() {
            context.release_snapshot().await;
        }
        tracing::debug!(act = act_name(&act), "next action");
        event = match act {
            Act::End(ending) => {
                let _ = tokio::time::timeout(END_TIMEOUT, context.stop_reading()).await;
                return ending;
            }
            act => {
                let patient = process.holds();
                Box::pin(context.patiently(patient, &act)).await.unwrap_or_else(Event::Failed)
            }
        };
    }
}

fn act_name(act: &Act) -> &'static str {
    match act {
        Act::Read => "read",
        Act::Write(_) => "write",
        Act::Plan(_) => "plan",
        Act::Extract(_) => "extract",
        Act::Assure { .. } => "assure",
        Act::ReadChain { .. } => "read chain",
        Act::ReadAll { .. } => "read all",
        Act::ListRuns { .. } => "list runs",
        Act::ReadKept { .. } => "read retained runs",
        Act::ReadOrphans { .. } => "read abandoned runs",
        Act::ListFiles { .. } => "list files",
        Act::ReadManifest { .. } => "read manifest",
        Act::ReadCleanup { .. } => "read cleanup",
        Act::ListUploads { .. } => "list uploads",
        Act::End(_) => "end",
    }
}

impl Context {
    pub(super) async fn perform(&mut self, act: &Act) -> Result<Event, Failure> {
        match act {
            Act::Read => self.look().await,
            Act::Write(effects) => self.write(effects).await,
            Act::Plan(order) => self.plan(order).await,
            Act::Extract(active) => match self.extract(active).await {
                Ok(event) => Ok(event),
                Err(failure) => {
                    // FAIL lists the open uploads: no new one may begin after that
                    self.stop_reading().await;
                    Err(failure)
                }
            },
            Act::Assure { uri, run, records, hash } => {
                self.assure((uri, *run), *records, hash).await
            }
            Act::ReadChain { uri, run, pending } => {
                let runs = self.chain(uri, *run, *pending).await?;
                Ok(Event::Chain(runs))
            }
            Act::ReadAll { uri, run } => Ok(Event::All(Box::new(self.all(uri, *run).await?))),
            Act::ListRuns { uri, before } => {
                Ok(Event::Runs(self.control(uri)?.runs_before(*before).await?))
            }
            Act::ReadKept { uri, head, pending } => self.kept(uri, *head, *pending).await,
            Act::ReadOrphans { uri, runs } => self.orphans(uri, runs).await,
            Act::ListFiles { uri, run, after } => {
                let control = self.control(uri)?;
                let (keys, more) = control.data_files(*run, after.as_deref(), AT_ONCE).await?;
                Ok(Event::Files(keys, more))
            }
            Act::ReadManifest { uri, run } => {
                let manifest = self.manifest(uri, *run).await?;
                Ok(Event::Fetched(Box::new(manifest)))
            }
            Act::ReadCleanup { uri, store, run, removal, after } => {
                let control = self.control_at(uri, store.as_ref()).await?;
                self.cleanup(&control, *run, *removal, after.as_ref()).await
            }
            Act::ListUploads { uri, run } => {
                let (uploads, more) = self.control(uri)?.uploads(*run, AT_ONCE).await?;
                Ok(Event::Uploads(uploads, more))
            }
            // `drive` never passes it here
            Act::End(_) => Err(Failure::stopped()),
        }
    }

    async fn stop_reading(&mut self) {
        self.stop_planning().await;
        if let Some(extraction) = &mut self.in_flight.extraction {
            extraction.stop().await;
        }
        self.in_flight.extraction = None;
    }

    async fn look(&self) -> Result<Event, Failure> {
        let (key, uid) = (&self.task.tracking.key, &self.task.owner.uid);
        let table = self.table();
        self.pause.at("before-read").await;
        // what follows from the run item is read after it, what the run item follows from before it: see `ObservedItems`
        let (pointer, identity) = self.prefix_says().await?;
        let outcome = table.read(&outcome_key(key, uid)).await?;
        let run: Option<RunItem> = table.read(&run_key(key)).await?;
        let watermark_item = table.read(key).await?;
        let owner_outcome: Option<OutcomeItem> = match &run {
            Some(run) if run.owner.uid != *uid => {
                table.read(&outcome_key(key, &run.owner.uid)).await?
            }
            Some(_) | None => None,
        };
        let observed = ObservedItems {
            now: now(),
            run,
            watermark_item,
            outcome,
            owner_outcome,
            pointer,
            identity,
            own_identity: self.identity(self.login.is_some()).await?,
        };
        Ok(Event::Observed(Box::new(observed), RunId(Uuid::now_v7())))
    }

    /// What a claim depends on. Recovery claims nothing, and must end runs that never had a bucket or the
    /// permission to read it. So it does not read it.
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

    /// Whose prefix this task writes to: the table by account and region, however it is reached.
    pub(super) async fn identity(&self, located: bool) -> Result<SourceIdentity, Failure> {
        let tracking = &self.task.tracking;
        // recovery compares no identities, and must not need the permission to describe the table
        let place = if located {
            self.in_flight.place.get_or_try_init(|| async { self.table().place().await }).await?
        } else {
            ""
        };
        Ok(SourceIdentity {
            version: CONTROL_VERSION,
            tracking: place.to_owned(),
            table: tracking.table.clone(),
            source: tracking.key.clone(),
        })
    }

    async fn write(&self, effects: &[Effect]) -> Result<Event, Failure> {
        let named = effects.first().map(effect_name);
        if let Some(name) = named {
            self.pause.at(&format!("before-{name}")).await;
        }
        let replies: Vec<Reply> = stream::iter(batches(effects))
            .map(|batch| self.batch(batch))
            .buffered(WRITES_AT_ONCE)
            .try_concat()
            .await?;
        let kept = replies.iter().filter(|reply| matches!(reply, Reply::Locked(_))).count();
        if kept > 0 {
            tracing::warn!(
                files = kept,
                "an Object Lock protects files that are due for removal; readers that list the prefix see \
                 them until the lock ends. On a bucket with versions, a missing s3:DeleteObject permission \
                 has the same effect"
            );
        }
        if let Some(name) = named {
            self.pause.at(&format!("after-{name}")).await;
            if self.pause.loses(&format!("lose-{name}")) {
                let message = "the reply was lost for a test";
                return Err(Failure::transient(Reason::TrackingUnreachable, message, ""));
            }
        }
        Ok(Event::Replied(replies))
    }

    async fn batch(&self, batch: Batch<'_>) -> Result<Vec<Reply>, Failure> {
        match batch {
            Batch::One(effect) => {
                tracing::info!(effect = effect_name(effect), "protocol step");
                self.effect(effect).await.map(|reply| vec![reply])
            }
            Batch::Deletes { uri, store, keys } => {
                tracing::info!(effect = "delete", files = keys.len(), "protocol step");
                self.control_at(uri, store).await?.delete_all(&keys).await
            }
        }
    }

    async fn effect(&self, effect: &Effect) -> Result<Reply, Failure> {
        match effect {
            Effect::Track(transaction) => self.table().write(transaction).await,
            Effect::PutOnce { uri, key, body } => {
                self.control(uri)?.put(key, body, &Only::IfAbsent).await
            }
            Effect::PutManifest(new) => self.put_manifest(new).await,
            Effect::PutPointer { uri, key, body, etag } => {
                let only = etag.clone().map_or(Only::IfAbsent, Only::IfAt);
                self.control(uri)?.put(key, body, &only).await
            }
            Effect::CompleteAll { uri, run } => self.complete_all(uri, *run).await,
            Effect::Complete { uri, file } => self.control(uri)?.complete(file).await,
            Effect::Abort { uri, key, upload_id } => self.control(uri)?.abort(key, upload_id).await,
            Effect::Delete { uri, store, key } => {
                self.control_at(uri, store.as_ref()).await?.delete(key).await
            }
        }
    }

    async fn cleanup(
        &self,
        control: &Control,
        run: RunId,
        removal: bool,
        after: Option<&(RunId, String)>,
    ) -> Result<Event, Failure> {
        let pointer = control.read(&control.prefix.pointer()).await?;
        let (mut replaced, mut more) = (Vec::new(), false);
        let mut runs = if removal { self.replaced(control, run).await? } else { Vec::new() };
        runs.sort_unstable();
        for run in runs {
            let key = match after {
                Some((done, _)) if run < *done => continue,
                Some((last, key)) if run == *last => Some(key.as_str()),
                Some(_) | None => None,
            };
            let room = AT_ONCE.saturating_sub(replaced.len());
            let (keys, rest) = control.data_files(run, key, room).await?;
            replaced.extend(keys.into_iter().map(|key| (run, key)));
            if rest {
                more = true;
                break;
            }
        }
        Ok(Event::CleanupRead(Box::new(Cleanup { pointer, replaced, more })))
    }
}

/// The name of an effect: pause points and logs speak of it.
fn effect_name(effect: &Effect) -> &'static str {
    use worker_core::protocol::Step;
    match effect {
        Effect::Track(transaction) => match transaction.step {
            Step::Claim => "claim",
            Step::Pin => "pin",
            Step::Renew => "renew",
            Step::Decide => "decide",
            Step::Publish => "publish",
            Step::Cleanup => "cleanup",
            Step::Fail => "fail",
            Step::Raise => "raise",
            Step::Force => "force",
            Step::Reverted => "reverted",
            Step::Set => "set",
        },
        Effect::PutOnce { key, .. } if key.ends_with("plan.json") => "put-plan",
        Effect::PutOnce { key, .. } if key.ends_with("source.json") => "put-source",
        Effect::PutOnce { .. } | Effect::PutManifest(_) => "put-manifest",
        Effect::PutPointer { .. } => "put-pointer",
        Effect::Complete { .. } | Effect::CompleteAll { .. } => "complete",
        Effect::Abort { .. } => "abort",
        Effect::Delete { .. } => "delete",
    }
}

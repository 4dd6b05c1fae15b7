//! The acts of a process that holds a run: asking the database, having the ranges read, and looking
//! once more before the decision.

use std::time::Duration;

use crds::Reason;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use worker_core::batches::MemoryBudget;
use worker_core::commits::{Event, Held};
use worker_core::error::Failure;
use worker_core::plan::PlanOrder;

use super::patience::{Backoff, may_pass};
use super::records::Reading;
use super::{Readers, World, now};
use crate::batches::budget_from_cgroup;
use crate::bounds::Holder;
use crate::extract::{here, ranges_at_once};

/// How long one look for records may take: a renewal may be due meanwhile.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Between looks whether ranges that are read here have ended.
const HERE_POLL: Duration = Duration::from_millis(20);

impl World {
    /// Asks the database; where that takes long, the claim is renewed meanwhile.
    pub(super) async fn plan(&mut self, order: &PlanOrder) -> Result<Event, Failure> {
        let renew = tokio::time::sleep_until(self.renew_at());
        let mut planning = match self.underway.planning.take() {
            Some(planning) => planning,
            None => self.begin_planning(order)?,
        };
        let holder = tokio::select! {
            ended = &mut planning => match ended {
                Ok(holder) => holder?,
                Err(_) => {
                    let message = "planning ended in disorder";
                    return Err(Failure::transient(Reason::Internal, message, "report this"));
                }
            },
            () = renew => {
                self.underway.planning = Some(planning);
                self.underway.renew_at = None;
                return Ok(Event::RenewDue(now(), 0));
            }
            () = self.stop.stopped() => {
                planning.abort();
                return Err(self.stop.failure());
            }
        };
        let plan = holder.plan.clone();
        for warning in &plan.warnings {
            tracing::warn!(warning, "plan");
        }
        self.underway.holder = Some(holder);
        Ok(Event::Planned(Box::new(plan), now()))
    }

    /// When the next renewal is due, whatever act was begun anew meanwhile.
    pub(super) fn renew_at(&mut self) -> Instant {
        *self.underway.renew_at.get_or_insert_with(|| Instant::now() + self.durations.renew)
    }

    fn begin_planning(
        &self,
        order: &PlanOrder,
    ) -> Result<JoinHandle<Result<Holder, Failure>>, Failure> {
        let Some(login) = self.login.clone() else { return Err(Failure::stopped()) };
        let (spec, order) = (self.task.spec.clone(), order.clone());
        let control = self.control(&spec.output.uri)?;
        let (pause, (parallel, _)) = (self.pause.points(), self.capacity());
        Ok(tokio::spawn(async move {
            let published = control.columns().await?;
            let planning = crate::bounds::open(&login, &spec, &order, published.as_deref(), &pause);
            Box::pin(planning).await?.align(&login, parallel).await
        }))
    }

    /// Ready, until all records are there: read here, or waited for.
    pub(super) async fn extract(&mut self, held: &Held) -> Result<Event, Failure> {
        (self.ready)()?;
        self.pause.at("ready").await;
        let mine = held.plan.pods() <= 1 || self.readers != Readers::Pods;
        if mine && self.underway.extraction.is_none() {
            let aligned = self.underway.holder.as_mut().and_then(|holder| holder.aligned.take());
            self.underway.extraction = Some(here(self, held, self.capacity(), aligned)?);
        }
        let pause = self.durations.requests.pause;
        let mut beat = Instant::now() + self.durations.heartbeat;
        let (mut records, mut backoff) = (held.run.records, Backoff::new(pause));
        loop {
            if Instant::now() >= self.renew_at() {
                self.underway.renew_at = None;
                return Ok(Event::RenewDue(now(), records));
            }
            let look = if mine { self.ended().await } else { self.recorded(held).await };
            let wait = match look {
                Ok(Looked::All) => match self.tally(held).await {
                    Ok(Some(tally)) => return Ok(Event::Recorded(Box::new(tally))),
                    // a renewal is due
                    Ok(None) => continue,
                    Err(failure) if may_pass(&failure) => backoff.next(&failure),
                    Err(failure) => return Err(failure),
                },
                Ok(Looked::Some(found)) => {
                    (records, backoff) = (found, Backoff::new(pause));
                    if mine { HERE_POLL } else { self.durations.poll }
                }
                // the pods read on: nothing is lost by looking again
                Err(failure) if !mine && may_pass(&failure) => backoff.next(&failure),
                Err(failure) => return Err(failure),
            };
            if Instant::now() >= beat {
                self.still_there().await?;
                beat = Instant::now() + self.durations.heartbeat;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.stopped() => return Err(self.stop.failure()),
            }
        }
    }

    /// How many ranges can be read here at a time, and the memory for all of them.
    fn capacity(&self) -> (usize, MemoryBudget) {
        match self.readers {
            Readers::Here { parallel, budget } => (parallel, budget),
            Readers::Pods => {
                let budget = budget_from_cgroup();
                (ranges_at_once(&self.task.spec).min(budget.ranges()), budget)
            }
        }
    }

    /// What ranges that are read here have come to.
    async fn ended(&mut self) -> Result<Looked, Failure> {
        let Some(extraction) = &mut self.underway.extraction else { return Ok(Looked::Some(0)) };
        let Some((run, kept)) = extraction.ended().await? else { return Ok(Looked::Some(0)) };
        if let Some(kept) = kept {
            self.underway.reading = Some(Reading::of(run, kept));
        }
        Ok(Looked::All)
    }

    /// What the pods have left.
    async fn recorded(&mut self, held: &Held) -> Result<Looked, Failure> {
        let control = self.control(&held.run.uri)?;
        let look = async { control.recorded_so_far(held.run.run).await };
        let looked = tokio::time::timeout(LOOK_TIMEOUT, look).await.unwrap_or_else(|_| {
            let message = "list records: no answer from the object store";
            Err(Failure::transient(Reason::StorageUnreachable, message, ""))
        });
        let (found, largest) = looked?;
        if (found as usize) < held.plan.ranges.len() {
            return Ok(Looked::Some(found));
        }
        // a reading that a renewal interrupted goes on where it was
        self.underway.reading.get_or_insert_with(|| Reading::of_size(held.run.run, largest));
        Ok(Looked::All)
    }

    pub(super) async fn still_there(&mut self) -> Result<(), Failure> {
        match &mut self.underway.holder {
            Some(holder) => holder.still_there().await,
            None => Ok(()),
        }
    }
}

/// How far the records are.
enum Looked {
    /// So many of them.
    Some(u32),
    /// All.
    All,
}

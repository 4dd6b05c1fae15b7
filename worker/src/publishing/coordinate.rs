//! The acts of a coordinator: planning, extraction of the partitions, and the last read before the decision.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crds::Reason;
use tokio::sync::watch;
use tokio::time::Instant;
use worker_core::encoding::batches::{Asked, MemoryBudget, Parallelism};
use worker_core::errors::failure::{Failure, REPORT};
use worker_core::planning::plan::PlanOrder;
use worker_core::protocol::{CoordinatedRun, Event};

use super::context::Planning;
use super::context::Reading;
use super::context::{Context, Readers, now};
use super::patience::{Backoff, may_pass};
use crate::base::pause::PausePoints;
use crate::extraction::batches::budget_from_cgroup;
use crate::extraction::extract::{Extraction, PartitionReader, parallelism, readers_asked};
use crate::planning::planner;
use crate::planning::published::Published;
use crate::source::mysql::aligned::Aligned;

/// How long one read of records may take: a renewal may be due meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long planning may take to end once it is stopped: its statement is cancelled meanwhile.
const PLANNING_END_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between checks whether partitions that this process reads have ended.
const HERE_POLL: Duration = Duration::from_millis(20);

impl Context {
    /// Asks the database; where that takes long, the claim is renewed meanwhile.
    pub(super) async fn plan(&mut self, order: &PlanOrder) -> Result<Event, Failure> {
        let renew = tokio::time::sleep_until(self.renew_at());
        let planning = match self.in_flight.planning.take() {
            Some(planning) => planning,
            None => self.begin_planning(order)?,
        };
        let planning = self.in_flight.planning.insert(planning);
        let snapshot_session = tokio::select! {
            ended = &mut planning.task => {
                self.in_flight.planning = None;
                match ended {
                    Ok(snapshot_session) => snapshot_session?,
                    Err(_) => {
                        let message = "the planner task panicked";
                        return Err(Failure::transient(Reason::Internal, message, REPORT));
                    }
                }
            },
            () = renew => {
                self.in_flight.renew_at = None;
                return Ok(Event::RenewDue(now(), 0));
            }
            () = self.stop.stopped() => {
                self.stop_planning().await;
                return Err(self.stop.failure());
            }
        };
        let plan = snapshot_session.plan.clone();
        for warning in &plan.warnings {
            tracing::warn!(warning, "plan warning");
        }
        self.in_flight.snapshot_session = Some(snapshot_session);
        Ok(Event::Planned(Box::new(plan), now()))
    }

    /// When the next renewal is due, even if an act was started again meanwhile.
    pub(super) fn renew_at(&mut self) -> Instant {
        *self.in_flight.renew_at.get_or_insert_with(|| Instant::now() + self.durations.renew)
    }

    fn begin_planning(&self, order: &PlanOrder) -> Result<Planning, Failure> {
        let Some(login) = self.login.clone() else { return Err(Failure::stopped()) };
        let (spec, order) = (self.task.spec.clone(), order.clone());
        let s3 = self.stores.s3.clone();
        let (pause, (asked, budget)) = (self.pause.points(), self.capacity());
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let stopped = async {
                if stopped.wait_for(|stopped| *stopped).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let mut stopped = pin!(stopped);
            let published = tokio::select! {
                published = Published::of(&s3, &spec.output.uri, order.head.as_ref()) => published?,
                () = &mut stopped => return Err(Failure::stopped()),
            };
            let observers = (&published, &pause as PausePoints<'_>);
            let snapshot_session =
                planner::open_until(&login, &spec, &order, observers, stopped.as_mut());
            let snapshot_session = Box::pin(snapshot_session).await?;
            let readers = parallelism(&snapshot_session.plan, asked, budget).readers;
            snapshot_session.align((&login, &spec.extract), readers, stopped).await
        });
        Ok(Planning { task, stop })
    }

    /// Ends what is being asked of the database, on the server too.
    pub(super) async fn stop_planning(&mut self) {
        let Some(planning) = &mut self.in_flight.planning else { return };
        let _ = planning.stop.send(true);
        match tokio::time::timeout(PLANNING_END_TIMEOUT, &mut planning.task).await {
            Ok(Ok(Ok(snapshot_session))) => snapshot_session.release().await,
            Ok(_) => {}
            Err(_) => planning.task.abort(),
        }
        self.in_flight.planning = None;
    }

    /// Nothing is read under the snapshot any more: its session ends, even if work is left.
    pub(super) async fn release_snapshot(&mut self) {
        if let Some(snapshot_session) = self.in_flight.snapshot_session.take() {
            snapshot_session.release().await;
        }
    }

    /// Ready, until all records are there: read here, or waited for.
    pub(super) async fn extract(&mut self, active: &CoordinatedRun) -> Result<Event, Failure> {
        (self.ready)()?;
        // a renewal comes back here, and is no second time
        if !std::mem::replace(&mut self.in_flight.is_ready, true) {
            self.pause.at("ready").await;
        }
        let mine = active.plan.pods() <= 1 || self.readers != Readers::Pods;
        if mine && self.in_flight.extraction.is_none() {
            let aligned = self
                .in_flight
                .snapshot_session
                .as_mut()
                .and_then(|snapshot_session| snapshot_session.aligned.take());
            let (asked, budget) = self.capacity();
            let readers = (parallelism(&active.plan, asked, budget), budget);
            self.in_flight.extraction = Some(here(self, active, readers, aligned)?);
        }
        let pause = self.durations.requests.pause;
        let mut beat = Instant::now() + self.durations.heartbeat;
        let (mut records, mut backoff) = (active.run.records, Backoff::new(pause));
        loop {
            if Instant::now() >= self.renew_at() {
                self.in_flight.renew_at = None;
                return Ok(Event::RenewDue(now(), records));
            }
            let count = if mine { self.ended().await } else { self.recorded(active).await };
            let wait = match count {
                Ok(RecordCount::All) => match self.tally(active).await {
                    Ok(Some(tally)) => return Ok(Event::Recorded(Box::new(tally))),
                    // a renewal is due
                    Ok(None) => continue,
                    Err(failure) if may_pass(&failure) => backoff.next(&failure),
                    Err(failure) => return Err(failure),
                },
                Ok(RecordCount::Some(found)) => {
                    (records, backoff) = (found, Backoff::new(pause));
                    if mine { HERE_POLL } else { self.durations.poll }
                }
                // the pods continue to read: nothing is lost by reading again
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

    /// How many partitions are to be read here at a time, and the memory for all of them.
    fn capacity(&self) -> (Asked, MemoryBudget) {
        match self.readers {
            Readers::Here { asked, budget } => (asked, budget),
            Readers::Pods => (readers_asked(&self.task.spec), budget_from_cgroup()),
        }
    }

    /// What partitions that are read here have come to.
    async fn ended(&mut self) -> Result<RecordCount, Failure> {
        let Some(extraction) = &mut self.in_flight.extraction else {
            return Ok(RecordCount::Some(0));
        };
        let Some((run, kept_records)) = extraction.ended().await? else {
            return Ok(RecordCount::Some(0));
        };
        if let Some(kept_records) = kept_records {
            self.in_flight.reading = Some(Reading::of(run, kept_records));
        }
        Ok(RecordCount::All)
    }

    /// What the pods have left.
    async fn recorded(&mut self, active: &CoordinatedRun) -> Result<RecordCount, Failure> {
        let control = self.control(&active.run.uri)?;
        let count = async { control.recorded_so_far(active.run.run).await };
        let counted = tokio::time::timeout(READ_TIMEOUT, count).await.unwrap_or_else(|_| {
            let message = "list partition records: no response from the object store";
            Err(Failure::transient(Reason::StorageUnreachable, message, ""))
        });
        let (found, largest) = counted?;
        if (found as usize) < active.plan.partitions.len() {
            return Ok(RecordCount::Some(found));
        }
        // a reading that a renewal interrupted goes on where it was
        self.in_flight.reading.get_or_insert_with(|| Reading::of_size(active.run.run, largest));
        Ok(RecordCount::All)
    }

    pub(super) async fn still_there(&mut self) -> Result<(), Failure> {
        match &mut self.in_flight.snapshot_session {
            Some(snapshot_session) => snapshot_session.still_there().await,
            None => Ok(()),
        }
    }
}

/// How far the records are.
enum RecordCount {
    /// So many of them.
    Some(u32),
    /// All.
    All,
}

/// Begins to read all partitions of the plan in this process.
fn here(
    context: &Context,
    active: &CoordinatedRun,
    (parallelism, budget): (Parallelism, MemoryBudget),
    aligned: Option<Aligned>,
) -> Result<Extraction, Failure> {
    let Some(login) = context.login.clone() else { return Err(Failure::stopped()) };
    let parallel = aligned.as_ref().map_or(parallelism.readers, |aligned| aligned.count);
    let (partitions, reason) = (active.plan.partitions.len(), parallelism.reason);
    tracing::info!(partitions, readers = parallel, reason, "reading partitions in this process");
    let (stop, receiver) = watch::channel(false);
    let stop = Arc::new(stop);
    let reader = PartitionReader {
        plan: Arc::new(active.plan.clone()),
        plan_hash: active.plan_hash.clone(),
        login,
        aligned,
        s3: context.stores.s3.clone(),
        control: context.control(&active.run.uri)?,
        budget: budget.shared(parallel),
        stop: receiver,
        others: Some(Arc::clone(&stop)),
        counters: Arc::clone(&context.counters),
        pause: context.pause.clone(),
    };
    Ok(Extraction::begin(reader, parallel, stop))
}

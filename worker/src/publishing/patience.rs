//! Outages of the stores: a process with a claimed run retries until its own deadline; any other process fails,
//! and the next attempt retries.

use std::time::Duration;

use crds::Reason;
use crds::condition::Exit;
use tokio::time::Instant;
use worker_core::errors::failure::Failure;
use worker_core::protocol::{Act, Event};

use super::context::Context;

/// How long an act may go on, at most, once the process was asked to stop: a store that does not
/// answer must not keep it alive until it is killed.
const STOPPING: Duration = Duration::from_secs(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether a failure says only that a store does not answer, throttles or met an error of its own.
pub(super) fn may_pass(failure: &Failure) -> bool {
    let store =
        matches!(failure.report.reason, Reason::TrackingUnreachable | Reason::StorageUnreachable);
    store && failure.exit == Exit::Transient
}

/// Pauses that grow: each is twice as long as the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    first: Duration,
    count: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, count: 0 }
    }

    /// How long to wait after this failure, which is logged. Half of the time is fixed and half is random, so that
    /// many coordinators do not retry at the same moment.
    pub(super) fn next(&mut self, failure: &Failure) -> Duration {
        let whole = self.first.saturating_mul(1 << self.count.min(8)).min(LONGEST);
        self.count += 1;
        let chance = f64::from(uuid::Uuid::new_v4().as_fields().1) / f64::from(u16::MAX);
        let wait = whole.mul_f64(0.5 + chance / 2.0);
        tracing::warn!(%failure, wait_ms = wait.as_millis(), "a store is unreachable; retrying");
        wait
    }
}

impl Context {
    /// Performs an act. With `patient`, an outage of a store is waited out: until SIGTERM, or until
    /// the process's own deadline.
    pub(super) async fn patiently(&mut self, patient: bool, act: &Act) -> Result<Event, Failure> {
        let mut backoff = Backoff::new(self.durations.requests.pause);
        loop {
            let failure = match self.perform_unless_stopped(act).await {
                Err(failure) if patient && may_pass(&failure) => failure,
                ended => return ended,
            };
            // a deadline that was computed before the outage may be over: renew at the next chance
            self.in_flight.renew_at = Some(Instant::now());
            let wait = backoff.next(&failure);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.stopped() => return Err(failure),
            }
        }
    }

    /// Performs an act, but not for long once the process was asked to stop. What was sent and not
    /// answered may have been done: the next reader finds out.
    async fn perform_unless_stopped(&mut self, act: &Act) -> Result<Event, Failure> {
        let stop = self.stop.clone();
        let stopping = self.durations.requests.attempt.min(STOPPING);
        let overdue = async {
            stop.stopped().await;
            tokio::time::sleep(stopping).await;
        };
        tokio::select! {
            ended = Box::pin(self.perform(act)) => ended,
            () = overdue => Err(stop.failure()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_no_further() {
        let failure = Failure::transient(Reason::StorageUnreachable, "no answer", "");
        let first = Duration::from_secs(1);
        let mut backoff = Backoff::new(first);
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next(&failure)).collect();
        assert!(waits[0] >= first / 2 && waits[0] <= first, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        assert!(waits[19] >= LONGEST / 2, "{waits:?}");
    }

    #[test]
    fn only_an_outage_may_pass() {
        let refused = Failure::permanent(Reason::TrackingDenied, "refused", "");
        let gone = Failure::permanent(Reason::TrackingUnreachable, "no table", "");
        let throttled = Failure::transient(Reason::TrackingUnreachable, "throttled", "");
        assert!(!may_pass(&refused) && !may_pass(&gone) && may_pass(&throttled));
    }
}

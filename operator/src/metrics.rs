//! Counters of the operator. Names stand here and nowhere else.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::queue::{Queue, Waiting};

/// Label of errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CategoryLabel {
    /// [`crate::error::Error::category`] or a reason.
    pub(crate) category: &'static str,
}

/// All metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    waiting: Gauge,
    scheduled: Gauge,
    /// Whether this replica does the work.
    pub(crate) leads: Gauge,
    /// Objects that wait for a reconcile.
    pub(crate) queue: Queue,
    /// Reconciles that were begun.
    pub(crate) reconciles: Counter,
    /// Reconciles at work.
    pub(crate) active: Gauge,
    /// Seconds from beginning to end.
    pub(crate) seconds: Histogram,
    /// Reconciles that failed, by category.
    pub(crate) errors: Family<CategoryLabel, Counter>,
    /// Reads of the tracking table.
    pub(crate) tracking_reads: Counter<u64, AtomicU64>,
    /// Effects applied, by kind.
    pub(crate) effects: Family<CategoryLabel, Counter>,
    /// Failed attempts to read or refusals that were shown in a condition, by reason.
    pub(crate) warnings: Family<CategoryLabel, Counter>,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tidemark_operator"),
            waiting: Gauge::default(),
            scheduled: Gauge::default(),
            leads: Gauge::default(),
            queue: Queue::default(),
            reconciles: Counter::default(),
            active: Gauge::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            errors: Family::default(),
            tracking_reads: Counter::default(),
            effects: Family::default(),
            warnings: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "reconciles",
            "Number of reconciles that started",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconciles_active",
            "Number of reconciles in progress",
            metrics.active.clone(),
        );
        registry.register(
            "queue",
            "Number of objects whose reconcile is due and has not started, because the object, a Job \
             or a pod changed, or because the delay that the last reconcile asked for is over",
            metrics.waiting.clone(),
        );
        registry.register(
            "scheduled",
            "Number of objects whose next reconcile is scheduled for a later time",
            metrics.scheduled.clone(),
        );
        registry.register(
            "leads",
            "1 in the replica that is the leader, otherwise 0",
            metrics.leads.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Duration of a reconcile, in seconds",
            metrics.seconds.clone(),
        );
        registry.register(
            "errors",
            "Number of reconciles that failed, by category",
            metrics.errors.clone(),
        );
        registry.register(
            "tracking_reads",
            "Number of reads of the tracking table",
            metrics.tracking_reads.clone(),
        );
        registry.register(
            "effects",
            "Number of changes to objects in the cluster, by kind",
            metrics.effects.clone(),
        );
        registry.register(
            "warnings",
            "Number of warning events, by reason",
            metrics.warnings.clone(),
        );
        metrics
    }

    /// In the text form of Prometheus.
    pub(crate) fn text(&self) -> String {
        let Waiting { due, scheduled } = self.queue.waiting();
        self.waiting.set(i64::try_from(due).unwrap_or(i64::MAX));
        self.scheduled.set(i64::try_from(scheduled).unwrap_or(i64::MAX));
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector::ObjectRef;

    use super::*;

    #[test]
    fn queue_metric_shows_the_length_at_scrape_time() {
        let metrics = Metrics::new();
        let object = |name: &str| ObjectRef::new(name).within("shop");
        let shows = |line: &str| metrics.text().lines().any(|shown| shown == line);
        metrics.queue.asked(&object("a"));
        metrics.queue.asked(&object("b"));
        metrics.queue.postponed(&object("c"), Duration::from_hours(1));
        assert!(shows("tidemark_operator_queue 2"), "{}", metrics.text());
        assert!(shows("tidemark_operator_scheduled 1"), "{}", metrics.text());
        metrics.queue.begun(&object("a"));
        assert!(shows("tidemark_operator_queue 1"), "{}", metrics.text());
    }
}

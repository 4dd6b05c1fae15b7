//! The only place that logs an error, tells people by Events and counts failures.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::ExtractJob;
use kube::Resource;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::runtime::reflector::ObjectRef;
use operator_core::effects::NewEvent;
use operator_core::retry::{backoff, spread};
use operator_core::{Effect, Observed};

use crate::context::Context;
use crate::error::Error;
use crate::metrics::{CategoryLabel, Metrics};

/// Letters that an Event may have.
const EVENT_TEXT_MAX: usize = 900;
/// Delay until an object that changed meanwhile is reconciled again. It doubles, because a watch may
/// lag for a long time.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);
/// Conflicts in a row after which somebody should know.
const CONFLICTS_TOLD: u32 = 5;

/// Counts one reconcile from here until it is dropped.
pub(crate) struct Measured<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

/// Begins to count a reconcile.
pub(crate) fn measure(metrics: &Metrics) -> Measured<'_> {
    metrics.reconciles.inc();
    metrics.active.inc();
    Measured { metrics, since: Instant::now() }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        self.metrics.active.dec();
        self.metrics.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

/// Says that an effect is about to be applied.
pub(crate) fn effect(context: &Context, observed: &Observed<'_>, effect: &Effect) {
    let (kind, job) = match effect {
        Effect::AddFinalizer => ("add_finalizer", ""),
        Effect::PutStatus => ("put_status", ""),
        Effect::CreateJob(job) => ("create_job", job.metadata.name.as_deref().unwrap_or_default()),
        Effect::RecordEnding { job, .. } => ("record_ending", job.as_str()),
        Effect::RecordRevision { job, .. } => ("record_rev", job.as_str()),
        Effect::StopJob { job } => ("stop_job", job.as_str()),
        Effect::DeleteJob { job, .. } => ("delete_job", job.as_str()),
        Effect::SetTtl { job, .. } => ("set_ttl", job.as_str()),
        Effect::DropFinalizer => ("drop_finalizer", ""),
    };
    context.metrics.effects.get_or_create(&CategoryLabel { category: kind }).inc();
    tracing::info!(
        namespace = observed.namespace(),
        name = observed.name(),
        effect = kind,
        job,
        "apply an effect"
    );
}

/// Tells people what changed.
pub(crate) async fn events(context: &Context, observed: &Observed<'_>, events: &[NewEvent]) {
    for event in events {
        let reason = event.reason.name();
        let (namespace, name) = (observed.namespace(), observed.name());
        if event.warning {
            context.metrics.warnings.get_or_create(&CategoryLabel { category: reason }).inc();
            tracing::warn!(namespace, name, reason, "{}", event.message);
        } else {
            tracing::info!(namespace, name, reason, "{}", event.message);
        }
        let event = Event {
            type_: if event.warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(event.message.chars().take(EVENT_TEXT_MAX).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = observed.job.object_ref(&());
        if let Err(error) = context.recorder.publish(&event, &about).await {
            context.metrics.errors.get_or_create(&CategoryLabel { category: "event" }).inc();
            tracing::warn!(namespace, name, %error, "cannot publish the event");
        }
    }
}

/// Logs and counts a reconcile that failed, and says when to try again.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube-runtime's")]
pub(crate) fn failure(job: Arc<ExtractJob>, error: &Error, context: Arc<Context>) -> Action {
    let pause = failed(&job, error, &context);
    context.metrics.queue.postponed(&ObjectRef::from_obj(&*job), pause);
    Action::requeue(pause)
}

fn failed(job: &ExtractJob, error: &Error, context: &Context) -> Duration {
    let category = error.category();
    context.metrics.errors.get_or_create(&CategoryLabel { category }).inc();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let failures = context.count_failures(&format!("reconcile/{uid}"), true);
    let (namespace, name) = (job.metadata.namespace.as_deref(), job.metadata.name.as_deref());
    if error.is_conflict() {
        if failures == CONFLICTS_TOLD {
            tracing::warn!(
                namespace,
                name,
                failures,
                "the watch shows an old version of the object"
            );
        }
        let pause = backoff(failures, CONFLICT_PAUSE, context.settings.timing.retry_most);
        return spread(pause, uid, failures);
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::error!(namespace, name, category, failures, cause, "{error}");
    let timing = &context.settings.timing;
    let pause = backoff(failures, timing.retry_first / 10, timing.retry_most);
    spread(pause, uid, failures)
}

/// Forgets the failures of an object whose reconcile succeeded.
pub(crate) fn success(context: &Context, uid: &str) {
    context.count_failures(&format!("reconcile/{uid}"), false);
}

/// Logs and counts a watch that broke; it is taken up again by itself.
pub(crate) fn watch_failure(context: &Context, error: &kube::runtime::watcher::Error) {
    context.metrics.errors.get_or_create(&CategoryLabel { category: "watch" }).inc();
    tracing::warn!(%error, "watch interrupted; it is restarted");
}

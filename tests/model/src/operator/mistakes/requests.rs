//! Mistakes about `requested-at`.

use crds::Task;
use crds::task::{REQUESTED_AT, TASK_ENV};
use operator_core::observed::Tracking;
use operator_core::{Observed, Step, decide};

use super::{changed, set_env};
use crate::operator::apply::env;

/// Any difference from the request that was honoured last starts a run.
pub(super) fn older_requests_count(observed: &Observed) -> Step {
    let mut observed = observed.clone();
    let known = known_request(&observed);
    let annotations = observed.job.metadata.annotations.as_ref();
    let asked = annotations.and_then(|annotations| annotations.get(REQUESTED_AT)).cloned();
    let forget = |known: &mut Option<String>| {
        if *known != asked {
            *known = None;
        }
    };
    if let Some(outcome) = observed.job.status.as_mut().and_then(|status| status.outcome.as_mut()) {
        forget(&mut outcome.requested_at);
    }
    if let Tracking::Read(read) = &mut observed.tracking {
        if let Some(run) = &mut read.run {
            forget(&mut run.owner.requested_at);
        }
        if let Some(result) = read.outcome.as_mut().and_then(|outcome| outcome.result.as_mut()) {
            forget(&mut result.owner.requested_at);
        }
    }
    for job in &mut observed.jobs {
        if let Some(mut task) = env::<Task>(job, TASK_ENV) {
            forget(&mut task.owner.requested_at);
            set_env(job, &task);
        }
    }
    changed(decide(&observed), |decision| {
        // what is forgotten to decide is still said
        if let Some(outcome) = &mut decision.status.outcome {
            outcome.requested_at = outcome.requested_at.take().or_else(|| known.clone());
        }
    })
}

/// The request that was honoured last, as tracking has it, else status.
fn known_request(observed: &Observed) -> Option<String> {
    let tracked = match &observed.tracking {
        Tracking::Read(read) => read.outcome.as_ref().and_then(|outcome| outcome.result.as_ref()),
        Tracking::NotRead | Tracking::Unreadable(_) => None,
    };
    let tracked = tracked.and_then(|result| result.owner.requested_at.clone());
    tracked.or_else(|| observed.status().outcome.and_then(|outcome| outcome.requested_at))
}

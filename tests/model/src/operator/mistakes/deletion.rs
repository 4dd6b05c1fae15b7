//! Planted mistakes of the operator about objects that are deleted.

use operator_core::attempt::{attempts, is_complete};
use operator_core::{Effect, Observed, Step, decide};

use super::changed;

/// A completed recovery Job of the last attempt that has Jobs is the end of it.
pub(super) fn recovers_what_has_jobs(observed: &Observed) -> Step {
    let all = attempts(&observed.jobs, observed.uid());
    let recovered = all
        .last()
        .is_some_and(|last| last.recoveries.last().is_some_and(|(_, job)| is_complete(job)));
    if observed.job.metadata.deletion_timestamp.is_some() && recovered {
        return let_go_at_once(observed);
    }
    decide(observed)
}

pub(super) fn let_go_at_once(observed: &Observed) -> Step {
    let deleted = observed.job.metadata.deletion_timestamp.is_some();
    changed(decide(observed), |decision| {
        if deleted && observed.has_finalizer() {
            decision.effects = vec![Effect::DropFinalizer];
        }
    })
}

//! In: an attempt whose run must end. Out: its Jobs stopped, then a recovery Job, one at a time, a few in a row.
//! Bound: one recovery Job. Fails: never.

use std::time::Duration;

use crds::task::RecoverOrder;
use jiff::Timestamp;

use crate::attempt::{
    Attempt, TaskText, completed_at, failure, is_complete, is_finished, is_started, is_stopped,
    name, uid,
};
use crate::decision::left;
use crate::effects::Effect;
use crate::in_doubt;
use crate::labels::{ATTEMPT, ROLE, Role};
use crate::observed::Observed;
use crate::pods::is_live;
use crate::retry::backoff;
use crate::workload::Maker;

/// Seconds that a failed recovery Job is kept once a later one failed too.
const FAILED_RECOVER_TTL: i32 = 3600;

/// How far the end of a run has come.
pub(crate) enum Progress {
    /// Pods are ending or a recovery Job is active; decide again after this time.
    Waiting(Duration),
    /// A recovery Job did it.
    Done(Timestamp),
    /// All tries in a row failed; the next one is then.
    Exhausted(Duration),
}

/// Stops the Jobs of an attempt, waits for its pods up to a bound, then recovers its run.
pub(crate) fn steps(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    since: Timestamp,
    order: &RecoverOrder,
) -> (Vec<Effect>, Progress) {
    let unfinished = || attempt.workers().filter(|job| !is_finished(job));
    let mut effects: Vec<Effect> = unfinished().filter(|job| !is_stopped(job)).map(stop).collect();
    let busy = unfinished().next().is_some() || has_live_pods(observed, attempt.number);
    let wait = left(observed, since, observed.settings.timing.pod_stop_wait);
    if let Some(wait) = wait.filter(|_| busy && attempt.anchor().is_some()) {
        return (effects, Progress::Waiting(wait));
    }
    let progress = recover(observed, attempt, task_text, order, &mut effects);
    (effects, progress)
}

/// Whether a process of the attempt may still be at work.
pub(crate) fn has_live_pods(observed: &Observed, number: u32) -> bool {
    let number = number.to_string();
    observed.pods.iter().filter(|pod| is_live(pod)).any(|pod| {
        let labels = pod.metadata.labels.as_ref();
        let is = |key: &str, value: &str| {
            labels.and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        };
        is(ATTEMPT, &number) && !is(ROLE, Role::Recover.name())
    })
}

fn recover(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    order: &RecoverOrder,
    effects: &mut Vec<Effect>,
) -> Progress {
    let timing = &observed.settings.timing;
    let earlier = attempt.recovered_earlier;
    let last = attempt.recoveries.last().copied().filter(|(k, _)| *k > earlier);
    if let Some((_, job)) = last.filter(|(_, job)| is_complete(job)) {
        return Progress::Done(completed_at(job).unwrap_or(observed.now));
    }
    let newest = last.map_or(earlier, |(k, _)| k);
    let tries = newest - earlier;
    // what only a person can correct is not tried five times in a row
    let exhausted = tries >= timing.recover_tries || in_doubt::is_stuck(observed, attempt);
    let at_work = |pause| {
        if exhausted { Progress::Exhausted(pause) } else { Progress::Waiting(pause) }
    };
    if let Some((_, job)) = last {
        if !is_finished(job) {
            // the last try in a row has its time too
            let pause = timing.recover_deadline;
            return if tries > timing.recover_tries {
                Progress::Exhausted(pause)
            } else {
                Progress::Waiting(pause)
            };
        }
        let pause = if exhausted {
            timing.recover_rest
        } else {
            backoff(tries, timing.recover_retry, timing.recover_deadline)
        };
        let failed_at = failure(job).and_then(|failure| failure.at).unwrap_or(observed.now);
        if let Some(pause) = left(observed, failed_at, pause) {
            return at_work(pause);
        }
    }
    let older =
        attempt.recoveries.iter().filter(|(k, job)| exhausted && *k < newest && is_finished(job));
    effects.extend(
        older
            .filter(|(_, job)| {
                job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_none())
            })
            .map(|(_, job)| Effect::SetTtl { job: name(job), seconds: FAILED_RECOVER_TTL }),
    );
    let image = attempt.image().unwrap_or(&observed.settings.worker_image);
    let maker = Maker { object: &observed.job, task_text, image, settings: observed.settings };
    effects.push(Effect::CreateJob(Box::new(maker.recover(newest + 1, order))));
    at_work(timing.recover_deadline)
}

/// The effect that ends a Job: one that never started has no log worth keeping.
pub(crate) fn stop(job: &k8s_openapi::api::batch::v1::Job) -> Effect {
    if is_started(job) {
        Effect::StopJob { job: name(job) }
    } else {
        Effect::DeleteJob { job: name(job), uid: uid(job) }
    }
}

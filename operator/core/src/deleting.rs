//! In: an object that is being deleted. Out: its run recovered, its Jobs deleted, its finalizer removed, and
//! a Job that waits where files that it replaced are to be removed later.
//! Bound: the deletion bound, after which the finalizer is removed with a warning. Fails: never.

use crds::task::RecoverOrder;
use crds::tracking::{RunState, TrackedOutcome};
use crds::{Phase, Reason, Report, Task};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::attempt::{Attempt, TaskText, attempts, is_deleted, is_finished, name, uid};
use crate::decision::{Blocked, Decision, ReadRequest, is_in_doubt, left, task_text, tracking};
use crate::effects::{Effect, NewEvent};
use crate::observed::{Observed, Tracking, TrackingRead};
use crate::postponed;
use crate::recover_jobs::{Progress, has_live_pods, steps};
use crate::status::Health;
use crate::valid::{may_read, valid};
use crate::workload::Maker;

/// Recovers what is open, then removes the finalizer.
pub(crate) fn deleting(observed: &Observed, open: Option<&Attempt>) -> Result<Decision, Blocked> {
    let report = Report::new(Reason::Deleting, "the object is being deleted", "");
    if !observed.has_finalizer() {
        return Ok(quiet(observed));
    }
    match observed.namespace_terminating {
        None => return Err(Blocked::Read(ReadRequest::Namespace)),
        Some(true) => return Ok(quiet(observed).doing(vec![Effect::DropFinalizer])),
        Some(false) => {}
    }
    let since =
        observed.job.metadata.deletion_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let Some(patience) = left(observed, since, observed.settings.timing.deletion_bound) else {
        return Ok(give_up(observed));
    };
    let Some((attempt, task_text)) = what_is_open(observed, open)? else {
        return leave(observed, open);
    };
    let order = RecoverOrder { last: true, aborted: true, report: report.clone() };
    let (mut effects, mut progress) = steps(observed, &attempt, &task_text, since, &order);
    if let Progress::Done(_) = progress
        && let Some((attempt, task_text)) = open_later(observed, &attempt, &task_text)?
    {
        (effects, progress) = steps(observed, &attempt, &task_text, since, &order);
    }
    match progress {
        Progress::Done(_) => leave(observed, open),
        Progress::Exhausted(_) => Ok(give_up(observed)),
        Progress::Waiting(pause) => {
            let status = observed.status();
            Ok(Decision::report(observed, status, Phase::Deleting, Health::Reconciling, &report)
                .doing(effects)
                .after(pause.min(patience)))
        }
    }
}

/// The attempt whose run may be open: nothing else holds the object.
fn what_is_open<'a>(
    observed: &'a Observed,
    open: Option<&Attempt<'a>>,
) -> Result<Option<(Attempt<'a>, TaskText)>, Blocked> {
    let status = observed.status();
    let ended =
        matches!(status.phase, Some(Phase::Complete | Phase::Failed)) && !is_in_doubt(&status);
    if open.is_none() && (ended || status.attempt.is_none()) {
        return Ok(None);
    }
    let Some(task_text) = task_text_of(observed, open) else {
        return Ok(None);
    };
    let attempt = open.cloned().unwrap_or_else(|| Attempt::without_jobs(task_text.task.attempt));
    let live =
        attempt.jobs().any(|job| !is_finished(job)) || has_live_pods(observed, attempt.number);
    if live {
        return Ok(Some((attempt, task_text)));
    }
    if let Err(report) =
        may_read(&observed.job, &task_text.task.tracking, &observed.settings.tracking)
    {
        // a forged Job has no run of the object; a run of earlier settings is recovered without a read
        return Ok((report.reason == Reason::TrackingChanged).then_some((attempt, task_text)));
    }
    if let Tracking::Unreadable(_) = observed.tracking {
        return Ok(Some((attempt, task_text)));
    }
    let read = tracking(observed, &task_text.task.tracking)?;
    Ok(has_left_something(observed, read).then_some((attempt, task_text)))
}

/// The task of the attempt, or one as it must have been.
fn task_text_of(observed: &Observed, attempt: Option<&Attempt>) -> Option<TaskText> {
    let made = || {
        let valid = valid(&observed.job, observed.settings).ok()?;
        let number = attempt.map(|attempt| attempt.number).or(observed.status().attempt)?;
        Some(task_text(observed, &valid, valid.owner.clone(), (number, 0)))
    };
    attempt.and_then(Attempt::task_text).or_else(made)
}

/// The attempt after a recovered one, whose run is open and whose Jobs somebody deleted.
fn open_later<'a>(
    observed: &Observed,
    recovered: &Attempt,
    task_text: &TaskText,
) -> Result<Option<(Attempt<'a>, TaskText)>, Blocked> {
    let at = &task_text.task.tracking;
    let readable = may_read(&observed.job, at, &observed.settings.tracking).is_ok();
    if !readable || matches!(observed.tracking, Tracking::Unreadable(_)) {
        return Ok(None);
    }
    let run = tracking(observed, at)?.run_of(observed.uid());
    let run = run.filter(|run| run.state.is_open() && run.attempt > recovered.number);
    Ok(run.map(|run| {
        let task =
            Task { owner: run.owner.clone(), attempt: run.attempt, ..task_text.task.clone() };
        (Attempt::without_jobs(run.attempt), TaskText::new(task))
    }))
}

/// Whether the object may have something to end: a run that is open, or one that was failed by its
/// own coordinator. That one swept once, but a pod that was killed without a word, or woke up late,
/// may have left an upload after it; recovery lists again. Complete runs have nothing to abort.
fn has_left_something(observed: &Observed, read: &TrackingRead) -> bool {
    if let Some(run) = read.run_of(observed.uid()) {
        return run.state != RunState::Published || run.pending_cleanup.is_some();
    }
    read.outcome.as_ref().is_some_and(|outcome| {
        let result = outcome.result.as_ref();
        let published = result.filter(|result| result.outcome == TrackedOutcome::Complete);
        outcome.run.is_some() && published.and_then(|result| result.run) != outcome.run
    })
}

fn quiet(observed: &Observed) -> Decision {
    let report = Report::new(Reason::Deleting, "the object is being deleted", "");
    let mut decision = Decision::of(observed, observed.status(), &report);
    decision.events.clear();
    decision
}

/// Removes the finalizer. Files that it replaced and that are to be removed later are left to a Job of
/// their own: nobody waits for days, and nothing is removed before its time.
fn leave(observed: &Observed, open: Option<&Attempt>) -> Result<Decision, Blocked> {
    let mut decision = let_go(observed);
    if let Some((task_text, at)) = removal_left(observed, open)? {
        let image = &observed.settings.worker_image;
        let maker = Maker {
            object: &observed.job,
            task_text: &task_text,
            image,
            settings: observed.settings,
        };
        let report = Report::new(
            Reason::Deleting,
            "the ExtractJob was deleted before its replaced files were due for removal",
            "",
        );
        let job = maker.postponed(at, &RecoverOrder { last: false, aborted: false, report });
        decision.events.push(NewEvent {
            warning: false,
            reason: Reason::Deleting,
            message: format!("Job {} removes the replaced files after {at}", name(&job)),
        });
        decision.effects.insert(0, Effect::CreateJob(Box::new(job)));
    }
    Ok(decision)
}

/// When files that the object replaced are to be removed, and the task of the Job for it. Where
/// the tracking table cannot be read, status says when.
fn removal_left(
    observed: &Observed,
    open: Option<&Attempt>,
) -> Result<Option<(TaskText, Timestamp)>, Blocked> {
    let said = observed.status().removal_due.map(|at| at.0);
    if said.is_none() && !matches!(observed.tracking, Tracking::Read(_)) {
        return Ok(None);
    }
    let attempts = attempts(&observed.jobs, observed.uid());
    let Some(task_text) = task_text_of(observed, open.or(attempts.last())) else {
        return Ok(None);
    };
    let table = &task_text.task.tracking;
    if may_read(&observed.job, table, &observed.settings.tracking).is_err() {
        return Ok(None);
    }
    let at = match &observed.tracking {
        Tracking::Unreadable(_) => said,
        Tracking::NotRead | Tracking::Read(_) => {
            postponed::removal(tracking(observed, table)?, observed.uid())
        }
    };
    Ok(at.map(|at| (task_text, at)))
}

/// Jobs go first, pods before them: an orphaning deletion would leave them behind.
fn let_go(observed: &Observed) -> Decision {
    let attempts = attempts(&observed.jobs, observed.uid());
    let delete = |job: &Job| Effect::DeleteJob { job: name(job), uid: uid(job) };
    let jobs = attempts.iter().flat_map(Attempt::jobs).filter(|job| !is_deleted(job));
    let effects = jobs.map(delete).chain([Effect::DropFinalizer]).collect();
    quiet(observed).doing(effects)
}

fn give_up(observed: &Observed) -> Decision {
    let mut decision = let_go(observed);
    decision.events.push(NewEvent {
        warning: true,
        reason: Reason::RecoveryFailed,
        message:
            "finalizer removed without recovery of the run. Check whether the ServiceAccount, a Secret, the bucket or the tracking table is missing. The next run of the source starts when the claim of this run has expired, and removes replaced files that are due. Open uploads remain until a lifecycle rule of the bucket aborts them."
                .to_owned(),
    });
    decision
}

//! In: an object that is being deleted. Out: its run recovered, its Jobs deleted, the object let go, and
//! a Job that waits where files that it replaced are to be removed later.
//! Bound: the deletion bound, after which it is let go with a warning. Fails: never.

use crds::task::RecoverOrder;
use crds::tracking::{RunState, TrackedOutcome};
use crds::{Phase, Reason, Report, Task};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::attempt::{Attempt, Letter, attempts, is_deleted, is_finished, name, uid};
use crate::decision::{Decision, Look, Pause, is_in_doubt, left, letter, tracking};
use crate::effects::{Effect, Note};
use crate::observed::{Observed, Tracking, TrackingRead};
use crate::put_off;
use crate::recover_jobs::{Progress, has_live_pods, steps};
use crate::status::Mood;
use crate::valid::{may_read, valid};
use crate::workload::Maker;

/// Settles what is open, then lets the object go.
pub(crate) fn deleting(seen: &Observed, open: Option<&Attempt>) -> Result<Decision, Pause> {
    let report = Report::new(Reason::Deleting, "the object is being deleted", "");
    if !seen.has_finalizer() {
        return Ok(quiet(seen));
    }
    match seen.namespace_terminating {
        None => return Err(Pause::Look(Look::Namespace)),
        Some(true) => return Ok(quiet(seen).doing(vec![Effect::DropFinalizer])),
        Some(false) => {}
    }
    let since = seen.job.metadata.deletion_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let Some(patience) = left(seen, since, seen.settings.timing.deletion_bound) else {
        return Ok(give_up(seen));
    };
    let Some((attempt, letter)) = what_is_open(seen, open)? else {
        return leave(seen, open);
    };
    let order = RecoverOrder { last: true, aborted: true, report: report.clone() };
    let (mut effects, mut progress) = steps(seen, &attempt, &letter, since, &order);
    if let Progress::Done(_) = progress
        && let Some((attempt, letter)) = open_later(seen, &attempt, &letter)?
    {
        (effects, progress) = steps(seen, &attempt, &letter, since, &order);
    }
    match progress {
        Progress::Done(_) => leave(seen, open),
        Progress::Exhausted(_) => Ok(give_up(seen)),
        Progress::Waiting(pause) => {
            let status = seen.status();
            Ok(Decision::say(seen, status, Phase::Deleting, Mood::Reconciling, &report)
                .doing(effects)
                .after(pause.min(patience)))
        }
    }
}

/// The attempt whose run may be open: nothing else holds the object.
fn what_is_open<'a>(
    seen: &'a Observed,
    open: Option<&Attempt<'a>>,
) -> Result<Option<(Attempt<'a>, Letter)>, Pause> {
    let status = seen.status();
    let ended =
        matches!(status.phase, Some(Phase::Complete | Phase::Failed)) && !is_in_doubt(&status);
    if open.is_none() && (ended || status.attempt.is_none()) {
        return Ok(None);
    }
    let Some(letter) = letter_of(seen, open) else {
        return Ok(None);
    };
    let attempt = open.cloned().unwrap_or_else(|| Attempt::without_jobs(letter.task.attempt));
    let live = attempt.jobs().any(|job| !is_finished(job)) || has_live_pods(seen, attempt.number);
    if live {
        return Ok(Some((attempt, letter)));
    }
    if let Err(report) = may_read(&seen.job, &letter.task.tracking, &seen.settings.tracking) {
        // a forged Job has no run of ours behind it; one of earlier settings is recovered unseen
        return Ok((report.reason == Reason::TrackingChanged).then_some((attempt, letter)));
    }
    if let Tracking::Unreadable(_) = seen.tracking {
        return Ok(Some((attempt, letter)));
    }
    let read = tracking(seen, &letter.task.tracking)?;
    Ok(has_left_something(seen, read).then_some((attempt, letter)))
}

/// The letter of the attempt, or one as it must have been.
fn letter_of(seen: &Observed, attempt: Option<&Attempt>) -> Option<Letter> {
    let made = || {
        let valid = valid(&seen.job, seen.settings).ok()?;
        let number = attempt.map(|attempt| attempt.number).or(seen.status().attempt)?;
        Some(letter(seen, &valid, valid.owner.clone(), (number, 0)))
    };
    attempt.and_then(Attempt::letter).or_else(made)
}

/// The attempt after a recovered one, whose run is open and whose Jobs somebody deleted.
fn open_later<'a>(
    seen: &Observed,
    recovered: &Attempt,
    letter: &Letter,
) -> Result<Option<(Attempt<'a>, Letter)>, Pause> {
    let at = &letter.task.tracking;
    let readable = may_read(&seen.job, at, &seen.settings.tracking).is_ok();
    if !readable || matches!(seen.tracking, Tracking::Unreadable(_)) {
        return Ok(None);
    }
    let run = tracking(seen, at)?.run_of(seen.uid());
    let run = run.filter(|run| run.state.is_open() && run.attempt > recovered.number);
    Ok(run.map(|run| {
        let task = Task { owner: run.owner.clone(), attempt: run.attempt, ..letter.task.clone() };
        (Attempt::without_jobs(run.attempt), Letter::new(task))
    }))
}

/// Whether there may be something of ours to end: a run that is open, or one that was failed by its
/// own coordinator. That one swept once, but a pod that was killed without a word, or woke up late,
/// may have left an upload after it; recovery lists again. Complete runs have nothing to abort.
fn has_left_something(seen: &Observed, read: &TrackingRead) -> bool {
    if let Some(run) = read.run_of(seen.uid()) {
        return run.state != RunState::Published || run.pending_cleanup.is_some();
    }
    read.o.as_ref().is_some_and(|outcome| {
        let result = outcome.result.as_ref();
        let published = result.filter(|result| result.outcome == TrackedOutcome::Complete);
        outcome.run.is_some() && published.and_then(|result| result.run) != outcome.run
    })
}

fn quiet(seen: &Observed) -> Decision {
    let report = Report::new(Reason::Deleting, "the object is being deleted", "");
    let mut decision = Decision::of(seen, seen.status(), &report);
    decision.notes.clear();
    decision
}

/// Lets the object go. Files that it replaced and that are to be removed later are left to a Job of
/// their own: nobody waits for days, and nothing is removed before its time.
fn leave(seen: &Observed, open: Option<&Attempt>) -> Result<Decision, Pause> {
    let mut decision = let_go(seen);
    if let Some((letter, at)) = removal_left(seen, open)? {
        let image = &seen.settings.worker_image;
        let maker = Maker { object: &seen.job, letter: &letter, image, settings: seen.settings };
        let report = Report::new(
            Reason::Deleting,
            "the ExtractJob was deleted before its replaced files were due for removal",
            "",
        );
        let job = maker.put_off(at, &RecoverOrder { last: false, aborted: false, report });
        decision.notes.push(Note {
            warning: false,
            reason: Reason::Deleting,
            message: format!("Job {} removes the replaced files after {at}", name(&job)),
        });
        decision.effects.insert(0, Effect::CreateJob(Box::new(job)));
    }
    Ok(decision)
}

/// When files that the object replaced are to be removed, and the letter of the Job for it. Where
/// the tracking table cannot be read, status says when.
fn removal_left(
    seen: &Observed,
    open: Option<&Attempt>,
) -> Result<Option<(Letter, Timestamp)>, Pause> {
    let said = seen.status().removal_due.map(|at| at.0);
    if said.is_none() && !matches!(seen.tracking, Tracking::Read(_)) {
        return Ok(None);
    }
    let attempts = attempts(&seen.jobs, seen.uid());
    let Some(letter) = letter_of(seen, open.or(attempts.last())) else {
        return Ok(None);
    };
    let table = &letter.task.tracking;
    if may_read(&seen.job, table, &seen.settings.tracking).is_err() {
        return Ok(None);
    }
    let at = match &seen.tracking {
        Tracking::Unreadable(_) => said,
        Tracking::NotRead | Tracking::Read(_) => {
            put_off::removal(tracking(seen, table)?, seen.uid())
        }
    };
    Ok(at.map(|at| (letter, at)))
}

/// Jobs go first, pods before them: an orphaning deletion would leave them behind.
fn let_go(seen: &Observed) -> Decision {
    let attempts = attempts(&seen.jobs, seen.uid());
    let delete = |job: &Job| Effect::DeleteJob { job: name(job), uid: uid(job) };
    let jobs = attempts.iter().flat_map(Attempt::jobs).filter(|job| !is_deleted(job));
    let effects = jobs.map(delete).chain([Effect::DropFinalizer]).collect();
    quiet(seen).doing(effects)
}

fn give_up(seen: &Observed) -> Decision {
    let mut decision = let_go(seen);
    decision.notes.push(Note {
        warning: true,
        reason: Reason::RecoveryFailed,
        message:
            "finalizer removed without recovery of the run. Check whether the ServiceAccount, a Secret, the bucket or the tracking table is missing. The next run of the source starts when the claim of this run has expired, and removes replaced files that are due. Open uploads remain until a lifecycle rule of the bucket aborts them."
                .to_owned(),
    });
    decision
}

//! In: an attempt that is in flight. Out: its extract Job when it is time, its progress, its end.
//! Bound: one extract Job for each run. Fails: by an [`Ending`].

use std::time::Duration;

use crds::status::Partitions;
use crds::tracking::{RunItem, RunState, TrackedOutcome};
use crds::{ExtractJobStatus, Phase, Reason, Report};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::attempt::{
    Attempt, TaskText, completed_at, is_complete, is_deleted, is_finished, name, partitions, uid,
};
use crate::concluding;
use crate::decision::{
    Blocked, Decision, Flow, ReadRequest, Validity, has_moved_on, left, refused, task_text,
    tracking,
};
use crate::due::{Answer, answer, status_outcome};
use crate::effects::Effect;
use crate::ending::{Ending, EndingKind, recorded, shown};
use crate::labels::REVISION;
use crate::observed::Observed;
use crate::pods::{has_started, has_succeeded, pods_of, ready_since, trouble};
use crate::reports::{planning_report, reading_report};
use crate::request::mention_what_waits;
use crate::status::Health;
use crate::valid::may_read;
use crate::workload::Maker;

/// How soon to decide again while tracking items and pods do not agree yet.
const SOON: Duration = Duration::from_secs(3);

/// Drives an attempt whose outcome does not stand in status yet.
pub(crate) fn drive<'a>(
    observed: &Observed,
    valid: Validity,
    attempt: &Attempt<'a>,
) -> Result<Flow<'a>, Blocked> {
    let task_text = match (attempt.task_text(), valid) {
        (Some(task_text), _) => task_text,
        (None, Ok(valid)) => task_text(observed, valid, valid.owner.clone(), (attempt.number, 0)),
        (None, Err(report)) => return Ok(Flow::of(refused(observed, report))),
    };
    if let Err(report) =
        may_read(&observed.job, &task_text.task.tracking, &observed.settings.tracking)
    {
        return Ok(Flow::of(refused(observed, &report)));
    }
    if let Some(ending) = recorded(attempt) {
        return Ok(Flow::end(attempt, &task_text, ending));
    }
    if let Some(coordinator) = never_started(observed, attempt)
        && has_moved_on(valid, &task_text)
    {
        return Ok(Flow::of(superseded(observed, attempt, coordinator)));
    }
    if attempt.coordinator.is_some_and(is_complete) {
        return completed(observed, attempt, &task_text);
    }
    if let Some(decision) = published_early(observed, attempt, &task_text)? {
        return Ok(Flow::of(decision));
    }
    if let Some(ending) = shown(observed, attempt) {
        return Ok(Flow::end(attempt, &task_text, ending));
    }
    if observed.is_suspended() {
        let report = Report::new(
            Reason::Suspended,
            "the run is being stopped because spec.suspend is true",
            "",
        );
        let ending = Ending::new(observed, EndingKind::Yielded, report);
        return Ok(Flow::end(attempt, &task_text, ending));
    }
    match watch(observed, attempt, &task_text)? {
        Watched::Alive(decision) => Ok(Flow::of(mention_what_waits(valid, &task_text, *decision))),
        Watched::Ended(ending) => Ok(Flow::end(attempt, &task_text, ending)),
    }
}

/// The coordinator Job of an attempt whose process never ran within its time. A pod that is not
/// Running yet may still have claimed, because its status arrives later.
fn never_started<'a>(observed: &Observed, attempt: &Attempt<'a>) -> Option<&'a Job> {
    let coordinator = attempt.coordinator?;
    let untouched = attempt.extract.is_none() && attempt.recoveries.is_empty();
    let ran = is_finished(coordinator) || pods_of(&observed.pods, coordinator).any(has_started);
    let created =
        coordinator.metadata.creation_timestamp.as_ref().map_or(observed.now, |time| time.0);
    let may_come = left(observed, created, observed.settings.timing.pod_start_wait).is_some();
    (untouched && !ran && !may_come).then_some(coordinator)
}

/// The object was corrected before the coordinator came to run: the attempt makes room at once and is
/// not recovered, since nothing was claimed, and a recovery pod would miss what the coordinator missed.
/// Should its process have come up this very moment, the next attempt takes its claim over, or finds
/// its run without Jobs and has that recovered.
fn superseded(observed: &Observed, attempt: &Attempt, coordinator: &Job) -> Decision {
    let report = Report::new(
        Reason::Planning,
        format!(
            "attempt {} has not started, and the object was changed, so the next attempt follows",
            attempt.number
        ),
        "",
    );
    let base = ExtractJobStatus { retry: None, not_before: None, ..observed.status() };
    let effects = if is_deleted(coordinator) {
        Vec::new()
    } else {
        vec![Effect::DeleteJob { job: name(coordinator), uid: uid(coordinator) }]
    };
    Decision::report(observed, base, Phase::Planning, Health::Reconciling, &report)
        .doing(effects)
        .after(SOON)
}

/// The coordinator says that it is done; the tracking table must say so too.
fn completed<'a>(
    observed: &Observed,
    attempt: &Attempt<'a>,
    task_text: &TaskText,
) -> Result<Flow<'a>, Blocked> {
    if let Some(decision) = published(observed, attempt, task_text)? {
        return Ok(Flow::of(decision));
    }
    let report = Report::new(
        Reason::Internal,
        "the coordinator Job succeeded, but the tracking table has no outcome for this request",
        "",
    );
    let ending = Ending::new(observed, EndingKind::Failed, report);
    Ok(Flow::end(attempt, task_text, ending))
}

/// Completes a published request before its coordinator Job is complete. The outcome is in the tracking table when the
/// coordinator process ends; the Job controller completes the Job about two seconds later. Returns `None` if another
/// effect is still needed, such as a recovery Job.
fn published_early(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
) -> Result<Option<Decision>, Blocked> {
    let mut pods = attempt.coordinator.into_iter().flat_map(|job| pods_of(&observed.pods, job));
    if !pods.any(has_succeeded) {
        return Ok(None);
    }
    let decision = published(observed, attempt, task_text)?;
    let done = |decision: &Decision| {
        decision.effects.is_empty() && decision.status.phase == Some(Phase::Complete)
    };
    Ok(decision.filter(done))
}

/// The decision about a request whose outcome in the tracking table is Complete.
fn published(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
) -> Result<Option<Decision>, Blocked> {
    let task = &task_text.task;
    let read = tracking(observed, &task.tracking)?;
    let result = read.outcome.as_ref().and_then(|outcome| outcome.result.as_ref());
    let answered = result.filter(|result| {
        result.outcome == TrackedOutcome::Complete
            && answer(&task.spec, &task.owner, &status_outcome(result)) == Answer::Answered
    });
    Ok(answered.map(|result| concluding::conclude(observed, attempt, task_text, (read, result))))
}

enum Watched {
    Alive(Box<Decision>),
    Ended(Ending),
}

impl Watched {
    fn alive(decision: Decision) -> Self {
        Self::Alive(Box::new(decision))
    }
}

/// An attempt whose Jobs neither failed nor completed.
fn watch(observed: &Observed, attempt: &Attempt, task_text: &TaskText) -> Result<Watched, Blocked> {
    let Some(coordinator) = attempt.coordinator else {
        return Ok(Watched::alive(planning(observed, attempt, None)));
    };
    if let Some(extract) = attempt.extract {
        return extracting(observed, attempt, task_text, extract);
    }
    let Some(ready) = pods_of(&observed.pods, coordinator).find_map(ready_since) else {
        let problem = not_started(observed, coordinator)?;
        return Ok(Watched::alive(planning(observed, attempt, problem)));
    };
    let status = observed.status();
    let known = status.partitions.clone().filter(|_| status.attempt == Some(attempt.number));
    if let Some(partitions) = known {
        if partitions.total > 1 {
            let report = Report::new(Reason::PodLost, "the extract Job was deleted", "");
            return Ok(Watched::Ended(Ending::new(observed, EndingKind::Failed, report)));
        }
        return Ok(Watched::alive(running(observed, status, partitions, Phase::Running)));
    }
    let read = tracking(observed, &task_text.task.tracking)?;
    let mine = read.run_of(observed.uid()).filter(|run| run.attempt == attempt.number);
    let Some((run, n)) = mine.and_then(|run| Some((run, run.partitions?))) else {
        return Ok(Watched::alive(planning(observed, attempt, None).after(SOON)));
    };
    // a quota or an admission webhook may refuse the Job itself: the source is not held for ever
    let patience = observed.settings.timing.extract_start_wait;
    if n > 1 && left(observed, ready, patience).is_none() {
        let report = Report::new(
            Reason::ExtractNotStarted,
            "the extract Job could not be created while the coordinator waited",
            "Check the events of the namespace for a quota on Jobs or an admission webhook.",
        );
        return Ok(Watched::Ended(Ending::new(observed, EndingKind::Yielded, report)));
    }
    Ok(Watched::alive(planned(observed, attempt, task_text, (run, n))))
}

/// The coordinator holds its snapshot: the partitions can be read.
fn planned(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    (run, n): (&RunItem, u32),
) -> Decision {
    let partitions = Partitions { total: n, ..Partitions::default() };
    let base = ExtractJobStatus {
        run_id: Some(run.run),
        attempt: Some(attempt.number),
        window: run.window.as_ref().map(|window| crds::status::StatusWindow {
            low: window.low.clone(),
            high: window.high.clone(),
            guard: window.guard,
        }),
        extract_successful: Some("N".to_owned()),
        ..observed.status()
    };
    if n <= 1 {
        return running(observed, base, partitions, Phase::Running);
    }
    if run.state != RunState::Running {
        return planning(observed, attempt, None).after(SOON);
    }
    let image = attempt.image().unwrap_or(&observed.settings.worker_image);
    let maker = Maker { object: &observed.job, task_text, image, settings: observed.settings };
    let job = maker.extract(run.run, n);
    running(observed, base, partitions, Phase::Running)
        .doing(vec![Effect::CreateJob(Box::new(job))])
        .after(observed.settings.timing.pod_start_wait)
}

fn planning(observed: &Observed, attempt: &Attempt, trouble: Option<Report>) -> Decision {
    let base = ExtractJobStatus { attempt: Some(attempt.number), ..observed.status() };
    let pause = observed.settings.timing.pod_start_wait;
    let report = trouble.unwrap_or_else(|| planning_report(attempt.number));
    Decision::report(observed, base, Phase::Planning, Health::Reconciling, &report).after(pause)
}

fn running(
    observed: &Observed,
    base: ExtractJobStatus,
    partitions: Partitions,
    phase: Phase,
) -> Decision {
    let base = ExtractJobStatus {
        progress: Some(format!("{}/{}", partitions.succeeded, partitions.total)),
        partitions: Some(partitions),
        ..base
    };
    let report = if phase == Phase::Committing {
        Report::new(
            Reason::Committing,
            "all partitions are read, and the run is being published",
            "",
        )
    } else {
        reading_report(&observed.job.spec)
    };
    Decision::report(observed, base, phase, Health::Reconciling, &report)
}

/// The extract Job exists.
fn extracting(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    extract: &Job,
) -> Result<Watched, Blocked> {
    let partitions = partitions(extract);
    let mut base = ExtractJobStatus { attempt: Some(attempt.number), ..observed.status() };
    let run = extract.metadata.labels.as_ref().and_then(|labels| labels.get(crate::labels::RUN));
    base.run_id = run.and_then(|run| run.parse().ok()).or(base.run_id);
    if is_complete(extract) {
        return committing(observed, attempt, task_text, (extract, base, partitions));
    }
    let pods: Vec<&Pod> = pods_of(&observed.pods, extract).collect();
    let ready =
        attempt.coordinator.and_then(|job| pods_of(&observed.pods, job).find_map(ready_since));
    let any_started = partitions.succeeded > 0 || pods.iter().any(|pod| has_started(pod));
    let patience = observed.settings.timing.extract_start_wait;
    if !any_started && ready.is_some_and(|since| left(observed, since, patience).is_none()) {
        let problem = not_started(observed, extract)?
            .map(|report| format!(": {}", report.message))
            .unwrap_or_default();
        let report = Report::new(
            Reason::ExtractNotStarted,
            format!("no extract pod started while the coordinator waited{problem}"),
            "Raise the quota, add nodes, or lower spec.worker.parallelism.",
        );
        return Ok(Watched::Ended(Ending::new(observed, EndingKind::Yielded, report)));
    }
    let decision = running(observed, base, partitions, Phase::Running);
    if any_started {
        return Ok(Watched::alive(decision));
    }
    let pause = observed.settings.timing.pod_start_wait;
    let Some(report) = not_started(observed, extract)? else {
        return Ok(Watched::alive(decision.after(pause)));
    };
    let status = decision.status;
    Ok(Watched::alive(
        Decision::report(observed, status, Phase::Running, Health::Reconciling, &report)
            .after(pause),
    ))
}

/// All partitions ended: the coordinator must soon have seen all their records.
fn committing(
    observed: &Observed,
    attempt: &Attempt,
    task_text: &TaskText,
    (extract, base, partitions): (&Job, ExtractJobStatus, Partitions),
) -> Result<Watched, Blocked> {
    let read = tracking(observed, &task_text.task.tracking)?;
    let total = partitions.total;
    let decision = running(observed, base, partitions, Phase::Committing);
    let mine = read.run_of(observed.uid()).filter(|run| run.attempt == attempt.number);
    let Some(run) = mine.filter(|run| run.state == RunState::Running) else {
        return Ok(Watched::alive(decision.after(observed.settings.timing.record_poll)));
    };
    let annotations = extract.metadata.annotations.as_ref();
    let recorded_at = annotations
        .and_then(|annotations| annotations.get(REVISION))
        .and_then(|revision| revision.parse::<u64>().ok());
    let Some(revision) = recorded_at else {
        let effect = Effect::RecordRevision { job: name(extract), revision: run.revision };
        let request = observed.settings.timing.record_poll;
        return Ok(Watched::alive(decision.doing(vec![effect]).after(request)));
    };
    let ended = completed_at(extract).unwrap_or(Timestamp::UNIX_EPOCH);
    let too_late = left(observed, ended, observed.settings.timing.record_wait).is_none();
    // The first renewal after `revision` may have a count that was listed before the last partition ended: the
    // coordinator lists, then writes. It lists for the second one only after it wrote the first, and
    // so after `revision` was read here, when all partitions had ended.
    let counted = run.revision >= revision.saturating_add(2);
    let short = run.records < total;
    if (short && (counted || too_late)) || (run.revision == revision && too_late) {
        let report = Report::new(
            Reason::RecordMissing,
            format!(
                "all partitions ended, but only {} of {} have a partition record",
                run.records, total
            ),
            "",
        );
        return Ok(Watched::Ended(Ending::new(observed, EndingKind::Failed, report)));
    }
    Ok(Watched::alive(decision.after(observed.settings.timing.record_poll)))
}

/// Why the Job's pods do not start, once they have had their time.
fn not_started(observed: &Observed, job: &Job) -> Result<Option<Report>, Blocked> {
    let pods: Vec<&Pod> = pods_of(&observed.pods, job).collect();
    if pods.iter().any(|pod| has_started(pod)) {
        return Ok(None);
    }
    let created = job.metadata.creation_timestamp.as_ref().map_or(observed.now, |time| time.0);
    if left(observed, created, observed.settings.timing.pod_start_wait).is_some() {
        return Ok(None);
    }
    let Some(warnings) = &observed.warnings else {
        let pods = pods.iter().filter_map(|pod| pod.metadata.uid.clone());
        return Err(Blocked::Read(ReadRequest::Warnings(
            std::iter::once(uid(job)).chain(pods).collect(),
        )));
    };
    Ok(trouble(&pods, warnings))
}

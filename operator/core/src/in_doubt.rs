//! In: the recovery Jobs of an attempt and their pods. Out: why its run could not be ended.
//! Bound: one attempt. Fails: never.

use crds::{Reason, Report};

use crate::attempt::{Attempt, name};
use crate::ending::Ending;
use crate::observed::Observed;
use crate::pods::{end, pods_of};

/// What recovery pods said, the newest first.
fn said<'a>(observed: &'a Observed, attempt: &'a Attempt) -> impl Iterator<Item = Report> + 'a {
    let jobs = attempt.recoveries.iter().rev();
    jobs.filter_map(|(_, job)| Some(pods_of(&observed.pods, job).find_map(end)?.report))
}

/// Whether a decided run cannot be completed: only a person can go on.
pub(crate) fn is_stuck(observed: &Observed, attempt: &Attempt) -> bool {
    let stuck = [Reason::CommitStuck, Reason::ManifestMissing];
    said(observed, attempt).any(|report| stuck.contains(&report.reason))
}

/// Why the cleanup of a published run does not end; `published` says what was published.
pub(crate) fn cleanup_report(observed: &Observed, attempt: &Attempt, published: &str) -> Report {
    let recover = attempt.recoveries.last().map(|(_, job)| name(job)).unwrap_or_default();
    let (cause, remedy) = match said(observed, attempt).next() {
        Some(Report { reason, message, remedy }) => (format!("{reason}: {message}"), remedy),
        None => (format!("Job {recover} ended without a termination message"), String::new()),
    };
    let remedy = if remedy.is_empty() { format!("Read the log of Job {recover}.") } else { remedy };
    Report::new(
        Reason::CleanupFailed,
        format!("{published}, but its cleanup failed: {cause}"),
        remedy,
    )
}

/// Why the run of an attempt that ended so could not be recovered, in recovery's own words where it had
/// any.
pub(crate) fn report(observed: &Observed, attempt: &Attempt, ending: &Ending) -> Report {
    let recover = attempt.recoveries.last().map(|(_, job)| name(job)).unwrap_or_default();
    let number = attempt.number;
    let ended = format!("the attempt ended with: {}", ending.report.message);
    let (reason, message, hint) = match said(observed, attempt).next() {
        Some(Report { reason: Reason::CommitStuck, message, remedy }) => {
            (Reason::CommitStuck, format!("attempt {number}: {message}"), remedy)
        }
        Some(Report { reason, message, remedy }) => (
            Reason::RecoveryFailed,
            format!(
                "the run of attempt {number} could not be recovered: {reason}: {message}; {ended}"
            ),
            remedy,
        ),
        None => (
            Reason::RecoveryFailed,
            format!(
                "the run of attempt {number} could not be recovered: Job {recover} ended without a termination message; {ended}"
            ),
            format!(
                "Read the events and the log of Job {recover}, and fix the cause that they name."
            ),
        ),
    };
    let hint = if hint.is_empty() { format!("Read the log of Job {recover}.") } else { hint };
    let remedy = format!(
        "{}. Then set a new annotation tidemark.dev/requested-at on the object.",
        hint.trim_end_matches('.')
    );
    Report::new(reason, message, remedy)
}

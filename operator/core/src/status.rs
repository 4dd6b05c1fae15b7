//! In: what was decided and the last status. Out: the new [`ExtractJobStatus`].
//! Bound: eight conditions. Fails: never.

use crds::requested::is_later;
use crds::status::{LastSuccess, Partitions, StatusOutcome, StatusWindow};
use crds::tracking::{Guard, OutcomeResult, Owner, TrackedOutcome};
use crds::{ConditionType, ExtractJobStatus, Phase, Reason, Report};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use crate::conditions::Health;
use crate::conditions::State;
use crate::due::{Answer, answer, outcome_of, status_outcome};
use crate::observed::Observed;
use crate::valid::owner;

/// `base` with phase and conditions that say `report`.
pub fn with_conditions(
    observed: &Observed,
    base: ExtractJobStatus,
    phase: Phase,
    health: Health,
    report: &Report,
) -> ExtractJobStatus {
    // an earlier attempt that is recovered again, because its Jobs were deleted manually, must not make
    // the number of a later one free again
    let base = ExtractJobStatus { attempt: base.attempt.max(observed.status().attempt), ..base };
    let state = state(observed, &base, phase, health, report);
    let conditions = ConditionType::ALL
        .iter()
        .map(|kind| condition(observed, &state, *kind, state.holds(*kind)))
        .collect();
    let observed_generation = Some(observed.generation());
    ExtractJobStatus { phase: Some(phase), conditions, observed_generation, ..base }
}

fn state<'a>(
    observed: &Observed,
    base: &ExtractJobStatus,
    phase: Phase,
    health: Health,
    report: &'a Report,
) -> State<'a> {
    let (attempt, run) = (base.attempt, base.run_id);
    State { phase, health, attempt, run, suspend: observed.is_suspended(), report }
}

fn condition(observed: &Observed, state: &State, kind: ConditionType, holds: bool) -> Condition {
    let status = if holds { "True" } else { "False" };
    let before = observed.job.status.as_ref().and_then(|old| find(old, kind));
    let since =
        before.filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    let (reason, message) = state.explain(kind, holds);
    Condition {
        type_: kind.name().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(observed.generation()),
        last_transition_time: since.unwrap_or(Time(observed.now)),
    }
}

/// A condition of a status.
pub fn find(status: &ExtractJobStatus, kind: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.name())
}

/// The status of a run that is published, and whose cleanup is not done.
pub fn cleaning(
    observed: &Observed,
    result: &OutcomeResult,
    attempt: u32,
    (health, report): (Health, &Report),
) -> ExtractJobStatus {
    let base = published(observed, result, attempt);
    let mut status = with_conditions(observed, base, Phase::Committing, health, report);
    let kind = ConditionType::Committed;
    let committed = condition(
        observed,
        &state(observed, &status, Phase::Committing, health, report),
        kind,
        true,
    );
    if let Some(found) = status.conditions.iter_mut().find(|one| one.type_ == kind.name()) {
        *found = committed;
    }
    status
}

/// The numbers of a published run. The outcome is left as it was, unless it says that this very
/// request was given up: it would be believed, and what is left to do after PUBLISH never be done.
pub fn published(observed: &Observed, result: &OutcomeResult, attempt: u32) -> ExtractJobStatus {
    let base = observed.status();
    let number = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    let success = result.run.map(|run_id| {
        base.last_success.clone().filter(|old| old.run_id == run_id).unwrap_or(LastSuccess {
            run_id,
            time: Time(observed.now),
            rows: i64::try_from(result.rows).unwrap_or(i64::MAX),
        })
    });
    let given_up = |old: &StatusOutcome| {
        old.result == TrackedOutcome::Failed
            && old.request == result.owner.request
            && !is_later(old.requested_at.as_deref(), result.owner.requested_at.as_deref())
    };
    let outcome = base.outcome.clone().filter(|old| !given_up(old));
    ExtractJobStatus {
        run_id: result.run.or(base.run_id),
        outcome,
        attempt: Some(attempt),
        retry: None,
        not_before: None,
        window: result.window.as_ref().map(|window| StatusWindow {
            low: window.low.clone(),
            high: window.high.clone(),
            guard: window.guard,
        }),
        extract_successful: Some("Y".to_owned()),
        partitions: Some(partitions(result)),
        progress: Some(format!("{0}/{0}", result.partitions)),
        table: result.table.clone().or(base.table.clone()),
        rows: number(result.rows),
        bytes: number(result.bytes),
        files: number(result.files),
        table_lock_milliseconds: table_lock(result),
        consistency: result.consistency.map(|reached| reached.name().to_owned()),
        fidelity: result.fidelity,
        last_success: success.or(base.last_success.clone()),
        start_time: base.start_time.clone().or(Some(Time(observed.now))),
        ..base
    }
}

/// The partitions of a published run, and how even they were.
fn partitions(result: &OutcomeResult) -> Partitions {
    let how = result.partitioning.as_ref();
    Partitions {
        total: result.partitions,
        succeeded: result.partitions,
        failed: 0,
        strategy: how.map(|how| how.strategy.name().to_owned()),
        reason: how.map(|how| how.reason.clone()),
        predicted_skew: how.and_then(|how| how.predicted_skew.clone()),
        actual_skew: how.map(|how| how.actual_skew.clone()),
    }
}

/// For how long the run locked the table, in milliseconds.
fn table_lock(result: &OutcomeResult) -> Option<i64> {
    result.table_lock_milliseconds.map(|time| i64::try_from(time).unwrap_or(i64::MAX))
}

/// The generation that an outcome speaks of: the object's, unless the object asks for more by now, so
/// that nobody takes an older request's end for the present one's.
fn about(observed: &Observed, mut status: ExtractJobStatus, spoken_of: i64) -> ExtractJobStatus {
    let answers =
        status.outcome.as_ref().zip(owner(&observed.job)).is_some_and(|(outcome, owner)| {
            answer(&observed.job.spec, &owner, outcome) == Answer::Answered
        });
    if !answers {
        status.observed_generation = Some(spoken_of);
        for condition in &mut status.conditions {
            condition.observed_generation = Some(spoken_of);
        }
    }
    status
}

/// The status of an answered request.
pub fn complete(observed: &Observed, result: &OutcomeResult, attempt: u32) -> ExtractJobStatus {
    let base = published(observed, result, attempt);
    let outcome = Some(status_outcome(result));
    let since = base.completion_time.clone().filter(|_| base.outcome == outcome);
    let base =
        ExtractJobStatus { completion_time: since.or(Some(Time(observed.now))), outcome, ..base };
    let report = success_report(result);
    let status = with_conditions(observed, base, Phase::Complete, Health::Done, &report);
    about(observed, status, result.owner.generation)
}

/// What is said of a published run.
pub fn success_report(result: &OutcomeResult) -> Report {
    let run = result.run.map(|run| run.to_string()).unwrap_or_default();
    let message = format!("run {run} published {} rows in {} files", result.rows, result.files);
    let guard = result.window.as_ref().and_then(|window| window.guard);
    match &result.report {
        None if guard == Some(Guard::Unguarded) => Report::new(
            Reason::Unguarded,
            format!("{message}; no guard: rows committed late inside this window will be skipped"),
            "Set extract.watermark.lagSeconds (for number columns: lagUnits), or stampedBy: database if the server writes the column. Also set timeZone if the column has no time zone.",
        ),
        None => Report::new(Reason::Succeeded, message, ""),
        Some(odd) => Report::new(
            Reason::Succeeded,
            format!("{message}; {}", odd.message),
            odd.remedy.clone(),
        ),
    }
}

/// The status of a request that is given up for `owner`.
pub fn failed(
    observed: &Observed,
    owner: &Owner,
    attempt: u32,
    report: &Report,
) -> ExtractJobStatus {
    let base = observed.status();
    let outcome = Some(outcome_of(owner, TrackedOutcome::Failed));
    let since = base.completion_time.clone().filter(|_| base.outcome == outcome);
    let base = ExtractJobStatus {
        completion_time: since.or(Some(Time(observed.now))),
        outcome,
        attempt: Some(attempt),
        not_before: None,
        extract_successful: Some("N".to_owned()),
        ..base
    };
    let status = with_conditions(observed, base, Phase::Failed, Health::Stalled, report);
    about(observed, status, owner.generation)
}

#[cfg(test)]
mod tests {
    use crds::extract_job::Strategy;
    use crds::tracking::TrackedPartitioning;

    use super::*;

    fn published() -> OutcomeResult {
        let owner = Owner {
            uid: "u".to_owned(),
            request: String::new(),
            hash_version: 1,
            generation: 1,
            requested_at: None,
        };
        OutcomeResult {
            outcome: TrackedOutcome::Complete,
            owner,
            run: None,
            report: None,
            window: None,
            watermark: None,
            table: None,
            rows: 9,
            bytes: 9,
            files: 2,
            partitions: 2,
            consistency: None,
            table_lock_milliseconds: None,
            partitioning: None,
            fidelity: None,
        }
    }

    #[test]
    fn status_reports_how_the_table_was_partitioned() {
        let mut result = published();
        let bare = Partitions { total: 2, succeeded: 2, ..Partitions::default() };
        assert_eq!(partitions(&result), bare);
        result.partitioning = Some(TrackedPartitioning {
            strategy: Strategy::Ctid,
            columns: Vec::new(),
            reason: "the table has no primary key".to_owned(),
            predicted_skew: Some("1.00".to_owned()),
            actual_skew: "1.02".to_owned(),
        });
        let text = |text: &str| Some(text.to_owned());
        let expected = Partitions {
            strategy: text("ctid"),
            reason: text("the table has no primary key"),
            predicted_skew: text("1.00"),
            actual_skew: text("1.02"),
            ..bare
        };
        assert_eq!(partitions(&result), expected);
    }

    #[test]
    fn status_reports_how_long_the_table_was_locked() {
        for time in [None, Some(12)] {
            let result = OutcomeResult { table_lock_milliseconds: time, ..published() };
            let shown = table_lock(&result);
            assert_eq!(shown, time.map(|_| 12));
        }
    }
}

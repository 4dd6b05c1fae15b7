//! CLAIM: whether a task may take the source, and with which items.

use crds::condition::Exit;
use crds::extract_job::{ExtractType, Watermark};
use crds::requested::is_later;
use crds::tracking::{
    ITEM_VERSION, Mode, OUTCOME_DAYS, OutcomeItem, Provisional, RunItem, RunState, TrackedOutcome,
    WatermarkItem, Window, outcome_key, run_key,
};
use crds::{Reason, RunId, Task};

use super::effects::{Expect, Item, ItemWrite, Step, Transaction};
use super::observed::{ObservedItems, fenced};
use super::phases::Claimed;
use super::provisional::{has_no_column, is_of_another, provisional, replaced, stored};
use super::removals::has_pending_cleanup;
use super::transitions::pending_window_after;
use super::transitions::{metadata, utc_text};
use crate::errors::failure::Failure;
use crate::planning::plan::PlanOrder;

/// What CLAIM comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The request has been answered as Complete.
    Answered,
    /// Not now, or not ever.
    Refused(Failure),
    /// A run that was decided must be finished to its end first.
    FinishFirst,
    /// The last published run has something left to do first.
    CleanupFirst,
    /// Write this transaction; also the run and what to plan for it.
    Write(Box<Claimed>),
}

/// The kind of run that a task asks for.
pub fn mode(task: &Task) -> Mode {
    match (task.spec.extract.reingest.unwrap_or(false), task.spec.extract.extract_type) {
        (true, _) => Mode::Reingest,
        (false, ExtractType::FE) => Mode::FE,
        (false, ExtractType::PE) => Mode::PE,
    }
}

/// Decides on a claim of `task` by what was `observed`; `fresh` is the id of the run to be.
pub fn claim(task: &Task, observed: &ObservedItems, fresh: RunId, lease_seconds: i64) -> Claim {
    if let Some(refusal) = answered(task, observed) {
        return refusal;
    }
    if let Some(run) = &observed.run {
        match run.state {
            RunState::Committing | RunState::Reverting => return Claim::FinishFirst,
            RunState::Published | RunState::Failed | RunState::Aborted
                if has_pending_cleanup(run, observed.now) =>
            {
                return Claim::CleanupFirst;
            }
            RunState::Claimed | RunState::Running if !may_take_over(task, run, observed.now) => {
                return Claim::Refused(busy(run));
            }
            RunState::Claimed
            | RunState::Running
            | RunState::Published
            | RunState::Failed
            | RunState::Aborted => {}
        }
    }
    match needs_a_person(task, observed) {
        Some(failure) => Claim::Refused(failure),
        None => Claim::Write(Box::new(write(task, observed, fresh, lease_seconds))),
    }
}

/// Refusals that come before anything else: an outcome that answers, a later attempt.
fn answered(task: &Task, observed: &ObservedItems) -> Option<Claim> {
    if let Some(result) = observed.outcome.as_ref().and_then(|outcome| outcome.result.as_ref()) {
        let asked = task.owner.requested_at.as_deref();
        let asks = is_later(asked, result.owner.requested_at.as_deref());
        match result.outcome {
            TrackedOutcome::Complete if !asks && result.owner.request == task.owner.request => {
                return Some(Claim::Answered);
            }
            TrackedOutcome::Failed if !asks && result.owner.generation >= task.owner.generation => {
                let report = result.report.clone();
                return Some(Claim::Refused(Failure {
                    exit: Exit::Permanent,
                    report: report.unwrap_or_else(|| {
                        crds::Report::new(Reason::Fenced, "this request has already failed", "")
                    }),
                }));
            }
            TrackedOutcome::Complete | TrackedOutcome::Failed => {}
        }
    }
    let shown = observed.outcome.as_ref().map_or(0, |outcome| outcome.attempt);
    let active = observed.run.as_ref().filter(|run| run.owner.uid == task.owner.uid);
    if shown.max(active.map_or(0, |run| run.attempt)) >= task.attempt {
        return Some(Claim::Refused(Failure::fenced(
            Reason::Fenced,
            "a later attempt of this ExtractJob has already claimed the source or was recovered",
        )));
    }
    None
}

fn may_take_over(task: &Task, run: &RunItem, now: i64) -> bool {
    let own_earlier = run.owner.uid == task.owner.uid && run.attempt < task.attempt;
    own_earlier || run.deadline < now
}

fn busy(run: &RunItem) -> Failure {
    Failure::fenced(
        Reason::SourceBusy,
        format!("source is claimed by run {} until {} UTC", run.run, utc_text(run.deadline)),
    )
}

/// Refusals that need a change by a person.
fn needs_a_person(task: &Task, observed: &ObservedItems) -> Option<Failure> {
    let mode = mode(task);
    if observed.identity.as_ref().is_some_and(|found| *found != observed.own_identity) {
        return Some(prefix_taken());
    }
    if mode != Mode::PE {
        return None;
    }
    let uri = &task.spec.output.uri;
    let head = observed.run.as_ref().and_then(|run| run.head.as_ref());
    if head.is_some_and(|head| head.uri != *uri) {
        return Some(Failure::permanent(
            Reason::UriChanged,
            "the published extract of this source is at another URI, and a PE would append to it",
            "Set output.uri to the URI of the published extract (in a cluster: in another ExtractJob, because output.uri is immutable), or run an FE or a reingest at the new URI first.",
        ));
    }
    if observed.run.is_some() && observed.watermark_item.is_none() {
        return Some(lost("the watermark item of the source is missing, but its run item exists"));
    }
    if observed.run.is_none() && observed.identity.is_some() {
        return Some(lost(
            "the run item of the source is missing, but output.uri contains an extract of it",
        ));
    }
    let watermark_item = observed.watermark_item.as_ref()?;
    (is_of_another(task, watermark_item) && replaced(task, observed).is_none()).then(|| {
        Failure::permanent(
            Reason::WatermarkColumnChanged,
            "the stored watermark belongs to another watermark column or type",
            "Restore extract.watermark.column and extract.watermark.type, or set extract.reingest: true.",
        )
    })
}

/// Another source's identity lies under the prefix.
pub fn prefix_taken() -> Failure {
    Failure::permanent(
        Reason::PrefixTaken,
        "output.uri contains the extract of another source or tracking table",
        "Choose a separate output.uri for each source.",
    )
}

fn lost(message: &str) -> Failure {
    Failure::permanent(
        Reason::TrackingLost,
        message,
        "Restore the item from a backup of the tracking table, or run a reingest or an FE, which replaces the published extract.",
    )
}

fn write(task: &Task, observed: &ObservedItems, fresh: RunId, lease_seconds: i64) -> Claimed {
    let mode = mode(task);
    let watermark_item = watermark_item_at_claim(task, observed, mode);
    let old = observed.run.as_ref();
    // a window begins at the watermark that is replaced
    let kept = old.filter(|_| replaced(task, observed).is_none());
    let pending_window =
        kept.and_then(|run| pending_window_after(run, observed.watermark_item.as_ref()));
    let commit = 1 + old.map_or(0, |run| run.commit).max(observed.pointer_commit());
    let item = RunItem {
        source: run_key(&task.tracking.key),
        schema: ITEM_VERSION,
        revision: old.map_or(1, |run| run.revision + 1),
        state: RunState::Claimed,
        run: fresh,
        uri: task.spec.output.uri.clone(),
        head: old.and_then(|run| run.head.clone()),
        owner: task.owner.clone(),
        attempt: task.attempt,
        deadline: observed.now + lease_seconds,
        records: 0,
        commit,
        mode,
        window: None,
        plan_hash: None,
        partitions: None,
        pending_window: pending_window.clone(),
        // a postponed removal outlives the runs in between
        pending_cleanup: old.and_then(|run| run.pending_cleanup.clone()),
        retain_seconds: task.spec.output.retain_replaced_seconds,
        set: old.and_then(|run| run.set.clone()),
        watermark_item: Some(watermark_item.clone()),
        provisional: provisional(observed),
        report: None,
    };
    let outcome = OutcomeItem {
        source: outcome_key(&task.tracking.key, &task.owner.uid),
        schema: ITEM_VERSION,
        attempt: task.attempt,
        run: Some(fresh),
        result: observed.outcome.as_ref().and_then(|outcome| outcome.result.clone()),
        expires_at: observed.now + OUTCOME_DAYS * 86_400,
    };
    let order = order(task, observed, fresh, pending_window.filter(|_| mode == Mode::PE));
    let writes = vec![
        ItemWrite {
            key: item.source.clone(),
            expect: old.map_or(Expect::Absent, Expect::run),
            put: Some(Item::Run(Box::new(item.clone()))),
        },
        ItemWrite {
            key: watermark_item.source.clone(),
            expect: observed.watermark_item.clone().map_or(Expect::Absent, Expect::Watermark),
            put: Some(Item::Watermark(Box::new(watermark_item))),
        },
        ItemWrite {
            key: outcome.source.clone(),
            expect: observed.expect_outcome(),
            put: Some(Item::Outcome(Box::new(outcome))),
        },
    ];
    Claimed {
        item,
        transaction: Transaction { step: Step::Claim, writes },
        order,
        identity: observed.own_identity.clone(),
    }
}

fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !matches!(text.as_str(), "" | "-1" | "None")).cloned()
}

/// The watermark item with the marks of a run in flight; made from its copy, or new, where there is none.
fn watermark_item_at_claim(task: &Task, observed: &ObservedItems, mode: Mode) -> WatermarkItem {
    let watermark = task.spec.extract.watermark.as_ref();
    let replaced = replaced(task, observed);
    let mut item = stored(observed)
        .filter(|_| replaced != Some(Provisional::Item))
        .cloned()
        .unwrap_or_else(|| first_watermark_item(task, watermark, mode));
    if (has_no_column(&item) || replaced == Some(Provisional::Column))
        && let Some(watermark) = watermark
    {
        item.hwm_col_name = Some(watermark.column.clone());
        item.hwm_column_type = Some(watermark.value_type.name().to_owned());
    }
    item.extract_type = Some(task.spec.extract.extract_type.name().to_owned());
    item.extract_successful = Some("N".to_owned());
    item.extract_metadata = Some(metadata(-1));
    item.updated_at = Some(utc_text(observed.now));
    item
}

fn first_watermark_item(task: &Task, watermark: Option<&Watermark>, mode: Mode) -> WatermarkItem {
    let low = watermark.and_then(|watermark| match mode {
        Mode::PE => watermark.low.clone(),
        Mode::FE | Mode::Reingest => None,
    });
    let high = watermark.and_then(|watermark| match mode {
        Mode::PE => watermark.high.clone(),
        Mode::FE | Mode::Reingest => None,
    });
    let minimum = watermark.map_or("-1", |watermark| watermark.value_type.minimum_text());
    WatermarkItem {
        source: task.tracking.key.clone(),
        lwm_value: Some(low.unwrap_or_else(|| minimum.to_owned())),
        hwm_value: Some(high.unwrap_or_else(|| "-1".to_owned())),
        hwm_col_name: Some(watermark.map(|watermark| watermark.column.clone()).unwrap_or_default()),
        hwm_column_type: Some(
            watermark.map(|watermark| watermark.value_type.name().to_owned()).unwrap_or_default(),
        ),
        ..WatermarkItem::default()
    }
}

/// What to plan: PE starts where the watermark item says, FE and reingest where the manifest says.
fn order(
    task: &Task,
    observed: &ObservedItems,
    run: RunId,
    pending_window: Option<Window>,
) -> PlanOrder {
    let mode = mode(task);
    let watermark = task.spec.extract.watermark.as_ref();
    let base = PlanOrder {
        run,
        mode,
        source: task.tracking.key.clone(),
        low: None,
        low_text: None,
        high: None,
        lookback: watermark.and_then(Watermark::lookback).filter(|_| mode == Mode::PE),
        pending_window,
        head: observed.run.as_ref().and_then(|run| run.head.clone()),
    };
    let Some(watermark) = watermark else { return base };
    match mode {
        Mode::Reingest => base,
        Mode::FE => PlanOrder {
            low: given(watermark.low.as_ref()),
            high: given(watermark.high.as_ref()),
            ..base
        },
        Mode::PE => {
            let watermark_item = watermark_item_at_claim(task, observed, mode);
            let adopted = observed.watermark_item.as_ref().is_some_and(has_no_column)
                || replaced(task, observed) == Some(Provisional::Column);
            let low =
                if adopted { watermark.low.clone() } else { watermark_item.lwm_value.clone() };
            PlanOrder {
                low: low.filter(|low| !watermark.value_type.is_beginning(low)),
                low_text: watermark_item.lwm_value,
                high: given(watermark_item.hwm_value.as_ref()),
                ..base
            }
        }
    }
}

/// The failure of a coordinator whose write was refused because the run item is no longer its own. If the item
/// is missing, it was deleted, and an incremental run must not start again without it.
pub(super) fn not_ours(task: &Task, observed: &ObservedItems) -> Failure {
    if observed.run.is_none() && mode(task) == Mode::PE {
        return Failure::permanent(
            Reason::TrackingLost,
            "the run item of the source was deleted during the run",
            "Restore the item from a backup of the tracking table, or run a reingest or an FE, which replaces the published extract.",
        );
    }
    fenced()
}

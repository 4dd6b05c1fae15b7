//! PIN, RENEW, DECIDE, PUBLISH, FAIL and others: the transactions on the tracking table after CLAIM.
//! Each is a function from what was read to the transaction; none of them reads a clock.

use crds::requested::{is_later, latest};
use crds::task::RecoverOrder;
use crds::tracking::{
    Head, ITEM_VERSION, Mode, OUTCOME_DAYS, ObjectStore, OutcomeItem, OutcomeResult, Owner,
    RunItem, RunState, TrackedOutcome, WatermarkItem, Window, outcome_key,
};
use crds::{Report, Task};
use jiff::Timestamp;

use super::effects::{Expect, Item, ItemWrite, Step, Transaction};
use super::observed::ObservedItems;
use super::removals;
use crate::layout::manifests::ManifestHead;
use crate::planning::fidelity;
use crate::planning::plan::Plan;
use crate::planning::watermark::Value;

/// `%Y-%m-%d %H:%M:%S`, UTC, of seconds since 1970.
pub fn utc_text(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `extract_metadata` of the watermark item.
pub fn metadata(rows: i64) -> String {
    format!("{{\"row_count\": {rows}}}")
}

fn put_run(old: &RunItem, new: &RunItem) -> ItemWrite {
    ItemWrite {
        key: old.source.clone(),
        expect: Expect::run(old),
        put: Some(Item::Run(Box::new(new.clone()))),
    }
}

/// A change of the run item and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The run item once the transaction holds.
    pub item: RunItem,
    /// The transaction.
    pub transaction: Transaction,
}

fn change(step: Step, old: &RunItem, item: RunItem, others: Vec<ItemWrite>) -> Change {
    let mut writes = vec![put_run(old, &item)];
    writes.extend(others);
    Change { item, transaction: Transaction { step, writes } }
}

/// PIN: mine and `claimed` -> `running`, with window, plan, and the number of pods that read.
pub fn pin(claimed: &RunItem, plan: &Plan, plan_hash: &str, deadline: i64) -> Change {
    let item = RunItem {
        revision: claimed.revision + 1,
        state: RunState::Running,
        window: Some(plan.window.clone()),
        plan_hash: Some(plan_hash.to_owned()),
        partitions: Some(u32::try_from(plan.pods()).unwrap_or(u32::MAX)),
        deadline,
        ..claimed.clone()
    };
    change(Step::Pin, claimed, item, Vec::new())
}

/// RENEW: mine and live -> a later deadline, and how many records have been seen.
pub fn renew(active: &RunItem, deadline: i64, records: u32) -> Change {
    let item = RunItem { revision: active.revision + 1, deadline, records, ..active.clone() };
    change(Step::Renew, active, item, Vec::new())
}

/// DECIDE: mine and `running` -> `committing`. An incremental run needs the stored watermark to be
/// byte for byte the text that its window starts from.
pub fn decide(running: &RunItem, deadline: i64, records: u32) -> Change {
    let item = RunItem {
        revision: running.revision + 1,
        state: RunState::Committing,
        deadline,
        records,
        ..running.clone()
    };
    change(Step::Decide, running, item, low_check(running).into_iter().collect())
}

fn watermark_key(run: &RunItem) -> String {
    run.source.trim_end_matches("#tidemark").to_owned()
}

fn low_check(run: &RunItem) -> Option<ItemWrite> {
    let low = run.window.as_ref().and_then(|window| window.low_text.clone());
    low.filter(|_| run.mode == Mode::PE).map(|low| ItemWrite {
        key: watermark_key(run),
        expect: Expect::WatermarkLow(low),
        put: None,
    })
}

/// PUBLISH: `committing` -> published, with the outcome and the watermark item in the same transaction.
///
/// Where the stored watermark is not the run's low text any more, somebody else wrote: the run item and the outcome item
/// are written without the watermark item.
pub fn publish(
    run: &RunItem,
    manifest: &ManifestHead,
    observed: &ObservedItems,
    task: &Task,
    moved: &Report,
) -> Change {
    let low = run.window.as_ref().and_then(|window| window.low_text.clone());
    let stored = observed
        .watermark_item
        .as_ref()
        .and_then(|watermark_item| watermark_item.lwm_value.clone());
    let ours = run.mode != Mode::PE || (observed.watermark_item.is_some() && stored == low);
    let base = observed.watermark_item.clone().or_else(|| run.watermark_item.clone());
    let watermark_item = base
        .filter(|_| ours)
        .map(|base| watermark_item_at_publish(run, manifest, base, observed.now));
    let parent = run.head.as_ref().filter(|_| !run.mode.replaces());
    let depth = parent.map_or(0, |head| head.depth + 1);
    let head = Head { run: run.run, uri: run.uri.clone(), commit: run.commit, depth };
    let pending_cleanup =
        removals::published(run, manifest, observed.now, &ObjectStore::of(&task.spec.output));
    let item = RunItem {
        revision: run.revision + 1,
        state: RunState::Published,
        head: Some(head),
        pending_window: None,
        pending_cleanup: Some(pending_cleanup),
        watermark_item: watermark_item.clone().or_else(|| observed.watermark_item.clone()),
        provisional: None,
        report: (!ours).then(|| moved.clone()),
        ..run.clone()
    };
    let watermark = watermark_item
        .as_ref()
        .and_then(|watermark_item| watermark_item.lwm_value.clone())
        .or(stored);
    let read = observed.outcome_of_owner(&task.owner.uid);
    let result = OutcomeResult {
        outcome: TrackedOutcome::Complete,
        owner: honoured(&run.owner, read),
        run: Some(run.run),
        report: item.report.clone(),
        window: run.window.clone(),
        watermark: watermark.filter(|_| manifest.watermark_max.is_some() || run.mode == Mode::PE),
        table: Some(manifest.table.to_string()),
        rows: manifest.rows,
        bytes: manifest.bytes,
        files: manifest.files.0,
        partitions: manifest.partitions,
        consistency: Some(manifest.consistency),
        table_lock_milliseconds: manifest.table_lock_milliseconds,
        fidelity: Some(fidelity::counts(&manifest.columns)),
        partitioning: manifest.partitioning.clone(),
    };
    let mut others = vec![put_outcome(run, read, Some(result), run.attempt, observed.now)];
    if let Some(watermark_item) = watermark_item {
        others.push(ItemWrite {
            key: watermark_item.source.clone(),
            expect: observed.watermark_item.clone().map_or(Expect::Absent, Expect::Watermark),
            put: Some(Item::Watermark(Box::new(watermark_item))),
        });
    }
    change(Step::Publish, run, item, others)
}

/// The watermark item after a success: FE writes the given bounds back, PE and reingest the maximum seen.
fn watermark_item_at_publish(
    run: &RunItem,
    manifest: &ManifestHead,
    base: WatermarkItem,
    now: i64,
) -> WatermarkItem {
    let mut item = base;
    let window = run.window.as_ref();
    if run.mode.moves_watermark() {
        if let Some(max) = &manifest.watermark_max {
            item.lwm_value = Some(reached(run, manifest, max));
            item.hwm_value = Some("-1".to_owned());
        }
        if let Some(watermark) = manifest.watermark.as_ref().filter(|_| run.mode == Mode::Reingest)
        {
            item.hwm_col_name = Some(watermark.column.clone());
            item.hwm_column_type = Some(watermark.value_type.name().to_owned());
        }
    } else {
        if let Some(low) = window.and_then(|window| window.low.clone()) {
            item.lwm_value = Some(low);
        }
        if let Some(high) = window.and_then(|window| window.high.clone()) {
            item.hwm_value = Some(high);
        }
    }
    item.extract_successful = Some("Y".to_owned());
    item.extract_metadata = Some(metadata(i64::try_from(manifest.rows).unwrap_or(i64::MAX)));
    item.updated_at = Some(utc_text(now));
    item
}

/// The maximum that was read. After a lookback without new rows it may lie below the stored
/// watermark, which never moves back.
fn reached(run: &RunItem, manifest: &ManifestHead, max: &str) -> String {
    let stored = run.window.as_ref().and_then(|window| window.low_text.as_ref());
    let (Some(stored), Some(watermark), Mode::PE) = (stored, &manifest.watermark, run.mode) else {
        return max.to_owned();
    };
    let value = |text: &str| Value::parse(watermark.value_type, text).ok();
    match (value(stored), value(max)) {
        (Some(low), Some(high)) if low > high => stored.clone(),
        _ => max.to_owned(),
    }
}

fn put_outcome(
    run: &RunItem,
    read: Option<&OutcomeItem>,
    result: Option<OutcomeResult>,
    attempt: u32,
    now: i64,
) -> ItemWrite {
    let key = outcome_key(&watermark_key(run), &run.owner.uid);
    let item = OutcomeItem {
        source: key.clone(),
        schema: ITEM_VERSION,
        attempt: read.map_or(0, |read| read.attempt).max(attempt),
        run: Some(run.run),
        result: result.or_else(|| read.and_then(|read| read.result.clone())),
        expires_at: now + OUTCOME_DAYS * 86_400,
    };
    ItemWrite {
        key,
        expect: read.map_or(Expect::Absent, |read| Expect::Outcome(Box::new(read.clone()))),
        put: Some(Item::Outcome(Box::new(item))),
    }
}

/// CLEANUP: the next piece of what `pending_cleanup` asks for is done.
pub fn record_cleanup(published: &RunItem, now: i64, store: &ObjectStore) -> Change {
    let pending_cleanup = removals::done(published, now, store);
    let item = RunItem { revision: published.revision + 1, pending_cleanup, ..published.clone() };
    change(Step::Cleanup, published, item, Vec::new())
}

/// CLEANUP where that piece cannot be done before `until`: it is postponed, so that nothing waits for it.
pub fn postponed(published: &RunItem, now: i64, until: i64, store: &ObjectStore) -> Change {
    let pending_cleanup = removals::postponed(published, now, until, store);
    let item = RunItem { revision: published.revision + 1, pending_cleanup, ..published.clone() };
    change(Step::Cleanup, published, item, Vec::new())
}

/// FAIL: a live run, as read, is given up. Its incremental window stays pending. With `last`, the
/// outcome is Failed.
pub fn fail(run: &RunItem, observed: &ObservedItems, task: &Task, order: &RecoverOrder) -> Change {
    let item = RunItem {
        revision: run.revision + 1,
        state: if order.aborted { RunState::Aborted } else { RunState::Failed },
        pending_window: pending_window_after(run, observed.watermark_item.as_ref()),
        report: Some(order.report.clone()),
        ..run.clone()
    };
    let read = observed.outcome_of_owner(&task.owner.uid);
    let result = order.last.then(|| failed(task, order, Some(run), read));
    let others = vec![put_outcome(run, read, result, task.attempt, observed.now)];
    change(Step::Fail, run, item, others)
}

/// FORCE: `committing` -> `reverting`. Its incremental window stays pending.
pub fn force(run: &RunItem, report: Report) -> Change {
    let item = RunItem {
        revision: run.revision + 1,
        state: RunState::Reverting,
        pending_window: pending_window_after(run, run.watermark_item.as_ref()),
        report: Some(report),
        ..run.clone()
    };
    change(Step::Force, run, item, Vec::new())
}

/// REVERTED: nothing of the run is left; it has failed.
pub fn reverted(run: &RunItem) -> Change {
    let item = RunItem { revision: run.revision + 1, state: RunState::Failed, ..run.clone() };
    change(Step::Reverted, run, item, Vec::new())
}

/// The owner of an outcome that replaces the one that was `read`: the latest `requested-at` that was
/// honoured never goes back.
fn honoured(owner: &Owner, read: Option<&OutcomeItem>) -> Owner {
    let before = read.and_then(|read| read.result.as_ref());
    let before = before.and_then(|result| result.owner.requested_at.as_deref());
    let requested_at = latest([owner.requested_at.as_deref(), before]);
    Owner { requested_at: requested_at.map(ToOwned::to_owned), ..owner.clone() }
}

fn failed(
    task: &Task,
    order: &RecoverOrder,
    run: Option<&RunItem>,
    read: Option<&OutcomeItem>,
) -> OutcomeResult {
    OutcomeResult {
        outcome: TrackedOutcome::Failed,
        owner: honoured(&task.owner, read),
        run: run.map(|run| run.run),
        report: Some(order.report.clone()),
        window: run.and_then(|run| run.window.clone()),
        watermark: None,
        table: None,
        rows: 0,
        bytes: 0,
        files: 0,
        partitions: 0,
        consistency: None,
        table_lock_milliseconds: None,
        fidelity: None,
        partitioning: None,
    }
}

/// Whether `result` answers the task as Complete: the same request, and no later `requested-at`.
pub fn answers_complete(result: &OutcomeResult, task: &Task) -> bool {
    result.outcome == TrackedOutcome::Complete
        && result.owner.request == task.owner.request
        && !is_later(task.owner.requested_at.as_deref(), result.owner.requested_at.as_deref())
}

/// RAISE: an attempt that has not claimed is fenced for good, and with `last` its outcome written.
/// `None` where there is nothing to write.
pub fn raise(task: &Task, observed: &ObservedItems, order: &RecoverOrder) -> Option<Transaction> {
    let read = observed.outcome.as_ref();
    let result = read.and_then(|read| read.result.clone());
    let complete = result.as_ref().is_some_and(|result| answers_complete(result, task));
    let failure = (order.last && !complete).then(|| failed(task, order, None, read));
    let written = result.as_ref().is_some_and(|result| {
        result.outcome == TrackedOutcome::Failed && result.owner == honoured(&task.owner, read)
    });
    let fenced = read.is_some_and(|read| read.attempt >= task.attempt);
    if fenced && (failure.is_none() || written) {
        return None;
    }
    let key = outcome_key(&task.tracking.key, &task.owner.uid);
    let item = OutcomeItem {
        source: key.clone(),
        schema: ITEM_VERSION,
        attempt: read.map_or(0, |read| read.attempt).max(task.attempt),
        run: read.and_then(|read| read.run),
        result: failure.or(result),
        expires_at: observed.now + OUTCOME_DAYS * 86_400,
    };
    let write = ItemWrite {
        key,
        expect: observed.expect_outcome(),
        put: Some(Item::Outcome(Box::new(item))),
    };
    Some(Transaction { step: Step::Raise, writes: vec![write] })
}

/// The window that is pending once `run` is over: its own, if it is an incremental one that pinned
/// and did not publish, else the one it found. Void where somebody else wrote the item: theirs
/// wins.
pub fn pending_window_after(
    run: &RunItem,
    watermark_item: Option<&WatermarkItem>,
) -> Option<Window> {
    if run.watermark_item.as_ref() != watermark_item {
        return None;
    }
    let own = run
        .window
        .clone()
        .filter(|window| run.mode == Mode::PE && !window.empty)
        .filter(|_| run.state != RunState::Published);
    own.or_else(|| run.pending_window.clone())
}

//! What a transaction on the tracking table may change.

use crds::tracking::{Mode, OutcomeItem, Owner, RunItem, RunState, TrackedOutcome, WatermarkItem};
use worker_core::protocol::Step;

use super::Rule;
use crate::asks::End;
use crate::bodies::{Facts, Parsed};
use crate::config::{Part, Slot, rank};
use crate::inputs::seconds;
use crate::pool::NONE;
use crate::shop::{Shop, number};
use crate::state::{Life, State, bit};

struct Change<'a> {
    step: Step,
    slot: &'a Slot,
    old: Option<RunItem>,
    new: RunItem,
    old_watermark_item: Option<WatermarkItem>,
    new_watermark_item: Option<WatermarkItem>,
}

/// Checks what a process of slot `at` has written, and remembers it.
pub(crate) fn tracked(shop: &Shop, before: &State, after: &mut State, at: usize, step: Step) {
    let slot = shop.slot(at);
    outcomes(shop, before, after);
    let Some(new) = shop.run_item(after.item(shop.run_key)) else { return };
    let change = Change {
        step,
        slot,
        old: shop.run_item(before.item(shop.run_key)),
        new,
        old_watermark_item: shop.watermark_item(before.item(shop.watermark_key)),
        new_watermark_item: shop.watermark_item(after.item(shop.watermark_key)),
    };
    if step == Step::Raise {
        return;
    }
    order_of_states(&change, after);
    watermark(shop, &change, after);
    match step {
        Step::Claim => claimed(shop, before, &change, after),
        Step::Pin => pinned(shop, &change, after),
        Step::Decide => decided(shop, &change, after),
        Step::Publish => published(shop, &change, after),
        Step::Cleanup => cleared(shop, &change, after),
        Step::Fail => given_up(shop, &change, after, at),
        Step::Reverted => super::undone(shop, after, &change.new),
        Step::Renew | Step::Raise | Step::Force | Step::Set => {}
    }
    let pinned = |run: &RunItem| run.window.clone().filter(|_| run.state != RunState::Claimed);
    let was = change.old.as_ref().filter(|old| old.run == change.new.run).and_then(pinned);
    if was.is_some() && was != pinned(&change.new) {
        after.broken.broke(Rule::WindowStable);
    }
}

/// Only the coordinator, or recovery of its owner and attempt, gives a run up.
fn given_up(shop: &Shop, change: &Change, after: &mut State, at: usize) {
    let Some(old) = &change.old else { return };
    let slot = change.slot;
    let ours = match slot.part {
        Part::Coordinate(_) => shop.slot_of(number(old.run)) == at,
        Part::Force(_) => false,
        Part::Recover(_) | Part::Abort => old.owner.uid == slot.uid && old.attempt <= slot.attempt,
    };
    if !ours {
        after.broken.broke(Rule::Fenced);
    }
}

/// Outcomes: attempts never fall, and Complete has a published run.
fn outcomes(shop: &Shop, before: &State, after: &mut State) {
    for key in &shop.outcome_keys {
        let (old, new) = (before.item(*key), after.item(*key));
        if old == new {
            continue;
        }
        let Some(item) = shop.outcome_item(new) else { continue };
        let old = shop.outcome_item(old);
        if old.is_some_and(|old| old.attempt > item.attempt) {
            after.broken.broke(Rule::Attempt);
        }
        if !honest(shop, after, &item) {
            after.broken.broke(Rule::Outcome);
        }
    }
}

fn honest(shop: &Shop, after: &State, item: &OutcomeItem) -> bool {
    let Some(result) = &item.result else { return true };
    if result.outcome != TrackedOutcome::Complete {
        return true;
    }
    let Some(run) = result.run.map(number) else { return false };
    let of_now = shop
        .run_item(after.item(shop.run_key))
        .is_some_and(|item| number(item.run) == run && item.state == RunState::Published);
    let task = shop.tasks.get(shop.slot_of(run));
    (of_now || after.past.published.contains(&run))
        && task.is_some_and(|task| is_of(&task.owner, &result.owner))
}

/// Whether an outcome is of this owner. The latest request that was honoured may be another's.
fn is_of(owner: &Owner, result: &Owner) -> bool {
    let of = Owner { requested_at: owner.requested_at.clone(), ..result.clone() };
    *owner == of && rank(owner.requested_at.as_ref()) <= rank(result.requested_at.as_ref())
}

/// Which state follows which, and of whose run.
fn order_of_states(change: &Change, after: &mut State) {
    let old = change.old.as_ref().map(|old| old.state);
    let same = change.old.as_ref().is_some_and(|old| old.run == change.new.run);
    let fits = match (change.step, old, change.new.state) {
        (Step::Claim, old, RunState::Claimed) => {
            !matches!(old, Some(RunState::Committing | RunState::Reverting))
        }
        (Step::Pin, Some(RunState::Claimed), RunState::Running)
        | (Step::Decide, Some(RunState::Running), RunState::Committing)
        | (Step::Publish, Some(RunState::Committing), RunState::Published)
        | (Step::Cleanup, Some(RunState::Published), RunState::Published)
        | (Step::Cleanup, Some(RunState::Failed), RunState::Failed)
        | (Step::Cleanup, Some(RunState::Aborted), RunState::Aborted)
        | (
            Step::Fail,
            Some(RunState::Claimed | RunState::Running),
            RunState::Failed | RunState::Aborted,
        )
        | (Step::Reverted, Some(RunState::Reverting), RunState::Failed) => same,
        (Step::Force, Some(RunState::Committing), RunState::Reverting) => {
            same && matches!(change.slot.part, Part::Force(_))
        }
        (Step::Renew, Some(old), new) => same && old == new,
        _ => false,
    };
    if !fits {
        after.broken.broke(Rule::Fenced);
    }
}

fn low(watermark_item: Option<&WatermarkItem>) -> Option<i64> {
    watermark_item?.lwm_value.as_deref()?.parse().ok()
}

fn watermark(shop: &Shop, change: &Change, after: &mut State) {
    let run = shop.slot(shop.slot_of(number(change.new.run)));
    let reset = run.mode == Mode::Reingest || run.bounds != (None, None);
    let (old, new) =
        (low(change.old_watermark_item.as_ref()), low(change.new_watermark_item.as_ref()));
    if change.old_watermark_item.is_some() && new < old && !(reset && change.step == Step::Publish)
    {
        after.broken.broke(Rule::Monotonic);
    }
}

fn claimed(shop: &Shop, before: &State, change: &Change, after: &mut State) {
    let slot = change.slot;
    let now = seconds(after.clock);
    if let Some(old) = &change.old {
        let own = old.owner.uid == slot.uid && old.attempt < slot.attempt;
        if old.state.is_live() && !own && old.deadline >= now {
            after.broken.broke(Rule::Takeover);
        }
        after.past.overtaken |= old.state.is_live();
        // a postponed removal is passed on; the next process checks whether it is due
        let pointer =
            old.pending_cleanup.as_ref().is_some_and(|pending_cleanup| pending_cleanup.pointer);
        if pointer || old.pending_cleanup != change.new.pending_cleanup {
            after.broken.broke(Rule::PendingCleanup);
        }
    }
    let key = shop.keys.put(crds::tracking::outcome_key(crate::shop::KEY, slot.uid));
    if let Some(outcome) = shop.outcome_item(before.item(key)) {
        if outcome.attempt >= slot.attempt {
            after.broken.broke(Rule::Attempt);
        }
        let answers = outcome.result.as_ref().is_some_and(|result| {
            let task = &change.new.owner;
            rank(task.requested_at.as_ref()) <= rank(result.owner.requested_at.as_ref())
                && match result.outcome {
                    TrackedOutcome::Complete => result.owner.request == task.request,
                    TrackedOutcome::Failed => result.owner.generation >= task.generation,
                }
        });
        if answers {
            after.broken.broke(Rule::Answered);
        }
    }
    let recovered = (0..).zip(&after.procs).any(|(other, proc)| {
        let other = shop.slot(other);
        proc.life == Life::Over(End::Recovered)
            && !matches!(other.part, Part::Force(_))
            && other.uid == slot.uid
            && other.attempt >= slot.attempt
    });
    if recovered {
        after.broken.broke(Rule::Attempt);
    }
    lost(shop, before, change, after);
}

/// The run item without a watermark item, or a marked prefix without the run item: not a first run.
fn lost(shop: &Shop, before: &State, change: &Change, after: &mut State) {
    let keys = shop.prefixes.get(usize::from(change.slot.prefix)).expect("a prefix");
    let marked = before.object(keys.identity) != NONE;
    let lost = (change.old.is_some() && change.old_watermark_item.is_none())
        || (change.old.is_none() && marked);
    if !lost {
        return;
    }
    if change.slot.mode == Mode::PE {
        after.broken.broke(Rule::LostItem);
    }
    let copy = change.old.as_ref().and_then(|old| old.watermark_item.as_ref());
    if copy.is_some() && low(copy) != low(change.new_watermark_item.as_ref()) {
        after.broken.broke(Rule::Copy);
    }
}

fn pinned(shop: &Shop, change: &Change, after: &mut State) {
    let run = number(change.new.run);
    after.past.pinned |= bit(run);
    let Some(window) = change.new.window.as_ref().filter(|_| change.new.mode == Mode::PE) else {
        return;
    };
    let id = if window.empty {
        NONE
    } else {
        shop.windows.put((window.low.clone(), window.high.clone()))
    };
    let low = change
        .new
        .watermark_item
        .as_ref()
        .and_then(|watermark_item| watermark_item.lwm_value.as_ref());
    if window.low_text.as_ref() != low
        || (after.past.pending_window != NONE && after.past.pending_window != id)
    {
        after.broken.broke(Rule::WindowStable);
    }
    // a window that starts from a watermark that is not stored any more is not pending any more
    if id != NONE && change.new.watermark_item == change.new_watermark_item {
        after.past.pending_window = id;
    }
}

pub(crate) fn manifest<'a>(
    shop: &Shop,
    state: &State,
    run: &RunItem,
    body: &'a mut Option<std::sync::Arc<crate::bodies::Body>>,
) -> Option<&'a Facts> {
    let prefix = (0..2).find(|prefix| crate::shop::uri(*prefix) == run.uri)?;
    let keys = shop.prefixes.get(usize::from(prefix))?;
    let key = keys.manifests.get(usize::from(number(run.run)))?;
    *body = shop.bodies.find(state.object(*key));
    match &body.as_ref()?.parsed {
        Parsed::Manifest(facts) => Some(facts),
        _ => None,
    }
}

fn decided(shop: &Shop, change: &Change, after: &mut State) {
    let run = &change.new;
    let id = number(run.run);
    if after.past.lost & bit(id) != 0 {
        after.broken.broke(Rule::Session);
    }
    let low = change
        .new_watermark_item
        .as_ref()
        .and_then(|watermark_item| watermark_item.lwm_value.as_ref());
    let begin = run.window.as_ref().and_then(|window| window.low_text.as_ref());
    if run.mode == Mode::PE && low != begin {
        after.broken.broke(Rule::Contiguous);
    }
    let mut held = None;
    let Some(facts) = manifest(shop, after, run, &mut held) else {
        after.broken.broke(Rule::Exclusive);
        return;
    };
    let prefix = worker_core::layout::objects::Prefix::parse(&run.uri).expect("a uri");
    let partitions = run.partitions.unwrap_or(0);
    let mut files = Vec::new();
    for index in 0..partitions {
        let key = shop.keys.put(prefix.record(run.run, index));
        let body = shop.bodies.find(after.object(key));
        let Some(Parsed::Record(record)) = body.as_ref().map(|body| &body.parsed) else {
            after.broken.broke(Rule::Exclusive);
            return;
        };
        if record.snapshot != facts.manifest.snapshot
            || Some(&record.plan_hash) != run.plan_hash.as_ref()
        {
            after.broken.broke(Rule::Snapshot);
        }
        files.extend(record.files.iter().map(|file| shop.upload(&file.key, &file.upload_id)));
    }
    let named: Vec<u32> = facts.files.iter().map(|(_, upload)| *upload).collect();
    if files != named {
        after.broken.broke(Rule::Exclusive);
    }
}

fn published(shop: &Shop, change: &Change, after: &mut State) {
    let run = &change.new;
    let id = number(run.run);
    let slot = shop.slot_of(id);
    let task = shop.tasks.get(slot).expect("a task");
    // no request is published twice, nor one that is older than a published one
    let answers = |other: &u8| {
        let other = &shop.tasks.get(shop.slot_of(*other)).expect("a task").owner;
        let asked = task.owner.requested_at.as_ref();
        other.uid == task.owner.uid && rank(other.requested_at.as_ref()) >= rank(asked)
    };
    if after.past.published.iter().any(answers) {
        after.broken.broke(Rule::Once);
    }
    after.past.published.push(id);
    after.past.missing = false;
    after.past.pending_window = NONE;
    if run.pending_window.is_some() {
        after.broken.broke(Rule::WindowStable);
    }
    let mut held = None;
    let Some(facts) = manifest(shop, after, run, &mut held) else { return };
    let written = change.old_watermark_item != change.new_watermark_item;
    if !written {
        return;
    }
    let old = low(change.old_watermark_item.as_ref());
    if run.mode == Mode::PE && !after.past.tampered {
        let begin = facts.manifest.window.low.as_ref().and_then(|text| text.parse().ok());
        if begin.unwrap_or(i64::MIN) != old.unwrap_or(i64::MIN) {
            after.broken.broke(Rule::Contiguous);
        }
    }
    if run.mode.moves_watermark() {
        let marks = facts.rows.iter().filter_map(|row| shop.config.rows.get(usize::from(*row)));
        let max = marks.map(|row| row.mark).max();
        if low(change.new_watermark_item.as_ref()) != max.or(old) {
            after.broken.broke(Rule::MaxSeen);
        }
    }
}

fn cleared(shop: &Shop, change: &Change, after: &mut State) {
    let run = &change.new;
    let Some(head) = &run.head else { return };
    let prefix = (0..2).find(|prefix| crate::shop::uri(*prefix) == head.uri).unwrap_or(0);
    let keys = shop.prefixes.get(usize::from(prefix)).expect("a prefix");
    let pointer = shop.pointer_of(after.object(keys.pointer));
    let left = run.pending_cleanup.is_none()
        && (0..2).any(|prefix| has_more_than_its_chain(shop, after, prefix));
    if pointer.is_none_or(|pointer| pointer.commit < head.commit) || left {
        after.broken.broke(Rule::PendingCleanup);
    }
}

/// A postponed removal stays in `pending_cleanup`; else only the chain of its pointer lies under a prefix,
/// wherever the head is.
fn has_more_than_its_chain(shop: &Shop, state: &State, prefix: u8) -> bool {
    let Some(keys) = shop.prefixes.get(usize::from(prefix)) else { return false };
    let Some(pointer) = shop.pointer_of(state.object(keys.pointer)) else { return false };
    let uri = crate::shop::uri(prefix);
    let folder = worker_core::layout::objects::Prefix::parse(&uri).expect("a uri").root();
    let chain = super::states::chain(shop, state, number(pointer.run));
    state.files.iter().any(|(key, upload)| {
        let run = shop.uploads.get(*upload).run;
        shop.keys.get(*key).starts_with(&folder) && !chain.contains(&run)
    })
}

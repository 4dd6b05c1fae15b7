//! What planted mistakes are made of: they change what the product's `step` is shown, or what it
//! asks for, and never the product.

use crds::tracking::RunItem;
use worker_core::protocol::{
    Act, Effect, Event, Expect, Item, ObservedItems, Phase, Process, Step, Transaction, Why, step,
};

use crate::stores::{ANY, ANY_REVISION};

/// The product's step.
pub(super) fn product(process: Process, event: Event) -> (Process, Act) {
    step(process, event)
}

/// The transaction of an act, if it is this one.
pub(super) fn transaction(act: &mut Act, step: Step) -> Option<&mut Transaction> {
    let Act::Write(effects) = act else { return None };
    effects.iter_mut().find_map(|effect| match effect {
        Effect::Track(found) if found.step == step => Some(found),
        _ => None,
    })
}

/// Runs the product's step, then changes the transaction, if it is this one.
pub(super) fn with(
    (process, event): (Process, Event),
    step: Step,
    change: impl Fn(&mut Process, &mut Transaction),
) -> (Process, Act) {
    let (mut process, mut act) = product(process, event);
    if let Some(found) = transaction(&mut act, step) {
        change(&mut process, found);
    }
    (process, act)
}

/// A transaction that asks for nothing.
pub(super) fn no_conditions(transaction: &mut Transaction) {
    for write in &mut transaction.writes {
        write.expect = Expect::WatermarkLow(ANY.to_owned());
    }
}

/// A transaction whose condition on the run item is the run's id alone.
pub(super) fn id_only(transaction: &mut Transaction) {
    for write in &mut transaction.writes {
        if let Expect::Run { revision, .. } = &mut write.expect {
            *revision = ANY_REVISION;
        }
    }
}

/// A transaction that asks nothing of the items that are not the run item.
pub(super) fn run_only(transaction: &mut Transaction) {
    for write in &mut transaction.writes {
        if !matches!(write.expect, Expect::Run { .. }) && !matches!(write.put, Some(Item::Run(_))) {
            write.expect = Expect::WatermarkLow(ANY.to_owned());
        }
    }
}

/// A transaction that asks nothing of the run item.
pub(super) fn run_any(transaction: &mut Transaction) {
    for write in &mut transaction.writes {
        if let Expect::Run { .. } = write.expect {
            write.expect = Expect::WatermarkLow(ANY.to_owned());
        }
    }
}

/// The run that a transaction puts.
pub(super) fn put_run(transaction: &mut Transaction) -> Option<&mut RunItem> {
    transaction.writes.iter_mut().find_map(|write| match &mut write.put {
        Some(Item::Run(run)) => Some(&mut **run),
        _ => None,
    })
}

/// Changes what a process reads before a claim.
pub(super) fn claim_sees(
    process: Process,
    event: Event,
    change: impl Fn(&Process, &mut ObservedItems),
) -> (Process, Event) {
    let looks = matches!(process.phase, Phase::Reading(Why::Claim(_) | Why::Claimed(..)));
    sees(looks, process, event, change)
}

/// Changes what recovery sees.
pub(super) fn recover_sees(
    process: Process,
    event: Event,
    change: impl Fn(&Process, &mut ObservedItems),
) -> (Process, Event) {
    let looks = matches!(process.phase, Phase::Reading(Why::Recover { .. }));
    sees(looks, process, event, change)
}

/// Changes what a process reads, if `looks`.
pub(super) fn sees(
    looks: bool,
    process: Process,
    event: Event,
    change: impl Fn(&Process, &mut ObservedItems),
) -> (Process, Event) {
    match event {
        Event::Observed(mut observed, fresh) if looks => {
            change(&process, &mut observed);
            (process, Event::Observed(observed, fresh))
        }
        event => (process, event),
    }
}

/// Keeps only one of several replies: the one that the phase of the product is about.
pub(super) fn only_reply(event: Event, which: usize) -> Event {
    match event {
        Event::Replied(replies) => {
            Event::Replied(replies.get(which).or(replies.first()).copied().into_iter().collect())
        }
        event => event,
    }
}

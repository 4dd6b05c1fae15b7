//! Mistakes in the sweeper, in FORCE, in what is put off, and in `watermark set`.

use crds::tracking::{LegacyItem, RunItem, RunState};
use crds::{Reason, Report};
use worker_core::errors::failure::Failure;
use worker_core::protocol::watermark::{Wish, set};
use worker_core::protocol::{
    Act, AfterSweep, Carrier, Ending, Event, Expect, Item, Phase, Step, Sweep, Transaction, Why,
    transitions,
};

use super::tools::{product, put_run, sees, with};
use crate::shop::TICK;

/// Everything that is listed may go where there is no `R` to say what is alive.
pub(super) fn sweep_without_run(carrier: Carrier, event: Event) -> (Carrier, Act) {
    match (&carrier.phase, &event) {
        (Phase::Look(Why::Orphans(runs, after)), Event::Seen(seen, _)) if seen.run.is_none() => {
            let uri = carrier.role.task().spec.output.uri.clone();
            let phase = Phase::Keeping(runs.clone(), *after);
            (Carrier { phase, ..carrier }, Act::ReadKept { uri, head: None, pending: None })
        }
        _ => product(carrier, event),
    }
}

/// The run that `R` shows is not kept.
pub(super) fn sweep_of_the_present_run(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let listed = match &carrier.phase {
        Phase::Look(Why::Orphans(runs, _)) => runs.clone(),
        _ => Vec::new(),
    };
    let (mut carrier, act) = product(carrier, event);
    if let Phase::Keeping(runs, _) = &mut carrier.phase {
        *runs = listed;
    }
    (carrier, act)
}

fn human(report: &Report) -> bool {
    report.message == "cleaned"
}

fn clean(carrier: Carrier, run: &RunItem, then: AfterSweep) -> (Carrier, Act) {
    let act = Act::ListUploads { uri: run.uri.clone(), run: run.run };
    let sweep = Sweep::new(run.uri.clone(), run.run, 1, then);
    (Carrier { phase: Phase::Listing(Box::new(sweep)), ..carrier }, act)
}

fn stuck(event: &Event) -> Option<RunItem> {
    let Event::Seen(seen, _) = event else { return None };
    seen.run.clone().filter(|run| run.state == RunState::Committing)
}

/// The undo begins at once: `R` says `committing` until it is over.
pub(super) fn force_without_state(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let run = stuck(&event);
    let (carrier, act) = product(carrier, event);
    match (&carrier.phase, run) {
        (Phase::Forcing(_), Some(run)) => {
            let then = AfterSweep::Revert(
                Box::new(run.clone()),
                worker_core::protocol::Then::Finish,
                false,
            );
            clean(carrier, &run, then)
        }
        _ => (carrier, act),
    }
}

/// The open uploads go first, and then FORCE is written.
pub(super) fn force_cleans_first(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let first = matches!(carrier.phase, Phase::Look(Why::Force(0)));
    let run = stuck(&event);
    let (carrier, act) = product(carrier, event);
    match (&carrier.phase, act, run) {
        (Phase::Forcing(_), _, Some(run)) if first => {
            let cleaned = Report::new(Reason::Reverted, "cleaned", "");
            let failure = Failure { exit: crds::condition::Exit::Done, report: cleaned };
            clean(carrier, &run, AfterSweep::Fail(failure))
        }
        (_, Act::End(Ending::Failed(failure)), _) if human(&failure.report) => {
            (Carrier { phase: Phase::Look(Why::Force(1)), ..carrier }, Act::Read)
        }
        (_, act, _) => (carrier, act),
    }
}

/// Completed files go first, the open uploads after them, and nobody looks again.
pub(super) fn force_deletes_first(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match &carrier.phase {
        Phase::Listing(sweep) => match &sweep.then {
            AfterSweep::Revert(run, then, false) => {
                let act = Act::ListFiles { uri: run.uri.clone(), run: run.run, after: None };
                (Carrier { phase: Phase::ListingFiles(run.clone(), *then, false), ..carrier }, act)
            }
            _ => (carrier, act),
        },
        Phase::ListingFiles(run, then, true) => {
            let effect =
                worker_core::protocol::Effect::Track(transitions::reverted(run).transaction);
            (Carrier { phase: Phase::Reverting(*then), ..carrier }, Act::Write(vec![effect]))
        }
        _ => (carrier, act),
    }
}

/// A carrier whose PUBLISH is refused, for whatever reason, takes the run for published.
pub(super) fn fenced_taken_for_published(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let looks = matches!(carrier.phase, Phase::Look(Why::Publish(..)));
    let (carrier, event) = sees(looks, carrier, event, |carrier, seen| {
        if let (Phase::Look(Why::Publish(carried, _)), Some(run)) = (&carrier.phase, &mut seen.run)
            && run.run == carried.run.run
            && run.state != RunState::Committing
        {
            run.state = RunState::Published;
        }
    });
    product(carrier, event)
}

/// CLAIM does not hand on a removal that is put off.
pub(super) fn put_off_is_forgotten(carrier: Carrier, event: Event) -> (Carrier, Act) {
    with((carrier, event), Step::Claim, |carrier, claim| {
        if let Some(run) = put_run(claim) {
            run.pending_cleanup = None;
        }
        if let Phase::Claiming(claimed, _) = &mut carrier.phase {
            claimed.item.pending_cleanup = None;
        }
    })
}

/// What is put off is done at once.
pub(super) fn put_off_is_done_at_once(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let late = matches!(carrier.phase, Phase::Publishing(..));
    let carrier = Carrier { now: carrier.now + if late { TICK } else { 0 }, ..carrier };
    product(carrier, event)
}

/// What is removed is what the head replaces, though it was put off by a run before it.
pub(super) fn removal_by_head(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match (&carrier.phase, act) {
        (Phase::ReadingCleanup(item, ..), Act::ReadCleanup { uri, store, run, removal, after }) => {
            let run = item.head.as_ref().map_or(run, |head| head.run);
            (carrier, Act::ReadCleanup { uri, store, run, removal, after })
        }
        (_, act) => (carrier, act),
    }
}

/// A run at another URI leaves nothing of what was put off at the earlier one.
pub(super) fn put_off_stays_behind(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let forget = |run: &mut RunItem| {
        let uri = run.uri.clone();
        if let Some(pending_cleanup) = &mut run.pending_cleanup {
            pending_cleanup.removals.retain(|removal| removal.uri == uri);
        }
    };
    with((carrier, event), Step::Publish, |carrier, publish| {
        if let Some(run) = put_run(publish) {
            forget(run);
        }
        if let Phase::Publishing(_, run, _) = &mut carrier.phase {
            forget(run);
        }
    })
}

/// What is put off is looked for under the head's URI only.
pub(super) fn sweep_keeps_at_head_only(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match act {
        Act::ReadKept { uri, head: None, .. } => {
            (carrier, Act::ReadKept { uri, head: None, pending: None })
        }
        act => (carrier, act),
    }
}

/// A run that replaces takes over its predecessor's chain, and not what that one has yet to remove.
pub(super) fn pending_not_replaced(carrier: Carrier, event: Event) -> (Carrier, Act) {
    let (carrier, act) = product(carrier, event);
    match act {
        Act::ReadChain { uri, run, .. } => (carrier, Act::ReadChain { uri, run, pending: None }),
        act => (carrier, act),
    }
}

type Moved = Result<Transaction, Failure>;

/// Whatever revision the human looked at.
pub(super) fn set_ignores_rev(
    run: Option<&RunItem>,
    legacy: Option<&LegacyItem>,
    wish: &Wish,
    now: i64,
) -> Moved {
    let rev = run.map_or(0, |run| run.rev);
    set(run, legacy, &Wish { rev, ..wish.clone() }, now)
}

/// Whether or not a run is under way.
pub(super) fn set_while_live(
    run: Option<&RunItem>,
    legacy: Option<&LegacyItem>,
    wish: &Wish,
    now: i64,
) -> Moved {
    let ended = run.map(|run| RunItem { state: RunState::Failed, ..run.clone() });
    let mut moved = set(ended.as_ref(), legacy, wish, now)?;
    for write in &mut moved.writes {
        if let (Expect::Run { state, .. }, Some(run)) = (&mut write.expect, run) {
            *state = run.state;
        }
        if let (Some(Item::Run(put)), Some(run)) = (&mut write.put, run) {
            put.state = run.state;
        }
    }
    Ok(moved)
}

/// The window that was pending stays so.
pub(super) fn set_keeps_pending_window(
    run: Option<&RunItem>,
    legacy: Option<&LegacyItem>,
    wish: &Wish,
    now: i64,
) -> Moved {
    let mut moved = set(run, legacy, wish, now)?;
    if let (Some(put), Some(run)) = (put_run(&mut moved), run) {
        put.pending_window.clone_from(&run.pending_window);
    }
    Ok(moved)
}

/// The window of the failed run itself stays, and with it is pending.
pub(super) fn set_keeps_window(
    run: Option<&RunItem>,
    legacy: Option<&LegacyItem>,
    wish: &Wish,
    now: i64,
) -> Moved {
    let mut moved = set(run, legacy, wish, now)?;
    if let (Some(put), Some(run)) = (put_run(&mut moved), run) {
        put.window.clone_from(&run.window);
    }
    Ok(moved)
}

/// `R` may be another by now.
pub(super) fn set_without_condition(
    run: Option<&RunItem>,
    legacy: Option<&LegacyItem>,
    wish: &Wish,
    now: i64,
) -> Moved {
    let mut moved = set(run, legacy, wish, now)?;
    super::tools::run_any(&mut moved);
    Ok(moved)
}

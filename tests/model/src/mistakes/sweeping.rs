//! Mistakes in the cleanup of abandoned runs, in FORCE, in postponed removals, and in `watermark set`.

use crds::tracking::{RunItem, RunState, WatermarkItem};
use crds::{Reason, Report};
use worker_core::errors::failure::Failure;
use worker_core::protocol::watermark::{WatermarkRequest, set};
use worker_core::protocol::{
    Act, AfterSweep, Ending, Event, Expect, Item, Phase, Process, Step, Sweep, Transaction, Why,
    transitions,
};

use super::tools::{product, put_run, sees, with};
use crate::shop::TICK;

/// Everything that is listed may go where there is no run item to say what is alive.
pub(super) fn sweep_without_run(process: Process, event: Event) -> (Process, Act) {
    match (&process.phase, &event) {
        (Phase::Reading(Why::Orphans(runs, after)), Event::Observed(observed, _))
            if observed.run.is_none() =>
        {
            let uri = process.role.task().spec.output.uri.clone();
            let phase = Phase::Keeping(runs.clone(), *after);
            (Process { phase, ..process }, Act::ReadKept { uri, head: None, pending: None })
        }
        _ => product(process, event),
    }
}

/// The run that the run item shows is not kept.
pub(super) fn sweep_of_the_present_run(process: Process, event: Event) -> (Process, Act) {
    let listed = match &process.phase {
        Phase::Reading(Why::Orphans(runs, _)) => runs.clone(),
        _ => Vec::new(),
    };
    let (mut process, act) = product(process, event);
    if let Phase::Keeping(runs, _) = &mut process.phase {
        *runs = listed;
    }
    (process, act)
}

fn person(report: &Report) -> bool {
    report.message == "cleaned"
}

fn clean(process: Process, run: &RunItem, then: AfterSweep) -> (Process, Act) {
    let act = Act::ListUploads { uri: run.uri.clone(), run: run.run };
    let sweep = Sweep::new(run.uri.clone(), run.run, 1, then);
    (Process { phase: Phase::Listing(Box::new(sweep)), ..process }, act)
}

fn stuck(event: &Event) -> Option<RunItem> {
    let Event::Observed(observed, _) = event else { return None };
    observed.run.clone().filter(|run| run.state == RunState::Committing)
}

/// The undo begins at once: the run item says `committing` until it is over.
pub(super) fn force_without_state(process: Process, event: Event) -> (Process, Act) {
    let run = stuck(&event);
    let (process, act) = product(process, event);
    match (&process.phase, run) {
        (Phase::Forcing(_), Some(run)) => {
            let then = AfterSweep::Revert(
                Box::new(run.clone()),
                worker_core::protocol::Then::Finish,
                false,
            );
            clean(process, &run, then)
        }
        _ => (process, act),
    }
}

/// The open uploads go first, and then FORCE is written.
pub(super) fn force_cleans_first(process: Process, event: Event) -> (Process, Act) {
    let first = matches!(process.phase, Phase::Reading(Why::Force(0)));
    let run = stuck(&event);
    let (process, act) = product(process, event);
    match (&process.phase, act, run) {
        (Phase::Forcing(_), _, Some(run)) if first => {
            let cleaned = Report::new(Reason::Reverted, "cleaned", "");
            let failure = Failure { exit: crds::condition::Exit::Done, report: cleaned };
            clean(process, &run, AfterSweep::Fail(failure))
        }
        (_, Act::End(Ending::Failed(failure)), _) if person(&failure.report) => {
            (Process { phase: Phase::Reading(Why::Force(1)), ..process }, Act::Read)
        }
        (_, act, _) => (process, act),
    }
}

/// Completed files are removed first, the open uploads after them, and nothing is listed again.
pub(super) fn force_deletes_first(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match &process.phase {
        Phase::Listing(sweep) => match &sweep.then {
            AfterSweep::Revert(run, then, false) => {
                let act = Act::ListFiles { uri: run.uri.clone(), run: run.run, after: None };
                (Process { phase: Phase::ListingFiles(run.clone(), *then, false), ..process }, act)
            }
            _ => (process, act),
        },
        Phase::ListingFiles(run, then, true) => {
            let effect =
                worker_core::protocol::Effect::Track(transitions::reverted(run).transaction);
            (Process { phase: Phase::Reverting(*then), ..process }, Act::Write(vec![effect]))
        }
        _ => (process, act),
    }
}

/// A committer whose PUBLISH is refused for any reason takes the run for published.
pub(super) fn fenced_taken_for_published(process: Process, event: Event) -> (Process, Act) {
    let looks = matches!(process.phase, Phase::Reading(Why::Publish(..)));
    let (process, event) = sees(looks, process, event, |process, observed| {
        if let (Phase::Reading(Why::Publish(decided, _)), Some(run)) =
            (&process.phase, &mut observed.run)
            && run.run == decided.run.run
            && run.state != RunState::Committing
        {
            run.state = RunState::Published;
        }
    });
    product(process, event)
}

/// CLAIM does not pass on a postponed removal.
pub(super) fn postponed_is_forgotten(process: Process, event: Event) -> (Process, Act) {
    with((process, event), Step::Claim, |process, claim| {
        if let Some(run) = put_run(claim) {
            run.pending_cleanup = None;
        }
        if let Phase::Claiming(claimed, _) = &mut process.phase {
            claimed.item.pending_cleanup = None;
        }
    })
}

/// A postponed removal is done at once.
pub(super) fn postponed_is_done_at_once(process: Process, event: Event) -> (Process, Act) {
    let late = matches!(process.phase, Phase::Publishing(..));
    let process = Process { now: process.now + if late { TICK } else { 0 }, ..process };
    product(process, event)
}

/// What is removed is what the head replaces, though it was postponed by a run before it.
pub(super) fn removal_by_head(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match (&process.phase, act) {
        (Phase::ReadingCleanup(item, ..), Act::ReadCleanup { uri, store, run, removal, after }) => {
            let run = item.head.as_ref().map_or(run, |head| head.run);
            (process, Act::ReadCleanup { uri, store, run, removal, after })
        }
        (_, act) => (process, act),
    }
}

/// A run at another URI leaves nothing of what was postponed at the earlier one.
pub(super) fn postponed_stays_behind(process: Process, event: Event) -> (Process, Act) {
    let forget = |run: &mut RunItem| {
        let uri = run.uri.clone();
        if let Some(pending_cleanup) = &mut run.pending_cleanup {
            pending_cleanup.removals.retain(|removal| removal.uri == uri);
        }
    };
    with((process, event), Step::Publish, |process, publish| {
        if let Some(run) = put_run(publish) {
            forget(run);
        }
        if let Phase::Publishing(_, run, _) = &mut process.phase {
            forget(run);
        }
    })
}

/// A postponed removal is searched for under the head's URI only.
pub(super) fn sweep_keeps_at_head_only(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match act {
        Act::ReadKept { uri, head: None, .. } => {
            (process, Act::ReadKept { uri, head: None, pending: None })
        }
        act => (process, act),
    }
}

/// A run that replaces takes over its predecessor's chain, and not what that one has yet to remove.
pub(super) fn pending_not_replaced(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = product(process, event);
    match act {
        Act::ReadChain { uri, run, .. } => (process, Act::ReadChain { uri, run, pending: None }),
        act => (process, act),
    }
}

type Moved = Result<Transaction, Failure>;

/// Any revision that the person read.
pub(super) fn set_ignores_rev(
    run: Option<&RunItem>,
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Moved {
    let revision = run.map_or(0, |run| run.revision);
    set(run, watermark_item, &WatermarkRequest { revision, ..request.clone() }, now)
}

/// Whether or not a run is in flight.
pub(super) fn set_while_live(
    run: Option<&RunItem>,
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Moved {
    let ended = run.map(|run| RunItem { state: RunState::Failed, ..run.clone() });
    let mut moved = set(ended.as_ref(), watermark_item, request, now)?;
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
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Moved {
    let mut moved = set(run, watermark_item, request, now)?;
    if let (Some(put), Some(run)) = (put_run(&mut moved), run) {
        put.pending_window.clone_from(&run.pending_window);
    }
    Ok(moved)
}

/// The window of the failed run itself stays, and with it is pending.
pub(super) fn set_keeps_window(
    run: Option<&RunItem>,
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Moved {
    let mut moved = set(run, watermark_item, request, now)?;
    if let (Some(put), Some(run)) = (put_run(&mut moved), run) {
        put.window.clone_from(&run.window);
    }
    Ok(moved)
}

/// The run item may be another by now.
pub(super) fn set_without_condition(
    run: Option<&RunItem>,
    watermark_item: Option<&WatermarkItem>,
    request: &WatermarkRequest,
    now: i64,
) -> Moved {
    let mut moved = set(run, watermark_item, request, now)?;
    super::tools::run_any(&mut moved);
    Ok(moved)
}

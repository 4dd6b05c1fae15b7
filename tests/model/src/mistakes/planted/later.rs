//! The planted mistakes of what came after the first protocol: the cleanup of abandoned runs, FORCE,
//! postponed removals, `watermark set` and `rewind`.

use crds::tracking::Mode::FE;
use worker_core::protocol::Step;

use super::super::sweeping as w;
use super::{NONE, case, grows, lie, mistake, text};
use crate::alter::{Alter, Lie};
use crate::config::{Budget, Config, Seed, force, recover, rows, start};
use crate::mistakes::{Mistake, NO_DEAD_END};
use crate::rules::Rule;

pub(super) fn sweeping() -> Vec<Mistake> {
    let removal = Rule::Removal.text();
    let retained = Rule::Retained.text();
    let two_full = || vec![start("a", 1).mode(FE), start("a", 2).request(1).mode(FE).retains()];
    let and_recover = || [two_full(), vec![recover("a", 1).mode(FE)]].concat();
    vec![
        lie(
            ("sweep by head only", "8.7"),
            text::WHOLE,
            Alter::lie(Lie::KeepsByHead),
            // the head has moved to another prefix, and this one stays
            case(vec![start("a", 1), start("b", 1).mode(FE).prefix(1), recover("a", 1)])
                .sweeps()
                .seeds(&[Seed::Ends(0), Seed::Ends(1)]),
        ),
        lie(
            ("sweep by pointer only (GcByPointer)", "8.4, 8.7"),
            retained,
            Alter::lie(Lie::KeepsByPointer),
            case(and_recover()).sweeps().seeds(&[Seed::Ends(0), Seed::Until(1, Step::Decide)]),
        ),
        lie(
            ("sweep reads before it lists", "8.7"),
            removal,
            Alter::lie(Lie::ListsLast),
            case(vec![start("a", 1), recover("a", 1), start("a", 2).request(1)])
                .sweeps()
                .seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("sweep without a run item", "8.7"),
            removal,
            w::sweep_without_run,
            case(vec![start("a", 1), start("a", 2).request(1), recover("a", 1)])
                .sweeps()
                .rows(grows())
                .seeds(&[Seed::Ends(0), Seed::Epoch, Seed::Until(1, Step::Publish)])
                .budget(Budget { lost_runs: 1, ..NONE })
                .rash(),
        ),
        mistake(
            ("sweep of the run in R", "new"),
            Rule::Abort.text(),
            w::sweep_of_the_present_run,
            case(vec![start("a", 1), start("a", 2).request(1), recover("a", 1)])
                .sweeps()
                .rows(grows())
                .seeds(&[Seed::Ends(0), Seed::Epoch, Seed::Before(1, Step::Decide)]),
        ),
        lie(
            ("sweep forgets what is replaced and retained", "new"),
            retained,
            Alter::lie(Lie::KeepsNoReplaced),
            case(and_recover()).sweeps().seeds(&[Seed::Ends(0), Seed::Ends(1)]),
        ),
    ]
}

pub(super) fn undoing() -> Vec<Mistake> {
    let decided = || case(vec![start("a", 1), force(0)]).seeds(&[Seed::Until(0, Step::Decide)]);
    let abort = Rule::Abort.text();
    vec![
        mistake(("force without a state", "8.7"), abort, w::force_without_state, decided()),
        mistake(
            ("force deletes before aborting", "8.7"),
            Rule::Undone.text(),
            w::force_deletes_first,
            decided(),
        ),
        mistake(
            ("force cleans before the condition", "8.7"),
            abort,
            w::force_cleans_first,
            decided(),
        ),
        mistake(
            ("fenced, so it must be Y", "8.7"),
            Rule::Exit.text(),
            w::fenced_taken_for_published,
            decided(),
        ),
    ]
}

pub(super) fn putting_off() -> Vec<Mistake> {
    let pending_cleanup = Rule::PendingCleanup.text();
    let full = |attempt: u32, request| start("a", attempt).request(request).mode(FE);
    let elsewhere = || start("b", 1).mode(FE).prefix(1);
    let tick = Budget { ticks: 1, ..NONE };
    let two = [Seed::Ends(0), Seed::Ends(1)];
    vec![
        mistake(
            ("a removal that is postponed is forgotten", "new"),
            pending_cleanup,
            w::postponed_is_forgotten,
            case(vec![full(1, 0), full(2, 1).retains(), start("a", 3).request(2)]).seeds(&two),
        ),
        mistake(
            ("a removal that is postponed is done at once", "new"),
            Rule::Retained.text(),
            w::postponed_is_done_at_once,
            case(vec![full(1, 0), full(2, 1).retains()]).seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("removal by head only where claimants skip it", "8.7"),
            pending_cleanup,
            w::removal_by_head,
            case(vec![full(1, 0), full(2, 1).retains(), start("a", 3).request(2), recover("a", 1)])
                .seeds(&[Seed::Ends(0), Seed::Ends(1), Seed::Ends(2)])
                .budget(tick),
        ),
        mistake(
            ("the next full run forgets what is still to be removed", "new"),
            pending_cleanup,
            w::pending_not_replaced,
            case(vec![full(1, 0), full(2, 1).retains(), full(3, 2)]).seeds(&two),
        ),
        mistake(
            ("a full run at another URI forgets what is still to be removed", "new"),
            pending_cleanup,
            w::postponed_stays_behind,
            case(vec![full(1, 0), full(2, 1).retains(), elsewhere()]).seeds(&two),
        ),
        mistake(
            ("a full run that comes back forgets what is still to be removed", "new"),
            pending_cleanup,
            w::pending_not_replaced,
            case(vec![full(1, 0), full(2, 1).retains(), elsewhere(), full(3, 2)]).seeds(&[
                Seed::Ends(0),
                Seed::Ends(1),
                Seed::Ends(2),
            ]),
        ),
        mistake(
            ("sweep forgets what is retained where the head is not", "new"),
            Rule::Retained.text(),
            w::sweep_keeps_at_head_only,
            case(vec![full(1, 0), full(2, 1).retains(), elsewhere(), recover("a", 2).mode(FE)])
                .sweeps()
                .seeds(&[Seed::Ends(0), Seed::Ends(1), Seed::Ends(2)]),
        ),
    ]
}

/// A run that pinned and failed: its window is pending.
fn owes() -> Config {
    case(vec![
        start("a", 1),
        start("a", 2).request(1),
        recover("a", 2).request(1),
        start("a", 3).request(1),
    ])
    .rows(grows())
}

pub(super) fn moving() -> Vec<Mistake> {
    let sets = Budget { sets: 1, ..NONE };
    let asked = Rule::Asked.text();
    let one = |name, caught_by, set, config: Config| {
        lie((name, "new"), caught_by, Alter::set(set), config.budget(sets))
    };
    let after = || {
        case(vec![start("a", 1), start("a", 2).request(1)])
            .rows(rows(&[5, 15]))
            .seeds(&[Seed::Ends(0)])
    };
    let failed =
        [Seed::Ends(0), Seed::Epoch, Seed::Until(1, Step::Pin), Seed::Dies(1), Seed::Ends(2)];
    let stable = Rule::WindowStable.text();
    vec![
        one("watermark set ignores the revision", asked, w::set_ignores_rev, after()),
        one("watermark set while a run is live", asked, w::set_while_live, after()),
        one("watermark set keeps the window of a failed run", stable, w::set_keeps_window, {
            owes().seeds(&failed)
        }),
        one("watermark set keeps a pending window", stable, w::set_keeps_pending_window, {
            // the window is pending from two runs: the run that took it failed before it pinned
            let mut config = owes();
            config.slots.extend([recover("a", 3).request(1), start("a", 4).request(1)]);
            let again = [Seed::Until(3, Step::Claim), Seed::Dies(3), Seed::Ends(4)];
            config.seeds(&[failed.as_slice(), &again].concat())
        }),
        one("watermark set without a condition on R", asked, w::set_without_condition, after()),
    ]
}

/// Wordings that earlier versions of the rules had, each with the trace that showed it wrong.
pub(super) fn wordings() -> Vec<Mistake> {
    vec![
        mistake(
            ("attempts counted per request", "8.8 (wording)"),
            Rule::Attempt.text(),
            super::c::attempts_per_request,
            case(vec![start("a", 1), start("a", 1).request(1)]).seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("an outcome Failed refuses the edited object", "8.8 (wording)"),
            NO_DEAD_END,
            super::c::failed_for_ever,
            {
                let last = recover("a", 1).part(crate::config::Part::Recover(true));
                case(vec![start("a", 1), last, start("a", 2).generation(2).after(&[0, 1]).safe()])
                    .seeds(&[Seed::Until(0, Step::Pin), Seed::Dies(0), Seed::Ends(1)])
            },
        ),
    ]
}

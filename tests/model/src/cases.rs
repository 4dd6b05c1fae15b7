//! In: nothing. Out: the product's protocol in small cases. Bound: minutes. Fails: never.

use crds::tracking::Mode::{FE, Reingest};
use crds::tracking::RunState;
use worker_core::protocol::{Item, Step};

use crate::asks::End;
use crate::config::{Budget, Config, Row, Seed, Slot, force, recover, rows, start};
use crate::protocol::Protocol;
use crate::state::{Life, State};

const NONE: Budget = Budget::NONE;

/// Rows of which one is late: it began early, is seen late, and lies below one that is seen.
fn late() -> Vec<Row> {
    vec![
        Row { mark: 3, begun: 0, observed: 0 },
        Row { mark: 5, begun: 0, observed: 1 },
        Row { mark: 7, begun: 0, observed: 0 },
        Row { mark: 8, begun: 1, observed: 1 },
    ]
}

/// Small enough for each push.
pub fn push() -> Vec<Config> {
    [alone(), together(), replacing(), later()].concat()
}

/// A coordinator, its recovery, a person who undoes its run, and the next attempt.
fn undone() -> Vec<Slot> {
    vec![start("a", 1), recover("a", 1), force(0), start("a", 2)]
}

fn full(attempt: u32, request: u8) -> Slot {
    start("a", attempt).request(request).mode(FE)
}

/// A full run, one that keeps what it replaces for a while, and one after it.
fn postponed(name: &'static str, third: Slot) -> Config {
    let slots = vec![full(1, 0), full(2, 1).retains(), third, recover("a", 2).mode(FE)];
    Config::new(name, slots).budget(Budget { ticks: 1, ..NONE })
}

/// The same, and another object goes to another prefix; then it and the first one's recovery go on.
fn moves(name: &'static str) -> Config {
    let elsewhere = |attempt, request| start("b", attempt).request(request).mode(FE).prefix(1);
    let first = vec![full(1, 0), full(2, 1).retains(), elsewhere(1, 0)];
    let then = vec![recover("a", 2).mode(FE), elsewhere(2, 1)];
    Config::new(name, [first, then].concat())
        .seeds(&[Seed::Ends(0), Seed::Ends(1), Seed::Until(2, Step::Publish)])
        .budget(Budget { ticks: 1, ..NONE })
}

/// The same, and the source comes back to the first prefix.
fn comes_back() -> Config {
    let elsewhere = start("b", 1).mode(FE).prefix(1);
    let slots =
        vec![full(1, 0), full(2, 1).retains(), elsewhere, full(3, 2), recover("a", 3).mode(FE)];
    Config::new("removal postponed, moved and back", slots)
        .seeds(&[Seed::Ends(0), Seed::Ends(1), Seed::Ends(2)])
        .budget(Budget { ticks: 1, ..NONE })
}

/// Runs that are undone, postponed removals, abandoned runs that are removed, watermarks that are
/// moved manually.
fn later() -> Vec<Config> {
    let crash = Budget { crashes: 1, ..NONE };
    let decided = [Seed::Until(0, Step::Decide)];
    let published = [Seed::Ends(0), Seed::Until(1, Step::Publish)];
    vec![
        Config::new("undo", undone()).seeds(&decided).budget(crash),
        Config::new("undo of a stuck run", undone())
            .seeds(&decided)
            .budget(Budget { lapses: 1, ..crash }),
        postponed("removal postponed", start("a", 3).request(2)).seeds(&published),
        postponed("removal postponed, full after it", full(3, 2)).seeds(&published),
        moves("removal postponed, moved"),
        moves("removal postponed, moved, a fault")
            .seeds(&[Seed::Ends(0), Seed::Ends(1), Seed::Ends(2), Seed::Tick])
            .budget(Budget { faults: 1, ..NONE }),
        comes_back(),
        Config::new("sweeper", vec![start("a", 1), recover("a", 1), start("a", 2).request(1)])
            .sweeps()
            .seeds(&[Seed::Until(0, Step::Pin)])
            .budget(crash),
        Config::new("sweeper, full runs, retained", {
            vec![full(1, 0), full(2, 1).retains(), recover("a", 1).mode(FE)]
        })
        .sweeps()
        .seeds(&[Seed::Ends(0)])
        .budget(crash),
        Config::new("watermark set", next())
            .rows(rows(&[5, 15]))
            .seeds(&[Seed::Ends(0)])
            .budget(Budget { sets: 1, ticks: 1, ..NONE }),
    ]
}

fn retry() -> Vec<Slot> {
    vec![start("a", 1), recover("a", 1).again(), start("a", 2)]
}

/// A request, an older one and an equal one, which start nothing, and a later one.
fn older() -> Vec<Slot> {
    vec![
        start("a", 1).request(2),
        start("a", 2).request(1),
        start("a", 2).request(2),
        start("a", 2).request(3),
        recover("a", 2).request(3),
    ]
}

fn next() -> Vec<Slot> {
    vec![start("a", 1), recover("a", 1).again(), start("a", 2).request(1)]
}

/// One object, one misfortune each.
fn alone() -> Vec<Config> {
    let crash = Budget { crashes: 1, ..NONE };
    let after_one = |case: Config| case.seeds(&[Seed::Until(0, Step::Pin)]);
    vec![
        Config::new("one coordinator", vec![start("a", 1)]),
        Config::new("retry, crash", retry()).budget(crash).partitions(2).rows(rows(&[5, 6])),
        Config::new("retry, lost reply", retry()).budget(Budget { echoes: 1, ..NONE }),
        Config::new("retry, fault", retry()).budget(Budget { faults: 1, ..NONE }),
        Config::new("retry, session dies", retry()).budget(Budget { sessions: 1, ..NONE }),
        Config::new("late rows", vec![start("a", 1), start("a", 2).request(1)])
            .rows(late())
            .budget(Budget { epochs: 1, crashes: 1, ..NONE }),
        after_one(Config::new("two pods of a partition", retry())).budget(Budget {
            twins: 1,
            crashes: 1,
            ..NONE
        }),
        after_one(Config::new("zombie pods", retry())).budget(Budget {
            twins: 1,
            zombies: 1,
            ..NONE
        }),
        Config::new("legacy write", next())
            .rows(rows(&[5, 15]))
            .budget(Budget { legacy: 1, ..NONE }),
        Config::new("older request", older()).seeds(&[Seed::Ends(0)]).budget(crash),
    ]
}

/// Several that know nothing of each other.
fn together() -> Vec<Config> {
    let two = |slots| Config::new("two objects, leases", slots);
    vec![
        two(vec![start("a", 1), start("b", 1), recover("a", 1)])
            .seeds(&[Seed::Until(0, Step::Pin)])
            .budget(Budget { ticks: 1, renews: 1, crashes: 1, ..NONE }),
        Config::new("late duplicate", vec![start("a", 1), start("a", 1), recover("a", 1)])
            .budget(Budget { crashes: 1, ..NONE }),
        Config::new("torn reads", vec![start("a", 1), recover("a", 1)]).torn(),
        Config::new("torn reads, two objects", vec![start("a", 1), start("b", 1)])
            .torn()
            .budget(Budget { crashes: 1, ..NONE }),
    ]
}

/// Full extracts and reingests, lost items, pending windows.
fn replacing() -> Vec<Config> {
    let grows =
        vec![Row { mark: 5, begun: 0, observed: 0 }, Row { mark: 6, begun: 1, observed: 1 }];
    let two_full = || {
        vec![
            start("a", 1).mode(FE),
            start("a", 2).request(1).mode(FE),
            recover("a", 2).request(1).mode(FE),
            start("a", 3).request(2).mode(FE),
        ]
    };
    vec![
        Config::new(
            "lost items",
            vec![start("a", 1), start("a", 2).request(1), start("a", 3).request(2).mode(FE)],
        )
        .seeds(&[Seed::Ends(0)])
        .budget(Budget { lost_runs: 1, lost_marks: 1, ..NONE }),
        Config::new("full three times, crash", two_full())
            .seeds(&[Seed::Ends(0)])
            .budget(Budget { crashes: 1, ..NONE }),
        Config::new(
            "pending window over full and reingest",
            vec![
                start("a", 1),
                start("a", 2).request(1).mode(FE),
                start("a", 3).request(2).mode(Reingest),
                start("a", 4).request(3),
            ],
        )
        .rows(grows)
        .seeds(&[Seed::Until(0, Step::Pin), Seed::Dies(0), Seed::Epoch, Seed::Until(1, Step::Pin)])
        .budget(Budget { crashes: 1, ..NONE }),
        Config::new("two committers, writes in every order", two_full())
            .partitions(2)
            .rows(rows(&[5, 6]))
            .seeds(&[Seed::Ends(0), Seed::Until(1, Step::Decide)])
            .any_order(),
    ]
}

/// What `make model` explores besides.
pub fn large() -> Vec<Config> {
    let crash = Budget { crashes: 1, ..NONE };
    vec![
        Config::new("torn reads, retry", retry()).torn().budget(crash),
        Config::new(
            "torn reads, two objects, recovery",
            vec![start("a", 1), recover("a", 1), start("b", 1)],
        )
        .torn(),
        postponed("removal postponed, from the first step", start("a", 3).request(2))
            .seeds(&[Seed::Ends(0)]),
        postponed("removal postponed, full after it, from the first step", full(3, 2))
            .seeds(&[Seed::Ends(0)]),
        Config::new("sweeper, three full runs", {
            vec![full(1, 0), full(2, 1).retains(), recover("a", 1).mode(FE), full(3, 2)]
        })
        .sweeps()
        .seeds(&[Seed::Ends(0)]),
        Config::new("undo, two partitions, a fault", undone())
            .partitions(2)
            .rows(rows(&[5, 6]))
            .seeds(&[Seed::Until(0, Step::Decide)])
            .budget(Budget { faults: 1, ..crash }),
        Config::new("watermark set, crash", next())
            .rows(rows(&[5, 15]))
            .seeds(&[Seed::Ends(0)])
            .budget(Budget { sets: 2, ticks: 1, ..crash }),
        Config::new("legacy write twice, crash", next())
            .rows(rows(&[5, 15, 25]))
            .budget(Budget { legacy: 2, ..crash }),
    ]
}

/// Larger still: `model beyond` explores them to their end, or to a bound of states and memory. Those
/// that come to their end have a pinned number.
pub fn beyond() -> Vec<Config> {
    let twins = || vec![start("a", 1), start("a", 1), recover("a", 1).again(), start("a", 2)];
    let crash = Budget { crashes: 1, ..NONE };
    let requests =
        || vec![start("a", 1), start("a", 1), recover("a", 1).again(), start("a", 2).request(1)];
    vec![
        Config::new("late duplicate, retry, crash", twins()).budget(crash),
        Config::new("late duplicate, two pods", twins())
            .seeds(&[Seed::Until(0, Step::Pin)])
            .budget(Budget { twins: 1, zombies: 1, ..crash }),
        Config::new("two requests, late rows, crash", requests())
            .rows(late())
            .budget(Budget { epochs: 1, ..crash }),
        Config::new(
            "two objects, leases, crash",
            vec![start("a", 1), start("b", 1), recover("a", 1).again()],
        )
        .budget(Budget { ticks: 1, renews: 1, ..crash }),
        Config::new("retry, a crash, a fault and a lost reply", retry()).budget(Budget {
            faults: 1,
            echoes: 1,
            ..crash
        }),
    ]
}

/// Cases in which a promise is known to break, and which one: what a manual deletion of the run item, in
/// the moment between PUBLISH and the pointer, may do.
pub fn known() -> Vec<(Config, &'static str)> {
    let slots = vec![start("a", 1), start("a", 2).request(1), start("a", 3).request(2).mode(FE)];
    let config = Config::new("R deleted between Y and the pointer", slots)
        .seeds(&[Seed::Ends(0), Seed::Until(1, Step::Publish)])
        .budget(Budget { lost_runs: 1, ..NONE })
        .rash();
    vec![(config, crate::rules::states_text::WHOLE)]
}

/// Cases in which the last process must always be able to publish, after any history.
pub fn ending() -> Vec<Config> {
    let crash = Budget { crashes: 1, ..NONE };
    vec![
        Config::new(
            "ends: retry",
            vec![start("a", 1), recover("a", 1).again(), start("a", 2).after(&[0]).safe()],
        )
        .budget(Budget { faults: 1, echoes: 1, ..crash }),
        Config::new(
            "ends: full after full",
            vec![
                start("a", 1).mode(FE),
                recover("a", 1).mode(FE).again(),
                start("a", 2).request(1).mode(FE).after(&[0]).safe(),
            ],
        )
        .budget(crash),
        stuck(),
    ]
}

/// Decided, stuck, and undone by a person.
fn stuck() -> Config {
    let slots = vec![
        start("a", 1),
        recover("a", 1).again(),
        force(0).safe(),
        start("a", 2).after(&[0, 2]).safe(),
    ];
    Config::new("ends: a stuck run is undone", slots)
        .seeds(&[Seed::Until(0, Step::Decide), Seed::Lapse])
        .budget(Budget { lapses: 1, crashes: 1, ..NONE })
}

/// The same, larger.
pub fn ending_large() -> Vec<Config> {
    vec![
        Config::new(
            "ends: two attempts die",
            vec![
                start("a", 1),
                recover("a", 1).again(),
                start("a", 2).after(&[0]),
                recover("a", 2).again(),
                start("a", 3).after(&[0, 2]).safe(),
            ],
        )
        .budget(Budget { crashes: 1, ..NONE }),
    ]
}

/// Whether the last slot has published and nothing is left to do.
pub fn is_done(model: &Protocol, state: &State) -> bool {
    let shop = model.shop();
    let Some(item) = shop.items.find(state.item(shop.run_key)) else { return false };
    let Item::Run(run) = &*item else { return false };
    let last = state.procs.last().map(|proc| proc.life);
    let head = run.head.as_ref().map(|head| head.run);
    let pointers =
        shop.prefixes.iter().filter_map(|keys| shop.pointer_of(state.object(keys.pointer)));
    let pointed = pointers.map(|pointer| pointer.run).any(|run| Some(run) == head);
    matches!(last, Some(Life::Over(End::Published | End::Answered | End::DecidedRun)))
        && run.state == RunState::Published
        && run.pending_cleanup.is_none()
        && pointed
}

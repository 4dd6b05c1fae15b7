//! The planted mistakes of the run protocol.

mod commits;
mod later;

use crds::tracking::Mode::FE;
use worker_core::protocol::{Act, Event, Process, Step};

use super::Mistake;
use super::{claims as c, publishing as p, recovering as s};
use crate::alter::{Alter, Lie};
use crate::config::{Budget, Config, Row, Seed, recover, rows, start};
use crate::rules::Rule;
use crate::rules::states_text as text;

type StepFn = fn(Process, Event) -> (Process, Act);

const NONE: Budget = Budget::NONE;

fn mistake(
    (name, source): (&'static str, &'static str),
    caught_by: &'static str,
    step: StepFn,
    config: Config,
) -> Mistake {
    Mistake { name, source, caught_by, note: "", alter: Alter::step(step), config }
}

fn lie(
    (name, source): (&'static str, &'static str),
    caught_by: &'static str,
    alter: Alter,
    config: Config,
) -> Mistake {
    Mistake { name, source, caught_by, note: "", alter, config }
}

fn case(slots: Vec<crate::config::Slot>) -> Config {
    Config::new("mistake", slots)
}

/// One coordinator.
fn alone() -> Config {
    case(vec![start("a", 1)])
}

/// A coordinator and its recovery.
fn recovered() -> Config {
    case(vec![start("a", 1), recover("a", 1)])
}

/// A coordinator and its next attempt.
fn followed() -> Config {
    case(vec![start("a", 1), start("a", 2)])
}

/// A coordinator, its recovery, and the next request.
fn next_request() -> Config {
    case(vec![start("a", 1), recover("a", 1), start("a", 2).request(1)])
}

/// The table gains a row in epoch 1.
fn grows() -> Vec<Row> {
    vec![Row { mark: 5, begun: 0, observed: 0 }, Row { mark: 6, begun: 1, observed: 1 }]
}

/// A row of epoch 0 that is seen in epoch 1 only, below one that is seen at once.
fn late() -> Vec<Row> {
    vec![Row { mark: 5, begun: 0, observed: 1 }, Row { mark: 7, begun: 0, observed: 0 }]
}

/// All of them.
pub fn planted() -> Vec<Mistake> {
    [
        looking(),
        claiming(),
        windows(),
        pinning(),
        lost(),
        commits::deciding(),
        commits::publishing(),
        commits::pointing(),
        commits::recovering(),
        later::sweeping(),
        later::undoing(),
        later::putting_off(),
        later::moving(),
        later::wordings(),
    ]
    .concat()
}

fn looking() -> Vec<Mistake> {
    let two = || case(vec![start("a", 1), start("b", 1)]);
    vec![
        lie(
            ("the run item is read before the outcome item and source.json", "new"),
            Rule::Exit.text(),
            Alter::lie(Lie::RunReadFirst),
            recovered().torn(),
        ),
        lie(
            (
                "the run item is read before the outcome item and source.json: another's first run",
                "new",
            ),
            Rule::FalseAlarm.text(),
            Alter::lie(Lie::RunReadFirst),
            two().torn(),
        ),
        lie(
            ("the run item is read before the outcome item: uploads of a run just claimed", "new"),
            Rule::Abort.text(),
            Alter::lie(Lie::RunReadFirst),
            case(vec![start("b", 1), start("a", 1), recover("a", 1)])
                .rows(grows())
                .seeds(&[Seed::Ends(0), Seed::Epoch])
                .torn(),
        ),
        lie(
            ("the watermark item is read before the run item", "new"),
            Rule::FalseAlarm.text(),
            Alter::lie(Lie::MarkReadFirst),
            two().torn(),
        ),
    ]
}

fn claiming() -> Vec<Mistake> {
    let two = || case(vec![start("a", 1), start("b", 1)]);
    let twins = || case(vec![start("a", 1), start("a", 1)]);
    vec![
        mistake(
            ("claim without condition", "8.7"),
            Rule::Takeover.text(),
            c::claim_without_condition,
            two(),
        ),
        mistake(
            ("claim by id only", "8.7"),
            Rule::Fenced.text(),
            c::claim_by_id_only,
            followed().seeds(&[Seed::Before(0, Step::Decide)]),
        ),
        mistake(
            ("takeover in committing", "8.7, 8.8"),
            Rule::Fenced.text(),
            c::takeover_in_committing,
            followed().seeds(&[Seed::Until(0, Step::Decide)]),
        ),
        mistake(
            ("CLAIM ignores O", "8.8"),
            Rule::Answered.text(),
            c::claim_ignores_outcome,
            case(vec![start("a", 1), start("a", 1), start("b", 1)])
                .seeds(&[Seed::Ends(0), Seed::Ends(2)]),
        ),
        mistake(
            ("CLAIM takes an older request", "new"),
            Rule::Answered.text(),
            c::claim_takes_older_requests,
            case(vec![start("a", 1).request(2), start("a", 2).request(1)]).seeds(&[Seed::Ends(0)]),
        ),
        mistake(
            ("CLAIM ignores owner and attempt", "8.8"),
            Rule::Takeover.text(),
            c::claim_ignores_attempt,
            twins(),
        ),
        mistake(
            ("claimant skips the pointer", "8.7"),
            Rule::PendingCleanup.text(),
            c::claim_skips_pending_cleanup,
            next_request().seeds(&[Seed::Until(0, Step::Publish), Seed::Dies(0)]),
        ),
        mistake(
            ("CLAIM does not ask for L as read", "new"),
            Rule::Monotonic.text(),
            c::claim_without_mark,
            next_request().seeds(&[Seed::Ends(0)]).budget(Budget { legacy: 1, ..NONE }),
        ),
        mistake(
            ("renewal without condition", "new"),
            Rule::Fenced.text(),
            c::renew_without_condition,
            followed().seeds(&[Seed::Until(0, Step::Pin)]).budget(Budget { renews: 1, ..NONE }),
        ),
        mistake(
            ("resume the same run (ReuseRunIdOnRetry)", "8.4, 8.7"),
            Rule::Snapshot.text(),
            c::resume_the_same_run,
            followed()
                .rows(grows())
                .seeds(&[Seed::Until(0, Step::Pin)])
                .budget(Budget { epochs: 1, ..NONE }),
        ),
    ]
}

fn windows() -> Vec<Mistake> {
    let given_up = [Seed::Until(0, Step::Pin), Seed::Dies(0), Seed::Ends(1), Seed::Epoch];
    let again =
        || case(vec![start("a", 1), recover("a", 1), start("a", 2)]).rows(grows()).seeds(&given_up);
    let stable = Rule::WindowStable.text();
    vec![
        mistake(("new window on retry", "8.4"), stable, c::new_window_on_retry, again()),
        mistake(
            ("pending window dropped on FAIL", "8.8"),
            stable,
            s::pending_window_dropped_on_fail,
            again(),
        ),
        Mistake {
            note: "a failed run that pinned still shows its window: it takes a second failure \
                   before PIN",
            ..mistake(
                ("only the pending window field dropped on FAIL", "8.8"),
                stable,
                s::pending_window_field_dropped_on_fail,
                twice_given_up(),
            )
        },
        mistake(
            ("pending window dropped on takeover", "8.8"),
            stable,
            c::pending_window_dropped_on_takeover,
            followed().rows(grows()).seeds(&[
                Seed::Until(0, Step::Pin),
                Seed::Dies(0),
                Seed::Epoch,
            ]),
        ),
        mistake(
            ("pending window kept over a legacy write", "8.8"),
            stable,
            c::pending_window_over_watermark_item,
            followed()
                .rows(rows(&[5, 15]))
                .seeds(&[Seed::Until(0, Step::Pin), Seed::Dies(0)])
                .budget(Budget { legacy: 1, ..NONE }),
        ),
        mistake(
            ("pending window kept after FE", "8.8"),
            stable,
            p::pending_window_kept_after_full,
            case(vec![start("a", 1), recover("a", 1), start("a", 2).mode(FE)]).seeds(&given_up),
        ),
        mistake(
            ("FE leaves a pending window", "8.8"),
            stable,
            s::full_leaves_pending_window,
            full_between().seeds(&[
                Seed::Ends(0),
                Seed::Until(1, Step::Pin),
                Seed::Dies(1),
                Seed::Ends(2),
            ]),
        ),
        mistake(
            ("mode of the pending window forgotten", "8.7"),
            text::ROWS_ALL,
            c::pending_window_mode_forgotten,
            case(vec![start("a", 1), start("a", 2).request(1), start("a", 3).request(2).mode(FE)])
                .rows([rows(&[4]), grows()].concat())
                .seeds(&[Seed::Ends(0), Seed::Epoch, Seed::Until(1, Step::Pin), Seed::Dies(1)]),
        ),
    ]
}

fn pinning() -> Vec<Mistake> {
    let stable = Rule::WindowStable.text();
    vec![
        mistake(("pin at claim", "8.7"), Rule::Fenced.text(), c::pin_at_claim, alone()),
        mistake(
            ("re-pin", "8.7"),
            stable,
            c::re_pin,
            alone().seeds(&[Seed::Until(0, Step::Pin)]).budget(Budget { renews: 1, ..NONE }),
        ),
        mistake(
            ("pin without condition (PlanNoCas)", "8.4, 8.7"),
            Rule::Fenced.text(),
            c::pin_without_condition,
            followed().seeds(&[Seed::Before(0, Step::Pin)]),
        ),
        mistake(
            ("hi from the clock", "8.7"),
            text::ROWS_ALL,
            c::high_from_clock,
            alone().rows(late()).budget(Budget { epochs: 1, ..NONE }),
        ),
        lie(
            ("late rows: the guard is read after the snapshot", "new"),
            text::ROWS_ALL,
            Alter::lie(Lie::GuardLate),
            alone().rows(late()).budget(Budget { epochs: 1, ..NONE }),
        ),
    ]
}

fn twice_given_up() -> Config {
    case(vec![start("a", 1), recover("a", 1), start("a", 2), recover("a", 2), start("a", 3)])
        .rows(grows())
        .seeds(&[
            Seed::Until(0, Step::Pin),
            Seed::Dies(0),
            Seed::Ends(1),
            Seed::Until(2, Step::Claim),
            Seed::Dies(2),
            Seed::Ends(3),
            Seed::Epoch,
        ])
}

/// An incremental run, a full one that is given up, and another incremental one.
fn full_between() -> Config {
    case(vec![
        start("a", 1),
        start("a", 2).request(1).mode(FE),
        recover("a", 2).request(1).mode(FE),
        start("a", 3).request(2),
    ])
}

fn lost() -> Vec<Mistake> {
    let lost_run = Budget { lost_runs: 1, ..NONE };
    let lost_mark = Budget { lost_marks: 1, ..NONE };
    let after = || next_request().seeds(&[Seed::Ends(0)]);
    vec![
        mistake(
            ("R missing taken for a first run", "8.8"),
            Rule::LostItem.text(),
            c::lost_run_is_first,
            after().budget(lost_run),
        ),
        mistake(
            ("L missing = first run", "8.8"),
            Rule::LostItem.text(),
            c::lost_mark_is_first,
            after().budget(lost_mark),
        ),
        mistake(
            ("FE makes a lost L from the minimum", "8.8 (wording)"),
            Rule::Copy.text(),
            c::copy_forgotten,
            case(vec![start("a", 1), start("a", 2).request(1).mode(FE)])
                .seeds(&[Seed::Ends(0)])
                .budget(lost_mark),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_planted_mistakes_are_distinct() {
        let mistakes = planted();
        let known: std::collections::BTreeSet<_> =
            mistakes.iter().map(|mistake| (mistake.name, mistake.note)).collect();
        assert_eq!(known.len(), mistakes.len());
    }
}

//! `tidemark.dev/requested-at`: a later instant starts one run, and no other value starts any.

use crds::condition::Exit;
use crds::requested::{instant, is_later, latest};
use crds::{ExtractType, Phase};
use jiff::Timestamp;
use jiff::tz::Offset;
use operator_core::{Decision, Effect};
use proptest::prelude::*;

use crate::simulation::{Simulation, run_item, task};

/// A new simulation starts at midnight.
const EVENING: &str = "2025-12-31T20:00:00Z";
const NIGHT: &str = "2025-12-31T23:00:00Z";
/// [`NIGHT`], in another zone.
const NIGHT_AGAIN: &str = "2026-01-01T05:00:00.000+06:00";
/// Later than [`NIGHT`], and smaller as text.
const LATER: &str = "2025-12-31T15:00:00-09:00";

fn created(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateJob(_))).count()
}

fn honoured(simulation: &Simulation) -> Option<String> {
    simulation.status().outcome.and_then(|outcome| outcome.requested_at)
}

/// The value that the last coordinator was given.
fn given(simulation: &Simulation) -> Option<String> {
    task(&simulation.last(0).expect("coordinator")).owner.requested_at
}

/// The run of the simulation's coordinator is published.
fn completes(simulation: &mut Simulation) {
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    assert_eq!(simulation.status().phase, Some(Phase::Complete));
}

/// An object whose request of this value is published.
fn answered(value: Option<&str>) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.request(value);
    simulation.step();
    completes(&mut simulation);
    simulation
}

#[test]
fn decision_by_last_honoured_value_and_annotation() {
    let starts = [
        (None, Some(NIGHT), true),
        (None, Some(EVENING), true),
        (Some(NIGHT), Some(LATER), true),
        (Some(EVENING), Some(NIGHT_AGAIN), true),
        (Some(NIGHT), Some("2025-12-31T23:00:00.000000001Z"), true),
        (Some(NIGHT), Some("2026-01-02T00:00:00Z"), true),
        (None, None, false),
        (Some(NIGHT), Some(NIGHT), false),
        (Some(NIGHT), Some(NIGHT_AGAIN), false),
        (Some(NIGHT), Some(EVENING), false),
        (Some(LATER), Some(NIGHT), false),
        (Some(NIGHT), None, false),
        (None, Some("again"), false),
        (Some(NIGHT), Some(""), false),
        (Some(NIGHT), Some("2026-01-02T00:00:01Z"), false),
    ];
    for (before, asked, expected) in starts {
        let mut simulation = answered(before);
        simulation.request(asked);
        let made = created(&simulation.step());
        assert_eq!(made, usize::from(expected), "{before:?}, then {asked:?}");
        if !expected {
            assert_eq!(created(&simulation.rest()), 0);
            assert_eq!(honoured(&simulation).as_deref(), before);
            continue;
        }
        completes(&mut simulation);
        assert_eq!(honoured(&simulation).as_deref(), asked);
        assert_eq!(simulation.status().attempt, Some(2), "one run");
    }
}

#[test]
fn older_value_that_is_restored_starts_nothing_even_after_an_edit_without_it() {
    let mut simulation = answered(Some(NIGHT));
    simulation.request(None);
    simulation.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(given(&simulation).as_deref(), Some(NIGHT), "it is not forgotten");
    completes(&mut simulation);
    for value in [EVENING, NIGHT] {
        simulation.request(Some(value));
        assert_eq!(created(&simulation.rest()), 0, "{value}");
    }
    assert_eq!(honoured(&simulation).as_deref(), Some(NIGHT));
}

#[test]
fn value_is_known_from_tracking_if_status_is_lost() {
    let mut simulation = answered(Some(NIGHT));
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.edit(|job| {
        job.status = None;
        job.spec.extract.extract_type = ExtractType::FE;
    });
    simulation.request(Some(EVENING));
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(given(&simulation).as_deref(), Some(NIGHT));
}

#[test]
fn run_in_flight_is_not_replaced_if_an_older_value_is_restored() {
    let mut simulation = answered(Some(EVENING));
    simulation.request(Some(NIGHT));
    simulation.step();
    simulation.plans(1);
    simulation.step();
    for value in [Some(EVENING), None, Some(NIGHT_AGAIN)] {
        simulation.request(value);
        assert!(simulation.step().effects.is_empty(), "{value:?}");
        let status = simulation.status();
        assert!(status.conditions.iter().all(|one| !one.message.contains("follows")), "{value:?}");
    }
    simulation.publishes();
    simulation.rest();
    assert_eq!(honoured(&simulation).as_deref(), Some(NIGHT));
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn retry_keeps_the_value_of_the_attempt_that_failed() {
    let mut simulation = answered(Some(EVENING));
    simulation.request(Some(NIGHT));
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    simulation.request(Some(EVENING));
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    simulation.pass(20);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(given(&simulation).as_deref(), Some(NIGHT));
    completes(&mut simulation);
    assert_eq!(
        (honoured(&simulation).as_deref(), simulation.status().attempt),
        (Some(NIGHT), Some(3))
    );
}

#[test]
fn invalid_value_is_reported_and_runs_once_it_is_corrected() {
    for value in ["again", "2026-01-01", "2026-01-03T00:00:00Z"] {
        let mut simulation = answered(Some(EVENING));
        simulation.request(Some(value));
        let decision = simulation.step();
        assert_eq!(created(&decision), 0, "{value}");
        assert_eq!(
            simulation.condition("Stalled"),
            ("True".to_owned(), "InvalidRequest".to_owned())
        );
        assert_eq!(simulation.condition("Complete").0, "False");
        let [event] = decision.events.as_slice() else { unreachable!("{:?}", decision.events) };
        assert!(event.warning && event.message.contains("remedy: Set it to the present time"));
        assert!(event.message.contains(value), "{}", event.message);
        let again = simulation.step();
        assert!(again.events.is_empty() && again.effects.is_empty(), "told once");
        simulation.request(Some(NIGHT));
        assert_eq!(created(&simulation.step()), 1, "{value}");
        completes(&mut simulation);
        assert_eq!(simulation.status().attempt, Some(2));
    }
}

#[test]
fn invalid_value_that_is_removed_leaves_the_object_complete() {
    let mut simulation = answered(Some(EVENING));
    simulation.request(Some("again"));
    simulation.rest();
    simulation.request(None);
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(simulation.status().phase, Some(Phase::Complete));
}

#[test]
fn invalid_value_is_reported_and_does_not_stop_a_run() {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    simulation.request(Some("again"));
    simulation.step();
    let status = simulation.status();
    assert_eq!(status.phase, Some(Phase::Running));
    let told = "requested-at is not an RFC 3339 time";
    for kind in ["Running", "Reconciling"] {
        let one = status.conditions.iter().find(|one| one.type_ == kind).expect("condition");
        assert!(one.status == "True" && one.message.contains(told), "{one:?}");
    }
    simulation.publishes();
    simulation.step();
    assert_eq!(simulation.status().outcome.map(|outcome| outcome.generation), Some(1));
    simulation.rest();
    assert_eq!(simulation.condition("Stalled").1, "InvalidRequest");
}

#[test]
fn invalid_value_does_not_hold_a_deleted_object() {
    let mut simulation = Simulation::new();
    simulation.step();
    let coordinator = simulation.last(0).expect("coordinator");
    let run = run_item(&task(&coordinator), crds::tracking::RunState::Running, Some(1));
    simulation.plans(1);
    simulation.step();
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.tracking.run = Some(run);
    simulation.request(Some("again"));
    simulation.delete_object();
    assert_eq!(created(&simulation.step()), 1, "its run is open");
    simulation.recoveries();
    simulation.step();
    assert!(simulation.gone);
}

#[test]
fn status_starts_no_run() {
    let mut simulation = answered(Some(NIGHT));
    simulation.edit(|job| {
        let outcome = job.status.as_mut().and_then(|status| status.outcome.as_mut());
        outcome.expect("outcome").requested_at = None;
    });
    simulation.jobs.clear();
    simulation.pods.clear();
    assert_eq!(created(&simulation.rest()), 0, "tracking has the value");
    assert_eq!(honoured(&simulation).as_deref(), Some(NIGHT));
}

/// Writes an instant in a zone, with a fraction of this many digits.
fn written(nanoseconds: i128, minutes: i32, digits: usize) -> String {
    let at = Timestamp::from_nanosecond(nanoseconds).expect("an instant");
    let zone = Offset::from_seconds(minutes * 60).expect("a zone");
    let zoned = at.to_zoned(jiff::tz::TimeZone::fixed(zone));
    let sign = if minutes < 0 { '-' } else { '+' };
    let zone = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
    let fraction = format!("{:09}", zoned.subsec_nanosecond());
    let fraction = if digits == 0 { String::new() } else { format!(".{}", &fraction[..digits]) };
    format!("{}{fraction}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// An instant to the given number of digits of a second, and its text in some zone.
fn moment() -> impl Strategy<Value = (i128, String)> {
    let second = 1_700_000_000_i128..1_700_000_030;
    (second, 0_i128..1_000_000_000, 0_usize..=9, -14 * 60..=14 * 60_i32).prop_map(
        |(second, nanosecond, digits, minutes)| {
            let step = 10_i128.pow(9 - u32::try_from(digits).expect("few digits"));
            let at = second * 1_000_000_000 + nanosecond / step * step;
            (at, written(at, minutes, digits))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Zones and fractions do not count: the order is that of the instants.
    #[test]
    fn values_are_ordered_as_their_instants((one, first) in moment(), (two, second) in moment()) {
        let parsed = instant(&first).map(Timestamp::as_nanosecond);
        prop_assert_eq!(parsed, Some(one), "{}", first);
        prop_assert_eq!(is_later(Some(&first), Some(&second)), one > two, "{} {}", first, second);
        let last = if two > one { &second } else { &first };
        prop_assert_eq!(latest([Some(first.as_str()), Some(second.as_str())]), Some(last.as_str()));
    }

    /// An object that is answered starts a run for a later value, once, and for no other.
    #[test]
    fn only_a_later_value_starts_one_run((one, first) in moment(), (two, second) in moment()) {
        let mut simulation = answered(Some(&first));
        simulation.request(Some(&second));
        prop_assert_eq!(created(&simulation.step()), usize::from(two > one));
        if two > one {
            completes(&mut simulation);
        }
        for value in [Some(first.as_str()), None, Some(second.as_str())] {
            simulation.request(value);
            prop_assert_eq!(created(&simulation.rest()), 0);
        }
    }
}

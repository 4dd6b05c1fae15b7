//! What holds for every sequence of events: crashes, old copies and late pods included.

use std::collections::BTreeSet;

use crds::condition::{Exit, Reason};
use crds::requested::is_later;
use crds::tracking::TrackedOutcome;
use crds::{ExtractJob, Phase, Report};
use operator_core::Effect;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::simulation::Simulation;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Step,
    /// The operator ends after so many effects.
    Crash(usize),
    /// The operator decides on an older copy of the object.
    Old(usize),
    Plan(u32),
    Publish,
    Fail(u8),
    ExtractEnds(bool),
    JobController,
    Recover(bool),
    Pass(u64),
    DeleteJob(usize),
    Edit,
    Suspend(bool),
    Request,
    /// A tool restores the annotation that the object had so many versions ago.
    Restore(usize),
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Step),
        1 => (0_usize..3).prop_map(Event::Crash),
        2 => (0_usize..8).prop_map(Event::Old),
        3 => (0_u32..4).prop_map(Event::Plan),
        2 => Just(Event::Publish),
        2 => prop_oneof![Just(10), Just(11), Just(20), Just(75), Just(143)].prop_map(Event::Fail),
        1 => any::<bool>().prop_map(Event::ExtractEnds),
        3 => Just(Event::JobController),
        3 => any::<bool>().prop_map(Event::Recover),
        3 => prop_oneof![Just(1), Just(15), Just(70), Just(700), Just(2000)].prop_map(Event::Pass),
        1 => (0_usize..4).prop_map(Event::DeleteJob),
        1 => Just(Event::Edit),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::Request),
        1 => (1_usize..12).prop_map(Event::Restore),
    ]
}

pub(crate) fn happen(simulation: &mut Simulation, event: Event) {
    match event {
        Event::Step => {
            simulation.step();
        }
        Event::Crash(most) => {
            let copy = simulation.job.clone();
            let decision = simulation.decide(&copy);
            simulation.apply(&copy, &decision, most);
        }
        Event::Old(back) => {
            let at = simulation.history.len().saturating_sub(1 + back);
            let copy = simulation.history[at].clone();
            let decision = simulation.decide(&copy);
            simulation.apply(&copy, &decision, usize::MAX);
        }
        Event::Plan(n) => live(simulation, |simulation| simulation.plans(n)),
        Event::Publish => live(simulation, Simulation::publishes),
        Event::Fail(code) => live(simulation, |simulation| {
            let report = Report::new(Reason::DatabaseFailed, "so it went", "");
            if let Some(job) = simulation.last(0) {
                simulation.fails(&job, Exit::from_code(i32::from(code)), Some(&report));
            }
        }),
        Event::ExtractEnds(well) => {
            if let Some(job) =
                simulation.last(1).filter(|job| !operator_core::attempt::is_finished(job))
            {
                if well {
                    simulation.finish(&job, "Complete", "CompletionsReached");
                } else {
                    simulation.fails(&job, Exit::Transient, None);
                }
            }
        }
        Event::JobController => simulation.job_controller(),
        Event::Recover(true) => {
            simulation.recoveries();
        }
        Event::Recover(false) => {
            if let Some(job) =
                simulation.last(2).filter(|job| !operator_core::attempt::is_finished(job))
            {
                simulation.fails(&job, Exit::Transient, None);
            }
        }
        Event::Pass(seconds) => simulation.pass(seconds),
        Event::DeleteJob(at) => {
            let name = simulation.jobs.get(at).and_then(|job| job.metadata.name.clone());
            simulation.delete(&name.unwrap_or_default());
        }
        Event::Edit => simulation.edit(|job| job.spec.retry = None),
        Event::Suspend(requested) => simulation.edit(|job| job.spec.suspend = Some(requested)),
        Event::Request => {
            simulation.request_now();
        }
        Event::Restore(back) => {
            let at = simulation.history.len().saturating_sub(1 + back);
            let old = requested_at_of(&simulation.history[at]).cloned();
            simulation.request(old.as_deref());
        }
    }
}

/// Only a coordinator that still runs does anything.
fn live(simulation: &mut Simulation, act: impl FnOnce(&mut Simulation)) {
    if simulation.last(0).is_some_and(|job| !operator_core::attempt::is_finished(&job)) {
        act(simulation);
    }
}

fn completes(simulation: &Simulation) -> bool {
    simulation.tracking.outcome.as_ref().and_then(|outcome| outcome.result.as_ref()).is_some_and(
        |result| {
            result.outcome == TrackedOutcome::Complete
                && !is_later(
                    requested_at_of(&simulation.job).map(String::as_str),
                    result.owner.requested_at.as_deref(),
                )
        },
    )
}

fn requested_at_of(job: &ExtractJob) -> Option<&String> {
    job.metadata.annotations.as_ref()?.get(crds::task::REQUESTED_AT)
}

fn is_coordinator(effect: &Effect) -> bool {
    matches!(effect, Effect::CreateJob(job) if {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        !name.contains("-recover-") && !name.ends_with("-extract")
    })
}

/// The same histories each time, so that a failure is seen again; `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` ask for others and for more.
fn config() -> ProptestConfig {
    let base = ProptestConfig::default();
    let rng_seed = match base.rng_seed {
        RngSeed::Random => RngSeed::Fixed(7),
        given @ RngSeed::Fixed(_) => given,
    };
    let cases = base.cases.max(1500);
    ProptestConfig { cases, failure_persistence: None, rng_seed, ..base }
}

proptest! {
    #![proptest_config(config())]

    /// (1) *Stable*: a few steps after anything, deciding again changes nothing.
    /// And no name is used twice: there are never two coordinators of one attempt.
    #[test]
    fn decisions_reach_a_fixed_point_and_attempts_are_never_repeated(events in prop::collection::vec(event(), 1..60)) {
        let mut simulation = Simulation::new();
        for event in events {
            happen(&mut simulation, event);
            let names: BTreeSet<&String> =
                simulation.made.iter().filter(|name| !name.contains("-recover-") && !name.ends_with("-extract")).collect();
            let count = simulation.made.iter().filter(|name| !name.contains("-recover-") && !name.ends_with("-extract")).count();
            prop_assert_eq!(names.len(), count, "coordinators made twice: {:?}", simulation.made);
        }
        simulation.rest();
    }

    /// (5) *Stale-safe*: while the tracking table answers the object, no copy of it, however old,
    /// makes a coordinator that could be for this request.
    #[test]
    fn complete_request_is_never_due_again(events in prop::collection::vec(event(), 1..60), back in 0_usize..20) {
        let mut simulation = Simulation::new();
        for event in events {
            happen(&mut simulation, event);
            if !completes(&simulation) {
                continue;
            }
            let at = simulation.history.len().saturating_sub(1 + back);
            let copy = simulation.history[at].clone();
            let same = copy.metadata.annotations == simulation.job.metadata.annotations;
            let decision = simulation.decide(&copy);
            prop_assert!(!same || !decision.effects.iter().any(is_coordinator), "{:?}", decision);
        }
    }

    /// After any history, an object whose Jobs then succeed is published.
    #[test]
    fn every_history_can_end_well(events in prop::collection::vec(event(), 1..40)) {
        let mut simulation = Simulation::new();
        for event in events {
            happen(&mut simulation, event);
        }
        simulation.edit(|job| job.spec.suspend = None);
        simulation.request_now();
        for _ in 0..40 {
            simulation.pass(700);
            simulation.step();
            simulation.job_controller();
            simulation.recoveries();
            simulation.step();
            if simulation.status().phase == Some(Phase::Complete) && completes(&simulation) {
                break;
            }
            live(&mut simulation, |simulation| simulation.plans(1));
            simulation.step();
            live(&mut simulation, Simulation::publishes);
            simulation.step();
        }
        prop_assert_eq!(simulation.status().phase, Some(Phase::Complete));
        prop_assert!(completes(&simulation));
    }
}

/// Found by the property above: the next attempt's Job was forgotten, and its number used again in
/// each decision.
#[test]
fn an_edit_after_recovery_failed_starts_one_attempt() {
    let mut simulation = Simulation::new();
    happen(&mut simulation, Event::Step);
    happen(&mut simulation, Event::Fail(10));
    for _ in 0..7 {
        happen(&mut simulation, Event::Step);
        happen(&mut simulation, Event::Recover(false));
        happen(&mut simulation, Event::Pass(15));
    }
    happen(&mut simulation, Event::Edit);
    simulation.rest();
    let status = simulation.status();
    assert_eq!((status.phase, status.attempt), (Some(Phase::Planning), Some(2)));
    assert!(
        simulation.made.iter().filter(|name| !name.contains("-recover-")).count() == 2,
        "{:?}",
        simulation.made
    );
}

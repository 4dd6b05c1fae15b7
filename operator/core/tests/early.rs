//! What the operator decides while the coordinator pod has ended with exit code 0 and its Job is not complete yet.

use crds::Phase;
use crds::tracking::PendingCleanup;
use k8s_openapi::api::batch::v1::Job;
use operator_core::Effect;

use crate::flow::{created, phase, started};
use crate::simulation::Simulation;

/// A run of one partition, which its coordinator reads.
fn coordinating() -> (Simulation, Job) {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    (simulation, job)
}

#[test]
fn published_run_is_complete_before_its_coordinator_job() {
    let (mut simulation, job) = coordinating();
    simulation.publishes_and_exits(&job);
    assert!(simulation.step().effects.is_empty());
    assert_eq!(phase(&simulation), Phase::Complete);
    assert!(simulation.step().effects.is_empty(), "the Job is not finished");
    simulation.finish(&job, "Complete", "CompletionsReached");
    let decision = simulation.step();
    assert!(matches!(
        decision.effects.as_slice(),
        [Effect::SetTtl { seconds: 3600, .. }, Effect::DropFinalizer]
    ));
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn exit_code_zero_without_outcome_waits_for_the_coordinator_job() {
    let (mut simulation, job) = coordinating();
    simulation.exits_with_code_zero(&job);
    assert!(simulation.step().effects.is_empty());
    assert_eq!(simulation.condition("Complete").0, "False");
    simulation.finish(&job, "Complete", "CompletionsReached");
    simulation.step();
    assert_eq!(simulation.condition("Reconciling").1, "Internal");
}

#[test]
fn pending_cleanup_waits_for_the_coordinator_job() {
    let (mut simulation, job) = coordinating();
    simulation.publishes_and_exits(&job);
    let run = simulation.tracking.run.as_mut().expect("run");
    run.pending_cleanup = Some(PendingCleanup { pointer: true, removals: Vec::new() });
    assert!(simulation.step().effects.is_empty());
    assert_eq!(simulation.condition("Complete").0, "False");
    simulation.finish(&job, "Complete", "CompletionsReached");
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(phase(&simulation), Phase::Committing);
}

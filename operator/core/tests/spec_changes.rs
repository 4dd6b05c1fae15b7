//! What a manifest requests for a run: to be suspended, to be edited, to keep files for a while, to end
//! in time; and what a stuck run says.

use crds::condition::{Exit, Reason};
use crds::extract_job::{ExtractType, Retry, Worker};
use crds::tracking::{PendingCleanup, RunState};
use crds::{Phase, Report};
use operator_core::{Decision, Effect};

use crate::simulation::{Simulation, order, removal, run_item, task};

fn created(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateJob(_))).count()
}

fn phase(simulation: &Simulation) -> Phase {
    simulation.status().phase.expect("phase")
}

fn started() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation
}

fn suspend(simulation: &mut Simulation, requested: bool) {
    simulation.edit(|job| job.spec.suspend = Some(requested));
}

fn message(simulation: &Simulation, kind: &str) -> String {
    let status = simulation.status();
    let found = status.conditions.iter().find(|one| one.type_ == kind).expect("condition");
    found.message.clone()
}

#[test]
fn suspended_run_is_stopped_and_recovered_and_its_window_spends_no_retry() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    suspend(&mut simulation, true);
    let decision = simulation.step();
    let stops = decision.effects.iter().filter(|it| matches!(it, Effect::StopJob { .. })).count();
    assert_eq!(stops, 2);
    simulation.job_controller();
    simulation.step();
    let given = order(&simulation.last(2).expect("recover"));
    assert!(given.aborted && !given.last, "{given:?}");
    simulation.recoveries();
    simulation.rest();
    assert_eq!(simulation.tracking.run.as_ref().expect("run").state, RunState::Aborted);
    assert_eq!(phase(&simulation), Phase::Suspended);
    assert_eq!(simulation.condition("Suspended"), ("True".to_owned(), "Suspended".to_owned()));
    assert_eq!(
        (simulation.condition("Stalled").0, simulation.condition("Failed").0),
        ("False".into(), "False".into())
    );
    let reads = simulation.reads;
    simulation.pass(86_400);
    assert_eq!(
        (created(&simulation.step()), simulation.reads),
        (0, reads),
        "nothing is read or made"
    );

    suspend(&mut simulation, false);
    assert_eq!(created(&simulation.step()), 1);
    let task = task(&simulation.last(0).expect("coordinator"));
    assert_eq!((task.attempt, task.retry), (2, 0));
    assert_eq!(simulation.condition("Suspended").0, "False");
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn suspended_from_the_beginning_starts_nothing() {
    let mut simulation = Simulation::new();
    simulation.job.spec.suspend = Some(true);
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!((phase(&simulation), simulation.status().attempt), (Phase::Suspended, None));
    assert!(simulation.job.metadata.finalizers.is_none());
    suspend(&mut simulation, false);
    assert_eq!(created(&simulation.step()), 1);
}

#[test]
fn suspended_run_that_was_decided_is_published() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let task = task(&simulation.last(0).expect("coordinator"));
    simulation.tracking.run = Some(run_item(&task, RunState::Committing, Some(1)));
    suspend(&mut simulation, true);
    simulation.step();
    simulation.job_controller();
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn completed_object_stays_complete_when_it_is_suspended() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    suspend(&mut simulation, true);
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
    suspend(&mut simulation, false);
    assert_eq!(created(&simulation.rest()), 0);
}

#[test]
fn suspended_object_whose_jobs_are_deleted_still_has_its_run_recovered() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    simulation.jobs.clear();
    simulation.pods.clear();
    suspend(&mut simulation, true);
    assert_eq!(created(&simulation.step()), 1);
    simulation.recoveries();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Suspended);
}

/// The attempt before it is recovered, and its Jobs are still there. Found by the model.
#[test]
fn suspended_object_has_the_run_of_an_attempt_recovered_whose_jobs_were_deleted() {
    let mut simulation = started();
    let first = simulation.last(0).expect("coordinator");
    simulation.fails(&first, Exit::Transient, None);
    simulation.step();
    simulation.recoveries();
    simulation.pass(60);
    simulation.rest();
    simulation.plans(1);
    let second = simulation.last(0).and_then(|job| job.metadata.name).expect("second coordinator");
    assert_ne!(Some(&second), first.metadata.name.as_ref());
    simulation.delete(&second);
    suspend(&mut simulation, true);
    assert_eq!(created(&simulation.step()), 1, "its run is open");
    assert_eq!(task(&simulation.last(2).expect("recover")).attempt, 2);
    assert!(simulation.recoveries());
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Suspended);
    assert!(simulation.tracking.run.as_ref().is_some_and(|run| !run.state.is_open()));
}

#[test]
fn suspended_object_is_deleted_at_once() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    suspend(&mut simulation, true);
    simulation.step();
    simulation.job_controller();
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone);
}

#[test]
fn an_edit_during_a_run_is_reported_and_applied_afterwards() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    simulation.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    assert!(simulation.step().effects.is_empty());
    assert_eq!(phase(&simulation), Phase::Running);
    let said = message(&simulation, "Running");
    assert!(said.contains("a run of generation 2 follows"), "{said}");
    assert!(
        simulation.step().effects.is_empty() && message(&simulation, "Running") == said,
        "stable"
    );
    simulation.publishes();
    simulation.step();
    assert_eq!(created(&simulation.step()), 1);
    let task = task(&simulation.last(0).expect("coordinator"));
    assert_eq!(task.spec.extract.extract_type, ExtractType::FE);
    assert!(!message(&simulation, "Reconciling").contains("follows"));
}

#[test]
fn a_request_during_a_run_is_reported_and_follows_and_an_edit_without_effect_is_not_reported() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    simulation.edit(|job| job.spec.active_deadline_seconds = Some(60));
    simulation.step();
    assert!(!message(&simulation, "Running").contains("follows"));
    let at = simulation.request_now();
    simulation.step();
    assert!(message(&simulation, "Running").contains(&format!("requested-at {at} follows")));
    simulation.publishes();
    simulation.step();
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn a_postponed_removal_is_done_when_due_and_complete_does_not_wait_for_it() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    let due = simulation.now.as_second() + 7200;
    let pending_cleanup = PendingCleanup { pointer: false, removals: vec![removal(due)] };
    simulation.tracking.run.as_mut().expect("run").pending_cleanup = Some(pending_cleanup);
    simulation.rest();
    assert_eq!(
        (phase(&simulation), simulation.condition("Complete").0),
        (Phase::Complete, "True".into())
    );
    assert_eq!(simulation.status().removal_due.map(|at| at.0.as_second()), Some(due));
    simulation.pass(7100);
    let reads = simulation.reads;
    let decision = simulation.rest();
    assert_eq!((created(&decision), simulation.reads, decision.requeue.as_secs()), (0, reads, 100));
    // the Jobs of the run may have expired meanwhile
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.pass(101);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(
        (phase(&simulation), simulation.condition("Complete").0),
        (Phase::Complete, "True".into())
    );
    assert_eq!(created(&simulation.step()), 0, "one at a time");
    assert!(simulation.recoveries());
    simulation.rest();
    assert_eq!(
        (
            simulation.status().removal_due,
            simulation.tracking.run.as_ref().expect("run").pending_cleanup.clone()
        ),
        (None, None)
    );
    let reads = simulation.reads;
    simulation.rest();
    assert_eq!(simulation.reads, reads, "status answers again");
}

#[test]
fn recover_job_done_before_a_removal_is_due_does_not_count_for_it() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let run_task = task(&simulation.last(0).expect("coordinator"));
    simulation.tracking.run = Some(run_item(&run_task, RunState::Committing, Some(1)));
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Stopped, None);
    simulation.step();
    simulation.recoveries();
    let due = simulation.now.as_second() + 600;
    let pending_cleanup = PendingCleanup { pointer: false, removals: vec![removal(due)] };
    simulation.tracking.run.as_mut().expect("run").pending_cleanup = Some(pending_cleanup);
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
    simulation.pass(601);
    assert_eq!(created(&simulation.step()), 1);
    let name = simulation.last(2).and_then(|job| job.metadata.name).expect("recover");
    assert!(name.ends_with("-recover-2"), "{name}");
    simulation.recoveries();
    simulation.rest();
    assert_eq!(simulation.status().removal_due, None);
}

#[test]
fn stuck_commit_is_reported_with_its_remedy_and_not_retried_in_a_loop() {
    let stuck =
        || Report::new(Reason::CommitStuck, "an upload is gone", "Look at lifecycle rules.");
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let run_task = task(&simulation.last(0).expect("coordinator"));
    simulation.tracking.run = Some(run_item(&run_task, RunState::Committing, Some(1)));
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Permanent, Some(&stuck()));
    simulation.step();
    let recover = simulation.last(2).expect("recover");
    simulation.fails(&recover, Exit::Permanent, Some(&stuck()));
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(phase(&simulation), Phase::Failed);
    assert_eq!(simulation.condition("Stalled"), ("True".to_owned(), "CommitStuck".to_owned()));
    assert!(message(&simulation, "Stalled").contains("remedy: Look at lifecycle rules."));
    assert!(simulation.job.metadata.finalizers.is_some(), "the run is not ended");
    simulation.pass(1700);
    assert_eq!(created(&simulation.rest()), 0);
    simulation.pass(101);
    assert_eq!(created(&simulation.step()), 1, "a look each half hour, whether a human went on");
    assert_eq!(simulation.condition("Stalled"), ("True".to_owned(), "CommitStuck".to_owned()));
    simulation.tracking.run.as_mut().expect("run").state = RunState::Failed;
    simulation.recoveries();
    simulation.rest();
    assert_eq!(simulation.condition("Stalled"), ("True".to_owned(), "Reverted".to_owned()));
    assert!(simulation.job.metadata.finalizers.is_none());
    simulation.request_now();
    assert_eq!(created(&simulation.step()), 1);
}

#[test]
fn one_attempt_is_made_where_retry_runs_is_1() {
    let mut simulation = Simulation::new();
    simulation.job.spec.retry = Some(Retry { runs: Some(1), ..Retry::default() });
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    simulation.step();
    assert!(order(&simulation.last(2).expect("recover")).last);
    simulation.recoveries();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Failed);
}

#[test]
fn exceeded_deadline_of_a_run_is_reported_and_spends_a_retry() {
    let mut simulation = Simulation::new();
    simulation.job.spec.active_deadline_seconds = Some(60);
    simulation.step();
    simulation.plans(1);
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    let deadline = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    assert_eq!(deadline, Some(60));
    simulation.finish(&job, "FailureTarget", "DeadlineExceeded");
    simulation.step();
    assert_eq!(simulation.condition("Reconciling").1, "DeadlineExceeded");
    assert!(message(&simulation, "Reconciling").contains("longer than 60 seconds"));
    simulation.fails(&job, Exit::Stopped, None);
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!((phase(&simulation), simulation.status().retry), (Phase::Waiting, Some(1)));
}

#[test]
fn jobs_expire_only_once_status_has_the_outcome() {
    let mut simulation = Simulation::new();
    simulation.job.spec.worker =
        Some(Worker { ttl_seconds_after_finished: Some(5), ..Worker::default() });
    simulation.step();
    simulation.plans(1);
    simulation.publishes();
    let ttl = |decision: &Decision| {
        decision.effects.iter().any(|it| matches!(it, Effect::SetTtl { seconds: 5, .. }))
    };
    assert!(!ttl(&simulation.step()), "this one puts the outcome into status");
    assert_eq!(phase(&simulation), Phase::Complete);
    assert!(ttl(&simulation.step()));
}

#[test]
fn suspended_run_that_cannot_be_recovered_is_reported() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    suspend(&mut simulation, true);
    simulation.step();
    simulation.job_controller();
    for _ in 1..=5 {
        simulation.pass(120);
        simulation.step();
        let recover = simulation.last(2).expect("recover");
        simulation.fails(&recover, Exit::Transient, None);
    }
    simulation.pass(120);
    simulation.rest();
    assert_eq!(simulation.condition("Stalled"), ("True".to_owned(), "RecoveryFailed".to_owned()));
    suspend(&mut simulation, false);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!((phase(&simulation), simulation.status().attempt), (Phase::Planning, Some(2)));
}

//! What a manifest wishes of a run: to be suspended, to be edited, to keep files for a while, to end
//! in time; and what a stuck run says.

use crds::condition::{Exit, Reason};
use crds::extract_job::{ExtractType, Retry, Worker};
use crds::tracking::{PendingCleanup, RunState};
use crds::{Phase, Report};
use operator_core::{Decision, Effect};

use crate::world::{World, order, removal, run_item, task};

fn created(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateJob(_))).count()
}

fn phase(world: &World) -> Phase {
    world.status().phase.expect("phase")
}

fn started() -> World {
    let mut world = World::new();
    world.step();
    world
}

fn suspend(world: &mut World, requested: bool) {
    world.edit(|job| job.spec.suspend = Some(requested));
}

fn message(world: &World, kind: &str) -> String {
    let status = world.status();
    let found = status.conditions.iter().find(|one| one.type_ == kind).expect("condition");
    found.message.clone()
}

#[test]
fn suspended_run_is_stopped_and_recovered_and_its_window_taken_again_for_free() {
    let mut world = started();
    world.plans(2);
    world.step();
    suspend(&mut world, true);
    let decision = world.step();
    let stops = decision.effects.iter().filter(|it| matches!(it, Effect::StopJob { .. })).count();
    assert_eq!(stops, 2);
    world.job_controller();
    world.step();
    let given = order(&world.last(2).expect("recover"));
    assert!(given.aborted && !given.last, "{given:?}");
    world.recoveries();
    world.rest();
    assert_eq!(world.tracking.r.as_ref().expect("run").state, RunState::Aborted);
    assert_eq!(phase(&world), Phase::Suspended);
    assert_eq!(world.condition("Suspended"), ("True".to_owned(), "Suspended".to_owned()));
    assert_eq!(
        (world.condition("Stalled").0, world.condition("Failed").0),
        ("False".into(), "False".into())
    );
    let reads = world.reads;
    world.pass(86_400);
    assert_eq!((created(&world.step()), world.reads), (0, reads), "nothing is read or made");

    suspend(&mut world, false);
    assert_eq!(created(&world.step()), 1);
    let task = task(&world.last(0).expect("coordinator"));
    assert_eq!((task.attempt, task.retry), (2, 0));
    assert_eq!(world.condition("Suspended").0, "False");
    world.plans(1);
    world.publishes();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn suspended_from_the_beginning_starts_nothing() {
    let mut world = World::new();
    world.job.spec.suspend = Some(true);
    assert_eq!(created(&world.rest()), 0);
    assert_eq!((phase(&world), world.status().attempt), (Phase::Suspended, None));
    assert!(world.job.metadata.finalizers.is_none());
    suspend(&mut world, false);
    assert_eq!(created(&world.step()), 1);
}

#[test]
fn suspended_run_that_was_decided_is_published() {
    let mut world = started();
    world.plans(1);
    world.step();
    let task = task(&world.last(0).expect("coordinator"));
    world.tracking.r = Some(run_item(&task, RunState::Committing, Some(1)));
    suspend(&mut world, true);
    world.step();
    world.job_controller();
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn completed_object_stays_complete_when_it_is_suspended() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    world.rest();
    suspend(&mut world, true);
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
    suspend(&mut world, false);
    assert_eq!(created(&world.rest()), 0);
}

#[test]
fn suspended_object_whose_jobs_are_deleted_still_has_its_run_recovered() {
    let mut world = started();
    world.plans(1);
    world.step();
    world.jobs.clear();
    world.pods.clear();
    suspend(&mut world, true);
    assert_eq!(created(&world.step()), 1);
    world.recoveries();
    world.rest();
    assert_eq!(phase(&world), Phase::Suspended);
}

/// The attempt before it is recovered, and its Jobs are still there. Found by the model.
#[test]
fn suspended_object_has_the_run_of_an_attempt_recovered_whose_jobs_were_deleted() {
    let mut world = started();
    let first = world.last(0).expect("coordinator");
    world.fails(&first, Exit::Transient, None);
    world.step();
    world.recoveries();
    world.pass(60);
    world.rest();
    world.plans(1);
    let second = world.last(0).and_then(|job| job.metadata.name).expect("second coordinator");
    assert_ne!(Some(&second), first.metadata.name.as_ref());
    world.delete(&second);
    suspend(&mut world, true);
    assert_eq!(created(&world.step()), 1, "its run is open");
    assert_eq!(task(&world.last(2).expect("recover")).attempt, 2);
    assert!(world.recoveries());
    world.rest();
    assert_eq!(phase(&world), Phase::Suspended);
    assert!(world.tracking.r.as_ref().is_some_and(|run| !run.state.is_open()));
}

#[test]
fn suspended_object_is_deleted_at_once() {
    let mut world = started();
    world.plans(1);
    world.step();
    suspend(&mut world, true);
    world.step();
    world.job_controller();
    world.step();
    world.recoveries();
    world.rest();
    world.delete_object();
    world.step();
    assert!(world.gone);
}

#[test]
fn an_edit_in_mid_run_is_said_and_follows() {
    let mut world = started();
    world.plans(2);
    world.step();
    world.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    assert!(world.step().effects.is_empty());
    assert_eq!(phase(&world), Phase::Running);
    let said = message(&world, "Running");
    assert!(said.contains("a run of generation 2 follows"), "{said}");
    assert!(world.step().effects.is_empty() && message(&world, "Running") == said, "stable");
    world.publishes();
    world.step();
    assert_eq!(created(&world.step()), 1);
    let task = task(&world.last(0).expect("coordinator"));
    assert_eq!(task.spec.extract.extract_type, ExtractType::FE);
    assert!(!message(&world, "Reconciling").contains("follows"));
}

#[test]
fn a_request_during_a_run_is_reported_and_follows_and_an_edit_without_effect_is_not_reported() {
    let mut world = started();
    world.plans(1);
    world.step();
    world.edit(|job| job.spec.active_deadline_seconds = Some(60));
    world.step();
    assert!(!message(&world, "Running").contains("follows"));
    let at = world.request_now();
    world.step();
    assert!(message(&world, "Running").contains(&format!("requested-at {at} follows")));
    world.publishes();
    world.step();
    assert_eq!(created(&world.step()), 1);
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn a_postponed_removal_is_done_when_due_and_complete_does_not_wait_for_it() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    let due = world.now.as_second() + 7200;
    let pending_cleanup = PendingCleanup { pointer: false, removals: vec![removal(due)] };
    world.tracking.r.as_mut().expect("run").pending_cleanup = Some(pending_cleanup);
    world.rest();
    assert_eq!((phase(&world), world.condition("Complete").0), (Phase::Complete, "True".into()));
    assert_eq!(world.status().removal_due.map(|at| at.0.as_second()), Some(due));
    world.pass(7100);
    let reads = world.reads;
    let decision = world.rest();
    assert_eq!((created(&decision), world.reads, decision.requeue.as_secs()), (0, reads, 100));
    // the Jobs of the run may have expired meanwhile
    world.jobs.clear();
    world.pods.clear();
    world.pass(101);
    assert_eq!(created(&world.step()), 1);
    assert_eq!((phase(&world), world.condition("Complete").0), (Phase::Complete, "True".into()));
    assert_eq!(created(&world.step()), 0, "one at a time");
    assert!(world.recoveries());
    world.rest();
    assert_eq!(
        (
            world.status().removal_due,
            world.tracking.r.as_ref().expect("run").pending_cleanup.clone()
        ),
        (None, None)
    );
    let reads = world.reads;
    world.rest();
    assert_eq!(world.reads, reads, "status answers again");
}

#[test]
fn recover_job_done_before_a_removal_is_due_does_not_count_for_it() {
    let mut world = started();
    world.plans(1);
    world.step();
    let run_task = task(&world.last(0).expect("coordinator"));
    world.tracking.r = Some(run_item(&run_task, RunState::Committing, Some(1)));
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Stopped, None);
    world.step();
    world.recoveries();
    let due = world.now.as_second() + 600;
    let pending_cleanup = PendingCleanup { pointer: false, removals: vec![removal(due)] };
    world.tracking.r.as_mut().expect("run").pending_cleanup = Some(pending_cleanup);
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
    world.pass(601);
    assert_eq!(created(&world.step()), 1);
    let name = world.last(2).and_then(|job| job.metadata.name).expect("recover");
    assert!(name.ends_with("-recover-2"), "{name}");
    world.recoveries();
    world.rest();
    assert_eq!(world.status().removal_due, None);
}

#[test]
fn stuck_commit_is_said_with_its_remedy_and_does_not_loop() {
    let stuck = || Report::new(Reason::CommitStuck, "an upload is gone", "look at lifecycle rules");
    let mut world = started();
    world.plans(1);
    world.step();
    let run_task = task(&world.last(0).expect("coordinator"));
    world.tracking.r = Some(run_item(&run_task, RunState::Committing, Some(1)));
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Permanent, Some(&stuck()));
    world.step();
    let recover = world.last(2).expect("recover");
    world.fails(&recover, Exit::Permanent, Some(&stuck()));
    assert_eq!(created(&world.rest()), 0);
    assert_eq!(phase(&world), Phase::Failed);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "CommitStuck".to_owned()));
    assert!(message(&world, "Stalled").contains("remedy: look at lifecycle rules"));
    assert!(world.job.metadata.finalizers.is_some(), "the run is not ended");
    world.pass(1700);
    assert_eq!(created(&world.rest()), 0);
    world.pass(101);
    assert_eq!(created(&world.step()), 1, "a look each half hour, whether a human went on");
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "CommitStuck".to_owned()));
    world.tracking.r.as_mut().expect("run").state = RunState::Failed;
    world.recoveries();
    world.rest();
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "Reverted".to_owned()));
    assert!(world.job.metadata.finalizers.is_none());
    world.request_now();
    assert_eq!(created(&world.step()), 1);
}

#[test]
fn one_run_is_all_where_retry_runs_says_so() {
    let mut world = World::new();
    world.job.spec.retry = Some(Retry { runs: Some(1), ..Retry::default() });
    world.step();
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, None);
    world.step();
    assert!(order(&world.last(2).expect("recover")).last);
    world.recoveries();
    world.rest();
    assert_eq!(phase(&world), Phase::Failed);
}

#[test]
fn deadline_of_a_run_is_told_and_spends_a_retry() {
    let mut world = World::new();
    world.job.spec.active_deadline_seconds = Some(60);
    world.step();
    world.plans(1);
    world.step();
    let job = world.last(0).expect("coordinator");
    let deadline = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    assert_eq!(deadline, Some(60));
    world.finish(&job, "FailureTarget", "DeadlineExceeded");
    world.step();
    assert_eq!(world.condition("Reconciling").1, "DeadlineExceeded");
    assert!(message(&world, "Reconciling").contains("longer than 60 seconds"));
    world.fails(&job, Exit::Stopped, None);
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!((phase(&world), world.status().retry), (Phase::Waiting, Some(1)));
}

#[test]
fn jobs_expire_only_once_the_outcome_stands_in_status() {
    let mut world = World::new();
    world.job.spec.worker =
        Some(Worker { ttl_seconds_after_finished: Some(5), ..Worker::default() });
    world.step();
    world.plans(1);
    world.publishes();
    let ttl = |decision: &Decision| {
        decision.effects.iter().any(|it| matches!(it, Effect::SetTtl { seconds: 5, .. }))
    };
    assert!(!ttl(&world.step()), "this one puts the outcome into status");
    assert_eq!(phase(&world), Phase::Complete);
    assert!(ttl(&world.step()));
}

#[test]
fn suspended_run_that_cannot_be_recovered_says_so() {
    let mut world = started();
    world.plans(1);
    world.step();
    suspend(&mut world, true);
    world.step();
    world.job_controller();
    for _ in 1..=5 {
        world.pass(120);
        world.step();
        let recover = world.last(2).expect("recover");
        world.fails(&recover, Exit::Transient, None);
    }
    world.pass(120);
    world.rest();
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "RecoveryFailed".to_owned()));
    suspend(&mut world, false);
    assert_eq!(created(&world.step()), 1);
    assert_eq!((phase(&world), world.status().attempt), (Phase::Planning, Some(2)));
}

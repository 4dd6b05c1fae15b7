//! One object from due to its outcome, in all the ways there are.

use crds::condition::{Exit, Reason};
use crds::extract_job::ExtractType;
use crds::tracking::RunState;
use crds::{Phase, Report};
use operator_core::observed::ServiceAccountState;
use operator_core::{Decision, Effect};

use crate::world::{World, order, run_item, task};

pub(crate) fn phase(world: &World) -> Phase {
    world.status().phase.expect("phase")
}

pub(crate) fn created(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateJob(_))).count()
}

pub(crate) fn started() -> World {
    let mut world = World::new();
    world.step();
    world
}

/// The attempt fails, its Jobs are stopped and its run is recovered.
pub(crate) fn fails(world: &mut World, exit: Exit, reason: Reason) {
    let job = world.last(0).expect("coordinator");
    world.fails(&job, exit, Some(&Report::new(reason, "so it went", "do this")));
    world.step();
    world.job_controller();
    world.step();
    assert!(world.recoveries(), "a recover Job is at work");
    world.rest();
}

#[test]
fn one_partition_goes_from_due_to_complete() {
    let mut world = World::new();
    let decision = world.step();
    assert!(matches!(
        decision.effects.as_slice(),
        [Effect::AddFinalizer, Effect::PutStatus, Effect::CreateJob(_)]
    ));
    assert_eq!(phase(&world), Phase::Planning);
    world.plans(1);
    assert_eq!(created(&world.step()), 0);
    assert_eq!(phase(&world), Phase::Running);
    let reads = world.reads;
    world.step();
    assert_eq!(world.reads, reads, "nothing happened, so tracking is not read");
    world.publishes();
    world.step();
    assert_eq!(phase(&world), Phase::Complete);
    assert_eq!(world.condition("Committed"), ("True".to_owned(), "Succeeded".to_owned()));
    let decision = world.step();
    assert!(matches!(
        decision.effects.as_slice(),
        [Effect::SetTtl { seconds: 3600, .. }, Effect::DropFinalizer]
    ));
    let reads = world.reads;
    assert!(world.step().effects.is_empty());
    assert_eq!(world.reads, reads, "status answers");
}

#[test]
fn extract_job_is_made_once_and_its_loss_fails_the_run() {
    let mut world = started();
    world.plans(3);
    assert_eq!(created(&world.step()), 1);
    assert_eq!(created(&world.step()), 0);
    assert_eq!(world.status().progress.as_deref(), Some("0/3"));
    let extract = world.last(1).expect("extract").metadata.name.expect("name");
    world.delete(&extract);
    let decision = world.step();
    assert_eq!(created(&decision), 0);
    assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::StopJob { .. })));
}

#[test]
fn permanent_error_is_final_until_the_object_changes() {
    let mut world = started();
    fails(&mut world, Exit::Permanent, Reason::TableNotFound);
    assert!(order(&world.last(2).expect("recover")).last);
    assert_eq!(phase(&world), Phase::Failed);
    assert_eq!(world.condition("Failed"), ("True".to_owned(), "TableNotFound".to_owned()));
    world.pass(86_400);
    assert_eq!(created(&world.rest()), 0);
    world.edit(|job| job.spec.retry = None);
    assert_eq!(created(&world.step()), 1);
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn transient_errors_are_tried_again_while_the_budget_lasts() {
    let mut world = started();
    for attempt in 1..=2 {
        fails(&mut world, Exit::Transient, Reason::DatabaseFailed);
        assert!(!order(&world.last(2).expect("recover")).last);
        assert_eq!(phase(&world), Phase::Waiting);
        assert_eq!(world.status().retry, Some(attempt));
        assert_eq!(created(&world.step()), 0, "not before the pause is over");
        world.pass(20);
        assert_eq!(created(&world.step()), 1);
        assert_eq!(world.status().attempt, Some(attempt + 1));
        assert_eq!(task(&world.last(0).expect("coordinator")).retry, attempt);
    }
    fails(&mut world, Exit::Transient, Reason::DatabaseFailed);
    assert!(order(&world.last(2).expect("recover")).last);
    assert_eq!(phase(&world), Phase::Failed);
}

#[test]
fn fenced_attempt_makes_way_and_spends_no_retry() {
    let mut world = started();
    fails(&mut world, Exit::Fenced, Reason::Fenced);
    assert_eq!((phase(&world), world.status().retry), (Phase::Waiting, None));
    world.pass(61);
    world.step();
    assert_eq!(task(&world.last(0).expect("coordinator")).retry, 0);
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn recovery_that_publishes_completes_a_failed_attempt() {
    let mut world = started();
    world.plans(1);
    world.step();
    let task = task(&world.last(0).expect("coordinator"));
    world.tracking.r = Some(run_item(&task, RunState::Committing, Some(1)));
    fails(&mut world, Exit::Stopped, Reason::Stopped);
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn busy_source_is_waited_for() {
    let world = started();
    let mut task = task(&world.last(0).expect("coordinator"));
    task.owner.uid = "another".to_owned();
    let mut world = World::new();
    world.tracking.r = Some(run_item(&task, RunState::Running, Some(1)));
    let decision = world.rest();
    assert_eq!(created(&decision), 0);
    assert_eq!(decision.requeue.as_secs(), 30);
    assert_eq!(world.condition("Reconciling").1, "SourceBusy");
    let run = world.tracking.r.as_mut().expect("run");
    run.deadline = world.now.as_second() - 1;
    assert_eq!(created(&world.step()), 1, "its holder let the deadline pass");
}

#[test]
fn nothing_starts_without_tracking_account_or_permission() {
    let mut world = World::new();
    world.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", "look"));
    assert!(world.rest().effects.is_empty());
    assert_eq!(
        world.condition("Reconciling"),
        ("True".to_owned(), "TrackingUnreachable".to_owned())
    );

    let mut world = World::new();
    world.account = ServiceAccountState::Unlabelled;
    assert!(world.rest().effects.is_empty());
    assert_eq!(world.condition("Stalled").1, "ServiceAccountNotAllowed");

    let mut world = World::new();
    world.job.spec.tracking =
        Some(crds::output::Tracking { table: Some("other".to_owned()), ..Default::default() });
    assert!(world.rest().effects.is_empty());
    assert_eq!(world.condition("Stalled").1, "TrackingNotAllowed");
    world.settings.tracking.allowed_tables = vec!["oth*".to_owned()];
    assert_eq!(created(&world.step()), 1);
}

#[test]
fn requested_at_runs_again_and_its_removal_does_not() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    world.rest();
    world.request_now();
    assert_eq!(created(&world.step()), 1);
    assert_eq!(world.status().attempt, Some(2));
    world.plans(1);
    world.publishes();
    world.rest();
    world.request(None);
    assert_eq!(created(&world.rest()), 0);
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn lost_status_is_made_again_from_tracking() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    world.jobs.clear();
    world.pods.clear();
    world.edit(|job| job.status = None);
    assert_eq!(created(&world.rest()), 0);
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn change_of_what_defines_data_makes_a_run_due_and_other_changes_do_not() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    world.rest();
    world.edit(|job| job.spec.active_deadline_seconds = Some(60));
    assert_eq!(created(&world.rest()), 0);
    assert_eq!(world.status().observed_generation, Some(2));
    world.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    assert_eq!(created(&world.step()), 1);
}

#[test]
fn recovery_that_keeps_failing_stalls_and_a_request_starts_a_new_attempt() {
    let mut world = started();
    world.plans(1);
    world.step();
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, None);
    for k in 1..=5 {
        world.pass(120);
        world.step();
        let recover = world.last(2).expect("recover");
        assert!(
            recover
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| name.ends_with(&format!("-recover-{k}")))
        );
        world.fails(&recover, Exit::Transient, None);
    }
    world.pass(120);
    assert_eq!(created(&world.rest()), 0);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "RecoveryFailed".to_owned()));
    assert_eq!(phase(&world), Phase::Failed);
    world.pass(1800);
    assert_eq!(created(&world.step()), 1, "one more after half an hour");
    let recover = world.last(2).expect("recover");
    world.fails(&recover, Exit::Transient, None);
    world.step();
    world.request_now();
    world.step();
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn deletion_stops_recovers_and_removes_the_finalizer() {
    let mut world = started();
    world.plans(3);
    world.step();
    world.delete_object();
    let decision = world.step();
    let stops = |effect: &&Effect| matches!(effect, Effect::StopJob { .. });
    assert_eq!(decision.effects.iter().filter(stops).count(), 2);
    assert_eq!(phase(&world), Phase::Deleting);
    world.job_controller();
    world.step();
    let given = order(&world.last(2).expect("recover"));
    assert!(given.last && given.aborted);
    world.recoveries();
    let decision = world.step();
    assert!(matches!(decision.effects.last(), Some(Effect::DropFinalizer)));
    assert_eq!(decision.effects.len(), 4, "three Jobs are deleted before");
    assert!(world.gone && world.jobs.is_empty());
}

#[test]
fn deletion_does_not_wait_where_nothing_can_be_recovered() {
    let mut world = started();
    world.terminating = true;
    world.delete_object();
    assert!(matches!(world.step().effects.as_slice(), [Effect::DropFinalizer]));

    let mut world = started();
    world.plans(1);
    world.step();
    world.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", ""));
    world.delete_object();
    world.step();
    world.pass(601);
    let decision = world.step();
    assert!(world.gone);
    assert!(
        decision.events.iter().any(|event| event.warning && event.reason == Reason::RecoveryFailed)
    );

    let mut world = started();
    world.plans(1);
    world.publishes();
    world.rest();
    world.delete_object();
    assert!(world.gone, "no finalizer holds a finished object");
}

#[test]
fn job_of_somebody_else_is_no_attempt() {
    let mut world = started();
    world.jobs[0].metadata.owner_references.as_mut().expect("owners")[0].uid = "other".to_owned();
    world.jobs[0]
        .metadata
        .labels
        .as_mut()
        .expect("labels")
        .insert("tidemark.dev/attempt".to_owned(), "7".to_owned());
    world.step();
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn run_without_jobs_is_recovered_before_the_next_attempt() {
    let mut world = started();
    world.plans(1);
    world.step();
    world.jobs.clear();
    world.pods.clear();
    world.step();
    assert_eq!(task(&world.last(2).expect("recover")).attempt, 1);
    world.recoveries();
    world.rest();
    world.pass(20);
    world.step();
    assert_eq!(world.status().attempt, Some(2));
}

#[test]
fn newer_release_is_left_alone() {
    let world = started();
    let task = task(&world.last(0).expect("coordinator"));
    let mut world = World::new();
    let mut run = run_item(&task, RunState::Running, Some(1));
    run.schema += 1;
    world.tracking.r = Some(run);
    assert!(world.rest().effects.is_empty());
    assert_eq!(world.condition("Stalled").1, "NewerRelease");
}

#[test]
fn end_of_an_older_request_is_not_taken_for_the_present_one() {
    let mut world = started();
    world.plans(1);
    world.step();
    world.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    world.publishes();
    world.step();
    assert_eq!(phase(&world), Phase::Complete);
    assert_eq!(world.status().observed_generation, Some(1));
    assert_eq!(created(&world.step()), 1);
    assert_eq!(world.status().observed_generation, Some(2));
}

#[test]
fn sql_of_the_manifests_own_runs_only_where_the_operator_allows_it() {
    let mut world = World::new();
    world.edit(|job| job.spec.extract.filter = Some("id > 5".to_owned()));
    assert!(world.step().effects.iter().all(|effect| !matches!(effect, Effect::CreateJob(_))));
    let stalled = world.status().conditions.into_iter().find(|one| one.type_ == "Stalled");
    let stalled = stalled.expect("Stalled");
    assert_eq!(stalled.reason, "InvalidSpec");
    assert!(stalled.message.contains("--allow-where") && !stalled.message.contains("id > 5"));
    world.settings.allow_where = true;
    assert!(world.step().effects.iter().any(|effect| matches!(effect, Effect::CreateJob(_))));
}

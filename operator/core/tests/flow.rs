//! One object from due to its outcome, in all the ways there are.

use crds::condition::{Exit, Reason};
use crds::extract_job::ExtractType;
use crds::tracking::RunState;
use crds::{Phase, Report};
use operator_core::observed::ServiceAccountState;
use operator_core::{Decision, Effect};

use crate::simulation::{Simulation, order, run_item, task};

pub(crate) fn phase(simulation: &Simulation) -> Phase {
    simulation.status().phase.expect("phase")
}

pub(crate) fn created(decision: &Decision) -> usize {
    decision.effects.iter().filter(|effect| matches!(effect, Effect::CreateJob(_))).count()
}

pub(crate) fn started() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation
}

/// The attempt fails, its Jobs are stopped and its run is recovered.
pub(crate) fn fails(simulation: &mut Simulation, exit: Exit, reason: Reason) {
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, exit, Some(&Report::new(reason, "so it went", "Do this.")));
    simulation.step();
    simulation.job_controller();
    simulation.step();
    assert!(simulation.recoveries(), "a recovery Job is at work");
    simulation.rest();
}

#[test]
fn one_partition_goes_from_due_to_complete() {
    let mut simulation = Simulation::new();
    let decision = simulation.step();
    assert!(matches!(
        decision.effects.as_slice(),
        [Effect::AddFinalizer, Effect::PutStatus, Effect::CreateJob(_)]
    ));
    assert_eq!(phase(&simulation), Phase::Planning);
    simulation.plans(1);
    assert_eq!(created(&simulation.step()), 0);
    assert_eq!(phase(&simulation), Phase::Running);
    let reads = simulation.reads;
    simulation.step();
    assert_eq!(simulation.reads, reads, "nothing happened, so tracking is not read");
    simulation.publishes();
    simulation.step();
    assert_eq!(phase(&simulation), Phase::Complete);
    assert_eq!(simulation.condition("Committed"), ("True".to_owned(), "Succeeded".to_owned()));
    let decision = simulation.step();
    assert!(matches!(
        decision.effects.as_slice(),
        [Effect::SetTtl { seconds: 3600, .. }, Effect::DropFinalizer]
    ));
    let reads = simulation.reads;
    assert!(simulation.step().effects.is_empty());
    assert_eq!(simulation.reads, reads, "status answers");
}

#[test]
fn extract_job_is_created_once_and_its_deletion_fails_the_run() {
    let mut simulation = started();
    simulation.plans(3);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(created(&simulation.step()), 0);
    assert_eq!(simulation.status().progress.as_deref(), Some("0/3"));
    let extract = simulation.last(1).expect("extract").metadata.name.expect("name");
    simulation.delete(&extract);
    let decision = simulation.step();
    assert_eq!(created(&decision), 0);
    assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::StopJob { .. })));
}

#[test]
fn permanent_error_is_final_until_the_object_changes() {
    let mut simulation = started();
    fails(&mut simulation, Exit::Permanent, Reason::TableNotFound);
    assert!(order(&simulation.last(2).expect("recover")).last);
    assert_eq!(phase(&simulation), Phase::Failed);
    assert_eq!(simulation.condition("Failed"), ("True".to_owned(), "TableNotFound".to_owned()));
    simulation.pass(86_400);
    assert_eq!(created(&simulation.rest()), 0);
    simulation.edit(|job| job.spec.retry = None);
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn transient_errors_are_tried_again_while_the_budget_lasts() {
    let mut simulation = started();
    for attempt in 1..=2 {
        fails(&mut simulation, Exit::Transient, Reason::DatabaseFailed);
        assert!(!order(&simulation.last(2).expect("recover")).last);
        assert_eq!(phase(&simulation), Phase::Waiting);
        assert_eq!(simulation.status().retry, Some(attempt));
        assert_eq!(created(&simulation.step()), 0, "not before the pause is over");
        simulation.pass(20);
        assert_eq!(created(&simulation.step()), 1);
        assert_eq!(simulation.status().attempt, Some(attempt + 1));
        assert_eq!(task(&simulation.last(0).expect("coordinator")).retry, attempt);
    }
    fails(&mut simulation, Exit::Transient, Reason::DatabaseFailed);
    assert!(order(&simulation.last(2).expect("recover")).last);
    assert_eq!(phase(&simulation), Phase::Failed);
}

#[test]
fn fenced_attempt_yields_and_spends_no_retry() {
    let mut simulation = started();
    fails(&mut simulation, Exit::Fenced, Reason::Fenced);
    assert_eq!((phase(&simulation), simulation.status().retry), (Phase::Waiting, None));
    simulation.pass(61);
    simulation.step();
    assert_eq!(task(&simulation.last(0).expect("coordinator")).retry, 0);
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn recovery_that_publishes_completes_a_failed_attempt() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let task = task(&simulation.last(0).expect("coordinator"));
    simulation.tracking.run = Some(run_item(&task, RunState::Committing, Some(1)));
    fails(&mut simulation, Exit::Stopped, Reason::Stopped);
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn busy_source_is_waited_for() {
    let simulation = started();
    let mut task = task(&simulation.last(0).expect("coordinator"));
    task.owner.uid = "another".to_owned();
    let mut simulation = Simulation::new();
    simulation.tracking.run = Some(run_item(&task, RunState::Running, Some(1)));
    let decision = simulation.rest();
    assert_eq!(created(&decision), 0);
    assert_eq!(decision.requeue.as_secs(), 30);
    assert_eq!(simulation.condition("Reconciling").1, "SourceBusy");
    let run = simulation.tracking.run.as_mut().expect("run");
    run.deadline = simulation.now.as_second() - 1;
    assert_eq!(created(&simulation.step()), 1, "its holder let the deadline pass");
}

#[test]
fn nothing_starts_without_tracking_account_or_permission() {
    let mut simulation = Simulation::new();
    simulation.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", "Look."));
    assert!(simulation.rest().effects.is_empty());
    assert_eq!(
        simulation.condition("Reconciling"),
        ("True".to_owned(), "TrackingUnreachable".to_owned())
    );

    let mut simulation = Simulation::new();
    simulation.account = ServiceAccountState::Unlabelled;
    assert!(simulation.rest().effects.is_empty());
    assert_eq!(simulation.condition("Stalled").1, "ServiceAccountNotAllowed");

    let mut simulation = Simulation::new();
    simulation.job.spec.tracking =
        Some(crds::output::Tracking { table: Some("other".to_owned()), ..Default::default() });
    assert!(simulation.rest().effects.is_empty());
    assert_eq!(simulation.condition("Stalled").1, "TrackingNotAllowed");
    simulation.settings.tracking.allowed_tables = vec!["oth*".to_owned()];
    assert_eq!(created(&simulation.step()), 1);
}

#[test]
fn requested_at_runs_again_and_its_removal_does_not() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    simulation.request_now();
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(simulation.status().attempt, Some(2));
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    simulation.request(None);
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn lost_status_is_made_again_from_tracking() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.edit(|job| job.status = None);
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn only_changes_of_data_fields_make_a_run_due() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    simulation.edit(|job| job.spec.active_deadline_seconds = Some(60));
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(simulation.status().observed_generation, Some(2));
    simulation.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    assert_eq!(created(&simulation.step()), 1);
}

#[test]
fn recovery_that_keeps_failing_stalls_and_a_request_starts_a_new_attempt() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    for k in 1..=5 {
        simulation.pass(120);
        simulation.step();
        let recover = simulation.last(2).expect("recover");
        assert!(
            recover
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| name.ends_with(&format!("-recover-{k}")))
        );
        simulation.fails(&recover, Exit::Transient, None);
    }
    simulation.pass(120);
    assert_eq!(created(&simulation.rest()), 0);
    assert_eq!(simulation.condition("Stalled"), ("True".to_owned(), "RecoveryFailed".to_owned()));
    assert_eq!(phase(&simulation), Phase::Failed);
    simulation.pass(1800);
    assert_eq!(created(&simulation.step()), 1, "one more after half an hour");
    let recover = simulation.last(2).expect("recover");
    simulation.fails(&recover, Exit::Transient, None);
    simulation.step();
    simulation.request_now();
    simulation.step();
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn deletion_stops_recovers_and_removes_the_finalizer() {
    let mut simulation = started();
    simulation.plans(3);
    simulation.step();
    simulation.delete_object();
    let decision = simulation.step();
    let stops = |effect: &&Effect| matches!(effect, Effect::StopJob { .. });
    assert_eq!(decision.effects.iter().filter(stops).count(), 2);
    assert_eq!(phase(&simulation), Phase::Deleting);
    simulation.job_controller();
    simulation.step();
    let given = order(&simulation.last(2).expect("recover"));
    assert!(given.last && given.aborted);
    simulation.recoveries();
    let decision = simulation.step();
    assert!(matches!(decision.effects.last(), Some(Effect::DropFinalizer)));
    assert_eq!(decision.effects.len(), 4, "three Jobs are deleted before");
    assert!(simulation.gone && simulation.jobs.is_empty());
}

#[test]
fn deletion_does_not_wait_where_nothing_can_be_recovered() {
    let mut simulation = started();
    simulation.terminating = true;
    simulation.delete_object();
    assert!(matches!(simulation.step().effects.as_slice(), [Effect::DropFinalizer]));

    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    simulation.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", ""));
    simulation.delete_object();
    simulation.step();
    simulation.pass(601);
    let decision = simulation.step();
    assert!(simulation.gone);
    assert!(
        decision.events.iter().any(|event| event.warning && event.reason == Reason::RecoveryFailed)
    );

    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    simulation.rest();
    simulation.delete_object();
    assert!(simulation.gone, "no finalizer holds a finished object");
}

#[test]
fn foreign_job_is_not_an_attempt() {
    let mut simulation = started();
    simulation.jobs[0].metadata.owner_references.as_mut().expect("owners")[0].uid =
        "other".to_owned();
    simulation.jobs[0]
        .metadata
        .labels
        .as_mut()
        .expect("labels")
        .insert("tidemark.dev/attempt".to_owned(), "7".to_owned());
    simulation.step();
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn run_without_jobs_is_recovered_before_the_next_attempt() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.step();
    assert_eq!(task(&simulation.last(2).expect("recover")).attempt, 1);
    simulation.recoveries();
    simulation.rest();
    simulation.pass(20);
    simulation.step();
    assert_eq!(simulation.status().attempt, Some(2));
}

#[test]
fn newer_release_is_left_alone() {
    let simulation = started();
    let task = task(&simulation.last(0).expect("coordinator"));
    let mut simulation = Simulation::new();
    let mut run = run_item(&task, RunState::Running, Some(1));
    run.schema += 1;
    simulation.tracking.run = Some(run);
    assert!(simulation.rest().effects.is_empty());
    assert_eq!(simulation.condition("Stalled").1, "NewerRelease");
}

#[test]
fn outcome_of_an_older_request_does_not_answer_the_current_one() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.step();
    simulation.edit(|job| job.spec.extract.extract_type = ExtractType::FE);
    simulation.publishes();
    simulation.step();
    assert_eq!(phase(&simulation), Phase::Complete);
    assert_eq!(simulation.status().observed_generation, Some(1));
    assert_eq!(created(&simulation.step()), 1);
    assert_eq!(simulation.status().observed_generation, Some(2));
}

#[test]
fn sql_of_the_manifests_own_runs_only_where_the_operator_allows_it() {
    let mut simulation = Simulation::new();
    simulation.edit(|job| job.spec.extract.filter = Some("id > 5".to_owned()));
    assert!(simulation.step().effects.iter().all(|effect| !matches!(effect, Effect::CreateJob(_))));
    let stalled = simulation.status().conditions.into_iter().find(|one| one.type_ == "Stalled");
    let stalled = stalled.expect("Stalled");
    assert_eq!(stalled.reason, "InvalidSpec");
    assert!(stalled.message.contains("--allow-where") && !stalled.message.contains("id > 5"));
    simulation.settings.allow_where = true;
    assert!(simulation.step().effects.iter().any(|effect| matches!(effect, Effect::CreateJob(_))));
}

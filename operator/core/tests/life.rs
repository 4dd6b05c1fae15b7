//! Objects that are deleted, corrected and upgraded while something of theirs is in flight.

use crds::condition::{Exit, Reason};
use crds::tracking::{PendingCleanup, RunState, TrackedOutcome};
use crds::{Phase, Report};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::{Decision, Effect};
use serde_json::json;

use crate::simulation::{Simulation, order, run_item, task};

fn created(decision: &Decision) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::CreateJob(job) => job.metadata.name.clone(),
        _ => None,
    };
    decision.effects.iter().filter_map(name).collect()
}

fn phase(simulation: &Simulation) -> Phase {
    simulation.status().phase.expect("phase")
}

fn started() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation
}

/// An attempt with two partitions whose Jobs both failed, after the coordinator had failed its run.
fn failed_by_itself() -> Simulation {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    for role in 0..2 {
        let job = simulation.last(role).expect("Job");
        simulation.fails(&job, Exit::Transient, None);
    }
    simulation.tracking.run.as_mut().expect("run").state = RunState::Failed;
    simulation
}

#[test]
fn deletion_recovers_a_run_that_its_own_coordinator_failed() {
    let mut simulation = failed_by_itself();
    simulation.delete_object();
    let made = created(&simulation.step());
    assert!(made.len() == 1 && made[0].ends_with("-recover-1"), "{made:?}");
    assert!(order(&simulation.last(2).expect("recover")).aborted);
    simulation.recoveries();
    simulation.step();
    assert!(simulation.gone);
}

#[test]
fn deletion_recovers_a_run_that_only_the_outcome_item_shows() {
    let mut simulation = failed_by_itself();
    let mut other = task(&simulation.last(0).expect("coordinator"));
    other.owner.uid = "another".to_owned();
    simulation.tracking.run = Some(run_item(&other, RunState::Running, Some(1)));
    simulation.delete_object();
    assert_eq!(created(&simulation.step()).len(), 1);
}

#[test]
fn deletion_of_an_attempt_that_claimed_nothing_is_at_once() {
    let mut simulation = started();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Permanent, None);
    simulation.delete_object();
    let decision = simulation.step();
    assert!(created(&decision).is_empty() && simulation.gone, "{decision:?}");
}

#[test]
fn deletion_finishes_the_cleanup_of_a_published_run() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    let run = simulation.tracking.run.as_mut().expect("run");
    run.pending_cleanup = Some(PendingCleanup { pointer: true, removals: Vec::new() });
    simulation.delete_object();
    assert_eq!(created(&simulation.step()).len(), 1);
    assert!(simulation.recoveries());
    assert_eq!(simulation.tracking.run.as_ref().expect("run").pending_cleanup, None);
    simulation.step();
    assert!(simulation.gone);
}

/// The Jobs of the attempt before are still there, and recovered. Found by the model.
#[test]
fn deletion_recovers_the_run_of_a_later_attempt_whose_jobs_were_deleted() {
    let mut simulation = started();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    simulation.step();
    simulation.recoveries();
    simulation.pass(60);
    simulation.rest();
    simulation.plans(1);
    let second = simulation.last(0).and_then(|job| job.metadata.name).expect("second coordinator");
    assert_ne!(Some(&second), job.metadata.name.as_ref());
    simulation.delete(&second);
    simulation.delete_object();
    simulation.step();
    assert!(!simulation.gone, "its run is open");
    assert_eq!(task(&simulation.last(2).expect("recover")).attempt, 2);
    assert!(simulation.recoveries());
    simulation.step();
    assert!(simulation.gone);
    assert!(simulation.tracking.run.is_some_and(|run| run.state == RunState::Aborted));
}

#[test]
fn published_run_whose_recovery_keeps_failing_is_not_reported_as_failed() {
    recover_keeps_failing(|_| {});
}

#[test]
fn published_run_whose_coordinator_failed_later_is_not_reported_as_failed() {
    recover_keeps_failing(|simulation| {
        let job = simulation.last(0).expect("coordinator");
        let job = simulation.named(&job.metadata.name.expect("name")).expect("coordinator");
        job.status.as_mut().expect("status").conditions = None;
        let job = job.clone();
        simulation.fails(&job, Exit::Stopped, None);
    });
}

/// A second pod of the coordinator, cut off all the while, may still publish the run. Found by the
/// model.
#[test]
fn request_that_was_given_up_and_published_late_is_not_failed_any_more() {
    let mut simulation = started();
    simulation.plans(1);
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    simulation.step();
    for _ in 1..=5 {
        let recover = simulation.last(2).expect("recover");
        simulation.fails(&recover, Exit::Transient, None);
        simulation.pass(120);
        simulation.step();
    }
    simulation.rest();
    let failed = simulation.status().outcome.map(|outcome| outcome.result);
    assert_eq!((phase(&simulation), failed), (Phase::Failed, Some(TrackedOutcome::Failed)));
    let (jobs, pods) = (simulation.jobs.clone(), simulation.pods.clone());
    simulation.publishes();
    (simulation.jobs, simulation.pods) = (jobs, pods);
    simulation.tracking.run.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: true, removals: Vec::new() });
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Committing);
    assert_eq!(simulation.condition("Committed").0, "True");
    assert_eq!(simulation.status().outcome, None, "the outcome was Failed, and is not any more");
    simulation.pass(1800);
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
}

fn recover_keeps_failing(change: impl FnOnce(&mut Simulation)) {
    let mut simulation = started();
    simulation.plans(1);
    simulation.publishes();
    change(&mut simulation);
    simulation.tracking.run.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: true, removals: Vec::new() });
    for _ in 1..=5 {
        simulation.pass(120);
        simulation.step();
        let recover = simulation.last(2).expect("recover");
        simulation.fails(&recover, Exit::Transient, None);
    }
    simulation.pass(120);
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Committing);
    assert_eq!(simulation.condition("Committed").0, "True");
    assert_eq!(simulation.condition("Complete").0, "False");
    assert_eq!(simulation.condition("Stalled").0, "True");
    assert_eq!(simulation.condition("Failed").0, "False");
    simulation.pass(1800);
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
}

#[test]
fn refused_extract_job_yields_and_is_retried() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step_refused("exceeded quota: jobs");
    assert_eq!(simulation.condition("Reconciling").1, "PodNotStarted");
    simulation.pass(899);
    assert_eq!(
        created(&simulation.decide(&simulation.job.clone())).len(),
        1,
        "it is tried again till then"
    );
    simulation.pass(2);
    simulation.step();
    assert_eq!(simulation.condition("Reconciling").1, "ExtractNotStarted");
    simulation.job_controller();
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!((phase(&simulation), simulation.status().retry), (Phase::Waiting, None));
    simulation.pass(61);
    simulation.step();
    assert_eq!((phase(&simulation), simulation.status().attempt), (Phase::Planning, Some(2)));
}

#[test]
fn endpoint_changed_by_an_upgrade_does_not_stall_a_run() {
    let mut simulation = Simulation::new();
    simulation.settings.tracking.endpoint = Some("http://old:8000".to_owned());
    simulation.step();
    simulation.settings.tracking.endpoint = Some("http://new:8000".to_owned());
    simulation.plans(1);
    simulation.step();
    assert_eq!(phase(&simulation), Phase::Running);
    simulation.publishes();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
    simulation.request_now();
    simulation.step();
    let task = task(&simulation.last(0).expect("coordinator"));
    assert_eq!(task.tracking.endpoint.as_deref(), Some("http://new:8000"));
}

#[test]
fn endpoint_that_is_not_allowed_is_not_read_for_a_job() {
    let mut simulation = Simulation::new();
    simulation.settings.tracking.endpoint = Some("http://forged:8000".to_owned());
    simulation.step();
    simulation.settings.tracking.endpoint = None;
    simulation.edit(|job| job.status.as_mut().expect("status").tracking_endpoint = None);
    simulation.plans(1);
    let reads = simulation.reads;
    simulation.step();
    assert_eq!(simulation.reads, reads);
    assert_eq!(simulation.condition("Stalled").1, "TrackingNotAllowed");
}

#[test]
fn tracking_table_changed_by_an_upgrade_is_reported_and_the_old_one_read_where_allowed() {
    let mut simulation = started();
    simulation.settings.tracking.table = Some("other".to_owned());
    simulation.plans(1);
    simulation.step();
    assert_eq!(simulation.condition("Stalled").1, "TrackingChanged");
    simulation.settings.tracking.allowed_tables = vec!["marks".to_owned()];
    simulation.publishes();
    simulation.rest();
    assert_eq!(phase(&simulation), Phase::Complete);
    simulation.request_now();
    simulation.step();
    assert_eq!(simulation.condition("Stalled").1, "TrackingChanged");
}

#[test]
fn coordinator_that_never_started_is_deleted_once_the_object_is_corrected() {
    for correct in [
        |simulation: &mut Simulation| simulation.edit(|job| job.spec.retry = None),
        |simulation: &mut Simulation| drop(simulation.request_now()),
    ] {
        let mut simulation = started();
        assert!(simulation.step().effects.is_empty());
        correct(&mut simulation);
        assert!(simulation.step().effects.is_empty(), "it may still start");
        simulation.pass(31);
        let decision = simulation.step();
        assert!(matches!(decision.effects.as_slice(), [Effect::DeleteJob { .. }]), "{decision:?}");
        let made = created(&simulation.step());
        assert!(made.len() == 1 && !made[0].contains("recover"), "{made:?}");
        assert_eq!((simulation.status().attempt, simulation.status().retry), (Some(2), None));
    }
}

/// The kubelet reports a pod that is deleted before it started as Failed, while its Job goes.
#[test]
fn coordinator_that_yields_does_not_count_as_lost_while_it_is_deleted() {
    let mut simulation = started();
    simulation.edit(|job| job.spec.retry = None);
    simulation.pass(31);
    let job = simulation.last(0).expect("coordinator");
    // what the server does in the foreground while the pod ends
    let name = job.metadata.name.clone().expect("name");
    simulation.named(&name).expect("Job").metadata.deletion_timestamp = Some(Time(simulation.now));
    let ended = json!({ "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null });
    let container = json!({
        "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": ended },
    });
    simulation.pod(&job, json!({ "phase": "Failed", "containerStatuses": [container] }));
    let decision = simulation.step();
    assert!(decision.effects.is_empty(), "{decision:?}");
    simulation.delete(&name);
    let made = created(&simulation.step());
    assert!(made.len() == 1 && !made[0].contains("recover"), "{made:?}");
}

#[test]
fn coordinator_that_started_is_not_disturbed_by_an_edit() {
    let mut simulation = started();
    simulation.plans(1);
    simulation.edit(|job| job.spec.retry = None);
    assert!(simulation.step().effects.is_empty());
    assert_eq!(phase(&simulation), Phase::Running);
}

#[test]
fn recovery_that_failed_reports_its_own_error() {
    let mut simulation = started();
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(
        &job,
        Exit::Transient,
        Some(&Report::new(Reason::DatabaseFailed, "it broke", "")),
    );
    for _ in 1..=5 {
        simulation.pass(120);
        simulation.step();
        let recover = simulation.last(2).expect("recover");
        let why = Report::new(Reason::StorageDenied, "listing is refused", "Grant s3:ListBucket.");
        simulation.fails(&recover, Exit::Permanent, Some(&why));
    }
    simulation.pass(120);
    simulation.rest();
    let status = simulation.status();
    let stalled = status.conditions.iter().find(|one| one.type_ == "Stalled").expect("Stalled");
    assert_eq!(stalled.reason, "RecoveryFailed");
    for part in
        ["StorageDenied: listing is refused", "it broke", "remedy: Grant s3:ListBucket. Then"]
    {
        assert!(stalled.message.contains(part), "{}", stalled.message);
    }
}

#[test]
fn objects_that_fail_together_retry_at_different_times() {
    let pause = |uid: &str| {
        let mut simulation = Simulation::new();
        simulation.job.metadata.uid = Some(uid.to_owned());
        simulation.unreadable =
            Some(Report::new(Reason::TrackingUnreachable, "no answer", "Look."));
        simulation.step().requeue
    };
    let pauses: Vec<_> = (0..8).map(|number| pause(&format!("uid-{number}"))).collect();
    assert!(pauses.iter().all(|pause| (10..=20).contains(&pause.as_secs())), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
}

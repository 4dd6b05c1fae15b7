//! Objects that are deleted, mended and upgraded while something of theirs is under way.

use crds::condition::{Exit, Reason};
use crds::tracking::{PendingCleanup, RunState, TrackedOutcome};
use crds::{Phase, Report};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::{Decision, Effect};
use serde_json::json;

use crate::world::{World, order, run_item, task};

fn created(decision: &Decision) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::CreateJob(job) => job.metadata.name.clone(),
        _ => None,
    };
    decision.effects.iter().filter_map(name).collect()
}

fn phase(world: &World) -> Phase {
    world.status().phase.expect("phase")
}

fn started() -> World {
    let mut world = World::new();
    world.step();
    world
}

/// An attempt with two partitions whose Jobs both failed, after the coordinator had failed its run.
fn failed_by_itself() -> World {
    let mut world = started();
    world.plans(2);
    world.step();
    for role in 0..2 {
        let job = world.last(role).expect("Job");
        world.fails(&job, Exit::Transient, None);
    }
    world.tracking.r.as_mut().expect("run").state = RunState::Failed;
    world
}

#[test]
fn deletion_recovers_a_run_that_its_own_coordinator_failed() {
    let mut world = failed_by_itself();
    world.delete_object();
    let made = created(&world.step());
    assert!(made.len() == 1 && made[0].ends_with("-recover-1"), "{made:?}");
    assert!(order(&world.last(2).expect("recover")).aborted);
    world.recoveries();
    world.step();
    assert!(world.gone);
}

#[test]
fn deletion_recovers_a_run_of_which_only_the_outcome_still_tells() {
    let mut world = failed_by_itself();
    let mut other = task(&world.last(0).expect("coordinator"));
    other.owner.uid = "another".to_owned();
    world.tracking.r = Some(run_item(&other, RunState::Running, Some(1)));
    world.delete_object();
    assert_eq!(created(&world.step()).len(), 1);
}

#[test]
fn deletion_of_an_attempt_that_claimed_nothing_is_at_once() {
    let mut world = started();
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Permanent, None);
    world.delete_object();
    let decision = world.step();
    assert!(created(&decision).is_empty() && world.gone, "{decision:?}");
}

#[test]
fn deletion_does_what_is_left_to_do_after_publication() {
    let mut world = started();
    world.plans(1);
    world.publishes();
    let run = world.tracking.r.as_mut().expect("run");
    run.pending_cleanup = Some(PendingCleanup { pointer: true, removals: Vec::new() });
    world.delete_object();
    assert_eq!(created(&world.step()).len(), 1);
    assert!(world.recoveries());
    assert_eq!(world.tracking.r.as_ref().expect("run").pending_cleanup, None);
    world.step();
    assert!(world.gone);
}

/// The Jobs of the attempt before are still there, and recovered. Found by the model.
#[test]
fn deletion_recovers_the_run_of_a_later_attempt_whose_jobs_were_deleted() {
    let mut world = started();
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, None);
    world.step();
    world.recoveries();
    world.pass(60);
    world.rest();
    world.plans(1);
    let second = world.last(0).and_then(|job| job.metadata.name).expect("second coordinator");
    assert_ne!(Some(&second), job.metadata.name.as_ref());
    world.delete(&second);
    world.delete_object();
    world.step();
    assert!(!world.gone, "its run is open");
    assert_eq!(task(&world.last(2).expect("recover")).attempt, 2);
    assert!(world.recoveries());
    world.step();
    assert!(world.gone);
    assert!(world.tracking.r.is_some_and(|run| run.state == RunState::Aborted));
}

#[test]
fn published_run_whose_recovery_keeps_failing_is_not_called_failed() {
    recover_keeps_failing(|_| {});
}

#[test]
fn published_run_of_a_coordinator_that_failed_after_it_is_not_called_failed() {
    recover_keeps_failing(|world| {
        let job = world.last(0).expect("coordinator");
        let job = world.named(&job.metadata.name.expect("name")).expect("coordinator");
        job.status.as_mut().expect("status").conditions = None;
        let job = job.clone();
        world.fails(&job, Exit::Stopped, None);
    });
}

/// A second pod of the coordinator, cut off all the while, may still publish the run. Found by the
/// model.
#[test]
fn request_that_was_given_up_and_published_late_is_not_failed_any_more() {
    let mut world = started();
    world.plans(1);
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, None);
    world.step();
    for _ in 1..=5 {
        let recover = world.last(2).expect("recover");
        world.fails(&recover, Exit::Transient, None);
        world.pass(120);
        world.step();
    }
    world.rest();
    let failed = world.status().outcome.map(|outcome| outcome.result);
    assert_eq!((phase(&world), failed), (Phase::Failed, Some(TrackedOutcome::Failed)));
    let (jobs, pods) = (world.jobs.clone(), world.pods.clone());
    world.publishes();
    (world.jobs, world.pods) = (jobs, pods);
    world.tracking.r.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: true, removals: Vec::new() });
    world.rest();
    assert_eq!(phase(&world), Phase::Committing);
    assert_eq!(world.condition("Committed").0, "True");
    assert_eq!(world.status().outcome, None, "the outcome was Failed, and is not any more");
    world.pass(1800);
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
}

fn recover_keeps_failing(change: impl FnOnce(&mut World)) {
    let mut world = started();
    world.plans(1);
    world.publishes();
    change(&mut world);
    world.tracking.r.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: true, removals: Vec::new() });
    for _ in 1..=5 {
        world.pass(120);
        world.step();
        let recover = world.last(2).expect("recover");
        world.fails(&recover, Exit::Transient, None);
    }
    world.pass(120);
    world.rest();
    assert_eq!(phase(&world), Phase::Committing);
    assert_eq!(world.condition("Committed").0, "True");
    assert_eq!(world.condition("Complete").0, "False");
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.condition("Failed").0, "False");
    world.pass(1800);
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
}

#[test]
fn refused_extract_job_makes_way_and_comes_back() {
    let mut world = started();
    world.plans(2);
    world.step_refused("exceeded quota: jobs");
    assert_eq!(world.condition("Reconciling").1, "PodNotStarted");
    world.pass(899);
    assert_eq!(created(&world.decide(&world.job.clone())).len(), 1, "it is tried again till then");
    world.pass(2);
    world.step();
    assert_eq!(world.condition("Reconciling").1, "ExtractNotStarted");
    world.job_controller();
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!((phase(&world), world.status().retry), (Phase::Waiting, None));
    world.pass(61);
    world.step();
    assert_eq!((phase(&world), world.status().attempt), (Phase::Planning, Some(2)));
}

#[test]
fn endpoint_changed_by_an_upgrade_does_not_stall_a_run() {
    let mut world = World::new();
    world.settings.tracking.endpoint = Some("http://old:8000".to_owned());
    world.step();
    world.settings.tracking.endpoint = Some("http://new:8000".to_owned());
    world.plans(1);
    world.step();
    assert_eq!(phase(&world), Phase::Running);
    world.publishes();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
    world.request_now();
    world.step();
    let task = task(&world.last(0).expect("coordinator"));
    assert_eq!(task.tracking.endpoint.as_deref(), Some("http://new:8000"));
}

#[test]
fn endpoint_that_nobody_allowed_is_not_read_for_a_job() {
    let mut world = World::new();
    world.settings.tracking.endpoint = Some("http://forged:8000".to_owned());
    world.step();
    world.settings.tracking.endpoint = None;
    world.edit(|job| job.status.as_mut().expect("status").tracking_endpoint = None);
    world.plans(1);
    let reads = world.reads;
    world.step();
    assert_eq!(world.reads, reads);
    assert_eq!(world.condition("Stalled").1, "TrackingNotAllowed");
}

#[test]
fn table_changed_by_an_upgrade_is_said_and_the_old_one_is_read_where_it_is_allowed() {
    let mut world = started();
    world.settings.tracking.table = Some("other".to_owned());
    world.plans(1);
    world.step();
    assert_eq!(world.condition("Stalled").1, "TrackingChanged");
    world.settings.tracking.allowed_tables = vec!["marks".to_owned()];
    world.publishes();
    world.rest();
    assert_eq!(phase(&world), Phase::Complete);
    world.request_now();
    world.step();
    assert_eq!(world.condition("Stalled").1, "TrackingChanged");
}

#[test]
fn coordinator_that_never_started_makes_room_once_the_object_is_mended() {
    for mend in [
        |world: &mut World| world.edit(|job| job.spec.retry = None),
        |world: &mut World| drop(world.request_now()),
    ] {
        let mut world = started();
        assert!(world.step().effects.is_empty());
        mend(&mut world);
        assert!(world.step().effects.is_empty(), "it may still start");
        world.pass(31);
        let decision = world.step();
        assert!(matches!(decision.effects.as_slice(), [Effect::DeleteJob { .. }]), "{decision:?}");
        let made = created(&world.step());
        assert!(made.len() == 1 && !made[0].contains("recover"), "{made:?}");
        assert_eq!((world.status().attempt, world.status().retry), (Some(2), None));
    }
}

/// The kubelet reports a pod that is deleted before it started as Failed, while its Job goes.
#[test]
fn coordinator_that_made_room_is_not_taken_for_lost_while_it_goes() {
    let mut world = started();
    world.edit(|job| job.spec.retry = None);
    world.pass(31);
    let job = world.last(0).expect("coordinator");
    // what the server does in the foreground while the pod ends
    let name = job.metadata.name.clone().expect("name");
    world.named(&name).expect("Job").metadata.deletion_timestamp = Some(Time(world.now));
    let ended = json!({ "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null });
    let container = json!({
        "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": ended },
    });
    world.pod(&job, json!({ "phase": "Failed", "containerStatuses": [container] }));
    let decision = world.step();
    assert!(decision.effects.is_empty(), "{decision:?}");
    world.delete(&name);
    let made = created(&world.step());
    assert!(made.len() == 1 && !made[0].contains("recover"), "{made:?}");
}

#[test]
fn coordinator_that_started_is_not_disturbed_by_an_edit() {
    let mut world = started();
    world.plans(1);
    world.edit(|job| job.spec.retry = None);
    assert!(world.step().effects.is_empty());
    assert_eq!(phase(&world), Phase::Running);
}

#[test]
fn recovery_that_failed_reports_its_own_error() {
    let mut world = started();
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, Some(&Report::new(Reason::DatabaseFailed, "it broke", "")));
    for _ in 1..=5 {
        world.pass(120);
        world.step();
        let recover = world.last(2).expect("recover");
        let why = Report::new(Reason::StorageDenied, "listing is refused", "grant s3:ListBucket");
        world.fails(&recover, Exit::Permanent, Some(&why));
    }
    world.pass(120);
    world.rest();
    let status = world.status();
    let stalled = status.conditions.iter().find(|one| one.type_ == "Stalled").expect("Stalled");
    assert_eq!(stalled.reason, "RecoveryFailed");
    for part in ["StorageDenied: listing is refused", "it broke", "remedy: grant s3:ListBucket"] {
        assert!(stalled.message.contains(part), "{}", stalled.message);
    }
}

#[test]
fn objects_that_meet_an_outage_together_do_not_come_back_together() {
    let pause = |uid: &str| {
        let mut world = World::new();
        world.job.metadata.uid = Some(uid.to_owned());
        world.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", "look"));
        world.step().requeue
    };
    let pauses: Vec<_> = (0..8).map(|number| pause(&format!("uid-{number}"))).collect();
    assert!(pauses.iter().all(|pause| (10..=20).contains(&pause.as_secs())), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
}

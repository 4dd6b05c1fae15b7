//! Objects that are deleted, edited or fail while files that they replaced are still to be removed.

use crds::condition::Exit;
use crds::task::RecoverOrder;
use crds::tracking::{PendingCleanup, Removal, RunState};
use crds::{Phase, Reason, Report};
use k8s_openapi::api::batch::v1::Job;
use operator_core::Effect;
use operator_core::attempt::{is_made_for, is_owned_by};
use operator_core::labels::{START_AT, UID as UID_LABEL};
use operator_core::postponed::{Start, start};

use crate::world::{UID, World, order, removal, run_item, task};

const HOUR: u64 = 3600;

/// Complete, with a removal of its own that is due in an hour.
fn complete() -> World {
    let mut world = World::new();
    world.step();
    world.plans(1);
    world.publishes();
    let due = world.now.as_second() + 3600;
    postponed(&mut world, vec![removal(due)]);
    world.rest();
    assert_eq!(world.status().phase, Some(Phase::Complete));
    world
}

fn postponed(world: &mut World, removals: Vec<Removal>) {
    world.tracking.r.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: false, removals });
}

fn left_behind(world: &World) -> Vec<Job> {
    let left = |job: &&Job| job.metadata.owner_references.is_none();
    world.jobs.iter().filter(left).cloned().collect()
}

#[test]
fn deletion_before_a_removal_is_due_is_at_once_and_leaves_a_job_that_waits_for_it() {
    let mut world = complete();
    let due = world.status().removal_due.expect("it is said").0;
    // the Jobs of the run have expired long ago
    world.pass(HOUR / 2);
    world.jobs.clear();
    world.pods.clear();
    world.rest();
    world.delete_object();
    let decision = world.step();
    assert!(world.gone, "nobody waits for the removal");
    let told =
        decision.events.iter().any(|event| event.message.contains("removes the replaced files"));
    assert!(told, "{:?}", decision.events);
    let left = left_behind(&world);
    assert_eq!(left.len(), 1, "{:?}", world.made);
    let job = &left[0];
    let spec = job.spec.as_ref().expect("spec");
    assert_eq!(spec.suspend, Some(true), "no pod before its time");
    assert!(spec.ttl_seconds_after_finished.is_some(), "nobody else lets it go");
    assert_eq!(job.metadata.annotations.as_ref().expect("notes")[START_AT], due.to_string());
    let RecoverOrder { last, aborted, .. } = order(job);
    assert!(!last && !aborted, "the outcome stays as it is");
    assert_eq!(task(job).owner.uid, UID);
    assert!(matches!(start(job, world.now), Start::In(_)));
    world.pass(HOUR);
    assert_eq!(start(job, world.now), Start::Now);
}

#[test]
fn job_left_behind_is_known_again_and_belongs_to_no_attempt() {
    let mut world = complete();
    world.delete_object();
    let copy = world.job.clone();
    let decision = world.decide(&copy);
    // the operator dies right after it made the Job
    world.apply(&copy, &decision, 1);
    assert!(!world.gone);
    let again = world.step();
    assert!(world.gone && left_behind(&world).len() == 1, "{:?}", world.made);
    let made = |effects: &[Effect]| -> Vec<String> {
        let name = |effect: &Effect| match effect {
            Effect::CreateJob(job) => job.metadata.name.clone(),
            _ => None,
        };
        effects.iter().filter_map(name).collect()
    };
    assert_eq!(made(&decision.effects), made(&again.effects));
    let job = &left_behind(&world)[0];
    assert!(is_made_for(job, UID) && !is_owned_by(job, UID) && !is_made_for(job, "another"));
    assert_eq!(job.metadata.labels.as_ref().expect("labels")[UID_LABEL], UID);
}

#[test]
fn removal_at_another_uri_beside_a_run_of_another_object_is_left_to_a_job_too() {
    let mut world = complete();
    let mut other = task(&world.last(0).expect("coordinator"));
    other.owner.uid = "of-another".to_owned();
    let kept = world.tracking.r.as_ref().and_then(|run| run.pending_cleanup.clone());
    let mut run = run_item(&other, RunState::Running, Some(1));
    (run.uri, run.pending_cleanup) = ("s3://lake/elsewhere".to_owned(), kept);
    world.tracking.r = Some(run);
    world.delete_object();
    world.step();
    assert!(world.gone && left_behind(&world).len() == 1);
}

#[test]
fn removal_of_another_object_is_not_this_ones_to_leave() {
    let mut world = complete();
    let due = world.now.as_second() + 3600;
    postponed(&mut world, vec![Removal { uid: "of-another".to_owned(), ..removal(due) }]);
    world.delete_object();
    world.step();
    assert!(world.gone && left_behind(&world).is_empty());
}

#[test]
fn removal_that_a_later_claim_has_done_leaves_no_job() {
    let mut world = complete();
    world.tracking.r.as_mut().expect("run").pending_cleanup = None;
    world.delete_object();
    world.step();
    assert!(world.gone && left_behind(&world).is_empty());
}

#[test]
fn status_says_when_a_removal_is_due_where_the_tracking_table_cannot_be_read() {
    let mut world = complete();
    let due = world.status().removal_due.expect("it is said").0;
    world.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", ""));
    world.delete_object();
    world.step();
    assert!(world.gone);
    let job = &left_behind(&world)[0];
    assert_eq!(job.metadata.annotations.as_ref().expect("notes")[START_AT], due.to_string());
}

#[test]
fn removal_outlives_a_failed_run_after_it_and_the_deletion_of_the_object() {
    let mut world = complete();
    world.request_now();
    world.step();
    world.plans(1);
    let due = world.now.as_second() + 3600;
    postponed(&mut world, vec![removal(due)]);
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Permanent, None);
    world.step();
    assert!(world.recoveries());
    world.rest();
    assert_eq!(world.status().phase, Some(Phase::Failed));
    world.delete_object();
    world.step();
    assert!(world.gone && left_behind(&world).len() == 1);
}

#[test]
fn deletion_in_mid_run_recovers_it_and_leaves_the_earlier_removal_to_a_job() {
    let mut world = complete();
    world.request_now();
    world.step();
    world.plans(1);
    let due = world.now.as_second() + 3600;
    postponed(&mut world, vec![removal(due)]);
    world.delete_object();
    world.step();
    world.job_controller();
    world.step();
    assert!(world.recoveries());
    world.step();
    assert!(world.gone && left_behind(&world).len() == 1, "{:?}", world.made);
}

#[test]
fn finalizer_stays_until_nothing_is_left_to_remove() {
    let mut world = complete();
    assert!(world.job.metadata.finalizers.is_some());
    world.pass(HOUR + 1);
    world.step();
    assert!(world.recoveries());
    world.rest();
    assert_eq!(world.status().removal_due, None);
    assert!(world.job.metadata.finalizers.is_none());
    world.delete_object();
    assert!(world.gone && left_behind(&world).is_empty());
}

#[test]
fn in_a_namespace_that_goes_nothing_is_left_behind() {
    let mut world = complete();
    world.terminating = true;
    world.delete_object();
    world.step();
    assert!(world.gone && left_behind(&world).is_empty());
}

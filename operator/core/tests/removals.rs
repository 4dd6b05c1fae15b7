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

use crate::simulation::{Simulation, UID, order, removal, run_item, task};

const HOUR: u64 = 3600;

/// Complete, with a removal of its own that is due in an hour.
fn complete() -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    simulation.publishes();
    let due = simulation.now.as_second() + 3600;
    postponed(&mut simulation, vec![removal(due)]);
    simulation.rest();
    assert_eq!(simulation.status().phase, Some(Phase::Complete));
    simulation
}

fn postponed(simulation: &mut Simulation, removals: Vec<Removal>) {
    simulation.tracking.run.as_mut().expect("run").pending_cleanup =
        Some(PendingCleanup { pointer: false, removals });
}

fn left_behind(simulation: &Simulation) -> Vec<Job> {
    let left = |job: &&Job| job.metadata.owner_references.is_none();
    simulation.jobs.iter().filter(left).cloned().collect()
}

#[test]
fn deletion_before_a_removal_is_due_is_immediate_and_leaves_a_postponed_job() {
    let mut simulation = complete();
    let due = simulation.status().removal_due.expect("it is said").0;
    // the Jobs of the run have expired long ago
    simulation.pass(HOUR / 2);
    simulation.jobs.clear();
    simulation.pods.clear();
    simulation.rest();
    simulation.delete_object();
    let decision = simulation.step();
    assert!(simulation.gone, "nobody waits for the removal");
    let reported =
        decision.events.iter().any(|event| event.message.contains("removes the replaced files"));
    assert!(reported, "{:?}", decision.events);
    let left = left_behind(&simulation);
    assert_eq!(left.len(), 1, "{:?}", simulation.made);
    let job = &left[0];
    let spec = job.spec.as_ref().expect("spec");
    assert_eq!(spec.suspend, Some(true), "no pod before its time");
    assert!(spec.ttl_seconds_after_finished.is_some(), "nobody else lets it go");
    assert_eq!(job.metadata.annotations.as_ref().expect("notes")[START_AT], due.to_string());
    let RecoverOrder { last, aborted, .. } = order(job);
    assert!(!last && !aborted, "the outcome stays as it is");
    assert_eq!(task(job).owner.uid, UID);
    assert!(matches!(start(job, simulation.now), Start::In(_)));
    simulation.pass(HOUR);
    assert_eq!(start(job, simulation.now), Start::Now);
}

#[test]
fn job_left_behind_is_known_again_and_belongs_to_no_attempt() {
    let mut simulation = complete();
    simulation.delete_object();
    let copy = simulation.job.clone();
    let decision = simulation.decide(&copy);
    // the operator dies right after it made the Job
    simulation.apply(&copy, &decision, 1);
    assert!(!simulation.gone);
    let again = simulation.step();
    assert!(simulation.gone && left_behind(&simulation).len() == 1, "{:?}", simulation.made);
    let made = |effects: &[Effect]| -> Vec<String> {
        let name = |effect: &Effect| match effect {
            Effect::CreateJob(job) => job.metadata.name.clone(),
            _ => None,
        };
        effects.iter().filter_map(name).collect()
    };
    assert_eq!(made(&decision.effects), made(&again.effects));
    let job = &left_behind(&simulation)[0];
    assert!(is_made_for(job, UID) && !is_owned_by(job, UID) && !is_made_for(job, "another"));
    assert_eq!(job.metadata.labels.as_ref().expect("labels")[UID_LABEL], UID);
}

#[test]
fn removal_at_another_uri_during_a_run_of_another_object_is_left_to_a_job() {
    let mut simulation = complete();
    let mut other = task(&simulation.last(0).expect("coordinator"));
    other.owner.uid = "of-another".to_owned();
    let kept = simulation.tracking.run.as_ref().and_then(|run| run.pending_cleanup.clone());
    let mut run = run_item(&other, RunState::Running, Some(1));
    (run.uri, run.pending_cleanup) = ("s3://lake/elsewhere".to_owned(), kept);
    simulation.tracking.run = Some(run);
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).len() == 1);
}

#[test]
fn removal_of_another_object_is_not_this_ones_to_leave() {
    let mut simulation = complete();
    let due = simulation.now.as_second() + 3600;
    postponed(&mut simulation, vec![Removal { uid: "of-another".to_owned(), ..removal(due) }]);
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).is_empty());
}

#[test]
fn removal_that_a_later_claim_has_done_leaves_no_job() {
    let mut simulation = complete();
    simulation.tracking.run.as_mut().expect("run").pending_cleanup = None;
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).is_empty());
}

#[test]
fn status_reports_when_a_removal_is_due_while_the_tracking_table_is_unreadable() {
    let mut simulation = complete();
    let due = simulation.status().removal_due.expect("it is said").0;
    simulation.unreadable = Some(Report::new(Reason::TrackingUnreachable, "no answer", ""));
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone);
    let job = &left_behind(&simulation)[0];
    assert_eq!(job.metadata.annotations.as_ref().expect("notes")[START_AT], due.to_string());
}

#[test]
fn removal_outlives_a_failed_run_after_it_and_the_deletion_of_the_object() {
    let mut simulation = complete();
    simulation.request_now();
    simulation.step();
    simulation.plans(1);
    let due = simulation.now.as_second() + 3600;
    postponed(&mut simulation, vec![removal(due)]);
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Permanent, None);
    simulation.step();
    assert!(simulation.recoveries());
    simulation.rest();
    assert_eq!(simulation.status().phase, Some(Phase::Failed));
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).len() == 1);
}

#[test]
fn deletion_during_a_run_recovers_it_and_leaves_the_earlier_removal_to_a_job() {
    let mut simulation = complete();
    simulation.request_now();
    simulation.step();
    simulation.plans(1);
    let due = simulation.now.as_second() + 3600;
    postponed(&mut simulation, vec![removal(due)]);
    simulation.delete_object();
    simulation.step();
    simulation.job_controller();
    simulation.step();
    assert!(simulation.recoveries());
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).len() == 1, "{:?}", simulation.made);
}

#[test]
fn finalizer_stays_until_nothing_is_left_to_remove() {
    let mut simulation = complete();
    assert!(simulation.job.metadata.finalizers.is_some());
    simulation.pass(HOUR + 1);
    simulation.step();
    assert!(simulation.recoveries());
    simulation.rest();
    assert_eq!(simulation.status().removal_due, None);
    assert!(simulation.job.metadata.finalizers.is_none());
    simulation.delete_object();
    assert!(simulation.gone && left_behind(&simulation).is_empty());
}

#[test]
fn deletion_in_a_terminating_namespace_leaves_no_job() {
    let mut simulation = complete();
    simulation.terminating = true;
    simulation.delete_object();
    simulation.step();
    assert!(simulation.gone && left_behind(&simulation).is_empty());
}

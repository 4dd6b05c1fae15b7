//! Pods that do not start, partitions that leave no record: what the operator makes of silence.

use crds::Phase;
use operator_core::Effect;
use operator_core::observed::ClusterWarning;
use serde_json::json;

use crate::flow::{phase, started};

#[test]
fn missing_record_is_found_after_the_second_renewal() {
    let mut world = started();
    world.plans(2);
    world.step();
    let extract = world.last(1).expect("extract");
    world.finish(&extract, "Complete", "CompletionsReached");
    let decision = world.step();
    assert!(matches!(decision.effects.as_slice(), [Effect::RecordRev { rev: 1, .. }]));
    assert_eq!(phase(&world), Phase::Committing);
    assert!(world.step().effects.is_empty());
    let run = world.tracking.r.as_mut().expect("run");
    (run.rev, run.records) = (2, 1);
    world.step();
    // its count may be from before the last partition ended
    assert_eq!(world.condition("Reconciling").1, "Committing");
    let run = world.tracking.r.as_mut().expect("run");
    (run.rev, run.records) = (3, 1);
    world.step();
    assert_eq!(world.condition("Reconciling").1, "RecordMissing");
}

#[test]
fn renewals_that_stop_are_a_missing_record_too() {
    let mut world = started();
    world.plans(2);
    world.step();
    let extract = world.last(1).expect("extract");
    world.finish(&extract, "Complete", "CompletionsReached");
    world.rest();
    world.pass(599);
    assert!(world.step().effects.is_empty());
    world.pass(2);
    assert!(!world.step().effects.is_empty());
}

#[test]
fn coordinator_that_starves_its_own_pods_makes_way() {
    let mut world = started();
    world.plans(2);
    world.step();
    world.pass(899);
    assert!(world.step().effects.is_empty());
    world.pass(2);
    world.step();
    assert_eq!(world.condition("Reconciling").1, "ExtractNotStarted");
    world.job_controller();
    world.step();
    world.recoveries();
    world.rest();
    assert_eq!((phase(&world), world.status().retry), (Phase::Waiting, None));
}

#[test]
fn pods_that_do_not_start_say_why() {
    let mut world = started();
    let job = world.last(0).expect("coordinator");
    world.pod(&job, json!({ "phase": "Pending" }));
    world.warnings = vec![ClusterWarning {
        reason: "FailedMount".to_owned(),
        message:
            "MountVolume.SetUp failed for volume \"credentials\": secret \"shop-db\" not found"
                .to_owned(),
    }];
    world.step();
    assert_eq!(world.condition("Planned").1, "Planning");
    world.pass(31);
    world.step();
    assert_eq!(world.condition("Planned"), ("False".to_owned(), "CredentialsMissing".to_owned()));
    let waiting = json!({ "phase": "Pending", "containerStatuses": [{
        "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } },
    }] });
    world.pod(&job, waiting);
    world.step();
    assert_eq!(world.condition("Planned").1, "PodNotStarted");
}

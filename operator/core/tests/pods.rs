//! Pods that do not start, partitions that leave no record: what the operator makes of silence.

use crds::condition::Exit;
use crds::{Phase, Reason, Report};
use operator_core::Effect;
use operator_core::observed::ClusterWarning;
use serde_json::json;

use crate::flow::{phase, started};
use crate::simulation::Simulation;

#[test]
fn missing_record_is_found_after_the_second_renewal() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    let extract = simulation.last(1).expect("extract");
    simulation.finish(&extract, "Complete", "CompletionsReached");
    let decision = simulation.step();
    assert!(matches!(decision.effects.as_slice(), [Effect::RecordRevision { revision: 1, .. }]));
    assert_eq!(phase(&simulation), Phase::Committing);
    assert!(simulation.step().effects.is_empty());
    let run = simulation.tracking.run.as_mut().expect("run");
    (run.revision, run.records) = (2, 1);
    simulation.step();
    // its count may be from before the last partition ended
    assert_eq!(simulation.condition("Reconciling").1, "Committing");
    let run = simulation.tracking.run.as_mut().expect("run");
    (run.revision, run.records) = (3, 1);
    simulation.step();
    assert_eq!(simulation.condition("Reconciling").1, "RecordMissing");
}

#[test]
fn renewals_that_stop_are_a_missing_record_too() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    let extract = simulation.last(1).expect("extract");
    simulation.finish(&extract, "Complete", "CompletionsReached");
    simulation.rest();
    simulation.pass(599);
    assert!(simulation.step().effects.is_empty());
    simulation.pass(2);
    assert!(!simulation.step().effects.is_empty());
}

#[test]
fn coordinator_that_starves_its_own_pods_yields() {
    let mut simulation = started();
    simulation.plans(2);
    simulation.step();
    simulation.pass(899);
    assert!(simulation.step().effects.is_empty());
    simulation.pass(2);
    simulation.step();
    assert_eq!(simulation.condition("Reconciling").1, "ExtractNotStarted");
    simulation.job_controller();
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    assert_eq!((phase(&simulation), simulation.status().retry), (Phase::Waiting, None));
}

#[test]
fn pods_that_do_not_start_are_reported_with_the_cause() {
    let mut simulation = started();
    let job = simulation.last(0).expect("coordinator");
    simulation.pod(&job, json!({ "phase": "Pending" }));
    simulation.warnings = vec![ClusterWarning {
        reason: "FailedMount".to_owned(),
        message:
            "MountVolume.SetUp failed for volume \"credentials\": secret \"shop-db\" not found"
                .to_owned(),
    }];
    simulation.step();
    assert_eq!(simulation.condition("Planned").1, "Planning");
    simulation.pass(31);
    simulation.step();
    assert_eq!(
        simulation.condition("Planned"),
        ("False".to_owned(), "CredentialsMissing".to_owned())
    );
    let waiting = json!({ "phase": "Pending", "containerStatuses": [{
        "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } },
    }] });
    simulation.pod(&job, waiting);
    simulation.step();
    assert_eq!(simulation.condition("Planned").1, "PodNotStarted");
}

/// The bytes of the largest status of an object with this many partitions. In the first attempt every second partition
/// fails; in the second attempt all succeed.
fn largest_status_bytes(partitions: u32) -> usize {
    let mut simulation = started();
    let mut largest = 0;
    let mut measure = |simulation: &Simulation| {
        let status = serde_json::to_string(&simulation.status()).expect("status");
        largest = largest.max(status.len());
    };
    simulation.plans(partitions);
    simulation.step();
    let extract = simulation.last(1).expect("extract");
    let failed: Vec<String> = (0..partitions).step_by(2).map(|index| index.to_string()).collect();
    let name = extract.metadata.name.clone().expect("name");
    let status = simulation.named(&name).expect("job").status.get_or_insert_default();
    status.failed_indexes = Some(failed.join(","));
    simulation.step();
    measure(&simulation);
    assert_eq!(simulation.status().partitions.expect("partitions").failed, partitions.div_ceil(2));
    let (message, remedy) = ("a long message ".repeat(60), "Do a lot. ".repeat(50));
    let report = Report::new(Reason::DatabaseFailed, message.trim(), remedy.trim());
    simulation.fails(&extract, Exit::PartitionPermanent, Some(&report));
    simulation.step();
    measure(&simulation);
    simulation.job_controller();
    simulation.step();
    assert!(simulation.recoveries(), "no recovery Job is running");
    simulation.rest();
    measure(&simulation);
    simulation.pass(60);
    simulation.step();
    simulation.plans(partitions);
    simulation.step();
    measure(&simulation);
    let extract = simulation.last(1).expect("extract");
    simulation.finish(&extract, "Complete", "CompletionsReached");
    simulation.step();
    simulation.publishes();
    simulation.rest();
    measure(&simulation);
    assert_eq!(phase(&simulation), Phase::Complete);
    largest
}

#[test]
fn status_does_not_grow_with_the_number_of_partitions() {
    let (few, many) = (largest_status_bytes(2), largest_status_bytes(10_000));
    // only the counts in it have more digits
    assert!(many < few + 100, "{few} bytes with 2 partitions, {many} with 10,000");
    assert!(many < 32 << 10, "{many} bytes");
}

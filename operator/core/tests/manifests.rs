//! What the three kinds of Jobs look like.

use crds::Report;
use crds::condition::{Exit, Reason};

use crate::world::World;

#[test]
fn manifests_of_coordinator_extract_and_settle() {
    let mut world = World::new();
    world.step();
    let coordinator = world.last(0).expect("coordinator");
    world.plans(3);
    world.step();
    let extract = world.last(1).expect("extract");
    let why = Report::new(Reason::DatabaseFailed, "the database went away", "");
    world.fails(&coordinator, Exit::Transient, Some(&why));
    world.step();
    world.job_controller();
    world.step();
    let settle = world.last(2).expect("settle");
    insta::assert_yaml_snapshot!("coordinator", coordinator);
    insta::assert_yaml_snapshot!("extract", extract);
    insta::assert_yaml_snapshot!("settle", settle);
}

#[test]
fn every_job_of_a_run_has_the_scheduling_of_the_manifest() {
    let mut world = World::new();
    let worker = serde_json::json!({
        "nodeSelector": { "pool": "extract" },
        "priorityClassName": "batch",
        "schedulerName": "own",
        "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "topologySpreadConstraints":
            [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
    });
    world.job.spec.worker = serde_json::from_value(worker.clone()).expect("worker");
    world.step();
    let coordinator = world.last(0).expect("coordinator");
    world.plans(3);
    world.step();
    let extract = world.last(1).expect("extract");
    world.fails(&coordinator, Exit::Transient, None);
    world.step();
    world.job_controller();
    world.step();
    let settle = world.last(2).expect("settle");
    for job in [coordinator, extract, settle] {
        let pod = serde_json::to_value(job.spec.expect("spec").template.spec).expect("pod");
        for (field, value) in worker.as_object().expect("fields") {
            assert_eq!(pod[field], *value, "{field}");
        }
    }
}

#[test]
fn statuses_of_a_published_and_a_refused_request() {
    let mut world = World::new();
    world.step();
    world.plans(1);
    world.step();
    insta::assert_yaml_snapshot!("running", world.status());
    world.publishes();
    world.rest();
    insta::assert_yaml_snapshot!("complete", world.status());

    let mut world = World::new();
    world.step();
    let coordinator = world.last(0).expect("coordinator");
    let why = Report::new(Reason::TableNotFound, "there is no table orders", "name another table");
    world.fails(&coordinator, Exit::Permanent, Some(&why));
    world.step();
    world.settles();
    world.rest();
    insta::assert_yaml_snapshot!("failed", world.status());
}

//! Manifests of the three kinds of Jobs.

use crds::Report;
use crds::condition::{Exit, Reason};
use crds::task::RecoverOrder;
use operator_core::attempt::attempts;
use operator_core::workload::Maker;

use crate::simulation::{Simulation, UID};

#[test]
fn manifests_of_coordinator_extract_and_recover() {
    let mut simulation = Simulation::new();
    simulation.step();
    let coordinator = simulation.last(0).expect("coordinator");
    simulation.plans(3);
    simulation.step();
    let extract = simulation.last(1).expect("extract");
    let why = Report::new(Reason::DatabaseFailed, "the database went away", "");
    simulation.fails(&coordinator, Exit::Transient, Some(&why));
    simulation.step();
    simulation.job_controller();
    simulation.step();
    let recover = simulation.last(2).expect("recover");
    insta::assert_yaml_snapshot!("coordinator", coordinator);
    insta::assert_yaml_snapshot!("extract", extract);
    insta::assert_yaml_snapshot!("recover", recover);
}

#[test]
fn every_job_of_a_run_has_the_scheduling_of_the_manifest() {
    let mut simulation = Simulation::new();
    let worker = serde_json::json!({
        "nodeSelector": { "pool": "extract" },
        "priorityClassName": "batch",
        "schedulerName": "own",
        "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "topologySpreadConstraints":
            [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
    });
    simulation.job.spec.worker = serde_json::from_value(worker.clone()).expect("worker");
    simulation.step();
    let coordinator = simulation.last(0).expect("coordinator");
    simulation.plans(3);
    simulation.step();
    let extract = simulation.last(1).expect("extract");
    simulation.fails(&coordinator, Exit::Transient, None);
    simulation.step();
    simulation.job_controller();
    simulation.step();
    let recover = simulation.last(2).expect("recover");
    for job in [coordinator, extract, recover] {
        let pod = serde_json::to_value(job.spec.expect("spec").template.spec).expect("pod");
        for (field, value) in worker.as_object().expect("fields") {
            assert_eq!(pod[field], *value, "{field}");
        }
    }
}

#[test]
fn queue_labels_reach_extract_jobs_only_and_other_labels_all_jobs() {
    let mut simulation = Simulation::new();
    let labels = serde_json::json!({ "labels": {
        "kueue.x-k8s.io/queue-name": "nightly",
        "kueue.x-k8s.io/priority-class": "low",
        "kueue.x-k8s.io.example.com/queue-name": "own",
        "team": "shop",
    } });
    simulation.job.spec.worker = serde_json::from_value(labels).expect("worker");
    simulation.step();
    let task_text = attempts(&simulation.jobs, UID)[0].task_text().expect("a task");
    let settings = crate::simulation::settings();
    let maker = Maker {
        object: &simulation.job,
        task_text: &task_text,
        image: "tidemark:1",
        settings: &settings,
    };
    let report = Report::new(Reason::DatabaseFailed, "the database went away", "");
    let order = RecoverOrder { last: false, aborted: false, report };
    let run = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a run id");
    let jobs = [
        (maker.coordinator(), false),
        (maker.extract(run, 3), true),
        (maker.recover(1, &order), false),
        (maker.recover(4, &order), false),
        (maker.postponed(simulation.now, &order), false),
    ];
    for (job, queued) in jobs {
        let name = job.metadata.name.clone().expect("name");
        let of_pod = job.spec.expect("spec").template.metadata.expect("metadata").labels;
        for labels in [job.metadata.labels, of_pod] {
            let labels = labels.expect("labels");
            for key in ["kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"] {
                assert_eq!(labels.contains_key(key), queued, "{name}: {key}");
            }
            for key in ["kueue.x-k8s.io.example.com/queue-name", "team"] {
                assert!(labels.contains_key(key), "{name}: {key}");
            }
        }
    }
}

#[test]
fn statuses_of_a_published_and_a_refused_request() {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    simulation.step();
    insta::assert_yaml_snapshot!("running", simulation.status());
    simulation.publishes();
    simulation.rest();
    insta::assert_yaml_snapshot!("complete", simulation.status());

    let mut simulation = Simulation::new();
    simulation.step();
    let coordinator = simulation.last(0).expect("coordinator");
    let why = Report::new(Reason::TableNotFound, "there is no table orders", "Name another table.");
    simulation.fails(&coordinator, Exit::Permanent, Some(&why));
    simulation.step();
    simulation.recoveries();
    simulation.rest();
    insta::assert_yaml_snapshot!("failed", simulation.status());
}

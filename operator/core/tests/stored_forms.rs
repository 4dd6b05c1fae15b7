//! What the operator reads back from the cluster, as committed JSON: the ending of an attempt, the termination message
//! of a pod and the status; and the names by which pods and later releases find things.
//!
//! From the first release on these forms are frozen: a fixture may gain a key or a name, and loses or renames none.

use crds::task::{REQUESTED_AT, TASK_ENV};
use crds::{ExtractJobStatus, Report};
use operator_core::attempt::attempts;
use operator_core::ending::{Ending, recorded};
use operator_core::labels::{ENDING, Role, UID as UID_LABEL};
use operator_core::pods::end;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_str, from_value, json, to_value};

use crate::flow::started;
use crate::simulation::UID;

const ENDINGS: &str = include_str!("fixtures/endings.json");
const REPORTS: &str = include_str!("fixtures/reports.json");
const STATUS: &str = include_str!("fixtures/status.json");
const OUTCOMES: &str = include_str!("fixtures/outcomes.json");
const NAMES: &str = include_str!("fixtures/names.txt");

/// The fixtures of a list, each with what is read from it.
fn each<T: DeserializeOwned>(fixtures: &str) -> Vec<(Value, T)> {
    let fixtures: Vec<Value> = from_str(fixtures).expect("a list");
    let read = |fixture: Value| (fixture.clone(), from_value(fixture).expect("the type"));
    fixtures.into_iter().map(read).collect()
}

fn written(value: impl Serialize) -> Value {
    to_value(value).expect("JSON")
}

#[test]
fn ending_is_read_from_the_annotation_and_written_as_its_fixture() {
    for (fixture, ending) in each::<Ending>(ENDINGS) {
        assert_eq!(written(&ending), fixture);
        let simulation = started();
        let mut job = simulation.last(0).expect("coordinator");
        job.metadata.annotations = Some([(ENDING.to_owned(), fixture.to_string())].into());
        let jobs = [job];
        let attempts = attempts(&jobs, UID);
        assert_eq!(attempts.first().and_then(recorded), Some(ending));
    }
}

#[test]
fn termination_message_is_read_from_the_pod_and_written_as_its_fixture() {
    for (fixture, report) in each::<Report>(REPORTS) {
        assert_eq!(written(&report), fixture);
        let terminated = json!({ "exitCode": 75, "message": fixture.to_string() });
        let container = json!({
            "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": terminated },
        });
        let pod = from_value(json!({ "status": { "containerStatuses": [container] } }));
        assert_eq!(end(&pod.expect("pod")).map(|end| end.report), Some(report));
    }
}

#[test]
fn status_is_written_as_its_fixture() {
    let fixture: Value = from_str(STATUS).expect("JSON");
    let status: ExtractJobStatus = from_value(fixture.clone()).expect("status");
    assert_eq!(written(status), fixture);
}

#[test]
fn outcome_of_the_status_is_written_as_its_fixture() {
    for (fixture, status) in each::<ExtractJobStatus>(OUTCOMES) {
        assert!(status.outcome.is_some(), "{fixture}");
        assert_eq!(written(status), fixture);
    }
}

/// Every text constant of a source file, such as `labels.rs UID tidemark.dev/uid`.
fn constants(file: &str, source: &str) -> Vec<String> {
    let texts = source.lines().filter_map(|line| {
        let (name, text) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        Some(format!("{file} {name} {}", text.strip_suffix("\";")?))
    });
    texts.collect()
}

/// Jobs, pods and objects of one release are found by these in the next one.
#[test]
fn labels_annotations_finalizer_environment_and_files_have_the_committed_names() {
    let mut found = constants("labels.rs", include_str!("../src/labels.rs"));
    found.extend(constants("task.rs", include_str!("../../../crds/src/task.rs")));
    for role in [Role::Coordinator, Role::Extract, Role::Recover] {
        found.push(format!("role {} {}", role.name(), role.command()));
    }
    // what the source says is what is compiled
    for text in [UID_LABEL, TASK_ENV, REQUESTED_AT] {
        assert!(found.iter().any(|line| line.ends_with(&format!(" {text}"))), "{text}: {found:?}");
    }
    assert_eq!(found.join("\n"), NAMES.trim_end());
}

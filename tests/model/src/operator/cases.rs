//! In: nothing. Out: scenes of the operator. Bound: minutes. Fails: never.

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use operator_core::settings::{Settings, Timing, TrackingSettings};

use super::model::RECOVERIES;
use super::{Luck, Scene};

pub(crate) const TWICE: &str = "at most one published run for a request";
pub(crate) const STATUS: &str =
    "I9 status says Complete of a published request, and Failed of no other";
pub(crate) const ENDLESS: &str = "there is an end to attempts";
pub(crate) const LET_GO: &str = "nothing of an object whose finalizer is removed is open";
pub(crate) const MADE_TWICE: &str = "no attempt has two coordinator Jobs";
pub(crate) const UNTRIED: &str = "a request that was never tried is not given up";

pub(crate) const GIVEN_UP: &str =
    "no retry is spent, and no request given up, but for something that went wrong";
pub(crate) const OLDER: &str = "an older or equal requested-at starts no run";
pub(crate) const SUSPENDED: &str = "nothing of an object that is called suspended is open";

pub(crate) const NONE: Luck = Luck {
    crashes: 0,
    faults: 0,
    twins: 0,
    cuts: 0,
    stale: 0,
    thoughts: 0,
    requests: 0,
    restores: 0,
    edits: 0,
    deletions: 0,
    lost_jobs: 0,
    ticks: 0,
    suspends: 0,
};

/// One object.
pub(crate) fn one(name: &'static str, attempts: usize, luck: Luck) -> Scene {
    Scene { name, objects: 1, attempts, runs: 2, luck }
}

/// Two objects on one source.
fn two(name: &'static str, attempts: usize, luck: Luck) -> Scene {
    Scene { objects: 2, ..one(name, attempts, luck) }
}

/// Small enough for each push. Each must also have a way to rest from each of its states.
pub fn push() -> Vec<Scene> {
    let died = Luck { crashes: 1, ..NONE };
    vec![
        one("operator: crash, fault, cut", 4, Luck { faults: 1, cuts: 1, ..died }),
        one("operator: late duplicate", 4, Luck { twins: 1, ..died }),
        one("operator: stale copy, request", 5, Luck { stale: 1, requests: 1, cuts: 1, ..died }),
        one("operator: two operators", 5, Luck { thoughts: 1, requests: 1, ..died }),
        one("operator: deletion", 4, Luck { deletions: 1, twins: 1, ..NONE }),
        one("operator: edit, faults", 5, Luck { edits: 1, faults: 2, ..NONE }),
        one("operator: a Job is lost", 4, Luck { lost_jobs: 1, ..NONE }),
        two("operator: two objects", 3, NONE),
        one("operator: suspend", 5, Luck { suspends: 2, cuts: 1, ..NONE }),
        one("operator: request, older request restored", 5, {
            Luck { requests: 1, restores: 1, stale: 1, ..died }
        }),
    ]
}

/// Scenes in which some states have no way to rest, and that is known: after a death between PUBLISH and
/// the pointer, and the manual deletion of that attempt's Jobs, the completed recovery Job of an
/// earlier attempt is taken for the one that did what was left to do.
pub fn known() -> Vec<Scene> {
    vec![one("operator: a Job is lost, crash", 4, Luck { lost_jobs: 1, crashes: 1, ..NONE })]
}

/// What `make model` explores besides.
pub fn large() -> Vec<Scene> {
    let died = Luck { crashes: 1, ..NONE };
    vec![
        one(
            "operator: two operators, deletion, a Job is lost",
            5,
            Luck { thoughts: 1, deletions: 1, lost_jobs: 1, ..died },
        ),
        one("operator: late duplicate, fault", 4, Luck { twins: 1, faults: 1, ..died }),
        one("operator: deletion, crash", 4, Luck { deletions: 1, twins: 1, ..died }),
        two("operator: two objects, crash", 3, died),
        two("operator: two objects, a lease", 4, Luck { ticks: 1, ..NONE }),
        // one attempt more for each misfortune, and one that meets the other object; with a crash
        // in addition, the exploration does not end in time
        two("operator: two objects, duplicate, cut", 5, Luck { twins: 1, cuts: 1, ..NONE }),
        two("operator: two objects, crash, cut", 5, Luck { cuts: 1, ..died }),
        two("operator: two objects, request, stale", 5, Luck { requests: 1, stale: 1, ..died }),
    ]
}

/// Larger still, as [`crate::cases::beyond`].
pub fn beyond() -> Vec<Scene> {
    let died = Luck { crashes: 1, ..NONE };
    vec![
        one("operator: suspend, crash, duplicate", 6, {
            Luck { suspends: 2, stale: 1, twins: 1, ..died }
        }),
        one("operator: all but a stale copy at once", 7, {
            Luck { twins: 1, cuts: 1, requests: 1, faults: 1, ..died }
        }),
        one("operator: all but a cut at once", 7, {
            Luck { twins: 1, stale: 1, requests: 1, faults: 1, ..died }
        }),
    ]
}

/// All pauses are over at once, but for those that only a clock ends.
pub(super) fn settings() -> Settings {
    let none = Duration::ZERO;
    let long = Duration::from_hours(1000);
    Settings {
        worker_image: "tidemark:1".to_owned(),
        worker_pull_policy: "IfNotPresent".to_owned(),
        worker_pull_secrets: Vec::new(),
        worker_env: Vec::new(),
        service_account: "tidemark-extract".to_owned(),
        resources: ResourceRequirements::default(),
        recover_resources: ResourceRequirements::default(),
        allow_insecure_plaintext: false,
        allow_where: false,
        tracking: TrackingSettings { table: Some("tracking".to_owned()), ..Default::default() },
        timing: Timing {
            retry_first: none,
            retry_most: none,
            pod_start_wait: none,
            pod_stop_wait: none,
            recover_retry: none,
            busy_retry: none,
            recover_tries: u32::try_from(RECOVERIES).unwrap_or(1),
            recover_rest: long,
            deletion_bound: long,
            ..Timing::default()
        },
    }
}

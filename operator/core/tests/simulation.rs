//! An in-memory cluster and tracking table around one `ExtractJob`. Effects are obeyed at once; what
//! Job controller, kubelet and worker would do is done by the test, one step at a time.

mod jobs;
mod tracking;

use std::time::Duration;

use crds::condition::Exit;
use crds::task::{RECOVER_ENV, RecoverOrder, Task};
use crds::tracking::{
    ITEM_VERSION, Mode, OutcomeItem, OutcomeResult, PendingCleanup, Removal, RunItem, RunState,
    TrackedOutcome, WatermarkItem, outcome_key, run_key,
};
use crds::{ExtractJob, ExtractJobStatus, Report, RunId};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use operator_core::ReadRequest;
use operator_core::attempt::{attempts, is_finished};
use operator_core::decide::refused_job;
use operator_core::labels::{ENDING, FINALIZER, REVISION};
use operator_core::observed::{ClusterWarning, ServiceAccountState, Tracking, TrackingRead};
use operator_core::settings::{Timing, TrackingSettings};
use operator_core::{Decision, Effect, Observed, Settings, Step, decide};
use serde_json::json;

use crate::conditions;

pub(crate) use tracking::{removal, run_item, watermark_item};

pub(crate) const KEY: &str = "shop.orders";
pub(crate) const UID: &str = "11111111-1111-1111-1111-111111111111";

pub(crate) struct Simulation {
    pub(crate) job: ExtractJob,
    pub(crate) jobs: Vec<Job>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) tracking: TrackingRead,
    pub(crate) unreadable: Option<Report>,
    pub(crate) watermark_changed: bool,
    pub(crate) account: ServiceAccountState,
    pub(crate) warnings: Vec<ClusterWarning>,
    pub(crate) terminating: bool,
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    /// Names of all Jobs ever made.
    pub(crate) made: Vec<String>,
    /// Copies of the object as it was, oldest first.
    pub(crate) history: Vec<ExtractJob>,
    pub(crate) reads: usize,
    pub(crate) gone: bool,
    version: u64,
}

pub(crate) fn settings() -> Settings {
    let resources = |memory: &str| -> ResourceRequirements {
        serde_json::from_value(json!({ "limits": { "memory": memory } })).expect("resources")
    };
    Settings {
        worker_image: "tidemark:1".to_owned(),
        worker_pull_policy: "IfNotPresent".to_owned(),
        worker_pull_secrets: Vec::new(),
        worker_env: Vec::new(),
        service_account: "tidemark-extract".to_owned(),
        resources: resources("1Gi"),
        recover_resources: resources("256Mi"),
        allow_insecure_plaintext: false,
        allow_where: false,
        tracking: TrackingSettings { table: Some("marks".to_owned()), ..Default::default() },
        timing: Timing::default(),
    }
}

pub(crate) fn object() -> ExtractJob {
    serde_json::from_value(json!({
        "apiVersion": "tidemark.dev/v1alpha1",
        "kind": "ExtractJob",
        "metadata": {
            "name": "orders", "namespace": "shop", "uid": UID, "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {
            "source": {
                "engine": "postgres", "host": "db.shop", "database": "shop",
                "credentials": { "secretRef": { "name": "shop-db" } },
                "tls": { "caRef": { "name": "shop-ca" } },
            },
            "extract": {
                "table": "orders", "type": "PE",
                "watermark": { "column": "updated_at", "type": "timestamp" },
                "partition": { "column": "id" },
            },
            "output": { "uri": "s3://lake/orders", "secretRef": { "name": "lake" } },
        },
    }))
    .expect("object")
}

pub(crate) fn run_id(number: u32) -> RunId {
    RunId(uuid::Uuid::from_u128(u128::from(number)))
}

impl Simulation {
    pub(crate) fn new() -> Self {
        let job = object();
        Self {
            history: vec![job.clone()],
            job,
            jobs: Vec::new(),
            pods: Vec::new(),
            tracking: TrackingRead::default(),
            unreadable: None,
            watermark_changed: false,
            account: ServiceAccountState::Allowed,
            warnings: Vec::new(),
            terminating: false,
            now: "2026-01-01T00:00:00Z".parse().expect("time"),
            settings: settings(),
            made: Vec::new(),
            reads: 0,
            gone: false,
            version: 1,
        }
    }

    pub(crate) fn status(&self) -> ExtractJobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// The cheap part of the observation for this copy of the object.
    fn observe<'a>(&self, copy: &ExtractJob, settings: &'a Settings) -> Observed<'a> {
        Observed {
            job: copy.clone(),
            jobs: self.jobs.clone(),
            pods: self.pods.clone(),
            tracking: Tracking::NotRead,
            watermark_changed: self.watermark_changed,
            service_account: ServiceAccountState::NotRead,
            warnings: None,
            namespace_terminating: None,
            unreadable: 0,
            now: self.now,
            settings,
        }
    }

    /// What is decided about this copy of the object.
    pub(crate) fn decide(&mut self, copy: &ExtractJob) -> Decision {
        let settings = self.settings.clone();
        let mut observed = self.observe(copy, &settings);
        for _ in 0..5 {
            match decide(&observed) {
                Step::Act(decision) => {
                    conditions::check(&decision.status);
                    return *decision;
                }
                Step::Read(ReadRequest::Tracking(_)) => {
                    self.reads += 1;
                    observed.unreadable = 1;
                    observed.tracking = self.unreadable.clone().map_or_else(
                        || Tracking::Read(Box::new(self.tracking.clone())),
                        Tracking::Unreadable,
                    );
                }
                Step::Read(ReadRequest::ServiceAccount(_)) => {
                    observed.service_account = self.account;
                }
                Step::Read(ReadRequest::Warnings(_)) => {
                    observed.warnings = Some(self.warnings.clone());
                }
                Step::Read(ReadRequest::Namespace) => {
                    observed.namespace_terminating = Some(self.terminating);
                }
            }
        }
        unreachable!("undecided");
    }

    /// Decides and applies.
    pub(crate) fn step(&mut self) -> Decision {
        let copy = self.job.clone();
        let decision = self.decide(&copy);
        self.apply(&copy, &decision, usize::MAX);
        decision
    }

    /// Decides, where the API server refuses the Job that is to be made.
    pub(crate) fn step_refused(&mut self, message: &str) -> Decision {
        let copy = self.job.clone();
        let decision = self.decide(&copy);
        let job = decision.effects.iter().find_map(|effect| match effect {
            Effect::CreateJob(job) => job.metadata.name.clone(),
            _ => None,
        });
        let settings = self.settings.clone();
        let name = job.expect("a Job to refuse");
        let instead = refused_job(&self.observe(&copy, &settings), &name, message);
        conditions::check(&instead.status);
        self.apply(&copy, &instead, usize::MAX);
        instead
    }

    /// Steps until nothing changes; a bound says that it must end.
    pub(crate) fn rest(&mut self) -> Decision {
        for _ in 0..4 {
            let before = self.status();
            let decision = self.step();
            if self.gone || (decision.effects.is_empty() && before == self.status()) {
                return decision;
            }
        }
        unreachable!("no rest: {:?}", self.status());
    }

    fn bump(&mut self) {
        self.version += 1;
        self.job.metadata.resource_version = Some(self.version.to_string());
        self.history.push(self.job.clone());
    }

    /// Applies the first `most` effects, and the status if all were. An old copy is refused.
    pub(crate) fn apply(&mut self, copy: &ExtractJob, decision: &Decision, most: usize) {
        let mut version = copy.metadata.resource_version.clone();
        for effect in decision.effects.iter().take(most) {
            let guarded =
                matches!(effect, Effect::AddFinalizer | Effect::DropFinalizer | Effect::PutStatus);
            if guarded && version != self.job.metadata.resource_version {
                return;
            }
            self.obey(effect, decision);
            if guarded {
                version.clone_from(&self.job.metadata.resource_version);
            }
            if self.gone {
                return;
            }
        }
        if decision.effects.len() <= most
            && version == self.job.metadata.resource_version
            && self.job.status.as_ref() != Some(&decision.status)
        {
            self.job.status = Some(decision.status.clone());
            self.bump();
        }
    }

    fn obey(&mut self, effect: &Effect, decision: &Decision) {
        match effect {
            Effect::AddFinalizer => {
                self.job.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
                self.bump();
            }
            Effect::DropFinalizer => {
                self.job.metadata.finalizers = None;
                self.bump();
                self.gone = self.job.metadata.deletion_timestamp.is_some();
            }
            Effect::PutStatus => {
                self.job.status = Some(decision.status.clone());
                self.bump();
            }
            Effect::CreateJob(job) => self.create(job),
            Effect::RecordEnding { job, ending } => {
                self.annotate(job, ENDING, serde_json::to_string(ending).expect("ending"));
            }
            Effect::RecordRevision { job, revision } => {
                self.annotate(job, REVISION, revision.to_string());
            }
            Effect::StopJob { job } => {
                let spec = self.named(job).and_then(|job| job.spec.as_mut());
                spec.expect("a Job to stop").active_deadline_seconds = Some(1);
            }
            Effect::SetTtl { job, seconds } => {
                let spec = self.named(job).and_then(|job| job.spec.as_mut());
                spec.expect("a Job to expire").ttl_seconds_after_finished = Some(*seconds);
            }
            Effect::DeleteJob { job, .. } => self.delete(job),
        }
    }

    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut ExtractJob)) {
        change(&mut self.job);
        self.job.metadata.generation = self.job.metadata.generation.map(|number| number + 1);
        self.bump();
    }

    pub(crate) fn request(&mut self, at: Option<&str>) {
        let annotations = self.job.metadata.annotations.get_or_insert_default();
        match at {
            Some(at) => annotations.insert(crds::task::REQUESTED_AT.to_owned(), at.to_owned()),
            None => annotations.remove(crds::task::REQUESTED_AT),
        };
        self.bump();
    }

    /// Asks for another run by the clock of the simulation; the value is returned.
    pub(crate) fn request_now(&mut self) -> String {
        // later than any value before: each of them changed the object
        let at = (self.now + Duration::from_secs(self.version)).to_string();
        self.request(Some(&at));
        at
    }

    pub(crate) fn delete_object(&mut self) {
        self.job.metadata.deletion_timestamp = Some(Time(self.now));
        self.bump();
        self.gone = self.job.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
    }

    pub(crate) fn condition(&self, kind: &str) -> (String, String) {
        let status = self.status();
        let found = status.conditions.iter().find(|one| one.type_ == kind).expect("condition");
        (found.status.clone(), found.reason.clone())
    }
}

fn named(job: &Job, name: &str) -> bool {
    job.metadata.name.as_deref() == Some(name)
}

fn pod_owner(pod: &Pod) -> Option<&str> {
    Some(pod.metadata.owner_references.as_ref()?.first()?.uid.as_str())
}

fn env<T: serde::de::DeserializeOwned>(job: &Job, key: &str) -> T {
    let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).expect("spec");
    let env = spec.containers.first().and_then(|one| one.env.as_ref()).expect("environment");
    let found = env.iter().find(|one| one.name == key).and_then(|one| one.value.as_ref());
    serde_json::from_str(found.expect("variable")).expect("JSON")
}

pub(crate) fn task(job: &Job) -> Task {
    env(job, crds::task::TASK_ENV)
}

pub(crate) fn order(job: &Job) -> RecoverOrder {
    env(job, RECOVER_ENV)
}

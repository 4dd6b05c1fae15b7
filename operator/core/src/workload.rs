//! In: an object, a task, a run. Out: the three kinds of Jobs.
//! Bound: one Job each. Fails: never.

use std::collections::BTreeMap;

use crds::RunId;
use crds::task::{RECOVER_ENV, RUN_ENV, RecoverOrder};
use crds::{ExtractJob, condition::Exit};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::attempt::TaskText;
use crate::labels::{
    ATTEMPT, CONTAINER, NAME, POSTPONED, QUEUE, RECOVER, ROLE, RUN, Role, START_AT, UID,
    coordinator_name, extract_name, postponed_name, recover_name,
};
use crate::pod_template::{PodPlan, pod_template};
use crate::settings::Settings;

/// `activeDeadlineSeconds` of objects that name none.
pub const DEADLINE_SECONDS: i64 = 86_400;
/// Pods at a time of objects that name no number.
const PARALLELISM: i32 = 8;
/// Tries of one partition of objects that name no number.
const BACKOFF_LIMIT_PER_INDEX: i32 = 3;

/// Further pods of a Job that a deleted object leaves behind: no operator decides on the next one.
const POSTPONED_RETRIES: i32 = 6;
/// Seconds that such a Job is kept once it is over: no object lets it go.
const POSTPONED_TTL: i32 = 86_400;

/// For whom a Job is made, and from what.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// The object.
    pub object: &'a ExtractJob,
    /// The task of the attempt.
    pub task_text: &'a TaskText,
    /// The image; later Jobs of an attempt copy the coordinator's.
    pub image: &'a str,
    /// The settings of the operator.
    pub settings: &'a Settings,
}

impl Maker<'_> {
    /// The Job whose pod claims, plans, keeps the snapshot and commits.
    pub fn coordinator(&self) -> Job {
        self.job(Role::Coordinator, &self.stem(), &[], Vec::new())
    }

    /// The Job with one pod for each of `n` partitions of `run`.
    pub fn extract(&self, run: RunId, n: u32) -> Job {
        let labels = [(RUN, run.to_string())];
        let env = vec![(RUN_ENV, run.to_string())];
        let name = extract_name(&self.stem());
        let mut job = self.job(Role::Extract, &name, &labels, env);
        let task = &self.task_text.task.spec;
        let wanted = task.worker.as_ref().and_then(|worker| worker.parallelism);
        let tries = task.retry.as_ref().and_then(|retry| retry.backoff_limit_per_index);
        let completions = i32::try_from(n).unwrap_or(i32::MAX);
        if let Some(spec) = &mut job.spec {
            spec.backoff_limit = None;
            spec.backoff_limit_per_index = Some(tries.unwrap_or(BACKOFF_LIMIT_PER_INDEX));
            spec.completion_mode = Some("Indexed".to_owned());
            spec.completions = Some(completions);
            spec.max_failed_indexes = Some(0);
            spec.parallelism = Some(wanted.unwrap_or(PARALLELISM).min(completions));
            spec.pod_failure_policy = Some(pod_failure_policy());
            spec.pod_replacement_policy = Some("Failed".to_owned());
        }
        job
    }

    /// Recovery Job number `k` of the attempt.
    pub fn recover(&self, k: u32, order: &RecoverOrder) -> Job {
        let labels = [(RECOVER, k.to_string())];
        let env = vec![(RECOVER_ENV, serde_json::to_string(order).unwrap_or_default())];
        self.job(Role::Recover, &recover_name(&self.stem(), k), &labels, env)
    }

    /// The Job that a deleted object leaves behind, since files that it replaced are to be removed
    /// from `at` on. Nobody owns it, so it outlives the object; until it is started it takes no pod.
    pub fn postponed(&self, at: Timestamp, order: &RecoverOrder) -> Job {
        let labels = [(POSTPONED, "true".to_owned())];
        let env = vec![(RECOVER_ENV, serde_json::to_string(order).unwrap_or_default())];
        let mut job = self.job(Role::Recover, &postponed_name(&self.stem()), &labels, env);
        job.metadata.owner_references = None;
        let note = (START_AT.to_owned(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        job.metadata.annotations = Some([note].into());
        if let Some(spec) = &mut job.spec {
            spec.suspend = Some(true);
            spec.backoff_limit = Some(POSTPONED_RETRIES);
            spec.ttl_seconds_after_finished = Some(POSTPONED_TTL);
            let tries = i64::from(POSTPONED_RETRIES) + 1;
            spec.active_deadline_seconds = Some(self.deadline(Role::Recover).saturating_mul(tries));
        }
        job
    }

    fn stem(&self) -> String {
        let metadata = &self.object.metadata;
        coordinator_name(
            metadata.name.as_deref().unwrap_or_default(),
            metadata.uid.as_deref().unwrap_or_default(),
            self.task_text.task.attempt,
        )
    }

    fn deadline(&self, role: Role) -> i64 {
        if role == Role::Recover {
            let seconds = self.settings.timing.recover_deadline.as_secs();
            return i64::try_from(seconds).unwrap_or(i64::MAX);
        }
        self.task_text.task.spec.active_deadline_seconds.unwrap_or(DEADLINE_SECONDS)
    }

    fn job(
        &self,
        role: Role,
        name: &str,
        extra: &[(&str, String)],
        env: Vec<(&'static str, String)>,
    ) -> Job {
        let mut labels = self.labels(role);
        labels.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let plan = PodPlan {
            role,
            task_text: self.task_text,
            image: self.image,
            labels: labels.clone(),
            env,
        };
        Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: self.object.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![self.owner_reference(role)]),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec {
                active_deadline_seconds: Some(self.deadline(role)),
                backoff_limit: Some(0),
                template: pod_template(plan, self.settings),
                ..JobSpec::default()
            }),
            status: None,
        }
    }

    fn labels(&self, role: Role) -> BTreeMap<String, String> {
        let task = &self.task_text.task;
        let mut labels =
            task.spec.worker.as_ref().and_then(|worker| worker.labels.clone()).unwrap_or_default();
        // a coordinator would hold the source while it waits, and a recovery Job must not wait
        labels.retain(|key, _| role == Role::Extract || !key.starts_with(QUEUE));
        let metadata = &self.object.metadata;
        let own = [
            ("app.kubernetes.io/name", "tidemark".to_owned()),
            ("app.kubernetes.io/component", role.name().to_owned()),
            ("app.kubernetes.io/managed-by", "tidemark-operator".to_owned()),
            (NAME, metadata.name.clone().unwrap_or_default()),
            (UID, metadata.uid.clone().unwrap_or_default()),
            (ATTEMPT, task.attempt.to_string()),
            (ROLE, role.name().to_owned()),
        ];
        labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
        labels
    }

    /// A recovery Job must outlive a foreground deletion of the object, which waits for our finalizer
    /// and so for recovery: it does not block the owner.
    fn owner_reference(&self, role: Role) -> OwnerReference {
        OwnerReference {
            api_version: "tidemark.dev/v1alpha1".to_owned(),
            kind: "ExtractJob".to_owned(),
            name: self.object.metadata.name.clone().unwrap_or_default(),
            uid: self.object.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(role != Role::Recover),
        }
    }
}

/// The first matching rule applies: a disrupted pod is created again, with any exit code.
fn pod_failure_policy() -> PodFailurePolicy {
    let code = |action: &str, exit: Exit| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: vec![i32::from(exit.code())],
        }),
        on_pod_conditions: None,
    };
    let disrupted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: Some("True".to_owned()),
        }]),
    };
    PodFailurePolicy {
        rules: vec![
            disrupted,
            code("FailJob", Exit::Permanent),
            code("FailJob", Exit::Fenced),
            code("FailIndex", Exit::PartitionPermanent),
        ],
    }
}

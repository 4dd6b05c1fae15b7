//! In: a decision. Out: the cluster after its effects, or after some of them. Bound: one decision.
//! Fails: never; a copy that is old is refused by the API server.

use crds::status::StatusOutcome;
use crds::task::TASK_ENV;
use crds::tracking::TrackedOutcome;
use crds::{ExtractJob, Phase};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::due::{Answer, answer};
use operator_core::labels::{ATTEMPT, ENDING, FINALIZER, RECOVER, REVISION, ROLE};
use operator_core::{Decision, Effect};

use super::cluster::{Cluster, Promise};
use super::model::Operator;
use super::observe::now;
use crate::state::{Life, Proc};

/// An environment variable of a Job's container, read as JSON.
pub(super) fn env<T: serde::de::DeserializeOwned>(job: &Job, key: &str) -> Option<T> {
    let container = job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    let found = container.env.as_ref()?.iter().find(|one| one.name == key)?;
    serde_json::from_str(found.value.as_deref()?).ok()
}

fn label<'a>(job: &'a Job, key: &str) -> Option<&'a str> {
    job.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether an object repeats an outcome that does not answer what it asks for now.
fn is_past(old: &ExtractJob, outcome: &StatusOutcome) -> bool {
    let before = old.status.as_ref().and_then(|status| status.outcome.as_ref());
    let answers = operator_core::valid::owner(old)
        .is_some_and(|owner| answer(&old.spec, &owner, outcome) == Answer::Answered);
    before == Some(outcome) && !answers
}

impl Operator {
    /// Applies the first `most` effects of a decision about an object that was seen as `copy`,
    /// and the status if it comes to that.
    pub(super) fn apply(
        &self,
        cluster: &mut Cluster,
        object: usize,
        (copy, decision): (u32, u32),
        most: usize,
    ) {
        let decision = self.decided.get(decision);
        let mut version = copy;
        for effect in decision.effects.iter().take(most) {
            let guarded =
                matches!(effect, Effect::AddFinalizer | Effect::DropFinalizer | Effect::PutStatus);
            if guarded && version != cluster.objects[object].now {
                return;
            }
            self.obey(cluster, object, effect, &decision);
            if guarded {
                version = cluster.objects[object].now;
            }
            if cluster.objects[object].now == 0 {
                return;
            }
        }
        if decision.effects.len() <= most && version == cluster.objects[object].now {
            self.put_status(cluster, object, &decision);
        }
    }

    pub(super) fn change(
        &self,
        cluster: &mut Cluster,
        object: usize,
        change: impl FnOnce(&mut ExtractJob),
    ) {
        let known = cluster.objects[object].now;
        let mut changed = (*self.objects.get(known)).clone();
        change(&mut changed);
        let gone = changed.metadata.deletion_timestamp.is_some()
            && changed.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        let id = if gone { 0 } else { self.objects.put(changed) };
        if id != known {
            cluster.objects[object].before = known;
            cluster.objects[object].now = id;
        }
        if gone {
            cluster.objects[object].before = 0;
            self.let_go(cluster, object);
        }
    }

    /// The cluster removes the Jobs of an object that is gone.
    fn let_go(&self, cluster: &mut Cluster, object: usize) {
        let shop = self.protocol.shop();
        let uid = self.uids[object];
        cluster.jobs.retain(|(slot, _)| shop.slot(*slot).uid != uid);
        if self.is_open(cluster, object) {
            cluster.broke(Promise::LetGo);
        }
    }

    /// Whether the run item shows an open run of the object.
    pub(super) fn is_open(&self, cluster: &Cluster, object: usize) -> bool {
        let shop = self.protocol.shop();
        let held = shop.run_item(cluster.base.item(shop.run_key));
        held.is_some_and(|run| run.owner.uid == self.uids[object] && run.state.is_open())
    }

    fn put_status(&self, cluster: &mut Cluster, object: usize, decision: &Decision) {
        let old = self.objects.get(cluster.objects[object].now);
        if old.status.as_ref() == Some(&decision.status) {
            return;
        }
        if let Some(outcome) = &decision.status.outcome {
            let of = |owner: &&u32| {
                let owner = self.owners.get(**owner);
                owner.uid == self.uids[object]
                    && owner.request == outcome.request
                    && owner.requested_at == outcome.requested_at
            };
            let honest = match outcome.result {
                TrackedOutcome::Complete => cluster.published.iter().any(|owner| of(&owner)),
                // who decided before it was published may say so once; and what is repeated for
                // a newer request suppresses nothing
                TrackedOutcome::Failed => {
                    self.may_be_late()
                        || is_past(&old, outcome)
                        || !cluster.published.iter().any(|owner| of(&owner))
                }
            };
            if !honest {
                cluster.broke(Promise::Status);
            }
            let tried = cluster.tried.contains(&(object, outcome.generation));
            if outcome.result == TrackedOutcome::Failed && !tried {
                cluster.broke(Promise::Untried);
            }
            if outcome.result == TrackedOutcome::Failed && !self.went_wrong(cluster) {
                cluster.broke(Promise::GivenUp);
            }
        }
        if decision.status.phase == Some(Phase::Suspended) && self.is_open(cluster, object) {
            cluster.broke(Promise::Suspended);
        }
        self.change(cluster, object, |job| job.status = Some(decision.status.clone()));
    }

    fn obey(&self, cluster: &mut Cluster, object: usize, effect: &Effect, decision: &Decision) {
        match effect {
            Effect::AddFinalizer => self.change(cluster, object, |job| {
                job.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            }),
            Effect::DropFinalizer => {
                self.change(cluster, object, |job| job.metadata.finalizers = None);
            }
            Effect::PutStatus => self.put_status(cluster, object, decision),
            Effect::CreateJob(job) => self.create(cluster, object, job),
            Effect::RecordEnding { job, ending } => {
                let text = serde_json::to_string(ending).unwrap_or_default();
                self.annotate(cluster, job, (ENDING, text));
            }
            Effect::RecordRevision { job, revision } => {
                self.annotate(cluster, job, (REVISION, revision.to_string()));
            }
            Effect::StopJob { job } => self.patch(cluster, job, |job| {
                if let Some(spec) = &mut job.spec {
                    spec.active_deadline_seconds = Some(1);
                }
            }),
            // Jobs that may go are kept: the decision is the same with and without them
            Effect::SetTtl { job, seconds } => self.patch(cluster, job, |job| {
                if let Some(spec) = &mut job.spec {
                    spec.ttl_seconds_after_finished = Some(*seconds);
                }
            }),
            Effect::DeleteJob { job, .. } => {
                if let Some(slot) = self.named(cluster, job) {
                    cluster.set_job(slot, None);
                }
            }
        }
    }

    /// The slot of the Job with this name, if there is one.
    fn named(&self, cluster: &Cluster, name: &str) -> Option<usize> {
        let is = |job: u32| self.jobs.get(job).metadata.name.as_deref() == Some(name);
        cluster.jobs.iter().find(|(_, job)| is(*job)).map(|(slot, _)| *slot)
    }

    fn patch(&self, cluster: &mut Cluster, name: &str, change: impl FnOnce(&mut Job)) {
        let Some(slot) = self.named(cluster, name) else { return };
        self.change_job(cluster, slot, change);
    }

    pub(super) fn change_job(
        &self,
        cluster: &mut Cluster,
        slot: usize,
        change: impl FnOnce(&mut Job),
    ) {
        let Some(job) = cluster.job(slot) else { return };
        let mut job = (*self.jobs.get(job)).clone();
        change(&mut job);
        cluster.set_job(slot, Some(self.jobs.put(job)));
    }

    fn annotate(&self, cluster: &mut Cluster, name: &str, (key, text): (&str, String)) {
        self.patch(cluster, name, |job| {
            job.metadata.annotations.get_or_insert_default().insert(key.to_owned(), text);
        });
    }

    fn create(&self, cluster: &mut Cluster, object: usize, job: &Job) {
        let number = |key| label(job, key).and_then(|text| text.parse::<usize>().ok());
        let attempt = number(ATTEMPT).unwrap_or(0);
        let recover = (label(job, ROLE) == Some("recover")).then(|| number(RECOVER).unwrap_or(1));
        let Some(slot) = self.slot(object, attempt, recover) else {
            // more attempts than anybody asked for, or a recovery after the last try
            if recover.is_none() {
                cluster.broke(Promise::Endless);
            }
            return;
        };
        if cluster.job(slot).is_some() {
            return;
        }
        if recover.is_none() {
            let bit = 1_u64.checked_shl(u32::try_from(slot).unwrap_or(64)).unwrap_or(0);
            if cluster.made & bit != 0 {
                cluster.broke(Promise::MadeTwice);
            }
            cluster.made |= bit;
            if let Some(task) = env::<crds::Task>(job, TASK_ENV) {
                if task.retry > 0 && !self.went_wrong(cluster) {
                    cluster.broke(Promise::GivenUp);
                }
                cluster.tried.push((object, task.owner.generation));
                cluster.tried.sort_unstable();
                cluster.tried.dedup();
            }
        }
        let mut job = job.clone();
        let at = now(cluster.base.clock);
        job.metadata.uid = job.metadata.name.as_ref().map(|name| format!("uid-of-{name}"));
        job.metadata.creation_timestamp = Some(Time(at));
        job.status = Some(JobStatus { start_time: Some(Time(at)), ..JobStatus::default() });
        cluster.set_job(slot, Some(self.jobs.put(job)));
        cluster.base.procs[slot] = Proc::IDLE;
    }

    /// The process of a Job has ended, or died: so does the Job.
    pub(super) fn finish(&self, cluster: &mut Cluster, slot: usize, complete: bool, reason: &str) {
        let at = now(cluster.base.clock);
        self.change_job(cluster, slot, |job| {
            let status = job.status.get_or_insert_default();
            if status.conditions.as_ref().is_some_and(|known| !known.is_empty()) {
                return;
            }
            status.conditions.get_or_insert_default().push(JobCondition {
                type_: if complete { "Complete" } else { "Failed" }.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                last_transition_time: Some(Time(at)),
                ..JobCondition::default()
            });
            if complete {
                status.succeeded = Some(1);
            }
        });
    }

    /// Whether a process has nobody any more who wants it: its Job is stopped or deleted.
    pub(super) fn is_unwanted(&self, cluster: &Cluster, slot: usize) -> bool {
        let live = matches!(cluster.base.procs[slot].life, Life::Live | Life::Idle);
        live && match cluster.job(slot) {
            Some(job) => {
                let spec = &self.jobs.get(job).spec;
                spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds == Some(1))
            }
            None => cluster.base.procs[slot].life == Life::Live,
        }
    }
}

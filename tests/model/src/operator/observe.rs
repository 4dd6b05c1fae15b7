//! In: a cluster. Out: what the product's `decide` says about one object, asked once for each view.
//! Bound: four reads. Fails: never.

use crds::ExtractJob;
use crds::condition::Exit;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use operator_core::ReadRequest;
use operator_core::observed::{Observed, ServiceAccountState, Tracking, TrackingRead};
use operator_core::{Decision, Step};
use serde_json::json;

use super::cluster::Cluster;
use super::model::Operator;
use crate::asks::End;
use crate::inputs::seconds;
use crate::state::Life;

/// What one decision is a function of: copy, Jobs with the life of their pods, items, clock.
pub(super) type View = (u32, Vec<(u32, Life)>, [u32; 3], u8);

/// How a process that ended says so.
pub(super) const fn exit(end: End) -> Exit {
    match end {
        End::Published | End::Answered | End::Recovered => Exit::Done,
        End::DecidedRun | End::Failed | End::Defect => Exit::Transient,
        End::Fenced => Exit::Fenced,
        End::Permanent | End::Lost => Exit::Permanent,
    }
}

impl Operator {
    /// What is decided about an object, by number, from this copy of it.
    pub(super) fn decision(&self, cluster: &Cluster, object: usize, copy: u32) -> u32 {
        let shop = self.protocol.shop();
        let uid = self.uids[object];
        let of = |slot: &usize| shop.slot(*slot).uid == uid;
        let jobs = cluster.jobs.iter().filter(|(slot, _)| of(slot));
        let jobs = jobs.map(|(slot, job)| (*job, cluster.base.procs[*slot].life)).collect();
        let slot = self.first_slot(object);
        let items = [
            cluster.base.item(shop.run_key),
            cluster.base.item(shop.watermark_key),
            cluster.base.item(shop.outcome_keys[slot]),
        ];
        let view = (copy, jobs, items, cluster.base.clock);
        self.decisions.of(view, |view| self.decided.put(self.decide(view)))
    }

    fn decide(&self, (copy, jobs, items, clock): &View) -> Decision {
        let shop = self.protocol.shop();
        let read = TrackingRead {
            run: shop.run_item(items[0]),
            // status repeats it, and no decision depends on it
            watermark_item: None,
            outcome: shop.outcome_item(items[2]),
        };
        let found: Vec<Job> = jobs.iter().map(|(job, _)| (*self.jobs.get(*job)).clone()).collect();
        let lives = jobs.iter().map(|(_, life)| *life);
        let pods = found.iter().zip(lives).filter_map(|(job, life)| pod(job, life)).collect();
        let object: ExtractJob = (*self.objects.get(*copy)).clone();
        let mut observed = Observed {
            job: object,
            jobs: found,
            pods,
            tracking: Tracking::NotRead,
            watermark_changed: false,
            service_account: ServiceAccountState::NotRead,
            warnings: None,
            namespace_terminating: None,
            unreadable: 0,
            now: now(*clock),
            settings: &self.settings,
        };
        for _ in 0..5 {
            match (self.decide)(&observed) {
                Step::Act(decision) => return *decision,
                Step::Read(ReadRequest::Tracking(_)) => {
                    observed.tracking = Tracking::Read(Box::new(read.clone()));
                }
                Step::Read(ReadRequest::ServiceAccount(_)) => {
                    observed.service_account = ServiceAccountState::Allowed;
                }
                Step::Read(ReadRequest::Warnings(_)) => observed.warnings = Some(Vec::new()),
                Step::Read(ReadRequest::Namespace) => observed.namespace_terminating = Some(false),
            }
        }
        unreachable!("four looks are enough")
    }
}

pub(super) fn now(clock: u8) -> Timestamp {
    Timestamp::from_second(seconds(clock)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The pod of a Job, as its process lives: none before it starts, and none once it died.
fn pod(job: &Job, life: Life) -> Option<Pod> {
    let status = match life {
        Life::Idle | Life::Dead => return None,
        Life::Live => json!({ "phase": "Running" }),
        Life::Over(end) => {
            let code = exit(end).code();
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            json!({ "phase": phase, "containerStatuses": [{
                "name": "tidemark", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": code, "startedAt": Time(now(0)) } },
            }] })
        }
    };
    let mut pod = Pod { status: serde_json::from_value(status).ok(), ..Pod::default() };
    pod.metadata.name = job.metadata.name.as_ref().map(|name| format!("{name}-pod"));
    pod.metadata.uid = pod.metadata.name.clone();
    pod.metadata.labels.clone_from(&job.metadata.labels);
    pod.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    Some(pod)
}

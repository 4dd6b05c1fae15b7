//! In: a cluster. Out: the cluster after somebody has done something, and what is known of the past.
//! Bound: one action. Fails: never.

use crds::task::REQUESTED_AT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::attempt::is_finished;

use super::cluster::Cluster;
use super::model::{Action, Operator};
use super::observe::now;
use crate::config::REQUESTS;

impl Operator {
    pub(super) fn somebody(&self, cluster: &mut Cluster, action: Action) {
        match action {
            Action::Requests(object) => {
                cluster.luck.requests -= 1;
                let before = self.scene.luck.requests - cluster.luck.requests;
                let at = usize::from(before) - usize::from(self.scene.luck.restores == 0);
                self.request(cluster, object, REQUESTS[at]);
            }
            Action::Restores(object) => {
                cluster.luck.restores -= 1;
                self.request(cluster, object, REQUESTS[0]);
            }
            Action::Edits(object) => {
                cluster.luck.edits -= 1;
                self.change(cluster, object, |job| {
                    job.metadata.generation = job.metadata.generation.map(|number| number + 1);
                });
            }
            Action::Deletes(object) => {
                cluster.luck.deletions -= 1;
                let at = Time(now(cluster.base.clock));
                self.change(cluster, object, |job| job.metadata.deletion_timestamp = Some(at));
            }
            Action::Suspends(object) => {
                cluster.luck.suspends -= 1;
                self.change(cluster, object, |job| {
                    job.spec.suspend = Some(job.spec.suspend != Some(true));
                    job.metadata.generation = job.metadata.generation.map(|number| number + 1);
                });
            }
            Action::LosesJob(slot) => {
                cluster.luck.lost_jobs -= 1;
                cluster.set_job(slot, None);
            }
            _ => {
                cluster.luck.ticks -= 1;
                cluster.base.clock += 1;
            }
        }
    }

    fn request(&self, cluster: &mut Cluster, object: usize, value: &str) {
        self.change(cluster, object, |job| {
            let annotations = job.metadata.annotations.get_or_insert_default();
            annotations.insert(REQUESTED_AT.to_owned(), value.to_owned());
        });
    }

    /// Whether the run item shows an open run of the object, or a Job of it is at work.
    pub(super) fn shows_open(&self, cluster: &Cluster, object: usize) -> bool {
        let shop = self.protocol.shop();
        let uid = self.uids[object];
        let at_work = |(slot, job): &(usize, u32)| {
            shop.slot(*slot).uid == uid && !is_finished(&self.jobs.get(*job))
        };
        self.is_open(cluster, object) || cluster.jobs.iter().any(at_work)
    }

    /// Whether anything has gone wrong that an attempt may fail of.
    pub(super) fn went_wrong(&self, cluster: &Cluster) -> bool {
        let (all, left) = (self.scene.luck, cluster.luck);
        (all.crashes, all.faults, all.lost_jobs) != (left.crashes, left.faults, left.lost_jobs)
    }

    /// Whether decisions may be applied late.
    pub(super) const fn may_be_late(&self) -> bool {
        self.scene.luck.thoughts > 0
    }
}

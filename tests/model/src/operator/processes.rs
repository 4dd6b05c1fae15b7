//! In: a cluster and one of its processes. Out: the cluster after that process has come up, taken a
//! step, or ended. Bound: one step. Fails: never.

use crds::Task;
use crds::task::{RECOVER_ENV, RecoverOrder, TASK_ENV};
use crds::tracking::Owner;
use worker_core::protocol::{Process, Role};

use super::apply::env;
use super::cluster::{Cluster, Promise};
use super::model::{Action, Operator};
use super::observe::exit;
use crate::asks::{End, Kind};
use crate::config::rank;
use crate::inputs::Input;
use crate::process::{How, can_go_on};
use crate::shop::LEASE;
use crate::state::{Life, Proc};

impl Operator {
    pub(super) fn start(&self, cluster: &mut Cluster, slot: usize, job: u32) {
        let shop = self.protocol.shop();
        let process = self.processes.of((slot, job), |_| {
            let job = self.jobs.get(job);
            let task = Box::new(env::<Task>(&job, TASK_ENV).expect("a task"));
            let role = match env::<RecoverOrder>(&job, RECOVER_ENV) {
                Some(order) => Role::Recover { task, order: Box::new(order) },
                None => Role::Coordinate { task, last: false },
            };
            shop.processes.put(Process::new(role, LEASE))
        });
        cluster.base.procs[slot] = Proc { life: Life::Live, process, ..Proc::IDLE };
        shop.tell(&mut cluster.base, slot, Input::Begin);
    }

    /// On to the next write of the tracking table, and no further.
    pub(super) fn go(&self, cluster: &mut Cluster, slot: usize) {
        let shop = self.protocol.shop();
        let known = cluster.base.past.published.len();
        for _ in 0..60 {
            let proc = &cluster.base.procs[slot];
            if proc.life != Life::Live {
                break;
            }
            let ask = shop.asks.get(proc.ask);
            let which = proc.tried.trailing_ones() as usize;
            if let (false, Kind::Extract(run, records)) =
                (can_go_on(&cluster.base, &ask), &ask.kind)
            {
                self.protocol.all_pods(&mut cluster.base, *run, records.len());
                if !can_go_on(&cluster.base, &ask) {
                    return self.fail(cluster, slot);
                }
            }
            shop.perform(&mut cluster.base, slot, (How::Well, which));
            if ask.kind.step().is_some() {
                break;
            }
        }
        if cluster.base.past.published.len() > known {
            self.published(cluster);
        }
        self.ended(cluster, slot);
    }

    pub(super) fn published(&self, cluster: &mut Cluster) {
        let shop = self.protocol.shop();
        let Some(run) = shop.run_item(cluster.base.item(shop.run_key)) else { return };
        // the request of any generation
        let owner = self.owners.put(Owner { generation: 0, ..run.owner });
        if cluster.published.contains(&owner) {
            cluster.broke(Promise::Twice);
        }
        let asked = |owner: &Owner| rank(owner.requested_at.as_ref());
        let run = self.owners.get(owner);
        let later = |other: &u32| {
            let other = self.owners.get(*other);
            (&other.uid, &other.request) == (&run.uid, &run.request) && asked(&other) >= asked(&run)
        };
        if cluster.published.iter().any(later) {
            cluster.broke(Promise::Older);
        }
        cluster.published.push(owner);
    }

    pub(super) fn fail(&self, cluster: &mut Cluster, slot: usize) {
        self.protocol.shop().tell(&mut cluster.base, slot, Input::Transient);
        self.ended(cluster, slot);
    }

    pub(super) fn ended(&self, cluster: &mut Cluster, slot: usize) {
        if cluster.base.procs[slot].life == Life::Over(End::DecidedRun) {
            let answered = self.is_answered(cluster, slot);
            let end = if answered { End::Answered } else { End::Fenced };
            cluster.base.procs[slot].life = Life::Over(end);
        }
        if let Life::Over(end) = cluster.base.procs[slot].life {
            let done = exit(end) == crds::condition::Exit::Done;
            self.finish(cluster, slot, done, "BackoffLimitExceeded");
        }
    }

    /// As the worker asks once more when another committer has brought its run to the end.
    pub(super) fn is_answered(&self, cluster: &Cluster, slot: usize) -> bool {
        let shop = self.protocol.shop();
        let job = cluster.job(slot).map(|job| self.jobs.get(job));
        let task = job.and_then(|job| env::<Task>(&job, TASK_ENV));
        let outcome = shop.outcome_item(cluster.base.item(shop.outcome_keys[slot]));
        outcome.and_then(|outcome| outcome.result).zip(task).is_some_and(|(result, task)| {
            worker_core::protocol::transitions::answers_complete(&result, &task)
        })
    }

    pub(super) fn process_actions(
        &self,
        cluster: &Cluster,
        slot: usize,
        actions: &mut Vec<Action>,
    ) {
        let luck = &cluster.luck;
        let life = cluster.base.procs[slot].life;
        match life {
            Life::Idle if cluster.job(slot).is_some() && !self.is_unwanted(cluster, slot) => {
                actions.push(Action::Starts(slot));
            }
            // a second pod, as long as the Job is there
            Life::Idle if Self::is_twin(slot) && luck.twins > 0 && slot > 0 => {
                if cluster.job(slot - 1).is_some() {
                    actions.push(Action::Starts(slot));
                }
            }
            Life::Live => {
                actions.push(Action::Goes(slot));
                if luck.faults > 0 {
                    actions.push(Action::Fails(slot));
                }
                if luck.crashes > 0 {
                    actions.push(Action::Dies(slot));
                }
            }
            Life::Idle | Life::Over(_) | Life::Dead => {}
        }
        if self.is_unwanted(cluster, slot) && !(Self::is_twin(slot) && life == Life::Idle) {
            actions.push(Action::Stops(slot));
        }
        if luck.lost_jobs > 0 && cluster.job(slot).is_some() {
            actions.push(Action::LosesJob(slot));
        }
    }
}

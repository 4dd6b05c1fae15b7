//! The second model. Bound: the luck of a scene. Fails: never.

use std::time::Duration;

use crds::task::{REQUESTED_AT, SETTLE_ENV, SettleOrder, TASK_ENV};
use crds::tracking::Owner;
use crds::{ExtractJob, Task};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_core::settings::{Settings, Timing, TrackingSettings};
use operator_core::{Decision, Observed, Step};
use serde_json::{from_value, json};
use stateright::{Model, Property};
use worker_core::commits::{Carrier, Role};

use super::apply::env;
use super::cluster::{Cluster, Luck, Object, Promise};
use super::observe::{View, exit, now};
use crate::alter::Alter;
use crate::asks::{End, Kind};
use crate::config::{Config, Slot, hold, settle};
use crate::pool::{Memo, Pool};
use crate::process::{How, can_go_on};
use crate::protocol::Protocol;
use crate::rules::Rule;
use crate::shop::LEASE;
use crate::state::{Life, Proc};
use crate::told::Told;

/// Settle Jobs of one attempt that may be made in a row.
const SETTLES: usize = 2;
/// Slots of one attempt: its pod, a second pod, settle processes.
const SLOTS: usize = 2 + SETTLES;

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The operator decides about an object, from an old copy or not, and carries out so many of
    /// the effects.
    Decides(usize, bool, usize),
    /// Another operator decides, and does not act yet.
    Thinks(usize),
    /// It acts.
    Acts,
    /// The pod of a Job starts.
    Starts(usize),
    /// A process goes on to its next write of the tracking table, and does it.
    Goes(usize),
    /// A process fails at what it is about to do.
    Fails(usize),
    /// A process dies.
    Dies(usize),
    /// A process that nobody wants any more is stopped.
    Stops(usize),
    /// Somebody asks for another run.
    Wishes(usize),
    /// Somebody edits the object.
    Edits(usize),
    /// Somebody deletes the object.
    Deletes(usize),
    /// Somebody deletes a Job.
    LosesJob(usize),
    /// All leases run out.
    Tick,
}

/// What is explored.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Objects, all on one source.
    pub objects: usize,
    /// Attempts of each object that can be made without doubt about their end.
    pub attempts: usize,
    /// `retry.runs` of each object.
    pub runs: u32,
    /// What may happen.
    pub luck: Luck,
}

/// The model of one scene.
pub struct Operator {
    pub(super) protocol: Protocol,
    pub(super) decide: fn(&Observed) -> Step,
    pub(super) uids: Vec<&'static str>,
    pub(super) settings: Settings,
    pub(super) objects: Pool<ExtractJob>,
    pub(super) jobs: Pool<Job>,
    pub(super) owners: Pool<Owner>,
    pub(super) decided: Pool<Decision>,
    pub(super) decisions: Memo<View, u32>,
    carriers: Memo<(usize, u32), u32>,
    scene: Scene,
}

fn slots(scene: &Scene) -> Vec<Slot> {
    let mut slots = Vec::new();
    for uid in uids(scene) {
        for attempt in (1_u32..).take(scene.attempts) {
            slots.extend([hold(uid, attempt), hold(uid, attempt)]);
            slots.extend((0..SETTLES).map(|_| settle(uid, attempt)));
        }
    }
    slots
}

fn uids(scene: &Scene) -> Vec<&'static str> {
    ["a", "b"].into_iter().take(scene.objects).collect()
}

/// All pauses are over at once, but for those that only a clock ends.
fn settings() -> Settings {
    let none = Duration::ZERO;
    let long = Duration::from_hours(1000);
    Settings {
        worker_image: "tidemark:1".to_owned(),
        worker_pull_policy: "IfNotPresent".to_owned(),
        worker_pull_secrets: Vec::new(),
        worker_env: Vec::new(),
        service_account: "tidemark-extract".to_owned(),
        resources: ResourceRequirements::default(),
        settle_resources: ResourceRequirements::default(),
        allow_insecure_plaintext: false,
        tracking: TrackingSettings { table: Some("tracking".to_owned()), ..Default::default() },
        timing: Timing {
            retry_first: none,
            retry_most: none,
            pod_start_wait: none,
            pod_stop_wait: none,
            settle_retry: none,
            busy_retry: none,
            settle_tries: u32::try_from(SETTLES).unwrap_or(1),
            settle_rest: long,
            deletion_bound: long,
            ..Timing::default()
        },
    }
}

fn object(uid: &str, runs: u32) -> ExtractJob {
    from_value(json!({
        "apiVersion": "tidemark.dev/v1alpha1", "kind": "ExtractJob",
        "metadata": { "name": uid, "namespace": "shop", "uid": uid, "generation": 1 },
        "spec": {
            "source": { "engine": "postgres", "database": "shop", "host": "db",
                "credentials": { "secretRef": { "name": "s" } } },
            "extract": { "table": "orders", "type": "PE",
                "watermark": { "column": "id", "type": "int" } },
            "output": { "uri": crate::shop::uri(0) },
            "retry": { "runs": runs },
        },
    }))
    .expect("an object")
}

impl Operator {
    /// The product in this scene, or a planted mistake.
    pub fn new(scene: Scene, decide: fn(&Observed) -> Step, alter: Alter) -> Self {
        let config = Config::new(scene.name, slots(&scene));
        Self {
            protocol: Protocol::new(config, alter),
            decide,
            uids: uids(&scene),
            settings: settings(),
            objects: Pool::new(),
            jobs: Pool::new(),
            owners: Pool::new(),
            decided: Pool::new(),
            decisions: Memo::new(),
            carriers: Memo::new(),
            scene,
        }
    }

    pub(super) fn first_slot(&self, object: usize) -> usize {
        object * self.scene.attempts * SLOTS
    }

    /// The slot of an attempt's coordinator, or of its settle number `settle`.
    pub(super) fn slot(
        &self,
        object: usize,
        attempt: usize,
        settle: Option<usize>,
    ) -> Option<usize> {
        let at = attempt.checked_sub(1).filter(|at| *at < self.scene.attempts)?;
        let within = match settle {
            None => 0,
            Some(k) => 1 + k,
        };
        (within < SLOTS).then(|| self.first_slot(object) + at * SLOTS + within)
    }

    /// Whether a slot is for second pods.
    const fn is_twin(slot: usize) -> bool {
        slot % SLOTS == 1
    }

    fn start(&self, cluster: &mut Cluster, slot: usize, job: u32) {
        let shop = self.protocol.shop();
        let carrier = self.carriers.of((slot, job), |_| {
            let job = self.jobs.get(job);
            let task = Box::new(env::<Task>(&job, TASK_ENV).expect("a task"));
            let role = match env::<SettleOrder>(&job, SETTLE_ENV) {
                Some(order) => Role::Settle { task, order: Box::new(order) },
                None => Role::Hold { task, last: false },
            };
            shop.carriers.put(Carrier::new(role, LEASE))
        });
        cluster.base.procs[slot] = Proc { life: Life::Live, carrier, ..Proc::IDLE };
        shop.tell(&mut cluster.base, slot, Told::Begin);
    }

    /// On to the next write of the tracking table, and no further.
    fn go(&self, cluster: &mut Cluster, slot: usize) {
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

    fn published(&self, cluster: &mut Cluster) {
        let shop = self.protocol.shop();
        let Some(run) = shop.run_item(cluster.base.item(shop.run_key)) else { return };
        // the request, whatever generation asks for it
        let owner = self.owners.put(Owner { generation: 0, ..run.owner });
        if cluster.published.contains(&owner) {
            cluster.broke(Promise::Twice);
        }
        cluster.published.push(owner);
    }

    fn fail(&self, cluster: &mut Cluster, slot: usize) {
        self.protocol.shop().tell(&mut cluster.base, slot, Told::Transient);
        self.ended(cluster, slot);
    }

    fn ended(&self, cluster: &mut Cluster, slot: usize) {
        if cluster.base.procs[slot].life == Life::Over(End::Carried) {
            let answered = self.is_answered(cluster, slot);
            let end = if answered { End::Answered } else { End::Fenced };
            cluster.base.procs[slot].life = Life::Over(end);
        }
        if let Life::Over(end) = cluster.base.procs[slot].life {
            let done = exit(end) == crds::condition::Exit::Done;
            self.finish(cluster, slot, done, "BackoffLimitExceeded");
        }
    }

    /// As the worker asks once more when another carrier has brought its run to the end.
    fn is_answered(&self, cluster: &Cluster, slot: usize) -> bool {
        let shop = self.protocol.shop();
        let job = cluster.job(slot).map(|job| self.jobs.get(job));
        let task = job.and_then(|job| env::<Task>(&job, TASK_ENV));
        let outcome = shop.outcome_item(cluster.base.item(shop.outcome_keys[slot]));
        outcome.and_then(|outcome| outcome.result).zip(task).is_some_and(|(result, task)| {
            worker_core::commits::transitions::answers_complete(&result, &task)
        })
    }

    fn process_actions(&self, cluster: &Cluster, slot: usize, actions: &mut Vec<Action>) {
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

    fn object_actions(&self, cluster: &Cluster, object: usize, actions: &mut Vec<Action>) {
        let luck = &cluster.luck;
        let Object { now, before } = cluster.objects[object];
        if now == 0 {
            return;
        }
        actions.push(Action::Decides(object, false, usize::MAX));
        if luck.cuts > 0 {
            let decision = self.decided.get(self.decision(cluster, object, now));
            let cuts = 0..decision.effects.len();
            actions.extend(cuts.skip(1).map(|most| Action::Decides(object, false, most)));
        }
        if luck.stale > 0 && before != 0 {
            actions.push(Action::Decides(object, true, usize::MAX));
        }
        if luck.thoughts > 0 && cluster.thought.is_none() {
            actions.push(Action::Thinks(object));
        }
        let deleted = self.objects.get(now).metadata.deletion_timestamp.is_some();
        let wishes = [
            (luck.wishes > 0, Action::Wishes(object)),
            (luck.edits > 0, Action::Edits(object)),
            (luck.deletions > 0, Action::Deletes(object)),
        ];
        let wishes = wishes.into_iter().filter(|(may, _)| *may && !deleted);
        actions.extend(wishes.map(|(_, action)| action));
    }

    fn take(&self, cluster: &mut Cluster, action: Action) {
        match action {
            Action::Decides(object, stale, most) => {
                let Object { now, before } = cluster.objects[object];
                let copy = if stale { before } else { now };
                cluster.luck.stale -= u8::from(stale);
                cluster.luck.cuts -= u8::from(most != usize::MAX);
                let decision = self.decision(cluster, object, copy);
                self.apply(cluster, object, (copy, decision), most);
            }
            Action::Thinks(object) => {
                cluster.luck.thoughts -= 1;
                let copy = cluster.objects[object].now;
                let decision = self.decision(cluster, object, copy);
                cluster.thought = Some((object, copy, decision));
            }
            Action::Acts => {
                if let Some((object, copy, decision)) = cluster.thought.take() {
                    self.apply(cluster, object, (copy, decision), usize::MAX);
                }
            }
            Action::Starts(slot) => {
                let twin = Self::is_twin(slot);
                cluster.luck.twins -= u8::from(twin);
                let job = cluster.job(if twin { slot - 1 } else { slot }).unwrap_or_default();
                self.start(cluster, slot, job);
            }
            Action::Goes(slot) => self.go(cluster, slot),
            Action::Fails(slot) => {
                cluster.luck.faults -= 1;
                self.fail(cluster, slot);
            }
            Action::Dies(slot) => {
                cluster.luck.crashes -= 1;
                cluster.base.procs[slot] = Proc::gone(Life::Dead);
                self.finish(cluster, slot, false, "BackoffLimitExceeded");
            }
            Action::Stops(slot) => {
                cluster.base.procs[slot] = Proc::gone(Life::Dead);
                self.finish(cluster, slot, false, "DeadlineExceeded");
            }
            action => self.somebody(cluster, action),
        }
    }

    fn somebody(&self, cluster: &mut Cluster, action: Action) {
        match action {
            Action::Wishes(object) => {
                cluster.luck.wishes -= 1;
                let wish = cluster.luck.wishes.to_string();
                self.change(cluster, object, |job| {
                    let notes = job.metadata.annotations.get_or_insert_default();
                    notes.insert(REQUESTED_AT.to_owned(), wish);
                });
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

    /// Whether decisions may be carried out late.
    pub(super) const fn may_be_late(&self) -> bool {
        self.scene.luck.thoughts > 0
    }

    /// Whether every object has its outcome or is gone, and nothing is under way.
    pub fn is_at_rest(&self, cluster: &Cluster) -> bool {
        let shop = self.protocol.shop();
        let run = shop.run_item(cluster.base.item(shop.run_key));
        // what a deleted object has left open waits for its deadline
        let is_gone = |uid: &str| {
            let at = self.uids.iter().position(|known| *known == uid);
            at.is_none_or(|at| cluster.objects[at].now == 0)
        };
        let quiet = run.is_none_or(|run| {
            is_gone(&run.owner.uid) || (!run.state.is_open() && run.todo.is_none())
        });
        quiet
            && cluster.objects.iter().all(|object| {
                object.now == 0 || {
                    let job = self.objects.get(object.now);
                    let answered = job.status.as_ref().and_then(|status| {
                        status.outcome.as_ref().zip(operator_core::valid::owner(&job))
                    });
                    job.metadata.deletion_timestamp.is_none()
                        && answered.is_some_and(|(outcome, owner)| {
                            operator_core::due::answer(&job.spec, &owner, outcome)
                                == operator_core::due::Answer::Answered
                        })
                }
            })
    }
}

/// Promises of the protocol that speak of requests, which this model watches itself.
const OWN: [Rule; 3] = [Rule::Once, Rule::Outcome, Rule::Exit];

impl Model for Operator {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        let made =
            |uid: &&str| Object { now: self.objects.put(object(uid, self.scene.runs)), before: 0 };
        vec![Cluster {
            base: self.protocol.init_states().remove(0),
            objects: self.uids.iter().map(made).collect(),
            jobs: Vec::new(),
            thought: None,
            luck: self.scene.luck,
            published: Vec::new(),
            made: 0,
            tried: Vec::new(),
            broken: 0,
        }]
    }

    fn actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        if cluster.broken != 0 {
            return;
        }
        for object in 0..cluster.objects.len() {
            self.object_actions(cluster, object, actions);
        }
        for slot in 0..cluster.base.procs.len() {
            self.process_actions(cluster, slot, actions);
        }
        if cluster.thought.is_some() {
            actions.push(Action::Acts);
        }
        if cluster.luck.ticks > 0 {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &Cluster, action: Action) -> Option<Cluster> {
        let mut cluster = last.clone();
        self.take(&mut cluster, action);
        cluster.base.broken.forget(&OWN);
        cluster.base.pods.clear();
        (cluster != *last).then_some(cluster)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! own {
            ($($promise:ident = $text:expr),+ $(,)?) => {
                vec![$(Property::always($text, |_: &Self, cluster: &Cluster| {
                    !cluster.has_broken(Promise::$promise)
                })),+]
            };
        }
        let mut all = own! {
            Twice = super::worlds::TWICE,
            Status = super::worlds::STATUS,
            Endless = super::worlds::ENDLESS,
            LetGo = super::worlds::LET_GO,
            MadeTwice = super::worlds::MADE_TWICE,
            Untried = super::worlds::UNTRIED,
        };
        all.push(Property::always("the promises of the protocol", |_, cluster: &Cluster| {
            cluster.base.broken.is_none()
        }));
        all.push(Property::sometimes("a request is published", |_, cluster: &Cluster| {
            !cluster.published.is_empty()
        }));
        all
    }
}

//! The second model. Bound: the luck of a scene. Fails: never.

use crds::ExtractJob;
use crds::task::REQUESTED_AT;
use crds::tracking::Owner;
use k8s_openapi::api::batch::v1::Job;
use operator_core::settings::Settings;
use operator_core::{Decision, Observed, Step};
use serde_json::{from_value, json};
use stateright::{Model, Property};

use super::cases::settings;
use super::cluster::{Cluster, Luck, Object, Promise, Thought};
use super::observe::View;
use crate::alter::Alter;
use crate::config::{Config, REQUESTS, Slot, recover, start};
use crate::pool::{Memo, Pool};
use crate::protocol::Protocol;
use crate::rules::Rule;
use crate::state::{Life, Proc};

/// Recovery Jobs of one attempt that may be made in a row.
pub(super) const RECOVERIES: usize = 2;
/// Slots of one attempt: its pod, a second pod, recovery processes.
const SLOTS: usize = 2 + RECOVERIES;

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The operator decides about an object, from an old copy or not, and applies so many of
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
    Requests(usize),
    /// A tool restores the first request.
    Restores(usize),
    /// Somebody edits the object.
    Edits(usize),
    /// Somebody deletes the object.
    Deletes(usize),
    /// Somebody suspends the object, or resumes it.
    Suspends(usize),
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
    pub(super) processes: Memo<(usize, u32), u32>,
    pub(super) scene: Scene,
}

fn slots(scene: &Scene) -> Vec<Slot> {
    let mut slots = Vec::new();
    for uid in uids(scene) {
        for attempt in (1_u32..).take(scene.attempts) {
            slots.extend([start(uid, attempt), start(uid, attempt)]);
            slots.extend((0..RECOVERIES).map(|_| recover(uid, attempt)));
        }
    }
    slots
}

fn uids(scene: &Scene) -> Vec<&'static str> {
    ["a", "b"].into_iter().take(scene.objects).collect()
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
            processes: Memo::new(),
            scene,
        }
    }

    pub(super) fn first_slot(&self, object: usize) -> usize {
        object * self.scene.attempts * SLOTS
    }

    /// The slot of an attempt's coordinator, or of its recovery number `recover`.
    pub(super) fn slot(
        &self,
        object: usize,
        attempt: usize,
        recover: Option<usize>,
    ) -> Option<usize> {
        let at = attempt.checked_sub(1).filter(|at| *at < self.scene.attempts)?;
        let within = match recover {
            None => 0,
            Some(k) => 1 + k,
        };
        (within < SLOTS).then(|| self.first_slot(object) + at * SLOTS + within)
    }

    /// Whether a slot is for second pods.
    pub(super) const fn is_twin(slot: usize) -> bool {
        slot % SLOTS == 1
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
        let requests = [
            (luck.requests > 0, Action::Requests(object)),
            (luck.restores > 0, Action::Restores(object)),
            (luck.edits > 0, Action::Edits(object)),
            (luck.deletions > 0, Action::Deletes(object)),
            (luck.suspends > 0, Action::Suspends(object)),
        ];
        let requests = requests.into_iter().filter(|(may, _)| *may && !deleted);
        actions.extend(requests.map(|(_, action)| action));
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
                let open = self.shows_open(cluster, object);
                cluster.thought = Some(Thought { object, copy, decision, open });
            }
            Action::Acts => {
                if let Some(Thought { object, copy, decision, open }) = cluster.thought.take() {
                    self.apply(cluster, object, (copy, decision), usize::MAX);
                    if !open {
                        cluster.forgive_let_go();
                    }
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

    /// Whether every object has its outcome or is gone, and nothing is in flight.
    pub fn is_at_rest(&self, cluster: &Cluster) -> bool {
        let shop = self.protocol.shop();
        let run = shop.run_item(cluster.base.item(shop.run_key));
        // what a deleted object has left open waits for its deadline
        let is_gone = |uid: &str| {
            let at = self.uids.iter().position(|known| *known == uid);
            at.is_none_or(|at| cluster.objects[at].now == 0)
        };
        let quiet = run.is_none_or(|run| {
            is_gone(&run.owner.uid) || (!run.state.is_open() && run.pending_cleanup.is_none())
        });
        quiet
            && cluster.objects.iter().all(|object| {
                object.now == 0 || {
                    let job = self.objects.get(object.now);
                    let suspended = job.spec.suspend == Some(true)
                        && job.status.as_ref().and_then(|status| status.phase)
                            == Some(crds::Phase::Suspended);
                    if suspended && job.metadata.deletion_timestamp.is_none() {
                        return true;
                    }
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
        let made = |uid: &&str| {
            let mut object = object(uid, self.scene.runs);
            if self.scene.luck.restores > 0 {
                let annotations = object.metadata.annotations.get_or_insert_default();
                annotations.insert(REQUESTED_AT.to_owned(), REQUESTS[0].to_owned());
            }
            Object { now: self.objects.put(object), before: 0 }
        };
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
            Twice = super::cases::TWICE,
            Status = super::cases::STATUS,
            Endless = super::cases::ENDLESS,
            LetGo = super::cases::LET_GO,
            MadeTwice = super::cases::MADE_TWICE,
            Untried = super::cases::UNTRIED,
            GivenUp = super::cases::GIVEN_UP,
            Suspended = super::cases::SUSPENDED,
            Older = super::cases::OLDER,
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

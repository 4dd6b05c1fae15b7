//! The first model: the product's `step` for every process, on stores, pods, clocks and misfortunes
//! that are the model's own. Bound: the budget of a configuration. Fails: never.

use std::sync::Arc;

use stateright::{Model, Property};
use worker_core::protocol::Item;

use crate::alter::Alter;
use crate::asks::{Ask, Kind};
use crate::config::{Budget, Config, Seed};
use crate::pool::NONE;
use crate::process::{How, can_go_on};
use crate::rules::{Rules, properties};
use crate::shop::Shop;
use crate::state::{Life, Past, Person, Proc, State, set};

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A process begins.
    Start(usize),
    /// A process takes a step; where it has several writes, this one of them.
    Step(usize, How, usize),
    /// A process dies, and its view with it.
    Dies(usize),
    /// The session that holds the snapshot of a process dies.
    SessionDies(usize),
    /// A coordinator renews.
    Renews(usize),
    /// A pod begins to read a partition: run, partition, which pod.
    Reads(u8, u8, u8),
    /// A pod writes its record, or aborts its upload.
    Pod(usize),
    /// All leases run out.
    Tick,
    /// The database goes on.
    Epoch,
    /// The legacy job moves the watermark.
    Legacy,
    /// Somebody deletes the run item.
    LoseRun,
    /// Somebody deletes the watermark item.
    LoseMark,
    /// A rule of the bucket aborts an upload of the decided run.
    Lapse,
    /// A person reads the watermark.
    ReadsRevision,
    /// The command that is to move it reads the items.
    ReadsItems,
    /// It moves the watermark.
    Sets,
}

/// The model of one configuration.
#[derive(Clone)]
pub struct Protocol {
    pub(crate) shop: Arc<Shop>,
}

impl Protocol {
    /// The product in this case, or a planted mistake.
    pub fn new(config: Config, alter: Alter) -> Self {
        Self { shop: Arc::new(Shop::new(config, alter)) }
    }

    pub(crate) fn shop(&self) -> &Shop {
        &self.shop
    }

    fn empty(&self) -> State {
        let config = &self.shop.config;
        State {
            items: Vec::new(),
            objects: Vec::new(),
            uploads: Vec::new(),
            files: Vec::new(),
            procs: vec![Proc::IDLE; config.slots.len()],
            pods: Vec::new(),
            clock: 0,
            epoch: 0,
            left: config.budget,
            person: Person::default(),
            past: Past::default(),
            broken: Rules::default(),
        }
    }

    fn seed(&self, state: &mut State, seed: Seed) {
        match seed {
            Seed::Ends(at) => self.drive(state, at, &|_| false),
            Seed::Until(at, step) => {
                let before = self.drive_to(state, at, step);
                if before {
                    self.shop.perform(state, at, (How::Well, 0));
                }
            }
            Seed::Before(at, step) => {
                self.drive_to(state, at, step);
            }
            Seed::Dies(at) => state.procs[at] = Proc::gone(Life::Dead),
            Seed::Epoch => state.epoch += 1,
            Seed::Tick => state.clock += 1,
            Seed::Lapse => {
                state.left.lapses -= 1;
                if let Some(upload) = self.lapsing(state) {
                    state.close(upload);
                }
            }
        }
    }

    fn drive_to(&self, state: &mut State, at: usize, step: worker_core::protocol::Step) -> bool {
        self.drive(state, at, &|ask| ask.kind.step() == Some(step));
        state.procs[at].life == Life::Live
    }

    /// A process, and the pods that it needs, go on until it ends or asks for what `stop` knows.
    fn drive(&self, state: &mut State, at: usize, stop: &dyn Fn(&Ask) -> bool) {
        if state.procs[at].life == Life::Idle {
            self.shop.start(state, at);
        }
        for _ in 0..200 {
            if state.procs[at].life != Life::Live {
                return;
            }
            let ask = self.shop.asks.get(state.procs[at].ask);
            if stop(&ask) {
                return;
            }
            if !can_go_on(state, &ask)
                && let Kind::Extract(run, records) = &ask.kind
            {
                self.all_pods(state, *run, records.len());
            }
            let which = state.procs[at].tried.trailing_ones() as usize;
            self.shop.perform(state, at, (How::Well, which));
        }
    }

    fn process_actions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let left = &state.left;
        let proc = &state.procs[at];
        let ask = self.shop.asks.get(proc.ask);
        if self.shop.slot(at).mortal && left.crashes > 0 {
            actions.push(Action::Dies(at));
        }
        let (writes, track) = match &ask.kind {
            Kind::Write(ops) => {
                let ops = self.shop.singles(state, at, ops);
                (ops.len(), ops.iter().any(crate::asks::Op::has_reply))
            }
            _ => (1, false),
        };
        let first = proc.tried.trailing_ones() as usize;
        let untried = (0..writes).filter(|which| proc.tried & (1 << which) == 0);
        let faulty = left.faults > 0 && self.shop.slot(at).mortal;
        for which in untried.filter(|which| self.shop.config.any_order || *which == first) {
            if can_go_on(state, &ask) {
                actions.push(Action::Step(at, How::Well, which));
            }
            if track && left.echoes > 0 {
                actions.push(Action::Step(at, How::Echo, which));
            }
            if faulty && matches!(ask.kind, Kind::Write(_)) {
                actions.push(Action::Step(at, How::FailsLate, which));
            }
        }
        if faulty {
            actions.push(Action::Step(at, How::Fails, first));
        }
        if let Kind::Extract(run, _) = ask.kind {
            if left.sessions > 0 && !proc.lost && self.shop.slot(at).mortal {
                actions.push(Action::SessionDies(at));
            }
            // a coordinator whose run is not its own any more finds out
            if left.renews > 0 || !self.is_running(state, run) {
                actions.push(Action::Renews(at));
            }
        }
    }

    fn outside_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        let there = |key| state.item(key) != NONE;
        let legacy = there(self.shop.watermark_key);
        let all = [
            (left.ticks > 0, Action::Tick),
            (left.epochs > 0, Action::Epoch),
            (left.legacy > 0 && legacy, Action::Legacy),
            (left.lost_runs > 0 && self.may_lose_run(state), Action::LoseRun),
            (left.lost_marks > 0 && legacy, Action::LoseMark),
            (left.lapses > 0 && self.lapsing(state).is_some(), Action::Lapse),
        ];
        actions.extend(all.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
        Self::person_actions(state, actions);
    }

    fn may_lose_run(&self, state: &State) -> bool {
        self.shop.items.find(state.item(self.shop.run_key)).is_some_and(|item| match &*item {
            Item::Run(run) => {
                self.shop.config.rash || !(run.state.is_open() || run.pending_cleanup.is_some())
            }
            Item::Watermark(_) | Item::Outcome(_) => false,
        })
    }

    fn may_start(&self, state: &State, at: usize) -> bool {
        let slot = self.shop.slot(at);
        let over = |other: &usize| matches!(state.procs[*other].life, Life::Over(_) | Life::Dead);
        // slots that are alike begin in their order
        let alike = (0..at).rev().find(|other| {
            let other = self.shop.slot(*other);
            (other.uid, other.attempt, other.request, other.part)
                == (slot.uid, slot.attempt, slot.request, slot.part)
        });
        state.procs[at].life == Life::Idle
            && slot.after.iter().all(over)
            && alike.is_none_or(|alike| state.procs[alike].life != Life::Idle)
    }

    fn lose(state: &mut State, key: u32) {
        set(&mut state.items, key, NONE);
        state.past.missing = true;
        state.past.pending_window = NONE;
    }

    fn take(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Start(at) => self.shop.start(state, at),
            Action::Step(at, how, which) => {
                match how {
                    How::Well => {}
                    How::Echo => state.left.echoes -= 1,
                    How::Fails | How::FailsLate => state.left.faults -= 1,
                }
                self.shop.perform(state, at, (how, which));
            }
            Action::Dies(at) => {
                state.left.crashes -= 1;
                state.procs[at] = Proc::gone(Life::Dead);
            }
            Action::SessionDies(at) => {
                state.left.sessions -= 1;
                self.shop.lose_session(state, at);
            }
            Action::Renews(at) => {
                state.left.renews = state.left.renews.saturating_sub(1);
                self.shop.tell(state, at, crate::inputs::Input::RenewDue(state.clock, 0));
            }
            Action::Reads(run, index, token) => {
                let alive = self.is_running(state, run);
                state.left.zombies -= u8::from(!alive);
                state.left.twins -= u8::from(token > 0);
                return self.reads(state, (run, index, token)).then_some(());
            }
            Action::Pod(at) => self.pod(state, at),
            Action::Tick => {
                state.left.ticks -= 1;
                state.clock += 1;
            }
            Action::Epoch => {
                state.left.epochs -= 1;
                state.epoch += 1;
            }
            Action::Legacy => {
                state.left.legacy -= 1;
                self.legacy(state);
            }
            Action::LoseRun => {
                state.left.lost_runs -= 1;
                Self::lose(state, self.shop.run_key);
            }
            Action::LoseMark => {
                state.left.lost_marks -= 1;
                Self::lose(state, self.shop.watermark_key);
            }
            Action::Lapse => {
                state.left.lapses -= 1;
                let upload = self.lapsing(state)?;
                state.close(upload);
            }
            Action::ReadsRevision | Action::ReadsItems | Action::Sets => self.person(state),
        }
        Some(())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = self.empty();
        for seed in &self.shop.config.seeds {
            self.seed(&mut state, *seed);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, proc) in state.procs.iter().enumerate() {
            match proc.life {
                Life::Idle if self.may_start(state, at) => actions.push(Action::Start(at)),
                Life::Live => self.process_actions(state, at, actions),
                Life::Idle | Life::Over(_) | Life::Dead => {}
            }
        }
        self.pod_actions(state, actions);
        self.outside_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, action)?;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties()
    }
}

impl Budget {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        crashes: 0,
        echoes: 0,
        faults: 0,
        renews: 0,
        twins: 0,
        sessions: 0,
        ticks: 0,
        epochs: 0,
        legacy: 0,
        lost_runs: 0,
        lost_marks: 0,
        zombies: 0,
        lapses: 0,
        sets: 0,
    };
}

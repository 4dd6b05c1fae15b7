//! In: a state and a process. Out: the state after the process has taken one step.
//! Bound: one external read or write. Fails: never.

use worker_core::layout::records::RecordsHash;

use crate::alter::Lie;
use crate::asks::{Ask, Kind, Op};
use crate::bodies::Parsed;
use crate::config::Part;
use crate::inputs::{DONE, Input, REFUSED};
use crate::pool::NONE;
use crate::rules;
use crate::shop::Shop;
use crate::state::{Life, Proc, State, bit};

/// How a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// As it should.
    Well,
    /// The write holds, its reply is lost, and it is refused when it is sent again.
    Echo,
    /// It fails, and has changed nothing.
    Fails,
    /// The write reports a failure, but has succeeded.
    FailsLate,
}

/// Whether a process can go on without anybody else.
pub(crate) fn can_go_on(state: &State, ask: &Ask) -> bool {
    match &ask.kind {
        Kind::Extract(_, records) => records.iter().all(|key| state.object(*key) != NONE),
        _ => true,
    }
}

/// What an observation reads one after the other.
impl Part {
    const RUN: u8 = 0;
    const MARK: u8 = 1;
    const OUTCOME: u8 = 2;
    const PREFIX: u8 = 3;
}

impl Shop {
    /// A process begins.
    pub(crate) fn start(&self, state: &mut State, at: usize) {
        let process = self.processes.put(self.process(at));
        state.procs[at] = Proc { life: Life::Live, process, ..Proc::IDLE };
        self.tell(state, at, Input::Begin);
    }

    /// A process receives something, and requests the next thing.
    pub(crate) fn tell(&self, state: &mut State, at: usize, input: Input) {
        let proc = &state.procs[at];
        let next = self.next(proc.process, proc.ask, input);
        let ask = self.asks.get(next.ask);
        if let Kind::End(end) = ask.kind {
            rules::ended(self, state, at, end);
            let life = if self.slot(at).again { Life::Idle } else { Life::Over(end) };
            state.procs[at] = Proc::gone(life);
            return;
        }
        let proc = &mut state.procs[at];
        proc.process = next.process;
        proc.ask = next.ask;
        proc.tried = 0;
        proc.replies.clear();
        proc.found.clear();
        if ask.kind.step() == Some(worker_core::protocol::Step::Claim) {
            proc.claims += 1;
        }
    }

    /// A process takes one step; `which` of several writes is its choice.
    pub(crate) fn perform(&self, state: &mut State, at: usize, (how, which): (How, usize)) {
        let ask = self.asks.get(state.procs[at].ask);
        if how == How::Fails {
            return self.tell(state, at, Input::Transient);
        }
        match &ask.kind {
            Kind::Write(ops) => {
                let ops = self.singles(state, at, ops);
                let unreadable = |op: &Op| match op {
                    Op::Manifest(_, new, records) => self.manifest(state, new, records).is_none(),
                    _ => false,
                };
                if ops.get(which).is_some_and(unreadable) {
                    return self.tell(state, at, Input::Lost);
                }
                self.write(state, at, &ops, (how, which));
            }
            Kind::Read => self.read(state, at),
            // where the table goes on, the guard is one step and the snapshot another
            Kind::Plan if self.config.budget.epochs > 0 && state.procs[at].found.is_empty() => {
                state.procs[at].found.push(u32::from(state.epoch));
            }
            _ => {
                let input = self.answer(state, at, &ask.kind);
                self.tell(state, at, input);
            }
        }
    }

    fn write(&self, state: &mut State, at: usize, ops: &[Op], (how, which): (How, usize)) {
        let Some(op) = ops.get(which) else { return };
        let mut reply = self.apply(state, at, op);
        if how == How::FailsLate {
            return self.tell(state, at, Input::Transient);
        }
        if how == How::Echo && reply == DONE {
            reply = REFUSED;
        }
        let proc = &mut state.procs[at];
        proc.tried |= 1 << which;
        proc.replies.resize(ops.len(), DONE);
        proc.replies[which] = reply;
        if usize::try_from(proc.tried.count_ones()) == Ok(ops.len()) {
            let replies = std::mem::take(&mut proc.replies);
            self.tell(state, at, Input::Replied(replies));
        }
    }

    /// One observation: at once, or item by item in the order that the worker reads them.
    fn read(&self, state: &mut State, at: usize) {
        let slot = self.slot(at);
        let order = match self.alter.lie {
            Lie::RunReadFirst => [Part::RUN, Part::MARK, Part::OUTCOME, Part::PREFIX],
            Lie::MarkReadFirst => [Part::PREFIX, Part::OUTCOME, Part::MARK, Part::RUN],
            _ => [Part::PREFIX, Part::OUTCOME, Part::RUN, Part::MARK],
        };
        let mut found = std::mem::take(&mut state.procs[at].found);
        while let Some(part) = order.get(found.len() / 2) {
            found.extend(self.look(state, at, *part));
            if self.config.torn && found.len() < 2 * order.len() {
                state.procs[at].found = found;
                return;
            }
        }
        let part = |wanted| {
            let place = order.iter().position(|part| *part == wanted).unwrap_or(0) * 2;
            [found[place], found[place + 1]]
        };
        let [run, _] = part(Part::RUN);
        let coordinator = self.run_item(run).filter(|run| run.owner.uid != slot.uid);
        let coordinator = coordinator.map_or(NONE, |run| {
            let key = crds::tracking::outcome_key(crate::shop::KEY, &run.owner.uid);
            state.item(self.keys.put(key))
        });
        let items = [run, part(Part::MARK)[0], part(Part::OUTCOME)[0], coordinator];
        let fresh = self.fresh(at, state.procs[at].claims);
        self.tell(state, at, Input::ObservedItems(items, part(Part::PREFIX), state.clock, fresh));
    }

    fn look(&self, state: &State, at: usize, part: u8) -> [u32; 2] {
        let slot = self.slot(at);
        match part {
            Part::RUN => [state.item(self.run_key), NONE],
            Part::MARK => [state.item(self.watermark_key), NONE],
            Part::OUTCOME => [state.item(self.outcome_keys[at]), NONE],
            // recovery does not read the bucket
            _ if !matches!(slot.part, Part::Coordinate(_)) => [NONE, NONE],
            _ => {
                let keys = &self.prefixes[usize::from(slot.prefix)];
                [state.object(keys.pointer), state.object(keys.identity)]
            }
        }
    }

    fn answer(&self, state: &mut State, at: usize, kind: &Kind) -> Input {
        match kind {
            Kind::Plan => self.plan(state, at),
            Kind::Extract(_, records) => {
                Input::Recorded(records.iter().map(|key| state.object(*key)).collect())
            }
            Kind::Assure(keys, hash) => {
                let proc = &state.procs[at];
                let mut hashed = RecordsHash::default();
                let there = self.records_at(state, keys).is_some_and(|records| {
                    for record in &records {
                        hashed.add(record);
                    }
                    let files = records.iter().flat_map(|record| &record.files);
                    let mut uploads = files.map(|file| self.upload(&file.key, &file.upload_id));
                    uploads.all(|upload| state.uploads.contains(&upload))
                });
                let there = there && hashed.finish() == *hash;
                let lost = proc.lost || !there;
                if lost && self.alter.lie != Lie::NeverAssures {
                    Input::Lost
                } else {
                    Input::Assured(state.clock)
                }
            }
            Kind::Chain(run, pending, prefix) => {
                self.chain(state, *run, *pending, *prefix).map_or(Input::Lost, Input::Chain)
            }
            Kind::Runs(prefix) => self.runs(state, *prefix),
            Kind::Kept(prefix, head, pending) => self.kept(state, *prefix, *head, *pending),
            Kind::Orphans(prefix, runs) => self.orphans(state, *prefix, runs),
            Kind::Files(prefix, run) => Input::Files(self.files_of(state, *prefix, *run)),
            Kind::Fetch(key) => match state.object(*key) {
                NONE => Input::Lost,
                body => Input::Fetched(body),
            },
            Kind::Cleanup(pointer, manifest, removal, prefix) => {
                self.cleanup(state, (*pointer, *manifest), *removal, *prefix)
            }
            Kind::List(folder) => {
                let under = |upload: &&u32| self.uploads.get(**upload).key.starts_with(folder);
                Input::Uploads(state.uploads.iter().filter(under).copied().collect())
            }
            Kind::Read | Kind::Write(_) | Kind::End(_) => Input::Transient,
        }
    }

    fn plan(&self, state: &State, at: usize) -> Input {
        let first = state.procs[at]
            .found
            .first()
            .map_or(state.epoch, |epoch| u8::try_from(*epoch).unwrap_or(u8::MAX));
        let (guard, snapshot) = if self.alter.lie == Lie::GuardLate {
            (state.epoch, first)
        } else {
            (first, state.epoch)
        };
        Input::Planned(guard, snapshot, state.clock)
    }

    fn cleanup(&self, state: &State, keys: (u32, u32), removal: bool, prefix: u8) -> Input {
        let (pointer, manifest) = keys;
        let mut replaced = Vec::new();
        if removal {
            let Some(body) = self.bodies.find(state.object(manifest)) else { return Input::Lost };
            let Parsed::Manifest(facts) = &body.parsed else { return Input::Lost };
            let mut runs = facts.replaces.clone();
            runs.sort_unstable();
            for run in runs {
                let keys = self.files_of(state, prefix, run);
                replaced.extend(keys.into_iter().map(|key| (run, key)));
            }
        }
        Input::CleanupRead(state.object(pointer), replaced)
    }

    /// The session that holds the snapshot of a process dies.
    pub(crate) fn lose_session(&self, state: &mut State, at: usize) {
        let ask = self.asks.get(state.procs[at].ask);
        state.procs[at].lost = true;
        if let Kind::Extract(run, _) = &ask.kind {
            state.past.lost |= bit(*run);
        }
    }
}

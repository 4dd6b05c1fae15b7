//! In: a model, and how many states and how much memory an exploration may take. Out: [`Reached`]: its
//! end, or how far it came. Bound: that. Fails: never.
//!
//! Level by level: where it stops, every state within so many steps has been seen and kept its
//! promises. Memory holds the states of two levels and a number for each other state, which is a
//! fraction of what an explorer takes that also stores the steps to each state.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;

use stateright::{Expectation, Model};

/// Number of states between two checks of the process's memory.
const LOOK: usize = 4096;

/// What an exploration may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Different states.
    pub states: usize,
    /// Memory of the process, in MiB.
    pub memory_mib: usize,
}

/// Why an exploration stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It had seen as many states as it may.
    States,
    /// The process held as much memory as it may.
    Memory,
}

/// How far an exploration came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Different states that were seen.
    pub states: usize,
    /// States made, the known ones included.
    pub made: usize,
    /// All states within this many steps were seen.
    pub depth: usize,
    /// How many those are.
    pub within: usize,
    /// Promises that broke; none where the exploration stopped before.
    pub broken: Vec<&'static str>,
    /// What was to be reached and was not.
    pub unreached: Vec<&'static str>,
    /// Why it stopped; absent: it came to its end.
    pub stop: Option<Stop>,
    /// Memory of the process in the end, in MiB.
    pub memory_mib: usize,
}

/// Memory of this process in MiB; 0 if the system does not show it.
pub fn memory_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<usize>().ok());
    kib.unwrap_or(0) / 1024
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Explores `model` to its end, to the first broken promise, or to the bound.
pub fn explore_within<M>(model: &M, bound: Bound) -> Reached
where
    M: Model,
    M::State: Hash,
{
    let mut search = Search {
        model,
        known: HashSet::new(),
        next: Vec::new(),
        made: 0,
        broken: Vec::new(),
        reached: Vec::new(),
    };
    for state in model.init_states() {
        search.meets(state);
    }
    let (mut depth, mut within, mut stop) = (0, search.known.len(), None);
    let mut actions = Vec::new();
    let mut looked = 0_usize;
    while !search.next.is_empty() && search.broken.is_empty() && stop.is_none() {
        for state in take(&mut search.next) {
            looked += 1;
            if search.known.len() >= bound.states {
                stop = Some(Stop::States);
            } else if looked.is_multiple_of(LOOK) && memory_mib() >= bound.memory_mib {
                stop = Some(Stop::Memory);
            }
            if stop.is_some() || !search.broken.is_empty() {
                break;
            }
            model.actions(&state, &mut actions);
            for action in actions.drain(..) {
                if let Some(next) = model.next_state(&state, action) {
                    search.meets(next);
                }
            }
        }
        if stop.is_none() && search.broken.is_empty() && !search.next.is_empty() {
            (depth, within) = (depth + 1, search.known.len());
        }
    }
    let properties = model.properties();
    let sought = properties.iter().filter(|one| one.expectation == Expectation::Sometimes);
    let missed = sought.map(|one| one.name).filter(|name| !search.reached.contains(name));
    Reached {
        states: search.known.len(),
        made: search.made,
        depth,
        within,
        unreached: missed.collect(),
        broken: search.broken,
        stop,
        memory_mib: memory_mib(),
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    known: HashSet<u64>,
    next: Vec<M::State>,
    made: usize,
    broken: Vec<&'static str>,
    reached: Vec<&'static str>,
}

impl<M: Model> Search<'_, M>
where
    M::State: Hash,
{
    /// A state is asked for its promises when it is met first, so that none that is known is unasked.
    fn meets(&mut self, state: M::State) {
        self.made += 1;
        if !self.known.insert(fingerprint(&state)) {
            return;
        }
        for property in self.model.properties() {
            let holds = (property.condition)(self.model, &state);
            match property.expectation {
                Expectation::Always if !holds => self.broken.push(property.name),
                Expectation::Sometimes if holds && !self.reached.contains(&property.name) => {
                    self.reached.push(property.name);
                }
                Expectation::Always | Expectation::Sometimes | Expectation::Eventually => {}
            }
        }
        self.next.push(state);
    }
}

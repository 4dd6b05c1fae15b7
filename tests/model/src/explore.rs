//! In: a model. Out: [`Found`]: how many states it has, what broke, and how.
//! Bound: a number of states, or a time. Fails: never.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What an exploration came to.
#[derive(Debug, Clone)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// States made, the known ones included.
    pub made: usize,
    /// Promises that broke, each with the steps to it.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// What was to be reached and was not.
    pub unreached: Vec<&'static str>,
    /// Whether all states were seen.
    pub whole: bool,
}

/// Explores `model` breadth first, to its end or to the first broken promise.
pub fn explore<M>(model: M, threads: usize, limit: Duration) -> Found
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Debug + Send + Sync + Clone + PartialEq + 'static,
{
    let properties = model.properties();
    let checker = model
        .checker()
        .threads(threads)
        .timeout(limit)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut found = Found {
        states: checker.unique_state_count(),
        made: checker.state_count(),
        broken: Vec::new(),
        unreached: Vec::new(),
        whole: checker.is_done(),
    };
    for property in properties {
        let path = checker.discovery(property.name);
        match (property.expectation, path) {
            (Expectation::Always, Some(path)) => {
                let steps = path.into_actions().iter().map(|one| format!("{one:?}")).collect();
                found.broken.push((property.name, steps));
            }
            (Expectation::Sometimes, None) => found.unreached.push(property.name),
            (Expectation::Always | Expectation::Sometimes | Expectation::Eventually, _) => {}
        }
    }
    found
}

/// How many states there are, and from how many of them no state is reached that `is_goal` knows.
/// Also one of those, as the steps to it.
pub fn dead_ends<M>(model: &M, is_goal: impl Fn(&M::State) -> bool) -> (usize, usize, Vec<String>)
where
    M: Model,
    M::State: Hash + Eq + Clone,
    M::Action: Debug + Clone,
{
    let mut known: HashMap<M::State, u32> = HashMap::new();
    let mut queue = Vec::new();
    let mut parents: Vec<(u32, String)> = Vec::new();
    let mut back: Vec<Vec<u32>> = Vec::new();
    let mut good = Vec::new();
    for state in model.init_states() {
        known.insert(state.clone(), 0);
        good.push(is_goal(&state));
        queue.push((state, 0_u32));
        parents.push((0, String::new()));
        back.push(Vec::new());
    }
    let mut at = 0;
    let mut actions = Vec::new();
    while let Some((state, id)) = queue.get(at).cloned() {
        at += 1;
        actions.clear();
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            let Some(next) = model.next_state(&state, action.clone()) else { continue };
            let fresh = u32::try_from(back.len()).unwrap_or(u32::MAX);
            let to = match known.entry(next) {
                Entry::Occupied(found) => *found.get(),
                Entry::Vacant(place) => {
                    good.push(is_goal(place.key()));
                    queue.push((place.key().clone(), fresh));
                    parents.push((id, format!("{action:?}")));
                    back.push(Vec::new());
                    place.insert(fresh);
                    fresh
                }
            };
            back[to as usize].push(id);
        }
    }
    (back.len(), mark(&back, &mut good), trace(&parents, &good))
}

/// Goes back from the good states; how many are left over.
fn mark(back: &[Vec<u32>], good: &mut [bool]) -> usize {
    let mut open: Vec<usize> = (0..good.len()).filter(|at| good[*at]).collect();
    while let Some(at) = open.pop() {
        for from in &back[at] {
            let from = *from as usize;
            if !good[from] {
                good[from] = true;
                open.push(from);
            }
        }
    }
    good.iter().filter(|good| !**good).count()
}

fn trace(parents: &[(u32, String)], good: &[bool]) -> Vec<String> {
    let Some(mut at) = good.iter().position(|good| !good) else { return Vec::new() };
    let mut steps = Vec::new();
    while at != 0 {
        let (parent, action) = &parents[at];
        steps.push(action.clone());
        at = *parent as usize;
    }
    steps.reverse();
    steps
}

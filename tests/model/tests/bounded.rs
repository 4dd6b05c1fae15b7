//! An exploration with a bound: how far it says that it came.

use model::bounded::{Bound, Stop, explore_within};
use stateright::{Model, Property};

/// Two counters that go up to `top`, one step at a time.
struct Counters {
    top: u8,
    bad: (u8, u8),
}

impl Model for Counters {
    type State = (u8, u8);
    type Action = bool;

    fn init_states(&self) -> Vec<Self::State> {
        vec![(0, 0)]
    }

    fn actions(&self, _: &Self::State, actions: &mut Vec<bool>) {
        actions.extend([false, true]);
    }

    fn next_state(&self, (one, two): &Self::State, first: bool) -> Option<Self::State> {
        let next = if first { (one + 1, *two) } else { (*one, two + 1) };
        (next.0 <= self.top && next.1 <= self.top).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("good", |model: &Self, state| *state != model.bad),
            Property::sometimes("both at the top", |model: &Self, state| {
                *state == (model.top, model.top)
            }),
        ]
    }
}

const WIDE: Bound = Bound { states: 1_000_000, memory_mib: 1_000_000 };

#[test]
fn model_that_fits_is_explored_to_its_end() {
    let found = explore_within(&Counters { top: 9, bad: (99, 99) }, WIDE);
    assert_eq!((found.states, found.within, found.depth), (100, 100, 18));
    assert_eq!((found.stop, found.broken, found.unreached), (None, vec![], vec![]));
}

#[test]
fn bound_of_states_stops_with_all_states_of_the_levels_before() {
    let bound = Bound { states: 50, ..WIDE };
    let found = explore_within(&Counters { top: 99, bad: (99, 99) }, bound);
    assert_eq!(found.stop, Some(Stop::States));
    // a level of n steps has n + 1 states: 45 within 8, 55 within 9
    assert_eq!((found.depth, found.within), (8, 45));
    assert_eq!(found.unreached, ["both at the top"]);
}

#[test]
fn bound_of_memory_stops() {
    let bound = Bound { memory_mib: 0, ..WIDE };
    let found = explore_within(&Counters { top: 255, bad: (255, 255) }, bound);
    assert_eq!(found.stop, Some(Stop::Memory));
}

#[test]
fn broken_promise_ends_it() {
    let found = explore_within(&Counters { top: 9, bad: (2, 3) }, WIDE);
    assert_eq!((found.broken, found.depth), (vec!["good"], 4));
}

//! The model at the size of each push: the product keeps its promises in small cases, and each
//! planted mistake breaks the one that is to catch it.

use std::time::Duration;

use model::counts::written;
use model::explore::{dead_ends, explore};
use model::mistakes::lists::listed;
use model::mistakes::planted;
use model::operator::{self, Operator};
use model::protocol::Protocol;
use model::{Alter, cases};
use operator_core::decide;

const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn the_product_keeps_its_promises_in_small_configurations() {
    for config in cases::push() {
        let name = config.name;
        let found = explore(Protocol::new(config, Alter::default()), 2, LIMIT);
        assert!(found.broken.is_empty(), "{name}: {:#?}", found.broken);
        assert!(found.unreached.is_empty(), "{name}: never reached: {:?}", found.unreached);
        assert!(found.whole, "{name}: not explored to its end");
        assert_eq!(found.states, written(name), "states of {name}: see states.txt");
    }
}

#[test]
fn the_last_attempt_can_always_publish() {
    for config in cases::ending() {
        let name = config.name;
        let model = Protocol::new(config, Alter::default());
        let (states, dead, steps) = dead_ends(&model, |state| cases::is_done(&model, state));
        assert_eq!(dead, 0, "{name}: no way on after {steps:#?}");
        assert_eq!(states, written(name), "states of {name}: see states.txt");
    }
}

#[test]
fn each_planted_mistake_breaks_the_promise_that_is_to_catch_it() {
    for mistake in planted() {
        let found = mistake.look();
        let broken: Vec<_> = found.broken.iter().map(|(promise, _)| promise).collect();
        assert!(
            mistake.is_as_expected(&found),
            "{}: {broken:?} broke, and not {:?}",
            mistake.name,
            mistake.caught_by
        );
    }
}

#[test]
fn each_listed_mistake_is_planted() {
    let protocol = planted().into_iter().map(|mistake| (mistake.name, mistake.source));
    let operator = operator::mistakes::planted().into_iter();
    let known: Vec<_> =
        protocol.chain(operator.map(|mistake| (mistake.name, mistake.source))).collect();
    for (list, called, name) in listed() {
        let found = known.iter().any(|(known, source)| *known == name && source.contains(list));
        assert!(found, "{list}: {called}: no planted mistake {name:?} names that list");
    }
}

#[test]
fn the_operator_keeps_its_promises_and_can_always_reach_a_fixed_point() {
    for scene in operator::cases::push() {
        let name = scene.name;
        let found = explore(Operator::new(scene.clone(), decide, Alter::default()), 2, LIMIT);
        assert!(found.broken.is_empty(), "{name}: {:#?}", found.broken);
        assert!(found.unreached.is_empty(), "{name}: never reached: {:?}", found.unreached);
        assert!(found.whole, "{name}: not explored to its end");
        assert_eq!(found.states, written(name), "states of {name}: see states.txt");
        let model = Operator::new(scene, decide, Alter::default());
        let (_, dead, steps) = dead_ends(&model, |state| model.is_at_rest(state));
        assert_eq!(dead, 0, "{name}: no way on after {steps:#?}");
    }
}

#[test]
fn each_planted_mistake_of_the_operator_is_caught() {
    for mistake in operator::mistakes::planted() {
        let found = mistake.look();
        let broken: Vec<_> = found.broken.iter().map(|(promise, _)| promise).collect();
        let (name, expected) = (mistake.name, mistake.caught_by);
        assert!(mistake.is_as_expected(&found), "{name}: {broken:?} broke, not {expected:?}");
    }
}

#[test]
fn known_livelocks_are_still_there() {
    for scene in operator::cases::known() {
        let name = scene.name;
        let model = Operator::new(scene, decide, Alter::default());
        let (_, dead, _) = dead_ends(&model, |state| model.is_at_rest(state));
        assert!(dead > 0, "{name}: corrected? then it belongs among the others");
    }
}

/// What a manual deletion of the run item may do during a run is known, and not fixed.
#[test]
fn known_violations_are_still_there() {
    for (config, promise) in cases::known() {
        let name = config.name;
        let found = explore(Protocol::new(config, Alter::default()), 1, LIMIT);
        assert!(found.broken.iter().any(|(broken, _)| *broken == promise), "{name}");
    }
}

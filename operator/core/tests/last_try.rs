//! The last recovery Job in a row has its time like those before it. Found by the model.

use crds::Phase;
use crds::condition::Exit;

use crate::world::World;

/// A coordinator has failed, and all recovery Jobs but the last, which is at work.
fn at_the_last_try(delete: bool) -> World {
    let mut world = World::new();
    world.step();
    world.plans(1);
    let job = world.last(0).expect("coordinator");
    world.fails(&job, Exit::Transient, None);
    if delete {
        world.delete_object();
    }
    for _ in 1..world.settings.timing.recover_tries {
        world.pass(65);
        world.step();
        let recover = world.last(2).expect("recover");
        world.fails(&recover, Exit::Transient, None);
    }
    world.pass(65);
    world.step();
    world
}

#[test]
fn an_object_is_not_let_go_while_the_last_try_is_at_work() {
    let mut world = at_the_last_try(true);
    let decision = world.step();
    assert!(!world.gone && decision.events.is_empty(), "{decision:?}");
    assert!(world.recoveries());
    world.step();
    assert!(world.gone);
    assert!(world.tracking.r.is_some_and(|run| !run.state.is_open()));
}

#[test]
fn a_request_is_not_given_up_while_the_last_try_is_at_work() {
    let mut world = at_the_last_try(false);
    world.step();
    assert_ne!(world.status().phase, Some(Phase::Failed));
    assert!(world.recoveries());
    world.step();
    assert_ne!(world.status().phase, Some(Phase::Failed), "the next attempt follows");
}

//! The last recovery Job in a row has its time like those before it. Found by the model.

use crds::Phase;
use crds::condition::Exit;

use crate::simulation::Simulation;

/// A coordinator has failed, and all recovery Jobs but the last, which is at work.
fn at_the_last_try(delete: bool) -> Simulation {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    let job = simulation.last(0).expect("coordinator");
    simulation.fails(&job, Exit::Transient, None);
    if delete {
        simulation.delete_object();
    }
    for _ in 1..simulation.settings.timing.recover_tries {
        simulation.pass(65);
        simulation.step();
        let recover = simulation.last(2).expect("recover");
        simulation.fails(&recover, Exit::Transient, None);
    }
    simulation.pass(65);
    simulation.step();
    simulation
}

#[test]
fn finalizer_stays_while_the_last_recover_job_runs() {
    let mut simulation = at_the_last_try(true);
    let decision = simulation.step();
    assert!(!simulation.gone && decision.events.is_empty(), "{decision:?}");
    assert!(simulation.recoveries());
    simulation.step();
    assert!(simulation.gone);
    assert!(simulation.tracking.run.is_some_and(|run| !run.state.is_open()));
}

#[test]
fn a_request_is_not_given_up_while_the_last_try_is_at_work() {
    let mut simulation = at_the_last_try(false);
    simulation.step();
    assert_ne!(simulation.status().phase, Some(Phase::Failed));
    assert!(simulation.recoveries());
    simulation.step();
    assert_ne!(simulation.status().phase, Some(Phase::Failed), "the next attempt follows");
}

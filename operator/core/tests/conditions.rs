//! Reason and message of each condition fit its type and its status, in every status that is decided.

use std::collections::BTreeSet;

use crds::condition::Exit;
use crds::{ConditionReason, ConditionType, ExtractJobStatus, Phase, Reason, Report};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_core::observed::ServiceAccountState;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::properties::{event, happen};
use crate::simulation::Simulation;

/// Reasons of a published run.
const PUBLISHED: [Reason; 2] = [Reason::Succeeded, Reason::Unguarded];
/// Reasons of an object that is in progress or waits.
const IN_PROGRESS: [Reason; 7] = [
    Reason::Planning,
    Reason::Extracting,
    Reason::Committing,
    Reason::SourceBusy,
    Reason::RetryPending,
    Reason::Suspended,
    Reason::Deleting,
];

/// Whether a condition of this type and status may have this reason.
fn fits(kind: ConditionType, holds: bool, reason: &str) -> bool {
    let named = |reasons: &[Reason]| reasons.iter().any(|one| one.name() == reason);
    let own = |reasons: &[ConditionReason]| reasons.iter().any(|one| one.name() == reason);
    let not_published =
        |further: &[Reason]| named(Reason::ALL) && !named(&PUBLISHED) && !named(further);
    let failure = || not_published(&IN_PROGRESS);
    match (kind, holds) {
        (ConditionType::Planned, true) => own(&[ConditionReason::WindowPlanned]),
        (ConditionType::Planned, false) => not_published(&[Reason::Extracting, Reason::Committing]),
        (ConditionType::Running, true) => {
            named(&[Reason::Extracting]) || own(&[ConditionReason::AttemptInFlight])
        }
        (ConditionType::Running, false) => {
            not_published(&[Reason::Extracting]) || own(&[ConditionReason::RequestComplete])
        }
        (ConditionType::Committed, true) => named(&[Reason::Succeeded]),
        (ConditionType::Committed | ConditionType::Complete, false)
        | (ConditionType::Reconciling, true) => not_published(&[]),
        (ConditionType::Complete, true) => named(&PUBLISHED),
        (ConditionType::Failed | ConditionType::Stalled, true) => failure(),
        (ConditionType::Failed, false) => {
            let not_failed = [
                ConditionReason::RequestComplete,
                ConditionReason::AttemptInFlight,
                ConditionReason::AttemptPending,
            ];
            named(&[Reason::Suspended, Reason::Deleting]) || own(&not_failed)
        }
        (ConditionType::Suspended, true) => named(&[Reason::Suspended]),
        (ConditionType::Suspended, false) => own(&[
            ConditionReason::NotSuspended,
            ConditionReason::Suspending,
            ConditionReason::NothingToSuspend,
        ]),
        (ConditionType::Reconciling, false) => {
            failure() || named(&PUBLISHED) || named(&[Reason::Suspended])
        }
        (ConditionType::Stalled, false) => {
            let not_stalled =
                [ConditionReason::OperatorContinues, ConditionReason::RequestComplete];
            named(&[Reason::Suspended]) || own(&not_stalled)
        }
    }
}

/// What makes a message of a False condition say why it is False.
fn why_false(kind: ConditionType) -> &'static [&'static str] {
    match kind {
        ConditionType::Planned => &["no attempt in flight has planned a window: "],
        ConditionType::Running => &["no rows are being read: "],
        ConditionType::Committed => &["no run is published: "],
        ConditionType::Complete => &["the request is not complete: "],
        ConditionType::Failed => &["the request has not failed: ", "the object is being deleted"],
        ConditionType::Suspended => &["spec.suspend is "],
        ConditionType::Reconciling => &[""],
        ConditionType::Stalled => &["the operator continues", "nothing is left to do"],
    }
}

fn kind(condition: &Condition) -> ConditionType {
    let mut all = ConditionType::ALL.iter().copied();
    all.find(|kind| kind.name() == condition.type_).expect("a condition type")
}

/// Fails if a condition of the status does not fit.
pub(crate) fn check(status: &ExtractJobStatus) {
    for condition in &status.conditions {
        let (kind, holds) = (kind(condition), condition.status == "True");
        let (reason, message) = (condition.reason.as_str(), condition.message.as_str());
        let phase = status.phase;
        assert!(fits(kind, holds, reason), "{phase:?}: {kind}={holds}, reason={reason}: {message}");
        let starts = |words: &&str| message.starts_with(*words);
        assert!(holds || why_false(kind).iter().any(starts), "{kind}={holds}: {message}");
        let (what, remedy) = message.split_once("; remedy: ").unwrap_or((message, ""));
        let is_sentence = what.contains(' ') && !what.ends_with(['.', ':', ';', ' ']);
        assert!(remedy.is_empty() || remedy.ends_with('.'), "{kind}={holds}: {message}");
        assert!(is_sentence && !message.contains(['\n', '{', '}']), "{kind}={holds}: {message}");
    }
}

/// Every status that the simulations and random histories reach is checked when it is decided (`Simulation::decide`); this
/// test shows that they reach every phase, and each condition in both statuses.
#[test]
fn every_phase_and_both_statuses_of_each_condition_are_reached_and_fit() {
    let mut reached = BTreeSet::new();
    let mut collect = |simulation: &Simulation| {
        let status = simulation.status();
        check(&status);
        let phase = status.phase.map(|phase| format!("{phase:?}"));
        reached.extend(status.conditions.iter().map(|one| format!("{}={}", one.type_, one.status)));
        reached.extend(phase);
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..300 {
        let mut simulation = Simulation::new();
        for _ in 0..40 {
            let event = event().new_tree(&mut runner).expect("an event").current();
            happen(&mut simulation, event);
            collect(&simulation);
        }
        simulation.delete_object();
        simulation.step();
        collect(&simulation);
    }
    for change in ended() {
        let mut simulation = Simulation::new();
        change(&mut simulation);
        simulation.step();
        collect(&simulation);
    }
    let phases = [
        Phase::Pending,
        Phase::Waiting,
        Phase::Planning,
        Phase::Running,
        Phase::Committing,
        Phase::Complete,
        Phase::Failed,
        Phase::Suspended,
        Phase::Deleting,
    ];
    for phase in phases {
        assert!(reached.contains(&format!("{phase:?}")), "{phase:?} is not reached");
    }
    for kind in ConditionType::ALL {
        for status in ["True", "False"] {
            assert!(reached.contains(&format!("{kind}={status}")), "{kind}={status}");
        }
    }
}

/// Objects that random events seldom show: nothing can start, all partitions are read, the request failed, or its
/// recovery did.
fn ended() -> [fn(&mut Simulation); 8] {
    [
        |simulation| simulation.request(Some("again")),
        |simulation| {
            simulation.step();
            simulation.plans(2);
            simulation.step();
            let extract = simulation.last(1).expect("extract");
            simulation.finish(&extract, "Complete", "CompletionsReached");
        },
        |simulation| simulation.account = ServiceAccountState::Absent,
        |simulation| simulation.account = ServiceAccountState::Unlabelled,
        |simulation| simulation.settings.tracking.table = None,
        |simulation| {
            let report = Report::new(Reason::TrackingUnreachable, "no answer in time", "Wait.");
            simulation.unreadable = Some(report);
        },
        |simulation| {
            fails(simulation);
            simulation.recoveries();
            simulation.rest();
        },
        |simulation| {
            fails(simulation);
            for _ in 1..=5 {
                let recover = simulation.last(2).expect("recovery");
                simulation.fails(&recover, Exit::Transient, None);
                simulation.pass(120);
                simulation.step();
            }
            simulation.edit(|job| job.spec.suspend = Some(true));
        },
    ]
}

fn fails(simulation: &mut Simulation) {
    simulation.step();
    let job = simulation.last(0).expect("coordinator");
    let why = Report::new(Reason::TableNotFound, "table orders does not exist", "Create it.");
    simulation.fails(&job, Exit::Permanent, Some(&why));
    simulation.step();
}

#[test]
fn published_run_is_not_reported_as_the_reason_of_other_conditions() {
    let mut simulation = Simulation::new();
    simulation.step();
    simulation.plans(1);
    simulation.step();
    simulation.publishes();
    simulation.rest();
    let succeeded = |kind: &str| simulation.condition(kind).1 == "Succeeded";
    assert!(["Committed", "Complete", "Reconciling"].into_iter().all(succeeded));
    assert!(!["Planned", "Running", "Failed", "Suspended", "Stalled"].into_iter().any(succeeded));
    assert_eq!(simulation.condition("Failed"), ("False".to_owned(), "RequestComplete".to_owned()));
}

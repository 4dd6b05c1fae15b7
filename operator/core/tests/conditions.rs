//! Reason and message of each condition fit its type and its status, in every status that is decided.

use std::collections::BTreeSet;

use crds::condition::Exit;
use crds::{ConditionReason, ConditionType, ExtractJobStatus, Phase, Reason, Report};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_core::observed::ServiceAccountState;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::properties::{event, happen};
use crate::world::World;

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
        ConditionType::Planned => &["no window is planned: "],
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
        let is_sentence = message.contains(' ') && !message.ends_with(['.', ':', ';', ' ']);
        assert!(is_sentence && !message.contains(['\n', '{', '}']), "{kind}={holds}: {message}");
    }
}

/// Every status that these worlds and random histories reach is checked when it is decided (`World::decide`); this
/// test shows that they reach every phase, and each condition in both statuses.
#[test]
fn every_phase_and_both_statuses_of_each_condition_are_reached_and_fit() {
    let mut reached = BTreeSet::new();
    let mut collect = |world: &World| {
        let status = world.status();
        check(&status);
        let phase = status.phase.map(|phase| format!("{phase:?}"));
        reached.extend(status.conditions.iter().map(|one| format!("{}={}", one.type_, one.status)));
        reached.extend(phase);
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..300 {
        let mut world = World::new();
        for _ in 0..40 {
            let event = event().new_tree(&mut runner).expect("an event").current();
            happen(&mut world, event);
            collect(&world);
        }
        world.delete_object();
        world.step();
        collect(&world);
    }
    for change in ended() {
        let mut world = World::new();
        change(&mut world);
        world.step();
        collect(&world);
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
fn ended() -> [fn(&mut World); 8] {
    [
        |world| world.request(Some("again")),
        |world| {
            world.step();
            world.plans(2);
            world.step();
            let extract = world.last(1).expect("extract");
            world.finish(&extract, "Complete", "CompletionsReached");
        },
        |world| world.account = ServiceAccountState::Absent,
        |world| world.account = ServiceAccountState::Unlabelled,
        |world| world.settings.tracking.table = None,
        |world| {
            let report = Report::new(Reason::TrackingUnreachable, "no answer in time", "wait");
            world.unreadable = Some(report);
        },
        |world| {
            fails(world);
            world.recoveries();
            world.rest();
        },
        |world| {
            fails(world);
            for _ in 1..=5 {
                let recover = world.last(2).expect("recovery");
                world.fails(&recover, Exit::Transient, None);
                world.pass(120);
                world.step();
            }
            world.edit(|job| job.spec.suspend = Some(true));
        },
    ]
}

fn fails(world: &mut World) {
    world.step();
    let job = world.last(0).expect("coordinator");
    let why = Report::new(Reason::TableNotFound, "table orders does not exist", "create it");
    world.fails(&job, Exit::Permanent, Some(&why));
    world.step();
}

#[test]
fn published_run_is_not_reported_as_the_reason_of_other_conditions() {
    let mut world = World::new();
    world.step();
    world.plans(1);
    world.step();
    world.publishes();
    world.rest();
    let succeeded = |kind: &str| world.condition(kind).1 == "Succeeded";
    assert!(["Committed", "Complete", "Reconciling"].into_iter().all(succeeded));
    assert!(!["Planned", "Running", "Failed", "Suspended", "Stalled"].into_iter().any(succeeded));
    assert_eq!(world.condition("Failed"), ("False".to_owned(), "RequestComplete".to_owned()));
}

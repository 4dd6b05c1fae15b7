//! Planted mistakes of the operator: they change what the product's `decide` is shown, or what it
//! decides.

mod deletion;
mod requests;

use std::time::Duration;

use crds::condition::Exit;
use crds::task::TASK_ENV;
use crds::tracking::{OutcomeItem, OutcomeResult, TrackedOutcome};
use crds::{Phase, Reason, Task};
use k8s_openapi::api::batch::v1::Job;
use operator_core::attempt::{attempts, is_complete};
use operator_core::ending::recorded;
use operator_core::observed::Tracking;
use operator_core::{Decision, Effect, Observed, Step, decide};

use worker_core::errors::failure::Failure;
use worker_core::protocol::{Act, Ending, Event, Process};

use self::deletion::{let_go_at_once, recovers_what_has_jobs};
use self::requests::older_requests_count;
use super::apply::env;
use super::cases::{self, one};
use super::{Luck, Operator, Scene};
use crate::alter::Alter;
use crate::explore::{Found, dead_ends, explore};
use crate::mistakes::{claim_takes_older_requests, exits_well};

/// A planted mistake of the operator.
#[derive(Clone)]
pub struct Mistake {
    /// What is done wrong.
    pub name: &'static str,
    /// Where it was named first.
    pub source: &'static str,
    /// The promise that catches it.
    pub caught_by: &'static str,
    /// The mistake.
    pub decide: fn(&Observed) -> Step,
    /// What is wrong with the processes too, if anything.
    pub alter: Alter,
    /// Where it shows.
    pub scene: Scene,
}

/// The promise that only a check of the whole graph can show as broken.
const NO_DEAD_END: &str = "there is always a way to rest";

impl Mistake {
    /// Searches for a broken promise.
    pub fn look(&self) -> Found {
        let model = Operator::new(self.scene.clone(), self.decide, self.alter);
        if self.caught_by != NO_DEAD_END {
            return explore(model, 1, Duration::from_mins(2));
        }
        let (states, dead, steps) = dead_ends(&model, |state| model.is_at_rest(state));
        let broken = if dead == 0 { Vec::new() } else { vec![(NO_DEAD_END, steps)] };
        Found { states, made: states, broken, unreached: Vec::new(), whole: true }
    }

    /// Whether what was found is what was expected.
    pub fn is_as_expected(&self, found: &Found) -> bool {
        found.broken.iter().any(|(name, _)| *name == self.caught_by)
    }
}

type DecideFn = fn(&Observed) -> Step;

fn mistake(
    name: &'static str,
    source: &'static str,
    caught_by: &'static str,
    decide: DecideFn,
    scene: Scene,
) -> Mistake {
    Mistake { name, source, caught_by, decide, alter: Alter::default(), scene }
}

/// All of them.
pub fn planted() -> Vec<Mistake> {
    [of_ends(), of_outcomes()].concat()
}

/// Suspend, deletion, processes that give way.
fn of_ends() -> Vec<Mistake> {
    let none = cases::NONE;
    let suspends = |luck| one("suspend", 3, luck);
    vec![
        mistake(
            "suspend spends a retry",
            "8.8",
            cases::GIVEN_UP,
            suspend_spends_a_retry,
            suspends(Luck { suspends: 2, ..none }),
        ),
        mistake(
            "suspend leaves a run open",
            "new",
            cases::SUSPENDED,
            suspend_recovers_nothing,
            suspends(Luck { suspends: 1, ..none }),
        ),
        Mistake {
            alter: Alter::step(refused_for_good),
            ..mistake(
                "a refused CLAIM fails the object",
                "8.8 (wording)",
                cases::GIVEN_UP,
                decide,
                Scene { objects: 2, ..one("two", 3, none) },
            )
        },
        mistake(
            "an older Failed is believed beside a publication",
            "new",
            cases::STATUS,
            failed_for_good,
            one("late duplicate, fault", 4, Luck { crashes: 1, twins: 1, faults: 1, ..none }),
        ),
        mistake(
            "deletion recovers the last attempt with Jobs only",
            "new",
            cases::LET_GO,
            recovers_what_has_jobs,
            one("deletion", 4, Luck { deletions: 1, lost_jobs: 1, crashes: 1, ..none }),
        ),
    ]
}

/// What is read from tracking, Jobs and status.
fn of_outcomes() -> Vec<Mistake> {
    let none = cases::NONE;
    let two = Scene { objects: 2, ..one("two", 2, none) };
    vec![
        mistake("due decided from R's owner", "8.8", cases::GIVEN_UP, due_from_run, two),
        mistake(
            "attempt from tracking only",
            "8.8",
            NO_DEAD_END,
            attempt_from_tracking,
            one("recovery fails for good", 4, Luck { crashes: 3, edits: 1, ..none }),
        ),
        mistake(
            "O's generation from now instead of the task's",
            "8.8",
            cases::UNTRIED,
            generation_from_now,
            one("edit", 4, Luck { edits: 1, faults: 2, ..none }),
        ),
        mistake(
            "status from the Job (StatusFromJob)",
            "8.4",
            cases::STATUS,
            status_from_job,
            one("crash", 4, Luck { crashes: 1, ..none }),
        ),
        Mistake {
            alter: Alter::step(exits_well),
            ..mistake(
                "Job Complete is a commit, and exit 0 on SIGTERM (JobCompleteIsCommit)",
                "8.4",
                cases::STATUS,
                job_complete_is_commit,
                one("fault", 4, Luck { faults: 1, ..none }),
            )
        },
        mistake(
            "the finalizer is removed without recovery",
            "new",
            cases::LET_GO,
            let_go_at_once,
            one("deletion", 4, Luck { deletions: 1, ..none }),
        ),
        Mistake {
            alter: Alter::step(claim_takes_older_requests),
            ..mistake(
                "an older request counts",
                "new",
                cases::OLDER,
                older_requests_count,
                one("request, restored", 4, Luck { requests: 1, restores: 1, ..none }),
            )
        },
        mistake(
            "an outcome in the outcome item is not asked for",
            "new",
            cases::GIVEN_UP,
            outcome_not_read,
            one("stale", 3, Luck { cuts: 1, stale: 1, ..none }),
        ),
    ]
}

fn changed(step: Step, change: impl Fn(&mut Decision)) -> Step {
    match step {
        Step::Act(mut decision) => {
            change(&mut decision);
            Step::Act(decision)
        }
        look @ Step::Read(_) => look,
    }
}

fn due_from_run(observed: &Observed) -> Step {
    let mut observed = observed.clone();
    if let Tracking::Read(read) = &mut observed.tracking {
        let other = read
            .run
            .as_ref()
            .is_some_and(|run| Some(&run.owner.uid) != observed.job.metadata.uid.as_ref());
        if let Some(outcome) = read.outcome.as_mut().filter(|_| other) {
            outcome.result = None;
        }
    }
    if let Some(status) = &mut observed.job.status {
        status.outcome = None;
    }
    decide(&observed)
}

fn outcome_not_read(observed: &Observed) -> Step {
    let mut observed = observed.clone();
    if let Tracking::Read(read) = &mut observed.tracking {
        read.outcome = None;
    }
    decide(&observed)
}

fn makes_coordinator(step: &Step) -> bool {
    let Step::Act(decision) = step else { return false };
    decision.effects.iter().any(|effect| {
        matches!(effect, Effect::CreateJob(job)
            if job.metadata.labels.as_ref().and_then(|all| all.get(operator_core::labels::ROLE))
                .is_some_and(|role| role == "coordinator"))
    })
}

fn attempt_from_tracking(observed: &Observed) -> Step {
    let step = decide(observed);
    if !makes_coordinator(&step) {
        return step;
    }
    let mut blind = observed.clone();
    blind.jobs.clear();
    if let Some(status) = &mut blind.job.status {
        status.attempt = None;
    }
    decide(&blind)
}

fn set_env(job: &mut Job, task: &Task) {
    let spec = job.spec.as_mut().and_then(|spec| spec.template.spec.as_mut());
    let env = spec.and_then(|spec| spec.containers.first_mut()).and_then(|one| one.env.as_mut());
    if let Some(found) = env.and_then(|env| env.iter_mut().find(|one| one.name == TASK_ENV)) {
        found.value = serde_json::to_string(task).ok();
    }
}

fn generation_from_now(observed: &Observed) -> Step {
    let generation = observed.generation();
    changed(decide(observed), |decision| {
        for effect in &mut decision.effects {
            let Effect::CreateJob(job) = effect else { continue };
            if env::<crds::task::RecoverOrder>(job, crds::task::RECOVER_ENV).is_none() {
                continue;
            }
            if let Some(mut task) = env::<Task>(job, TASK_ENV) {
                task.owner.generation = generation;
                set_env(job, &task);
            }
        }
    })
}

/// What tracking would say if the request of the last attempt had been published.
fn believed(observed: &Observed) -> Option<Tracking> {
    let Tracking::Read(read) = &observed.tracking else { return None };
    let all = attempts(&observed.jobs, observed.uid());
    let last = all.last()?;
    let task = last.task_text()?.task;
    let result = OutcomeResult {
        outcome: TrackedOutcome::Complete,
        owner: task.owner,
        run: read.run.as_ref().map(|run| run.run),
        report: None,
        window: None,
        watermark: None,
        table: None,
        rows: 0,
        bytes: 0,
        files: 0,
        partitions: 1,
        consistency: None,
        table_lock_milliseconds: None,
        fidelity: None,
        partitioning: None,
    };
    let mut read = read.clone();
    read.outcome = Some(OutcomeItem {
        source: String::new(),
        schema: 1,
        attempt: task.attempt,
        run: None,
        result: Some(result),
        expires_at: 0,
    });
    Some(Tracking::Read(read))
}

fn job_complete_is_commit(observed: &Observed) -> Step {
    let mut observed = observed.clone();
    let complete = attempts(&observed.jobs, observed.uid())
        .last()
        .and_then(|last| last.coordinator)
        .is_some_and(is_complete);
    if complete && let Some(tracking) = believed(&observed) {
        observed.tracking = tracking;
    }
    decide(&observed)
}

/// A recovery Job that is Complete says that all is well.
fn status_from_job(observed: &Observed) -> Step {
    let mut observed = observed.clone();
    let complete = attempts(&observed.jobs, observed.uid())
        .last()
        .is_some_and(|last| last.jobs().any(is_complete));
    if complete && let Some(tracking) = believed(&observed) {
        observed.tracking = tracking;
    }
    decide(&observed)
}

/// To suspend is to fail: the next attempt counts it.
fn suspend_spends_a_retry(observed: &Observed) -> Step {
    let all = attempts(&observed.jobs, observed.uid());
    let endings = all.iter().filter_map(recorded);
    let stopped = endings.filter(|ending| ending.report.reason == Reason::Suspended).count();
    changed(decide(observed), |decision| {
        for effect in &mut decision.effects {
            let Effect::CreateJob(job) = effect else { continue };
            if let Some(mut task) = env::<Task>(job, TASK_ENV) {
                task.retry += u32::try_from(stopped).unwrap_or(0);
                set_env(job, &task);
            }
        }
    })
}

/// To suspend is to do nothing more.
fn suspend_recovers_nothing(observed: &Observed) -> Step {
    let suspended = observed.is_suspended();
    changed(decide(observed), |decision| {
        if suspended && observed.status().outcome.is_none() {
            decision.effects.clear();
            decision.status.phase = Some(Phase::Suspended);
        }
    })
}

/// A process that has to make way says that only a person can help.
fn refused_for_good(process: Process, event: Event) -> (Process, Act) {
    let (process, act) = worker_core::protocol::step(process, event);
    match act {
        Act::End(Ending::Failed(failure)) if failure.exit == Exit::Fenced => {
            let failure = Failure { exit: Exit::Permanent, ..failure };
            (process, Act::End(Ending::Failed(failure)))
        }
        act => (process, act),
    }
}

/// The outcome in status stays, even if a run was published since.
fn failed_for_good(observed: &Observed) -> Step {
    let old = observed.status().outcome.filter(|old| old.result == TrackedOutcome::Failed);
    changed(decide(observed), |decision| {
        if decision.status.outcome.is_none() {
            decision.status.outcome.clone_from(&old);
        }
    })
}

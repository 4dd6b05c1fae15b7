//! Planted mistakes of the operator: they change what the product's `decide` is shown, or what it
//! decides.

use std::time::Duration;

use crds::Task;
use crds::task::TASK_ENV;
use crds::tracking::{OutcomeItem, OutcomeResult, TrackedOutcome};
use k8s_openapi::api::batch::v1::Job;
use operator_core::attempt::{attempts, is_complete};
use operator_core::observed::Tracking;
use operator_core::{Decision, Effect, Observed, Step, decide};

use super::apply::env;
use super::worlds::{self, one};
use super::{Luck, Operator, Scene};
use crate::alter::Alter;
use crate::explore::{Found, dead_ends, explore};
use crate::mistakes::exits_well;

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

/// The promise that only a look at the whole graph can break.
const NO_DEAD_END: &str = "there is always a way to rest";

impl Mistake {
    /// Looks for a broken promise.
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

/// All of them.
pub fn planted() -> Vec<Mistake> {
    let none = worlds::NONE;
    let plain = Alter::default();
    let mistake = |name, source, caught_by, decide, scene| Mistake {
        name,
        source,
        caught_by,
        decide,
        alter: plain,
        scene,
    };
    let two = Scene { objects: 2, ..one("two", 2, none) };
    vec![
        mistake("due decided from R's owner", "8.8", worlds::STATUS, due_from_run, two),
        mistake(
            "attempt from tracking only",
            "8.8",
            NO_DEAD_END,
            attempt_from_tracking,
            one("settle fails for good", 4, Luck { crashes: 3, edits: 1, ..none }),
        ),
        mistake(
            "O's generation from now instead of the task's",
            "8.8",
            worlds::UNTRIED,
            generation_from_now,
            one("edit", 4, Luck { edits: 1, faults: 2, ..none }),
        ),
        mistake(
            "status from the Job (StatusFromJob)",
            "8.4",
            worlds::STATUS,
            status_from_job,
            one("crash", 4, Luck { crashes: 1, ..none }),
        ),
        Mistake {
            alter: Alter::step(exits_well),
            ..mistake(
                "Job Complete is a commit, and exit 0 on SIGTERM (JobCompleteIsCommit)",
                "8.4",
                worlds::STATUS,
                job_complete_is_commit,
                one("fault", 4, Luck { faults: 1, ..none }),
            )
        },
        mistake(
            "the object is let go without settle",
            "new",
            worlds::LET_GO,
            let_go_at_once,
            one("deletion", 4, Luck { deletions: 1, ..none }),
        ),
        mistake(
            "an outcome in O is not asked for",
            "new",
            worlds::STATUS,
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
        look @ Step::Look(_) => look,
    }
}

fn due_from_run(seen: &Observed) -> Step {
    let mut seen = seen.clone();
    if let Tracking::Read(read) = &mut seen.tracking {
        let other = read
            .r
            .as_ref()
            .is_some_and(|run| Some(&run.owner.uid) != seen.job.metadata.uid.as_ref());
        if let Some(outcome) = read.o.as_mut().filter(|_| other) {
            outcome.result = None;
        }
    }
    if let Some(status) = &mut seen.job.status {
        status.outcome = None;
    }
    decide(&seen)
}

fn outcome_not_read(seen: &Observed) -> Step {
    let mut seen = seen.clone();
    if let Tracking::Read(read) = &mut seen.tracking {
        read.o = None;
    }
    decide(&seen)
}

fn makes_coordinator(step: &Step) -> bool {
    let Step::Act(decision) = step else { return false };
    decision.effects.iter().any(|effect| {
        matches!(effect, Effect::CreateJob(job)
            if job.metadata.labels.as_ref().and_then(|all| all.get(operator_core::labels::ROLE))
                .is_some_and(|role| role == "coordinator"))
    })
}

fn attempt_from_tracking(seen: &Observed) -> Step {
    let step = decide(seen);
    if !makes_coordinator(&step) {
        return step;
    }
    let mut blind = seen.clone();
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

fn generation_from_now(seen: &Observed) -> Step {
    let generation = seen.generation();
    changed(decide(seen), |decision| {
        for effect in &mut decision.effects {
            let Effect::CreateJob(job) = effect else { continue };
            if env::<crds::task::SettleOrder>(job, crds::task::SETTLE_ENV).is_none() {
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
fn believed(seen: &Observed) -> Option<Tracking> {
    let Tracking::Read(read) = &seen.tracking else { return None };
    let all = attempts(&seen.jobs, seen.uid());
    let last = all.last()?;
    let task = last.letter()?.task;
    let result = OutcomeResult {
        outcome: TrackedOutcome::Complete,
        owner: task.owner,
        run: read.r.as_ref().map(|run| run.run),
        report: None,
        window: None,
        watermark: None,
        rows: 0,
        bytes: 0,
        files: 0,
        partitions: 1,
        columns_as_text: 0,
    };
    let mut read = read.clone();
    read.o = Some(OutcomeItem {
        source: String::new(),
        schema: 1,
        attempt: task.attempt,
        run: None,
        result: Some(result),
        expires_at: 0,
    });
    Some(Tracking::Read(read))
}

fn job_complete_is_commit(seen: &Observed) -> Step {
    let mut seen = seen.clone();
    let complete = attempts(&seen.jobs, seen.uid())
        .last()
        .and_then(|last| last.coordinator)
        .is_some_and(is_complete);
    if complete && let Some(tracking) = believed(&seen) {
        seen.tracking = tracking;
    }
    decide(&seen)
}

/// A settle Job that is Complete says that all is well.
fn status_from_job(seen: &Observed) -> Step {
    let mut seen = seen.clone();
    let complete =
        attempts(&seen.jobs, seen.uid()).last().is_some_and(|last| last.jobs().any(is_complete));
    if complete && let Some(tracking) = believed(&seen) {
        seen.tracking = tracking;
    }
    decide(&seen)
}

fn let_go_at_once(seen: &Observed) -> Step {
    let deleted = seen.job.metadata.deletion_timestamp.is_some();
    changed(decide(seen), |decision| {
        if deleted && seen.has_finalizer() {
            decision.effects = vec![Effect::DropFinalizer];
        }
    })
}

//! In: the Jobs labelled with an object's uid. Out: [`Attempt`]s, each with its Jobs and its task text.
//! Bound: the Jobs of one object. Fails: never; a Job that is not the object's own is left out.

use crds::Task;
use crds::status::Partitions;
use crds::task::{TASK_ENV, TASK_VERSION};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};

use crate::labels::{ATTEMPT, POSTPONED, RECOVER, ROLE, Role, UID};

/// The task of an attempt: as a pod got it, and as it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskText {
    /// The text of the environment variable, copied unchanged from Job to Job.
    pub text: String,
    /// What it says.
    pub task: Task,
}

impl TaskText {
    /// Writes a task.
    pub fn new(task: Task) -> Self {
        Self { text: serde_json::to_string(&task).unwrap_or_default(), task }
    }
}

/// The Jobs of one attempt.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// Which one.
    pub number: u32,
    /// Claims, plans, commits. Absent when somebody deleted it.
    pub coordinator: Option<&'a Job>,
    /// Reads partitions.
    pub extract: Option<&'a Job>,
    /// End the run; by their number, ascending.
    pub recoveries: Vec<(u32, &'a Job)>,
    /// Recovery Jobs up to this number did what was to do then; what is to do now came later.
    pub recovered_earlier: u32,
}

impl<'a> Attempt<'a> {
    /// An attempt that only the tracking table shows.
    pub fn without_jobs(number: u32) -> Self {
        Self {
            number,
            coordinator: None,
            extract: None,
            recoveries: Vec::new(),
            recovered_earlier: 0,
        }
    }

    /// Coordinator and extract Job, as far as there are any.
    pub fn workers(&self) -> impl Iterator<Item = &'a Job> + use<'a> {
        self.coordinator.into_iter().chain(self.extract)
    }

    /// All of its Jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &'a Job> {
        self.workers().chain(self.recoveries.iter().map(|(_, job)| *job))
    }

    /// The Job whose annotations describe the attempt.
    pub fn anchor(&self) -> Option<&'a Job> {
        self.workers().next()
    }

    /// The task, from whichever Job still holds it.
    pub fn task_text(&self) -> Option<TaskText> {
        self.jobs().find_map(task_text)
    }

    /// Whether a newer release wrote the task.
    pub fn is_newer(&self) -> bool {
        self.jobs().filter_map(task_json).any(|text| {
            serde_json::from_str::<serde_json::Value>(text)
                .ok()
                .and_then(|task| task.get("version")?.as_u64())
                .is_some_and(|version| version > u64::from(TASK_VERSION))
        })
    }

    /// The image that the attempt runs.
    pub fn image(&self) -> Option<&'a str> {
        self.workers().find_map(|job| {
            job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_deref()
        })
    }
}

fn task_json(job: &Job) -> Option<&str> {
    let container = job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    container.env.iter().flatten().find(|env| env.name == TASK_ENV)?.value.as_deref()
}

fn task_text(job: &Job) -> Option<TaskText> {
    let text = task_json(job)?;
    Some(TaskText { text: text.to_owned(), task: serde_json::from_str(text).ok()? })
}

/// The attempts of the object `uid`, ascending.
pub fn attempts<'a>(jobs: &'a [Job], uid: &str) -> Vec<Attempt<'a>> {
    let mut found: Vec<Attempt<'a>> = Vec::new();
    for job in jobs.iter().filter(|job| is_owned_by(job, uid)) {
        let Some(number) = number_label(job, ATTEMPT) else {
            continue;
        };
        let at = match found.binary_search_by_key(&number, |attempt| attempt.number) {
            Ok(at) => at,
            Err(at) => {
                found.insert(at, Attempt::without_jobs(number));
                at
            }
        };
        let Some(attempt) = found.get_mut(at) else {
            continue;
        };
        let role = label(job, ROLE);
        if role == Some(Role::Coordinator.name()) {
            attempt.coordinator = Some(job);
        } else if role == Some(Role::Extract.name()) {
            attempt.extract = Some(job);
        } else if role == Some(Role::Recover.name()) {
            attempt.recoveries.push((number_label(job, RECOVER).unwrap_or(1), job));
        }
    }
    for attempt in &mut found {
        attempt.recoveries.sort_by_key(|(k, _)| *k);
    }
    found
}

/// Whether the object `uid` controls the Job.
pub fn is_owned_by(job: &Job, uid: &str) -> bool {
    job.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Whether the Job was made for the object `uid`: it controls it, or leaves it behind.
pub fn is_made_for(job: &Job, uid: &str) -> bool {
    let left = label(job, POSTPONED).is_some() && label(job, UID) == Some(uid);
    is_owned_by(job, uid) || (left && job.metadata.owner_references.is_none())
}

/// A Job's name.
pub fn name(job: &Job) -> String {
    job.metadata.name.clone().unwrap_or_default()
}

/// A Job's uid.
pub fn uid(job: &Job) -> String {
    job.metadata.uid.clone().unwrap_or_default()
}

fn label<'a>(job: &'a Job, key: &str) -> Option<&'a str> {
    job.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn number_label(job: &Job, key: &str) -> Option<u32> {
    label(job, key)?.parse().ok()
}

fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

fn condition_time(condition: &JobCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// When the Job became Complete.
pub fn completed_at(job: &Job) -> Option<Timestamp> {
    condition(job, "Complete").and_then(condition_time)
}

/// Whether its pods did all they had to.
pub fn is_complete(job: &Job) -> bool {
    condition(job, "Complete").is_some()
}

/// How the Job fails, as soon as that is certain: pods may still be ending.
pub fn failure(job: &Job) -> Option<JobFailure> {
    let condition = condition(job, "Failed").or_else(|| condition(job, "FailureTarget"))?;
    Some(JobFailure {
        at: condition_time(condition),
        deadline: condition.reason.as_deref() == Some("DeadlineExceeded"),
    })
}

/// How a Job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobFailure {
    /// When.
    pub at: Option<Timestamp>,
    /// Whether its `activeDeadlineSeconds` was over.
    pub deadline: bool,
}

/// Whether the Job controller is done with it.
pub fn is_finished(job: &Job) -> bool {
    is_complete(job) || condition(job, "Failed").is_some()
}

/// Whether it was ever started.
pub fn is_started(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// Whether the operator stopped the Job.
pub fn is_stopped(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds == Some(1))
}

/// Whether somebody deletes it.
pub fn is_deleted(job: &Job) -> bool {
    job.metadata.deletion_timestamp.is_some()
}

/// Progress as the Job controller counts it.
pub(crate) fn partitions(extract: &Job) -> Partitions {
    let count = |number: Option<i32>| u32::try_from(number.unwrap_or_default()).unwrap_or_default();
    let total = count(extract.spec.as_ref().and_then(|spec| spec.completions));
    let status = extract.status.as_ref();
    Partitions {
        total,
        succeeded: count(status.and_then(|status| status.succeeded)),
        failed: indexes(status.and_then(|status| status.failed_indexes.as_deref())),
        ..Partitions::default()
    }
}

/// How many indexes a text like `1,3-5,7` names.
fn indexes(text: Option<&str>) -> u32 {
    let parts = text.unwrap_or_default().split(',').filter(|part| !part.is_empty());
    parts.fold(0, |sum, part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (from.parse::<u32>(), to.parse::<u32>()) {
            (Ok(from), Ok(to)) => sum + to.saturating_sub(from) + 1,
            _ => sum,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted_from_their_text() {
        let counts = [None, Some(""), Some("3"), Some("0,2-4,9"), Some("x-")].map(indexes);
        assert_eq!(counts, [0, 0, 1, 5, 0]);
    }
}

//! In: postponed removals. Out: when the one of an object is due, and when a Job that waits for
//! one is to be started. Bound: none. Fails: never.
//!
//! An object that is there makes a recovery Job when its removal is due. One that is deleted before
//! leaves a Job behind: nobody owns it, it is suspended, and the operator starts it in time.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::attempt::{is_deleted, is_finished};
use crate::labels::START_AT;
use crate::observed::TrackingRead;

/// How much later than due a Job is started: the clocks of two machines differ, and a worker removes
/// nothing too early.
const MARGIN: Duration = Duration::from_secs(10);

/// What to do about a Job that waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Start it.
    Now,
    /// Decide again after this time.
    In(Duration),
    /// It is started, over, or somebody else's.
    Never,
}

/// When files that the object `uid` replaced are to be removed, wherever they are.
pub(crate) fn removal(read: &TrackingRead, uid: &str) -> Option<Timestamp> {
    let pending_cleanup = read.run.as_ref()?.pending_cleanup.as_ref()?;
    Timestamp::from_second(pending_cleanup.removal_by(uid)?.at()).ok()
}

/// Decides about a Job by its annotation.
pub fn start(job: &Job, now: Timestamp) -> Start {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let at = job.metadata.annotations.as_ref().and_then(|annotations| annotations.get(START_AT));
    let at = at.and_then(|at| at.parse::<Timestamp>().ok());
    let (true, Some(at)) = (suspended && !is_finished(job) && !is_deleted(job), at) else {
        return Start::Never;
    };
    let at = at.checked_add(MARGIN).unwrap_or(Timestamp::MAX);
    match Duration::try_from(at.duration_since(now)) {
        Ok(left) if !left.is_zero() => Start::In(left),
        Ok(_) | Err(_) => Start::Now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(change: &serde_json::Value) -> Job {
        let mut job = json!({
            "metadata": { "annotations": { START_AT: "2026-01-01T00:00:00Z" } },
            "spec": { "suspend": true, "template": {} },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            job[key] = value.clone();
        }
        serde_json::from_value(job).unwrap_or_default()
    }

    #[test]
    fn a_suspended_job_is_started_once_its_time_has_come() {
        let at = |time: &str| time.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
        let waiting = job(&json!({}));
        let early = start(&waiting, at("2025-12-31T23:59:00Z"));
        assert_eq!(early, Start::In(Duration::from_secs(70)));
        assert_eq!(start(&waiting, at("2026-01-01T00:00:00Z")), Start::In(MARGIN));
        assert_eq!(start(&waiting, at("2026-01-01T00:00:10Z")), Start::Now);
        assert_eq!(start(&waiting, at("2027-01-01T00:00:00Z")), Start::Now);
    }

    #[test]
    fn a_job_that_is_started_or_over_or_has_no_time_is_left_alone() {
        let over = json!({ "conditions": [{ "type": "Failed", "status": "True" }] });
        let changes = [
            json!({ "spec": { "suspend": false, "template": {} } }),
            json!({ "metadata": {} }),
            json!({ "metadata": { "annotations": { START_AT: "soon" } } }),
            json!({ "status": over }),
        ];
        for change in changes {
            assert_eq!(start(&job(&change), Timestamp::MAX), Start::Never, "{change}");
        }
    }
}

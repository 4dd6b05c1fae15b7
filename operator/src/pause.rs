//! Pause points: tests stop the process right before or right after it makes a Job, and kill it.

use k8s_openapi::api::batch::v1::Job;
use operator_core::labels::{ATTEMPT, ROLE};

/// Environment variable `<before|after>-create-<role>[@<attempt>]`: at that point the process stands
/// still until it is killed.
pub(crate) const PAUSE_ENV: &str = "TIDEMARK_TEST_PAUSE";

/// On which side of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It is not sent yet.
    Before,
    /// It was answered.
    After,
}

/// A pause point that was asked for, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pause {
    point: Option<String>,
    attempt: Option<String>,
}

impl Pause {
    /// Reads what was asked for.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Self::default() };
        match text.split_once('@') {
            Some((point, attempt)) => {
                Self { point: Some(point.to_owned()), attempt: Some(attempt.to_owned()) }
            }
            None => Self { point: Some(text.to_owned()), attempt: None },
        }
    }

    /// Stands still for ever, if this is the point.
    pub(crate) async fn at(&self, side: Side, job: &Job) {
        if self.is_at(side, job) {
            tracing::warn!(?side, job = job.metadata.name, "paused for a test");
            std::future::pending::<()>().await;
        }
    }

    fn is_at(&self, side: Side, job: &Job) -> bool {
        let Some(point) = &self.point else { return false };
        let labels = job.metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key));
        let side = match side {
            Side::Before => "before",
            Side::After => "after",
        };
        label(ROLE).is_some_and(|role| *point == format!("{side}-create-{role}"))
            && (self.attempt.is_none() || self.attempt.as_ref() == label(ATTEMPT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_side_a_role_and_perhaps_an_attempt() {
        let mut job = Job::default();
        let labels = [(ROLE, "recover"), (ATTEMPT, "2")];
        job.metadata.labels = Some(labels.map(|(key, value)| (key.into(), value.into())).into());
        let is_at = |text, side| Pause::parse(Some(text)).is_at(side, &job);
        assert!(is_at("after-create-recover", Side::After));
        assert!(is_at("after-create-recover@2", Side::After));
        assert!(!is_at("after-create-recover@1", Side::After));
        assert!(!is_at("after-create-recover", Side::Before));
        assert!(!is_at("after-create-extract", Side::After));
        assert!(!is_at("", Side::After));
    }
}

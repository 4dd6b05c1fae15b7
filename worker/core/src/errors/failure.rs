//! How a step of a run fails: what the process says, and with which exit code.

use std::fmt;

use crds::condition::Exit;
use crds::{Reason, Report};

/// The remedy of a failure that only a new release of Tidemark can fix.
pub const REPORT: &str =
    "Report it as a bug of Tidemark, with this message and the log of the pod.";

/// A failed step: what users read, and what the operator does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the operator does: retry, stop or wait.
    pub exit: Exit,
    /// Reason, message and remedy for users.
    pub report: Report,
}

impl Failure {
    /// Another attempt cannot help: a person must change something.
    pub fn permanent(
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit: Exit::Permanent, report: Report::new(reason, message, remedy) }
    }

    /// The next attempt may succeed.
    pub fn transient(
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit: Exit::Transient, report: Report::new(reason, message, remedy) }
    }

    /// Another process has claimed the source.
    pub fn fenced(reason: Reason, message: impl Into<String>) -> Self {
        Self { exit: Exit::Fenced, report: Report::new(reason, message, "") }
    }

    /// Stopped by a signal.
    pub fn stopped() -> Self {
        Self {
            exit: Exit::Stopped,
            report: Report::new(Reason::Stopped, "the process was stopped by a signal", ""),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.report.reason, self.report)
    }
}

impl std::error::Error for Failure {}

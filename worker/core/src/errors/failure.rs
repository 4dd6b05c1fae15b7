//! How a step of a run fails: what the process says, and with which exit code.

use std::fmt;

use crds::condition::Exit;
use crds::{Reason, Report};

/// A failed step: what people read, and what the operator does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the operator does: try again, give up, wait.
    pub exit: Exit,
    /// What people read.
    pub report: Report,
}

impl Failure {
    /// Only a human can mend it.
    pub fn permanent(
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit: Exit::Permanent, report: Report::new(reason, message, remedy) }
    }

    /// It may pass by itself.
    pub fn transient(
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit: Exit::Transient, report: Report::new(reason, message, remedy) }
    }

    /// Another process has the source.
    pub fn fenced(reason: Reason, message: impl Into<String>) -> Self {
        Self { exit: Exit::Fenced, report: Report::new(reason, message, "") }
    }

    /// Stopped by a signal.
    pub fn stopped() -> Self {
        Self {
            exit: Exit::Stopped,
            report: Report::new(Reason::Stopped, "a signal ended the process", ""),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.report.reason, self.report)
    }
}

impl std::error::Error for Failure {}

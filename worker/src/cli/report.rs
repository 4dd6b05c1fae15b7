//! The end of a process, said in the three places where people and the operator look: the log, the
//! termination message, the exit code.

use std::process::ExitCode;

use crds::condition::Exit;
use crds::task::TERMINATION_FILE;
use crds::{Reason, Report};
use worker_core::errors::failure::Failure;

/// Says how the process ended.
pub fn ended(exit: Exit, report: &Report) -> ExitCode {
    // `message` is the log line's own key
    let (reason, said, remedy) = (report.reason, &report.message, &report.remedy);
    match exit {
        Exit::Done => tracing::info!(%reason, said, "ended"),
        Exit::Permanent | Exit::RangePermanent => {
            tracing::error!(%reason, said, remedy, exit = exit.code(), "failed");
        }
        Exit::Fenced | Exit::Transient | Exit::Stopped => {
            tracing::warn!(%reason, said, remedy, exit = exit.code(), "failed");
        }
    }
    // outside Kubernetes there is no such file, and nobody reads it
    if std::path::Path::new(TERMINATION_FILE).exists()
        && let Ok(text) = serde_json::to_string(report)
    {
        let _ = std::fs::write(TERMINATION_FILE, text);
    }
    ExitCode::from(exit.code())
}

/// Says that the process failed.
pub fn failed(failure: &Failure) -> ExitCode {
    ended(failure.exit, &failure.report)
}

/// Says that all is done.
pub fn done(message: &str) -> ExitCode {
    ended(Exit::Done, &Report::new(Reason::Succeeded, message, ""))
}

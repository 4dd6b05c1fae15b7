//! The end of a process, in the places where people and the operator read it: standard error, the termination
//! message, the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use crds::condition::Exit;
use crds::task::TERMINATION_FILE;
use crds::{Reason, Report};
use worker_core::errors::failure::Failure;

use crate::base::telemetry::{LogFormat, has_colors};
use crate::cli::errors::{CommandError, UsageError};
use crate::cli::help;

/// Reports how the command named `name` ended.
pub fn ended(name: &str, result: Result<String, CommandError>, format: LogFormat) -> ExitCode {
    let (exit, report) = match result {
        Ok(message) => (Exit::Done, Report::new(Reason::Succeeded, message, "")),
        Err(CommandError::Failed(Failure { exit, report })) => (exit, report),
        Err(CommandError::Usage(error)) => return usage(name, &error),
    };
    if format.is_text() {
        for_people(exit, &report);
    } else {
        log(exit, &report);
    }
    // the file exists only in Kubernetes, which reads it
    if std::path::Path::new(TERMINATION_FILE).exists()
        && let Ok(text) = serde_json::to_string(&report)
    {
        let _ = std::fs::write(TERMINATION_FILE, text);
    }
    ExitCode::from(exit.code())
}

fn log(exit: Exit, report: &Report) {
    // `message` is the log line's own key
    let (reason, report, remedy) = (report.reason, &report.message, &report.remedy);
    match exit {
        Exit::Done => tracing::info!(%reason, report, "the command succeeded"),
        Exit::Permanent | Exit::PartitionPermanent => {
            tracing::error!(%reason, report, remedy, exit = exit.code(), "the command failed");
        }
        Exit::Fenced | Exit::Transient | Exit::Stopped => {
            tracing::warn!(%reason, report, remedy, exit = exit.code(), "the command failed");
        }
    }
}

fn for_people(exit: Exit, report: &Report) {
    match exit {
        Exit::Done => tracing::info!("{}", report.message),
        Exit::Permanent
        | Exit::PartitionPermanent
        | Exit::Fenced
        | Exit::Transient
        | Exit::Stopped => {
            let message = format!("{} ({})", report.message, report.reason);
            write(&error_text(&message, &report.remedy, has_colors()));
        }
    }
}

/// A mistake in the call, with the usage of the command.
fn usage(name: &str, error: &UsageError) -> ExitCode {
    let text = error_text(&error.message, &error.hint, has_colors());
    let usage = help::usage(help::command_of(name.split(' ').map(str::to_owned)));
    write(&format!("{text}\n{usage}\n\nFor more information, try 'tidemark {name} --help'.\n"));
    ExitCode::from(help::USAGE_ERROR)
}

fn write(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// An error and what to do about it, as compilers write them.
fn error_text(message: &str, hint: &str, colors: bool) -> String {
    let (red, plain) = if colors { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    format!("{red}error:{plain} {message}\n{}", hint_text(hint, colors))
}

/// The line of a hint, if there is one.
pub(super) fn hint_text(hint: &str, colors: bool) -> String {
    let (cyan, plain) = if colors { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
    if hint.is_empty() { String::new() } else { format!("{cyan}hint:{plain} {hint}\n") }
}

#[cfg(test)]
mod tests {
    use super::error_text;

    #[test]
    fn error_is_followed_by_its_hint() {
        assert_eq!(
            error_text("no table", "Name one.", false),
            "error: no table\nhint: Name one.\n"
        );
        assert_eq!(error_text("no table", "", false), "error: no table\n");
        assert!(error_text("no table", "", true).starts_with("\x1b[1;31merror:\x1b[0m no"));
    }
}

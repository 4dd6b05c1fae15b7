//! What `--help` shows below the flags, and how a start that failed is reported.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::settings::Flags;
use crate::telemetry::LogFormat;

/// Exit code of a usage error, as clap has it.
const USAGE_ERROR: u8 = 2;

/// The step that reads how to reach the API server.
pub(crate) const CONNECT: &str = "connect to the API server";
/// The step that serves health and metrics.
pub(crate) const SERVE: &str = "serve health and metrics";

const BELOW: &str = "\
Examples:
  # Run the operator in a cluster, with the flags that the chart sets
  helm install tidemark charts/tidemark -n tidemark

  # Run it outside, for the cluster of the kubeconfig
  tidemark-operator --worker-image tidemark:0.1 --tracking-table tidemark

Exit codes:
  0  Stopped by SIGTERM or SIGINT
  1  The operator could not start, or stopped because of an error
  2  Usage error: a flag or an environment variable is wrong";

/// The flags, with examples and exit codes.
fn command() -> clap::Command {
    Flags::command().mut_args(|arg| arg.hide_env_values(true)).after_help(BELOW)
}

/// Reads flags and environment.
///
/// # Errors
/// The exit code: 0 after help was printed, 2 after a usage error was.
pub(crate) fn flags() -> Result<Flags, ExitCode> {
    let parsed = command().try_get_matches().and_then(|matches| Flags::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let _ = std::io::stderr().write_all(with_usage(&error).as_bytes());
        ExitCode::from(USAGE_ERROR)
    })
}

/// What clap says, then a hint, the usage, and how to get help. clap leaves out the usage if a value is wrong, and calls
/// a hint a tip.
fn with_usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let end = ["Usage:", "For more information"];
    let (mut said, mut hints) = (String::new(), String::new());
    for line in text.lines().take_while(|line| !end.iter().any(|word| line.starts_with(word))) {
        match line.trim_start().strip_prefix("tip:") {
            Some(tip) => hints += &["hint:", tip, "\n"].concat(),
            None if line.is_empty() => {}
            None => said += &[line, "\n"].concat(),
        }
    }
    if hints.is_empty() {
        hints = format!("hint: {}\n", usage_hint(error));
    }
    let usage = command().render_usage();
    format!("{said}{hints}\n{usage}\n\nFor more information, try 'tidemark-operator --help'.\n")
}

/// What to do about a usage error for which clap has no tip.
fn usage_hint(error: &clap::Error) -> String {
    let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let mut command = command();
    command.build();
    let known = command.get_arguments().find(|arg| arg.to_string() == flag);
    match (error.kind(), known.and_then(clap::Arg::get_env)) {
        (ErrorKind::MissingRequiredArgument, _) => "Add the missing flags.".to_owned(),
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, Some(variable)) => {
            let variable = variable.to_string_lossy();
            format!("Correct the value of the flag or of the environment variable {variable}.")
        }
        (ErrorKind::InvalidValue | ErrorKind::ValueValidation, None) => {
            "Correct the value.".to_owned()
        }
        _ => "Check the spelling. `tidemark-operator --help` lists the flags.".to_owned(),
    }
}

/// Reports why the operator ended.
pub(crate) fn failed(error: &anyhow::Error, format: LogFormat) -> ExitCode {
    let hint = hint(&error.to_string());
    if format.is_text() {
        let hint = if hint.is_empty() { String::new() } else { format!("hint: {hint}\n") };
        let _ = write!(std::io::stderr(), "error: {error:#}\n{hint}");
    } else {
        tracing::error!(error = format!("{error:#}"), remedy = hint, "operator failed");
    }
    ExitCode::FAILURE
}

/// What to do about a failed step of the start.
fn hint(step: &str) -> &'static str {
    match step {
        CONNECT => "Run the operator in a pod, or set KUBECONFIG to a kubeconfig file.",
        SERVE => "Pass another address as --health-address.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> (String, String) {
        let mut command = command().term_width(100);
        (command.render_help().to_string(), command.render_long_help().to_string())
    }

    #[test]
    fn every_flag_has_help_and_a_heading() {
        let mut command = command();
        command.build();
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let id = arg.get_id();
            let own = ["help", "version"].contains(&id.as_str());
            assert!(arg.get_help().is_some(), "{id} has no help");
            assert!(own || arg.get_help_heading().is_some(), "{id} has no heading");
        }
    }

    #[test]
    fn durations_are_shown_by_long_help_only() {
        let (short, long) = pages();
        assert!(
            !short.contains("--busy-retry-seconds") && long.contains("--busy-retry-seconds"),
            "{short}"
        );
        assert!(short.contains("Exit codes:") && short.contains("--worker-image"), "{short}");
    }

    #[test]
    fn failed_start_has_a_hint() {
        for step in [CONNECT, SERVE] {
            assert!(!hint(step).is_empty(), "{step}");
        }
        assert_eq!(hint("another step"), "");
    }

    #[test]
    fn usage_error_has_error_hint_usage_and_where_to_get_help() {
        let said = |flags: &[&str]| {
            let all = ["tidemark-operator", "--worker-image", "w"].iter().chain(flags);
            with_usage(&command().try_get_matches_from(all).expect_err("a usage error"))
        };
        assert_eq!(
            said(&["--resync-seconds=-1"]),
            "error: invalid value '-1' for '--resync-seconds <SECONDS>': use a number of seconds, such as 5 or 0.5\n\
             hint: Correct the value of the flag or of the environment variable RESYNC_SECONDS.\n\n\
             Usage: tidemark-operator [OPTIONS] --worker-image <IMAGE>\n\n\
             For more information, try 'tidemark-operator --help'.\n"
        );
        let tip = said(&["--resnc", "5"]);
        assert!(
            tip.contains("\nhint: a similar argument exists: '--resync-seconds'\n\nUsage: "),
            "{tip}"
        );
    }
}

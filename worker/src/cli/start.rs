//! In: arguments and environment. Out: the command to run, or the exit code of help and of a usage error.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{FromArgMatches as _, Parser as _};
use worker_core::errors::failure::Failure;
use worker_core::migration::LegacyJob;

use crate::base::telemetry::{LogFormat, has_colors};
use crate::cli::settings::{LegacySettings, Settings};
use crate::cli::{help, legacy, report, run};

/// What the process was started for.
pub enum Start {
    /// A call of the legacy job, which had no sub-commands.
    Legacy(Box<(Result<LegacyJob, Failure>, LegacySettings)>),
    /// A sub-command.
    Command(Box<Settings>),
}

impl Start {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// The exit code: 0 after help was printed, 2 after a usage error was.
    pub fn read() -> Result<Self, ExitCode> {
        if let Some(call) = legacy::call().transpose() {
            let settings =
                LegacySettings::try_parse_from(["tidemark"]).map_err(|error| said(&error))?;
            return Ok(Self::Legacy(Box::new((call, settings))));
        }
        let matches = help::command().try_get_matches().map_err(|error| said(&error))?;
        let settings = Settings::from_arg_matches(&matches).map_err(|error| said(&error))?;
        Ok(Self::Command(Box::new(settings)))
    }

    /// Format of the log.
    pub fn log_format(&self) -> LogFormat {
        match self {
            Self::Legacy(call) => call.1.logs.log_format,
            Self::Command(settings) => settings.logs.log_format,
        }
    }

    /// Does what was asked for.
    pub async fn run(self) -> ExitCode {
        match self {
            Self::Legacy(legacy) => {
                let (call, settings) = *legacy;
                legacy::run(call, settings).await
            }
            Self::Command(settings) => run::run(*settings).await,
        }
    }
}

/// Prints help, or a usage error with a hint and the usage.
fn said(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render();
    let text = if has_colors() { text.ansi().to_string() } else { text.to_string() };
    let text = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        text
    } else {
        let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        let command = help::command_of(words);
        let hint = hint(error, &command);
        with_usage(&text, &hint, command)
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(help::USAGE_ERROR)
}

/// What clap says, then a hint, the usage of the command, and how to get help. clap leaves out the usage if a value is
/// wrong, and calls a hint a tip.
fn with_usage(text: &str, hint: &str, command: clap::Command) -> String {
    let end = ["Usage:", "For more information"];
    let (mut error, mut hints) = (String::new(), String::new());
    for line in text.lines().take_while(|line| !end.iter().any(|word| line.contains(word))) {
        if is_tip(line) {
            hints += &(line.trim_start().replacen("tip:", "hint:", 1) + "\n");
        } else if !line.is_empty() {
            error += &(line.to_owned() + "\n");
        }
    }
    if hints.is_empty() {
        hints = report::hint_text(hint, has_colors());
    }
    let name = help::full_name(&command).to_owned();
    let own = text.lines().find(|line| line.contains("Usage:")).map(str::to_owned);
    let usage = own.unwrap_or_else(|| help::usage(command));
    format!("{error}{hints}\n{usage}\n\nFor more information, try '{name} --help'.\n")
}

fn is_tip(line: &str) -> bool {
    let bare = line.trim_start();
    bare.starts_with("tip:") || (bare.starts_with('\u{1b}') && line.contains("tip:"))
}

/// What to do about a usage error for which clap has no tip.
fn hint(error: &clap::Error, command: &clap::Command) -> String {
    let name = help::full_name(command);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("Check the spelling. `{name} --help` lists the flags.")
        }
        ErrorKind::InvalidSubcommand => {
            format!("Check the spelling. `{name} --help` lists the commands.")
        }
        ErrorKind::MissingRequiredArgument => "Add the missing arguments.".to_owned(),
        ErrorKind::ArgumentConflict => "Remove one of the arguments.".to_owned(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => value_hint(error, command),
        _ => format!("`{name} --help` shows how to call the command."),
    }
}

/// Where to correct a value: in a flag, or in the environment.
fn value_hint(error: &clap::Error, command: &clap::Command) -> String {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return "Correct the value.".to_owned();
    };
    let flag = shown.split(' ').next().unwrap_or(shown);
    if matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(given)) if given.is_empty())
    {
        return format!("Add the value after {flag}.");
    }
    let of_flag = command.get_arguments().find(|arg| arg.to_string() == *shown);
    match of_flag.and_then(clap::Arg::get_env) {
        None => format!("Correct the value of {flag}."),
        Some(variable) => {
            let variable = variable.to_string_lossy();
            format!("Correct the value of {flag} or of the environment variable {variable}.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(words: &[&str]) -> String {
        let all = std::iter::once("tidemark").chain(words.iter().copied());
        let error = help::command().try_get_matches_from(all).expect_err("a usage error");
        let command = help::command_of(words.iter().map(|word| (*word).to_owned()));
        let hint = hint(&error, &command);
        with_usage(&error.render().to_string(), &hint, command)
    }

    #[test]
    fn usage_error_has_error_hint_usage_and_where_to_get_help() {
        let said = explained(&["run", "-f", "x", "--memory", "lots"]);
        assert_eq!(
            said,
            "error: invalid value 'lots' for '--memory <QUANTITY>': use a number of bytes, or a quantity such as \
             512Mi or 1Gi\n\
             hint: Correct the value of --memory or of the environment variable TIDEMARK_MEMORY.\n\n\
             Usage: tidemark run [OPTIONS] --manifest <FILE>\n\n\
             For more information, try 'tidemark run --help'.\n"
        );
        let said = explained(&["run", "-f"]);
        assert!(said.contains("\nhint: Add the value after --manifest.\n\nUsage: "), "{said}");
        let said = explained(&["run"]);
        assert_eq!(
            said,
            "error: the following required arguments were not provided:\n  --manifest <FILE>\n\
             hint: Add the missing arguments.\n\n\
             Usage: tidemark run --manifest <FILE>\n\n\
             For more information, try 'tidemark run --help'.\n"
        );
    }

    #[test]
    fn tip_of_clap_becomes_the_hint() {
        let said = explained(&["run", "-f", "x", "--memry", "1Gi"]);
        assert!(
            said.contains("\nhint: a similar argument exists: '--memory'\n\nUsage: "),
            "{said}"
        );
        assert_eq!(said.matches("hint:").count(), 1, "{said}");
        let said = explained(&["run", "-f", "x", "--xyzzy"]);
        assert!(said.contains("hint: Check the spelling. `tidemark run --help` lists"), "{said}");
        let said = explained(&["xyzzy"]);
        assert!(said.contains("hint: Check the spelling. `tidemark --help` lists"), "{said}");
    }
}

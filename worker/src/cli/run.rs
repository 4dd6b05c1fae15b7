//! The commands: from flags to an exit code.

use std::path::Path;
use std::process::ExitCode;

use crds::task::{self};

use crate::cli::errors::{CommandError, UsageError};
use crate::cli::flags::DurationFlags;
use crate::cli::local::{here, local_context};
use crate::cli::manifest::task_in;
use crate::cli::pods::{coordinate, extract, recover};
use crate::cli::report;
use crate::cli::settings::{Command, Run, Settings, WatermarkCommand};
use crate::publishing::durations::Durations;

/// Does what was asked for.
pub async fn run(settings: Settings) -> ExitCode {
    let Settings { command, logs, durations } = settings;
    if matches!(command, Command::Ready) {
        return ready();
    }
    let name = name(&command);
    let result = match durations_of(&command, durations) {
        Ok(durations) => run_command(command, durations).await,
        Err(error) => Err(error),
    };
    report::ended(name, result, logs.log_format)
}

/// The words that name a command.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Run(_) => "run",
        Command::Plan(_) => "plan",
        Command::Verify(_) => "verify",
        Command::Watermark(WatermarkCommand::Get(_)) => "watermark get",
        Command::Watermark(WatermarkCommand::Set(_)) => "watermark set",
        Command::Watermark(WatermarkCommand::Rewind(_)) => "watermark rewind",
        Command::Recover(_) => "recover",
        Command::Convert(_) => "convert",
        Command::Coordinate(_) => "coordinate",
        Command::Extract(_) => "extract",
        Command::Ready => "ready",
    }
}

/// Durations that contradict each other are a usage error of people. A pod reports them to the operator.
fn durations_of(command: &Command, flags: DurationFlags) -> Result<Durations, CommandError> {
    let is_pod = match command {
        Command::Coordinate(_) | Command::Extract(_) | Command::Ready => true,
        Command::Recover(recover) => recover.force.is_none(),
        Command::Run(_)
        | Command::Plan(_)
        | Command::Verify(_)
        | Command::Watermark(_)
        | Command::Convert(_) => false,
    };
    Durations::try_from(flags).map_err(|failure| {
        if is_pod {
            failure.into()
        } else {
            UsageError::new(failure.report.message, failure.report.remedy).into()
        }
    })
}

async fn run_command(command: Command, durations: Durations) -> Result<String, CommandError> {
    match command {
        // answered before, since it needs no durations
        Command::Ready => Ok(String::new()),
        Command::Coordinate(pod) => Ok(Box::pin(coordinate(&pod, durations)).await?),
        Command::Extract(pod) => Ok(Box::pin(extract(&pod, durations)).await?),
        Command::Recover(wanted) => Box::pin(recover(&wanted, durations)).await,
        Command::Run(wanted) => Box::pin(local_run(&wanted, durations)).await,
        Command::Verify(wanted) => Box::pin(crate::cli::verify::verify(&wanted, durations)).await,
        Command::Watermark(command) => {
            Box::pin(crate::cli::watermarks::watermark(&command, durations)).await
        }
        Command::Plan(wanted) => Box::pin(crate::cli::dry_run::plan(&wanted, durations)).await,
        Command::Convert(wanted) => crate::cli::convert::convert(&wanted),
    }
}

fn ready() -> ExitCode {
    if Path::new(task::READY_FILE).exists() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything in this process. Where another run holds the source, waits until its deadline.
async fn local_run(wanted: &Run, durations: Durations) -> Result<String, CommandError> {
    let task = task_in(&wanted.manifest)?;
    let (stores, login) = local_context(&wanted.database, &task, durations).await?;
    Ok(here(task, stores, login, (&wanted.memory, &wanted.run), durations).await?)
}

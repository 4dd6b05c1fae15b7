//! The sub-commands: from what a process was told to its exit code.

use std::path::Path;
use std::process::ExitCode;

use crds::task::{self};
use worker_core::errors::failure::Failure;

use crate::cli::local::{here, local_task, local_world};
use crate::cli::pods::{coordinate, extract, settle};
use crate::cli::report;
use crate::cli::settings::{Command, Local, Settings};
use crate::publishing::durations::Durations;

/// Does what was asked for.
pub async fn run(settings: Settings) -> ExitCode {
    if matches!(settings.command, Command::Ready) {
        return ready();
    }
    let result = match Durations::try_from(settings.durations) {
        Ok(durations) => run_command(settings.command, durations).await,
        Err(failure) => Err(failure),
    };
    match result {
        Ok(message) => report::done(&message),
        Err(failure) => report::failed(&failure),
    }
}

async fn run_command(command: Command, durations: Durations) -> Result<String, Failure> {
    match command {
        // answered before, since it needs no durations
        Command::Ready => Ok(String::new()),
        Command::Coordinate(pod) => Box::pin(coordinate(&pod, durations)).await,
        Command::Extract(pod) => Box::pin(extract(&pod, durations)).await,
        Command::Settle(pod) => Box::pin(settle(&pod, durations)).await,
        Command::Run(local) => Box::pin(local_run(&local, durations)).await,
        Command::Verify { local, source } => {
            Box::pin(crate::cli::verify::verify(&local, source, durations)).await
        }
        Command::Watermark(command) => {
            Box::pin(crate::cli::watermarks::watermark(&command, durations)).await
        }
        Command::Plan { local, json } => {
            Box::pin(crate::cli::dry_run::plan(&local, json, durations)).await
        }
        Command::Convert(wanted) => crate::cli::convert::convert(&wanted),
    }
}

fn ready() -> ExitCode {
    if Path::new(task::READY_FILE).exists() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything in this process. Where another run holds the source, waits until its deadline.
async fn local_run(local: &Local, durations: Durations) -> Result<String, Failure> {
    let task = local_task(local)?;
    let (stores, login) = local_world(local, &task, durations).await?;
    here(task, stores, login, &local.process, durations).await
}

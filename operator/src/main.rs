//! `tidemark-operator`: makes the Jobs that extract tables, and says how they went.

mod context;
mod run;
mod leader;
mod watches;
mod postponed;
mod settings;
mod error;
mod reconcile;
mod observed;
mod tracking;
mod watermarks;
mod effects;
mod pause;
mod report;
mod health;
mod readiness;
mod metrics;
mod queue;
mod telemetry;
mod help;

use std::process::ExitCode;

fn main() -> ExitCode {
    let flags = match help::flags() {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    let format = flags.log_format;
    telemetry::start(format);
    match start(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => help::failed(&error, format),
    }
}

fn start(flags: settings::Flags) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is already installed"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run::run(flags))
}

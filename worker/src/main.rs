//! `tidemark`: the worker.

use std::process::ExitCode;

use clap::Parser;

fn main() -> anyhow::Result<ExitCode> {
    worker::base::telemetry::init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed twice"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // the job that Tidemark replaces had no sub-commands
    let code = match worker::cli::old_job::call().transpose() {
        Some(call) => runtime.block_on(worker::cli::old_job::run(call)),
        None => runtime.block_on(worker::cli::run::run(worker::cli::settings::Settings::parse())),
    };
    runtime.block_on(worker::source::goodbye::all_said());
    // a thread that waits for a server which does not answer must not keep the process
    runtime.shutdown_background();
    Ok(code)
}

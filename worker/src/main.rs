//! `tidemark`: the worker.

use std::process::ExitCode;

use worker::cli::start::Start;

fn main() -> anyhow::Result<ExitCode> {
    let start = match Start::read() {
        Ok(start) => start,
        Err(code) => return Ok(code),
    };
    worker::base::telemetry::init(start.log_format());
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed twice"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(start.run());
    runtime.block_on(worker::source::goodbye::all_said());
    // a thread that waits for a server which does not answer must not keep the process
    runtime.shutdown_background();
    Ok(code)
}

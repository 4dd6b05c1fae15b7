//! `tidemark-operator`: makes the Jobs that extract tables, and says how they went.

mod context;
mod run;
mod leader;
mod watches;
mod put_off;
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

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let flags = settings::Flags::parse();
    telemetry::start(flags.log_format);
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is already installed"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run::run(flags))
}

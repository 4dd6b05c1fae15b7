//! Logs: JSON lines on standard error, level by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

/// Begins to log. The clients' own lines are left out unless asked for: they may show requests.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,worker=info,tidemark=info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

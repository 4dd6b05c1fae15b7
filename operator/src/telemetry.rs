//! Logs on standard error: text for people on a terminal, JSON lines elsewhere. `RUST_LOG` sets the level.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text if standard error is a terminal, else JSON.
    #[default]
    Auto,
    /// One line for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Whether people read the log.
    pub(crate) fn is_text(self) -> bool {
        match self {
            Self::Auto => stderr().is_terminal(),
            Self::Text => true,
            Self::Json => false,
        }
    }
}

/// Starts logging; a second call changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // an error means that a logger is installed already
    let _ = if format.is_text() {
        lines.with_ansi(has_colors()).try_init()
    } else {
        lines.json().try_init()
    };
}

/// Whether standard error shows colors: it is a terminal, and `NO_COLOR` is not set.
fn has_colors() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

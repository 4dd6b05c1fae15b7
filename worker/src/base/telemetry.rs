//! Logs on standard error: text for people on a terminal, JSON lines elsewhere. `RUST_LOG` sets the level.

use std::io::{self, IsTerminal as _, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Progress bars on standard error, hidden if it is not a terminal or if the log is JSON. Log lines go above them.
pub static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
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
    pub fn is_text(self) -> bool {
        match self {
            Self::Auto => io::stderr().is_terminal(),
            Self::Text => true,
            Self::Json => false,
        }
    }
}

/// Starts logging. By default, lines of the S3, DynamoDB and database clients are left out, since they may show requests,
/// and warnings about places without AWS settings, such as the metadata service outside AWS.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,aws_config=error,worker=info,tidemark=info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| AboveBars);
    if format.is_text() {
        lines.with_ansi(has_colors()).with_target(false).with_timer(TimeOfDay).compact().init();
    } else {
        BARS.set_draw_target(ProgressDrawTarget::hidden());
        lines.json().init();
    }
}

/// Whether standard error shows colors: it is a terminal, and `NO_COLOR` is not set.
pub fn has_colors() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// Writes to standard error above the progress bars.
struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The local time of day, such as `14:05:31`.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", jiff::Zoned::now().strftime("%H:%M:%S"))
    }
}

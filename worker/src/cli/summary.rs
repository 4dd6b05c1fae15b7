//! In: the manifest of a published run. Out: a summary card if standard output is a terminal, else one line of JSON.
//! Bound: one small file. Fails: `OutputFailed`.

use std::io::IsTerminal as _;
use std::time::Duration;

use crds::RunId;
use crds::tracking::{Mode, Window};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use worker_core::errors::failure::Failure;
use worker_core::layout::manifests::ManifestHead;

use crate::cli::{progress, terminal};

/// Where the kernel reports the most memory that the process has held.
const STATUS_FILE: &str = "/proc/self/status";

/// Prints what a run has published.
///
/// # Errors
/// `OutputFailed`.
pub(super) fn print(manifest: &ManifestHead, duration: Duration) -> Result<(), Failure> {
    let peak = std::fs::read_to_string(STATUS_FILE).ok().and_then(|text| peak_bytes(&text));
    if std::io::stdout().is_terminal() {
        let facts = Facts {
            run: manifest.run,
            mode: manifest.mode,
            window: &manifest.window,
            rows: manifest.rows,
            files: manifest.files.0,
            bytes: manifest.bytes,
            watermark: manifest.watermark_max.as_deref(),
            duration,
            peak,
        };
        return card(&facts).iter().try_for_each(|line| terminal::print(line));
    }
    let printed = json!({
        "run": manifest.run, "rows": manifest.rows, "bytes": manifest.bytes,
        "files": manifest.files.0, "window": manifest.window,
        "watermark": manifest.watermark_max, "fidelity": manifest.fidelity,
        "durationSeconds": duration.as_secs(), "peakMemoryBytes": peak,
    });
    terminal::print(&printed.to_string())
}

/// What the summary card shows.
struct Facts<'a> {
    run: RunId,
    mode: Mode,
    window: &'a Window,
    rows: u64,
    files: u64,
    bytes: u64,
    watermark: Option<&'a str>,
    duration: Duration,
    peak: Option<u64>,
}

/// The lines of the summary card.
fn card(facts: &Facts<'_>) -> Vec<String> {
    let guard = json!(facts.window.guard);
    [
        ("Run", facts.run.to_string()),
        ("Window", window(facts.window, facts.mode)),
        ("Guard", guard.as_str().unwrap_or("none").to_owned()),
        ("Rows", HumanCount(facts.rows).to_string()),
        ("Files", HumanCount(facts.files).to_string()),
        ("Bytes", size(facts.bytes)),
        ("Duration", progress::minutes(facts.duration)),
        ("Peak memory", facts.peak.map_or_else(|| "unknown".to_owned(), size)),
        ("Watermark", facts.watermark.unwrap_or("none").to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| format!("{name:<13}{value}"))
    .collect()
}

fn size(bytes: u64) -> String {
    format!("{} ({} bytes)", HumanBytes(bytes), HumanCount(bytes))
}

/// An incremental window does not include its start.
fn window(window: &Window, mode: Mode) -> String {
    let below = if mode == Mode::PE { "<" } else { "<=" };
    match (window.empty, &window.low, &window.high) {
        (true, _, _) => "empty".to_owned(),
        (false, None, None) => "all rows".to_owned(),
        (false, Some(low), None) => format!("{low} {below} watermark"),
        (false, None, Some(high)) => format!("watermark <= {high}"),
        (false, Some(low), Some(high)) => format!("{low} {below} watermark <= {high}"),
    }
}

/// The line `VmHWM:  1234 kB` of the kernel's file.
fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use crds::guard::Guard;

    use super::*;

    #[test]
    fn card_shows_what_was_published() {
        let window = Window {
            low: Some("2023-01-31".to_owned()),
            low_text: None,
            high: Some("2023-02-28".to_owned()),
            empty: false,
            guard: Some(Guard::Exact),
        };
        let facts = Facts {
            run: "01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d".parse().expect("an id"),
            mode: Mode::PE,
            window: &window,
            rows: 1_234_567,
            files: 3,
            bytes: 5 << 20,
            watermark: Some("2023-02-27"),
            duration: Duration::from_secs(75),
            peak: Some(256 << 20),
        };
        let expected = "\
Run          01931a2b-0f3c-7cc1-9a52-0d8a8f1f2c3d
Window       2023-01-31 < watermark <= 2023-02-28
Guard        exact
Rows         1,234,567
Files        3
Bytes        5.00 MiB (5,242,880 bytes)
Duration     1m15s
Peak memory  256.00 MiB (268,435,456 bytes)
Watermark    2023-02-27";
        assert_eq!(card(&facts).join("\n"), expected);
    }

    #[test]
    fn peak_memory_is_read_from_the_status_of_the_process() {
        assert_eq!(peak_bytes("VmPeak:\t9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t1 kB\n"), Some(2 << 20));
        assert_eq!(peak_bytes("VmRSS:\t1 kB\n"), None);
    }
}

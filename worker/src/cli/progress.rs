//! In: the counts of a run. Out: a progress bar if standard error is a terminal, else a log line every 30 seconds.
//! Bound: one task that reads five numbers. Fails: never.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::base::telemetry::BARS;
use crate::extraction::counters::{Counted, Counters};

/// Between two updates of the bar.
const BAR_PERIOD: Duration = Duration::from_millis(200);
/// Between two log lines.
const LOG_PERIOD: Duration = Duration::from_secs(30);
/// Length of the bar, in thousandths of the run.
const LENGTH: u64 = 1_000;
/// Least part of the run that must be done before the time left is estimated.
const LEAST_DONE: f64 = 0.02;

/// The progress of a run, as long as it is shown.
pub(super) struct Shown {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Shown {
    /// Begins to show the counts.
    pub(super) fn start(counters: Arc<Counters>) -> Self {
        let bar = (!BARS.is_hidden()).then(new_bar);
        let task = tokio::spawn(follow(counters, bar.clone()));
        Self { task, bar }
    }

    /// Removes the bar.
    pub(super) fn stop(&self) {
        self.task.abort();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
    }
}

fn new_bar() -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(LENGTH));
    // the template is a constant: were it wrong, the default style would be shown
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:24}] {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

async fn follow(counters: Arc<Counters>, bar: Option<ProgressBar>) {
    let mut ticks = tokio::time::interval(if bar.is_some() { BAR_PERIOD } else { LOG_PERIOD });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut began = None;
    loop {
        ticks.tick().await;
        let counted = counters.now();
        let elapsed = match (counted.partitions, began) {
            (0, _) => Duration::ZERO,
            (_, None) => began.insert(Instant::now()).elapsed(),
            (_, Some(began)) => began.elapsed(),
        };
        match &bar {
            Some(bar) => {
                bar.set_position(thousandths(part_done(counted)));
                bar.set_message(line(counted, elapsed));
                bar.tick();
            }
            None if counted.partitions > 0 => log(counted, elapsed),
            None => {}
        }
    }
}

fn log(counted: Counted, elapsed: Duration) {
    let Counted { partitions, partitions_done, rows, bytes, .. } = counted;
    let seconds_left = time_left(counted, elapsed).map(|left| left.as_secs());
    tracing::info!(partitions_done, partitions, rows, bytes, seconds_left, "progress");
}

/// The part of a run that is done, from 0 to 1: by rows if the database estimates them, else by partitions.
fn part_done(counted: Counted) -> f64 {
    let Counted { partitions, partitions_done, expected_rows, rows, .. } = counted;
    if partitions == 0 {
        0.0
    } else if partitions_done == partitions {
        1.0
    } else if expected_rows > 0 {
        // an estimate may be too low
        (ratio(rows, expected_rows)).min(0.99)
    } else {
        ratio(partitions_done, partitions)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, who read three digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and the length"
)]
fn thousandths(part: f64) -> u64 {
    (part * LENGTH as f64) as u64
}

/// How long the rest takes at the pace so far; none before that can be estimated.
fn time_left(counted: Counted, elapsed: Duration) -> Option<Duration> {
    let done = part_done(counted);
    let known = (LEAST_DONE..1.0).contains(&done);
    known.then(|| elapsed.mul_f64((1.0 - done) / done))
}

/// The text after the bar.
fn line(counted: Counted, elapsed: Duration) -> String {
    let Counted { partitions, partitions_done, rows, bytes, .. } = counted;
    if partitions == 0 {
        return "planning".to_owned();
    }
    let read = format!("{partitions_done}/{partitions} partitions, {} rows", HumanCount(rows));
    if partitions_done == partitions {
        return format!("{read}, publishing");
    }
    let seconds = elapsed.as_secs().max(1);
    let pace = format!("{read}, {}/s", DecimalBytes(bytes / seconds));
    match time_left(counted, elapsed) {
        Some(left) => format!("{pace}, {} left", minutes(left)),
        None => pace,
    }
}

/// A duration such as `2h03m`, `4m05s` or `12s`.
pub(super) fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m{rest:02}s")
    } else {
        format!("{rest}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Counted = Counted {
        partitions: 8,
        partitions_done: 2,
        expected_rows: 2_000_000,
        rows: 1_000_000,
        bytes: 100 << 20,
    };
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn line_shows_partitions_rows_pace_and_time_left() {
        let said = line(HALF, MINUTE);
        assert_eq!(said, "2/8 partitions, 1,000,000 rows, 1.75 MB/s, 1m00s left");
        let unknown = Counted { expected_rows: 0, ..HALF };
        assert!(line(unknown, MINUTE).ends_with("3m00s left"), "{}", line(unknown, MINUTE));
        assert_eq!(line(Counted::default(), MINUTE), "planning");
        let all = Counted { partitions_done: 8, ..HALF };
        assert_eq!(line(all, MINUTE), "8/8 partitions, 1,000,000 rows, publishing");
    }

    #[test]
    fn time_left_is_not_shown_before_it_can_be_estimated() {
        let early = Counted { partitions_done: 0, expected_rows: 0, ..HALF };
        assert_eq!(time_left(early, MINUTE), None);
        assert_eq!(line(early, Duration::ZERO), "0/8 partitions, 1,000,000 rows, 104.86 MB/s");
    }

    #[test]
    fn estimate_that_is_too_low_never_ends_the_bar() {
        let more = Counted { rows: 5_000_000, ..HALF };
        assert_eq!(thousandths(part_done(more)), 990);
        assert_eq!(thousandths(part_done(Counted { partitions_done: 8, ..more })), LENGTH);
    }

    #[test]
    fn duration_has_two_units_at_most() {
        let said = |seconds| minutes(Duration::from_secs(seconds));
        assert_eq!([said(0), said(59), said(61), said(7384)], ["0s", "59s", "1m01s", "2h03m"]);
    }
}

//! Waiting for a condition, and names that no other test has.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Delay between two checks of a condition.
const POLL: Duration = Duration::from_millis(100);

/// An error that ends a wait at once: what is waited for cannot come any more.
#[derive(Debug)]
pub struct GiveUp(
    /// Why not.
    pub String,
);

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GiveUp {}

/// Tries `probe` until it answers with `Ok`. An `Err` is "not yet", and its text the reason.
///
/// # Errors
/// After `deadline`, or at once if `probe` fails with [`GiveUp`]; the error names what was waited for and the last reason.
pub async fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = "the first look had no answer".to_owned();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if error.is::<GiveUp>() => bail!("wait for {what}: {error:#}"),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(POLL.min(end.saturating_duration_since(Instant::now()))).await;
    }
    bail!("wait for {what}: not within {deadline:?}; at the last look: {last}")
}

/// `<prefix>-<letters and digits>`, a name that no other test of this or an earlier run has.
/// Fit for a namespace, a bucket, a table and (quoted, or with `-` replaced) a database.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
    format!("{prefix}-{:x}-{:x}-{count}", now % (1 << 36), std::process::id())
}

//! In: how often something failed. Out: how long to wait. Bound: the longest pause.
//! Fails: never.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// `first`, doubled with every failure after the first one, at most `most`.
pub fn backoff(failures: u32, first: Duration, most: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(most)
}

/// `pause` and up to as much again, the same for the same object and attempt: objects that were
/// refused together do not come back together.
pub fn spread(pause: Duration, uid: &str, attempt: u32) -> Duration {
    let digest = Sha256::digest(format!("spread/{uid}/{attempt}").as_bytes());
    let fraction = digest.first().copied().unwrap_or_default();
    pause + pause.mul_f64(f64::from(fraction) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_mins(5);

    #[test]
    fn pause_doubles_up_to_its_bound() {
        let pauses: Vec<u64> =
            (0..8).map(|failures| backoff(failures, FIRST, MOST).as_secs()).collect();
        assert_eq!(pauses, [10, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(u32::MAX, FIRST, MOST), MOST);
    }

    #[test]
    fn spread_is_between_one_and_two_pauses_and_repeats() {
        for attempt in 0..100 {
            let pause = spread(FIRST, "uid", attempt);
            assert!(pause >= FIRST && pause <= FIRST * 2);
            assert_eq!(pause, spread(FIRST, "uid", attempt));
        }
        assert_ne!(spread(FIRST, "a", 1), spread(FIRST, "b", 1));
    }
}

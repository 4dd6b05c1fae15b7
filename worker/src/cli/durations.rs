//! Durations of the protocol from flags.

use std::time::Duration;

use crds::Reason;
use worker_core::errors::failure::Failure;

use crate::base::aws::Requests;
use crate::cli::flags::DurationFlags;
use crate::publishing::durations::Durations;

impl TryFrom<DurationFlags> for Durations {
    type Error = Failure;

    /// # Errors
    /// `InvalidSpec` for a lease that one late renewal would let run out.
    fn try_from(flags: DurationFlags) -> Result<Self, Failure> {
        let lease = u64::try_from(flags.lease_seconds).unwrap_or_default();
        let renew = flags.renew_seconds;
        if lease <= renew.saturating_mul(2) {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                format!(
                    "a lease of {} s is not longer than twice the {renew} s between renewals",
                    flags.lease_seconds
                ),
                "Set TIDEMARK_LEASE_SECONDS (--lease-seconds) to more than twice \
                 TIDEMARK_RENEW_SECONDS (--renew-seconds); the defaults are 600 and 180.",
            ));
        }
        let attempt = Duration::from_secs(flags.attempt_seconds.max(1));
        let tracking = Duration::from_secs(flags.tracking_attempt_seconds.max(1));
        Ok(Self {
            lease_seconds: flags.lease_seconds,
            grace_seconds: flags.grace_seconds,
            renew: Duration::from_secs(renew),
            heartbeat: Duration::from_secs(flags.heartbeat_seconds),
            poll: Duration::from_millis(flags.poll_ms),
            requests: Requests {
                attempt,
                tracking_attempt: tracking.min(attempt).min(Duration::from_secs(lease) / 2),
                pause: Duration::from_millis(flags.retry_ms),
            },
            checksum: flags.checksum,
            silence: Duration::from_secs(flags.silence_seconds.max(1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        durations: DurationFlags,
    }

    fn durations(flags: &[&str]) -> Result<Durations, Failure> {
        let flags = Flags::parse_from([&["tidemark"], flags].concat());
        Durations::try_from(flags.durations)
    }

    #[test]
    fn lease_that_is_not_longer_than_two_renewals_is_refused() {
        for (lease, renew, taken) in [
            ("600", "180", true),
            ("361", "180", true),
            ("360", "180", false),
            ("300", "180", false),
            ("3", "1", true),
            ("2", "1", false),
            ("1", "0", true),
            ("0", "0", false),
            ("-5", "0", false),
            ("600", "18446744073709551615", false),
        ] {
            let lease_flag = format!("--lease-seconds={lease}");
            let made = durations(&[&lease_flag, "--renew-seconds", renew]);
            assert_eq!(made.is_ok(), taken, "lease {lease}, renew {renew}");
            if let Err(failure) = made {
                let said = failure.to_string();
                assert!(said.contains(&format!("lease of {lease} s")), "{said}");
                assert!(said.contains(&format!("{renew} s between")), "{said}");
                assert!(failure.report.remedy.contains("TIDEMARK_LEASE_SECONDS"));
            }
        }
    }

    #[test]
    fn request_to_dynamodb_takes_five_seconds_and_never_more_than_half_a_lease() {
        let attempt = |flags: &[&str]| {
            let made = durations(flags).map(|durations| durations.requests.tracking_attempt);
            made.map(|attempt| attempt.as_millis()).ok()
        };
        assert_eq!(attempt(&[]), Some(5000));
        assert_eq!(attempt(&["--attempt-seconds=2"]), Some(2000));
        assert_eq!(attempt(&["--lease-seconds=3", "--renew-seconds=1"]), Some(1500));
        assert_eq!(attempt(&["--tracking-attempt-seconds=0"]), Some(1000));
    }
}

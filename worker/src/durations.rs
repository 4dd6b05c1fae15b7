//! Every duration of the protocol, as the flags say.

use std::time::Duration;

use worker_core::commits::{Carrier, Role};

use crate::settings::DurationFlags;
use crate::stores::Requests;

/// Durations of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Durations {
    /// Seconds that a claim lasts.
    pub lease_seconds: i64,
    /// Seconds after which what a dead run left is removed.
    pub grace_seconds: i64,
    /// Between renewals.
    pub renew: Duration,
    /// Between queries on the snapshot's session.
    pub heartbeat: Duration,
    /// Between looks for records.
    pub poll: Duration,
    /// Of requests to the stores.
    pub requests: Requests,
    /// Without a word from the database, before its server is asked what it does.
    pub silence: Duration,
}

impl Durations {
    /// A process of this role, with these durations.
    pub fn carrier(self, role: Role) -> Carrier {
        Carrier::new(role, self.lease_seconds).with_grace(self.grace_seconds)
    }
}

impl From<DurationFlags> for Durations {
    fn from(flags: DurationFlags) -> Self {
        Self {
            lease_seconds: flags.lease_seconds,
            grace_seconds: flags.grace_seconds,
            renew: Duration::from_secs(flags.renew_seconds),
            heartbeat: Duration::from_secs(flags.heartbeat_seconds),
            poll: Duration::from_millis(flags.poll_ms),
            requests: Requests {
                attempt: Duration::from_secs(flags.attempt_seconds.max(1)),
                pause: Duration::from_millis(flags.retry_ms),
            },
            silence: Duration::from_secs(flags.silence_seconds.max(1)),
        }
    }
}

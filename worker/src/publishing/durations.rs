//! Every duration of the protocol, as the flags say.

use std::time::Duration;

use worker_core::protocol::{Process, Role};

use crate::base::aws::Requests;
use crate::stores::checksums::Checksum;

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
    /// Delay between two reads of records.
    pub poll: Duration,
    /// Of requests to the stores.
    pub requests: Requests,
    /// Sent with the bytes of an object.
    pub checksum: Checksum,
    /// Without a word from the database, before its server is asked what it does.
    pub silence: Duration,
}

impl Durations {
    /// A process of this role, with these durations.
    pub fn process(self, role: Role) -> Process {
        Process::new(role, self.lease_seconds).with_grace(self.grace_seconds)
    }
}

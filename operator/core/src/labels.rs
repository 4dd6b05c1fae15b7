//! Names by which an object's Jobs are found again. No literal of these stands anywhere else.

use sha2::{Digest, Sha256};

/// Label: uid of the `ExtractJob`.
pub const UID: &str = "tidemark.dev/uid";
/// Label: the attempt.
pub const ATTEMPT: &str = "tidemark.dev/attempt";
/// Label: [`Role`] of the Job.
pub const ROLE: &str = "tidemark.dev/role";
/// Label: the run, on extract Jobs.
pub const RUN: &str = "tidemark.dev/run";
/// Label: which recovery Job of the attempt it is.
pub const RECOVER: &str = "tidemark.dev/recover";
/// Label: name of the `ExtractJob`, for people.
pub const NAME: &str = "tidemark.dev/extract-job";
/// Label of a Job that waits for its time without an object, with the value `true`.
pub const POSTPONED: &str = "tidemark.dev/postponed";
/// Annotation on such a Job: the time from which it may be started.
pub const START_AT: &str = "tidemark.dev/start-at";
/// Annotation on a coordinator Job: the [`crate::ending::Ending`] of its attempt, in JSON.
pub const ENDING: &str = "tidemark.dev/ending";
/// Annotation on an extract Job: `revision` of the run when all partitions had ended.
pub const REVISION: &str = "tidemark.dev/revision";
/// Start of the labels by which Kueue queues a Job. A queued Job does not start until Kueue admits it.
pub const QUEUE: &str = "kueue.x-k8s.io/";
/// The finalizer that waits for recovery.
pub const FINALIZER: &str = "tidemark.dev/recover";
/// Name of the one container.
pub const CONTAINER: &str = "tidemark";

/// What a Job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Claims, plans, keeps the snapshot, commits.
    Coordinator,
    /// Reads partitions.
    Extract,
    /// Ends a run whose pods are stopped.
    Recover,
}

impl Role {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Extract => "extract",
            Self::Recover => "recover",
        }
    }

    /// The worker's sub-command.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinate",
            Self::Extract => "extract",
            Self::Recover => "recover",
        }
    }
}

/// Name of the coordinator Job of an attempt: at most 39 characters, so that the names of its pods,
/// of the extract Job and of the recovery Jobs stay within a host name.
pub fn coordinator_name(name: &str, uid: &str, attempt: u32) -> String {
    let stem: String =
        name.chars().take(30).map(|letter| if letter == '.' { '-' } else { letter }).collect();
    format!("{}-{}", stem.trim_end_matches('-'), hash8(uid, attempt))
}

/// Name of its extract Job.
pub fn extract_name(coordinator: &str) -> String {
    format!("{coordinator}-extract")
}

/// Name of its recovery Job number `k`, from 1.
pub fn recover_name(coordinator: &str, k: u32) -> String {
    format!("{coordinator}-recover-{k}")
}

/// Name of the Job that a deleted object leaves behind.
pub fn postponed_name(coordinator: &str) -> String {
    format!("{coordinator}-postponed")
}

/// Eight hexadecimal digits that distinguish the attempts of all objects.
fn hash8(uid: &str, attempt: u32) -> String {
    let digest = Sha256::digest(format!("{uid}/{attempt}").as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    format!("{number:08x}")
}

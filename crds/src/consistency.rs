//! Whether all partitions of a run show the table at one point in time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether all partitions are read from one consistent snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consistency {
    /// All partitions show the table at one point in time. On MySQL and MariaDB, one pod then reads all partitions.
    /// If Tidemark cannot prove that all sessions share a snapshot, it refuses the run. Without `partition`, it reads
    /// the table as one partition instead.
    Snapshot,
    /// Each partition shows the table at the time at which its read starts.
    PerPartition,
}

impl Consistency {
    /// The word used in manifests and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::PerPartition => "perPartition",
        }
    }
}

/// How the table may be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConsistencyLock {
    /// One session holds `LOCK TABLES ... READ` until all other sessions have started their snapshots, usually
    /// for some milliseconds. Writes to the table wait during this time. If the run is lost, the server
    /// releases the lock after at most 10 seconds.
    Brief,
}

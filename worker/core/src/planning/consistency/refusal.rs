//! Why partitions cannot be read from one consistent snapshot.

use crds::Reason;

use crate::errors::failure::Failure;

/// Refuses `extract.consistency: snapshot`.
pub(super) fn unavailable(message: &str, remedy: &str) -> Failure {
    Failure::permanent(
        Reason::SnapshotUnavailable,
        format!("no consistent snapshot of all partitions: {message}"),
        format!("{remedy}, or set extract.consistency: perPartition"),
    )
}

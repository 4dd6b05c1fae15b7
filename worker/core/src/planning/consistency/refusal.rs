//! Why partitions cannot be read from one consistent snapshot.

use crds::Reason;

use crate::errors::failure::Failure;

/// Refuses `extract.consistency: snapshot`.
pub(super) fn unavailable(message: &str, remedy: &str) -> Failure {
    Failure::permanent(
        Reason::SnapshotUnavailable,
        format!("ranges of one instant cannot be had: {message}"),
        format!("{remedy}, or set extract.consistency: perPartition"),
    )
}

//! Why partitions cannot be read from one consistent snapshot.

use crds::Reason;

use crate::errors::failure::Failure;

/// The last remedy of each refusal.
pub(crate) const OTHERWISE: &str = ", or set extract.consistency: perPartition";

/// Refuses `extract.consistency: snapshot`. `remedy` is a sentence without its full stop.
pub(super) fn unavailable(message: &str, remedy: &str) -> Failure {
    refused(message, &format!("{remedy}{OTHERWISE}."))
}

/// The same with the whole remedy.
pub(super) fn refused(message: &str, remedy: &str) -> Failure {
    Failure::permanent(
        Reason::SnapshotUnavailable,
        format!("no consistent snapshot of all partitions: {message}"),
        remedy,
    )
}

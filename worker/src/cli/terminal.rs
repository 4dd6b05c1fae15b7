//! Standard output.

use std::io::Write;

use crds::Reason;
use worker_core::errors::failure::Failure;

/// Prints one line on standard output.
///
/// # Errors
/// `OutputFailed` where it cannot be written (a full disk); a closed pipe is the reader's wish.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::transient(
            Reason::OutputFailed,
            format!("standard output cannot be written: {}", error.kind()),
            "make room where it goes to; nothing of the tracking table and S3 is lost by it",
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

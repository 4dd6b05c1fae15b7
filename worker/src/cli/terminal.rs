//! Standard output.

use std::io::Write;

use crds::Reason;
use worker_core::errors::failure::Failure;

/// Prints one line on standard output.
///
/// # Errors
/// `OutputFailed` if it cannot be written (a full disk). A closed pipe is not an error.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::transient(
            Reason::OutputFailed,
            format!("cannot write standard output: {}", error.kind()),
            "Free disk space, then run the command again. The tracking table and S3 are not affected.",
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}

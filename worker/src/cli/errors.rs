//! How a command fails: because of how it was called, or while it worked.

use worker_core::errors::failure::Failure;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum CommandError {
    /// It was called wrongly. Nothing was read or written.
    Usage(UsageError),
    /// It failed at work.
    Failed(Failure),
}

/// A mistake in the call of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl UsageError {
    /// A mistake with its remedy.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl From<UsageError> for CommandError {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

//! Rows of the tables of MySQL and MariaDB.

use crds::Reason;

use super::{Meaning, permanent, transient};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Numbers of errors.
    pub numbers: &'static [u16],
    /// Whether it counts only once the session is connected.
    pub connected: bool,
    /// Form of the messages it is about; any, where none is given. MySQL and MariaDB use some numbers for
    /// different errors.
    pub says: Option<&'static str>,
    /// Forms of messages that hold names of objects and nothing else.
    pub shown: &'static [&'static str],
    /// What the error means.
    pub meaning: Meaning,
}

/// Numbers that no row names are taken by their SQLSTATE.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// First number.
    pub from: u16,
    /// Last number.
    pub to: u16,
    /// Whose they are.
    pub of: &'static str,
}

/// A class of SQLSTATEs, or one of them.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// First characters of the SQLSTATE.
    pub starts: &'static [&'static str],
    /// What the error means.
    pub meaning: Meaning,
}

/// The meaning of a number that no row names, with a SQLSTATE that decides nothing.
pub const UNKNOWN: Meaning = transient(
    Reason::DatabaseFailed,
    "the database returned an unknown error",
    "Look up the number in the server's documentation, and check the server's log.",
);

/// An error that a function raises by its own choice.
pub(super) const SIGNALLED: Meaning = permanent(
    Reason::QueryFailed,
    "a function that the view calls raised an error (SIGNAL)",
    "Run the query as the database user to see the function's message, which Tidemark does not show because \
     it can contain row values. Then correct the function or the rows.",
);

/// The action of a session that is not connected yet.
pub const CONNECT: &str = "connect";
/// The action of a session that sets its settings: a proxy may connect to the server only then.
pub const PIN: &str = "set the session's settings";

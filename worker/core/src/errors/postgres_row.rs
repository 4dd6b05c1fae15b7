//! Rows of the table of Postgres.

use super::Meaning;

/// When a row of the table applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// In a statement of a function.
    Inside,
    /// In the text of our own statement.
    Ours,
    /// Where one of these routines of the server raised it: messages are translated, routines are not.
    By(&'static [&'static str]),
    /// Where the message begins so: words of poolers, which are not translated.
    Says(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// SQLSTATEs of five characters, or classes of two.
    pub codes: &'static [&'static str],
    /// When it applies.
    pub when: When,
    /// What the error means.
    pub meaning: Meaning,
}

//! What an error of a database server means: its reason, whether another attempt can help, and what to do.
//!
//! In: the code and the details of a server's error. Out: a failure. Bound: the two tables, which are data and
//! are printed into `docs/database-errors.md`. Fails: never; the class decides for a code that no row names.
//!
//! The server's own message is shown only where it cannot hold a value of a row. Names of objects may be shown.

pub mod failure;
pub mod mysql;
mod mysql_row;
mod mysql_table;
mod names;
pub mod page;
pub mod postgres;
mod postgres_row;
mod postgres_table;
mod source;
#[cfg(test)]
mod tests;

use crds::Reason;

use crate::errors::failure::Failure;

/// Longest part of a server's message that is shown, in characters.
const SHOWN_CHARACTERS_MAX: usize = 300;

/// Whether another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It cannot: a person must change something.
    Permanent,
    /// It may: the cause can pass by itself.
    Transient,
}

/// Whether the server's own message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Never: it can hold a value of a row, a user or an address.
    Code,
    /// Where the server parsed the name in a text that holds no value of a row: see
    /// [`postgres::Answer`].
    Named,
    /// Where the server itself wrote it, and not a function, an extension or a foreign server.
    Message,
}

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The reason of the condition.
    pub reason: Reason,
    /// Whether another attempt can help.
    pub class: Class,
    /// What happened.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Whether the server's message is shown.
    pub shows: Shows,
}

const fn permanent(reason: Reason, what: &'static str, remedy: &'static str) -> Meaning {
    Meaning { reason, class: Class::Permanent, what, remedy, shows: Shows::Code }
}

const fn transient(reason: Reason, what: &'static str, remedy: &'static str) -> Meaning {
    Meaning { reason, class: Class::Transient, what, remedy, shows: Shows::Code }
}

impl Meaning {
    const fn shown(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    /// The failure of an action; `detail` is what is known besides.
    fn failure(&self, action: &str, detail: &str) -> Failure {
        of(self.class, self.reason, format!("{action}: {}{detail}", self.what), self.remedy)
    }
}

fn of(class: Class, reason: Reason, message: String, remedy: &str) -> Failure {
    match class {
        Class::Permanent => Failure::permanent(reason, message, remedy),
        Class::Transient => Failure::transient(reason, message, remedy),
    }
}

/// A server's message on one line, and not too long.
fn short(message: &str) -> String {
    let line = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut text: String = line.take(SHOWN_CHARACTERS_MAX + 1).collect();
    if text.chars().count() > SHOWN_CHARACTERS_MAX {
        text = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
        text.push_str("...");
    }
    text
}

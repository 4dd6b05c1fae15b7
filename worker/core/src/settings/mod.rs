//! Settings that a session inherits from its server, database, role or connection, and the rule for
//! each: pinned, harmless or refused.
//!
//! A setting is pinned where it changes which rows a statement returns, how a value is printed, how a
//! statement is parsed, or whether it may run. Where the database user may not set such a setting, a run
//! is refused unless the setting has a safe value. `docs/settings.md` is printed from these tables.

pub mod mysql;
pub mod postgres;

use std::collections::BTreeMap;

use crds::Reason;

use crate::errors::failure::Failure;

/// How a group of settings is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Each session sets it to this literal, as SQL.
    Pinned(&'static str),
    /// It is inherited: it changes no row, no value, and not how a statement is parsed.
    Harmless,
    /// The database user may not set it: a run fails unless the setting is as this says.
    Refused(&'static str),
}

impl Rule {
    /// The word of the page.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pinned(_) => "pinned",
            Self::Harmless => "harmless",
            Self::Refused(_) => "refused",
        }
    }
}

/// Settings that have a rule for the same reason.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Why they are harmless.
    pub why: &'static str,
    /// Their names.
    pub names: &'static [&'static str],
}

/// Why settings of the planner are harmless.
const PLANS_WHY: &str = "changes how the server finds the rows, not which rows it finds";
/// Why settings of memory and I/O are.
const RESOURCES_WHY: &str =
    "changes memory and I/O; a statement with too little memory fails with an error";
/// Why settings of writing are.
const WRITES_WHY: &str =
    "affects only statements that write or define something; Tidemark only reads";

/// What is known about one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The rule.
    pub rule: Rule,
    /// Why it has this rule.
    pub why: &'static str,
}

/// All settings of one engine, by name in lower case.
pub type Table = BTreeMap<String, Known>;

fn add(table: &mut Table, name: &str, rule: Rule, why: &'static str) {
    table.insert(name.to_lowercase(), Known { rule, why });
}

fn add_groups(table: &mut Table, groups: &[Group]) {
    for group in groups {
        for name in group.names {
            add(table, name, Rule::Harmless, group.why);
        }
    }
}

/// The failure of a run whose server, database or role has a setting that it cannot work with.
pub fn refusal(name: &str, remedy: String) -> Failure {
    Failure::permanent(
        Reason::SettingRefused,
        format!(
            "setting {name} of the server, database or role has a value that may change the extracted rows"
        ),
        remedy,
    )
}

#[cfg(test)]
mod tests;

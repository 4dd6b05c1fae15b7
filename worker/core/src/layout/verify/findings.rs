//! What `tidemark verify` says is wrong.

use crds::RunId;
use serde::Serialize;

/// A contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What is wrong; keys and counts, never a value of a row.
    pub what: String,
}

/// What must hold whenever nothing is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// A published run has its manifest, its plan, every record, and every file as recorded.
    Complete,
    /// A file belongs to one record of one run; what is published by nobody is not there.
    Exclusive,
    /// `current.json` names the head; commit numbers rise along the chain, and it has an end.
    Pointer,
    /// Windows join end to start, up to the stored watermark.
    Contiguous,
    /// Rows of manifest, records and footers agree.
    Rows,
    /// No upload of a run that is over is open.
    Clean,
    /// The tracking items agree with each other.
    Tracking,
    /// The source has no more rows in a window that is over than were published. Fewer are no
    /// contradiction: rows are deleted, and an update moves a row on to a later window.
    Source,
}

/// Findings that are kept; of more it is said how many they are.
const FINDINGS_MAX: usize = 1_000;

/// Findings in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// The first [`FINDINGS_MAX`].
    pub kept: Vec<Finding>,
    /// How many there are beyond these.
    pub more: u64,
}

impl Findings {
    pub(super) fn say(&mut self, rule: Rule, run: Option<RunId>, what: impl Into<String>) {
        self.take(Finding { rule, run, what: what.into() });
    }

    fn take(&mut self, finding: Finding) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn append(&mut self, others: Self) {
        others.kept.into_iter().for_each(|finding| self.take(finding));
        self.more = self.more.saturating_add(others.more);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.more.saturating_add(self.kept.len() as u64)
    }
}

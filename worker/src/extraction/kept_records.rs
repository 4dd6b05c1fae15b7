//! The records of partitions that this process read.

use worker_core::layout::records::PartitionRecord;

/// Records of so many files are kept from one act to the next; of more, each is read anew.
pub(crate) const FILES_KEPT: usize = 4_000;

/// Records in the order of their partitions, as long as they name few files.
#[derive(Debug, Default)]
pub(crate) struct KeptRecords {
    records: Vec<PartitionRecord>,
    files: usize,
}

impl KeptRecords {
    /// Takes one more; beyond the bound all are given up.
    pub(crate) fn add(&mut self, record: PartitionRecord) {
        self.files = self.files.saturating_add(record.files.len());
        if self.files > FILES_KEPT {
            self.records = Vec::new();
        } else {
            self.records.push(record);
        }
    }

    /// All records of `count` partitions, if they are kept.
    pub(crate) fn all(&self, count: u32) -> Option<&[PartitionRecord]> {
        let whole = u32::try_from(self.records.len()) == Ok(count) && self.files <= FILES_KEPT;
        whole.then_some(&self.records)
    }

    /// In the order of their partitions.
    pub(crate) fn sorted(mut self) -> Self {
        self.records.sort_by_key(|record| record.index);
        self
    }
}

//! The table that is extracted, as the catalog has it: which one it is, its columns, and which of
//! them serve as watermark and partition column.

use crds::extract_job::{Partition, Strategy, Watermark};
use worker_core::bounds::{Relation, check_watermark, find_column, key_type};
use worker_core::columns::Column;
use worker_core::error::Failure;
use worker_core::plan::TableName;
use worker_core::ranges::KeyType;

/// The table as the catalog has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) relation: Relation,
    pub(crate) columns: Vec<Column>,
    /// Whether the manifest names each of them.
    pub(crate) named: bool,
    /// How the engine stores it, where that matters: MySQL's storage engine.
    pub(crate) storage: Option<String>,
}

impl Subject {
    pub(crate) fn table(&self) -> &TableName {
        &self.relation.name
    }

    /// The watermark column, checked.
    pub(crate) fn watermark<'a>(&'a self, watermark: &Watermark) -> Result<&'a Column, Failure> {
        let column = find_column(&self.columns, &watermark.column, "extract.watermark.column")?;
        check_watermark(column, watermark.value_type)?;
        Ok(column)
    }

    /// The partition column, checked; `None`: one range.
    pub(crate) fn partition<'a>(
        &'a self,
        partition: Option<&'a Partition>,
    ) -> Result<Option<Cut<'a>>, Failure> {
        let wanted = partition.filter(|partition| partition.strategy != Some(Strategy::None));
        let Some((partition, name)) = wanted.and_then(|it| Some((it, it.column.as_deref()?)))
        else {
            return Ok(None);
        };
        let column = find_column(&self.columns, name, "extract.partition.column")?;
        Ok(Some(Cut { partition, column, key_type: key_type(column)? }))
    }
}

/// The partition column and how to cut it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) partition: &'a Partition,
    pub(crate) column: &'a Column,
    pub(crate) key_type: KeyType,
}

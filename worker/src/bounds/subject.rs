//! The table that is extracted, as the catalog has it: which one it is, its columns, and which of
//! them serves as watermark.

use crds::extract_job::Watermark;
use worker_core::bounds::{Relation, check_watermark, find_column};
use worker_core::columns::Column;
use worker_core::error::Failure;
use worker_core::plan::TableName;

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
}

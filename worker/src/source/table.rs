//! The table that is extracted, as the catalog has it: which one it is, its columns, and which of
//! them serves as watermark.

use crds::extract_job::Watermark;
use worker_core::decoding::columns::Column;
use worker_core::errors::failure::Failure;
use worker_core::planning::plan::TableName;
use worker_core::planning::relations::Unproven;
use worker_core::planning::tables::{Relation, TableIdentity, check_watermark, find_column};
use worker_core::planning::virtual_columns::{Recomputed, check_stored};
use worker_core::planning::window::GuardBound;

/// The table as the catalog has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceTable {
    pub(crate) relation: Relation,
    /// Of Postgres: the database.
    pub(crate) database: Option<String>,
    pub(crate) columns: Vec<Column>,
    /// Whether the manifest names each of them.
    pub(crate) named: bool,
    /// What is not claimed of its rows.
    pub(crate) unproven: Unproven,
    /// Of Postgres: the oids of all that a statement on it reads, itself included.
    pub(crate) reads: Vec<i64>,
    /// Of Postgres: types of columns, each with a type whose text depends on a setting and that it contains.
    pub(crate) within: Vec<(u32, u32)>,
    /// MariaDB: columns whose values may differ between statements.
    pub(crate) recomputed: Vec<Recomputed>,
}

impl SourceTable {
    pub(crate) fn table(&self) -> &TableName {
        &self.relation.name
    }

    /// The table and the database that it is in.
    pub(crate) fn identity(&self) -> TableIdentity {
        TableIdentity { database: self.database.clone(), table: self.table().clone() }
    }

    /// The watermark column, checked.
    pub(crate) fn watermark<'a>(&'a self, watermark: &Watermark) -> Result<&'a Column, Failure> {
        let column = find_column(&self.columns, &watermark.column, "extract.watermark.column")?;
        check_watermark(column, watermark.value_type)?;
        check_stored("watermark", &column.name, &self.recomputed)?;
        Ok(column)
    }
}

/// The table and column that are guarded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded<'a> {
    /// The table.
    pub(crate) source_table: &'a SourceTable,
    /// The watermark column.
    pub(crate) column: &'a Column,
    /// What the manifest says about it.
    pub(crate) watermark: &'a Watermark,
}

/// What was found, and what people should know about it.
#[derive(Debug)]
pub(crate) struct Found {
    /// What holds.
    pub(crate) held: GuardBound,
    /// Weaknesses, for plan and status.
    pub(crate) warnings: Vec<String>,
}

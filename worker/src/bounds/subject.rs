//! The table that is extracted, as the catalog has it: which one it is, its columns, and which of
//! them serve as watermark and partition column.

use crds::Reason;
use crds::extract_job::{Partition, Strategy, Watermark};
use sqlx::PgConnection;
use sqlx::postgres::types::Oid;
use worker_core::bounds::{
    NamePart, Relation, TableRef, check_watermark, find_column, key_type, pick_table,
};
use worker_core::columns::{Column, target_for};
use worker_core::error::Failure;
use worker_core::plan::TableName;
use worker_core::ranges::KeyType;
use worker_core::rows::statements;

use crate::sessions::database_failure;

/// The table as the catalog has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) relation: Relation,
    pub(super) columns: Vec<Column>,
}

impl Subject {
    pub(super) fn table(&self) -> &TableName {
        &self.relation.name
    }

    /// The watermark column, checked.
    pub(super) fn watermark<'a>(&'a self, watermark: &Watermark) -> Result<&'a Column, Failure> {
        let column = find_column(&self.columns, &watermark.column, "extract.watermark.column")?;
        check_watermark(column, watermark.value_type)?;
        Ok(column)
    }

    /// The partition column, checked; `None`: one range.
    pub(super) fn partition<'a>(
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
pub(super) struct Cut<'a> {
    pub(super) partition: &'a Partition,
    pub(super) column: &'a Column,
    pub(super) key_type: KeyType,
}

/// Finds the table and its columns.
///
/// # Errors
/// `TableNotFound`, `ColumnNotFound`, and what a session may fail with.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    wanted: &TableRef,
) -> Result<Subject, Failure> {
    let failed = |error| database_failure("read the catalog", &error);
    let found: Vec<(Oid, String, String)> = sqlx::query_as(statements::RELATIONS)
        .bind(wanted.schema.as_ref().map(NamePart::spellings))
        .bind(wanted.table.spellings())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let candidates: Vec<_> = found
        .into_iter()
        .map(|(oid, schema, table)| Relation { oid: oid.0, name: TableName { schema, table } })
        .collect();
    let relation = pick_table(wanted, &candidates)?;
    let rows: Vec<(String, Oid, i32, bool, String)> = sqlx::query_as(statements::COLUMNS)
        .bind(Oid(relation.oid))
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let columns = rows.into_iter().map(|(name, oid, type_modifier, required, type_name)| Column {
        name,
        type_oid: oid.0,
        type_name,
        type_modifier,
        nullable: !required,
        target: target_for(oid.0, type_modifier),
    });
    let columns: Vec<_> = columns.collect();
    if columns.is_empty() {
        return Err(Failure::permanent(
            Reason::ColumnNotFound,
            "the table has no columns",
            "check extract.table",
        ));
    }
    Ok(Subject { relation, columns })
}

//! Postgres: how a column of each type is written (the mapping table), and the oids that the wire
//! is read by.

mod mapping;
pub mod oids;
#[cfg(test)]
mod tests;

pub use mapping::{Family, MAPPINGS, Mapping, SourceType, column_for, mapping_for, target_for};

use crate::decoding::columns::column::Column;

/// Whether a column's values come in four bytes without a sign: `oid`, `xid`, `cid`. Their order
/// says nothing, since the numbers come round again.
pub(crate) const fn is_oid(column: &Column) -> bool {
    matches!(column.type_oid, oids::OID | oids::XID | oids::CID)
}

/// Whether a column is of one of the types that compare with a text.
pub(crate) const fn is_text(column: &Column) -> bool {
    matches!(column.type_oid, oids::TEXT | oids::VARCHAR | oids::BPCHAR | oids::NAME)
}

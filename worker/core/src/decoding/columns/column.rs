//! A column: its type in the database, and how it is written.

use serde::{Deserialize, Serialize};

use super::mysql::form::Form;
use super::postgres::oids;
use super::target::{Fidelity, Target};

/// One column of the extract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name, as the catalog has it.
    pub name: String,
    /// Postgres: oid of its type. MySQL: the code of its [`Form`].
    pub type_oid: u32,
    /// Its type as the database prints it, such as `numeric(12,2)`.
    pub type_name: String,
    /// Postgres: the type's modifier. MySQL: digits after the second. -1 where there is none.
    pub type_modifier: i32,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// How it is written.
    pub target: Target,
    /// What that keeps of its values. The planner always sets it; if it is absent, the target decides
    /// ([`Column::fidelity`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
    /// Why that is not all, or not in the same type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Column {
    /// What is kept of its values.
    pub fn fidelity(&self) -> Fidelity {
        self.fidelity.unwrap_or(self.target.fidelity())
    }
}

/// Whether a column holds decimals that are written as the database's text.
pub(crate) fn is_decimal_text(column: &Column) -> bool {
    column.target == Target::AsText
        && (column.type_oid == oids::NUMERIC || column.type_oid == Form::Decimal.code())
}

/// Whether a column is `bigint unsigned`: whole numbers that are written as decimals.
pub(crate) fn is_unsigned(column: &Column) -> bool {
    column.type_oid == Form::U64.code()
}

/// Whether a column is MySQL's: its types are recognised by their wire format.
pub(crate) fn of_mysql(column: &Column) -> bool {
    Form::ALL.iter().any(|form| form.code() == column.type_oid)
}

/// Whether a column is MySQL's `bit(n)`, whose text is bytes.
pub(crate) fn is_bit(column: &Column) -> bool {
    column.type_oid == Form::Bit.code()
}

/// Whether a column is MySQL's `year`.
pub(crate) fn is_year(column: &Column) -> bool {
    of_mysql(column) && column.type_name.to_ascii_lowercase().starts_with("year")
}

/// Whether a column is MySQL's `enum` or `set`.
pub(crate) fn is_named_set(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    of_mysql(column) && (name.starts_with("enum(") || name.starts_with("set("))
}

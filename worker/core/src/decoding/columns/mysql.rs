//! MySQL and MariaDB: what a column is on the wire ([`Form`]), how it is written (the mapping
//! table), and the packets that its values come in.

mod checks;
pub(super) mod form;
mod mapping;
mod packets;
#[cfg(test)]
pub(super) mod tests;
mod values;

pub use checks::json_columns;
pub use form::Form;
pub use mapping::{MAPPINGS, Mapping, SourceType, column_for, mapping_for};
pub use packets::announcement;
pub(super) use packets::{PacketStream, join};
pub(super) use values::append_column;

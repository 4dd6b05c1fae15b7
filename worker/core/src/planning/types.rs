//! In: the columns that a run reads, `extract.types`. Out: the columns, those that it names written as it says.
//! Bound: one table. Fails: `ColumnNotFound`; `InvalidSpec`, where a run needs the column's own type.

use crds::Reason;
use crds::extract_job::{Extract, Strategy, TargetType};
use crds::source::Engine;

use crate::decoding::columns::{Column, Fidelity, Target, mysql};
use crate::errors::failure::Failure;
use crate::planning::tables::find_column;

/// Why a column is text.
const ASKED: &str = "extract.types sets it to string";

/// The columns, with what `extract.types` asks of them.
///
/// # Errors
/// `ColumnNotFound` for a name that is not a column, or one that is left out; `InvalidSpec` for the watermark
/// column and for the partition column that the manifest names.
pub fn apply(
    engine: Engine,
    mut columns: Vec<Column>,
    extract: &Extract,
) -> Result<Vec<Column>, Failure> {
    for (name, target) in resolve(&columns, extract)? {
        check_roles(&columns, &name, extract)?;
        let found = columns.iter_mut().find(|column| column.name == name);
        match (target, found) {
            (TargetType::String, Some(column)) => as_string(engine, column),
            (TargetType::String, None) => {}
        }
    }
    Ok(columns)
}

/// The names as the table has them.
fn resolve(columns: &[Column], extract: &Extract) -> Result<Vec<(String, TargetType)>, Failure> {
    let found = extract.types.iter().flatten().map(|(name, target)| {
        find_column(columns, name, "extract.types").map(|column| (column.name.clone(), *target))
    });
    found.collect()
}

/// Partitions and windows are cut by values of the column's own type.
fn check_roles(columns: &[Column], name: &str, extract: &Extract) -> Result<(), Failure> {
    let partition = extract.partition.as_ref();
    let partition = partition.filter(|partition| partition.strategy != Some(Strategy::None));
    for (role, column) in [
        ("watermark", extract.watermark.as_ref().map(|watermark| watermark.column.as_str())),
        ("partition", partition.and_then(|partition| partition.column.as_deref())),
    ] {
        let is_it = |wanted: &str| {
            find_column(columns, wanted, role).is_ok_and(|column| column.name == name)
        };
        if column.is_some_and(is_it) {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                format!(
                    "extract.types names the {role} column {name:?}, whose values a run compares in their own type"
                ),
                format!("Remove {name:?} from extract.types, or choose another {role} column."),
            ));
        }
    }
    Ok(())
}

/// Makes a column the database's own text. What is text already stays so. JSON is sent as text anyway: it is
/// read as before, so that it costs no cast and its row hash stays.
fn as_string(engine: Engine, column: &mut Column) {
    match column.target {
        Target::Text | Target::AsText => return,
        Target::Json => column.target = Target::Text,
        Target::Boolean
        | Target::Int16
        | Target::Int32
        | Target::Int64
        | Target::Float32
        | Target::Float64
        | Target::Decimal { .. }
        | Target::Binary
        | Target::Date
        | Target::Time
        | Target::Timestamp
        | Target::TimestampTz
        | Target::Uuid => {
            if engine == Engine::Mysql {
                column.type_oid = mysql::Form::of(column.type_oid).as_text(column.target).code();
            }
            column.target = Target::AsText;
        }
    }
    column.fidelity = Some(Fidelity::String);
    ASKED.clone_into(&mut column.reason);
}

#[cfg(test)]
mod tests;

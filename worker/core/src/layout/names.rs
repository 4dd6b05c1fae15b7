//! In: the columns that a run reads, what the manifest adds to them. Out: nothing, or a warning. Bound: one
//! table. Fails: `InvalidSpec`, where a reader would find two columns of one name, or none of a directory's
//! rows.
//!
//! To a reader each name that Tidemark adds is a column: an added column, the run's directory, and each
//! directory of `output.partitionBy`. DuckDB and Polars show the directory's value and drop the file's column
//! without a word; pyarrow does so or fails, by how it is asked. Names are compared without regard to case,
//! since DuckDB, Spark, Trino and Athena know one case only.

use crds::Reason;
use crds::output::{OutputColumns, RunFolder};

use crate::decoding::columns::Column;
use crate::encoding::hive_directories::is_escaped;
use crate::errors::failure::Failure;
use crate::planning::plan::OutputLayout;

/// How a user leaves a column out.
const LEAVE_OUT: &str = "exclude the column with extract.columns or extract.excludeColumns";
/// Readers skip files and directories whose names begin so: pyarrow finds no row in them.
const HIDDEN: [char; 2] = ['_', '.'];

/// Whether each name that is added to `columns`, those that the run reads, is a reader's only one.
/// `layout.partition_by` has the names as the table has them.
///
/// # Errors
/// `InvalidSpec`.
pub fn check(columns: &[Column], layout: &OutputLayout) -> Result<(), Failure> {
    check_run_folder(columns, layout.run_folder)?;
    check_added(columns, layout)?;
    check_partitions(columns, &layout.partition_by)
}

/// The directories of `uri` that a reader takes for columns of the table, in words.
pub fn warning(columns: &[Column], uri: &str) -> Option<String> {
    let names = uri.split('/').filter_map(|part| part.split_once('=')).map(|(name, _)| name);
    let taken: Vec<_> = names.filter(|name| find(columns, name).is_some()).collect();
    (!taken.is_empty()).then(|| {
        format!(
            "output.uri contains directories with names of columns ({}); readers that parse the whole path \
             show the directory's value instead of the column's value",
            taken.join(", ")
        )
    })
}

fn check_run_folder(columns: &[Column], folder: RunFolder) -> Result<(), Failure> {
    let Some(column) = find(columns, folder.column()) else { return Ok(()) };
    let message = format!(
        "the table has a column {:?}, and readers interpret the name of the run's directory ({}=) as that \
         column",
        column.name,
        folder.column()
    );
    let other = folder.other();
    Err(invalid(
        message,
        if find(columns, other.column()).is_none() {
            format!("Set output.runFolder: {}, or {LEAVE_OUT}.", other.name())
        } else {
            format!("Extract a view that gives the column another name, or {LEAVE_OUT}.")
        },
    ))
}

fn check_added(columns: &[Column], layout: &OutputLayout) -> Result<(), Failure> {
    let added: Vec<_> = fields(&layout.columns).collect();
    for (index, (field, name)) in added.iter().enumerate() {
        let taken = if let Some(column) = find(columns, name) {
            format!("the table already has a column {:?}", column.name)
        } else if same(name, layout.run_folder.column()) {
            format!("the name of the run's directory is {}=", layout.run_folder.column())
        } else if let Some((other, _)) = added[..index].iter().find(|(_, other)| same(name, other))
        {
            format!("output.columns.{other} already has that name")
        } else {
            continue;
        };
        return Err(invalid(
            format!("output.columns.{field} cannot add a column {name:?}: {taken}"),
            format!("Set output.columns.{field} to another name."),
        ));
    }
    Ok(())
}

fn check_partitions(columns: &[Column], names: &[String]) -> Result<(), Failure> {
    for name in names {
        let alike = columns.iter().find(|column| column.name != *name && same(&column.name, name));
        if let Some(column) = alike {
            return Err(invalid(
                format!(
                    "output.partitionBy names directories by column {name:?}, which readers also interpret \
                     as column {:?}",
                    column.name
                ),
                format!(
                    "Remove {name:?} from output.partitionBy. Otherwise, for one of the two columns, \
                     {LEAVE_OUT}."
                ),
            ));
        }
        let why = if name.starts_with(HIDDEN) {
            "readers skip directories whose names begin with an underscore or a dot"
        } else if name.chars().any(is_escaped) {
            "readers interpret special characters in directory names differently"
        } else {
            continue;
        };
        return Err(invalid(
            format!("output.partitionBy cannot name directories by column {name:?}: {why}"),
            format!(
                "Remove {name:?} from output.partitionBy, or extract a view that gives the column another \
                 name."
            ),
        ));
    }
    Ok(())
}

/// Added columns: the field that names one, and its name.
fn fields(columns: &OutputColumns) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("extractTime", &columns.extract_time),
        ("rowHash", &columns.row_hash),
        ("runId", &columns.run_id),
    ]
    .into_iter()
    .filter_map(|(field, name)| Some((field, name.as_deref()?)))
}

fn find<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    columns.iter().find(|column| same(&column.name, name))
}

/// Whether a reader with one case takes two names for one.
fn same(one: &str, other: &str) -> bool {
    // some letters have one upper and two lower cases
    let folded = |name: &str| name.to_uppercase().to_lowercase();
    one == other || folded(one) == folded(other)
}

fn invalid(message: String, remedy: String) -> Failure {
    Failure::permanent(Reason::InvalidSpec, message, remedy)
}

#[cfg(test)]
mod tests;

//! In: [`RecordBatch`]es, the columns of `output.partitionBy`. Out: for each row the folder that its values
//! name, and the batch without those columns. Bound: [`HIVE_DIRECTORIES_MAX`] directories. Fails: `ColumnNotFound`,
//! `ColumnTypeUnsupported`, `InvalidSpec` when planned; [`HiveDirectoryError`] by a value.
//!
//! A folder is named as Hive and Spark name it: `column=value`, what a path cannot hold as `%` and two
//! hexadecimal digits, NULL as [`NULL_DIRECTORY`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Schema, SchemaRef};
use crds::Reason;
use crds::output::{PartitionSort, RunFolder};

use crate::decoding::columns::{Column, Target};
use crate::errors::failure::{Failure, REPORT};
use crate::planning::tables::find_column;
use crate::planning::watermark::Value;

/// The folder of NULL.
pub const NULL_DIRECTORY: &str = "__HIVE_DEFAULT_PARTITION__";
/// Most Hive partition directories of one partition: each has at least one file, and one manifest lists all files.
pub const HIVE_DIRECTORIES_MAX: usize = 10_000;
/// Longest name of a row's directories: a key on S3 has 1,024 bytes, the prefix and the file's name included.
const HIVE_DIRECTORY_BYTES_MAX: usize = 400;
/// Directories that mean something else.
const RESERVED: [&str; 3] = [RunFolder::Run.column(), RunFolder::Time.column(), "_tidemark"];

/// A value that no folder can be named after.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HiveDirectoryError {
    /// The empty text: Spark cannot read a folder without a value, and Hive takes it for NULL.
    #[error("column {column} of output.partitionBy contains an empty text")]
    NameEmpty {
        /// Which.
        column: String,
    },
    /// The value reads as NULL's folder does.
    #[error(
        "column {column} of output.partitionBy contains the text that represents NULL \
         (__HIVE_DEFAULT_PARTITION__)"
    )]
    NameNull {
        /// Which.
        column: String,
    },
    /// The name is too long.
    #[error(
        "column {column} of output.partitionBy contains a value that is too long for a directory name"
    )]
    NameLong {
        /// Which.
        column: String,
    },
    /// A date or time that has no text.
    #[error(
        "column {column} of output.partitionBy contains a date or time that cannot be written as text"
    )]
    NameOdd {
        /// Which.
        column: String,
    },
    /// Too many directories.
    #[error(
        "output.partitionBy makes more than {HIVE_DIRECTORIES_MAX} Hive partition directories in one partition"
    )]
    CountDirectories,
    /// Arrow refused what the decoder built.
    #[error("cannot assign rows to Hive partition directories")]
    Convert,
}

impl HiveDirectoryError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::CountDirectories => {
                "Choose columns with fewer values for output.partitionBy, such as a date \
                 instead of a timestamp."
            }
            Self::Convert => REPORT,
            Self::NameEmpty { .. }
            | Self::NameNull { .. }
            | Self::NameLong { .. }
            | Self::NameOdd { .. } => {
                "Remove the column from output.partitionBy, or extract a view that gives those rows another \
                 value."
            }
        }
    }
}

/// The columns that name directories, by the names that the table has for them.
///
/// # Errors
/// `ColumnNotFound`; `ColumnTypeUnsupported` where different values may have one text, or one value
/// several; `InvalidSpec` for a reserved name, or where no column is left for the files.
pub fn check(columns: &[Column], wanted: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for name in wanted {
        let column = find_column(columns, name, "output.partitionBy")?;
        if !names_hive_directories(column.target) {
            let message = format!(
                "column {:?} of output.partitionBy has type {}, which cannot name directories",
                column.name, column.type_name
            );
            return Err(Failure::permanent(
                Reason::ColumnTypeUnsupported,
                message,
                "Choose columns of type integer, decimal, text, boolean, date, timestamp or uuid for \
                 output.partitionBy.",
            ));
        }
        if RESERVED.contains(&column.name.to_lowercase().as_str()) || names.contains(&column.name) {
            let message = format!(
                "output.partitionBy cannot contain {:?}: the column is named twice, or \
                 its name is reserved for directories of the run",
                column.name
            );
            let remedy = "Name each column once, and do not use a reserved name.";
            return Err(Failure::permanent(Reason::InvalidSpec, message, remedy));
        }
        names.push(column.name.clone());
    }
    if !names.is_empty() && names.len() == columns.len() {
        return Err(Failure::permanent(
            Reason::InvalidSpec,
            "output.partitionBy contains every column of the extract, which leaves none for the files",
            "Remove at least one column from output.partitionBy.",
        ));
    }
    Ok(names)
}

/// First rows of a window, which are read to find their directories.
pub const ROWS_SAMPLED: u64 = 20_000;
/// Directories of so many rows from which on the database sorts: each of them would get a small file again
/// and again.
const SORTED_FROM: u64 = 64;

/// Whether the database sorts, by the directories that so many first rows lie in. Fewer rows than were asked
/// for are all there are: they are sorted in memory.
pub fn sorts(asked: PartitionSort, hive_directories: u64, rows: u64) -> bool {
    match asked {
        PartitionSort::Always => true,
        PartitionSort::Never => false,
        PartitionSort::Auto => rows >= ROWS_SAMPLED && hive_directories >= SORTED_FROM,
    }
}

/// Whether each value has one text of its own.
const fn names_hive_directories(target: Target) -> bool {
    matches!(
        target,
        Target::Boolean
            | Target::Int16
            | Target::Int32
            | Target::Int64
            | Target::Decimal { .. }
            | Target::Text
            | Target::AsText
            | Target::Date
            | Target::Timestamp
            | Target::TimestampTz
            | Target::Uuid
    )
}

/// Tells rows apart by the values of some columns.
#[derive(Debug)]
pub struct HiveDirectories {
    by: Vec<(usize, String)>,
    kept: Vec<usize>,
    schema: SchemaRef,
    converter: RowConverter,
    known: HashMap<Box<[u8]>, u32>,
    names: Vec<Arc<str>>,
}

impl HiveDirectories {
    /// For batches of this schema; `by` names columns of it.
    ///
    /// # Errors
    /// [`HiveDirectoryError::Convert`].
    pub fn new(schema: &Schema, by: &[String]) -> Result<Self, HiveDirectoryError> {
        let place = |name: &String| {
            schema
                .index_of(name)
                .map(|at| (at, name.clone()))
                .map_err(|_| HiveDirectoryError::Convert)
        };
        let by = by.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|at| by.iter().all(|(other, _)| other != at))
            .collect();
        let fields = by.iter().map(|(at, _)| SortField::new(schema.field(*at).data_type().clone()));
        let converter =
            RowConverter::new(fields.collect()).map_err(|_| HiveDirectoryError::Convert)?;
        let schema = Arc::new(schema.project(&kept).map_err(|_| HiveDirectoryError::Convert)?);
        Ok(Self { by, kept, schema, converter, known: HashMap::new(), names: Vec::new() })
    }

    /// The schema of the files.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where the columns stand that the files have.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// The folder of this number, such as `region=EU/day=2023-01-31/`.
    pub fn folder(&self, number: u32) -> Arc<str> {
        let found = usize::try_from(number).ok().and_then(|number| self.names.get(number));
        found.map_or_else(|| Arc::from(""), Arc::clone)
    }

    /// For each row the number of its folder, and the batch without the columns that name it.
    ///
    /// # Errors
    /// [`HiveDirectoryError`].
    pub fn assign(
        &mut self,
        batch: &RecordBatch,
    ) -> Result<(Vec<u32>, RecordBatch), HiveDirectoryError> {
        let arrays: Vec<ArrayRef> =
            self.by.iter().map(|(at, _)| Arc::clone(batch.column(*at))).collect();
        let rows =
            self.converter.convert_columns(&arrays).map_err(|_| HiveDirectoryError::Convert)?;
        let mut numbers = Vec::with_capacity(rows.num_rows());
        for (index, row) in rows.iter().enumerate() {
            let number = match self.known.get(row.as_ref()) {
                Some(number) => *number,
                None => self.meet(row.as_ref(), &arrays, index)?,
            };
            numbers.push(number);
        }
        let rest = batch.project(&self.kept).map_err(|_| HiveDirectoryError::Convert)?;
        Ok((numbers, rest))
    }

    /// Values that no row had before.
    fn meet(
        &mut self,
        key: &[u8],
        arrays: &[ArrayRef],
        row: usize,
    ) -> Result<u32, HiveDirectoryError> {
        let number = self.names.len();
        if number >= HIVE_DIRECTORIES_MAX {
            return Err(HiveDirectoryError::CountDirectories);
        }
        let mut folder = String::new();
        for ((_, column), array) in self.by.iter().zip(arrays) {
            escape(column, &mut folder);
            folder.push('=');
            if array.is_null(row) {
                folder.push_str(NULL_DIRECTORY);
            } else {
                let odd = || HiveDirectoryError::NameOdd { column: column.clone() };
                let text = text(array, row).ok_or_else(odd)?;
                if text.is_empty() {
                    return Err(HiveDirectoryError::NameEmpty { column: column.clone() });
                }
                if text == NULL_DIRECTORY {
                    return Err(HiveDirectoryError::NameNull { column: column.clone() });
                }
                escape(&text, &mut folder);
            }
            folder.push('/');
            if folder.len() > HIVE_DIRECTORY_BYTES_MAX {
                return Err(HiveDirectoryError::NameLong { column: column.clone() });
            }
        }
        self.names.push(folder.into());
        let number = u32::try_from(number).map_err(|_| HiveDirectoryError::CountDirectories)?;
        self.known.insert(key.into(), number);
        Ok(number)
    }
}

/// A value as the folder's name has it; numbers and times as the watermark's canonical texts are.
fn text(array: &ArrayRef, row: usize) -> Option<String> {
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)).to_text(),
        DataType::Timestamp(..) => {
            Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)).to_text()
        }
        DataType::FixedSizeBinary(16) => {
            let bytes: [u8; 16] = array.as_fixed_size_binary().value(row).try_into().ok()?;
            uuid::Uuid::from_bytes(bytes).hyphenated().to_string()
        }
        _ => return None,
    })
}

/// What Hive and Spark escape in a folder's name, and `%` that begins an escape.
fn escape(text: &str, to: &mut String) {
    for character in text.chars() {
        if is_escaped(character) {
            // writing to a String cannot fail
            let _ = write!(to, "%{:02X}", u32::from(character));
        } else {
            to.push(character);
        }
    }
}

/// Whether a folder's name cannot hold a character as it is.
pub(crate) fn is_escaped(character: char) -> bool {
    character.is_ascii_control()
        || matches!(
            character,
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^'
        )
}

#[cfg(test)]
mod tests;

//! In: the manifest, the catalog's facts, a sample of the key. Out: the strategy that divides the table,
//! and the reason. Bound: [`crate::planning::partitions::PARTITIONS_MAX`] partitions. Fails: `ColumnNotFound`,
//! `ColumnTypeUnsupported`, `InvalidSpec` where the manifest asks for what cannot be.

use crds::Reason;
use crds::extract_job::{Consistency, Partition, Strategy};
use crds::source::Engine;
use serde::{Deserialize, Serialize};

use crate::decoding::columns::Column;
use crate::errors::failure::Failure;
use crate::planning::partitions::{KeyType, Skew};
use crate::planning::tables::{find_column, key_type};

/// Skew up to which `auto` keeps equal key ranges. Above it, the slowest partition delays the run.
pub const SKEW_FELT: Skew = Skew::hundredths(130);
/// Skew of a quantile above which `auto` chooses another strategy: single values have too many rows.
const SKEW_TOO_MUCH: Skew = Skew::hundredths(200);

/// How the table was cut, and why: for `plan.json`, the manifest and status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partitioning {
    /// The way that was taken, never `auto`.
    pub strategy: Strategy,
    /// The columns that it goes by: one for spans of keys, all that are hashed, none for blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Why, for people; no value of a row.
    pub reason: String,
    /// Most rows of a partition by the median of all, such as `1.04`, as predicted; absent where nothing
    /// foretells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_skew: Option<String>,
}

/// What a relation is, as far as it matters for cutting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// A table or materialized view with blocks of its own.
    Plain,
    /// The parent of partitions.
    Partitioned,
    /// A table that others inherit from.
    Inherited,
    /// A view.
    View,
    /// A foreign table, or one with another storage than Postgres' own.
    Other,
}

/// What the catalog says about a table's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStats {
    /// What it is.
    pub kind: TableKind,
    /// Columns of its primary key, in the key's order.
    pub primary_key: Vec<String>,
    /// Its blocks; 0 where it has none of its own.
    pub blocks: u32,
    /// Whether the server finds rows by block without reading all others (Postgres 14), and the user
    /// may ask for the blocks (a grant on single columns does not do).
    pub reads_blocks: Result<(), &'static str>,
}

/// The way that a manifest asks for, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlannedStrategy<'a> {
    /// One partition.
    One,
    /// Equal strides.
    Range(Key<'a>),
    /// Equal row counts.
    Quantile(Key<'a>),
    /// Spans of blocks.
    Blocks,
    /// Classes of a hash.
    Hash,
    /// What suits; a key is the manifest's or the primary key's first, where it can be cut.
    Auto(Option<Key<'a>>),
}

/// A column that the table can be cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The column.
    pub column: &'a Column,
    /// How it is cut.
    pub key_type: KeyType,
}

/// A table that is to be cut.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// The kind of database.
    pub engine: Engine,
    /// All of its columns.
    pub columns: &'a [Column],
    /// What the catalog says.
    pub facts: &'a TableStats,
    /// Whether all partitions are read from one consistent snapshot.
    pub consistency: Consistency,
    /// Whether each partition may read the whole table, which a manifest must ask for.
    pub may_hash: bool,
}

impl Table<'_> {
    /// Why the table cannot be divided by blocks.
    fn no_blocks(self) -> Option<&'static str> {
        if self.engine == Engine::Mysql {
            return Some("MySQL does not support reads by block");
        }
        if self.consistency == Consistency::PerPartition {
            return Some(
                "an updated row moves to another block, and each partition is read from its own snapshot",
            );
        }
        match self.facts.kind {
            TableKind::Plain => self.facts.reads_blocks.err(),
            TableKind::Partitioned => Some("a partitioned table has no blocks of its own"),
            TableKind::Inherited => {
                Some("other tables inherit from it, and each has its own blocks")
            }
            TableKind::View => Some("a view has no blocks"),
            TableKind::Other => Some("the table does not use the heap storage of Postgres"),
        }
    }
}

/// The column that the manifest names, and how it would be cut; before the catalog is asked further.
///
/// # Errors
/// `ColumnNotFound`, `ColumnTypeUnsupported`.
pub fn named_key<'a>(
    columns: &'a [Column],
    partition: &Partition,
) -> Result<Option<Key<'a>>, Failure> {
    let strategy = strategy(partition);
    if matches!(strategy, Strategy::None | Strategy::Ctid) {
        return Ok(None);
    }
    let Some(name) = partition.column.as_deref() else { return Ok(None) };
    let column = find_column(columns, name, "extract.partition.column")?;
    match strategy {
        Strategy::Range => {
            let key_type = key_type(column)?;
            if key_type.value_type().is_none() {
                return Err(no_strides(column));
            }
            Ok(Some(Key { column, key_type }))
        }
        Strategy::Quantile => Ok(Some(Key { column, key_type: key_type(column)? })),
        Strategy::Auto => Ok(KeyType::of(column).map(|key_type| Key { column, key_type })),
        Strategy::Hash | Strategy::Ctid | Strategy::None => Ok(None),
    }
}

/// The strategy that a manifest means: strides where it names a column and says nothing else.
pub fn strategy(partition: &Partition) -> Strategy {
    let rebalanced = partition.rebalance == Some(true);
    partition.strategy.unwrap_or(match (&partition.column, rebalanced) {
        (_, true) => Strategy::Quantile,
        (Some(_), false) => Strategy::Range,
        (None, false) => Strategy::None,
    })
}

/// The way that the manifest asks for.
///
/// # Errors
/// See the head of this file.
pub fn planned_strategy<'a>(
    partition: &Partition,
    table: Table<'a>,
) -> Result<PlannedStrategy<'a>, Failure> {
    let named = named_key(table.columns, partition)?;
    let missing = || {
        invalid(
            "extract.partition.strategy needs a column that divides the rows",
            "Set extract.partition.column, or set extract.partition.strategy: auto.",
        )
    };
    match strategy(partition) {
        Strategy::None => Ok(PlannedStrategy::One),
        Strategy::Range => named.map(PlannedStrategy::Range).ok_or_else(missing),
        Strategy::Quantile => named.map(PlannedStrategy::Quantile).ok_or_else(missing),
        Strategy::Ctid => match table.no_blocks() {
            None => Ok(PlannedStrategy::Blocks),
            Some(why) => Err(invalid(
                &format!("strategy ctid is not possible: {why}"),
                "Set extract.partition.strategy: auto, or set quantile and extract.partition.column.",
            )),
        },
        Strategy::Hash => hashed(partition, table).map(|_| PlannedStrategy::Hash),
        Strategy::Auto if partition.column.is_some() => Ok(PlannedStrategy::Auto(named)),
        Strategy::Auto => Ok(PlannedStrategy::Auto(first_of_primary_key(table))),
    }
}

/// The columns that a hash goes over: the manifest's, or the primary key. `auto` takes the latter, as
/// it comes to a hash where the manifest's column does not part the rows.
///
/// # Errors
/// `ColumnNotFound`, `InvalidSpec` where there is neither.
pub fn hashed<'a>(partition: &Partition, table: Table<'a>) -> Result<Vec<&'a Column>, Failure> {
    let named = partition.column.as_ref().filter(|_| strategy(partition) == Strategy::Hash);
    if let Some(name) = named {
        return Ok(vec![find_column(table.columns, name, "extract.partition.column")?]);
    }
    let columns = primary_key(table);
    if columns.is_empty() {
        return Err(invalid(
            "strategy hash needs a column because the table has no readable primary key",
            "Set extract.partition.column.",
        ));
    }
    Ok(columns)
}

fn primary_key(table: Table<'_>) -> Vec<&Column> {
    let of = |name: &String| table.columns.iter().find(|column| column.name == *name);
    let found: Option<Vec<_>> = table.facts.primary_key.iter().map(of).collect();
    found.unwrap_or_default()
}

/// A key of several columns is cut by its first: the key's own index serves it in both databases, and
/// where the first alone is too coarse, the predicted skew shows it.
fn first_of_primary_key(table: Table<'_>) -> Option<Key<'_>> {
    let column = *primary_key(table).first()?;
    // its index knows nothing of its text
    let key_type = KeyType::of(column).filter(|key_type| *key_type != KeyType::AsText)?;
    Some(Key { column, key_type })
}

/// What a sample shows about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredictedSkews {
    /// Of equal strides, where they can be measured: their skew, and how many there are.
    pub strides: Option<(Skew, usize)>,
    /// The same of partitions of equal row count.
    pub quantiles: (Skew, usize),
}

/// The choice of `auto`, and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Never [`PlannedStrategy::Auto`].
    pub planned_strategy: PlannedStrategy<'a>,
    /// For people.
    pub reason: String,
}

/// The choice of `auto` for a table whose key was sampled.
pub fn choose<'a>(
    key: Key<'a>,
    predicted: PredictedSkews,
    wanted: u32,
    table: Table<'a>,
) -> Choice<'a> {
    let name = &key.column.name;
    // a key with one value makes one partition
    let few_partitions = |partitions: usize| partitions < 2 || partitions * 2 < wanted as usize;
    let even =
        |(skew, partitions): &(Skew, usize)| *skew <= SKEW_FELT && !few_partitions(*partitions);
    if let Some((skew, _)) = predicted.strides.filter(even) {
        let reason = format!("the values of {name:?} are spread evenly");
        return Choice {
            planned_strategy: PlannedStrategy::Range(key),
            reason: format!("{reason}: equal strides have skew {skew}"),
        };
    }
    let strides = predicted.strides.map_or_else(
        || format!("the values of {name:?} cannot be divided into equal strides"),
        |(skew, partitions)| {
            format!("{partitions} equal strides of {name:?} would have skew {skew}")
        },
    );
    let (skew, partitions) = predicted.quantiles;
    if skew <= SKEW_TOO_MUCH && !few_partitions(partitions) {
        return Choice { planned_strategy: PlannedStrategy::Quantile(key), reason: strides };
    }
    let few = format!("single values of {name:?} have too many rows for even partitions");
    let blocks = table.no_blocks();
    match blocks {
        None => Choice { planned_strategy: PlannedStrategy::Blocks, reason: few },
        // what has one value has one hash too: only other columns part its rows
        Some(why)
            if table.may_hash && primary_key(table).iter().any(|column| column.name != *name) =>
        {
            Choice { planned_strategy: PlannedStrategy::Hash, reason: format!("{few}, and {why}") }
        }
        Some(why) => Choice {
            planned_strategy: PlannedStrategy::Quantile(key),
            reason: format!("{strides}; {few}, and {why}"),
        },
    }
}

/// The choice of `auto` for a table without a usable key.
pub fn choose_without_key<'a>(partition: &Partition, table: Table<'a>) -> Choice<'a> {
    let no_key = match &partition.column {
        Some(name) => format!("column {name:?} cannot be divided into key ranges"),
        None if table.facts.primary_key.is_empty() => "the table has no primary key".to_owned(),
        None => "the primary key cannot be divided into key ranges, or is not among the extracted columns".to_owned(),
    };
    let Some(why) = table.no_blocks() else {
        return Choice { planned_strategy: PlannedStrategy::Blocks, reason: no_key };
    };
    let reason = format!("{no_key}, and {why}");
    let hash = table.may_hash && !primary_key(table).is_empty();
    let planned_strategy = if hash { PlannedStrategy::Hash } else { PlannedStrategy::One };
    Choice { planned_strategy, reason }
}

fn no_strides(column: &Column) -> Failure {
    Failure::permanent(
        Reason::ColumnTypeUnsupported,
        format!(
            "partition column {:?} has type {}, which cannot be divided into equal strides",
            column.name, column.type_name
        ),
        "Set extract.partition.strategy: quantile, auto or hash, or choose a column of type integer, \
         decimal, date or timestamp.",
    )
}

fn invalid(message: &str, remedy: &str) -> Failure {
    Failure::permanent(Reason::InvalidSpec, message, remedy)
}

#[cfg(test)]
mod tests;

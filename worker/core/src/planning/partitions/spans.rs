//! Spans of keys, classes of hashes and spans of blocks.

use serde::{Deserialize, Serialize};

use super::keys::KeyType;
use crate::planning::watermark::{Decimal, Value};

/// Maximum number of partitions of one plan: the limit of the CRD.
pub const PARTITIONS_MAX: u32 = 1000;
/// Most partitions when nobody gave a count.
pub const PARTITIONS_MAX_ESTIMATED: u32 = 64;
/// Rows of one partition if the manifest sets no count. The read takes several times as long as the start of the pod
/// (`docs/partitioning.md` has the measurements).
const ROWS_PER_PARTITION: i64 = 5_000_000;
/// Bytes of one partition if the manifest sets no count.
const BYTES_PER_PARTITION: i64 = 1 << 30;

/// The part of a window that one pod reads: a span of keys, unless `part` says otherwise. Bounds
/// are canonical text of the partition column's type; `from` is included, `to` is not. All bounds
/// of a plan ascend by the database's own comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPartition {
    /// Start, included; absent: from the least value.
    pub from: Option<String>,
    /// End, not included; absent: to the greatest value.
    pub to: Option<String>,
    /// Whether rows whose key is NULL are in it: true for exactly one span of a plan, unless
    /// [`Part::Nulls`] has them.
    pub nulls: bool,
    /// What it is instead of a span of keys; absent for a span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// A partition that is not a span of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The rows whose key is NULL.
    Nulls,
    /// The rows whose key has a hash of `class` modulo `classes`. NULL has one too.
    Hash {
        /// From 0.
        class: u32,
        /// How many there are.
        classes: u32,
    },
    /// The rows in the table's blocks from `first` on, up to and without `end`.
    Blocks {
        /// From 0.
        first: u32,
        /// Absent: all that follow, those that are added later too.
        end: Option<u32>,
    },
}

impl PlannedPartition {
    /// The partition that holds every row.
    pub const fn whole() -> Self {
        Self { from: None, to: None, nulls: true, part: None }
    }

    const fn of(part: Part) -> Self {
        Self { from: None, to: None, nulls: matches!(part, Part::Nulls), part: Some(part) }
    }
}

/// How many partitions suit a table when nobody says. Negative estimates count as unknown.
pub fn count_for(rows: i64, bytes: i64) -> u32 {
    let wanted = (rows / ROWS_PER_PARTITION).max(bytes / BYTES_PER_PARTITION).max(0) + 1;
    u32::try_from(wanted).unwrap_or(u32::MAX).min(PARTITIONS_MAX_ESTIMATED)
}

/// Spans that meet at `cuts`, which ascend. Rows without key are in the first, or in one of their
/// own.
pub fn spans(cuts: Vec<String>, nulls_apart: bool) -> Vec<PlannedPartition> {
    let mut partitions = Vec::with_capacity(cuts.len() + 2);
    if nulls_apart {
        partitions.push(PlannedPartition::of(Part::Nulls));
    }
    let mut from = None;
    for cut in cuts {
        let to = Some(cut);
        partitions.push(PlannedPartition {
            from,
            to: to.clone(),
            nulls: partitions.is_empty(),
            part: None,
        });
        from = to;
    }
    partitions.push(PlannedPartition { from, to: None, nulls: partitions.is_empty(), part: None });
    partitions
}

/// The values at which the span from `least` to `greatest` (both included) is cut into `count` equal
/// strides, or fewer where it has fewer values.
pub fn strides(key_type: KeyType, span: Option<(Value, Value)>, count: u32) -> Vec<Value> {
    let Some((least, greatest)) = span else { return Vec::new() };
    let scale = scale(least).max(scale(greatest));
    let (Some(first), Some(last)) = (ordinal(least, scale), ordinal(greatest, scale)) else {
        return Vec::new();
    };
    if last < first {
        return Vec::new();
    }
    // without a sign: the span of all decimals of 38 digits has one bit more than the greatest
    let values = last.abs_diff(first) + 1;
    let count = u128::from(count.clamp(1, PARTITIONS_MAX)).min(values);
    (1..count)
        .filter_map(|step| {
            let steps = values / count * step + values % count * step / count;
            value_at(key_type, first.checked_add_unsigned(steps)?, scale)
        })
        .collect()
}

/// Cuts the span from `least` to `greatest` (both included) into equal strides.
pub fn cut(key_type: KeyType, span: Option<(Value, Value)>, count: u32) -> Vec<PlannedPartition> {
    spans(strides(key_type, span, count).iter().map(Value::to_text).collect(), false)
}

/// `count` classes of a hash.
pub fn hash_classes(count: u32) -> Vec<PlannedPartition> {
    match count.clamp(1, PARTITIONS_MAX) {
        1 => vec![PlannedPartition::whole()],
        classes => {
            (0..classes).map(|class| PlannedPartition::of(Part::Hash { class, classes })).collect()
        }
    }
}

/// `count` equal spans of a table's blocks, or fewer where it has fewer.
pub fn block_spans(blocks: u32, count: u32) -> Vec<PlannedPartition> {
    let count = count.clamp(1, PARTITIONS_MAX).min(blocks.max(1));
    if count == 1 {
        return vec![PlannedPartition::whole()];
    }
    let first = |step: u32| {
        u32::try_from(u64::from(blocks) * u64::from(step) / u64::from(count)).unwrap_or(blocks)
    };
    let end = |step: u32| (step < count).then(|| first(step));
    (0..count)
        .map(|step| PlannedPartition::of(Part::Blocks { first: first(step), end: end(step + 1) }))
        .collect()
}

const fn scale(value: Value) -> u32 {
    match value {
        Value::Decimal(number) => number.scale(),
        Value::Int(_) | Value::Double(_) | Value::Timestamp(_) | Value::Date(_) => 0,
    }
}

fn ordinal(value: Value, scale: u32) -> Option<i128> {
    match value {
        Value::Int(number) | Value::Timestamp(number) => Some(i128::from(number)),
        Value::Date(days) => Some(i128::from(days)),
        Value::Decimal(number) => number.units(scale),
        Value::Double(_) => None,
    }
}

/// The value `ordinal` steps from zero. Cuts lie between two values of the type, so it fits.
fn value_at(key_type: KeyType, ordinal: i128, scale: u32) -> Option<Value> {
    match key_type {
        KeyType::Int => i64::try_from(ordinal).ok().map(Value::Int),
        KeyType::Date => i32::try_from(ordinal).ok().map(Value::Date),
        KeyType::Timestamp => i64::try_from(ordinal).ok().map(Value::Timestamp),
        KeyType::Decimal => Decimal::of_units(ordinal, scale).map(Value::Decimal),
        KeyType::Uuid | KeyType::Text | KeyType::AsText => None,
    }
}

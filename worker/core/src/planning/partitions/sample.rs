//! What a sample, or the server's statistics, say about where the rows lie, and the cuts that make
//! partitions of about equal row count from it.

use std::cmp::Ordering;
use std::fmt;

use super::keys::KeyType;
use super::spans::{PARTITIONS_MAX, PlannedPartition, spans};
use crate::planning::watermark::Value;

/// Number of rows to which statistics are scaled, for any table: they are in millionths.
const MILLION: u64 = 1_000_000;

/// A key, and how many rows of the sample have a lesser one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The key, as a bound has it.
    pub key: String,
    /// Rows with a key below it; NULL is below none.
    pub below: u64,
}

/// Where the rows of a sample lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// Keys in the database's order, each once; `below` ascends with them.
    pub(super) points: Vec<Point>,
    /// Rows with a key.
    pub(super) rows: u64,
    /// Rows without.
    pub(super) nulls: u64,
}

/// What Postgres' statistics say about a column, shares in millionths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Share of NULLs.
    pub nulls: u64,
    /// The commonest values and their shares.
    pub common: Vec<(String, u64)>,
    /// Bounds between which equal shares of all other rows lie.
    pub bounds: Vec<String>,
}

/// Partitions, and how uneven they are by the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// The partitions.
    pub partitions: Vec<PlannedPartition>,
    /// What the sample foretells.
    pub skew: Skew,
}

/// Most rows of a partition by the median of all partitions, in hundredths: how much longer the slowest
/// takes than most. At most 1000, which a median of no row has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skew(u64);

impl Skew {
    /// Of partitions with so many rows each; where there is no row they are even.
    pub fn of(rows: &[u64]) -> Self {
        let mut sorted = rows.to_vec();
        sorted.sort_unstable();
        let most = match sorted.last() {
            None | Some(0) => return Self::EVEN,
            Some(most) => u128::from(*most),
        };
        let middles =
            u128::from(sorted[(sorted.len() - 1) / 2]) + u128::from(sorted[sorted.len() / 2]);
        let hundredths = (most * 200).checked_div(middles);
        let hundredths = hundredths.and_then(|hundredths| u64::try_from(hundredths).ok());
        Self(hundredths.unwrap_or(u64::MAX).min(Self::MOST))
    }

    const MOST: u64 = 100_000;

    /// All partitions alike.
    pub const EVEN: Self = Self(100);

    /// Of so many hundredths.
    pub const fn hundredths(hundredths: u64) -> Self {
        Self(hundredths)
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Sample {
    /// Of rows that the database has sorted: the key (absent where it cannot be a bound), how many
    /// have a lesser one, and whether the database finds it greater than the one before. From the
    /// first that contradicts the order nothing is taken.
    pub fn of_sorted(
        key_type: KeyType,
        sorted: impl IntoIterator<Item = (Option<String>, u64, bool)>,
        rows: u64,
        nulls: u64,
    ) -> Self {
        let mut points: Vec<Point> = Vec::new();
        let mut last_below = None;
        for (text, below, ascends) in sorted {
            if last_below == Some(below) {
                continue;
            }
            if !ascends || last_below.is_some_and(|last| below < last) {
                break;
            }
            last_below = Some(below);
            let Some(key) = text.and_then(|text| key_type.canonical(&text)) else { continue };
            let value = key_type.value(&key);
            let before = points.last().and_then(|point| key_type.value(&point.key));
            // rounded to one value, as it may be beyond the microsecond
            if value.zip(before).is_some_and(|(value, before)| value <= before) {
                continue;
            }
            points.push(Point { key, below });
        }
        Self { points, rows, nulls }
    }

    /// Of the server's statistics; `None` where they do not say enough for `count` partitions, or the
    /// type is one whose order only the database knows.
    pub fn of_statistics(key_type: KeyType, said: &Statistics, count: u32) -> Option<Self> {
        /// Steps of the histogram for each partition, so that one more or less in a partition is little.
        const STEPS_PER_PARTITION: usize = 8;
        key_type.value_type()?;
        let read = |text: &String| key_type.value(text);
        let bounds: Vec<Value> = said.bounds.iter().map(read).collect::<Option<_>>()?;
        let common: Vec<(Value, u64)> = said
            .common
            .iter()
            .map(|(text, share)| Some((read(text)?, *share)))
            .collect::<Option<_>>()?;
        let steps = bounds.len().saturating_sub(1);
        let in_common: u64 = common.iter().map(|(_, share)| share).sum();
        let in_steps = MILLION.checked_sub(said.nulls)?.saturating_sub(in_common);
        let distinct_is_all = steps == 0 && !common.is_empty();
        if !distinct_is_all && steps < STEPS_PER_PARTITION * count as usize {
            return None;
        }
        let below = |value: &Value| {
            let place = bounds.partition_point(|bound| bound < value);
            let exact = bounds.get(place).is_some_and(|bound| bound == value);
            // half a step where it lies between two bounds
            let halves = (2 * place).saturating_sub(usize::from(!exact && place > 0));
            let share = in_steps * halves.min(2 * steps) as u64 / (2 * steps).max(1) as u64;
            let lesser = common.iter().filter(|(other, _)| other < value);
            share + lesser.map(|(_, share)| share).sum::<u64>()
        };
        let mut values: Vec<Value> = bounds.clone();
        values.extend(common.iter().map(|(value, _)| *value));
        values.sort();
        values.dedup();
        let mut points: Vec<Point> = Vec::new();
        for value in values {
            let point = Point { key: value.to_text(), below: below(&value) };
            if points.last().is_none_or(|last| last.below < point.below) {
                points.push(point);
            }
        }
        Some(Self { points, rows: in_steps + in_common, nulls: said.nulls })
    }

    /// Whether it has no row at all.
    pub const fn is_empty(&self) -> bool {
        self.rows + self.nulls == 0
    }

    /// Up to `count` partitions of about equal row count. A value that more rows have than a partition should
    /// is in a partition of that size; the others share the rest evenly.
    pub fn quantiles(&self, count: u32) -> Cuts {
        let count = u64::from(count.clamp(1, PARTITIONS_MAX));
        // half a share of NULLs would be felt
        let nulls_apart = count > 1 && self.rows > 0 && self.nulls * count * 2 > self.all();
        let (mut left, mut start) =
            if nulls_apart { (count - 1, 0) } else { (count, -i128::from(self.nulls)) };
        let mut rows = if nulls_apart { vec![self.nulls] } else { Vec::new() };
        let mut cuts = Vec::new();
        let mut candidates = self.points.as_slice();
        let end = i128::from(self.rows);
        while left > 1 {
            let wanted = start + (end - start) / i128::from(left);
            // never a partition of no row before the cut
            let usable =
                candidates.partition_point(|point| i128::from(point.below) <= start.max(0));
            candidates = &candidates[usable..];
            let Some(nearest) = candidates
                .iter()
                .min_by_key(|point| (i128::from(point.below) - wanted).unsigned_abs())
            else {
                break;
            };
            let below = i128::from(nearest.below);
            cuts.push(nearest.key.clone());
            rows.push(u64::try_from(below - start).unwrap_or_default());
            (start, left) = (below, left - 1);
        }
        rows.push(u64::try_from(end - start).unwrap_or_default());
        Cuts { partitions: spans(cuts, nulls_apart), skew: Skew::of(&rows) }
    }

    const fn all(&self) -> u64 {
        self.rows + self.nulls
    }

    /// How uneven spans are that meet at these values, rows without key being in the first.
    pub fn skew_of(&self, key_type: KeyType, cuts: &[Value]) -> Skew {
        let known: Vec<(Value, u64)> = self
            .points
            .iter()
            .filter_map(|point| Some((key_type.value(&point.key)?, point.below)))
            .collect();
        let below = |cut: &Value| {
            let place = known.partition_point(|(value, _)| value < cut);
            let upper = known.get(place);
            match upper.map(|(value, below)| (value.cmp(cut), *below)) {
                Some((Ordering::Equal, below)) => below,
                // half of what lies between two points
                Some((_, below)) if place > 0 => below.midpoint(known[place - 1].1),
                Some(_) => 0,
                None => self.rows,
            }
        };
        let mut rows = Vec::with_capacity(cuts.len() + 1);
        let mut start = 0;
        for cut in cuts {
            let end = below(cut).max(start);
            rows.push(end - start);
            start = end;
        }
        rows.push(self.rows.saturating_sub(start));
        rows[0] += self.nulls;
        Skew::of(&rows)
    }
}

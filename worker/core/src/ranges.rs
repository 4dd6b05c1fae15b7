//! In: the partition column's type, its least and greatest value, a count. Out: `KeyRange`s:
//! disjoint, in order, total, NULLs in the first. Bound: [`RANGES_MAX`]. Fails: never; what cannot
//! be cut is one range.

use crds::extract_job::WatermarkType;
use serde::{Deserialize, Serialize};

use crate::columns::{Column, Target, is_oid, is_unsigned};
use crate::watermark::Value;

/// Most ranges of one plan, whatever the user asks for: the CRD's own limit.
pub const RANGES_MAX: u32 = 1000;
/// Most ranges when nobody gave a count.
pub const RANGES_MAX_ESTIMATED: u32 = 64;
/// Rows of one range when nobody gave a count.
const ROWS_PER_RANGE: i64 = 1_000_000;
/// Bytes of the table per range when nobody gave a count.
const BYTES_PER_RANGE: i64 = 256 << 20;

/// The part of a window that one pod reads. Bounds are canonical text of the partition column's
/// type; `from` is included, `to` is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Start, included; absent: from the least value.
    pub from: Option<String>,
    /// End, not included; absent: to the greatest value.
    pub to: Option<String>,
    /// Whether rows whose key is NULL are in it: true for exactly one range of a plan.
    pub nulls: bool,
}

impl KeyRange {
    /// The range that holds every row.
    pub const fn whole() -> Self {
        Self { from: None, to: None, nulls: true }
    }
}

/// Types that can be cut into equal strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Whole numbers.
    Int,
    /// `date`.
    Date,
    /// `timestamp`, `timestamptz`, `datetime`.
    Timestamp,
}

impl KeyType {
    /// How a column is cut; `None`: it cannot be.
    pub fn of(column: &Column) -> Option<Self> {
        match column.target {
            Target::Int64 if is_oid(column) => None,
            Target::Int16 | Target::Int32 | Target::Int64 => Some(Self::Int),
            Target::Date => Some(Self::Date),
            Target::Timestamp | Target::TimestampTz => Some(Self::Timestamp),
            Target::Decimal { .. } if is_unsigned(column) => Some(Self::Int),
            Target::Boolean
            | Target::Float32
            | Target::Float64
            | Target::Decimal { .. }
            | Target::Text
            | Target::AsText
            | Target::Binary
            | Target::Time
            | Target::Uuid
            | Target::Json => None,
        }
    }

    /// The type whose text the bounds are.
    pub const fn value_type(self) -> WatermarkType {
        match self {
            Self::Int => WatermarkType::Int,
            Self::Date => WatermarkType::Date,
            Self::Timestamp => WatermarkType::Timestamp,
        }
    }

    /// The value `ordinal` steps from zero. Bounds lie between two values of the type, so it fits.
    fn value(self, ordinal: i128) -> Option<Value> {
        match self {
            Self::Int => i64::try_from(ordinal).ok().map(Value::Int),
            Self::Date => i32::try_from(ordinal).ok().map(Value::Date),
            Self::Timestamp => i64::try_from(ordinal).ok().map(Value::Timestamp),
        }
    }
}

/// How many ranges suit a table when nobody says. Negative estimates count as unknown.
pub fn count_for(rows: i64, bytes: i64) -> u32 {
    let wanted = (rows / ROWS_PER_RANGE).max(bytes / BYTES_PER_RANGE).max(0) + 1;
    u32::try_from(wanted).unwrap_or(u32::MAX).min(RANGES_MAX_ESTIMATED)
}

/// Cuts the span from `least` to `greatest` (both included) into `count` equal strides, or fewer
/// where the span has fewer values. The outer ranges are open, so that no row is ever outside.
pub fn cut(key_type: KeyType, span: Option<(Value, Value)>, count: u32) -> Vec<KeyRange> {
    let cuts = span.map_or_else(Vec::new, |(least, greatest)| {
        boundaries(key_type, least, greatest, count.clamp(1, RANGES_MAX))
    });
    let mut ranges = Vec::with_capacity(cuts.len() + 1);
    let mut from = None;
    for cut in cuts {
        let to = Some(cut.to_text());
        ranges.push(KeyRange { from, to: to.clone(), nulls: ranges.is_empty() });
        from = to;
    }
    ranges.push(KeyRange { from, to: None, nulls: ranges.is_empty() });
    ranges
}

fn boundaries(key_type: KeyType, least: Value, greatest: Value, count: u32) -> Vec<Value> {
    let (Some(first), Some(last)) = (ordinal(least), ordinal(greatest)) else {
        return Vec::new();
    };
    // 128 bits: the span of all 64-bit numbers has 65
    let values = last - first + 1;
    let count = i128::from(count).min(values);
    (1..count).filter_map(|step| key_type.value(first + values * step / count)).collect()
}

fn ordinal(value: Value) -> Option<i128> {
    match value {
        Value::Int(number) | Value::Timestamp(number) => Some(i128::from(number)),
        Value::Date(days) => Some(i128::from(days)),
        Value::Decimal(_) | Value::Double(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ints(least: i64, greatest: i64, count: u32) -> Vec<KeyRange> {
        cut(KeyType::Int, Some((Value::Int(least), Value::Int(greatest))), count)
    }

    fn holds(range: &KeyRange, key_type: KeyType, key: Value) -> bool {
        let read = |text: &String| Value::parse(key_type.value_type(), text).expect("own text");
        range.from.as_ref().is_none_or(|from| read(from) <= key)
            && range.to.as_ref().is_none_or(|to| key < read(to))
    }

    #[test]
    fn strides_are_equal_and_the_outer_ranges_open() {
        let ranges = ints(1, 100, 4);
        let cuts: Vec<_> = ranges.iter().filter_map(|range| range.to.as_deref()).collect();
        assert_eq!(cuts, ["26", "51", "76"]);
        assert_eq!((ranges[0].from.as_ref(), ranges[3].to.as_ref()), (None, None));
    }

    #[test]
    fn a_short_span_has_fewer_ranges() {
        assert_eq!(ints(5, 7, 10).len(), 3);
        assert_eq!(ints(5, 5, 10), [KeyRange::whole()]);
        assert_eq!(ints(7, 5, 10), [KeyRange::whole()]);
        assert_eq!(cut(KeyType::Int, None, 10), [KeyRange::whole()]);
    }

    #[test]
    fn the_whole_of_64_bits_can_be_cut() {
        let ranges = ints(i64::MIN, i64::MAX, 2);
        assert_eq!(ranges[0].to.as_deref(), Some("0"));
    }

    #[test]
    fn days_and_instants_can_be_cut() {
        let day = |text| Value::parse(WatermarkType::Date, text).expect(text);
        let ranges = cut(KeyType::Date, Some((day("2024-01-01"), day("2024-01-31"))), 2);
        assert_eq!(ranges[1].from.as_deref(), Some("2024-01-16"));
        let at = |text| Value::parse(WatermarkType::Timestamp, text).expect(text);
        let span = (at("2024-01-01 00:00:00"), at("2024-01-01 23:59:59.999999"));
        let ranges = cut(KeyType::Timestamp, Some(span), 2);
        assert_eq!(ranges[1].from.as_deref(), Some("2024-01-01 12:00:00"));
    }

    #[test]
    fn the_count_follows_rows_and_bytes() {
        assert_eq!(count_for(-1, 8192), 1);
        assert_eq!(count_for(2_500_000, 0), 3);
        assert_eq!(count_for(10, 10 << 30), 41);
        assert_eq!(count_for(i64::MAX, i64::MAX), RANGES_MAX_ESTIMATED);
    }

    fn int() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -20_i64..20]
    }

    proptest! {
        #[test]
        fn every_key_is_in_exactly_one_range(a in int(), b in int(), key in int(), count in 1_u32..200) {
            let (least, greatest) = (a.min(b), a.max(b));
            let ranges = ints(least, greatest, count);
            for key in [key, least, greatest, i64::MIN, i64::MAX] {
                let holders = ranges.iter().filter(|range| holds(range, KeyType::Int, Value::Int(key)));
                prop_assert_eq!(holders.count(), 1);
            }
            prop_assert_eq!(ranges.iter().filter(|range| range.nulls).count(), 1);
            let span = i128::from(greatest) - i128::from(least) + 1;
            prop_assert_eq!(ranges.len() as i128, i128::from(count).min(span));
        }

        #[test]
        fn ranges_are_in_order_and_touch(a in any::<i32>(), b in any::<i32>(), count in 1_u32..200) {
            let (least, greatest) = (Value::Date(a.min(b) / 8), Value::Date(a.max(b) / 8));
            let ranges = cut(KeyType::Date, Some((least, greatest)), count);
            for pair in ranges.windows(2) {
                prop_assert_eq!(&pair[0].to, &pair[1].from);
            }
            let cuts = ranges.iter().filter_map(|range| range.to.as_ref());
            let read: Vec<_> = cuts
                .map(|text| Value::parse(WatermarkType::Date, text).expect("own text"))
                .collect();
            prop_assert!(read.is_sorted_by(|a, b| a < b));
        }
    }
}

use std::cmp::Ordering;

use crds::extract_job::WatermarkType;
use proptest::prelude::*;

use super::*;
use crate::planning::watermark::{Decimal, Value};

fn ints(least: i64, greatest: i64, count: u32) -> Vec<PlannedPartition> {
    cut(KeyType::Int, Some((Value::Int(least), Value::Int(greatest))), count)
}

fn value(key_type: KeyType, text: &str) -> Value {
    key_type.value(text).expect(text)
}

/// How many of the partitions hold a key (`None`: NULL), in the order that the database has.
fn holders(
    partitions: &[PlannedPartition],
    key: Option<&str>,
    order: impl Fn(&str, &str) -> Ordering,
) -> usize {
    let holds = |partition: &&PlannedPartition| match (partition.part, key) {
        (Some(Part::Nulls), key) => key.is_none(),
        (Some(_), _) => false,
        (None, None) => partition.nulls,
        (None, Some(key)) => {
            partition.from.as_ref().is_none_or(|from| order(from, key).is_le())
                && partition.to.as_ref().is_none_or(|to| order(key, to).is_lt())
        }
    };
    partitions.iter().filter(holds).count()
}

fn by_value(key_type: KeyType) -> impl Fn(&str, &str) -> Ordering {
    move |a, b| value(key_type, a).cmp(&value(key_type, b))
}

/// A collation in which upper and lower case are the same.
fn by_folded(a: &str, b: &str) -> Ordering {
    a.to_lowercase().cmp(&b.to_lowercase())
}

/// A sample as the database would sort it.
fn sample(
    key_type: KeyType,
    keys: &[String],
    nulls: u64,
    order: impl Fn(&str, &str) -> Ordering,
) -> Sample {
    let mut sorted = keys.to_vec();
    sorted.sort_by(|a, b| order(a, b));
    let rows = sorted.iter().enumerate().map(|(place, key)| {
        let below = sorted.iter().filter(|other| order(other, key).is_lt()).count();
        let ascends = place == 0 || order(&sorted[place - 1], key).is_lt();
        (Some(key.clone()), below as u64, ascends)
    });
    Sample::of_sorted(key_type, rows, sorted.len() as u64, nulls)
}

#[test]
fn strides_are_equal_and_the_outer_partitions_open() {
    let partitions = ints(1, 100, 4);
    let cuts: Vec<_> = partitions.iter().filter_map(|partition| partition.to.as_deref()).collect();
    assert_eq!(cuts, ["26", "51", "76"]);
    assert_eq!((partitions[0].from.as_ref(), partitions[3].to.as_ref()), (None, None));
}

#[test]
fn a_short_span_has_fewer_partitions() {
    assert_eq!(ints(5, 7, 10).len(), 3);
    assert_eq!(ints(5, 5, 10), [PlannedPartition::whole()]);
    assert_eq!(ints(7, 5, 10), [PlannedPartition::whole()]);
    assert_eq!(cut(KeyType::Int, None, 10), [PlannedPartition::whole()]);
}

#[test]
fn the_whole_of_64_bits_and_of_38_digits_can_be_cut() {
    assert_eq!(ints(i64::MIN, i64::MAX, 2)[0].to.as_deref(), Some("0"));
    let decimal = |text: &str| value(KeyType::Decimal, text);
    let unsigned = (decimal("0"), decimal("18446744073709551615"));
    let partitions = cut(KeyType::Decimal, Some(unsigned), 2);
    assert_eq!(partitions[0].to.as_deref(), Some("9223372036854775808"));
    let nines = "9".repeat(38);
    let widest = (decimal(&format!("-{nines}")), decimal(&nines));
    assert_eq!(cut(KeyType::Decimal, Some(widest), 1000).len(), 1000);
    let filled = format!("428571428571.4285{}", "0".repeat(26));
    assert_eq!(KeyType::Decimal.canonical(&filled).as_deref(), Some("428571428571.4285"));
    let cents = (decimal("0.5"), decimal("1.25"));
    let partitions = cut(KeyType::Decimal, Some(cents), 4);
    let cuts: Vec<_> = partitions.iter().filter_map(|partition| partition.to.as_deref()).collect();
    assert_eq!(cuts, ["0.69", "0.88", "1.07"]);
}

#[test]
fn days_and_instants_can_be_cut() {
    let day = |text| Value::parse(WatermarkType::Date, text).expect(text);
    let partitions = cut(KeyType::Date, Some((day("2024-01-01"), day("2024-01-31"))), 2);
    assert_eq!(partitions[1].from.as_deref(), Some("2024-01-16"));
    let at = |text| Value::parse(WatermarkType::Timestamp, text).expect(text);
    let span = (at("2024-01-01 00:00:00"), at("2024-01-01 23:59:59.999999"));
    let partitions = cut(KeyType::Timestamp, Some(span), 2);
    assert_eq!(partitions[1].from.as_deref(), Some("2024-01-01 12:00:00"));
}

#[test]
fn the_count_follows_rows_and_bytes() {
    assert_eq!(count_for(-1, 8192), 1);
    assert_eq!(count_for(12_500_000, 0), 3);
    assert_eq!(count_for(10, 10 << 30), 11);
    assert_eq!(count_for(i64::MAX, i64::MAX), PARTITIONS_MAX_ESTIMATED);
}

#[test]
fn partitions_are_read_back_from_their_json() {
    let span = r#"{"from":"1","to":null,"nulls":false}"#;
    let partition: PlannedPartition = serde_json::from_str(span).expect("a span");
    assert_eq!(
        partition,
        PlannedPartition { from: Some("1".to_owned()), to: None, nulls: false, part: None }
    );
    assert_eq!(serde_json::to_string(&partition).expect("text"), span);
    for partition in [hash_classes(3), block_spans(10, 3)].concat() {
        let text = serde_json::to_string(&partition).expect("text");
        assert_eq!(serde_json::from_str::<PlannedPartition>(&text).expect("own text"), partition);
    }
}

#[test]
fn a_skew_is_the_most_by_the_median() {
    let skew = |rows: &[u64]| Skew::of(rows).to_string();
    assert_eq!(skew(&[]), "1.00");
    assert_eq!(skew(&[0, 0]), "1.00");
    assert_eq!(skew(&[10, 13, 10]), "1.30");
    assert_eq!(skew(&[99, 1]), "1.98");
    assert_eq!(skew(&[500, 0, 0, 0]), "1000.00");
    assert_eq!(skew(&[u64::MAX, 1, 1]), "1000.00");
}

#[test]
fn a_skewed_key_is_cut_where_its_rows_are() {
    // 99 of 100 rows in one hundredth of the span
    let keys: Vec<_> = (0..990).map(i64::from).chain((1..=10).map(|i| i * 10_000)).collect();
    let keys: Vec<_> = keys.iter().map(i64::to_string).collect();
    let sample = sample(KeyType::Int, &keys, 0, by_value(KeyType::Int));
    let cuts = sample.quantiles(8);
    assert_eq!(cuts.partitions.len(), 8);
    assert!(cuts.skew <= Skew::hundredths(102), "{}", cuts.skew);
    let even = strides(KeyType::Int, Some((Value::Int(0), Value::Int(100_000))), 8);
    assert!(sample.skew_of(KeyType::Int, &even) > Skew::hundredths(50_000));
}

#[test]
fn a_value_of_half_the_rows_leaves_the_rest_even() {
    let keys: Vec<_> = (0..1000).map(|i| if i < 500 { 7 } else { i }.to_string()).collect();
    let cuts = sample(KeyType::Int, &keys, 0, by_value(KeyType::Int)).quantiles(6);
    assert_eq!((cuts.partitions.len(), cuts.partitions[0].to.as_deref()), (6, Some("500")));
    assert_eq!(cuts.skew.to_string(), "5.00");
}

#[test]
fn many_rows_without_key_are_a_partition_of_their_own() {
    let keys: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    let of = |nulls| sample(KeyType::Int, &keys, nulls, by_value(KeyType::Int)).quantiles(4);
    let few = of(5);
    assert_eq!((few.partitions.len(), few.partitions[0].nulls), (4, true));
    assert_eq!(few.partitions[0].to.as_deref(), Some("21"));
    let many = of(40);
    assert_eq!((many.partitions.len(), many.partitions[0].part), (4, Some(Part::Nulls)));
    assert!(many.partitions[1..].iter().all(|partition| !partition.nulls));
    let nothing_else = Sample::of_sorted(KeyType::Int, [(None, 0, true)], 0, 9).quantiles(4);
    assert_eq!(nothing_else.partitions, [PlannedPartition::whole()]);
    assert_eq!(Sample::default().quantiles(4).partitions, [PlannedPartition::whole()]);
}

#[test]
fn values_that_contradict_the_order_are_no_boundary() {
    let row = |key: &str, below, ascends| (Some(key.to_owned()), below, ascends);
    let rows = [row("a", 0, true), row("c", 10, true), row("b", 20, false), row("d", 30, true)];
    let cuts = Sample::of_sorted(KeyType::Text, rows, 40, 0).quantiles(4);
    assert_eq!(cuts.partitions, spans(vec!["c".to_owned()], false));
    let long = "x".repeat(CUT_BYTES_MAX + 1);
    let rows = [row("infinity", 0, true), row("2024-01-31", 10, true), row(&long, 20, true)];
    let cuts = Sample::of_sorted(KeyType::Date, rows, 40, 0).quantiles(4);
    assert_eq!(cuts.partitions, spans(vec!["2024-01-31".to_owned()], false));
}

#[test]
fn statistics_count_the_commonest_values_and_the_rest() {
    let bounds: Vec<_> = (0..=100).map(|i| (i * 10).to_string()).collect();
    let said = Statistics {
        nulls: 100_000,
        common: vec![("505".to_owned(), 400_000), ("1".to_owned(), 100_000)],
        bounds,
    };
    let sample = Sample::of_statistics(KeyType::Int, &said, 4).expect("enough");
    // of a million: 100,000 NULLs, 100,000 of the key 1, 4,000 a step, 400,000 of the key 505
    let cuts = sample.quantiles(4);
    assert_eq!(cuts.partitions[0].to.as_deref(), Some("120"));
    assert_eq!(cuts.partitions.len(), 4);
    assert!(cuts.partitions.iter().any(|partition| partition.from.as_deref() == Some("505")));
    assert_eq!(Sample::of_statistics(KeyType::Int, &said, 64), None, "too coarse");
    assert_eq!(Sample::of_statistics(KeyType::Text, &said, 4), None, "no order but the database's");
    let infinite = Statistics { bounds: vec!["-infinity".to_owned(); 200], ..said };
    assert_eq!(Sample::of_statistics(KeyType::Date, &infinite, 4), None);
    let flags = Statistics {
        common: vec![("0".to_owned(), 600_000), ("1".to_owned(), 400_000)],
        ..Statistics::default()
    };
    let cuts = Sample::of_statistics(KeyType::Int, &flags, 8).expect("all values").quantiles(8);
    assert_eq!(cuts.partitions, spans(vec!["1".to_owned()], false));
}

/// Asks as a server would answer that knows its keys, until no span has too many.
fn estimated(keys: &[i64], count: u32) -> (Sample, usize) {
    let ends = (keys.iter().min().expect("keys"), keys.iter().max().expect("keys"));
    let mut estimates = Estimates::new(KeyType::Int, Value::Int(*ends.0), Value::Int(*ends.1));
    let mut questions = 0;
    loop {
        while let Some((place, partition)) = estimates.question() {
            questions += 1;
            let read =
                |text: &Option<String>| text.as_ref().map(|text| text.parse().expect("a number"));
            let (from, to): (Option<i64>, Option<i64>) =
                (read(&partition.from), read(&partition.to));
            let inside = |key: &&i64| from <= Some(**key) && to.is_none_or(|to| **key < to);
            estimates.answer(place, keys.iter().filter(inside).count() as u64);
        }
        if !estimates.refine(count) {
            return (estimates.sample(0), questions);
        }
    }
}

#[test]
fn an_index_that_is_asked_span_by_span_shows_where_the_rows_are() {
    // 99 of 100 rows in a millionth of the span
    let keys: Vec<i64> = (0..9900).chain((1..=100).map(|i| i * 100_000_000)).collect();
    let (sample, questions) = estimated(&keys, 8);
    let cuts = sample.quantiles(8);
    assert_eq!(cuts.partitions.len(), 8);
    assert!(cuts.skew <= Skew::hundredths(120), "{}", cuts.skew);
    assert!(questions < 1500, "{questions}");
    let (sample, questions) = estimated(&[7; 1000], 8);
    assert_eq!((sample.quantiles(8).partitions.len(), questions), (1, 1));
    let (sample, questions) = estimated(&[i64::MIN, i64::MAX, 0, 1, 2, 3], 3);
    assert!(sample.quantiles(3).partitions.len() <= 3 && questions < 5000, "{questions}");
}

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -20_i64..20]
}

/// Keys of one type as text, and the type.
fn keys() -> impl Strategy<Value = (KeyType, Vec<String>)> {
    let few = 0..60;
    let ints = prop::collection::vec(int().prop_map(|number| number.to_string()), few.clone());
    let decimals = prop::collection::vec(
        prop_oneof![
            (-100_i64..100, 0_u32..4).prop_map(|(number, scale)| (i128::from(number), scale)),
            (any::<i64>(), 0_u32..20).prop_map(|(number, scale)| (i128::from(number), scale)),
            Just((10_i128.pow(38) - 1, 0)),
            Just((1 - 10_i128.pow(38), 30)),
        ]
        .prop_map(|(units, scale)| Decimal::of_units(units, scale).expect("38 digits").to_string()),
        few.clone(),
    );
    // from 4713 before Christ to 5874897, as Postgres has it; its text has up to six digits here
    let dates = prop::collection::vec(
        prop_oneof![-2_440_588_i32..360_000_000, Just(0), Just(-719_162)]
            .prop_map(|days| Value::Date(days).to_text()),
        few.clone(),
    );
    let times = prop::collection::vec(
        prop_oneof![-210_000_000_000_000_000_i64..9_000_000_000_000_000_000, 0_i64..5]
            .prop_map(|micros| Value::Timestamp(micros).to_text()),
        few.clone(),
    );
    let uuids = prop::collection::vec(
        any::<u128>().prop_map(|number| {
            let digits = format!("{number:032x}");
            let part = |from: usize, to: usize| digits[from..to].to_owned();
            [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
        }),
        few.clone(),
    );
    let texts = prop::collection::vec("[a-cA-C'\\\\ é]{0,3}", few);
    prop_oneof![
        ints.prop_map(|keys| (KeyType::Int, keys)),
        decimals.prop_map(|keys| (KeyType::Decimal, keys)),
        dates.prop_map(|keys| (KeyType::Date, keys)),
        times.prop_map(|keys| (KeyType::Timestamp, keys)),
        uuids.prop_map(|keys| (KeyType::Uuid, keys)),
        texts.prop_map(|keys| (KeyType::Text, keys)),
    ]
}

proptest! {
    #[test]
    fn every_key_is_in_exactly_one_stride(a in int(), b in int(), key in int(), count in 1_u32..200) {
        let (least, greatest) = (a.min(b), a.max(b));
        let partitions = ints(least, greatest, count);
        for key in [key, least, greatest, i64::MIN, i64::MAX] {
            let key = key.to_string();
            prop_assert_eq!(holders(&partitions, Some(&key), by_value(KeyType::Int)), 1);
        }
        prop_assert_eq!(holders(&partitions, None, by_value(KeyType::Int)), 1);
        let span = i128::from(greatest) - i128::from(least) + 1;
        prop_assert_eq!(partitions.len() as i128, i128::from(count).min(span));
    }

    #[test]
    fn every_key_of_every_type_is_in_exactly_one_partition(
        (key_type, keys) in keys(), others in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        nulls in 0_u64..40, count in 1_u32..30,
    ) {
        let order = |a: &str, b: &str| match key_type {
            KeyType::Text => by_folded(a, b),
            KeyType::Uuid | KeyType::AsText => a.cmp(b),
            _ => by_value(key_type)(a, b),
        };
        // the sample has some of the keys only: those that are written later are in a partition too
        let seen: Vec<_> = others.iter().filter(|_| !keys.is_empty()).map(|at| at.get(&keys).clone()).collect();
        let cuts = sample(key_type, &seen, nulls, order).quantiles(count);
        prop_assert!(cuts.partitions.len() <= count as usize);
        let mut ways = vec![cuts.partitions];
        if key_type.value_type().is_some() && !keys.is_empty() {
            let mut sorted = keys.clone();
            sorted.sort_by(|a, b| order(a, b));
            let ends = (value(key_type, &sorted[0]), value(key_type, &sorted[sorted.len() - 1]));
            let partitions = cut(key_type, Some(ends), count);
            prop_assert!(partitions.len() <= count as usize);
            ways.push(partitions);
        }
        for partitions in ways {
            for key in &keys {
                prop_assert_eq!(holders(&partitions, Some(key), order), 1, "{} in {:?}", key, partitions);
            }
            prop_assert_eq!(holders(&partitions, None, order), 1);
        }
    }

    #[test]
    fn every_block_is_in_exactly_one_partition(blocks in any::<u32>(), later in any::<u32>(), count in 1_u32..1200) {
        let partitions = block_spans(blocks, count);
        let holds = |partition: &&PlannedPartition, block: u32| match partition.part {
            Some(Part::Blocks { first, end }) => first <= block && end.is_none_or(|end| block < end),
            None => partition.nulls,
            Some(_) => false,
        };
        for block in [0, blocks, blocks / 2, later, u32::MAX] {
            prop_assert_eq!(partitions.iter().filter(|partition| holds(partition, block)).count(), 1);
        }
        prop_assert!(partitions.len() <= 1000 && partitions.len() as u64 <= u64::from(blocks).max(1));
    }

    #[test]
    fn cuts_of_statistics_ascend(
        bounds in prop::collection::vec(-1000_i64..1000, 0..200),
        common in prop::collection::btree_map(-1000_i64..1000, 1_u64..50_000, 0..20),
        nulls in 0_u64..1_000_000, count in 1_u32..30,
    ) {
        let mut bounds = bounds;
        bounds.sort_unstable();
        let text = |number: &i64| number.to_string();
        let said = Statistics {
            nulls,
            common: common.iter().map(|(key, share)| (text(key), *share)).collect(),
            bounds: bounds.iter().map(text).collect(),
        };
        if let Some(sample) = Sample::of_statistics(KeyType::Int, &said, count) {
            let partitions = sample.quantiles(count).partitions;
            for key in -1001_i64..1001 {
                prop_assert_eq!(holders(&partitions, Some(&text(&key)), by_value(KeyType::Int)), 1);
            }
            prop_assert_eq!(holders(&partitions, None, by_value(KeyType::Int)), 1);
        }
    }
}

/// The server reads `y >= 70` as `y >= 1970`: cuts would not ascend in its own comparison.
#[test]
fn a_year_of_mysql_is_no_key() {
    use crate::decoding::columns::mysql::{SourceType, column_for};
    let source = SourceType {
        data_type: "year".to_owned(),
        column_type: "year(4)".to_owned(),
        precision: None,
        scale: None,
        fraction: None,
        checked_json: false,
    };
    let year = column_for("y".to_owned(), &source, true, crds::extract_job::ZeroDates::Fail);
    assert_eq!(KeyType::of(&year), None);
}

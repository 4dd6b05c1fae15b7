use proptest::prelude::*;

use super::*;

fn parse(value_type: WatermarkType, text: &str) -> Value {
    Value::parse(value_type, text).expect(text)
}

#[test]
fn texts_are_pythons() {
    for (value_type, text) in [
        (WatermarkType::Int, "-12"),
        (WatermarkType::Decimal, "12.50"),
        (WatermarkType::Decimal, "-0.05"),
        (WatermarkType::Double, "0.1"),
        (WatermarkType::Double, "123.0"),
        (WatermarkType::Double, "1e+16"),
        (WatermarkType::Double, "1e-05"),
        (WatermarkType::Double, "0.0001"),
        (WatermarkType::Double, "1234567890123456.0"),
        (WatermarkType::Timestamp, "2023-01-31 10:00:00"),
        (WatermarkType::Timestamp, "2023-01-31 10:00:00.000500"),
        (WatermarkType::Timestamp, "1969-12-31 23:59:59.999999"),
        (WatermarkType::Timestamp, "0044-03-15 12:00:00 BC"),
        (WatermarkType::Date, "2024-02-29"),
        (WatermarkType::Date, "12023-01-31"),
    ] {
        assert_eq!(parse(value_type, text).to_text(), text);
    }
}

#[test]
fn the_least_text_of_each_type_is_read_and_written() {
    use WatermarkType::{Date, Decimal, Double, Int, Timestamp};
    for value_type in [Int, Decimal, Double, Timestamp, Date] {
        let text = value_type.minimum_text();
        assert_eq!(parse(value_type, text).to_text(), text);
    }
}

#[test]
fn other_spellings_are_read() {
    for text in [
        "2023-01-31T10:00:00",
        " 2023-01-31 10:00:00.0 ",
        "2023-01-31 10:00",
        "2023-01-31 12:30:00+0230",
        "2023-01-31 05:00:00-05",
        "2023-01-31T10:00:00Z",
        "2023-01-31 10:00:00+00:00",
    ] {
        let read = parse(WatermarkType::Timestamp, text);
        assert_eq!(read.to_text(), "2023-01-31 10:00:00", "{text}");
    }
    assert_eq!(parse(WatermarkType::Date, "2023-01-31 23:00:00-05").to_text(), "2023-01-31");
    assert_eq!(parse(WatermarkType::Date, "1969-12-30 23:00:00").to_text(), "1969-12-30");
    assert_eq!(parse(WatermarkType::Int, "12.0"), Value::Int(12));
    assert_eq!(parse(WatermarkType::Decimal, "1.5E+3").to_text(), "1500");
}

#[test]
fn invalid_values_are_refused() {
    for text in ["infinity", "-Infinity", "NaN", "-inf"] {
        assert_eq!(Value::parse(WatermarkType::Double, text), Err(BadValue::NotFinite), "{text}");
        assert_eq!(Value::parse(WatermarkType::Timestamp, text), Err(BadValue::NotFinite));
    }
    for (value_type, text) in [
        (WatermarkType::Int, "9223372036854775808"),
        (WatermarkType::Int, "1.5"),
        (WatermarkType::Double, "1e999"),
        (WatermarkType::Decimal, "1,5"),
        (WatermarkType::Decimal, "100000000000000000000000000000000000000"),
        (WatermarkType::Timestamp, "2023-02-29 10:00:00"),
        (WatermarkType::Timestamp, "2023-01-31 24:00:00"),
        (WatermarkType::Timestamp, "2023-01-31 10:00:00'; drop table x"),
        (WatermarkType::Date, "2023-13-01"),
        (WatermarkType::Date, "23-01-01"),
    ] {
        assert!(Value::parse(value_type, text).is_err(), "{text}");
    }
}

#[test]
fn the_running_tick_is_left_out() {
    let clock = parse(WatermarkType::Timestamp, "2023-01-31 10:00:00.123456");
    assert_eq!(clock.last_whole_tick(6).to_text(), "2023-01-31 10:00:00.123455");
    assert_eq!(clock.last_whole_tick(3).to_text(), "2023-01-31 10:00:00.122000");
    assert_eq!(clock.last_whole_tick(0).to_text(), "2023-01-31 09:59:59");
    let today = parse(WatermarkType::Date, "2023-01-31 10:00:00");
    assert_eq!(today.last_whole_tick(6).to_text(), "2023-01-30");
    let before_1970 = parse(WatermarkType::Timestamp, "1969-12-31 23:59:59.5");
    assert_eq!(before_1970.last_whole_tick(0).to_text(), "1969-12-31 23:59:58");
}

fn values() -> impl Strategy<Value = (Value, Value)> {
    let finite = || any::<f64>().prop_filter("finite", |number| number.is_finite());
    let decimal = || {
        (-(10_i128.pow(37))..10_i128.pow(37), 0_usize..=37).prop_map(|(unscaled, scale)| {
            let sign = if unscaled < 0 { "-" } else { "" };
            let digits = format!("{:0>38}", unscaled.unsigned_abs());
            let (whole, fraction) = digits.split_at(38 - scale);
            let point = if scale == 0 { "" } else { "." };
            parse(WatermarkType::Decimal, &format!("{sign}{whole}{point}{fraction}"))
        })
    };
    let double =
        move || finite().prop_map(|number| parse(WatermarkType::Double, &format!("{number:e}")));
    prop_oneof![
        any::<(i64, i64)>().prop_map(|(a, b)| (Value::Int(a), Value::Int(b))),
        any::<(i64, i64)>().prop_map(|(a, b)| (Value::Timestamp(a / 2), Value::Timestamp(b / 2))),
        any::<(i32, i32)>().prop_map(|(a, b)| (Value::Date(a / 8), Value::Date(b / 8))),
        (decimal(), decimal()).prop_map(|(a, b)| (a, b)),
        (double(), double()).prop_map(|(a, b)| (a, b)),
    ]
}

proptest! {
    #[test]
    fn text_reads_back_the_same_and_keeps_the_order((a, b) in values()) {
        let again = |value: &Value| parse(value.value_type(), &value.to_text());
        prop_assert_eq!(again(&a), a);
        prop_assert_eq!(again(&a).to_text(), a.to_text());
        prop_assert_eq!(again(&a).cmp(&again(&b)), a.cmp(&b));
    }

    /// Neither text nor a floating point number has this order.
    #[test]
    fn decimals_of_any_scale_are_ordered_by_value(
        a in -10_i128.pow(18)..10_i128.pow(18), b in -10_i128.pow(18)..10_i128.pow(18),
        scales in (0_u32..=18, 0_u32..=18),
    ) {
        let read = |unscaled: i128, scale: u32| {
            parse(WatermarkType::Decimal, &format!("{unscaled}e-{scale}"))
        };
        let exact = (a * 10_i128.pow(18 - scales.0)).cmp(&(b * 10_i128.pow(18 - scales.1)));
        prop_assert_eq!(read(a, scales.0).cmp(&read(b, scales.1)), exact);
    }

    #[test]
    fn whole_numbers_with_the_same_float_are_distinguished(number in (1_i64 << 53)..i64::MAX) {
        let next = parse(WatermarkType::Int, &(number + 1).to_string());
        prop_assert!(parse(WatermarkType::Int, &number.to_string()) < next);
    }

    #[test]
    fn the_last_whole_tick_is_below_the_clock(micros in any::<i64>(), digits in 0_u32..=6) {
        let clock = Value::Timestamp(micros / 2);
        prop_assert!(clock.last_whole_tick(digits) < clock);
    }
}

#[test]
fn a_distance_back_is_seconds_for_times_and_whole_days_for_dates() {
    let back = |value_type, text: &str, distance| {
        Value::parse(value_type, text).expect("a value").back(distance).to_text()
    };
    assert_eq!(back(WatermarkType::Timestamp, "2024-03-01 00:00:10", 20), "2024-02-29 23:59:50");
    assert_eq!(back(WatermarkType::Date, "2024-03-01", 1), "2024-02-29");
    assert_eq!(back(WatermarkType::Date, "2024-03-01", 86_400), "2024-02-29");
    assert_eq!(back(WatermarkType::Decimal, "10.50", 3), "7.50");
}

//! Wire bytes against batches, with an encoder of COPY BINARY as small as it gets.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use proptest::prelude::*;

use super::*;

/// A stream of COPY BINARY: rows of fields, `None` being NULL.
pub(super) fn stream(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        bytes.extend(i16::try_from(row.len()).expect("few fields").to_be_bytes());
        for field in row {
            match field {
                None => bytes.extend((-1_i32).to_be_bytes()),
                Some(value) => {
                    bytes.extend(i32::try_from(value.len()).expect("short").to_be_bytes());
                    bytes.extend(value);
                }
            }
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

pub(super) fn column(name: &str, type_oid: u32, type_modifier: i32) -> Column {
    Column {
        name: name.to_owned(),
        type_oid,
        type_name: format!("type {type_oid}"),
        type_modifier,
        nullable: true,
        target: target_for(type_oid, type_modifier),
    }
}

const fn numeric(precision: i32, scale: i32) -> i32 {
    (precision << 16 | (scale & 0x7FF)) + 4
}

/// `numeric` as the server sends it: no zero groups at either end.
fn numeric_wire(value: i128, scale: u32) -> Vec<u8> {
    let mut digits = value.unsigned_abs().to_string();
    let scale = scale as usize;
    if digits.len() <= scale {
        digits = format!("{digits:0>width$}", width = scale + 1);
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let mut weight = i16::try_from(whole.len() / 4).expect("short") - 1;
    let all = whole + &fraction;
    let groups = all
        .as_bytes()
        .chunks(4)
        .map(|group| std::str::from_utf8(group).expect("digits").parse::<u16>().expect("digits"));
    let mut groups: Vec<u16> = groups.collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    let sign = if value < 0 { 0x4000 } else { 0 };
    let mut bytes = u16::try_from(groups.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(u16::to_be_bytes(sign));
    bytes.extend(u16::try_from(scale).expect("short").to_be_bytes());
    bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    bytes
}

fn decode(columns: &[Column], bytes: &[u8]) -> Result<RecordBatch, DecodeError> {
    let mut decoder = Decoder::new(columns, None)?;
    decoder.feed(bytes)?;
    decoder.finish()?;
    decoder.take_batch()
}

fn decode_one(type_oid: u32, modifier: i32, value: &[u8]) -> Result<RecordBatch, DecodeError> {
    decode(&[column("x", type_oid, modifier)], &stream(&[vec![Some(value.to_vec())]]))
}

fn fault_of(outcome: Result<RecordBatch, DecodeError>) -> Option<Fault> {
    match outcome {
        Err(DecodeError::DecodeValue { column, row: 1, fault, .. }) if column == "x" => Some(fault),
        _ => None,
    }
}

type Seen = Result<Option<(String, String)>, DecodeError>;

/// The least and greatest that a column of these values has.
fn extremes(column: Column, values: &[&[u8]]) -> Seen {
    let mut decoder = Decoder::new(&[column], Some("x"))?;
    let rows: Vec<_> = values.iter().map(|value| vec![Some(value.to_vec())]).collect();
    decoder.feed(&stream(&rows))?;
    decoder.watermarks()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be none")]
fn pair(min: &str, max: &str) -> Option<(String, String)> {
    Some((min.to_owned(), max.to_owned()))
}

/// Microseconds since 2000, as the server counts them.
fn micros_wire(unix_micros: i64) -> [u8; 8] {
    (unix_micros - 946_684_800_000_000).to_be_bytes()
}

#[test]
fn types_without_a_row_become_text() {
    assert_eq!(target_for(oids::NUMERIC, -1), Target::AsText);
    for oid in [0, 18, 26, 142, 600, 869, 1007, 1083, 1186, 1266, 1560, 3904, 16_385] {
        assert_eq!(target_for(oid, -1), Target::AsText, "{oid}");
        assert_eq!(target_for(oid, -1).fidelity(), Fidelity::String);
    }
}

#[test]
fn numeric_is_a_decimal_where_its_digits_fit() {
    let target = |precision, scale| target_for(oids::NUMERIC, numeric(precision, scale));
    assert_eq!(target(12, 2), Target::Decimal { precision: 12, scale: 2 });
    assert_eq!(target(38, 38), Target::Decimal { precision: 38, scale: 38 });
    assert_eq!(target(1, 0), Target::Decimal { precision: 1, scale: 0 });
    for (precision, scale) in [(39, 2), (1000, 0), (3, 5), (5, -2)] {
        assert_eq!(target(precision, scale), Target::AsText, "numeric({precision},{scale})");
    }
}

#[test]
fn the_fingerprint_tells_name_type_and_order_apart() {
    let (a, b) = (column("a", oids::INT4, -1), column("b", oids::TEXT, -1));
    let print = fingerprint(&[a.clone(), b.clone()]);
    assert_eq!(print.len(), 64);
    assert_eq!(print, fingerprint(&[a.clone(), b.clone()]));
    assert_ne!(print, fingerprint(&[b.clone(), a.clone()]));
    assert_ne!(print, fingerprint(&[a, column("b", oids::JSON, -1)]));
    let (ab_c, a_bc) = (
        Column { type_name: "c".into(), ..column("ab", 25, -1) },
        Column { type_name: "bc".into(), ..column("a", 25, -1) },
    );
    assert_ne!(fingerprint(&[ab_c]), fingerprint(&[a_bc]));
}

#[test]
fn uuid_and_json_carry_their_extension_names() {
    let schema = arrow_schema(&[column("u", oids::UUID, -1), column("j", oids::JSONB, -1)]);
    let name = |index: usize| schema.field(index).metadata().get("ARROW:extension:name").cloned();
    assert_eq!(name(0).as_deref(), Some("arrow.uuid"));
    assert_eq!(name(1).as_deref(), Some("arrow.json"));
}

#[test]
fn every_type_reads_its_wire_form() {
    let one = |oid, modifier, value: &[u8]| {
        Arc::clone(decode_one(oid, modifier, value).expect("a good value").column(0))
    };
    assert!(one(oids::BOOL, -1, &[1]).as_boolean().value(0));
    assert_eq!(one(oids::BYTEA, -1, &[0, 255]).as_binary::<i32>().value(0), [0, 255]);
    assert_eq!(one(oids::UUID, -1, &[7; 16]).as_fixed_size_binary().value(0), [7; 16]);
    assert_eq!(one(oids::JSON, -1, b"{}").as_string::<i32>().value(0), "{}");
    assert_eq!(one(oids::JSONB, -1, b"\x01{}").as_string::<i32>().value(0), "{}");
    assert_eq!(
        one(oids::DATE, -1, &0_i32.to_be_bytes()).as_primitive::<Date32Type>().value(0),
        10_957
    );
    for oid in [oids::TIMESTAMP, oids::TIMESTAMPTZ] {
        let array = one(oid, -1, &micros_wire(-1));
        assert_eq!(array.as_primitive::<TimestampMicrosecondType>().value(0), -1);
    }
    // 1234567.89 = groups 123, 4567, 8900 of weight 1
    let wire = [0, 3, 0, 1, 0, 0, 0, 2, 0, 123, 0x11, 0xD7, 0x22, 0xC4];
    let array = one(oids::NUMERIC, numeric(12, 2), &wire);
    assert_eq!(array.as_primitive::<Decimal128Type>().value(0), 123_456_789);
}

#[test]
fn values_that_a_target_cannot_hold_are_refused() {
    let decimal = numeric(5, 2);
    let sign = |sign: u16| {
        let mut wire = vec![0; 8];
        wire[4..6].copy_from_slice(&sign.to_be_bytes());
        wire
    };
    let cases: &[(u32, i32, Vec<u8>, Fault)] = &[
        (oids::NUMERIC, decimal, sign(0xC000), Fault::NotFinite),
        (oids::NUMERIC, decimal, sign(0xD000), Fault::NotFinite),
        (oids::NUMERIC, decimal, sign(0xF000), Fault::NotFinite),
        (oids::NUMERIC, decimal, sign(0x1234), Fault::Length),
        (oids::NUMERIC, decimal, numeric_wire(100_000, 2), Fault::Precision),
        (oids::NUMERIC, decimal, numeric_wire(12_345, 3), Fault::Precision),
        (oids::NUMERIC, decimal, numeric_wire(1, 9), Fault::Precision),
        (oids::NUMERIC, numeric(38, 38), numeric_wire(i128::MAX, 0), Fault::Precision),
        (oids::NUMERIC, decimal, vec![0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], Fault::Malformed),
        (oids::NUMERIC, decimal, vec![0; 7], Fault::Length),
        (oids::DATE, -1, i32::MAX.to_be_bytes().to_vec(), Fault::NotFinite),
        (oids::DATE, -1, i32::MIN.to_be_bytes().to_vec(), Fault::NotFinite),
        (oids::DATE, -1, (i32::MAX - 1).to_be_bytes().to_vec(), Fault::Year),
        (oids::TIMESTAMP, -1, i64::MAX.to_be_bytes().to_vec(), Fault::NotFinite),
        (oids::TIMESTAMPTZ, -1, i64::MIN.to_be_bytes().to_vec(), Fault::NotFinite),
        (oids::TIMESTAMP, -1, (i64::MAX - 1).to_be_bytes().to_vec(), Fault::Year),
        (oids::INT4, -1, vec![0; 8], Fault::Length),
        (oids::UUID, -1, vec![0; 15], Fault::Length),
        (oids::TEXT, -1, vec![0xFF], Fault::Utf8),
        (oids::JSONB, -1, b"\x02{}".to_vec(), Fault::Malformed),
        (oids::JSONB, -1, vec![], Fault::Length),
    ];
    for (oid, modifier, wire, fault) in cases {
        assert_eq!(fault_of(decode_one(*oid, *modifier, wire)), Some(*fault), "{oid} {wire:?}");
    }
}

#[test]
fn errors_name_column_type_and_row_and_no_value() {
    let rows = [vec![Some(b"fine".to_vec())], vec![Some(b"s\xFFcret".to_vec())]];
    let error = decode(&[column("note", oids::TEXT, -1)], &stream(&rows)).expect_err("bad UTF-8");
    assert_eq!(error.to_string(), "decode column note (type 25) in row 2: invalid UTF-8");
}

#[test]
fn a_stream_that_is_not_whole_is_an_error() {
    let columns = [column("x", oids::INT4, -1)];
    let whole = stream(&[vec![Some(vec![0; 4])]]);
    for end in 0..whole.len() {
        assert!(decode(&columns, &whole[..end]).is_err(), "{end} bytes of {}", whole.len());
    }
    assert!(decode(&columns, &whole).is_ok());
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(decode(&columns, &longer), Err(DecodeError::StopAtTrailer { row: 1 }));
    let two = stream(&[vec![None, None]]);
    let error = DecodeError::CountFields { row: 1, expected: 1, found: 2 };
    assert_eq!(decode(&columns, &two), Err(error));
    let mut with_oids = whole;
    with_oids[12] = 1;
    assert_eq!(decode(&columns, &with_oids), Err(DecodeError::ReadHeader));
}

#[test]
fn watermarks_are_written_as_python_writes_them() {
    let float = |value: f64| value.to_be_bytes();
    let cases = [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (1e16, "1e+16"),
        (1e-5, "1e-05"),
        (1.5e300, "1.5e+300"),
        (123_456_789_012_345.6, "123456789012345.6"),
        (-0.0001, "-0.0001"),
        (1e22, "1e+22"),
    ];
    for (value, text) in cases {
        let seen = extremes(column("x", oids::FLOAT8, -1), &[&float(value)]);
        assert_eq!(seen, Ok(pair(text, text)));
    }
    let real = 1.1_f32.to_be_bytes();
    assert_eq!(extremes(column("x", oids::FLOAT4, -1), &[&real]), Ok(pair("1.1", "1.1")));

    let time = column("x", oids::TIMESTAMPTZ, -1);
    let (whole, fraction) =
        (micros_wire(1_675_159_200_000_000), micros_wire(1_675_159_200_000_120));
    let seen = extremes(time.clone(), &[&fraction, &whole]);
    assert_eq!(seen, Ok(pair("2023-01-31 10:00:00", "2023-01-31 10:00:00.000120")));
    let before = micros_wire(-1);
    assert_eq!(
        extremes(time, &[&before]),
        Ok(pair("1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"))
    );

    let days = |unix: i32| (unix - 10_957).to_be_bytes();
    let seen = extremes(column("x", oids::DATE, -1), &[&days(19_388), &days(-1), &days(0)]);
    assert_eq!(seen, Ok(pair("1969-12-31", "2023-01-31")));

    let small = column("x", oids::INT2, -1);
    let seen = extremes(small, &[&7_i16.to_be_bytes(), &(-3_i16).to_be_bytes()]);
    assert_eq!(seen, Ok(pair("-3", "7")));

    let exact = column("x", oids::NUMERIC, numeric(6, 3));
    let seen = extremes(exact, &[&numeric_wire(-5, 3), &numeric_wire(120_000, 3)]);
    assert_eq!(seen, Ok(pair("-0.005", "120.000")));
}

#[test]
fn numeric_without_precision_is_compared_as_a_number() {
    let texts: &[&[u8]] =
        &[b"9.5", b"-10", b"10.25", b"010.2", b"-9.99999999999999999999999999999999999999999"];
    let seen = extremes(column("x", oids::NUMERIC, -1), texts);
    assert_eq!(seen, Ok(pair("-10", "10.25")));
    let seen = extremes(column("x", oids::NUMERIC, -1), &[b"0.00", b"-0.000"]);
    assert_eq!(seen, Ok(pair("0.00", "0.00")), "equal values: the first stays");
    for text in [b"NaN".as_slice(), b"Infinity", b"-Infinity"] {
        let outcome = extremes(column("x", oids::NUMERIC, -1), &[text]);
        assert!(outcome.is_err_and(|error| error.is_not_finite()));
    }
}

#[test]
fn watermarks_without_a_text_are_refused() {
    let infinite = f64::INFINITY.to_be_bytes();
    let outcome = extremes(column("x", oids::FLOAT8, -1), &[&infinite]);
    assert!(outcome.is_err_and(|error| error.is_not_finite()));
    // 4713 BC and 10000 AD are good values of a column, but no text of the tracking table
    for days in [-2_440_588 - 10_957, 2_932_897 - 10_957] {
        let outcome = extremes(column("x", oids::DATE, -1), &[&i32::to_be_bytes(days)]);
        assert!(matches!(outcome, Err(DecodeError::WriteWatermark { .. })), "{days}");
    }
    for name in ["x", "y"] {
        let columns = [column("x", oids::UUID, -1)];
        assert!(matches!(
            Decoder::new(&columns, Some(name)),
            Err(DecodeError::TrackWatermark { .. })
        ));
    }
}

#[test]
fn nulls_are_no_watermarks() {
    let mut decoder = Decoder::new(&[column("x", oids::INT8, -1)], Some("x")).expect("a column");
    decoder.feed(&stream(&[vec![None], vec![None]])).expect("good rows");
    assert_eq!((decoder.rows(), decoder.watermarks()), (2, Ok(None)));
    assert_eq!(decoder.take_batch().expect("a batch").column(0).null_count(), 2);
}

#[test]
fn bytes_held_count_what_is_not_taken() {
    let mut decoder = Decoder::new(&[column("x", oids::TEXT, -1)], None).expect("no watermark");
    let bytes = stream(&[vec![Some(vec![b'a'; 1000])], vec![Some(vec![b'b'; 500])]]);
    decoder.feed(&bytes[..1300]).expect("good rows");
    assert_eq!(decoder.batch_rows(), 1);
    // text and offset of one row, and the 275 bytes of the other that have come
    assert_eq!(decoder.bytes_held(), 1004 + 1300 - 19 - 1006);
    decoder.take_batch().expect("a batch");
    assert_eq!(decoder.bytes_held(), 275);
}

/// One value of each type, and its wire form.
#[derive(Debug, Clone)]
struct Row {
    whole: (Option<i16>, Option<i32>, Option<i64>),
    floats: (Option<f32>, Option<f64>),
    decimals: (Option<i128>, Option<i128>),
    text: Option<String>,
    binary: Option<Vec<u8>>,
    time: (Option<i32>, Option<i64>),
    flag: Option<bool>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let whole = (any::<Option<i16>>(), any::<Option<i32>>(), any::<Option<i64>>());
    let floats = (any::<Option<f32>>(), any::<Option<f64>>());
    let large = -(10_i128.pow(38) - 1)..10_i128.pow(38);
    let decimals = (
        proptest::option::of(-999_999_999_999_i128..1_000_000_000_000),
        proptest::option::of(prop_oneof![large, Just(0), -10_000_i128..10_000]),
    );
    let time = (
        proptest::option::of(-2_500_000..2_500_000),
        proptest::option::of(-200_000_000_000_000_000_i64..200_000_000_000_000_000),
    );
    let rest = (any::<Option<String>>(), any::<Option<Vec<u8>>>(), any::<Option<bool>>());
    let row = (whole, floats, decimals, time, rest).prop_map(
        |(whole, floats, decimals, time, (text, binary, flag))| Row {
            whole,
            floats,
            decimals,
            text,
            binary,
            time,
            flag,
        },
    );
    proptest::collection::vec(row, 0..20)
}

fn all_columns() -> Vec<Column> {
    let types = [
        (oids::INT2, -1),
        (oids::INT4, -1),
        (oids::INT8, -1),
        (oids::FLOAT4, -1),
        (oids::FLOAT8, -1),
        (oids::NUMERIC, numeric(12, 2)),
        (oids::NUMERIC, numeric(38, 10)),
        (oids::TEXT, -1),
        (oids::BYTEA, -1),
        (oids::DATE, -1),
        (oids::TIMESTAMP, -1),
        (oids::BOOL, -1),
    ];
    types
        .iter()
        .enumerate()
        .map(|(index, (oid, modifier))| column(&format!("c{index}"), *oid, *modifier))
        .collect()
}

fn wire(row: &Row) -> Vec<Option<Vec<u8>>> {
    vec![
        row.whole.0.map(|value| value.to_be_bytes().to_vec()),
        row.whole.1.map(|value| value.to_be_bytes().to_vec()),
        row.whole.2.map(|value| value.to_be_bytes().to_vec()),
        row.floats.0.map(|value| value.to_be_bytes().to_vec()),
        row.floats.1.map(|value| value.to_be_bytes().to_vec()),
        row.decimals.0.map(|value| numeric_wire(value, 2)),
        row.decimals.1.map(|value| numeric_wire(value, 10)),
        row.text.as_ref().map(|value| value.as_bytes().to_vec()),
        row.binary.clone(),
        row.time.0.map(|value| value.to_be_bytes().to_vec()),
        row.time.1.map(|value| micros_wire(value).to_vec()),
        row.flag.map(|value| vec![u8::from(value)]),
    ]
}

fn unwire(batch: &RecordBatch, at: usize) -> Row {
    let valid =
        |index: usize| batch.column(index).is_valid(at).then(|| batch.column(index).as_ref());
    Row {
        whole: (
            valid(0).map(|array| array.as_primitive::<Int16Type>().value(at)),
            valid(1).map(|array| array.as_primitive::<Int32Type>().value(at)),
            valid(2).map(|array| array.as_primitive::<Int64Type>().value(at)),
        ),
        floats: (
            valid(3).map(|array| array.as_primitive::<Float32Type>().value(at)),
            valid(4).map(|array| array.as_primitive::<Float64Type>().value(at)),
        ),
        decimals: (
            valid(5).map(|array| array.as_primitive::<Decimal128Type>().value(at)),
            valid(6).map(|array| array.as_primitive::<Decimal128Type>().value(at)),
        ),
        text: valid(7).map(|array| array.as_string::<i32>().value(at).to_owned()),
        binary: valid(8).map(|array| array.as_binary::<i32>().value(at).to_vec()),
        time: (
            valid(9).map(|array| array.as_primitive::<Date32Type>().value(at) - 10_957),
            valid(10).map(|array| array.as_primitive::<TimestampMicrosecondType>().value(at)),
        ),
        flag: valid(11).map(|array| array.as_boolean().value(at)),
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(rows in rows()) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let batch = decode(&all_columns(), &stream(&fields)).expect("good rows");
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (at, row) in rows.iter().enumerate() {
            // floats by their bits: NaN and -0.0 must come through too
            prop_assert_eq!(wire(&unwire(&batch, at)), wire(row));
        }
    }

    #[test]
    fn chunks_may_be_cut_anywhere(rows in rows(), cuts in proptest::collection::vec(1_usize..90, 1..30)) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let bytes = stream(&fields);
        let whole = decode(&all_columns(), &bytes).expect("good rows");
        let mut decoder = Decoder::new(&all_columns(), Some("c2")).expect("a column");
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
            decoder.feed(chunk).expect("good rows");
            rest = tail;
        }
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoder.take_batch().expect("a batch"), whole);
        let seen: Vec<i64> = rows.iter().filter_map(|row| row.whole.2).collect();
        let expected = seen.iter().min().zip(seen.iter().max());
        let expected = expected.map(|(min, max)| (min.to_string(), max.to_string()));
        prop_assert_eq!(decoder.watermarks(), Ok(expected));
    }

    #[test]
    fn batches_taken_on_the_way_lose_nothing(rows in rows(), cut in 1_usize..200) {
        let fields: Vec<_> = rows.iter().map(wire).collect();
        let mut decoder = Decoder::new(&all_columns(), None).expect("no watermark");
        let mut taken = 0;
        for chunk in stream(&fields).chunks(cut) {
            decoder.feed(chunk).expect("good rows");
            taken += decoder.take_batch().expect("a batch").num_rows();
        }
        prop_assert_eq!((taken, decoder.rows()), (rows.len(), rows.len() as u64));
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1_usize..300) {
        let header = &stream(&[])[..19];
        let columns = all_columns();
        for start in [&[][..], header, &[header, &[0, 12]].concat()] {
            let mut decoder = Decoder::new(&columns, Some("c5")).expect("a column");
            let all = [start, &bytes].concat();
            if all.chunks(cut).all(|chunk| decoder.feed(chunk).is_ok()) {
                decoder.take_batch().expect("columns of one length");
            }
        }
    }

    #[test]
    fn any_value_is_a_value_or_an_error(index in 0_usize..12, value in proptest::collection::vec(any::<u8>(), 0..24)) {
        let columns = all_columns();
        let mut row = vec![None; columns.len()];
        row[index] = Some(value);
        // the only promise: no panic, and whatever is taken is of the right number of rows
        if let Ok(batch) = decode(&columns, &stream(&[row])) {
            prop_assert_eq!(batch.num_rows(), 1);
        }
    }

    #[test]
    fn decimal_texts_are_ordered_as_their_numbers(left in any::<i64>(), right in any::<i64>(), scale in 0_i8..19) {
        let text = |value: i64| decimal::text(i128::from(value), scale).into_bytes();
        let order = decimal::compare_text(&text(left), &text(right));
        prop_assert_eq!(order, Ok(left.cmp(&right)));
    }
}

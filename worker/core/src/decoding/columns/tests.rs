//! Wire bytes against batches.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};

use super::samples::copy::{HEADER_BYTES, message, micros_wire, numeric, numeric_wire};
pub(super) use super::samples::copy::{column, stream};
use super::*;

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

#[test]
fn types_without_a_row_become_text() {
    assert_eq!(target_for(oids::NUMERIC, -1), Target::AsText);
    for oid in [0, 18, 142, 600, 869, 1007, 1186, 1266, 1560, 3904, 16_385] {
        assert_eq!(target_for(oid, -1), Target::AsText, "{oid}");
        assert_eq!(column("x", oid, -1).fidelity(), Fidelity::String);
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
fn the_fingerprint_depends_on_name_type_and_order() {
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
fn names_that_differ_by_case_alone_are_found() {
    let columns = ["b", "A", "É", "a", "é", "ab"].map(|name| column(name, oids::INT4, -1));
    assert_eq!(differ_by_case(&columns), ["A", "a", "É", "é"]);
    assert_eq!(differ_by_case(&columns[..3]), [""; 0]);
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
    let time = one(oids::TIME, -1, &86_399_999_999_i64.to_be_bytes());
    assert_eq!(time.as_primitive::<Time64MicrosecondType>().value(0), 86_399_999_999);
    for oid in [oids::OID, oids::XID, oids::CID] {
        let array = one(oid, -1, &[255; 4]);
        assert_eq!(array.as_primitive::<Int64Type>().value(0), 4_294_967_295);
    }
    // 1234567.89 = groups 123, 4567, 8900 of weight 1
    let wire = [0, 3, 0, 1, 0, 0, 0, 2, 0, 123, 0x11, 0xD7, 0x22, 0xC4];
    let array = one(oids::NUMERIC, numeric(12, 2), &wire);
    assert_eq!(array.as_primitive::<Decimal128Type>().value(0), 123_456_789);
}

#[test]
fn values_that_a_target_cannot_represent_are_refused() {
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
        (oids::TIME, -1, 86_400_000_000_i64.to_be_bytes().to_vec(), Fault::EndOfDay),
        (oids::TIME, -1, 86_400_000_001_i64.to_be_bytes().to_vec(), Fault::Malformed),
        (oids::TIME, -1, (-1_i64).to_be_bytes().to_vec(), Fault::Malformed),
        (oids::TIME, -1, vec![0; 4], Fault::Length),
        (oids::OID, -1, vec![0; 8], Fault::Length),
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
    assert_eq!(error.to_string(), "cannot decode column note (type 25) in row 2: invalid UTF-8");
}

#[test]
fn a_stream_that_is_not_whole_is_an_error() {
    let columns = [column("x", oids::INT4, -1)];
    let whole = stream(&[vec![Some(vec![0; 4])]]);
    for end in 0..whole.len() {
        assert!(decode(&columns, &whole[..end]).is_err(), "{end} bytes of {}", whole.len());
    }
    assert!(decode(&columns, &whole).is_ok());
    let trailer = Err(DecodeError::StopAtTrailer { row: 1 });
    for after in [message(&[]), message(&(-1_i16).to_be_bytes()), b"d".to_vec()] {
        let longer = [whole.clone(), after].concat();
        assert_eq!(decode(&columns, &longer), trailer);
    }
    let same_message = message(&[&stream_content(&[])[..], &[0]].concat());
    assert_eq!(decode(&columns, &same_message), Err(DecodeError::StopAtTrailer { row: 0 }));
    let two = stream(&[vec![None, None]]);
    let error = DecodeError::CountFields { row: 1, expected: 1, found: 2 };
    assert_eq!(decode(&columns, &two), Err(error));
    let mut with_oids = whole;
    // the second byte of the flags
    with_oids[HEADER_BYTES - 7] = 1;
    assert_eq!(decode(&columns, &with_oids), Err(DecodeError::ReadHeader));
}

/// The concatenated contents of the messages of a stream.
fn stream_content(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let (mut content, stream) = (Vec::new(), stream(rows));
    let mut rest = stream.as_slice();
    while let [b'd', a, b, c, d, ..] = rest {
        let end = 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        content.extend_from_slice(&rest[5..end]);
        rest = &rest[end..];
    }
    content
}

#[test]
fn message_with_many_rows_is_decoded_and_row_in_two_messages_is_an_error() {
    let columns = [column("x", oids::INT4, -1)];
    let rows: Vec<_> = (0..600_i32).map(|i| vec![Some(i.to_be_bytes().to_vec())]).collect();
    let content = stream_content(&rows);
    let whole = decode(&columns, &stream(&rows)).expect("good rows");
    assert_eq!(decode(&columns, &message(&content)), Ok(whole));
    for end in 20..content.len() - 2 {
        let cut = [message(&content[..end]), message(&content[end..])].concat();
        // each row has 10 bytes, after a header of 19 bytes
        let expected = ((end - 19) % 10 != 0)
            .then_some(DecodeError::ReadPacket { row: 1 + (end as u64 - 19) / 10 });
        assert_eq!(decode(&columns, &cut).err(), expected, "{end}");
    }
}

#[test]
fn several_bad_values_report_the_one_in_the_first_row() {
    let columns =
        [column("a", oids::INT4, -1), column("b", oids::TEXT, -1), column("c", oids::INT4, -1)];
    let good = || vec![Some(vec![0; 4]), Some(b"x".to_vec()), Some(vec![0; 4])];
    for (bad_a, bad_b, bad_c) in [(3, 2, 5), (5, 3, 2), (4, 4, 4), (700, 300, 301), (2, 9, 9)] {
        let mut rows: Vec<_> = (0..1000).map(|_| good()).collect();
        rows[bad_a - 1][0] = Some(vec![0; 3]);
        rows[bad_b - 1][1] = Some(vec![0xFF]);
        rows[bad_c - 1][2] = Some(vec![0; 5]);
        let first = [(bad_a, "a"), (bad_b, "b"), (bad_c, "c")].into_iter().min().expect("three");
        match decode(&columns, &stream(&rows)) {
            Err(DecodeError::DecodeValue { column, row, .. }) => {
                assert_eq!((row, column.as_str()), (first.0 as u64, first.1));
            }
            other => unreachable!("{other:?}"),
        }
    }
}

#[test]
fn texts_that_are_valid_utf8_only_when_joined_are_refused() {
    let columns = [column("x", oids::TEXT, -1)];
    let text = |bytes: &[u8]| vec![Some(bytes.to_vec())];
    let euro = "€".as_bytes();
    for cut in 1..euro.len() {
        let rows = [text(b"a"), text(&euro[..cut]), text(&euro[cut..]), text(b"b")];
        let error = decode(&columns, &stream(&rows)).expect_err("no text");
        assert!(
            matches!(error, DecodeError::DecodeValue { row: 2, fault: Fault::Utf8, .. }),
            "{error:?}"
        );
    }
    let rows = [text(euro), vec![None], text(b""), text(&[b'a'; 100]), text(euro)];
    let batch = decode(&columns, &stream(&rows)).expect("good texts");
    let found: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(found, [Some("€"), None, Some(""), Some("a".repeat(100).as_str()), Some("€")]);
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
    for (oid, name) in [(oids::UUID, "x"), (oids::OID, "x"), (oids::TIME, "x"), (oids::INT4, "y")] {
        let columns = [column("x", oid, -1)];
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
fn bytes_held_count_rows_not_yet_flushed() {
    let mut decoder = Decoder::new(&[column("x", oids::TEXT, -1)], None).expect("no watermark");
    let bytes = stream(&[vec![Some(vec![b'a'; 1000])], vec![Some(vec![b'b'; 500])]]);
    // bytes of the first message: head, header, count of fields, length and text
    let first = HEADER_BYTES + 2 + 4 + 1000;
    decoder.feed(&bytes[..first + 280]).expect("good rows");
    assert_eq!(decoder.batch_rows(), 1);
    // text and offset of the first row, and the received bytes of the second
    assert_eq!(decoder.bytes_held(), 1004 + 280);
    decoder.take_batch().expect("a batch");
    assert_eq!(decoder.bytes_held(), 280);
}

/// A mapping table as the documentation shows it.
pub(super) fn page<'a>(
    rows: impl Iterator<Item = (&'a str, &'a str, Fidelity, &'a str)>,
) -> String {
    let mut text = "| type | Parquet type | fidelity | reason |\n|---|---|---|---|\n".to_owned();
    for (source, parquet, fidelity, reason) in rows {
        let kept = fidelity.name();
        // writing to a String cannot fail
        let _ = writeln!(text, "| {source} | {parquet} | {kept} | {reason} |");
    }
    text
}

mod mutations;
mod properties;

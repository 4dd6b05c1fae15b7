//! Packets against batches.

use arrow_array::Array as _;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_schema::DataType;
use crds::extract_job::ZeroDates;
use crds::source::Engine;
use proptest::prelude::*;

use super::*;
use crate::decoding::columns::samples::packets::{date, end, packet, row, source, text, with};
use crate::decoding::columns::tests::page;
use crate::decoding::columns::{Column, DecodeError, Decoder, Fault, Fidelity, Target};

fn plain(column_type: &str) -> Column {
    with(column_type, ZeroDates::Fail)
}

pub(in crate::decoding::columns) fn decode(
    column: &Column,
    value: Vec<u8>,
) -> Result<RecordBatch, DecodeError> {
    let mut decoder = Decoder::of(Engine::Mysql, std::slice::from_ref(column), None)?;
    let mut bytes = row(&[Some(value)]);
    bytes.extend(row(&[None]));
    bytes.extend(end());
    decoder.feed(&bytes)?;
    decoder.finish()?;
    decoder.take_batch()
}

fn fault(column: &Column, value: Vec<u8>) -> Option<Fault> {
    match decode(column, value) {
        Err(DecodeError::DecodeValue { row: 1, fault, .. }) => Some(fault),
        _ => None,
    }
}

#[test]
fn every_type_has_a_row_and_every_form_a_number_of_its_own() {
    for form in Form::ALL {
        assert_eq!(Form::of(form.code()), form);
    }
    for mapping in MAPPINGS {
        assert_eq!(mapping.fidelity == Fidelity::Exact, mapping.reason.is_empty(), "{mapping:?}");
    }
    for (column_type, expected) in [
        ("tinyint(1)", Target::Int16),
        ("int(10) unsigned zerofill", Target::Int64),
        ("bigint(20) unsigned", Target::Decimal { precision: 20, scale: 0 }),
        ("decimal(38,10)", Target::Decimal { precision: 38, scale: 10 }),
        ("decimal(39,0)", Target::AsText),
        ("bit(1)", Target::Boolean),
        ("bit(63)", Target::Int64),
        ("bit(64)", Target::Decimal { precision: 20, scale: 0 }),
        ("point", Target::Binary),
        ("year(4)", Target::Int16),
        ("nonsense", Target::AsText),
    ] {
        assert_eq!(plain(column_type).target, expected, "{column_type}");
    }
    assert_eq!(with("datetime(6)", ZeroDates::String).target, Target::AsText);
    let kept =
        |policy| ["date", "datetime(6)", "timestamp"].map(|name| with(name, policy).fidelity());
    assert_eq!(kept(ZeroDates::Fail), [Fidelity::Exact; 3]);
    assert_eq!(kept(ZeroDates::Null), [Fidelity::Lossy; 3]);
    assert_eq!(kept(ZeroDates::String), [Fidelity::String; 3]);
    let mut json = source("longtext", "longtext", None, 0);
    assert_eq!(mapping_for(&json, ZeroDates::Fail).source, "longtext");
    json.checked_json = true;
    assert_eq!(mapping_for(&json, ZeroDates::Fail).source, "json");
}

#[test]
fn numbers_arrive_to_the_last_digit() {
    let whole = |column_type, value: &[u8]| {
        let batch = decode(&plain(column_type), value.to_vec()).expect(column_type);
        assert!(batch.column(0).is_null(1), "{column_type}");
        batch
    };
    let small = whole("tinyint", &[0x80]);
    assert_eq!(small.column(0).as_primitive::<Int16Type>().value(0), -128);
    let unsigned = whole("smallint unsigned", &[0xFF, 0xFF]);
    assert_eq!(unsigned.column(0).as_primitive::<Int32Type>().value(0), 65_535);
    let unsigned = whole("bigint unsigned", &[0xFF; 8]);
    let value = unsigned.column(0).as_primitive::<Decimal128Type>().value(0);
    assert_eq!(value, i128::from(u64::MAX));
    let bits = whole("bit(12)", &text(&[0x08, 0x01]));
    assert_eq!(bits.column(0).as_primitive::<Int64Type>().value(0), 2049);
    for (value, expected) in [("-12.5", -1250), ("0.01", 1), ("7", 700), ("1.2300", 123)] {
        let batch = whole("decimal(12,2)", &text(value.as_bytes()));
        let found = batch.column(0).as_primitive::<Decimal128Type>().value(0);
        assert_eq!(found, expected, "{value}");
    }
    let decimal = plain("decimal(4,2)");
    assert_eq!(fault(&decimal, text(b"1.234")), Some(Fault::Precision));
    assert_eq!(fault(&decimal, text(b"100.00")), Some(Fault::Precision));
    for malformed in ["", "-", ".", "1.2.3", "1e5", "nan"] {
        assert_eq!(
            fault(&decimal, text(malformed.as_bytes())),
            Some(Fault::Malformed),
            "{malformed}"
        );
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    let days = |year, month, day| {
        let batch = decode(&plain("date"), date(year, &[month, day])).expect("a date");
        batch.column(0).as_primitive::<Date32Type>().value(0)
    };
    assert_eq!(days(1970, 1, 1), 0);
    let mut civil = jiff::civil::date(0, 1, 1);
    let epoch = jiff::civil::date(1970, 1, 1);
    while civil.year() < 9999 {
        let (month, day) = (civil.month().cast_unsigned(), civil.day().cast_unsigned());
        let expected = (civil - epoch).get_days();
        assert_eq!(days(civil.year().cast_unsigned(), month, day), expected, "{civil}");
        civil = civil.saturating_add(jiff::Span::new().days(97));
    }
    let moment =
        decode(&plain("datetime(6)"), date(2000, &[2, 29, 23, 59, 59, 0x3F, 0x42, 0x0F, 0]));
    let moment = moment.expect("a moment");
    let micros = moment.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(micros, 951_868_799_999_999);
}

#[test]
fn zero_and_incomplete_dates_follow_the_policy() {
    let zero = [
        vec![0],
        date(0, &[0, 0]),
        date(2023, &[0, 15]),
        date(2023, &[1, 0]),
        date(2023, &[2, 29]),
    ];
    for value in zero {
        assert_eq!(fault(&plain("date"), value.clone()), Some(Fault::ZeroDate));
        for column_type in ["date", "datetime", "timestamp"] {
            let batch = decode(&with(column_type, ZeroDates::Null), value.clone()).expect("NULL");
            assert!(batch.column(0).is_null(0));
        }
    }
    assert_eq!(fault(&plain("datetime"), date(2023, &[1, 1, 24, 0, 0])), Some(Fault::Malformed));
    assert_eq!(fault(&plain("datetime"), date(2023, &[1])), Some(Fault::Length));
}

#[test]
fn a_row_of_several_packets_is_joined() {
    for length in [0xFF_FFFF - 20, 0xFF_FFFF - 6, 0xFF_FFFF, 0xFF_FFFF * 2] {
        let batch = decode(&plain("longblob"), text(&vec![7; length])).expect("a long row");
        assert_eq!(batch.column(0).as_binary::<i32>().value(0).len(), length);
    }
}

#[test]
fn a_broken_stream_is_tried_again_and_a_broken_value_is_not() {
    let feed = |bytes: &[u8]| {
        let mut decoder = Decoder::of(Engine::Mysql, &[plain("int")], None).expect("a decoder");
        decoder.feed(bytes).and_then(|()| decoder.finish()).expect_err("broken")
    };
    assert_eq!(feed(&row(&[None])), DecodeError::ReachEnd { row: 1 });
    assert_eq!(feed(&packet(&[9])), DecodeError::ReadPacket { row: 1 });
    assert_eq!(feed(&row(&[Some(vec![1, 2, 3, 4, 5])])), DecodeError::ReadPacket { row: 1 });
    assert!(matches!(feed(&row(&[Some(vec![1, 2])])), DecodeError::MeasureValue { .. }));
    let mut after = end();
    after.extend(end());
    assert_eq!(feed(&after), DecodeError::StopAtTrailer { row: 0 });
    assert!(feed(&packet(&[9])).is_transient());
}

#[test]
fn the_watermark_maximum_is_tracked_while_rows_are_decoded() {
    let seen = |column: Column, values: &[Vec<u8>]| {
        let mut decoder = Decoder::of(Engine::Mysql, &[column], Some("x")).expect("a watermark");
        for value in values {
            decoder.feed(&row(&[Some(value.clone())])).expect("a row");
        }
        decoder.watermarks().expect("texts")
    };
    let pair = |min: &str, max: &str| Some((min.to_owned(), max.to_owned()));
    let numbers = [vec![5, 0, 0, 0], vec![0xFE, 0xFF, 0xFF, 0xFF]];
    assert_eq!(seen(plain("int"), &numbers), pair("-2", "5"));
    let unsigned = [vec![0xFF; 8], vec![1, 0, 0, 0, 0, 0, 0, 0]];
    assert_eq!(seen(plain("bigint unsigned"), &unsigned), pair("1", "18446744073709551615"));
    let days = [date(2020, &[3, 1]), date(2020, &[2, 29])];
    assert_eq!(seen(plain("date"), &days), pair("2020-02-29", "2020-03-01"));
    let zero = with("date", ZeroDates::Null);
    assert_eq!(seen(zero, &[vec![0]]), None);
    let wide = [text(b"10.5"), text(b"9.5")];
    assert_eq!(seen(plain("decimal(65,1)"), &wide), pair("9.5", "10.5"));
}

fn printed() -> String {
    page(MAPPINGS.iter().map(|row| (row.source, row.parquet, row.fidelity, row.reason)))
}

#[test]
fn the_documentation_has_the_mapping_table() {
    let page = include_str!("../../../../../../docs/mysql.md");
    assert!(page.contains(&printed()), "put this into docs/mysql.md:\n{}", printed());
}

const TYPES: [&str; 14] = [
    "tinyint",
    "smallint unsigned",
    "int",
    "bigint",
    "bigint unsigned",
    "float",
    "double",
    "decimal(12,2)",
    "bit(12)",
    "date",
    "datetime(6)",
    "varchar(9)",
    "blob",
    "uuid",
];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(payloads in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..80), 0..6)) {
        for column_type in TYPES {
            let columns = [plain(column_type), plain("int"), plain("varchar(3)")];
            let mut decoder = Decoder::of(Engine::Mysql, &columns, None).expect("a decoder");
            for payload in &payloads {
                let mut row = vec![0, 0];
                row.extend(payload);
                if decoder.feed(&packet(&row)).is_err() {
                    break;
                }
            }
            let mut raw = Decoder::of(Engine::Mysql, &columns, None).expect("a decoder");
            let _ = payloads.iter().try_for_each(|payload| raw.feed(payload));
        }
    }

    #[test]
    fn pieces_decode_to_the_same_rows_as_the_whole(
        values in proptest::collection::vec((any::<Option<i64>>(), any::<Option<String>>()), 0..20),
        size in 1_usize..50,
    ) {
        let columns = [plain("bigint"), plain("text")];
        let mut bytes = Vec::new();
        for (number, words) in &values {
            bytes.extend(row(&[
                number.map(|number| number.to_le_bytes().to_vec()),
                words.as_ref().map(|words| text(words.as_bytes())),
            ]));
        }
        bytes.extend(end());
        let mut decoder = Decoder::of(Engine::Mysql, &columns, None).expect("a decoder");
        for piece in bytes.chunks(size) {
            decoder.feed(piece).expect("a piece");
        }
        decoder.finish().expect("an end");
        let batch = decoder.take_batch().expect("a batch");
        prop_assert_eq!(batch.num_rows(), values.len());
        for (index, (number, words)) in values.iter().enumerate() {
            let numbers = batch.column(0).as_primitive::<Int64Type>();
            prop_assert_eq!(numbers.is_valid(index).then(|| numbers.value(index)), *number);
            let texts = batch.column(1).as_string::<i32>();
            prop_assert_eq!(texts.is_valid(index).then(|| texts.value(index)), words.as_deref());
        }
    }
}

/// Types of the protocol for whole numbers, with or without sign, and their bytes.
const WHOLE: [(u8, bool, usize); 10] = [
    (1, false, 1),
    (1, true, 1),
    (2, false, 2),
    (2, true, 2),
    (13, true, 2),
    (3, false, 4),
    (3, true, 4),
    (9, false, 4),
    (8, false, 8),
    (8, true, 8),
];

fn announced(column: &Column, form: Form, value: &[u8]) -> Result<RecordBatch, DecodeError> {
    let mut decoder = Decoder::of(Engine::Mysql, std::slice::from_ref(column), None)?;
    decoder.feed(&announcement(&[form]))?;
    decoder.feed(&[row(&[Some(value.to_vec())]), row(&[None]), end()].concat())?;
    decoder.finish()?;
    decoder.take_batch()
}

/// The first row's whole number.
fn whole(batch: &RecordBatch) -> i128 {
    let column = batch.column(0);
    match column.data_type() {
        DataType::Int16 => column.as_primitive::<Int16Type>().value(0).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(0).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(0).into(),
        _ => column.as_primitive::<Decimal128Type>().value(0),
    }
}

#[test]
fn whole_number_of_any_width_arrives_as_the_column_that_the_plan_has() {
    for column_type in [
        "tinyint",
        "tinyint unsigned",
        "smallint",
        "smallint unsigned",
        "mediumint",
        "int",
        "int unsigned",
        "bigint",
        "bigint unsigned",
        "year",
    ] {
        let column = plain(column_type);
        let planned = Form::of(column.type_oid);
        let value = |form: Form, bytes: &[u8]| {
            let batch = announced(&column, form, bytes).expect("decoded");
            assert!(batch.column(0).is_null(1));
            whole(&batch)
        };
        for (protocol_type, unsigned, width) in WHOLE {
            let form = planned.arriving(protocol_type, unsigned).expect("a whole number");
            let mut bytes = vec![0; width];
            bytes[0] = 5;
            assert_eq!(value(form, &bytes), 5, "{column_type} as {form:?}");
        }
        // what does not fit is no other number
        let huge = announced(&column, Form::U64, &[0xFF; 8]);
        let fits = column_type == "bigint unsigned";
        assert_eq!(huge.is_ok(), fits, "{column_type}");
        // text, a double, a date
        for protocol_type in [253, 5, 10] {
            assert_eq!(planned.arriving(protocol_type, false), None, "{column_type}");
        }
        assert_eq!(planned.arriving(6, false), Some(planned), "a column of NULLs");
    }
}

#[test]
fn other_columns_come_in_no_other_form_and_nothing_is_announced_after_a_row() {
    for column_type in ["float", "double", "date", "varchar(9)", "decimal(9,2)", "bit(3)"] {
        let form = Form::of(plain(column_type).type_oid);
        assert_eq!(form.arriving(8, false), None, "{column_type}");
    }
    let column = plain("int");
    let mut decoder =
        Decoder::of(Engine::Mysql, std::slice::from_ref(&column), None).expect("a decoder");
    let late = [row(&[None]), announcement(&[Form::I64])].concat();
    assert!(decoder.feed(&late).is_err());
    let mut decoder = Decoder::of(Engine::Mysql, &[column], None).expect("a decoder");
    assert!(decoder.feed(&announcement(&[Form::I64, Form::I64])).is_err());
}

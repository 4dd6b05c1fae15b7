//! Every type that has a logical type in Parquet, and values at and beyond its borders as the servers send them.

use crds::extract_job::ZeroDates;
use crds::source::Engine;
use worker_core::decoding::columns::{Column, mysql, oids, postgres};

use crate::wire::{Dice, text};

/// How values of a type come: those at the borders, and others.
pub(super) type Values = (fn() -> Vec<Vec<u8>>, fn(&mut Dice) -> Vec<u8>);

pub(super) struct Kind {
    pub(super) engine: Engine,
    pub(super) column: Column,
    pub(super) values: Values,
}

fn of_postgres(oid: u32, modifier: i32, name: &str, values: Values) -> Kind {
    let type_name = name.to_owned();
    let source = postgres::SourceType { oid, modifier, type_name, ..Default::default() };
    Kind {
        engine: Engine::Postgres,
        column: postgres::column_for("c".to_owned(), source, true),
        values,
    }
}

fn of_mysql(data_type: &str, numbers: [u32; 3], zero_dates: ZeroDates, values: Values) -> Kind {
    let [precision, scale, fraction] = numbers.map(Some);
    let source = mysql::SourceType {
        data_type: data_type.to_owned(),
        column_type: data_type.to_owned(),
        precision,
        scale,
        fraction,
        checked_json: false,
    };
    let column = mysql::column_for("c".to_owned(), &source, true, zero_dates);
    Kind { engine: Engine::Mysql, column, values }
}

/// The modifier of `numeric(precision, scale)`.
const fn numeric(precision: i32, scale: i32) -> i32 {
    (precision << 16 | scale) + 4
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn kinds() -> Vec<Kind> {
    let days: Values = (border_days, |dice| around(dice, &DAYS, 4));
    let micros: Values = (border_micros, |dice| around(dice, &MICROS, 8));
    let decimals: Values = (border_decimals, decimal);
    let json: Values = (border_json, |dice| dice.words(&JSON, 9));
    let jsonb: Values = (
        || border_json().iter().map(|text| versioned(text)).collect(),
        |dice| versioned(&dice.words(&JSON, 9)),
    );
    let texts: Values = (border_texts, |dice| dice.bytes(12));
    let mut kinds = vec![
        of_postgres(oids::DATE, -1, "date", days),
        of_postgres(oids::TIME, -1, "time", (border_times, |dice| around(dice, &TIMES, 8))),
        of_postgres(oids::TIMESTAMP, -1, "timestamp", micros),
        of_postgres(oids::TIMESTAMPTZ, -1, "timestamptz", micros),
        of_postgres(
            oids::UUID,
            -1,
            "uuid",
            (|| vec![vec![0; 16], vec![255; 16], vec![0; 15]], |dice| dice.bytes(17)),
        ),
        of_postgres(oids::JSON, -1, "json", json),
        of_postgres(oids::JSONB, -1, "jsonb", jsonb),
        of_postgres(oids::TEXT, -1, "text", texts),
        of_postgres(oids::INET, -1, "inet", texts),
        of_postgres(oids::BOOL, -1, "boolean", (Vec::new, |dice| dice.bytes(1))),
        of_postgres(
            oids::FLOAT4,
            -1,
            "real",
            (Vec::new, |dice| dice.next().to_be_bytes()[..4].to_vec()),
        ),
        of_postgres(
            oids::FLOAT8,
            -1,
            "double precision",
            (Vec::new, |dice| dice.next().to_be_bytes().to_vec()),
        ),
    ];
    for (precision, scale) in
        [(1, 0), (9, 9), (12, 2), (18, 18), (19, 0), (38, 0), (38, 10), (38, 38)]
    {
        let name = format!("numeric({precision},{scale})");
        kinds.push(of_postgres(oids::NUMERIC, numeric(precision, scale), &name, decimals));
        let (precision, scale) = (precision.cast_unsigned(), scale.cast_unsigned());
        let digits: Values = (|| Vec::new(), digits);
        kinds.push(of_mysql("decimal", [precision, scale, 0], ZeroDates::Fail, digits));
    }
    for zero_dates in [ZeroDates::Fail, ZeroDates::Null] {
        for data_type in ["date", "datetime", "timestamp"] {
            kinds.push(of_mysql(data_type, [0, 0, 6], zero_dates, (border_dates, date)));
        }
    }
    kinds.push(of_mysql(
        "json",
        [0, 0, 0],
        ZeroDates::Fail,
        (
            || border_json().iter().map(|value| text(value)).collect(),
            |dice| text(&dice.words(&JSON, 9)),
        ),
    ));
    kinds.push(of_mysql(
        "uuid",
        [0, 0, 0],
        ZeroDates::Fail,
        (Vec::new, |dice| text(&dice.words(&UUID, 9))),
    ));
    for data_type in ["longtext", "enum", "time", "inet6"] {
        kinds.push(of_mysql(
            data_type,
            [0, 0, 0],
            ZeroDates::Fail,
            (
                || border_texts().iter().map(|value| text(value)).collect(),
                |dice| text(&dice.bytes(12)),
            ),
        ));
    }
    kinds.push(of_mysql(
        "bigint unsigned",
        [20, 0, 0],
        ZeroDates::Fail,
        (|| vec![vec![0; 8], vec![255; 8]], |dice| dice.next().to_le_bytes().to_vec()),
    ));
    kinds.push(of_mysql(
        "bit",
        [64, 0, 0],
        ZeroDates::Fail,
        (Vec::new, |dice| text(&dice.bytes(9))),
    ));
    kinds
}

/// Days since 2000: the infinities, the first and last day of Postgres, of readers' calendars, and of 32 bits.
const DAYS: [i64; 12] = [
    i32::MIN as i64,
    i32::MAX as i64,
    -2_451_507,
    2_145_031_948,
    -730_119,
    2_921_939,
    -152_384,
    -10_957,
    0,
    i32::MAX as i64 - 10_957,
    i32::MIN as i64 + 10_957,
    -863_000,
];
/// Microseconds since 2000: the same, and the last moments of 64 bits after 1970.
const MICROS: [i64; 10] = [
    i64::MIN,
    i64::MAX,
    -211_813_488_000_000_000,
    9_223_371_331_199_999_999,
    i64::MAX - 946_684_800_000_000,
    -63_082_281_600_000_000,
    252_455_615_999_999_999,
    -946_684_800_000_000,
    0,
    -13_165_977_600_000_000,
];
const TIMES: [i64; 4] = [0, 86_399_999_999, 86_400_000_000, i64::MAX];
/// Words of JSON and of what is almost JSON.
const JSON: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ude00\"",
    "\"\\x\"",
    "\"\u{1}\"",
    "\"é\u{1F600}\"",
    "1",
    "-0",
    "01",
    "1.",
    "1e400",
    "1e-400",
    "NaN",
    "null",
    "true",
    " ",
    "\u{feff}",
    "{}",
];
const UUID: [&str; 8] = [
    "123e4567",
    "-e89b",
    "-12d3",
    "-a456",
    "-426655440000",
    "123E4567E89B12D3A456426655440000",
    "g",
    "{",
];

fn of_32(number: i64) -> Vec<u8> {
    i32::try_from(number).unwrap_or_default().to_be_bytes().to_vec()
}

fn border_days() -> Vec<Vec<u8>> {
    DAYS.into_iter().map(of_32).collect()
}

fn border_micros() -> Vec<Vec<u8>> {
    MICROS.into_iter().map(|number| number.to_be_bytes().to_vec()).collect()
}

fn border_times() -> Vec<Vec<u8>> {
    TIMES.into_iter().map(|number| number.to_be_bytes().to_vec()).collect()
}

/// A number close to one of these, or any.
fn around(dice: &mut Dice, borders: &[i64], width: usize) -> Vec<u8> {
    let number = match dice.below(3) {
        0 => dice.next().cast_signed(),
        _ => dice.one(borders).wrapping_add(i64::from(dice.next().to_le_bytes()[0]) - 128),
    };
    number.to_be_bytes()[8 - width..].to_vec()
}

/// `numeric` of Postgres: groups, weight of the first, sign, digits shown, the groups.
fn wire_decimal(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
    let count = u16::try_from(groups.len()).unwrap_or_default();
    let head = [count, weight.cast_unsigned(), sign, scale];
    head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
}

fn border_decimals() -> Vec<Vec<u8>> {
    let special = [0xC000, 0xD000, 0xF000, 0x1234].map(|sign| wire_decimal(&[], 0, sign, 0));
    let mut all = special.to_vec();
    for (sign, weight) in
        [(0, 0), (0x4000, 9), (0, 8), (0, -1), (0x4000, -10), (0, i16::MAX), (0, i16::MIN)]
    {
        all.push(wire_decimal(&[9999; 10], weight, sign, 38));
        all.push(wire_decimal(&[1], weight, sign, 0));
        all.push(wire_decimal(&[99, 9999], weight, sign, 2));
    }
    all
}

fn decimal(dice: &mut Dice) -> Vec<u8> {
    let groups: Vec<u16> =
        (0..dice.below(11)).map(|_| dice.one(&[0, 1, 10, 99, 9999, 10_000, 5000])).collect();
    let (weight, sign) =
        (dice.one(&[-10, -9, -3, -2, -1, 0, 1, 2, 3, 8, 9]), dice.one(&[0, 0, 0x4000, 0xC000]));
    wire_decimal(&groups, weight, sign, dice.one(&[0, 2, 9, 10, 38]))
}

/// `decimal` of MySQL: a text of digits.
fn digits(dice: &mut Dice) -> Vec<u8> {
    text(&dice.words(&["-", "0", "9", "99999999", ".", "000", "e5", "1234567890123456789"], 6))
}

fn versioned(text: &[u8]) -> Vec<u8> {
    [&[1], text].concat()
}

fn border_json() -> Vec<Vec<u8>> {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let long = |digits| "9".repeat(digits);
    let texts = [
        String::new(),
        nested(100),
        nested(101),
        nested(10_000),
        long(308),
        long(400),
        format!("0.{}", long(998)),
        format!("0.{}", long(5000)),
        "{\"a\":1,\"a\":2}".to_owned(),
        "\"\\ud83d\\ude00\"".to_owned(),
        "\"\u{7f}\u{ffff}\"".to_owned(),
        "\"\\u0000\"".to_owned(),
        "1e308".to_owned(),
        "-1e309".to_owned(),
    ];
    let mut all: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    all.extend([
        b"\"\xff\"".to_vec(),
        b"\"\xed\xa0\xbd\"".to_vec(),
        b"\0".to_vec(),
        b"{}\0".to_vec(),
    ]);
    all.extend(JSON.iter().map(|word| word.as_bytes().to_vec()));
    all
}

/// Not UTF-8: latin1, a surrogate, an overlong character, one above the last, a truncated one.
fn border_texts() -> Vec<Vec<u8>> {
    let odd: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\xe4",
        b"\xed\xa0\xbd",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
        b"\xef\xbf\xbf\xef\xbb\xbf",
    ];
    odd.map(<[u8]>::to_vec).to_vec()
}

fn border_dates() -> Vec<Vec<u8>> {
    [
        vec![],
        vec![0, 0, 0, 0],
        vec![0, 0, 1, 1],
        vec![1, 0, 1, 1],
        vec![0x0F, 0x27, 12, 31],
        vec![0xE8, 7, 2, 30],
        vec![0xE8, 7, 0, 15],
        vec![0xFF, 0xFF, 12, 31],
        vec![0x0F, 0x27, 12, 31, 23, 59, 59, 0x3F, 0x42, 0x0F, 0],
        vec![0xE8, 7, 1, 1, 24, 0, 0],
        vec![0xE8, 7, 1, 1, 23, 59, 60],
        vec![0xE8, 7, 1, 1, 0, 0, 0, 0x40, 0x42, 0x0F, 0],
    ]
    .into_iter()
    .map(|value| text(&value))
    .collect()
}

fn date(dice: &mut Dice) -> Vec<u8> {
    let mut value = dice.bytes(11);
    if let Some(high) = value.get_mut(1) {
        *high %= 40;
    }
    text(&value)
}

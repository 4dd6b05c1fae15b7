//! Values of every target and every form as the servers send them, and the streams that they make:
//! for tests, and for the fuzz targets, which begin with them.

pub mod copy;
pub mod packets;

use crds::extract_job::ZeroDates;

use super::mysql;
use crate::decoding::columns::column::Column;
use crate::decoding::columns::postgres::oids;
use crate::decoding::columns::target::Target;
use copy::{column, micros_wire, numeric, numeric_wire};

/// Stands in every text and every blob of the streams, and must be in no error.
pub const CANARY: &[u8] = b"canary-7f3a91";

/// The same as JSON.
const JSON: &[u8] = b"{\"a\": [\"canary-7f3a91\", -1.5e3, \"\\ud83d\\ude00\"]}";

/// A column, and values of its type as they are on the wire.
pub type Sample = (Column, Vec<Vec<u8>>);

/// Of COPY BINARY.
pub fn of_postgres() -> Vec<Sample> {
    let day = 86_399_999_999_i64.to_be_bytes().to_vec();
    let versioned = [&[1], JSON].concat();
    let decimal = numeric(38, 10);
    let values: Vec<(u32, i32, Vec<Vec<u8>>)> = vec![
        (oids::BOOL, -1, vec![vec![0], vec![1]]),
        (oids::INT2, -1, vec![vec![0x7F, 0xFF]]),
        (oids::INT4, -1, vec![vec![0x80, 0, 0, 0]]),
        (oids::INT8, -1, vec![i64::MIN.to_be_bytes().to_vec()]),
        (oids::OID, -1, vec![vec![0xFF; 4]]),
        (oids::FLOAT4, -1, vec![f32::NAN.to_be_bytes().to_vec()]),
        (oids::FLOAT8, -1, vec![f64::MAX.to_be_bytes().to_vec()]),
        (oids::NUMERIC, numeric(12, 2), vec![numeric_wire(-123_456, 2), numeric_wire(0, 2)]),
        (oids::NUMERIC, decimal, vec![numeric_wire(10_i128.pow(38) - 1, 10), numeric_wire(1, 10)]),
        (oids::NUMERIC, numeric(38, 38), vec![numeric_wire(1 - 10_i128.pow(38), 38)]),
        (oids::NUMERIC, -1, vec![b"123456789.5".to_vec(), b"NaN".to_vec()]),
        (oids::TEXT, -1, vec![CANARY.to_vec(), vec![]]),
        (oids::INET, -1, vec![CANARY.to_vec()]),
        (oids::BYTEA, -1, vec![CANARY.to_vec()]),
        (oids::DATE, -1, vec![(-730_000_i32).to_be_bytes().to_vec()]),
        (oids::TIME, -1, vec![day]),
        (oids::TIMESTAMP, -1, vec![micros_wire(0).to_vec()]),
        (oids::TIMESTAMPTZ, -1, vec![micros_wire(-1).to_vec()]),
        (oids::UUID, -1, vec![vec![7; 16]]),
        (oids::JSON, -1, vec![JSON.to_vec()]),
        (oids::JSONB, -1, vec![versioned]),
    ];
    let samples = values.into_iter().enumerate();
    samples
        .map(|(i, (oid, modifier, wire))| (column(&format!("c{i}"), oid, modifier), wire))
        .collect()
}

/// Of binary rows.
pub fn of_mysql() -> Vec<Sample> {
    let text = |bytes: &[u8]| packets::text(bytes);
    let date = |rest: &[u8]| packets::date(2023, rest);
    let moments =
        || vec![date(&[1, 31]), date(&[1, 31, 10, 0, 0]), date(&[2, 28, 23, 59, 59, 1, 0, 0, 0])];
    let values: Vec<(&str, ZeroDates, Vec<Vec<u8>>)> = vec![
        ("tinyint", ZeroDates::Fail, vec![vec![0x80]]),
        ("tinyint unsigned", ZeroDates::Fail, vec![vec![0xFF]]),
        ("smallint", ZeroDates::Fail, vec![vec![0xFF, 0x7F]]),
        ("smallint unsigned", ZeroDates::Fail, vec![vec![0xFF; 2]]),
        ("year", ZeroDates::Fail, vec![vec![0, 8]]),
        ("mediumint", ZeroDates::Fail, vec![vec![0, 0, 0x80, 0xFF]]),
        ("int unsigned", ZeroDates::Fail, vec![vec![0xFF; 4]]),
        ("bigint", ZeroDates::Fail, vec![vec![0xFE; 8]]),
        ("bigint unsigned", ZeroDates::Fail, vec![vec![0xFF; 8]]),
        ("float", ZeroDates::Fail, vec![vec![0, 0, 0x80, 0x3F]]),
        ("double", ZeroDates::Fail, vec![vec![0xFF; 8]]),
        ("decimal(38,10)", ZeroDates::Fail, vec![text(b"-1.5"), text(&[b'9'; 28])]),
        ("decimal(65,30)", ZeroDates::Fail, vec![text(&[b'9'; 35])]),
        ("bit(1)", ZeroDates::Fail, vec![text(&[1])]),
        ("bit(13)", ZeroDates::Fail, vec![text(&[16, 1])]),
        ("bit(64)", ZeroDates::Fail, vec![text(&[0xFF; 8])]),
        ("date", ZeroDates::Fail, vec![date(&[1, 31])]),
        ("date", ZeroDates::Null, vec![date(&[1, 31]), vec![0]]),
        ("datetime", ZeroDates::Fail, moments()),
        ("timestamp", ZeroDates::Null, moments()),
        ("varchar(20)", ZeroDates::Fail, vec![text(CANARY), text(&[b'a'; 300])]),
        ("time", ZeroDates::Fail, vec![text(CANARY)]),
        ("json", ZeroDates::Fail, vec![text(JSON)]),
        ("blob", ZeroDates::Fail, vec![text(CANARY)]),
        ("uuid", ZeroDates::Fail, vec![text(b"123e4567-e89b-12d3-a456-426655440000")]),
        ("point", ZeroDates::Fail, vec![text(CANARY)]),
    ];
    let samples = values.into_iter().enumerate();
    let column =
        |i, name: &str, policy| Column { name: format!("c{i}"), ..packets::with(name, policy) };
    let plain = samples.map(|(i, (name, policy, wire))| (column(i, name, policy), wire));
    let mut samples: Vec<Sample> = plain.collect();
    // the same as text on request
    for name in ["float", "bit(8)", "blob", "point"] {
        let plain = column(samples.len(), name, ZeroDates::Fail);
        let form = mysql::Form::of(plain.type_oid).as_text(plain.target);
        let asked = Column { type_oid: form.code(), target: Target::AsText, ..plain };
        samples.push((asked, vec![text(CANARY)]));
    }
    samples
}

/// Rows of the samples' values; each number picks one, 0 being NULL.
pub fn rows(samples: &[Sample], picks: &[Vec<u8>]) -> Vec<Vec<Option<Vec<u8>>>> {
    let value = |pick: u8, values: &[Vec<u8>]| match usize::from(pick) {
        0 => None,
        pick => Some(values[pick % values.len()].clone()),
    };
    let row = |picks: &Vec<u8>| {
        let picks = picks.iter().cycle();
        samples.iter().zip(picks).map(|((_, values), pick)| value(*pick, values)).collect()
    };
    picks.iter().map(row).collect()
}

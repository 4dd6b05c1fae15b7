//! Streams that a server could have sent, and what becomes of them on a bad way: flipped, cut,
//! repeated, with other lengths. Whatever comes, the decoders give rows or an error that names
//! column, type and row, and no value. `PROPTEST_CASES=1000000` makes a long search of it.

use std::collections::BTreeSet;
use std::mem::discriminant;

use crds::extract_job::ZeroDates;
use crds::source::Engine;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::columns::mysql::tests as packets;
use crate::columns::mysql::{self, Form};

/// Stands in every text and every blob of the streams, and must be in no error.
const CANARY: &[u8] = b"canary-7f3a91";

/// A column, and values of its type as they are on the wire.
type Sample = (Column, Vec<Vec<u8>>);

fn of_postgres() -> Vec<Sample> {
    let day = 86_399_999_999_i64.to_be_bytes().to_vec();
    let versioned = [&[1], CANARY].concat();
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
        (oids::JSON, -1, vec![CANARY.to_vec()]),
        (oids::JSONB, -1, vec![versioned]),
    ];
    let samples = values.into_iter().enumerate();
    samples
        .map(|(i, (oid, modifier, wire))| (column(&format!("c{i}"), oid, modifier), wire))
        .collect()
}

fn of_mysql() -> Vec<Sample> {
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
        ("json", ZeroDates::Fail, vec![text(CANARY)]),
        ("blob", ZeroDates::Fail, vec![text(CANARY)]),
        ("uuid", ZeroDates::Fail, vec![text(b"123e4567-e89b-12d3-a456-426655440000")]),
        ("point", ZeroDates::Fail, vec![text(CANARY)]),
    ];
    let samples = values.into_iter().enumerate();
    let column =
        |i, name: &str, policy| Column { name: format!("c{i}"), ..packets::with(name, policy) };
    samples.map(|(i, (name, policy, wire))| (column(i, name, policy), wire)).collect()
}

#[test]
fn every_target_and_every_form_has_a_sample() {
    let samples = of_postgres();
    for mapping in postgres::MAPPINGS {
        let has = samples
            .iter()
            .any(|(column, _)| discriminant(&column.target) == discriminant(&mapping.to));
        assert!(has, "{}", mapping.source);
    }
    let samples = of_mysql();
    let forms: BTreeSet<_> = samples.iter().map(|(column, _)| column.type_oid).collect();
    assert_eq!(forms, Form::ALL.map(Form::code).into_iter().collect());
    for mapping in mysql::MAPPINGS {
        let has = samples.iter().any(|(column, _)| column.target.parquet() == mapping.parquet);
        assert!(has, "{}", mapping.source);
    }
}

/// What happens to a stream on its way.
#[derive(Debug, Clone)]
enum Mishap {
    Flip(Index, u8),
    Overwrite(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let lengths = prop_oneof![
        Just(vec![0xFF; 4]),
        Just(vec![0x7F, 0xFF, 0xFF, 0xFF]),
        Just(vec![0x80, 0, 0, 0]),
        Just(vec![0; 4]),
        Just(vec![0xFE; 9]),
        proptest::collection::vec(any::<u8>(), 1..9),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Mishap::Flip(at, bits)),
        (any::<Index>(), lengths).prop_map(|(at, bytes)| Mishap::Overwrite(at, bytes)),
        (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Mishap::Insert(at, bytes)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, count)| Mishap::Remove(at, count)),
        (any::<Index>(), 1_usize..80).prop_map(|(at, count)| Mishap::Repeat(at, count)),
        any::<Index>().prop_map(Mishap::Cut),
    ]
}

fn befall(bytes: &mut Vec<u8>, mishap: &Mishap) {
    let place = |at: &Index, bytes: &[u8]| if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
    match mishap {
        Mishap::Flip(at, bits) => {
            let at = place(at, bytes);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
        }
        Mishap::Overwrite(at, new) => {
            let at = place(at, bytes);
            bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
        }
        Mishap::Insert(at, new) => {
            let at = place(at, bytes);
            bytes.splice(at..at, new.iter().copied());
        }
        Mishap::Remove(at, count) => {
            let at = place(at, bytes);
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        Mishap::Repeat(at, count) => {
            let at = place(at, bytes);
            let again = bytes[at..(at + count).min(bytes.len())].to_vec();
            bytes.splice(at..at, again);
        }
        Mishap::Cut(at) => bytes.truncate(place(at, bytes)),
    }
}

/// Rows of the samples' values; each number picks one, 0 being NULL.
fn rows(samples: &[Sample], picks: &[Vec<u8>]) -> Vec<Vec<Option<Vec<u8>>>> {
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

/// Decodes what is left of a stream, in pieces.
fn survive(
    engine: Engine,
    samples: &[Sample],
    bytes: &[u8],
    piece: usize,
) -> Result<u64, DecodeError> {
    let columns: Vec<_> = samples.iter().map(|(column, _)| column.clone()).collect();
    let mut decoder = Decoder::of(engine, &columns, None)?;
    let outcome = bytes.chunks(piece).try_for_each(|chunk| decoder.feed(chunk));
    if outcome.is_ok() {
        // whatever stands in the builders is whole rows
        assert_eq!(decoder.take_batch()?.num_rows() as u64, decoder.rows());
    }
    outcome.and_then(|()| decoder.finish()).map(|()| decoder.rows())
}

fn is_well_said(error: &DecodeError) -> bool {
    let text = format!("{error} {}", error.remedy());
    !text.as_bytes().windows(CANARY.len()).any(|window| window == CANARY)
}

/// Many short streams; more where the environment asks for more.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(4_000), ..default }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_stream_of_postgres_survives_its_mishaps(
        picks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..24), 0..5),
        mishaps in proptest::collection::vec(mishap(), 0..5),
        piece in 1_usize..400,
    ) {
        let samples = of_postgres();
        let mut bytes = stream(&rows(&samples, &picks));
        for mishap in &mishaps {
            befall(&mut bytes, mishap);
        }
        match survive(Engine::Postgres, &samples, &bytes, piece) {
            Ok(found) => prop_assert!(!mishaps.is_empty() || found == picks.len() as u64),
            Err(error) => prop_assert!(!mishaps.is_empty() && is_well_said(&error), "{error}"),
        }
    }

    #[test]
    fn a_stream_of_mysql_survives_its_mishaps(
        picks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..24), 0..5),
        mishaps in proptest::collection::vec(mishap(), 0..5),
        piece in 1_usize..400,
    ) {
        let samples = of_mysql();
        let rows = rows(&samples, &picks);
        let mut bytes: Vec<u8> = rows.iter().flat_map(|row| packets::row(row)).collect();
        bytes.extend(packets::end());
        for mishap in &mishaps {
            befall(&mut bytes, mishap);
        }
        match survive(Engine::Mysql, &samples, &bytes, piece) {
            Ok(found) => prop_assert!(!mishaps.is_empty() || found == picks.len() as u64),
            Err(error) => prop_assert!(!mishaps.is_empty() && is_well_said(&error), "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_a_value_of_a_type_or_an_error_that_names_its_column(
        index in any::<Index>(),
        value in proptest::collection::vec(any::<u8>(), 0..40),
        told in any::<bool>(),
    ) {
        let value = if told { [CANARY, &value].concat() } else { value };
        let samples = of_postgres();
        let (column, _) = index.get(&samples);
        let outcome = decode(std::slice::from_ref(column), &stream(&[vec![Some(value.clone())]]));
        let of_mysql = of_mysql();
        let (other, _) = index.get(&of_mysql);
        let wire = match Form::of(other.type_oid) {
            Form::Bytes | Form::Decimal | Form::Bit | Form::Geometry => packets::text(&value),
            _ => value,
        };
        let told = packets::decode(other, wire);
        for (column, outcome) in [(column, outcome), (other, told)] {
            let Err(error) = outcome else { continue };
            prop_assert!(is_well_said(&error), "{error}");
            let named = format!("column {} ({})", column.name, column.type_name);
            let text = error.to_string();
            // a value of no fixed length may end the row too early or too late
            let framed = matches!(error, DecodeError::ReadPacket { row: 1 });
            prop_assert!(framed || (text.contains(&named) && text.contains("row 1")), "{text}");
        }
    }
}

//! Streams that a server could have sent, and their corrupted forms: bits flipped, bytes cut
//! or repeated, other lengths. For any input, the decoders return rows, or an error that names
//! column, type and row, but no value. `PROPTEST_CASES=1000000` makes the search longer.

use std::collections::BTreeSet;
use std::mem::discriminant;

use crds::source::Engine;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::decoding::columns::mysql::tests::decode as decode_packets;
use crate::decoding::columns::mysql::{self, Form};
use crate::decoding::columns::samples::{CANARY, Sample, of_mysql, of_postgres, packets, rows};

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
        // the builders contain whole rows only
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
            form if form == Form::Bit || form.is_text() => packets::text(&value),
            _ => value,
        };
        let told = decode_packets(other, wire);
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

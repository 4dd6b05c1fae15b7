//! What a fuzz target does with its bytes, whichever the engine: they choose the columns, how the
//! stream is cut, and are the stream.
//!
//! An input is: how many columns; one byte for each (a decimal's is followed by its precision and its
//! scale); which of them is the watermark; the length of the pieces; the stream.

pub mod seeds;

use std::sync::OnceLock;

use crds::RunId;
use crds::output::OutputColumns;
use crds::source::Engine;
use worker_core::decoding::columns::samples::copy::{column, numeric};
use worker_core::decoding::columns::samples::packets::with;
use worker_core::decoding::columns::samples::{CANARY, Sample, of_mysql, of_postgres};
use worker_core::decoding::columns::{Column, DecodeError, Decoder, oids};

/// Columns at most: more of them make streams longer and show nothing new.
const COLUMNS_MAX: u8 = 40;
/// Digits of a decimal at most.
const DIGITS_MAX: u8 = 38;

/// Columns that a sample exists of.
pub fn samples(engine: Engine) -> Vec<Sample> {
    match engine {
        Engine::Postgres => of_postgres(),
        Engine::Mysql => of_mysql(),
    }
}

/// The same, made once; the first inputs are written where `FUZZ_SEEDS` says.
///
/// # Panics
/// If they cannot be written.
pub fn begin(engine: Engine) -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            seeds::write(engine, folder.as_ref()).expect("write the seeds");
        }
        samples(engine)
    })
}

/// What the bytes of an input ask for.
#[derive(Debug)]
pub struct Case<'a> {
    columns: Vec<Column>,
    watermark: Option<String>,
    piece: usize,
    stream: &'a [u8],
}

impl<'a> Case<'a> {
    /// `None` where the bytes end too early.
    pub fn read(engine: Engine, samples: &[Sample], input: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        let mut next = || {
            let byte = input.get(at).copied();
            at += 1;
            byte
        };
        let count = next()? % (COLUMNS_MAX + 1);
        let mut columns = Vec::new();
        for index in 0..count {
            let choice = usize::from(next()?) % (samples.len() + 1);
            let mut column = match samples.get(choice) {
                Some((column, _)) => column.clone(),
                None => decimal(engine, next()?, next()?),
            };
            column.name = format!("c{index}");
            columns.push(column);
        }
        let watermark = columns.get(usize::from(next()?)).map(|column| column.name.clone());
        let piece = usize::from(next()?);
        Some(Self { columns, watermark, piece, stream: input.get(at..).unwrap_or_default() })
    }

    /// The bytes of a case, for the corpus.
    pub fn write(choices: &[u8], watermark: u8, piece: u8, stream: &[u8]) -> Vec<u8> {
        let count = u8::try_from(choices.len()).unwrap_or(COLUMNS_MAX);
        [&[count], choices, &[watermark, piece], stream].concat()
    }
}

fn decimal(engine: Engine, precision: u8, scale: u8) -> Column {
    let precision = precision % DIGITS_MAX + 1;
    let scale = scale % (precision + 1);
    match engine {
        Engine::Postgres => column("x", oids::NUMERIC, numeric(precision.into(), scale.into())),
        Engine::Mysql => with(&format!("decimal({precision},{scale})"), Default::default()),
    }
}

/// How a stream ended: its rows, and its watermarks where it was whole.
type End = (u64, Result<Option<(String, String)>, DecodeError>);

/// Decodes a stream in pieces (0: in one); all rows are in batches, whole or not.
fn decode(engine: Engine, case: &Case<'_>, piece: usize) -> Option<End> {
    let watermark = case.watermark.as_deref();
    let names = OutputColumns {
        extract_time: Some("extracted".to_owned()),
        row_hash: Some("hash".to_owned()),
        run_id: Some("run".to_owned()),
    };
    let run = RunId("0185f9a1-1c48-7000-8000-000000000001".parse().ok()?);
    // a column that cannot be a watermark
    let mut decoder = Decoder::of(engine, &case.columns, watermark).ok()?.adding(&names, run);
    let mut taken = 0;
    let mut feed = || {
        for chunk in case.stream.chunks(if piece == 0 { usize::MAX } else { piece }) {
            decoder.feed(chunk)?;
            // a batch is taken now and then, as the budget does it
            if decoder.batch_rows() > 3 {
                taken += decoder.take_batch()?.num_rows() as u64;
            }
        }
        Ok(())
    };
    let fed = feed();
    if fed.is_ok() {
        // where a value is refused, its row is half in the builders, and nobody takes them
        taken += decoder.take_batch().expect("columns of one length").num_rows() as u64;
        assert_eq!(taken, decoder.rows(), "rows in batches, and rows counted");
        assert!(decoder.bytes_held() <= case.stream.len(), "more is kept than came");
    }
    let end = fed.and_then(|()| decoder.finish()).and_then(|()| decoder.watermarks());
    Some((decoder.rows(), end))
}

/// Any bytes become rows or an error that does not contain them, and are the same
/// however they are cut.
pub fn survive(engine: Engine, samples: &[Sample], input: &[u8]) {
    let Some(case) = Case::read(engine, samples, input) else { return };
    let Some(whole) = decode(engine, &case, 0) else { return };
    let pieces = decode(engine, &case, case.piece).expect("the same columns");
    assert_eq!(whole, pieces, "cut into pieces of {}", case.piece);
    if let Err(error) = whole.1 {
        let said = format!("{error} {}", error.remedy());
        assert!(!said.as_bytes().windows(CANARY.len()).any(|window| window == CANARY), "{said}");
    }
}

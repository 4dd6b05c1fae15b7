//! Values at and beyond the borders of every logical type that is written: what the decoder takes, three readers
//! read; what it does not take fails with column and row. `make borders` takes more values.

mod kinds;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use crds::source::Engine;
use harness::{TestEnv, unique};
use tokio::sync::mpsc;
use worker::extraction::files::{FileWriter, Piece};
use worker_core::decoding::columns::{DecodeError, Decoder};
use worker_core::encoding::batches::MemoryBudget;
use worker_core::planning::plan::OutputLayout;

use self::kinds::{Kind, kinds};
use crate::wire::{Dice, copy, packets};

/// Values of each type, in addition to those at the borders.
const VALUES: usize = 150;

/// What decodes these values: the decoder with all of them, or why not.
fn decode(kind: &Kind, values: &[Vec<u8>]) -> Result<Decoder, DecodeError> {
    let mut decoder = Decoder::of(kind.engine, std::slice::from_ref(&kind.column), None)?;
    let bytes = match kind.engine {
        Engine::Postgres => copy(values),
        Engine::Mysql => packets(values),
    };
    decoder.feed(&bytes)?;
    decoder.finish()?;
    Ok(decoder)
}

/// Writes the values as a run would.
fn write(kind: &Kind, values: &[Vec<u8>], path: &Path) -> Result<()> {
    let mut decoder = decode(kind, values)?;
    let batch = decoder.take_batch()?;
    let split = MemoryBudget::new(None).split(1);
    let (pieces, mut written) = mpsc::channel(8);
    let columns = vec![kind.column.clone()];
    let schema = std::sync::Arc::clone(decoder.schema());
    let encoder = std::thread::spawn(move || -> Result<()> {
        let mut writer =
            FileWriter::new(&columns, schema, split, &OutputLayout::default(), pieces)?;
        writer.write(&batch)?;
        Ok(writer.close()?)
    });
    let mut file = Vec::new();
    while let Some(piece) = written.blocking_recv() {
        if let Piece::Part(_, part) = piece {
            file.extend_from_slice(&part);
        }
    }
    encoder.join().map_err(|_| anyhow::anyhow!("the encoder panicked"))??;
    Ok(std::fs::write(path, file)?)
}

#[test]
fn a_value_at_or_beyond_a_border_is_read_by_three_readers_or_refused_with_column_and_row()
-> Result<()> {
    let env = TestEnv::shared()?;
    let count = std::env::var("TIDEMARK_BORDERS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(VALUES);
    let folder = env.state.join("parquet").join(unique("borders"));
    std::fs::create_dir_all(&folder)?;
    let mut expected = BTreeSet::new();
    for (number, kind) in kinds().iter().enumerate() {
        let name = &kind.column.type_name;
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1));
        let mut values = (kind.values.0)();
        values.extend((0..count).map(|_| (kind.values.1)(&mut dice)));
        let (mut taken, mut refused) = (Vec::new(), 0_usize);
        for value in values {
            match decode(kind, std::slice::from_ref(&value)) {
                Ok(_) => taken.push(value),
                Err(DecodeError::DecodeValue { column, row: 1, .. }) if column == "c" => {
                    refused += 1;
                }
                Err(error) => bail!("{name}: {error}"),
            }
        }
        ensure!(!taken.is_empty(), "{name}: nothing of {refused} values is taken");
        let file = format!("{number:02}.parquet");
        write(kind, &taken, &folder.join(&file)).with_context(|| name.clone())?;
        expected.insert((file, taken.len() as u64, name.clone()));
    }
    let answers = env.run(async { env.read_folder(&folder).await })?;
    for (file, rows, name) in &expected {
        let own: Vec<_> = answers.iter().filter(|answer| answer["file"] == **file).collect();
        ensure!(own.len() == 3, "{name}: {own:?}");
        for answer in own {
            ensure!(
                answer["error"].is_null() && answer["rows"] == *rows,
                "{name}, {rows} rows: {answer}"
            );
        }
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

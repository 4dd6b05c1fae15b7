//! The first inputs of a target, of the encoders that the unit tests have.

use std::path::Path;

use crds::source::Engine;
use worker_core::decoding::columns::samples::copy::stream;
use worker_core::decoding::columns::samples::{Sample, packets, rows};

use crate::{Case, samples};

fn streamed(engine: Engine, samples: &[Sample], picks: &[Vec<u8>]) -> Vec<u8> {
    let rows = rows(samples, picks);
    match engine {
        Engine::Postgres => stream(&rows),
        Engine::Mysql => {
            let mut bytes: Vec<u8> = rows.iter().flat_map(|row| packets::row(row)).collect();
            bytes.extend(packets::end());
            bytes
        }
    }
}

/// Writes them into a folder.
///
/// # Errors
/// If that cannot be written to.
pub fn write(engine: Engine, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let all = samples(engine);
    let choices: Vec<u8> = (0..=u8::MAX).take(all.len()).collect();
    // each value of each type alone, NULL among them, as the watermark and not
    for (index, sample) in all.iter().enumerate() {
        let picks: Vec<_> = (0..=u8::MAX).take(sample.1.len() + 1).map(|pick| vec![pick]).collect();
        let bytes = streamed(engine, std::slice::from_ref(sample), &picks);
        for watermark in [0, 1] {
            let seed = Case::write(&choices[index..=index], watermark, 7, &bytes);
            std::fs::write(folder.join(format!("one-{index}-{watermark}")), seed)?;
        }
    }
    // all types in a row, and no type at all
    let picks: Vec<Vec<u8>> = vec![vec![1], vec![0], vec![2, 1, 0]];
    for piece in [0, 1, 100] {
        let seed = Case::write(&choices, u8::MAX, piece, &streamed(engine, &all, &picks));
        std::fs::write(folder.join(format!("all-{piece}")), seed)?;
    }
    let seed = Case::write(&[], u8::MAX, 0, &streamed(engine, &[], &picks));
    std::fs::write(folder.join("none"), seed)
}

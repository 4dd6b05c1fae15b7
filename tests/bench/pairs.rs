//! In: a case. Out: its pairs, each output compared with the table. Bound: the number of pairs, and of attempts for
//! each. Fails: with the error of a client, or if rows differ.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::cases::{Case, Side};
use crate::clients::{Bench, prepare};
use crate::compare::{self, Summary};
use crate::load;
use crate::measure::{Measured, UNACCOUNTED_MAX};
use crate::results::{CaseResult, mib};
use crate::show_progress;
use crate::tables::{Engine, Table};

/// Maximum number of repeats of a pair because other processes used the machine.
const REPEATS_MAX: u32 = 5;

/// Maximum number of differences between a table and an output that are shown.
const DIFFERENCES_SHOWN: usize = 8;

/// How many pairs, and which of them count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    /// Pairs.
    pub(crate) pairs: u32,
    /// Whether a pair counts even if other processes used the machine.
    pub(crate) noisy: bool,
    /// Whether to run a pair before the measurement, which fills caches and does not count.
    pub(crate) warm: bool,
}

/// Summaries of the tables in the databases, each read once.
pub(crate) type Sources = BTreeMap<(&'static str, &'static str), Summary>;

/// Loads a table and summarizes its rows.
///
/// # Errors
/// The error of the server's client.
pub(crate) async fn source_of(
    bench: &Bench,
    sources: &mut Sources,
    engine: Engine,
    table: Table,
) -> Result<Summary> {
    let key = (engine.name(), table.name());
    if let Some(found) = sources.get(&key) {
        return Ok(found.clone());
    }
    if table == Table::Lineitem10 {
        load::load(bench.source(engine), engine, Table::Lineitem, bench.size).await?;
    }
    show_progress(&format!("{} {}: loading", engine.name(), table.name()));
    load::load(bench.source(engine), engine, table, bench.size).await?;
    let summary = compare::of_source(bench, engine, table).await?;
    ensure!(summary.rows > 0, "{} has no rows", table.name());
    show_progress(&format!("{} {}: {} rows", engine.name(), table.name(), summary.rows));
    sources.insert(key, summary.clone());
    Ok(summary)
}

/// Runs a case. A failure is part of the result, so that other cases still run.
pub(crate) async fn run_case(
    bench: &Bench,
    case: &Case,
    rounds: Rounds,
    sources: &mut Sources,
) -> CaseResult {
    let labels = [case.a, case.b].map(|side| side.client.label());
    let mut result = CaseResult {
        title: case.title.to_owned(),
        labels: labels.to_vec(),
        noisy: rounds.noisy,
        ..CaseResult::default()
    };
    let missing = [case.a, case.b].into_iter().find_map(|side| side.client.missing_reason(bench));
    if let Some(reason) = missing {
        result.failure = Some(reason.to_owned());
        return result;
    }
    if let Err(error) = run_pairs(bench, case, rounds, sources, &mut result).await {
        result.failure = Some(format!("{error:#}"));
    }
    result
}

async fn run_pairs(
    bench: &Bench,
    case: &Case,
    rounds: Rounds,
    sources: &mut Sources,
    result: &mut CaseResult,
) -> Result<()> {
    let a = source_of(bench, sources, case.engine, case.a.table).await?;
    let b = source_of(bench, sources, case.engine, case.b.table).await?;
    result.rows = vec![a.rows, b.rows];
    let (mut warm, mut tries) = (rounds.warm, 0);
    let wanted = rounds.pairs.min(case.pairs_max) as usize;
    while result.pairs.len() < wanted {
        // distinct values are counted in the first pair only; the checksums of later pairs must be equal to its checksums
        let distinct = result.outputs.is_empty();
        let one = side(bench, case.engine, case.a, &a, distinct).await?;
        let two = side(bench, case.engine, case.b, &b, distinct).await?;
        if distinct {
            result.outputs = [&one.files, &two.files].map(described).to_vec();
            result.other_compression = one.files.codecs != two.files.codecs;
            for (label, files) in result.labels.iter().zip([&one.files, &two.files]) {
                let columns = files.not_compared();
                result
                    .not_compared
                    .extend(columns.into_iter().map(|column| format!("{label}: {column}")));
            }
        }
        if std::mem::take(&mut warm) {
            continue;
        }
        let (one, two) = (one.measured, two.measured);
        let unaccounted = one.unaccounted.max(two.unaccounted);
        if unaccounted > UNACCOUNTED_MAX && !rounds.noisy {
            (result.refused, tries) = (result.refused + 1, tries + 1);
            ensure!(
                tries <= REPEATS_MAX,
                "other processes used {:.0} % of the machine in {tries} attempts of a pair",
                unaccounted * 100.0
            );
            continue;
        }
        tries = 0;
        show_progress(&format!(
            "{}: wall {:.2} / {:.2} s, CPU {:.2} / {:.2} s, peak {:.0} / {:.0} MiB, unaccounted {:.1} %",
            case.name,
            one.wall_seconds,
            two.wall_seconds,
            one.client_cpu_seconds,
            two.client_cpu_seconds,
            mib(one.peak_bytes),
            mib(two.peak_bytes),
            unaccounted * 100.0
        ));
        result.pairs.push((one, two));
    }
    Ok(())
}

struct Ran {
    measured: Measured,
    files: Summary,
}

async fn side(
    bench: &Bench,
    engine: Engine,
    side: Side,
    source: &Summary,
    distinct: bool,
) -> Result<Ran> {
    let (command, output) = prepare(bench, side.client, engine, side.table).await?;
    let label = side.client.label();
    let measured = bench.meter.run(bench.env, &command).await.with_context(|| label.clone())?;
    let files = compare::of_files(bench, (engine, side.table), &output, distinct).await;
    output.remove(bench).await?;
    let files = files.with_context(|| label.clone())?;
    let differences = source.differences(&files);
    let (count, shown) = (differences.len(), differences.len().min(DIFFERENCES_SHOWN));
    let text = differences[..shown].join("; ");
    ensure!(count == 0, "{label}: rows differ, {count} differences: {text}");
    Ok(Ran { measured, files })
}

fn described(files: &Summary) -> String {
    let s = if files.files == 1 { "" } else { "s" };
    format!("{:.1} MiB in {} file{s}, {}", mib(files.bytes), files.files, files.codecs.join(", "))
}

//! In: measurements. Out: a result file, and its ratios. Bound: one file for each case. Fails: if the file cannot be
//! written or read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cases::Metric;
use crate::measure::Measured;

/// The result of a case. A program that measures no pairs writes a file of the same format with `numbers`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CaseResult {
    /// The title of the case.
    pub(crate) title: String,
    /// The two programs.
    pub(crate) labels: Vec<String>,
    /// The pairs in the order in which they ran.
    pub(crate) pairs: Vec<(Measured, Measured)>,
    /// Pairs that were refused, because other processes used the machine.
    pub(crate) refused: u32,
    /// Whether pairs count even if other processes used the machine.
    pub(crate) noisy: bool,
    /// Rows of each output.
    pub(crate) rows: Vec<u64>,
    /// Size, number and compression of the files of each program, from its first output.
    pub(crate) outputs: Vec<String>,
    /// Whether the two programs used different compression, and so did not do the same work.
    pub(crate) other_compression: bool,
    /// Columns that were not compared, with the reason.
    pub(crate) not_compared: Vec<String>,
    /// Other measurements by name. The name includes the unit.
    pub(crate) numbers: BTreeMap<String, Vec<f64>>,
    /// Notes that the report prints.
    pub(crate) notes: Vec<String>,
    /// Why there is no result.
    pub(crate) failure: Option<String>,
    /// Versions, the machine, and when it ran.
    pub(crate) context: BTreeMap<String, String>,
}

/// Median, minimum and maximum of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The minimum.
    pub(crate) min: f64,
    /// The maximum.
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of some numbers; `None` if there are none.
    pub(crate) fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

impl CaseResult {
    /// The numbers of a metric, one for each pair.
    pub(crate) fn numbers_of(&self, metric: Metric) -> Vec<f64> {
        let of = |number: fn(&(Measured, Measured)) -> f64| self.pairs.iter().map(number).collect();
        match metric {
            Metric::Wall => of(|(a, b)| a.wall_seconds / b.wall_seconds),
            Metric::ClientCpu => of(|(a, b)| a.client_cpu_seconds / b.client_cpu_seconds),
            Metric::Peak => of(|(a, b)| mib(a.peak_bytes) / mib(b.peak_bytes)),
            Metric::PeakMib => of(|(a, _)| mib(a.peak_bytes)),
            Metric::TimesFaster => of(|(a, b)| b.wall_seconds / a.wall_seconds),
            Metric::Number(name) => self.numbers.get(name).cloned().unwrap_or_default(),
        }
    }

    /// Writes the result to `<name>.json` in a folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&file, text + "\n").with_context(|| file.display().to_string())
    }

    /// Reads all results of a folder.
    ///
    /// # Errors
    /// If a file is not of this form.
    pub(crate) fn read_all(folder: &Path) -> Result<BTreeMap<String, Self>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
            if path.extension().is_some_and(|end| end == "json") {
                let result = serde_json::from_slice(&fs::read(&path)?);
                found.insert(name.to_owned(), result.with_context(|| path.display().to_string())?);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}

//! In: the results of all cases. Out: a report in Markdown, and plots. Bound: one section for each case. Fails:
//! if a file cannot be written or read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::cases::{CASES, GOALS, Goal, HARM, Metric};
use crate::measure::Measured;
use crate::plot::{self, Row};
use crate::results::{CaseResult, Spread, mib};

type Results = BTreeMap<String, CaseResult>;

/// Writes report and plots, and returns the names of the cases without a result.
///
/// # Errors
/// If a file cannot be written or read.
pub(crate) fn write(folder: &Path, results: &Path) -> Result<Vec<String>> {
    let results = CaseResult::read_all(results)?;
    let plots =
        [("wall.svg", "Wall", Metric::Wall), ("client-cpu.svg", "Client CPU", Metric::ClientCpu)];
    for (file, title, metric) in plots {
        let rows =
            CASES.iter().filter_map(|case| row(case.name, metric, &results)).collect::<Vec<_>>();
        fs::write(
            folder.join(file),
            plot::svg(&format!("{title}: Tidemark / the other program"), &rows),
        )?;
    }
    fs::write(folder.join("README.md"), text(&results))?;
    let failed = results.iter().filter(|(_, result)| result.failure.is_some());
    Ok(failed.map(|(name, _)| name.clone()).collect())
}

fn row(name: &str, metric: Metric, results: &Results) -> Option<Row> {
    let result = results.get(name)?;
    let ratios = result.numbers_of(metric);
    let median = Spread::of(&ratios)?.median;
    let goal = GOALS.iter().find(|goal| goal.case == name && goal.metric == metric);
    Some(Row { label: result.title.clone(), ratios, median, goal: goal.map(|goal| goal.limit) })
}

const HEAD: &str = "# Performance

`make bench` writes this page. It copies the same tables with Tidemark and with other programs. The two programs of a
pair run directly after each other (A B A B). All servers run on the same machine and share its cores.

- **Compare ratios only.** Seconds and MiB depend on the machine described below. They are marked as absolute.
- A time counts only if the output has the same rows as the table. The program compares the number of rows and a
  checksum over whole rows. For each column it compares the number of values, the number of distinct values, the sum
  and a checksum. The checksums do not depend on the order of rows.
- A pair is refused if processes outside the benchmark used more than 3 % of the machine's CPU.
- A ratio is the median of the ratios of all pairs, with the minimum and the maximum.
- All programs write Parquet with zstd, level 3. Connections to the databases have no TLS, except in the case `tls`.
  DuckDB reads MariaDB over a connection without compression.
- Client CPU is user and system time of the client and of all processes that it starts. Memory is the peak of its
  largest process.

```sh
make bench                                   # all cases, 7 pairs each
make bench CASES=postgres,mariadb PAIRS=11   # some of them
make bench-smoke                             # runs the program with small tables and checks no times
```
";

fn text(results: &Results) -> String {
    let mut text = HEAD.to_owned();
    if results.values().any(|result| result.noisy) {
        text.push_str(
            "\n**Other processes used the machine during some of these measurements. They are marked as noisy. Do not quote them.**\n",
        );
    }
    text.push_str("\n## Goals\n\n| # | goal | limit | measured | pairs | reached |\n|---|---|---|---|---|---|\n");
    for goal in GOALS {
        text.push_str(&goal_line(goal, results));
    }
    text.push_str("\n## Ratios\n\nTidemark / the other program. Lower is better.\n\n");
    text.push_str(
        "| case | wall | client CPU | peak memory | CPU of the database | CPU of the S3 server |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    for case in CASES {
        if let Some(result) = results.get(case.name).filter(|result| !result.pairs.is_empty()) {
            text.push_str(&ratio_line(case.name, result));
        }
    }
    text.push_str("\n![wall](wall.svg)\n\n![client CPU](client-cpu.svg)\n\n## Cases\n");
    for name in CASES.iter().map(|case| case.name).chain([HARM]) {
        if let Some(result) = results.get(name) {
            section(&mut text, name, result);
        }
    }
    for (name, result) in results {
        if CASES.iter().all(|case| case.name != name) && name != HARM {
            section(&mut text, name, result);
        }
    }
    text
}

fn goal_line(goal: &Goal, results: &Results) -> String {
    let result = results.get(goal.case);
    let numbers = result.map(|result| result.numbers_of(goal.metric)).unwrap_or_default();
    let sign = if goal.metric == Metric::TimesFaster { "≥" } else { "≤" };
    let (measured, reached) = Spread::of(&numbers).map_or_else(
        || {
            let failed = result.is_some_and(|result| result.failure.is_some());
            (if failed { "failed, see below" } else { "not measured" }.to_owned(), "-")
        },
        |spread| {
            let same_work = result.is_some_and(|result| !result.other_compression);
            let reached = match goal.is_reached(spread.median) {
                true if same_work => "yes",
                true => "no, the compression differs",
                false => "no",
            };
            (shown(spread), reached)
        },
    );
    let noisy = if result.is_some_and(|result| result.noisy) { " (noisy)" } else { "" };
    format!(
        "| {} | {} | {sign} {} | {measured}{noisy} | {} | {reached} |\n",
        goal.number,
        goal.text,
        goal.limit,
        numbers.len()
    )
}

/// A median with minimum and maximum.
fn shown(spread: Spread) -> String {
    let digits = if spread.max >= 10.0 { 1 } else { 2 };
    format!("{:.digits$} ({:.digits$}-{:.digits$})", spread.median, spread.min, spread.max)
}

fn ratio_line(name: &str, result: &CaseResult) -> String {
    let of = |number: fn(&Measured) -> f64| {
        let ratios = result.pairs.iter().map(|(a, b)| number(a) / number(b));
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        Spread::of(&ratios).map_or_else(|| "-".to_owned(), shown)
    };
    let noisy = if result.noisy { " (noisy)" } else { "" };
    format!(
        "| `{name}`{noisy} | {} | {} | {} | {} | {} |\n",
        of(|run| run.wall_seconds),
        of(|run| run.client_cpu_seconds),
        of(|run| mib(run.peak_bytes)),
        of(|run| run.database_cpu_seconds),
        if result.labels.iter().all(|label| label.ends_with("to S3")) {
            of(|run| run.s3_cpu_seconds)
        } else {
            "-".to_owned()
        },
    )
}

fn section(text: &mut String, name: &str, result: &CaseResult) {
    let _ = writeln!(text, "\n### `{name}`: {}\n", result.title);
    if let Some(failure) = &result.failure {
        let _ = writeln!(text, "No result: {failure}\n");
    }
    if !result.pairs.is_empty() {
        runs(text, result);
    }
    if !result.numbers.is_empty() {
        text.push_str("| number (absolute, unless it is a ratio) | median (minimum-maximum) | n |\n|---|---|---|\n");
        for (number, values) in &result.numbers {
            if let Some(spread) = Spread::of(values) {
                let _ = writeln!(text, "| `{number}` | {} | {} |", shown(spread), values.len());
            }
        }
        text.push('\n');
    }
    for note in &result.notes {
        let _ = writeln!(text, "- {note}");
    }
    if result.other_compression {
        text.push_str(
            "- The programs used different compression, so they did not do the same work.\n",
        );
    }
    if result.refused > 0 {
        let _ = writeln!(text, "- {} pairs were refused and repeated.", result.refused);
    }
    for column in &result.not_compared {
        let _ = writeln!(text, "- Not compared: {column}.");
    }
    let context: Vec<_> =
        result.context.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !context.is_empty() {
        let _ = writeln!(text, "- {}.", context.join("; "));
    }
}

fn runs(text: &mut String, result: &CaseResult) {
    text.push_str(
        "| program (medians, absolute) | wall s | client CPU s | peak MiB | database CPU s | S3 CPU s | idle % | unaccounted % | rows | output |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (index, label) in result.labels.iter().enumerate() {
        let median = |number: fn(&Measured) -> f64| {
            let runs = result.pairs.iter().map(|(a, b)| number(if index == 0 { a } else { b }));
            Spread::of(&runs.collect::<Vec<_>>()).map_or(0.0, |spread| spread.median)
        };
        let _ = writeln!(
            text,
            "| {label} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {:.0} | {:.1} | {} | {} |",
            median(|run| run.wall_seconds),
            median(|run| run.client_cpu_seconds),
            median(|run| mib(run.peak_bytes)),
            median(|run| run.database_cpu_seconds),
            median(|run| run.s3_cpu_seconds),
            median(|run| run.idle * 100.0),
            median(|run| run.unaccounted * 100.0),
            result.rows.get(index).copied().unwrap_or_default(),
            result.outputs.get(index).map_or("", String::as_str),
        );
    }
    text.push('\n');
}

//! Runs the benchmark program with small tables: it completes, and all programs copy the same rows. It checks no times.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{TestEnv, binary, unique};
use serde_json::Value;

/// Maximum time of the program, including the installation of the other programs.
const DEADLINE: Duration = Duration::from_mins(15);

/// Cases that cover each table, both engines, and the programs that are quick to install.
const CASES: [&str; 9] = [
    "postgres",
    "postgres-one",
    "mariadb",
    "postgres-wide",
    "mariadb-wide",
    "postgres-skew",
    "mariadb-large",
    "memory-rows",
    "connectorx",
];

#[test]
fn benchmark_of_small_tables_has_equal_rows_and_a_report() -> Result<()> {
    let env = TestEnv::shared()?;
    let folder = env.state.join("local").join(unique("performance"));
    let mut command = std::process::Command::new(binary("bench")?);
    command
        .args(["--smoke", "--noisy", "--pairs", "1", "--cases", &CASES.join(",")])
        .arg("--output")
        .arg(&folder)
        .arg("--tidemark")
        .arg(binary("tidemark")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(async {
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output())
            .await
            .context("the program did not end")?
            .context("run the program")
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    for case in CASES {
        let text = fs::read_to_string(folder.join(format!("results/{case}.json")))?;
        let result: Value = serde_json::from_str(&text)?;
        ensure!(result["failure"].is_null(), "{case}: {}", result["failure"]);
        ensure!(result["pairs"].as_array().is_some_and(|pairs| pairs.len() == 1), "{case}: {text}");
        ensure!(result["rows"][0].as_u64().is_some_and(|rows| rows > 0), "{case}: {text}");
    }
    let report = fs::read_to_string(folder.join("README.md"))?;
    ensure!(report.contains("## Goals") && report.contains("| 1 |"), "{report}");
    for plot in ["wall.svg", "client-cpu.svg"] {
        let text = fs::read_to_string(folder.join(plot))?;
        ensure!(text.contains("<circle") && text.trim_end().ends_with("</svg>"), "{plot}: {text}");
    }
    Ok(fs::remove_dir_all(folder)?)
}

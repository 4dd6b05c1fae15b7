//! In: cases and a number of pairs. Out: results, a report and plots in a folder. Bound: the list of cases.
//! Fails: if a case fails, after all others have run.
#![expect(clippy::print_stderr, reason = "the program prints its progress")]

mod cases;
mod clients;
mod compare;
mod context;
mod harm;
mod load;
mod measure;
mod pairs;
mod plot;
mod report;
mod results;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use harness::{SourceFixture, TestEnv, tests_dir};

use crate::cases::{CASES, HARM};
use crate::clients::Bench;
use crate::measure::Meter;
use crate::pairs::{Rounds, Sources};
use crate::tables::Size;

/// How long all cases together may take.
const DEADLINE: Duration = Duration::from_hours(8);

/// Compare Tidemark with other programs that copy a table, and write docs/performance
#[derive(Debug, Parser)]
struct Arguments {
    /// Names of the cases to run, separated by commas. Defaults to all cases
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Number of pairs to measure for each case
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Path of the tidemark binary to measure. Defaults to the one in the folder of this program
    #[arg(long)]
    tidemark: Option<PathBuf>,
    /// Folder for report, plots and results. Defaults to docs/performance
    #[arg(long)]
    output: Option<PathBuf>,
    /// Count pairs even if other processes used the machine. The report marks them as noisy
    #[arg(long)]
    noisy: bool,
    /// Scale factor of TPC-H. Multiplies the number of rows of each table
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Run with a few thousand rows, in the test environment that tests share
    #[arg(long)]
    smoke: bool,
    /// Write report and plots from the results of earlier runs, without a measurement
    #[arg(long)]
    report_only: bool,
}

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("measured", [report, command @ ..])) =
        argv.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        let ran = measure::run_measured(Path::new(report), command);
        let code = ran.inspect_err(|error| show_progress(&format!("{error:#}"))).unwrap_or(1);
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show_progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints progress to standard error.
pub(crate) fn show_progress(text: &str) {
    eprintln!("bench: {text}");
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder =
        arguments.output.clone().unwrap_or_else(|| tests_dir().join("../docs/performance"));
    let results = folder.join("results");
    if !arguments.report_only {
        let names = names_of(&arguments.cases)?;
        // before the test environment starts: its network has no access to package registries
        let venv = installed("bench")?;
        let spark = names.contains(&"spark").then(|| installed("spark"));
        let spark = spark
            .and_then(|venv| venv.inspect_err(|error| show_progress(&format!("{error:#}"))).ok());
        let peers = Peers { venv, spark };
        let env: &'static TestEnv = if arguments.smoke {
            TestEnv::shared()?
        } else {
            Box::leak(Box::new(TestEnv::start("bench")?))
        };
        env.run_within(DEADLINE, Box::pin(run_cases(arguments, env, (&names, peers), &results)))?;
    }
    let failures = report::write(&folder, &results)?;
    ensure!(failures.is_empty(), "cases without a result: {}", failures.join(", "));
    Ok(())
}

fn names_of(chosen: &[String]) -> Result<Vec<&'static str>> {
    let all: Vec<_> = CASES.iter().map(|case| case.name).chain([HARM]).collect();
    if let Some(unknown) = chosen.iter().find(|name| !all.contains(&name.as_str())) {
        bail!("unknown case \"{unknown}\"; cases: {}", all.join(", "));
    }
    let is_chosen = |name: &&str| chosen.is_empty() || chosen.iter().any(|other| other == name);
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// Where the other programs are installed.
struct Peers {
    venv: PathBuf,
    spark: Option<PathBuf>,
}

async fn run_cases(
    arguments: &Arguments,
    env: &'static TestEnv,
    (names, peers): (&[&'static str], Peers),
    results: &Path,
) -> Result<()> {
    let bench = prepare(arguments, env, peers).await?;
    let rounds = Rounds { pairs: arguments.pairs, noisy: arguments.noisy, warm: !arguments.smoke };
    let context = context::read(&bench).await?;
    let mut sources = Sources::new();
    for name in names {
        let mut result = match CASES.iter().find(|case| case.name == *name) {
            Some(case) => pairs::run_case(&bench, case, rounds, &mut sources).await,
            None => harm::run(&bench, rounds, &mut sources).await,
        };
        if let Some(failure) = &result.failure {
            show_progress(&format!("{name}: {failure}"));
        }
        result.context.clone_from(&context);
        result.write(results, name)?;
    }
    fs::remove_dir_all(&bench.work)?;
    Ok(())
}

async fn prepare(
    arguments: &Arguments,
    env: &'static TestEnv,
    Peers { venv, spark }: Peers,
) -> Result<Bench> {
    let default = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("tidemark"));
    let tidemark = arguments.tidemark.clone().map_or_else(default, Ok)?;
    ensure!(tidemark.exists(), "{} is not built", tidemark.display());
    load::create_user(env).await?;
    let mut postgres = SourceFixture::new(env, "bench").await?;
    let mut mariadb = SourceFixture::mariadb(env, "bench").await?;
    if !arguments.smoke {
        // later runs of this program reuse these databases and their tables
        let name = format!("bench_{}", arguments.scale).replace('.', "_");
        let exists = format!("select count(*) from pg_database where datname = '{name}'");
        if env.psql("postgres", &exists).await? == "0" {
            env.psql("postgres", &format!("create database {name}")).await?;
        }
        env.mariadb("mysql", &format!("create database if not exists {name}")).await?;
        (postgres.database, mariadb.database) = (name.clone(), name);
    }
    postgres.user(load::USER)?;
    mariadb.user(load::USER)?;
    let work = postgres.file("work");
    fs::create_dir_all(&work)?;
    Ok(Bench {
        env,
        size: if arguments.smoke { Size::SMOKE } else { Size::of_scale(arguments.scale) },
        meter: Meter::new(env, work.clone())?,
        postgres,
        mariadb,
        tidemark: tidemark.canonicalize()?,
        venv,
        spark,
        scripts: tests_dir().join("bench/peers"),
        work,
    })
}

/// Installs the programs of a recipe of the test environment, and returns their folder.
fn installed(recipe: &str) -> Result<PathBuf> {
    let scripts = tests_dir().join("env");
    let status = Command::new(scripts.join("install.sh")).arg(recipe).status()?;
    ensure!(status.success(), "{recipe} could not be installed: {status}");
    let shell = format!(". '{}/env.sh' && cached {recipe}", scripts.display());
    let output = Command::new("bash").args(["-c", &shell]).stderr(Stdio::inherit()).output()?;
    let path = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    ensure!(path.exists(), "{} does not exist after the installation of {recipe}", path.display());
    path.canonicalize().with_context(|| path.display().to_string())
}

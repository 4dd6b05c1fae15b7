//! In: a command. Out: its wall time, its memory, and the CPU time of client and servers. Bound: one sample before and
//! one after it. Fails: if the command fails or runs longer than its deadline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::TestEnv;
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

/// The kernel counts CPU time in hundredths of a second.
const TICK_MILLIS: u64 = 10;
/// How long one run of a client may take.
const RUN_DEADLINE: Duration = Duration::from_mins(15);
/// Largest share of the machine's CPU that other processes may use. A run above it is refused.
pub(crate) const UNACCOUNTED_MAX: f64 = 0.03;

/// Resources that one run of a client used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// From start to exit of the client.
    pub(crate) wall_seconds: f64,
    /// User and system time of the client and of all processes that it started.
    pub(crate) client_cpu_seconds: f64,
    /// Peak memory of the client's largest process.
    pub(crate) peak_bytes: u64,
    /// CPU of the database server.
    pub(crate) database_cpu_seconds: f64,
    /// CPU of the S3 server.
    pub(crate) s3_cpu_seconds: f64,
    /// CPU of DynamoDB Local.
    pub(crate) tracking_cpu_seconds: f64,
    /// CPU time of processes outside the benchmark, as a share of cores times wall time.
    pub(crate) unaccounted: f64,
    /// Idle CPU time, as a share of cores times wall time.
    pub(crate) idle: f64,
}

/// The report of the measuring process about its client.
#[derive(Debug, Serialize, Deserialize)]
struct Client {
    wall_seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

/// Runs a command, waits for it and its descendants, and writes their resource usage to `report`. Runs in its own
/// process, because `getrusage` counts all children of a process. Returns the exit code of the command.
///
/// # Errors
/// If the command cannot be started.
pub(crate) fn run_measured(report: &Path, command: &[String]) -> Result<i32> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let begin = Instant::now();
    let (program, arguments) = command.split_first().context("no command given")?;
    let mut child = Command::new("setpriv");
    child.args(["--pdeathsig", "KILL", "--", program]).args(arguments);
    let child = child.spawn().context("start the client")?;
    let (mut wall, mut code) = (Duration::ZERO, 1);
    loop {
        match waitpid(None, None) {
            Ok(status)
                if status.pid().is_some_and(|pid| pid.as_raw().cast_unsigned() == child.id()) =>
            {
                wall = begin.elapsed();
                code = if let WaitStatus::Exited(_, code) = status { code } else { 1 };
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().cast_unsigned(), 0).as_secs_f64()
            + f64::from(i32::try_from(time.tv_usec()).unwrap_or_default()) / 1e6
    };
    let client = Client {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_bytes: usage.max_rss().cast_unsigned() << 10,
    };
    fs::write(report, serde_json::to_vec(&client)?)?;
    Ok(code)
}

/// The processes of the test environment whose CPU is counted.
#[derive(Debug)]
pub(crate) struct Meter {
    servers: BTreeMap<&'static str, u32>,
    folder: PathBuf,
}

/// CPU ticks so far.
#[derive(Debug)]
struct Ticks {
    servers: BTreeMap<&'static str, u64>,
    own: u64,
    busy: u64,
    idle: u64,
}

impl Meter {
    /// Finds the servers.
    ///
    /// # Errors
    /// If one of them is not running.
    pub(crate) fn new(env: &TestEnv, folder: PathBuf) -> Result<Self> {
        let mut servers = BTreeMap::new();
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", env.pid))?;
        for part in ["postgres", "mariadb", "s3", "dynamodb"] {
            let inner = fs::read_to_string(env.state.join("parts").join(part))?;
            let found = processes()?.into_iter().find(|pid| {
                let of_env = fs::read_link(format!("/proc/{pid}/ns/pid"));
                of_env.is_ok_and(|found| found == namespace) && inner_pid(*pid) == inner.trim()
            });
            servers.insert(part, found.with_context(|| format!("{part} is not running"))?);
        }
        Ok(Self { servers, folder })
    }

    fn ticks(&self) -> Result<Ticks> {
        let mut parents: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
        for stat in processes()?.into_iter().filter_map(stat_of) {
            parents.entry(stat.parent).or_default().push(stat);
        }
        let mut servers = BTreeMap::new();
        for (part, pid) in &self.servers {
            let root = stat_of(*pid).with_context(|| format!("{part} has ended"))?;
            let children = parents.get(pid).into_iter().flatten().map(|child| child.own);
            servers.insert(*part, root.own + root.reaped + children.sum::<u64>());
        }
        let own = stat_of(std::process::id()).context("read the statistics of this process")?.own;
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("/proc/stat is empty")?;
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        ensure!(fields.len() >= 8, "/proc/stat: {line}");
        // user, nice, system, idle, iowait, irq, softirq, steal
        let busy = fields[0] + fields[1] + fields[2] + fields[5] + fields[6];
        Ok(Ticks { servers, own, busy, idle: fields[3] + fields[4] })
    }

    /// Runs a client in the network of the test environment.
    ///
    /// # Errors
    /// If the client fails, with its output.
    pub(crate) async fn run(&self, env: &TestEnv, client: &ClientCommand) -> Result<Measured> {
        let report = self.folder.join("measured.json");
        let _ = fs::remove_file(&report);
        let mut command = env.command(std::env::current_exe()?);
        command.arg("measured").arg(&report).args(&client.argv);
        command.envs(client.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped());
        let before = self.ticks()?;
        let begin = Instant::now();
        let output = env.output(command, &client.input, RUN_DEADLINE).await?;
        let elapsed_seconds = begin.elapsed().as_secs_f64();
        let after = self.ticks()?;
        ensure!(
            output.code == Some(0),
            "{} failed with code {:?}: {} {}",
            client.argv.first().map_or("the client", String::as_str),
            output.code,
            tail(&output.stderr),
            tail(&output.stdout)
        );
        let found: Client = serde_json::from_slice(&fs::read(&report)?)?;
        Ok(measured(&before, &after, &found, elapsed_seconds))
    }
}

/// A client to run.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientCommand {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Environment variables.
    pub(crate) variables: Vec<(String, String)>,
    /// Standard input.
    pub(crate) input: String,
}

fn measured(before: &Ticks, after: &Ticks, client: &Client, elapsed_seconds: f64) -> Measured {
    let seconds = |ticks: u64| Duration::from_millis(ticks * TICK_MILLIS).as_secs_f64();
    let server = |part: &str| {
        let of = |ticks: &Ticks| ticks.servers.get(part).copied().unwrap_or_default();
        seconds(of(after).saturating_sub(of(before)))
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let machine_seconds = f64::from(u32::try_from(cores).unwrap_or(1)) * elapsed_seconds;
    let busy = seconds(after.busy.saturating_sub(before.busy));
    let counted = client.cpu_seconds
        + ["postgres", "mariadb", "s3", "dynamodb"].map(server).iter().sum::<f64>()
        + seconds(after.own.saturating_sub(before.own));
    Measured {
        wall_seconds: client.wall_seconds,
        client_cpu_seconds: client.cpu_seconds,
        peak_bytes: client.peak_bytes,
        database_cpu_seconds: server("postgres") + server("mariadb"),
        s3_cpu_seconds: server("s3"),
        tracking_cpu_seconds: server("dynamodb"),
        unaccounted: (busy - counted) / machine_seconds,
        idle: seconds(after.idle.saturating_sub(before.idle)) / machine_seconds,
    }
}

/// The last part of what a client printed.
fn tail(text: &str) -> &str {
    let begin = text.len().saturating_sub(2000);
    text.get(begin..).unwrap_or(text).trim()
}

#[derive(Debug)]
struct Stat {
    parent: u32,
    own: u64,
    reaped: u64,
}

fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name of the program, in parentheses, may contain spaces
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        reaped: number(13)? + number(14)?,
    })
}

fn processes() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").context("read /proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The id of a process in its own PID namespace.
fn inner_pid(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|line| line.split_whitespace().last()).unwrap_or_default().to_owned()
}

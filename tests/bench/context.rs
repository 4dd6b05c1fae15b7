//! In: the programs of a benchmark. Out: their versions, and the machine. Bound: one call each. Fails: if Tidemark or a
//! server does not report its version.

use std::collections::BTreeMap;
use std::fs;

use crate::clients::Bench;
use anyhow::Result;

/// Reads the versions of all programs, properties of the machine, and the time.
///
/// # Errors
/// If Tidemark or a server does not report its version.
pub(crate) async fn read(bench: &Bench) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, value: String| {
        found.insert(name.to_owned(), value.trim().to_owned());
    };
    let output = async |program: &std::path::Path, arguments: &[&str]| {
        let mut command = bench.env.command(program);
        command.args(arguments);
        bench.env.succeed(command, "").await
    };
    let version = output(&bench.tidemark, &["--version"]).await?;
    let profile = if bench.tidemark.components().any(|part| part.as_os_str() == "debug") {
        " (debug profile, which is slow)"
    } else {
        ""
    };
    add("Tidemark", version.lines().next().unwrap_or_default().replace("tidemark ", "") + profile);
    let server = |text: String| text.split_whitespace().next().unwrap_or_default().to_owned();
    add("Postgres", server(bench.env.psql("postgres", "show server_version").await?));
    add("MariaDB", server(bench.env.mariadb("mysql", "select version()").await?));
    let settings = "select current_setting('shared_buffers') || ', jit ' || current_setting('jit') \
        || ', autovacuum ' || current_setting('autovacuum') || ', fsync ' || current_setting('fsync')";
    add("settings of Postgres", bench.env.psql("postgres", settings).await?);
    let pool = bench.env.mariadb("mysql", "select @@innodb_buffer_pool_size / 1048576").await?;
    add("buffer pool of MariaDB", format!("{:.0} MiB", pool.trim().parse::<f64>().unwrap_or(0.0)));
    add(
        "S3 server",
        output(&bench.env.state.join("tools/weed"), &["version"]).await?.replace("version ", ""),
    );
    for (venv, packages) in [
        (Some(&bench.venv), &["duckdb", "connectorx", "pyarrow", "rivet-cli"][..]),
        (bench.spark.as_ref(), &["pyspark"][..]),
    ] {
        let Some(venv) = venv else { continue };
        let code = format!(
            "from importlib.metadata import version\nfor p in {packages:?}:\n  try: print(p, version(p))\n  except Exception: pass"
        );
        for line in output(&venv.join("bin/python"), &["-c", &code]).await?.lines() {
            if let Some((name, version)) = line.split_once(' ') {
                add(name, version.to_owned());
            }
        }
    }
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    add("processor", model.map_or("unknown", |(_, name)| name).to_owned());
    add("cores", std::thread::available_parallelism()?.to_string());
    let memory = fs::read_to_string("/proc/meminfo")?;
    add("memory", memory.lines().next().unwrap_or_default().replace("MemTotal:", ""));
    add("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?);
    add("time", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string());
    add("scale factor of TPC-H", bench.size.tpch.to_string());
    Ok(found)
}

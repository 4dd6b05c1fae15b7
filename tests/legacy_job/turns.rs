//! The legacy job and Tidemark in turns on one source: what each takes and leaves is what the rules of
//! the other ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Call, LegacyJob, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

use super::{Form, arguments, spelled, with};

const TABLE: &str = "public.t";

/// Who does what in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    LegacyIncremental,
    /// It dies when it has read.
    LegacyDies,
    /// With a given start, which it writes to the item.
    LegacyFull,
    LegacyReingest,
    OursIncremental,
    /// It is killed when it has read, and its claim lasts three seconds more.
    OursKilled,
    OursFull,
    OursReingest,
}

use Turn::{
    LegacyDies, LegacyFull, LegacyIncremental, LegacyReingest, OursFull, OursIncremental,
    OursKilled, OursReingest,
};

/// Fifty turns, and how many rows come before each.
const TURNS: [[(Turn, i64); 10]; 5] = [
    [
        (LegacyIncremental, 5),
        (OursIncremental, 3),
        (OursIncremental, 0),
        (LegacyIncremental, 0),
        (LegacyIncremental, 4),
        (LegacyDies, 2),
        (OursIncremental, 3),
        (OursFull, 1),
        (LegacyIncremental, 2),
        (OursIncremental, 1),
    ],
    [
        (OursKilled, 3),
        (OursIncremental, 2),
        (LegacyIncremental, 1),
        (OursKilled, 2),
        (LegacyIncremental, 2),
        (OursIncremental, 0),
        (OursReingest, 4),
        (LegacyIncremental, 3),
        (LegacyDies, 1),
        (LegacyDies, 1),
    ],
    [
        (LegacyIncremental, 1),
        (OursIncremental, 6),
        (LegacyFull, 1),
        (OursIncremental, 2),
        (LegacyIncremental, 0),
        (OursFull, 0),
        (OursIncremental, 2),
        (LegacyDies, 0),
        (OursIncremental, 0),
        (LegacyIncremental, 7),
    ],
    [
        (LegacyReingest, 2),
        (OursIncremental, 2),
        (OursIncremental, 2),
        (LegacyIncremental, 2),
        (OursReingest, 0),
        (LegacyFull, 2),
        (LegacyIncremental, 0),
        (OursIncremental, 3),
        (LegacyDies, 2),
        (OursKilled, 1),
    ],
    [
        (OursIncremental, 2),
        (LegacyIncremental, 1),
        (OursFull, 3),
        (LegacyIncremental, 1),
        (OursIncremental, 1),
        (LegacyReingest, 0),
        (OursIncremental, 0),
        (LegacyIncremental, 2),
        (OursReingest, 1),
        (OursIncremental, 5),
    ],
];

/// What the rules say should be there.
struct Expected {
    /// Ids 1 to this one are in the table.
    last: i64,
    /// `lwm_value`.
    low: i64,
    /// The end of a window that a killed run of Tidemark pinned.
    pending_window: Option<i64>,
    /// Rows for each run of Tidemark since one replaced all.
    ours: BTreeMap<String, Vec<i64>>,
}

#[test]
fn fifty_alternating_runs_of_both_jobs_lose_and_repeat_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "turns").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        let mut expected =
            Expected { last: 0, low: 0, pending_window: None, ours: BTreeMap::new() };
        for (number, (turn, rows)) in TURNS.as_flattened().iter().enumerate() {
            let (first, last) = (expected.last + 1, expected.last + rows);
            let insert = format!("insert into t select generate_series({first}, {last})");
            env.psql(&source.database, &insert).await?;
            expected.last = last;
            let taken = take(&source, *turn, number, &mut expected).await;
            taken.with_context(|| format!("turn {number}, {turn:?} of rows to {last}"))?;
        }
        in_the_lake(&source, &expected).await?;
        // and `tidemark verify` agrees, with any directories and columns of the runs
        let verify = source.command("verify", &source.job(TABLE, "FE"))?;
        let output = env.output(verify, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{} {}", output.stdout, output.stderr);
        Ok(())
    })
}

async fn take(
    source: &SourceFixture,
    turn: Turn,
    number: usize,
    expected: &mut Expected,
) -> Result<()> {
    match turn {
        LegacyIncremental | LegacyDies | LegacyFull | LegacyReingest => {
            old(source, turn, expected).await?;
        }
        OursKilled => return killed(source, number, expected).await,
        OursIncremental | OursFull | OursReingest => ours(source, turn, number, expected).await?,
    }
    let item = source.watermark_item(TABLE).await?.context("watermark item")?;
    LegacyJob::knows(&item)?;
    let done = if turn == LegacyDies { "N" } else { "Y" };
    ensure!(
        item["lwm_value"] == json!(expected.low.to_string())
            && item["hwm_value"] == "-1"
            && item["extract_successful"] == done,
        "{item}, not {}",
        expected.low
    );
    Ok(())
}

/// The legacy job, whose writes void the pending window of a run.
async fn old(source: &SourceFixture, turn: Turn, expected: &mut Expected) -> Result<()> {
    let job = LegacyJob { source, table: TABLE, column: "id", column_type: "IntegerType" };
    let given = Call { low: Some("0"), high: Some("-1"), ..Call::default() };
    let start = (expected.low / 2).to_string();
    let call = match turn {
        LegacyDies => Call { dies: true, ..given },
        LegacyFull => Call { full: true, low: Some(&start), ..given },
        LegacyReingest => Call { reingest: true, ..given },
        _ => given,
    };
    let took = job.run(call).await?.ids;
    let from = if call.full || call.reingest { 0 } else { expected.low };
    ensure!(took == (from + 1..=expected.last).collect::<Vec<_>>(), "{took:?} above {from}");
    expected.pending_window = None;
    match turn {
        LegacyFull => expected.low /= 2,
        LegacyDies => {}
        _ => expected.low = expected.last,
    }
    Ok(())
}

async fn ours(
    source: &SourceFixture,
    turn: Turn,
    number: usize,
    expected: &mut Expected,
) -> Result<()> {
    if turn != OursIncremental {
        // what is about to be replaced
        in_the_lake(source, expected).await?;
        expected.ours.clear();
    }
    let output =
        source.env.output(command(source, turn, number)?, "", Duration::from_mins(2)).await?;
    ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
    let said: Value = serde_json::from_str(output.stdout.trim())?;
    let (from, to) = match turn {
        OursIncremental => (expected.low, expected.pending_window.unwrap_or(expected.last)),
        _ => (0, expected.last),
    };
    let ids: Vec<i64> = (from + 1..=to).collect();
    ensure!(said["rows"] == ids.len(), "{said}, not {ids:?}");
    expected.ours.insert(said["run"].as_str().context("run")?.to_owned(), ids);
    if turn != OursFull {
        expected.low = to;
    }
    expected.pending_window = None;
    Ok(())
}

/// Kills a run that has pinned its window, before it leaves a record.
async fn killed(source: &SourceFixture, number: usize, expected: &mut Expected) -> Result<()> {
    let gate = source.file(&format!("gate-{number}"));
    let mut command = command(source, OursIncremental, number)?;
    command
        .env("TIDEMARK_TEST_PAUSE", format!("before-record={}", gate.display()))
        .env("TIDEMARK_LEASE_SECONDS", "3")
        .env("TIDEMARK_RENEW_SECONDS", "1");
    let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
    wait_until("the pause", Duration::from_mins(1), async || {
        ensure!(gate.exists(), "not there yet");
        Ok(())
    })
    .await?;
    child.kill().await?;
    std::fs::remove_file(&gate)?;
    // a window that was pending before stays as it was
    let end = expected.pending_window.unwrap_or(expected.last);
    expected.pending_window = (end > expected.low).then_some(end);
    let item = source.watermark_item(TABLE).await?.context("watermark item")?;
    ensure!(
        item["extract_successful"] == "N" && item["lwm_value"] == json!(expected.low.to_string()),
        "{item}"
    );
    ensure!(item["extract_metadata"] == "{\"row_count\": -1}", "{item}");
    Ok(())
}

/// A run of Tidemark, each time called in another way.
fn command(source: &SourceFixture, turn: Turn, number: usize) -> Result<tokio::process::Command> {
    let kind = if turn == OursFull { "FE" } else { "PE" };
    let form = match number % 4 {
        0 => {
            let mut job = source.job(TABLE, kind);
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
            job["spec"]["extract"]["reingest"] = json!(turn == OursReingest);
            return source.command("run", &job);
        }
        1 => Form::Environment,
        2 => Form::Glue,
        _ => Form::Script,
    };
    let reingest = (turn == OursReingest).to_string();
    let low = if turn == OursFull { "None" } else { "0" };
    let changes = [("extract_type", kind), ("reingest", &reingest), ("lwm_value", low)];
    let (words, variables) = spelled(form, &with(arguments(source, TABLE), &changes));
    source.call(&words, &variables)
}

/// Each run of Tidemark has left the rows of its window, each once.
async fn in_the_lake(source: &SourceFixture, expected: &Expected) -> Result<()> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    if !source.env.keys(&source.bucket, TABLE).await?.iter().any(|key| key.ends_with(".parquet")) {
        ensure!(expected.ours.values().all(Vec::is_empty), "no file, and {:?}", expected.ours);
        return Ok(());
    }
    let rows = source
        .env
        .read_parquet(&source.bucket, TABLE, "select filename, id from f order by id")
        .await?;
    for row in rows {
        let name = row["filename"].as_str().context("a name")?;
        let after = ["extract_run=", "/part-"].iter().find_map(|mark| name.split_once(mark));
        let run = after.and_then(|(_, rest)| rest.get(..36)).context("a run id")?;
        found.entry(run.to_owned()).or_default().push(row["id"].as_i64().context("an id")?);
    }
    let wanted: BTreeMap<_, _> = expected
        .ours
        .iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(run, ids)| (run.clone(), ids.clone()))
        .collect();
    ensure!(found == wanted, "found {found:?}\nwanted {wanted:?}");
    Ok(())
}

#[test]
fn times_are_handed_to_and_fro_as_python_writes_them() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "times").await?;
        let db = &source.database;
        env.psql(db, "create table t (id int, at timestamp)").await?;
        let old =
            LegacyJob { source: &source, table: TABLE, column: "at", column_type: "TimestampType" };
        let changes = [
            ("hwm_col_name", "at"),
            ("hwm_column_type", "TimestampType"),
            ("lwm_value", "None"),
            ("partition_column", "None"),
        ];
        let arguments = with(arguments(&source, TABLE), &changes);
        let item = async || source.watermark_item(TABLE).await?.context("watermark item");
        // first run: from the type's minimum; the running tick and five minutes are left out
        for (turn, (fraction, text)) in [
            ("", ""),
            (".5", ".500000"),
            (".000001", ".000001"),
            ("", ""),
            (".25", ".250000"),
            ("", ""),
        ]
        .into_iter()
        .enumerate()
        {
            let at = format!("2023-01-31 10:00:{turn:02}");
            env.psql(db, &format!("insert into t values ({turn}, '{at}{fraction}')")).await?;
            if turn % 2 == 0 {
                let said = super::call(&source, Form::Script, &arguments).await?;
                ensure!(said["rows"] == 1, "{said}");
            } else {
                let took = old.run(Call { high: Some("-1"), ..Call::default() }).await?;
                ensure!(took.ids == [i64::try_from(turn)?], "{took:?}");
            }
            let item = item().await?;
            ensure!(
                item["lwm_value"] == format!("{at}{text}") && item["hwm_value"] == "-1",
                "{item}"
            );
        }
        Ok(())
    })
}

/// A first run without rows leaves the beginning; the legacy job's statement must take that text, also
/// for a column of 32 bits.
#[test]
fn a_first_run_without_rows_is_continued_by_the_legacy_job() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (number, (column_type, sql_type)) in [
            ("IntegerType", "int"),
            ("LongType", "bigint"),
            ("TimestampType", "timestamp"),
            ("DateType", "date"),
        ]
        .into_iter()
        .enumerate()
        {
            let source = SourceFixture::new(env, "first").await?;
            let db = &source.database;
            env.psql(db, &format!("create table t (id int, mark {sql_type})")).await?;
            let changes = [
                ("hwm_col_name", "mark"),
                ("hwm_column_type", column_type),
                ("lwm_value", ""),
                ("hwm_value", if number == 0 { "None" } else { "-1" }),
                ("partition_column", ""),
            ];
            let arguments = with(arguments(&source, TABLE), &changes);
            let said = super::call(&source, Form::Environment, &arguments).await?;
            ensure!(said["rows"] == 0, "{said}");
            let value = if number < 2 { "-7".to_owned() } else { "'2023-01-31'".to_owned() };
            env.psql(db, &format!("insert into t values (1, {value})")).await?;
            let old = LegacyJob { source: &source, table: TABLE, column: "mark", column_type };
            let took = old.run(Call::default()).await.context(column_type)?;
            ensure!(took.ids == [1], "{column_type}: {took:?}");
            let said = super::call(&source, Form::Environment, &arguments).await?;
            ensure!(said["rows"] == 0, "{column_type}: {said}");
        }
        Ok(())
    })
}

/// A full extract of the legacy job without bounds leaves `None`, which its own next incremental run
/// could not read.
#[test]
fn the_none_text_of_the_legacy_job_means_the_beginning() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "none").await?;
        let rows = "create table t (id int); insert into t select generate_series(1, 10)";
        env.psql(&source.database, rows).await?;
        let old =
            LegacyJob { source: &source, table: TABLE, column: "id", column_type: "IntegerType" };
        let took = old.run(Call { full: true, ..Call::default() }).await?;
        ensure!(took.ids.len() == 10, "{took:?}");
        let item = source.watermark_item(TABLE).await?.context("watermark item")?;
        ensure!(item["lwm_value"] == "None" && item["hwm_value"] == "None", "{item}");
        let said = super::call(&source, Form::Glue, &arguments(&source, TABLE)).await?;
        ensure!(said["rows"] == 10 && said["watermark"] == "10", "{said}");
        Ok(())
    })
}

//! Watermark values: types, precision, NULL, what is not finite or out of range, and tables that
//! shrink.

use anyhow::{Context, Result, ensure};
use crds::Reason;
use crds::tracking::Guard;
use futures::{StreamExt, TryStreamExt, stream};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

use crate::edge::{Ask, Edge, Follow, Session, Who};

/// Runs of `tidemark` at a time.
const RUNS_MAX: usize = 3;

/// A type, its word in the manifest, three values that ascend, and the second and third as the
/// tracking table has them. As text they would not ascend; the whole numbers and decimals are equal
/// as floating point numbers.
const TYPES: [(&str, &str, [&str; 3], [&str; 2]); 12] = [
    ("smallint", "int", ["-5", "9", "10"], ["9", "10"]),
    ("int", "int", ["-2147483647", "999999999", "2147483647"], ["999999999", "2147483647"]),
    (
        "bigint",
        "int",
        ["9007199254740991", "9007199254740992", "9007199254740993"],
        ["9007199254740992", "9007199254740993"],
    ),
    (
        "numeric(30,10)",
        "decimal",
        ["9", "99999999999999999999.0000000001", "99999999999999999999.0000000002"],
        ["99999999999999999999.0000000001", "99999999999999999999.0000000002"],
    ),
    (
        "numeric",
        "decimal",
        ["0.3", "9.10000000000000000001", "10"],
        ["9.10000000000000000001", "10"],
    ),
    ("real", "double", ["-1", "0.1", "3.4e38"], ["0.1", "3.4e+38"]),
    ("float8", "double", ["0.1", "0.30000000000000004", "1e22"], ["0.30000000000000004", "1e+22"]),
    (
        "timestamp",
        "timestamp",
        ["0001-01-01 00:00:01", "2023-12-31 23:59:59.999999", "2024-01-01"],
        ["2023-12-31 23:59:59.999999", "2024-01-01 00:00:00"],
    ),
    (
        "timestamp(3)",
        "timestamp",
        ["2024-01-01", "2024-01-01 00:00:00.9994", "2024-01-01 00:00:01.0004"],
        ["2024-01-01 00:00:00.999000", "2024-01-01 00:00:01"],
    ),
    (
        "timestamp(0)",
        "timestamp",
        ["2024-01-01", "2024-01-01 00:00:00.6", "2024-01-01 00:00:01.6"],
        ["2024-01-01 00:00:01", "2024-01-01 00:00:02"],
    ),
    (
        "timestamptz",
        "timestamp",
        ["2024-10-27 02:30+02", "2024-10-27 02:30+01", "2024-10-27 01:30:00.000001+00"],
        ["2024-10-27 01:30:00", "2024-10-27 01:30:00.000001"],
    ),
    ("date", "date", ["0999-12-31", "2024-02-28", "2024-02-29"], ["2024-02-28", "2024-02-29"]),
];

#[test]
fn values_of_every_type_are_stored_unchanged_and_compared_as_values() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "types").await?;
        let runs = (0..TYPES.len()).map(|index| {
            let source = &source;
            async move {
                let (column, ..) = TYPES[index];
                three_runs(source, index).await.with_context(|| column.to_owned())
            }
        });
        stream::iter(runs).buffer_unordered(RUNS_MAX).try_collect::<Vec<()>>().await.map(|_| ())
    })
}

/// Two values, then one more, then none: what is stored is the greatest, and nothing comes twice.
async fn three_runs(source: &SourceFixture, index: usize) -> Result<()> {
    let (column, kind, [first, second, third], [stored, last]) = TYPES[index];
    let (table, db) = (format!("t{index}"), &source.database);
    let insert = |value: &str| format!("insert into {table} (at) values ('{value}');");
    let setup = format!("create table {table} (k serial, at {column});");
    source.env.psql(db, &format!("{setup} {} {}", insert(second), insert(first))).await?;
    let mut job = source.job(&format!("public.{table}"), "PE");
    job["spec"]["extract"]["watermark"] =
        json!({ "column": "at", "type": kind, "timeZone": "UTC" });
    for (value, rows, reached) in [("", 2, stored), (third, 1, last), ("", 0, last)] {
        if !value.is_empty() {
            source.env.psql(db, &insert(value)).await?;
        }
        let said = source.run(&job).await?;
        ensure!(said["rows"] == rows, "not {rows} rows: {said}");
        let item =
            source.watermark_item(&format!("public.{table}")).await?.context("watermark item")?;
        ensure!(item["lwm_value"] == reached, "not {reached}: {item}");
    }
    Ok(())
}

async fn table(edge: &Edge, name: &str, column: &str, rows: &[(i32, &str)]) -> Result<Session> {
    let mut session = edge.session().await?;
    session.say(format!("create table {name} (k int, at {column})")).await?;
    for (key, value) in rows {
        session.say(format!("insert into {name} values ({key}, {value})")).await?;
    }
    Ok(session)
}

#[test]
fn rows_without_watermark_are_refused_always_read_or_skipped() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "nulls").await?;
        let mut session = table(&edge, "t", "int", &[(1, "10"), (2, "20"), (3, "null")]).await?;
        let policy = |policy: Option<&str>| {
            let mut watermark = json!({ "column": "at", "type": "int" });
            if let Some(policy) = policy {
                watermark["nullPolicy"] = json!(policy);
            }
            Ask::new(Who::Sees, "t", watermark)
        };
        for fails in [None, Some("fail")] {
            let refused = edge.refused(&policy(fails)).await?;
            ensure!(refused.report.reason == Reason::NullWatermarkRows, "{refused}");
        }
        let mut excluded = Follow::new(policy(Some("exclude")));
        ensure!(excluded.run(&edge).await?.keys() == [1, 2]);
        ensure!(excluded.run(&edge).await?.keys().is_empty());
        let mut included = Follow::new(policy(Some("include")));
        ensure!(included.run(&edge).await?.keys() == [1, 2, 3]);
        // nothing but the row without one: it comes, and the watermark stays
        let second = included.run(&edge).await?;
        ensure!(second.keys() == [3] && second.plan.window.high.is_none(), "{second:?}");
        ensure!(included.ask.low.as_deref() == Some("20"), "{:?}", included.ask.low);
        session.say("insert into t values (4, 21)").await?;
        ensure!(included.run(&edge).await?.keys() == [3, 4]);
        ensure!(excluded.run(&edge).await?.keys() == [4]);
        Ok(())
    })
}

#[test]
fn infinities_nan_and_values_out_of_range_are_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "finite").await?;
        let wide = format!("'1{}'", "0".repeat(40));
        let cases = [
            ("timestamp", "timestamp", "'infinity'", Reason::NonFiniteValue),
            ("timestamp", "timestamp", "'-infinity'", Reason::NonFiniteValue),
            ("timestamptz", "timestamp", "'infinity'", Reason::NonFiniteValue),
            ("timestamptz", "timestamp", "'-infinity'", Reason::NonFiniteValue),
            ("date", "date", "'infinity'", Reason::NonFiniteValue),
            ("date", "date", "'-infinity'", Reason::NonFiniteValue),
            ("numeric", "decimal", "'NaN'", Reason::NonFiniteValue),
            ("numeric(10,2)", "decimal", "'NaN'", Reason::NonFiniteValue),
            ("numeric", "decimal", "'-Infinity'", Reason::NonFiniteValue),
            ("float8", "double", "'NaN'", Reason::NonFiniteValue),
            ("float8", "double", "'-Infinity'", Reason::NonFiniteValue),
            ("real", "double", "'NaN'", Reason::NonFiniteValue),
            ("numeric", "decimal", wide.as_str(), Reason::ColumnTypeUnsupported),
            // beyond 64 bits of microseconds since 1970
            ("timestamptz", "timestamp", "'294276-12-31+00'", Reason::ColumnTypeUnsupported),
        ];
        for (column, kind, value, reason) in cases {
            let mut session = table(&edge, "t", column, &[(1, value)]).await?;
            let mut watermark = json!({ "column": "at", "type": kind, "timeZone": "UTC" });
            let counted =
                if matches!(kind, "decimal" | "double") { "lagUnits" } else { "lagSeconds" };
            watermark[counted] = json!(0);
            let refused = edge.refused(&Ask::new(Who::Sees, "t", watermark)).await?;
            ensure!(refused.report.reason == reason, "{column} {value}: {refused}");
            ensure!(!refused.report.remedy.is_empty(), "{column} {value}: no remedy");
            session.say("drop table t").await?;
        }
        Ok(())
    })
}

#[test]
fn a_date_of_the_far_future_does_not_become_the_watermark() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "future").await?;
        let rows = [
            (1, "now() - interval '2 hours'"),
            (2, "'9999-12-31 23:59:59.999999+00'"),
            (3, "'290000-12-31 23:59:59+00'"),
        ];
        let mut session = table(&edge, "t", "timestamptz", &rows).await?;
        for lag in [0, 60] {
            let watermark = json!({ "column": "at", "type": "timestamp", "lagSeconds": lag });
            let mut follow = Follow::new(Ask::new(Who::Sees, "t", watermark));
            ensure!(follow.run(&edge).await?.keys() == [1]);
            session.say("insert into t values (4, now() - interval '1 hour')").await?;
            ensure!(follow.run(&edge).await?.keys() == [4]);
            session.say("delete from t where k = 4").await?;
        }
        let days = [(1, "current_date - 1"), (2, "current_date"), (3, "'9999-12-31'")];
        table(&edge, "days", "date", &days).await?;
        let watermark =
            json!({ "column": "at", "type": "date", "timeZone": "UTC", "lagSeconds": 0 });
        let taken = edge.take(&Ask::new(Who::Sees, "days", watermark)).await?;
        ensure!(taken.keys() == [1], "a day that is not over was taken: {taken:?}");
        Ok(())
    })
}

#[test]
fn a_year_before_christ_is_refused_by_name_and_correcting_it_is_the_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "christ").await?;
        let db = &source.database;
        let sql = "create table t (k int, at timestamp); insert into t values (1, '0044-03-15 12:00:00 BC')";
        env.psql(db, sql).await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "timestamp", "timeZone": "UTC" });
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        let last = output.stderr.lines().last().context("a line")?;
        let last: Value = serde_json::from_str(last)?;
        ensure!(last["fields"]["remedy"].as_str().is_some_and(|it| !it.is_empty()), "{last}");
        ensure!(!output.stderr.contains("0044"), "a value in the log");
        env.psql(db, "update t set at = '2001-03-15 12:00:00'").await?;
        source.run(&job).await?;
        source.run(&job).await?;
        let item = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(item["lwm_value"] == "2001-03-15 12:00:00", "{item}");
        Ok(())
    })
}

#[test]
fn a_table_that_fell_below_its_watermark_is_refused_and_an_empty_one_changes_nothing() -> Result<()>
{
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "regress").await?;
        let db = &source.database;
        env.psql(db, "create table t (k int, at int); insert into t values (1, 9), (2, 100)")
            .await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "at", "type": "int" });
        source.run(&job).await?;
        let stored = async |when: &str| {
            let item = source.watermark_item("public.t").await?.context("watermark item")?;
            ensure!(item["lwm_value"] == "100", "{when}: {item}");
            Ok::<_, anyhow::Error>(())
        };
        env.psql(db, "delete from t where k = 2").await?;
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "exit {:?}: {}", output.code, output.stderr);
        ensure!(output.stderr.contains("WatermarkRegressed"), "{}", output.stderr);
        stored("below").await?;
        env.psql(db, "delete from t").await?;
        ensure!(source.run(&job).await?["rows"] == 0);
        stored("empty").await?;
        env.psql(db, "insert into t values (3, 100), (4, 101)").await?;
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1 && said["watermark"] == "101", "{said}");
        Ok(())
    })
}

#[test]
fn lookback_reads_late_rows_and_never_lowers_the_stored_watermark() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "back").await?;
        let db = &source.database;
        let hours =
            |key, hours| format!("insert into t values ({key}, now() - interval '{hours} hours');");
        env.psql(
            db,
            &format!("create table t (k int, at timestamptz); {} {}", hours(1, 30), hours(2, 1)),
        )
        .await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "at", "type": "timestamp", "lookbackSeconds": 36_000 });
        ensure!(source.run(&job).await?["rows"] == 2);
        let lwm = async || {
            let item = source.watermark_item("public.t").await?.context("watermark item")?;
            Ok::<_, anyhow::Error>(item["lwm_value"].clone())
        };
        let before = lwm().await?;
        // one late row inside the lookback, and one outside
        env.psql(db, &format!("{} {}", hours(3, 5), hours(4, 20))).await?;
        ensure!(source.run(&job).await?["rows"] == 2, "rows 2 and 3");
        ensure!(lwm().await? == before);
        // an end below the stored watermark: row 3 alone comes again
        job["spec"]["extract"]["watermark"]["lagSeconds"] = json!(2 * 3600);
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1 && said["window"]["guard"] == "lag", "{said}");
        ensure!(lwm().await? == before, "moved back from {before} to {}", lwm().await?);
        Ok(())
    })
}

#[test]
fn equal_values_at_the_boundary_are_read_once() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "equal").await?;
        let rows = [(1, "5"), (2, "7"), (3, "7"), (4, "8")];
        table(&edge, "t", "int", &rows).await?;
        let ask = |low: &str, high: &str| {
            let watermark = json!({ "column": "at", "type": "int", "high": high });
            Ask::new(Who::Sees, "t", watermark).from(low)
        };
        ensure!(edge.take(&ask("5", "7")).await?.keys() == [2, 3]);
        ensure!(edge.take(&ask("7", "7")).await?.keys().is_empty());
        ensure!(edge.take(&ask("7", "9")).await?.keys() == [4]);
        let taken = edge.take(&ask("7", "9")).await?;
        ensure!(taken.guard() == Guard::Unguarded, "{taken:?}");
        Ok(())
    })
}

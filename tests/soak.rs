//! The soak: incremental runs one after another against writers with long transactions, ties, late
//! commits, updates and rollbacks; then what was published, merged by key, is the source.
//!
//! `TIDEMARK_SOAK_RUNS` (10 when absent) and `TIDEMARK_SOAK_SEED` (the clock's) may be set.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use harness::{SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// Runs of the short form.
const RUNS: u64 = 10;
/// Writers of a table; each has the keys of its own remainder.
const WRITERS: u64 = 4;
/// How long the last rows may take to come.
const LAST_DEADLINE: Duration = Duration::from_mins(1);

/// Chance, from a seed (`splitmix64`).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    const fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What writers and runs did.
#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    done: AtomicU64,
    empty: AtomicU64,
    rows: AtomicU64,
    transactions: AtomicU64,
    inserts: AtomicU64,
    updates: AtomicU64,
    rollbacks: AtomicU64,
    late: AtomicU64,
    stop: AtomicU64,
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::SeqCst);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}

async fn connect(source: &SourceFixture) -> Result<PgConnection> {
    let options: sqlx::postgres::PgConnectOptions =
        source.env.postgres_url(&source.database).parse()?;
    Ok(options.disable_statement_logging().connect().await?)
}

async fn say(session: &mut PgConnection, sql: String) -> Result<u64> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(session).await;
    Ok(done.context(sql)?.rows_affected())
}

/// Which of the two tables is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Rows with a stamp in whole seconds, inserted and updated; guard `exact`.
    Items,
    /// Rows with a number of a sequence, only inserted; guard `waited`.
    Log,
}

/// Transactions one after another until the runs are over.
async fn write(
    source: &SourceFixture,
    kind: Kind,
    writer: u64,
    mut dice: Dice,
    counts: &Counts,
) -> Result<()> {
    let mut session = connect(source).await?;
    // the last two of the table keep theirs open over whole runs
    let long = kind == Kind::Items && writer >= WRITERS / 2;
    let mut key = writer;
    while get(&counts.stop) == 0 {
        let runs = get(&counts.begun);
        say(&mut session, "begin".to_owned()).await?;
        let first = key;
        let inserts = 1 + dice.roll(20);
        match kind {
            Kind::Items => {
                for _ in 0..inserts {
                    key += WRITERS;
                    say(&mut session, format!("insert into t (k, v) values ({key}, 0)")).await?;
                }
                let update = format!(
                    "update t set v = v + 1, at = now() where k % {WRITERS} = {writer} and k % {} = {}",
                    WRITERS * 8,
                    writer + WRITERS * dice.roll(8)
                );
                add(&counts.updates, say(&mut session, update).await?);
            }
            Kind::Log => {
                let insert =
                    format!("insert into t (v) select {writer} from generate_series(1, {inserts})");
                say(&mut session, insert).await?;
            }
        }
        add(&counts.inserts, inserts);
        if long {
            let until = runs + 1 + dice.roll(3);
            while get(&counts.begun) < until && get(&counts.stop) == 0 {
                say(&mut session, "select pg_sleep(0.05)".to_owned()).await?;
            }
            say(
                &mut session,
                format!("update t set v = v + 1, at = now() where k = {}", first + WRITERS),
            )
            .await?;
        } else {
            say(&mut session, format!("select pg_sleep({} / 1000.0)", 1 + dice.roll(200))).await?;
        }
        let keeps = dice.roll(6) > 0;
        say(&mut session, if keeps { "commit" } else { "rollback" }.to_owned()).await?;
        add(&counts.transactions, 1);
        add(
            if keeps { &counts.late } else { &counts.rollbacks },
            u64::from(!keeps || get(&counts.begun) > runs),
        );
    }
    Ok(session.close().await?)
}

/// Checks that the windows are contiguous and the watermark never moves back; returns it.
async fn turn(
    source: &SourceFixture,
    job: &Value,
    before: &Value,
    guard: &str,
    counts: &Counts,
) -> Result<Value> {
    add(&counts.begun, 1);
    let said = source.run(job).await?;
    add(&counts.done, 1);
    let window = &said["window"];
    ensure!(window["guard"] == guard, "{said}");
    ensure!(before.is_null() || window["low"] == *before, "a gap after {before}: {said}");
    let rows = said["rows"].as_u64().context("rows")?;
    add(&counts.rows, rows);
    add(&counts.empty, u64::from(rows == 0));
    // a run without rows names no watermark: it stays, as the next window's start shows
    let reached = said["watermark"].clone();
    ensure!(rows > 0 || reached.is_null() || reached == *before, "moved without rows: {said}");
    Ok(if rows == 0 { before.clone() } else { reached })
}

fn job(source: &SourceFixture, kind: Kind) -> Value {
    let mut job = source.job("public.t", "PE");
    let watermark = match kind {
        Kind::Items => json!({ "column": "at", "type": "timestamp", "stampedBy": "database" }),
        Kind::Log => json!({ "column": "k", "type": "int", "stampedBy": "database" }),
    };
    job["spec"]["extract"]["watermark"] = watermark;
    job["spec"]["extract"]["partition"] = json!({ "column": "k", "count": 2 });
    job
}

async fn soak(kind: Kind, runs: u64, seed: u64) -> Result<String> {
    let env = TestEnv::shared()?;
    let (name, guard, table) = match kind {
        Kind::Items => (
            "items",
            "exact",
            "k int primary key, v int not null, at timestamptz(0) not null default now()",
        ),
        Kind::Log => ("log", "waited", "k bigserial primary key, v int not null"),
    };
    let source = SourceFixture::new(env, &format!("soak-{name}")).await?;
    env.psql(&source.database, &format!("create table t ({table})")).await?;
    let (job, counts) = (job(&source, kind), Arc::new(Counts::default()));
    let writers = (0..WRITERS).map(|writer| {
        let dice = Dice(seed ^ (writer + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        write(&source, kind, writer, dice, &counts)
    });
    let turns = async {
        let mut reached = Value::Null;
        for _ in 0..runs {
            reached = turn(&source, &job, &reached, guard, &counts).await?;
        }
        add(&counts.stop, 1);
        Ok::<_, anyhow::Error>(reached)
    };
    let (mut reached, _) = tokio::try_join!(turns, try_join_all(writers))?;
    let max = match kind {
        Kind::Items => "select to_char(max(at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from t",
        Kind::Log => "select max(k) from t",
    };
    let max = env.psql(&source.database, max).await?;
    wait_until("the last rows", LAST_DEADLINE, async || {
        if reached == max.as_str() {
            return Ok(());
        }
        reached = turn(&source, &job, &reached, guard, &counts).await?;
        anyhow::bail!("at {reached}, not {max}")
    })
    .await?;
    equal(&source, &job, kind).await?;
    let ties = match kind {
        Kind::Items => {
            "select coalesce(sum(n), 0) from (select count(*) n from t group by at having count(*) > 1) q"
        }
        Kind::Log => "select 0",
    };
    let ties = env.psql(&source.database, ties).await?;
    Ok(summary(name, &counts, &ties))
}

fn summary(name: &str, counts: &Counts, ties: &str) -> String {
    let of = |what, count| format!("{} {what}", get(count));
    [
        format!("soak {name}: {} runs ({} without rows)", get(&counts.done), get(&counts.empty)),
        of("rows published", &counts.rows),
        of("transactions", &counts.transactions),
        of("inserts", &counts.inserts),
        of("updates", &counts.updates),
        of("rollbacks", &counts.rollbacks),
        of("commits later than a run's start", &counts.late),
        format!("{ties} rows with a tie"),
    ]
    .join(", ")
}

/// The newest of each key is the source, no version of a row came twice, and nothing is left behind.
async fn equal(source: &SourceFixture, job: &Value, kind: Kind) -> Result<()> {
    source.verify(job).await?;
    let (version, newest) = match kind {
        Kind::Items => ("k, \"at\"", "arg_max(v, \"at\")"),
        Kind::Log => ("k", "max(v)"),
    };
    let published = format!(
        "select (select count(*) from (select 1 from t group by {version} having count(*) > 1)) doubled, \
         (select count(*) from (select 1 from f group by filename, k having count(*) > 1)) doubled_in_a_file, \
         count(*) n, md5(string_agg(k || ':' || v, ',' order by k)) digest \
         from (select k, {newest} v from t group by k)"
    );
    let published = source.env.read_parquet(&source.bucket, "public.t", &published).await?;
    let there = "select count(*) || ' ' || md5(string_agg(k || ':' || v, ',' order by k)) from t";
    let there = source.env.psql(&source.database, there).await?;
    let (rows, digest) = there.trim().split_once(' ').context("rows and digest")?;
    let expected = json!({ "doubled": 0, "doubled_in_a_file": 0, "n": rows.parse::<u64>()?, "digest": digest });
    ensure!(published[0] == expected, "published {}, in the table {expected}", published[0]);
    Ok(())
}

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().with_context(|| format!("{name}={text}")),
        _ => Ok(default),
    }
}

#[test]
fn many_runs_during_writes_publish_each_row_once() -> Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = setting("TIDEMARK_SOAK_SEED", clock)?;
    let runs = setting("TIDEMARK_SOAK_RUNS", RUNS)?;
    // not by a macro: the test's harness would keep it to itself
    writeln!(std::io::stderr(), "soak: seed {seed}, {runs} runs of each table")?;
    TestEnv::shared()?.run(async {
        let both = tokio::try_join!(soak(Kind::Items, runs, seed), soak(Kind::Log, runs, seed));
        let (items, log) = both.with_context(|| format!("seed {seed}"))?;
        Ok(writeln!(std::io::stderr(), "{items}\n{log}")?)
    })
}

//! A PgBouncer between `tidemark` and Postgres, in its three modes: T53.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use harness::{Output, Pooler, Session, TestEnv, wait_until};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Row};

use crate::{Bench, RUN, TABLE, in_env, printed, refused, short};

/// The job, through a pooler.
fn through(bench: &Bench, pooler: &Pooler) -> Value {
    let mut job = bench.job.clone();
    job["spec"]["source"]["port"] = json!(pooler.port);
    job
}

/// A sub-command through a pooler, and its end.
async fn ended(bench: &Bench, pooler: &Pooler, sub_command: &str) -> Result<Output> {
    let mut command = bench.source.command(sub_command, &through(bench, pooler))?;
    short(&mut command);
    bench.source.start(command, None)?.ended(RUN).await
}

/// Somebody else's connection to the pooler.
async fn neighbour(bench: &Bench, pooler: &Pooler) -> Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(TestEnv::IP)
        .port(pooler.port)
        .database(&bench.source.database)
        .username(TestEnv::POSTGRES_USER)
        .password(TestEnv::POSTGRES_PASSWORD)
        .extra_float_digits(None::<i8>)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(bench.env.ca());
    options.connect().await.context("connect to the pooler")
}

/// Has all of these run a statement at the same time, and gives them back.
async fn at_once(bench: &Bench, others: Vec<PgConnection>) -> Result<Vec<PgConnection>> {
    let (env, database) = (bench.env, &bench.source.database);
    let mut lock = Session::open(env, database)?;
    lock.say("do $$ begin perform pg_advisory_lock(53); end $$;").await?;
    let (count, waits) = (others.len().to_string(), "pg_advisory_xact_lock_shared(53)");
    let running = join_all(others.into_iter().map(async |mut other| {
        let ran = sqlx::raw_sql("do $$ begin perform pg_advisory_xact_lock_shared(53); end $$");
        ran.execute(&mut other).await.map(|_| other)
    }));
    let released = async {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = current_database() \
             and wait_event = 'advisory' and query like '%{waits}%'"
        );
        wait_until("all of them", RUN, async || {
            let found = env.psql(database, &sql).await?;
            ensure!(found.trim() == count, "{} of {count} wait", found.trim());
            Ok(())
        })
        .await?;
        lock.say("do $$ begin perform pg_advisory_unlock(53); end $$;").await
    };
    let (others, released) = tokio::join!(running, released);
    released?;
    others.into_iter().collect::<Result<_, _>>().context("run a statement through the pooler")
}

/// Nothing was published, and nothing is on its way.
async fn nothing(bench: &Bench) -> Result<()> {
    ensure!(bench.files().await?.is_empty(), "something was published");
    ensure!(bench.source.open_uploads().await? == 0, "an upload is open");
    Ok(())
}

#[test]
fn t53_a_pool_of_sessions_is_as_good_as_the_server() -> Result<()> {
    in_env(async {
        for (kind, more) in [("FE", ["server_round_robin = 1"]), ("PE", ["server_lifetime = 1"])] {
            let bench = Bench::new("t53-session", kind, 300, 3).await?;
            let mut pooler = Pooler::start(bench.env, "session", 5, &more).await?;
            let said = ended(&bench, &pooler, "plan").await?;
            ensure!(said.code == Some(0), "{kind}: {}", said.stderr);
            let said = printed(&ended(&bench, &pooler, "run").await?)?;
            ensure!(said["rows"] == 300, "{kind}: {said}");
            bench.whole().await.context(kind)?;
            pooler.lives()?;
        }
        Ok(())
    })
}

#[test]
fn t53_a_pool_of_transactions_or_statements_is_refused_before_a_row_is_read() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53-shared", "FE", 100, 2).await?;
        for (mode, size, more) in [
            ("transaction", 1, ""),
            ("transaction", 8, ""),
            ("transaction", 8, "server_round_robin = 1"),
            ("statement", 1, ""),
            ("statement", 8, ""),
            ("statement", 8, "server_round_robin = 1"),
        ] {
            let about = format!("{mode} {size} {more}");
            let pooler = Pooler::start(bench.env, mode, size, &[more]).await?;
            let others = join_all((0..size.div_ceil(2)).map(|_| neighbour(&bench, &pooler))).await;
            let others: Vec<_> = others.into_iter().collect::<Result<_>>()?;
            // each of them gets a connection of the pool, which stays open
            let _others = at_once(&bench, others).await.with_context(|| about.clone())?;
            for sub_command in ["plan", "run"] {
                let output = ended(&bench, &pooler, sub_command).await?;
                refused(&output, 10, "PoolerUnsupported").with_context(|| about.clone())?;
                ensure!(output.stderr.contains("PgBouncer: pool_mode"), "{}", output.stderr);
            }
            nothing(&bench).await.with_context(|| about.clone())?;
        }
        // the same source, past the pooler
        bench.publishes().await?;
        bench.whole().await
    })
}

#[test]
fn t53_a_transaction_pool_is_refused_under_load_too() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53-busy", "FE", 100, 2).await?;
        for more in ["server_round_robin = 0", "server_round_robin = 1"] {
            let pooler = Pooler::start(bench.env, "transaction", 6, &[more]).await?;
            let mut busy = tokio::task::JoinSet::new();
            for _ in 0..12 {
                let mut other = neighbour(&bench, &pooler).await?;
                busy.spawn(async move {
                    while sqlx::raw_sql("select count(*) from generate_series(1, 10000)")
                        .execute(&mut other)
                        .await
                        .is_ok()
                    {}
                });
            }
            for _ in 0..10 {
                let output = ended(&bench, &pooler, "plan").await?;
                refused(&output, 10, "PoolerUnsupported").context(more)?;
            }
            busy.shutdown().await;
        }
        nothing(&bench).await
    })
}

#[test]
fn t53_a_pool_of_one_session_is_named_at_plan_time() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53-one", "FE", 100, 2).await?;
        // the pooler's own patience, longer and shorter than ours
        for more in ["query_wait_timeout = 120", "query_wait_timeout = 1", "query_wait_timeout = 0"]
        {
            let pooler = Pooler::start(bench.env, "session", 1, &[more]).await?;
            for sub_command in ["plan", "run"] {
                let output = ended(&bench, &pooler, sub_command).await?;
                refused(&output, 75, "DatabaseUnreachable").context(more)?;
                for words in ["pooler", "pool_size", "worker.parallelism + 2"] {
                    ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
                }
                nothing(&bench).await.context(more)?;
            }
        }
        Ok(())
    })
}

#[test]
fn t53_a_pool_that_is_used_up_after_the_plan_is_named_too() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53-full", "FE", 100, 2).await?;
        let more = ["query_wait_timeout = 2"];
        let pooler = Pooler::start(bench.env, "session", 2, &more).await?;
        let mut command = bench.source.command("run", &through(&bench, &pooler))?;
        short(&mut command);
        let mut run = bench.source.start(command, Some("after-pin"))?;
        run.paused().await?;
        let mut other = neighbour(&bench, &pooler).await?;
        sqlx::raw_sql("select 1").execute(&mut other).await?;
        run.go_on()?;
        let output = run.ended(RUN).await?;
        refused(&output, 75, "DatabaseUnreachable")?;
        ensure!(output.stderr.contains("worker.parallelism + 2"), "{}", output.stderr);
        nothing(&bench).await?;
        // with one to spare it goes on, one partition after the other
        drop(other);
        let freed = async || {
            let mut other = neighbour(&bench, &pooler).await?;
            let mut another = neighbour(&bench, &pooler).await?;
            for session in [&mut other, &mut another] {
                let row = sqlx::raw_sql("select 1").fetch_one(session).await?;
                ensure!(row.try_get::<i32, _>(0)? == 1);
            }
            Ok(())
        };
        wait_until("two free sessions", RUN, freed).await?;
        let mut job = through(&bench, &pooler);
        job["spec"]["worker"] = json!({ "parallelism": 1 });
        let mut command = bench.source.command("run", &job)?;
        short(&mut command);
        let said = printed(&bench.source.start(command, None)?.ended(RUN).await?)?;
        ensure!(said["rows"] == 100, "{said}");
        bench.whole().await
    })
}

#[test]
fn t53_a_pooler_that_ends_idle_transactions_loses_the_snapshot_and_no_row() -> Result<()> {
    in_env(async {
        let bench = Bench::new("t53-idle", "FE", 100, 1).await?;
        // a table that takes longer than a transaction may be idle, while the snapshot session waits
        let view = "create view slow as select t.* from t, pg_sleep(6) where id is not null";
        bench.env.psql(&bench.source.database, view).await?;
        let more = ["idle_transaction_timeout = 1", "client_idle_timeout = 1"];
        let pooler = Pooler::start(bench.env, "session", 4, &more).await?;
        let mut job = through(&bench, &pooler);
        job["spec"]["extract"] = json!({ "table": "public.slow", "type": "FE" });
        let mut command = bench.source.command("run", &job)?;
        short(&mut command);
        // the snapshot session is asked only when the run is renewed, and that is far off
        crate::unrenewed(&mut command);
        let output = bench.source.start(command, None)?.ended(Duration::from_mins(1)).await?;
        refused(&output, 75, "SnapshotLost")?;
        ensure!(output.stderr.contains("a pooler"), "{}", output.stderr);
        nothing(&bench).await?;
        let files = bench.env.keys(&bench.source.bucket, "public.slow/extract_run=").await?;
        ensure!(files.is_empty() && TABLE != "public.slow", "{files:?}");
        Ok(())
    })
}

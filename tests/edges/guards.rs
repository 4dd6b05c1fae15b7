//! Which guard holds, with and without `pg_read_all_stats`, and what each of them must not be fooled by.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::tracking::Guard;
use crds::tracking::Guard::{Exact, Lag, Unguarded, Waited};
use harness::{SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};
use worker_core::sql::rows::statements::EXACT_CLOCK;

use crate::edge::{Ask, Edge, Follow, Session, Taken, Who, grow_old};

/// Transactions of a message that takes seconds.
const MANY: usize = 25_000;

const WHO: [Who; 2] = [Who::Sees, Who::Blind];

fn stamped() -> Value {
    json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "lagSeconds": 2, "waitSeconds": 0 })
}

async fn stamped_table(edge: &Edge) -> Result<()> {
    edge.say(
        "create table t (k int, at timestamptz not null default now()); \
         insert into t values (1, now() - interval '1 hour')",
    )
    .await
}

#[test]
fn the_guard_depends_on_server_user_column_and_writer() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "kinds").await?;
        edge.say(
            "create table clock (k int, at timestamptz default now()); \
             create table own (k int, at serial); create table generated (k int, at int generated always as identity); \
             create sequence shared; create table foreign_numbers (k int, at int default nextval('shared')); \
             create table cached (k int, at serial); alter sequence cached_at_seq cache 10; \
             create table stepping (k int, at serial); alter sequence stepping_at_seq increment 2; \
             create table counting (k int, at int)",
        )
        .await?;
        let database = Some("database");
        for (table, stamped_by, lag, sees, blind) in [
            ("clock", database, None, Exact, Waited),
            ("clock", database, Some(0), Exact, Waited),
            ("clock", None, None, Lag, Lag),
            ("clock", Some("application"), Some(60), Lag, Lag),
            ("clock", None, Some(0), Unguarded, Unguarded),
            ("own", database, None, Waited, Waited),
            ("generated", database, None, Waited, Waited),
            ("own", None, None, Unguarded, Unguarded),
            ("own", None, Some(5), Lag, Lag),
            ("foreign_numbers", database, None, Unguarded, Unguarded),
            ("cached", database, None, Unguarded, Unguarded),
            ("stepping", database, Some(5), Lag, Lag),
            ("counting", database, None, Unguarded, Unguarded),
        ] {
            let kind = if table == "clock" { "timestamp" } else { "int" };
            let mut watermark = json!({ "column": "at", "type": kind });
            if let Some(stamped_by) = stamped_by {
                watermark["stampedBy"] = json!(stamped_by);
            }
            if let Some(lag) = lag {
                let unit = if kind == "timestamp" { "lagSeconds" } else { "lagUnits" };
                watermark[unit] = json!(lag);
            }
            for (who, expected) in WHO.into_iter().zip([sees, blind]) {
                let taken = edge.take(&Ask::new(who, table, watermark.clone())).await?;
                let guard = taken.guard();
                ensure!(guard == expected, "{table} {watermark} {who:?}: {guard:?}");
                let proven = matches!(guard, Exact | Waited);
                ensure!(taken.plan.warnings.is_empty() == proven, "{table}: {:?}", taken.plan.warnings);
            }
        }
        Ok(())
    })
}

#[test]
fn other_databases_and_own_sessions_do_not_lower_the_window() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (edge, other) = (Edge::new(env, "apart").await?, Edge::new(env, "elsewhere").await?);
        stamped_table(&edge).await?;
        stamped_table(&other).await?;
        let mut far = other.session().await?;
        far.say("begin; insert into t values (9)").await?;
        let mut prepared = other.session().await?;
        let name = &other.database;
        prepared
            .say(format!("begin; insert into t values (8); prepare transaction '{name}'"))
            .await?;
        let mut own = edge.session().await?;
        own.say("set application_name = 'tidemark/a-long-run/3'; begin; select from t").await?;
        let mut ticking = edge.session().await?;
        edge.say("insert into t values (2)").await?;
        grow_old(&mut far).await?;
        wait_until("row 2 to be old", Duration::from_secs(20), async || {
            let old = "select clock_timestamp() > max(at) + interval '1.4 seconds' from t";
            ensure!(ticking.ask(old).await? == "true", "still young");
            Ok(())
        })
        .await?;
        for (who, guard) in WHO.into_iter().zip([Guard::Exact, Guard::Waited]) {
            let taken = edge.take(&Ask::new(who, "t", stamped())).await?;
            ensure!(taken.guard() == guard && taken.keys() == [1, 2], "{who:?}: {taken:?}");
        }
        prepared.say(format!("rollback prepared '{name}'")).await
    })
}

#[test]
fn a_session_that_hides_its_start_makes_no_exact_guard() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "hidden").await?;
        stamped_table(&edge).await?;
        let mut late = edge.session().await?;
        late.say("set track_activities = off; begin; insert into t values (2)").await?;
        edge.say("insert into t values (3)").await?;
        grow_old(&mut late).await?;
        let mut follow = Follow::new(Ask::new(Who::Sees, "t", stamped()));
        let first = follow
            .run_at(
                &edge,
                async |point| {
                    if point == "in-wait" { late.say("commit").await } else { Ok(()) }
                },
            )
            .await?;
        ensure!(first.guard() == Guard::Waited, "{:?}", first.plan.warnings);
        follow.until(&edge, &[1, 2, 3]).await?;
        // one that comes after the server was asked what it shows
        late.say("set track_activities = on").await?;
        let mut hidden = None;
        let second = edge
            .take_at(&follow.ask, async |point| {
                if point == "before-bound" {
                    let mut session = edge.session().await?;
                    session.say("set track_activities = off; begin").await?;
                    hidden = Some(session);
                }
                Ok(())
            })
            .await?;
        let named = second.plan.warnings.iter().any(|it| it.contains("track_activities"));
        ensure!(hidden.is_some() && second.guard() == Guard::Lag && named, "{second:?}");
        Ok(())
    })
}

/// A message of two transactions: the first ends when lock 1 is given, the second when lock 2 is;
/// `now()` is the same in both.
async fn two_in_one_message(mut session: Session) -> Result<()> {
    session
        .say(
            "begin; select pg_advisory_xact_lock(1); commit; \
             begin; insert into t values (2); select pg_advisory_xact_lock(2); commit",
        )
        .await
}

async fn waits_for_lock(session: &mut Session, key: i32) -> Result<()> {
    wait_until("the message to come to its lock", Duration::from_secs(20), async || {
        let waiting = format!(
            "select exists (select from pg_locks where locktype = 'advisory' and not granted and objid = {key} \
             and database = (select oid from pg_database where datname = current_database()))"
        );
        ensure!(session.ask(waiting).await? == "true", "not there yet");
        Ok(())
    })
    .await
}

#[test]
fn all_transactions_of_one_message_are_waited_for_since_they_share_one_now() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for who in WHO {
            let edge = Edge::new(env, "message").await?;
            stamped_table(&edge).await?;
            // sessions of another database cannot hold these locks, one of this would be waited for
            let mut keeper = edge.session().await?;
            keeper.say("select pg_advisory_lock(1), pg_advisory_lock(2)").await?;
            let mut looker = edge.session().await?;
            let message = tokio::spawn(two_in_one_message(edge.session().await?));
            waits_for_lock(&mut looker, 1).await?;
            looker.say("begin; insert into t values (3); commit; begin; select now()").await?;
            grow_old(&mut looker).await?;
            looker.say("commit").await?;
            let mut follow = Follow::new(Ask::new(who, "t", stamped()));
            let first: Taken = follow
                .run_at(&edge, async |point| {
                    if point == (if who == Who::Sees { "before-bound" } else { "in-wait" }) {
                        keeper.say("select pg_advisory_unlock(1)").await?;
                        waits_for_lock(&mut looker, 2).await?;
                    }
                    Ok(())
                })
                .await?;
            keeper.say("select pg_advisory_unlock(2)").await?;
            message.await??;
            let expected = if who == Who::Sees { Guard::Exact } else { Guard::Lag };
            ensure!(first.guard() == expected, "{who:?}: {first:?}");
            if who == Who::Sees {
                follow.until(&edge, &[1, 2, 3]).await?;
            }
        }
        Ok(())
    })
}

/// Reads a bound over and over, from the moment at which a process has written its start to `beat`
/// for as long as it is at work: how often, and how often the bound lay at or above that start.
fn look_on(bound: &str) -> String {
    let bound = bound.replace("$1", "'UTC'").replace("statement_timestamp()", "clock_timestamp()");
    format!(
        "create table beat (start timestamptz); \
         create function looks(process int, out looks int, out above int) language plpgsql as $$ \
         declare bound timestamp; start timestamp; begin looks := 0; above := 0; loop \
         exit when clock_timestamp() > now() + interval '2 minutes'; \
         if start is null then select b.start at time zone 'UTC' into start from beat b; end if; \
         continue when start is null; \
         perform pg_stat_clear_snapshot(); bound := ({bound}); perform pg_stat_clear_snapshot(); \
         exit when not exists (select from pg_stat_activity where pid = process and state = 'active'); \
         looks := looks + 1; above := above + (bound >= start)::int; \
         end loop; end $$"
    )
}

#[test]
fn between_two_transactions_of_one_message_the_exact_guard_still_sees_its_start() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "many").await?;
        stamped_table(&edge).await?;
        edge.say(&look_on(EXACT_CLOCK)).await?;
        let (mut writer, mut looker) = (edge.session().await?, edge.session().await?);
        let process = writer.ask("select pg_backend_pid()").await?;
        let one = "begin; insert into t select 3 from generate_series(1, 20); commit; ";
        let many = format!("begin; insert into beat values (now()); commit; {}", one.repeat(MANY));
        let looks = looker.ask(format!("select looks({process})"));
        let (looks, ()) = tokio::try_join!(looks, writer.say(many))?;
        let (looks, above) =
            looks.trim_matches(['(', ')']).split_once(',').context("two numbers")?;
        ensure!(
            above == "0",
            "{above} of {looks} bounds lay above the start of a message that still wrote"
        );
        ensure!(looks.parse::<u32>()? > 100, "only {looks} looks: they prove nothing");
        Ok(())
    })
}

#[test]
fn a_waited_bound_leaves_a_second_for_transaction_starts_not_yet_visible() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "second").await?;
        stamped_table(&edge).await?;
        // nothing but the guard ends the window
        edge.say("insert into t values (2, now() + interval '1 hour')").await?;
        let (mut session, mut clock) = (edge.session().await?, String::new());
        let taken = edge
            .take_at(&Ask::new(Who::Blind, "t", stamped()), async |point| {
                if point == "before-wait" {
                    clock = session.ask("select clock_timestamp() at time zone 'UTC'").await?;
                }
                Ok(())
            })
            .await?;
        let high = taken.plan.window.high.as_deref().context("an end")?;
        let below =
            format!("select timestamp '{high}' < timestamp '{clock}' - interval '1 second'");
        ensure!(
            taken.guard() == Guard::Waited && session.ask(below).await? == "true",
            "{high} at {clock}"
        );
        Ok(())
    })
}

#[test]
fn with_a_prepared_transaction_the_lag_stays_below_older_open_transactions() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let edge = Edge::new(env, "both").await?;
        stamped_table(&edge).await?;
        let mut late = edge.session().await?;
        late.say("begin; insert into t values (2)").await?;
        edge.say("insert into t values (3)").await?;
        grow_old(&mut late).await?;
        let mut prepared = edge.session().await?;
        let name = &edge.database;
        prepared
            .say(format!("begin; insert into t values (4); prepare transaction '{name}'"))
            .await?;
        let mut watermark = stamped();
        watermark["lagSeconds"] = json!(1);
        let mut follow = Follow::new(Ask::new(Who::Sees, "t", watermark));
        let first = follow.run(&edge).await?;
        ensure!(first.guard() == Guard::Lag && first.keys() == [1], "{first:?}");
        prepared.say(format!("commit prepared '{name}'")).await?;
        late.say("commit").await?;
        follow.until(&edge, &[1, 2, 3, 4]).await
    })
}

#[test]
fn a_run_reports_its_guard_in_its_output_and_in_the_outcome() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "says").await?;
        let db = &source.database;
        env.psql(
            db,
            &format!(
                "create role {db} login password 'secret'; create table t (k int, at timestamptz default now()); \
                 grant select on t to {db}; insert into t values (1, now() - interval '1 hour')"
            ),
        )
        .await?;
        std::fs::write(source.file("credentials/username"), db)?;
        for (lag, stamped_by, guard) in [
            (2, "database", "waited"),
            (2, "application", "lag"),
            (0, "application", "unguarded"),
        ] {
            let mut job = source.job("public.t", "PE");
            job["spec"]["extract"]["watermark"] =
                json!({ "column": "at", "type": "timestamp", "stampedBy": stamped_by, "lagSeconds": lag });
            let said = source.run(&job).await?;
            ensure!(said["window"]["guard"] == guard, "{said}");
            let item = source.run_item("public.t").await?.context("run item")?;
            ensure!(item["window"]["guard"] == guard, "{item}");
        }
        Ok(())
    })
}

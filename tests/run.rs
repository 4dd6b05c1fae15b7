//! `tidemark run` on real stores: the protocol without a cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Session, SourceFixture, TestEnv, wait_until};
use serde_json::{Value, json};

const EVERY_TYPE: &str = "
create table types (
    id bigint primary key, yes boolean, small smallint, whole integer, real_ real, double_ double precision,
    price numeric(12,2), wide numeric(38,10), free numeric, name text, code varchar(20), flag char(3),
    raw bytea, day date, moment timestamp, instant timestamptz, ident uuid, doc json, docb jsonb, addr inet
);
insert into types
select i, i % 2 = 0, (i % 30000)::smallint, -i, i / 4.0, i / 8.0::float8, i * 1.25, i * 1000000007.0000000001, i / 3.0,
    'name ' || i, 'c' || i, 'x', decode(lpad(to_hex(i), 8, '0'), 'hex'), date '2020-01-01' + i % 5000,
    timestamp '2020-01-01' + i * interval '1.000001 second',
    timestamptz '2020-01-01 00:00:00+02' + i * interval '1 minute',
    ('00000000-0000-0000-0000-' || lpad(to_hex(i), 12, '0'))::uuid,
    json_build_object('i', i), jsonb_build_object('i', i), '10.0.0.1'::inet
from generate_series(1, 5000) i;
insert into types (id) values (0);
";

/// A wrong password that must not be seen anywhere.
const CANARY: &str = "canary-7f3a91";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn a_full_extract_has_every_row_with_its_type() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "types").await?;
        env.psql(&source.database, EVERY_TYPE).await?;
        let mut job = source.job("public.types", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 5001, "{said}");
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.types",
                "select count(*) n, sum(price)::varchar price, sum(wide)::varchar wide, max(moment)::varchar moment, \
                 epoch_us(max(instant)) instant, count(yes) yes, sum(small) small, sum(whole)::bigint whole, \
                 sum(real_)::double + 0.5 real_, sum(double_) double_, max(free) free, max(code) code, max(flag) flag, \
                 max(ident)::varchar ident, max(doc) doc, max(docb) docb, max(addr) addr, max(day)::varchar as day_, \
                 hex(max(raw)) raw from t",
            )
            .await?;
        let expected = env
            .psql(
                &source.database,
                "select json_build_object('n', count(*), 'price', sum(price)::text, 'wide', sum(wide)::text, \
                 'moment', max(moment)::text, 'instant', (extract(epoch from max(instant)) * 1000000)::bigint, \
                 'yes', count(yes), 'small', sum(small), 'whole', sum(whole), 'real_', sum(real_::float8) + 0.5, \
                 'double_', sum(double_), 'free', max(free::text), 'code', max(code), 'flag', max(flag), \
                 'ident', max(ident::text), 'doc', max(doc::text), 'docb', max(docb::text), 'addr', format('%s', max(addr)), \
                 'day_', max(day)::text, 'raw', upper(encode(max(raw::text)::bytea, 'hex'))) from types",
            )
            .await?;
        let mut expected: Value = serde_json::from_str(expected.trim())?;
        // the greatest bytes, which Postgres 15 has no aggregate for
        expected["raw"] = json!(format!("{:08X}", 5000));
        ensure!(rows[0] == expected, "read {}\nwant {expected}", rows[0]);
        let files = env.parquet_files(&source.bucket, "public.types").await?;
        ensure!(files.len() == 3, "{} files", files.len());
        ensure!(source.open_uploads().await? == 0, "open uploads");
        Ok(())
    })
}

#[test]
fn incremental_runs_lose_and_repeat_no_row() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "incr").await?;
        let db = &source.database;
        env.psql(db, "create table orders (id int, v int, at timestamp not null default now())").await?;
        env.psql(db, "insert into orders select i, 0, now() - interval '1 day' from generate_series(1, 1000) i").await?;
        let mut job = source.job("public.orders", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "at", "type": "timestamp", "stampedBy": "database", "timeZone": "UTC" });
        let first = source.run(&job).await?;
        ensure!(first["rows"] == 1000, "{first}");
        env.psql(db, "insert into orders select i, 0, now() - interval '1 hour' from generate_series(1001, 1100) i").await?;
        env.psql(db, "update orders set v = 1, at = now() - interval '30 minutes' where id <= 10").await?;
        let second = source.run(&job).await?;
        ensure!(second["rows"] == 110, "{second}");
        let third = source.run(&job).await?;
        ensure!(third["rows"] == 0, "{third}");
        let legacy = source.watermark_item("public.orders").await?.context("watermark item")?;
        ensure!(text(&legacy, "extract_successful") == "Y" && text(&legacy, "hwm_value") == "-1", "{legacy}");
        let max = env.psql(db, "select to_char(max(at), 'YYYY-MM-DD HH24:MI:SS.US') from orders").await?;
        ensure!(text(&legacy, "lwm_value") == max.trim(), "{legacy} {max}");
        let rows = env
            .read_parquet(&source.bucket, "public.orders",
                "select count(*) n, count(distinct (id, v)) d from t")
            .await?;
        ensure!(rows[0] == json!({ "n": 1110, "d": 1110 }), "{}", rows[0]);
        Ok(())
    })
}

#[test]
fn a_row_committed_between_guard_and_snapshot_is_in_the_next_run() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "guard").await?;
        let db = &source.database;
        env.psql(db, "create table orders (id int, at timestamptz not null default now())").await?;
        env.psql(
            db,
            "insert into orders select i, now() - interval '1 day' from generate_series(1, 10) i",
        )
        .await?;
        let mut job = source.job("public.orders", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "at", "type": "timestamptz", "stampedBy": "database" });
        job["spec"]["extract"]["watermark"]["type"] = json!("timestamp");
        // a transaction that stamps now, and commits only once the guard was read
        let gate = source.file("gate");
        let mut session = Session::open(env, db)?;
        session.say("begin; insert into orders values (11);").await?;
        let mut command = source.command("run", &job)?;
        command.env("TIDEMARK_TEST_PAUSE", format!("after-guard={}", gate.display()));
        let running = env.output(command, "", Duration::from_mins(2));
        let meanwhile = async {
            wait_until("the pause", Duration::from_mins(1), async || {
                ensure!(gate.exists(), "not there yet");
                Ok(())
            })
            .await?;
            session.say("commit;").await?;
            std::fs::remove_file(&gate)?;
            Ok::<_, anyhow::Error>(())
        };
        let (output, meanwhile) = tokio::join!(running, meanwhile);
        meanwhile?;
        let output = output?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let first: Value = serde_json::from_str(output.stdout.trim())?;
        ensure!(first["rows"] == 10 && first["window"]["guard"] == "exact", "{first}");
        let second = wait_until("the late row", Duration::from_secs(30), async || {
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1, "{said}");
            Ok(said)
        })
        .await?;
        ensure!(second["rows"] == 1, "{second}");
        Ok(())
    })
}

#[test]
fn a_full_extract_replaces_the_earlier_one() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "again").await?;
        let db = &source.database;
        env.psql(
            db,
            "create table t (id int primary key); insert into t select generate_series(1, 100)",
        )
        .await?;
        let job = source.job("public.t", "FE");
        source.run(&job).await?;
        env.psql(db, "delete from t where id > 40").await?;
        source.run(&job).await?;
        let rows = env.read_parquet(&source.bucket, "public.t", "select count(*) n from t").await?;
        ensure!(rows[0] == json!({ "n": 40 }), "{}", rows[0]);
        let pointer: Value = serde_json::from_slice(
            &env.object(&source.bucket, "public.t/_tidemark/current.json").await?,
        )?;
        ensure!(pointer["commit"] == 2, "{pointer}");
        let item = source.run_item("public.t").await?.context("run item")?;
        ensure!(item["state"] == "published" && item.get("pendingCleanup").is_none(), "{item}");
        Ok(())
    })
}

#[test]
fn an_empty_table_is_published_as_no_files() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "empty").await?;
        env.psql(&source.database, "create table t (id int primary key, at date)").await?;
        let said = source.run(&source.job("public.t", "FE")).await?;
        ensure!(said["rows"] == 0 && said["files"] == 0, "{said}");
        Ok(())
    })
}

#[test]
fn errors_that_only_a_person_can_fix_have_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "bad").await?;
        env.psql(&source.database, "create table t (id int primary key)").await?;
        source.password(CANARY)?;
        refused(&source, &source.job("public.t", "FE"), "CredentialsRejected").await?;
        let legacy = source.watermark_item("public.t").await?.context("watermark item")?;
        ensure!(text(&legacy, "extract_successful") == "N", "{legacy}");
        source.password(TestEnv::POSTGRES_PASSWORD)?;
        refused(&source, &source.job("public.missing", "FE"), "TableNotFound").await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["uri"] = json!("s3://no-such-bucket-here/t");
        refused(&source, &job, "BucketNotFound").await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["tracking"]["table"] = json!("no-such-table");
        refused(&source, &job, "TrackingTableNotFound").await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "nope", "type": "int" });
        refused(&source, &job, "ColumnNotFound").await?;
        source.run(&source.job("public.t", "FE")).await?;
        Ok(())
    })
}

async fn refused(source: &SourceFixture, job: &Value, reason: &str) -> Result<()> {
    let output = source.try_run(job).await?;
    ensure!(output.code == Some(10), "exit {:?}, not 10: {}", output.code, output.stderr);
    let last: Value = serde_json::from_str(output.stderr.lines().last().context("a line")?)?;
    let fields = &last["fields"];
    ensure!(fields["reason"] == reason, "{last}");
    ensure!(!text(fields, "remedy").is_empty(), "no remedy: {last}");
    ensure!(!output.stderr.contains(CANARY), "a password was logged");
    Ok(())
}

#[test]
fn a_killed_run_is_replaced_after_its_deadline_with_the_same_window() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "killed").await?;
        let db = &source.database;
        env.psql(
            db,
            "create table t (id int primary key); insert into t select generate_series(1, 500)",
        )
        .await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        for point in ["after-claim", "after-pin", "before-record", "after-put-manifest"] {
            env.psql(db, "insert into t select max(id) + 1 from t").await?;
            let before = window_after_kill(&source, &job, point).await?;
            env.psql(db, "insert into t select max(id) + 1 from t").await?;
            let said = source.run(&job).await?;
            if let Some(before) = before {
                ensure!(
                    said["window"]["low"] == before["low"]
                        && said["window"]["high"] == before["high"],
                    "{point}: {before} then {said}"
                );
            }
        }
        for point in ["after-decide", "after-complete", "after-publish", "after-put-pointer"] {
            env.psql(db, "insert into t select max(id) + 1 from t").await?;
            window_after_kill(&source, &job, point).await?;
            source.run(&job).await?;
        }
        source.run(&job).await?;
        let rows = env
            .read_parquet(
                &source.bucket,
                "public.t",
                "select count(*) n, count(distinct id) d, max(id) m from t",
            )
            .await?;
        ensure!(rows[0] == json!({ "n": 512, "d": 512, "m": 512 }), "{}", rows[0]);
        Ok(())
    })
}

/// Kills a run at a pause point and returns the window that it had pinned.
async fn window_after_kill(
    source: &SourceFixture,
    job: &Value,
    point: &str,
) -> Result<Option<Value>> {
    let gate = source.file(point);
    let mut command = source.command("run", job)?;
    command
        .env("TIDEMARK_TEST_PAUSE", format!("{point}={}", gate.display()))
        .env("TIDEMARK_LEASE_SECONDS", "3")
        .env("TIDEMARK_RENEW_SECONDS", "1");
    let mut child = command.stderr(std::process::Stdio::null()).spawn()?;
    wait_until("the pause", Duration::from_mins(1), async || {
        ensure!(gate.exists(), "{point} not reached");
        Ok(())
    })
    .await?;
    child.kill().await?;
    std::fs::remove_file(&gate)?;
    let item = source.run_item("public.t").await?.context("run item")?;
    Ok(item.get("window").cloned())
}

#[test]
fn a_dry_run_reports_what_a_run_would_read_and_writes_nothing() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "plan").await?;
        env.psql(
            &source.database,
            "create table t (id int primary key, net inet, at timestamptz); insert into t select i from generate_series(1, 100) i",
        )
        .await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 4 });
        let output = env.output(source.command("plan", &job)?, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        for line in ["table      public.t", "partitions 4", "as text", "statement  COPY (SELECT"] {
            ensure!(output.stdout.contains(line), "no {line:?} in\n{}", output.stdout);
        }
        ensure!(source.run_item("public.t").await?.is_none(), "an item was written");
        ensure!(env.keys(&source.bucket, "").await?.is_empty(), "an object was written");
        Ok(())
    })
}

#[test]
fn a_full_extract_that_returns_to_an_earlier_uri_replaces_its_files() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "uris").await?;
        let db = &source.database;
        env.psql(
            db,
            "create table t (id int primary key); insert into t select generate_series(1, 100)",
        )
        .await?;
        for uri in ["a", "b", "a"] {
            let mut job = source.job("public.t", "FE");
            job["spec"]["output"]["uri"] = json!(format!("s3://{}/{uri}/t", source.bucket));
            source.run(&job).await?;
        }
        for uri in ["a/t", "b/t"] {
            let rows = env.read_parquet(&source.bucket, uri, "select count(*) n from t").await?;
            ensure!(rows[0] == json!({ "n": 100 }), "{uri}: {}", rows[0]);
        }
        Ok(())
    })
}

#[test]
fn a_number_assigned_earlier_and_committed_later_is_waited_for() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "waited").await?;
        let db = &source.database;
        env.psql(db, "create table t (id serial primary key); insert into t select from generate_series(1, 10)")
            .await?;
        let mut job = source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "id", "type": "int", "stampedBy": "database" });
        // 11 is drawn and not committed, 12 is committed: the window ends at 12
        let mut session = Session::open(env, db)?;
        session.say("begin; insert into t default values;").await?;
        env.psql(db, "insert into t default values").await?;
        let gate = source.file("gate");
        let mut command = source.command("run", &job)?;
        command.env("TIDEMARK_TEST_PAUSE", format!("before-wait={}", gate.display()));
        let running = env.output(command, "", Duration::from_mins(2));
        let meanwhile = async {
            wait_until("the pause", Duration::from_mins(1), async || {
                ensure!(gate.exists(), "not there yet");
                Ok(())
            })
            .await?;
            std::fs::remove_file(&gate)?;
            session.say("commit;").await
        };
        let (output, meanwhile) = tokio::join!(running, meanwhile);
        meanwhile?;
        let output = output?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let said: Value = serde_json::from_str(output.stdout.trim())?;
        ensure!(said["rows"] == 12 && said["watermark"] == "12", "{said}");
        ensure!(said["window"]["guard"] == "waited", "{said}");
        Ok(())
    })
}

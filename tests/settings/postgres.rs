//! Postgres: settings of a role and of a database.

use anyhow::{Context, Result, ensure};
use crds::source::Engine;
use harness::{SourceFixture, TestEnv};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use worker_core::settings::postgres::{PINS, table};

use super::candidates::{Described, Kind};
use super::{PARTS, SettingTest, Taken, Tried, all_have_a_rule, login, pinned};

/// A table with every type, a view whose values depend on settings, and one that tells the session that reads it.
const TABLES: &str = r#"
create type mood as enum ('calm', 'angry');
create type pair as (a int, b text);
create domain code as varchar(20);
create extension if not exists pg_trgm;
create table t (
    id bigint primary key, yes boolean, small smallint, whole integer, real_ real, double_ double precision,
    price numeric(12,2), free numeric, wide numeric(50,10), cash money, name text, short varchar(20), flag char(3),
    one "char", sys name, raw bytea, day date, hour time, hour_z timetz, moment timestamp, instant timestamptz,
    span interval, ident uuid, doc json, docb jsonb, markup xml, addr inet, net cidr, mac macaddr, mac8 macaddr8,
    bits bit(5), some_ bit varying(9), p point, l line, s lseg, b box, w path, g polygon, c circle, vector tsvector,
    query tsquery, ints int4range, days daterange, times tstzrange, list int[], words text[], moments timestamptz[],
    feeling mood, both_ pair, coded code, o oid, rel regclass, lsn pg_lsn, jpath jsonpath, x xid, many int4multirange
);
insert into t select
    i, i % 2 = 0, i, -i, i / 3.0, i / 7.0::float8, i * 1.25, i / 3.0, i * 1000000007.0000000001, (i * 12345.67)::numeric::money,
    'käse ' || i || ' \ ''', 'c' || i, 'x', 'r', 'n' || i, decode('00ff5c' || lpad(to_hex(i), 2, '0'), 'hex'),
    date '2024-01-31' + i, time '12:34:56.5', timetz '10:00+02', timestamp '2024-07-01 12:00:00.000001' + i * interval '1 day',
    timestamptz '2024-07-01 12:00:00+02' + i * interval '1 day', interval '1 year 2 mons -3 days 04:05:06.7' * i,
    ('00000000-0000-0000-0000-' || lpad(to_hex(i), 12, '0'))::uuid, json_build_object('i', i), jsonb_build_object('i', i),
    '<a>x</a>', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10101', B'001',
    point(i, 0.1), '{1,-1,0}', '[(0,0),(1,1.5)]', '((0,0),(1,1))', '((0,0),(1,1),(2,0.3))', '((0,0),(1,1),(2,0.1))',
    '<(0,0),1.5>', 'a:1A fat:2B', 'fat & !cat', int4range(i, i + 5), daterange('2024-01-02', '2024-03-04'),
    tstzrange('2024-01-02 00:00+00', '2024-03-04 00:00+00'), array[i, null, 3], array['a', null, 'NULL', 'b c'],
    array[timestamptz '2024-07-01 12:00:00+02'], 'angry', row(i, 'x,y')::pair, 'c', 4294967295, 'pg_catalog.pg_class', '16/B374D848',
    '$.a[*] ? (@ > 1)', '7', int4multirange(int4range(1, 3), int4range(5, 9))
from generate_series(1, 6) i;
insert into t (id) values (7);
create table notes (id int, at_text text, number text, list text, markup text);
insert into notes values (1, '01/02/2024 03:04:05', '-1234.5', '{null,1}', 'text <b/>'), (2, '2024-07-01 12:00 EST', '0.1', '{2}', '<a/>');
create function twice(value int) returns int language plpgsql as
    'declare found_ int; begin assert value > 0; select w.id into found_ from public.notes w where w.id = value; return 2 * found_; end';
create view v as select
    n.id, public.twice(n.id) as twice, n.at_text::timestamptz as instant, n.at_text::timestamp::date as day, to_char(n.at_text::timestamptz, 'TMMonth TMDay HH24 TZ') as named,
    to_char(n.number::numeric, 'L9G999D99') as formed, n.list::int[]::text as list, n.markup::xml::text as markup,
    xmlelement(name a, t.raw)::text as element, t.raw::text as raw, t.double_::text as double_, t.cash::text as cash,
    t.span::text as span, t.instant::text as shown, t.day::text as day_shown, to_tsvector('the cats ran')::text as vector,
    quote_ident('plain') as quoted, t.rel::text as rel, t.times::text as times, 'word' % 'wordy' as alike,
    similarity('word', 'wordy')::text as how_alike, number::float8 as number
from notes n join t using (id);
create view slow as select 1 as id, pg_sleep(0.7) is not null as slept;
"#;

/// Values of settings whose type does not say them. Without one for a setting of this kind it is not tried.
const TEXTS: &[(&str, &[&str])] = &[
    ("application_name", &["tidemark", "other"]),
    ("backtrace_functions", &["exec_simple_query"]),
    ("client_encoding", &["LATIN1", "SQL_ASCII", "EUC_JP"]),
    ("DateStyle", &["German", "SQL, DMY", "Postgres, YMD"]),
    ("default_table_access_method", &["heap"]),
    ("default_tablespace", &["pg_default"]),
    ("default_text_search_config", &["pg_catalog.german"]),
    ("dynamic_library_path", &["$libdir:/usr/lib"]),
    ("lc_messages", &["POSIX"]),
    ("lc_monetary", &["POSIX", "C.UTF-8"]),
    ("lc_numeric", &["POSIX", "C.UTF-8"]),
    ("lc_time", &["POSIX", "C.UTF-8"]),
    ("plpgsql.extra_errors", &["all", "too_many_rows"]),
    ("plpgsql.extra_warnings", &["all"]),
    ("restrict_nonsystem_relation_kind", &["view", "foreign-table, view"]),
    ("role", &["pg_read_all_data"]),
    ("search_path", &["pg_temp", "elsewhere, pg_catalog", "public, pg_catalog"]),
    ("session_preload_libraries", &["auto_explain"]),
    ("temp_tablespaces", &["pg_default"]),
    ("TimeZone", &["Asia/Kathmandu", "America/New_York"]),
    ("timezone_abbreviations", &["Australia", "India"]),
    ("wal_consistency_checking", &["all"]),
];

/// Roles whose settings are tried at the same time.
const LANES: usize = 4;

/// A database, a role that reads it, and a superuser's session.
struct Made {
    source: SourceFixture,
    role: String,
    subject: SettingTest,
    admin: PgConnection,
}

async fn make(env: &'static TestEnv, prefix: &str) -> Result<Made> {
    let source = SourceFixture::new(env, prefix).await?;
    let role = format!("{}_reader", source.database);
    let options: PgConnectOptions = env.postgres_url(&source.database).parse()?;
    let mut admin = options.disable_statement_logging().connect().await?;
    let names: Vec<_> = PINS.iter().map(|pin| format!("('{}')", pin.name)).collect();
    let sql = format!(
        "{TABLES} create view pins as select 1 as id, n.name, pg_catalog.current_setting(n.name, true) as setting \
             from (values {}) n (name); \
         create role {role} login password 'secret'; grant pg_read_all_data to {role}; \
         grant select on all tables in schema public to {role}",
        names.join(", ")
    );
    say(&mut admin, &sql).await?;
    // great costs would have each statement compiled, which takes seconds
    say(&mut admin, &format!("alter database {} set jit = off", source.database)).await?;
    let subject = SettingTest {
        engine: Engine::Postgres,
        login: login(env, Engine::Postgres, TestEnv::POSTGRES_PORT, &source.database, &role),
        whole: &["public.t", "public.v", "public.pins"],
        since: "public.t",
    };
    Ok(Made { source, role, subject, admin })
}

async fn say(admin: &mut PgConnection, sql: &str) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(admin).await;
    done.map(|_| ()).with_context(|| sql.to_owned())
}

/// The settings that a role or a session can have, those of PL/pgSQL and of the extension `pg_trgm` too.
async fn described(admin: &mut PgConnection) -> Result<Vec<Described>> {
    type Row =
        (String, String, Option<String>, Option<String>, Option<Vec<String>>, Option<String>);
    // a session knows settings of libraries that it has loaded
    say(admin, "load 'plpgsql'; load 'pg_trgm'").await?;
    let rows: Vec<Row> = sqlx::query_as(
        "select name, vartype, min_val, max_val, enumvals, setting from pg_settings \
         where context in ('user', 'superuser', 'backend', 'superuser-backend') order by name",
    )
    .fetch_all(&mut *admin)
    .await?;
    let known = rows.into_iter().map(|(name, kind, min, max, words, value)| {
        let kind = match (kind.as_str(), words) {
            ("bool", _) => Kind::Bool,
            ("enum", Some(words)) => Kind::Words(words),
            ("integer" | "real", _) => {
                Kind::Number { min: min.unwrap_or_default(), max: max.unwrap_or_default() }
            }
            _ => Kind::Text,
        };
        Described { name, kind, value: value.unwrap_or_default() }
    });
    let role = Described { name: "role".to_owned(), kind: Kind::Text, value: String::new() };
    Ok(known.chain([role]).collect())
}

/// Sets each of one part to each of its values; what was tried, and what was not as it should be.
pub(crate) async fn each(env: &'static TestEnv, part: usize) -> Result<(Tried, Vec<String>)> {
    let mut made = make(env, "settings-each").await?;
    let all = described(&mut made.admin).await?;
    all_have_a_rule(&table(), all.iter().map(|setting| setting.name.as_str()))?;
    let all: Vec<_> = all.into_iter().skip(part).step_by(PARTS).collect();
    // one transaction is as good as another for what tells the pins
    made.subject.whole = &["public.t", "public.v"];
    let want = made.subject.take().await??;
    // roles do not disturb each other
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        lanes.push(some(env, &made, &all, lane, &want));
    }
    let (mut tried, mut wrong) = (Tried::new(), Vec::new());
    for lane in futures::future::try_join_all(lanes).await? {
        tried.extend(lane.0);
        wrong.extend(lane.1);
    }
    Ok((tried, wrong))
}

/// Tries every [`LANES`]th setting with a role of its own.
async fn some(
    env: &'static TestEnv,
    made: &Made,
    all: &[Described],
    lane: usize,
    want: &Taken,
) -> Result<(Tried, Vec<String>)> {
    let database = &made.source.database;
    let role = format!("{}_{lane}", made.role);
    let options: PgConnectOptions = env.postgres_url(database).parse()?;
    let mut admin = options.disable_statement_logging().connect().await?;
    say(&mut admin, &format!("create role {role} login password 'secret' in role {}", made.role))
        .await?;
    let login = login(env, Engine::Postgres, TestEnv::POSTGRES_PORT, database, &role);
    let subject = SettingTest { login, ..made.subject.clone() };
    let (mut tried, mut wrong) = (Tried::new(), Vec::new());
    for setting in all.iter().skip(lane).step_by(LANES) {
        let name = &setting.name;
        let mut values = Vec::new();
        for value in setting.values(TEXTS) {
            let literal = value.replace('\'', "''");
            let literal = if name == "search_path" { literal } else { format!("'{literal}'") };
            // the server says itself which ones no role has
            if say(&mut admin, &format!("alter role {role} set {name} = {literal}")).await.is_err()
            {
                continue;
            }
            match subject.tried(&[name], want).await {
                Ok(refused) => values.push((value, refused.is_some())),
                Err(error) => wrong.push(format!("{name} = {value}: {error:#}")),
            }
            say(&mut admin, &format!("alter role {role} reset all")).await?;
        }
        tried.insert(name.to_lowercase(), values);
    }
    Ok((tried, wrong))
}

/// A value of each pinned setting that a session must not notice. Times are long enough for a busy machine.
fn noticed(setting: &Described) -> Option<String> {
    match setting.name.as_str() {
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            Some("500".to_owned())
        }
        "restrict_nonsystem_relation_kind" => Some("view".to_owned()),
        _ => setting.values(TEXTS).pop(),
    }
}

#[test]
fn settings_of_role_and_database_change_no_byte_of_an_extract() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut made = make(env, "settings-all").await?;
        let all = described(&mut made.admin).await?;
        let rules = table();
        all_have_a_rule(&rules, all.iter().map(|setting| setting.name.as_str()))?;
        let want = made.subject.take().await??;
        // the window of the timer is that of a whole statement
        made.source.user(&made.role)?;
        let mut set = 0;
        for name in pinned(&rules) {
            let Some(setting) = all.iter().find(|setting| setting.name.to_lowercase() == *name)
            else {
                continue;
            };
            let Some(value) = noticed(setting) else { continue };
            let owner = if set % 2 == 0 {
                format!("role {}", made.role)
            } else {
                format!("database {}", made.source.database)
            };
            // of a transaction alone: no role has them
            let sql = format!("alter {owner} set {} = '{value}'", setting.name);
            if say(&mut made.admin, &sql).await.is_ok() {
                set += 1;
            }
        }
        ensure!(set > 25, "only {set} were set");
        let taken = made.subject.take().await??;
        ensure!(taken == want, "extracts differ");
        let mut job = made.source.job("public.slow", "FE");
        let said = made.source.run(&job).await?;
        ensure!(said["rows"] == 1, "{said}");
        job = made.source.job("public.t", "PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        let said = made.source.run(&job).await?;
        ensure!(said["rows"] == 7, "{said}");
        let mut verify = made.source.command("verify --recount", &job)?;
        verify.env("TIDEMARK_GRACE_SECONDS", "0");
        let output = env.output(verify, "", std::time::Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{} {}", output.stdout, output.stderr);
        Ok(())
    })
}

#[test]
fn settings_that_the_user_may_not_set_are_refused_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut made = make(env, "settings-refused").await?;
        made.source.user(&made.role)?;
        let role = &made.role;
        for (name, value) in [
            ("zero_damaged_pages", "on"),
            ("ignore_checksum_failure", "on"),
            ("idle_session_timeout", "30s"),
        ] {
            say(&mut made.admin, &format!("alter role {role} set {name} = '{value}'")).await?;
            let output = made.source.try_run(&made.source.job("public.t", "FE")).await?;
            ensure!(output.code == Some(10), "{name}: {:?} {}", output.code, output.stderr);
            ensure!(output.stderr.contains("SettingRefused"), "{}", output.stderr);
            ensure!(output.stderr.contains(&format!("setting {name} ")), "{}", output.stderr);
            say(&mut made.admin, &format!("alter role {role} reset {name}")).await?;
        }
        let said = made.source.run(&made.source.job("public.t", "FE")).await?;
        ensure!(said["rows"] == 7, "{said}");
        Ok(())
    })
}

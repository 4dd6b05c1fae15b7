//! Each condition with each setting, compared with the result of the user's own session.

use super::*;

const TABLE: &str = "create extension citext; create extension pg_trgm; create schema tools; \
    create table t (id int primary key, email citext, name text, at timestamp, words tsvector, tags int[], \
        gone int, raw bytea, share float8, took interval, day text); \
    insert into t select i, case i % 3 when 0 then 'Ada@Example.org' else 'bob' || i end, 'n' || i, \
        timestamp '2024-01-02' + (i * 29 || ' days')::interval, to_tsvector('english', 'running'), \
        array[i, null], nullif(i % 4, 0), decode(lpad(i::text, 4, '0'), 'hex'), i / 3.0, \
        make_interval(hours => i), i || '/' || 13 - i || '/2024' from generate_series(1, 12) i; \
    create function tools.twice(int) returns int language sql as 'select $1 * 2'; \
    create table tools.allowed (n int); insert into tools.allowed values (2), (3); \
    set check_function_bodies = off; \
    create function tools.lookup(int) returns bool language sql stable as 'select $1 in (select n from allowed)'; \
    grant usage on schema tools to public; grant select on tools.allowed to public";

/// Settings that a database or role may have, each with the places in [`CONDITIONS`] that it bears on. All
/// pairs are tried where `TIDEMARK_CONDITIONS=all`.
const SETTINGS: &[(&str, &[usize])] = &[
    ("search_path = public, tools", &[0, 1, 2, 3, 4]),
    ("search_path = tools, public", &[0, 4]),
    ("search_path = tools, pg_catalog, public", &[3]),
    ("default_text_search_config = 'pg_catalog.english'", &[5]),
    ("transform_null_equals = on", &[6]),
    ("array_nulls = off", &[7]),
    ("xmloption = document", &[10]),
    ("TimeZone = 'America/New_York'", &[8]),
    ("DateStyle = 'ISO, MDY'", &[8, 12]),
    ("DateStyle = 'ISO, DMY'", &[8, 12, 13]),
    ("DateStyle = 'ISO, YMD'", &[12]),
    ("quote_all_identifiers = on", &[14]),
    ("lc_monetary = 'C.UTF-8'", &[9]),
    ("lc_time = 'C.UTF-8'", &[9]),
    ("pg_trgm.similarity_threshold = 0.05", &[11]),
    ("statement_timeout = '50min'", &[9]),
];

/// Conditions whose meaning hangs on a setting.
const CONDITIONS: &[&str] = &[
    "email = 'ada@example.org'",
    "email in ('ADA@EXAMPLE.ORG', 'bob1')",
    "email like 'ADA%'",
    "twice(id) = 8",
    "lookup(id)",
    "words @@ to_tsquery('runs')",
    "gone = null",
    "tags = '{3,null}'",
    "at > '2024-06-30' and at < timestamp '2024-12-01 10:00:00'",
    "id between 2 and 5 or name = 'n7'",
    "xml('<a/>') is document",
    "name % 'n12345'",
    "day::date > '2024-06-30'",
    "at::text like '2024-02%' or date(day) = '2024-11-02'",
    "quote_ident(name) = name",
];

#[test]
fn condition_selects_the_rows_that_the_users_own_session_selects() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "plain", TABLE).await?;
        let role = &source.database;
        let all = std::env::var("TIDEMARK_CONDITIONS").is_ok_and(|which| which == "all");
        for (setting, places) in SETTINGS {
            let sql = format!("alter role {role} in database {role} set {setting}");
            env.psql(&source.database, &sql).await?;
            for (place, condition) in CONDITIONS.iter().enumerate() {
                if all || places.contains(&place) {
                    compare(&source, setting, condition).await?;
                }
            }
            let reset = format!("alter role {role} in database {role} reset all");
            env.psql(&source.database, &reset).await?;
        }
        Ok(())
    })
}

/// Both select the same rows, or both refuse the condition.
async fn compare(source: &SourceFixture, setting: &str, condition: &str) -> Result<()> {
    let sql = format!(
        "select coalesce(string_agg(id::text, ',' order by id), '') from t where {condition}"
    );
    // what the condition's own names mean is asked with the table named as it is found
    let plain = as_role(source, &sql.replace("from t", "from public.t")).await;
    let job = filtered(source, condition);
    let compared = as_plain(source, &job, "public.t", plain.ok().as_deref()).await;
    compared.with_context(|| format!("{setting}; {condition}"))
}

#[test]
fn setting_that_prints_values_otherwise_is_refused_by_name_and_only_with_a_condition() -> Result<()>
{
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "refusing", TABLE).await?;
        let role = &source.database;
        for (name, value) in [
            ("IntervalStyle", "iso_8601"),
            ("bytea_output", "escape"),
            ("extra_float_digits", "0"),
            ("DateStyle", "SQL, DMY"),
        ] {
            let sql = format!("alter role {role} set {name} = '{value}'");
            env.psql(&source.database, &sql).await?;
            refused(&source, &filtered(&source, "id > 1"), &["InvalidSpec", name, "view"]).await?;
            let said = source.run(&source.job("public.t", "FE")).await?;
            ensure!(said["rows"] == 12, "{said}");
            env.psql(&source.database, &format!("alter role {role} reset all")).await?;
        }
        Ok(())
    })
}

#[test]
fn date_whose_order_is_not_certain_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "dates", TABLE).await?;
        for condition in ["at > '01/02/2024'", "at > date '12.11.2024'", "at < '12/31/2024'"] {
            let words = ["InvalidSpec", "DateStyle", "year-month-day"];
            refused(&source, &filtered(&source, condition), &words).await?;
        }
        for condition in ["at > '2024-02-01'", "name <> '01/02/2024'", "at > '1 Feb 2024'"] {
            source.run(&filtered(&source, condition)).await?;
        }
        Ok(())
    })
}

/// Windows, partitions, the recount and the plan read the condition alike.
#[test]
fn condition_means_one_thing_in_windows_partitions_recount_and_plan() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "everywhere", TABLE).await?;
        let mut job = filtered(&source, "email = 'ada@example.org'");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 3 });
        for consistency in ["snapshot", "perPartition"] {
            job["spec"]["extract"]["consistency"] = json!(consistency);
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 4, "{consistency}: {said}");
        }
        for strategy in ["quantile", "hash", "auto"] {
            job["spec"]["extract"]["partition"]["strategy"] = json!(strategy);
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 4, "{strategy}: {said}");
        }
        let mut job = filtered(&source, "email = 'ada@example.org'");
        job["metadata"]["name"] = json!("windows");
        job["spec"]["extract"]["type"] = json!("PE");
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        job["spec"]["output"]["uri"] = json!(format!("s3://{}/windows", source.bucket));
        job["spec"]["tracking"]["key"] = json!("windows");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 4 && said["watermark"] == "12", "{said}");
        env.psql(&source.database, "insert into t (id, email) values (13, 'ADA@example.ORG')")
            .await?;
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1 && said["watermark"] == "13", "{said}");
        let counted = command(&source, "verify --recount", &job).await?;
        ensure!(counted.code == Some(0), "{} {}", counted.stdout, counted.stderr);
        // a row that comes late is seen by the recount, which reads the condition as the run did
        env.psql(&source.database, "insert into t (id, email) values (0, 'ADA@EXAMPLE.org')")
            .await?;
        let counted = command(&source, "verify --recount", &job).await?;
        ensure!(counted.code == Some(10), "{} {}", counted.stdout, counted.stderr);
        env.psql(&source.database, "analyze t").await?;
        let planned =
            command(&source, "plan", &filtered(&source, "email = 'ada@example.org'")).await?;
        for line in [
            "setting search_path = \"$user\", public",
            "14 in the table",
            "of them match extract.where",
        ] {
            ensure!(planned.stdout.contains(line), "{line}: {} {}", planned.stdout, planned.stderr);
        }
        Ok(())
    })
}

//! Functions below a view, and functions that a condition calls.

use super::*;

/// A view whose functions say what they see of the session.
const VIEW: &str = "create table b (id int primary key, at timestamp); \
    insert into b select i, timestamp '2024-01-02' + (i * 29 || ' days')::interval from generate_series(1, 4) i; \
    create function sees(name text) returns text language plpgsql stable as \
        $$ begin return current_setting(name); end $$; \
    create schema tools; create table tools.allowed (n int); insert into tools.allowed values (2), (3); \
    set check_function_bodies = off; \
    create function lookup(int) returns bool language plpgsql stable as \
        $$ begin return $1 in (select n from allowed); end $$; \
    create view t as select id, at, public.sees('search_path') as path, public.sees('lc_time') as month, \
        public.sees('DateStyle') as style from b; \
    create view u as select id, public.lookup(id) as found from b; \
    grant usage on schema tools to public; grant select on tools.allowed to public";

/// The function of a view runs under the settings of the user's own session with a condition, and under
/// the pinned settings without one.
#[test]
fn function_below_a_view_sees_the_plain_session_with_a_condition_and_pinned_settings_without()
-> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "views", VIEW).await?;
        let role = &source.database;
        let sql = format!(
            "alter role {role} set search_path = public, tools; alter role {role} set lc_time = 'C.UTF-8'; \
             alter role {role} set DateStyle = 'ISO, DMY'"
        );
        env.psql(&source.database, &sql).await?;
        for (column, pinned) in [("path", "\"\""), ("month", "C"), ("style", "ISO, MDY")] {
            let plain = as_role(&source, &format!("select {column} from public.t limit 1")).await?;
            ensure!(plain != pinned, "{column} makes no difference");
            for (condition, wanted) in [(Some("id > 0"), plain.as_str()), (None, pinned)] {
                let mut job = source.job("public.t", "FE");
                job["spec"]["extract"]["where"] = json!(condition);
                job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
                source.run(&job).await?;
                let found = published(&source, "public.t", column).await?;
                ensure!(found.len() == 4 && found.iter().all(|it| it == wanted), "{column}: {found:?}");
            }
        }
        // a name that only the user's path finds is an error without a condition, and no other table
        let mut job = source.job("public.u", "FE");
        refused(&source, &job, &["QueryFailed", "allowed", "42P01"]).await?;
        job["spec"]["extract"]["where"] = json!("found");
        let plain = as_role(&source, "select string_agg(id::text, ',' order by id) from public.u where found");
        let plain = plain.await?;
        ensure!(plain == "2,3", "{plain}");
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let rows = env
            .read_parquet(&source.bucket, "public.u", "select id from t order by id")
            .await?;
        ensure!(rows.len() == 2, "{rows:?}");
        Ok(())
    })
}

/// Objects of a user's own that answer differently each time, or may.
const OBJECTS: &str = "create table t (id int primary key, name text, at timestamptz default now()); \
    insert into t (id, name) select i, 'n' || i from generate_series(1, 9) i; \
    create function noisy(int, int) returns bool language sql volatile as 'select random() >= 0'; \
    create operator === (leftarg = int, rightarg = int, function = noisy); \
    create function liar(int) returns int language sql immutable as 'select count(*)::int from public.t'; \
    create function whole(t) returns text language sql volatile as 'select $1.name'; \
    create type kind; \
    create function kind_in(cstring) returns kind language internal volatile strict as 'textin'; \
    create function kind_out(kind) returns cstring language internal immutable strict as 'textout'; \
    create type kind (input = kind_in, output = kind_out, like = text); \
    create function honest(int) returns int language internal immutable as 'int4abs'";

#[test]
fn condition_with_a_user_defined_function_has_no_snapshot_and_no_proving_guard() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "volatile", OBJECTS).await?;
        for (condition, doubtful) in [
            ("id === 1", Some("noisy")),
            ("id OPERATOR(public.===) 1", Some("noisy")),
            ("liar(id) > 0", Some("liar")),
            ("t.whole like 'n%'", Some("whole")),
            ("name::kind::text like 'n%'", Some("kind_in")),
            ("kind 'n' is not null", Some("kind_in")),
            ("random() >= 0", Some("random")),
            ("honest(id) > 0", None),
            ("id = 1 or id in (2, 3) or name like 'n%' and id between -9 and +9", None),
            ("at + interval '1 hour' > '2020-01-01' and name || 'x' <> 'n'", None),
        ] {
            let mut job = filtered(&source, condition);
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
            let planned = command(&source, "plan", &job).await?;
            ensure!(planned.code == Some(0), "{condition}: {}", planned.stderr);
            let word = doubtful.map_or("consistent snapshot", |_| "consistent perPartition");
            ensure!(planned.stdout.contains(word), "{condition}: {}", planned.stdout);
            let mut window = job.clone();
            window["spec"]["extract"]["type"] = json!("PE");
            window["spec"]["extract"]["watermark"] =
                json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
            let planned = command(&source, "plan --json", &window).await?;
            ensure!(planned.code == Some(0), "{condition}: {}", planned.stderr);
            let plan: Value = serde_json::from_str(planned.stdout.trim())?;
            let proves = ["exact", "waited"].iter().any(|guard| plan["window"]["guard"] == *guard);
            ensure!(proves == doubtful.is_none(), "{condition}: {}", plan["window"]);
            job["spec"]["extract"]["consistency"] = json!("snapshot");
            match doubtful {
                Some(function) => {
                    let remedy = "Write extract.where with columns, literals";
                    refused(&source, &job, &["SnapshotUnavailable", function, remedy]).await?;
                }
                None => drop(source.run(&job).await?),
            }
        }
        Ok(())
    })
}

/// What a view may be made of besides its table.
const PARTS: &str = "create table t (id int primary key, name text, at timestamptz default now()); \
    insert into t (id, name) select i, 'n' || i from generate_series(1, 9) i; \
    create function noisy(int, int) returns int language sql volatile as 'select $1 + $2'; \
    create function plus(int, int) returns int language internal immutable strict as 'int4pl'; \
    create aggregate noisy_sum(int) (sfunc = noisy, stype = int, initcond = '0'); \
    create aggregate noisy_end(int) (sfunc = plus, stype = int, finalfunc = abs_, initcond = '0'); \
    create aggregate plain_sum(int) (sfunc = plus, stype = int, initcond = '0')";

/// A final function, which the aggregate needs before it is made.
const FINAL: &str = "create function abs_(int) returns int language plpgsql stable as 'begin return abs($1); end'; ";

#[test]
fn view_with_session_dependent_function_reports_per_partition() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = with_role(env, "made", &format!("{FINAL}{PARTS}")).await?;
        let role = &source.database;
        for (shown, doubtful) in [
            ("age(at)", Some("age(")),
            ("now() - at", Some("now()")),
            ("('now'::text)::date", Some("CURRENT_TIMESTAMP")),
            ("current_schemas(true)", Some("current_schemas")),
            ("txid_current_if_assigned()", Some("txid_current_if_assigned")),
            ("txid_current_snapshot()", Some("txid_current_snapshot")),
            ("txid_snapshot_xmax(txid_current_snapshot())", Some("txid_current_snapshot")),
            ("pg_current_snapshot()::text", Some("pg_current_snapshot")),
            ("inet_client_addr()", Some("inet_client_addr")),
            ("inet_client_port()", Some("inet_client_port")),
            ("inet_server_port()", Some("inet_server_port")),
            ("pg_backend_pid()", Some("pg_backend_pid")),
            ("current_setting('application_name')", Some("current_setting")),
            ("has_table_privilege('pg_catalog.pg_class', 'select')", Some("has_table_privilege")),
            ("to_regclass(name)::oid", Some("to_regclass")),
            ("(select noisy_sum(u.id) from t u)", Some("noisy")),
            ("(select noisy_end(u.id) from t u)", Some("abs_")),
            ("(select plain_sum(u.id) from t u)", None),
            ("(select json_agg(u.name) from t u)", None),
            ("to_char(at, 'YYYY-MM-DD')", None),
            ("date_trunc('day', at)", None),
            ("to_tsvector('english', name)", None),
            ("concat(name, id) || at::text || at::date", None),
            ("jsonb_build_object('a', at)", None),
        ] {
            let view = format!(
                "drop view if exists shown; create view shown as select id, {shown} as shown from t; \
                 grant select on shown to {role}"
            );
            env.psql(&source.database, &view).await?;
            let mut job = source.job("public.shown", "FE");
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
            let planned = command(&source, "plan", &job).await?;
            ensure!(planned.code == Some(0), "{shown}: {}", planned.stderr);
            let word = doubtful.map_or("consistent snapshot", |_| "consistent perPartition");
            ensure!(planned.stdout.contains(word), "{shown}: {}", planned.stdout);
            let named = doubtful.is_none_or(|function| planned.stdout.contains(function));
            ensure!(named, "{shown}: {}", planned.stdout);
        }
        Ok(())
    })
}

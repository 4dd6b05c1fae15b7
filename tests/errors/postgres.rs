//! Errors of Postgres, provoked on the server.

use anyhow::{Context as _, Result};
use harness::{SourceFixture, TestEnv};

use crate::{Case, check, stops};

const SCHEMA: &str = "
create table t (id int primary key, v text);
insert into t values (1, 'canary');
create function f_relation() returns bigint language plpgsql as
  $$ begin return (select count(*) from public.gone); end $$;
create view v_relation as select id, public.f_relation() n from t;
create table dropped (i int);
create function f_dropped() returns bigint language plpgsql as
  $$ begin return (select count(*) from public.dropped); end $$;
create view v_dropped as select id, public.f_dropped() n from t;
drop table dropped;
create function f_column() returns text language plpgsql as
  $$ begin return (select nope from public.t); end $$;
create view v_column as select id, public.f_column() n from t;
create function f_function() returns int language plpgsql as
  $$ begin return public.nofunc(1); end $$;
create view v_function as select id, public.f_function() n from t;
set check_function_bodies = off;
create function f_sql() returns bigint language sql volatile as 'select count(*) from public.gone_too';
create view v_sql as select id, public.f_sql() n from t;
create materialized view m_empty as select * from t with no data;
create view v_empty as select id from m_empty;
create view v_zero as select id, 1 / (id - 1) n from t;
create view v_cast as select id, v::int n from t;
create view v_json as select id, v::jsonb n from t;
create view v_class as select id, v::regclass n from t;
create domain d as text constraint d_fits check (value <> 'canary');
create view v_domain as select id, v::d n from t;
create sequence s;
create view v_writes as select id, nextval('public.s') n from t;
create function f_built(word text) returns bigint language plpgsql as
  $$ declare n bigint; begin execute 'select count(*) from public.t where v = ' || word into n; return n; end $$;
create view v_built as select id, public.f_built(v) n from t;
create function f_deep(i int) returns int language plpgsql as
  $$ begin return public.f_deep(i + 1); end $$;
create view v_deep as select id, public.f_deep(id) n from t;
create view v_rows as select id, (select i from generate_series(1, 2) i) n from t;
";

fn cases() -> Vec<Case> {
    vec![
        stops(
            "public.v_relation",
            "QueryFailed",
            &["public.f_relation()", "42P01", "server's log"],
        ),
        stops("public.v_dropped", "QueryFailed", &["42P01", "public.f_dropped()"]),
        stops("public.v_column", "QueryFailed", &["public.f_column()", "42703"]),
        stops("public.v_function", "QueryFailed", &["42883", "public.f_function()"]),
        stops("public.v_sql", "QueryFailed", &["public.gone_too", "f_sql"]),
        stops("public.m_empty", "QueryFailed", &["m_empty", "REFRESH MATERIALIZED VIEW"]),
        stops("public.v_empty", "QueryFailed", &["m_empty", "REFRESH MATERIALIZED VIEW"]),
        stops("public.v_zero", "QueryFailed", &["divides by zero", "22012"]),
        stops("public.v_cast", "QueryFailed", &["22P02"]),
        stops("public.v_json", "QueryFailed", &["22P02"]),
        stops("public.v_class", "QueryFailed", &["42P01"]),
        stops("public.v_domain", "QueryFailed", &["d_fits", "23514"]),
        stops("public.v_writes", "QueryFailed", &["nextval", "25006"]),
        stops("public.v_built", "QueryFailed", &["public.f_built(text)", "42703"]),
        stops("public.v_deep", "QueryFailed", &["54001", "public.f_deep(integer)"]),
        stops("public.v_rows", "QueryFailed", &["21000"]),
        stops("public.nothing", "TableNotFound", &["extract.table"]),
    ]
}

#[test]
fn an_error_below_a_view_names_its_object_and_no_value() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "errors").await?;
        env.psql(&source.database, SCHEMA).await?;
        for case in cases() {
            check(&source, &case).await?;
        }
        Ok(())
    })
}

#[test]
fn an_error_raised_by_a_function_is_never_attributed_to_the_server() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "raised").await?;
        let tables = "create table t (id int primary key, v text); insert into t values (1, 'canary')";
        env.psql(&source.database, tables).await?;
        for (code, passes) in [
            ("P0001", false),
            ("28P01", false),
            ("3D000", false),
            ("42P01", false),
            ("42501", false),
            ("55000", false),
            ("22012", false),
            ("AB123", false),
            ("53300", true),
            ("40001", true),
            ("XX000", true),
        ] {
            let name = code.to_lowercase();
            let sql = format!(
                "create function f_{name}(word text) returns int language plpgsql as \
                 $$ begin raise exception using errcode = '{code}', message = 'relation \"' || word || '\"', \
                 detail = word, hint = word, column = word, table = word, constraint = word; end $$; \
                 create view v_{name} as select id, public.f_{name}(v) n from t"
            );
            env.psql(&source.database, &sql).await?;
            let relation: &'static str = Box::leak(format!("public.v_{name}").into_boxed_str());
            let says: &'static [&'static str] =
                Box::leak(Box::new([code, Box::leak(format!("public.f_{name}(text)").into_boxed_str())]));
            let case = if passes {
                Case { relation, code: 75, reason: "DatabaseFailed", says }
            } else {
                stops(relation, "QueryFailed", says)
            };
            check(&source, &case).await?;
        }
        Ok(())
    })
}

#[test]
fn a_right_that_is_missing_below_a_view_names_the_object() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "denied").await?;
        let user = &source.database;
        let sql = format!(
            "create role {user} login password 'secret'; create role {user}_owner; \
             create table t (id int primary key, v text); insert into t values (1, 'canary'); \
             create table hidden (i int); \
             create function f_denied() returns bigint language plpgsql as \
               $$ begin return (select count(*) from public.hidden); end $$; \
             create view v_denied as select id, public.f_denied() n from t; \
             create view v_owner as select i from hidden; alter view v_owner owner to {user}_owner; \
             grant select on t, v_denied, v_owner to {user}"
        );
        env.psql(&source.database, &sql).await?;
        source.user(user)?;
        source.password("secret")?;
        check(&source, &stops("public.v_denied", "DatabaseDenied", &["hidden", "public.f_denied()"])).await?;
        check(&source, &stops("public.v_owner", "DatabaseDenied", &["hidden"])).await?;
        check(&source, &stops("public.hidden", "DatabaseDenied", &["hidden"])).await
    })
}

#[test]
fn each_connection_limit_has_its_own_message() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "limits").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); create role {user} login password 'secret'; \
             grant select on t to {user}"
        );
        env.psql(&source.database, &sql).await?;
        source.user(user)?;
        source.password("secret")?;
        let limited = |says| Case { relation: "public.t", code: 75, reason: "DatabaseUnreachable", says };
        let steps: [(String, Case); 3] = [
            (format!("alter role {user} connection limit 0"), limited(&["CONNECTION LIMIT of the role"])),
            (
                format!("alter role {user} connection limit -1; alter database {user} connection limit 0"),
                limited(&["CONNECTION LIMIT of the database"]),
            ),
            (
                format!("alter database {user} connection limit -1; revoke connect on database {user} from public"),
                stops("public.t", "DatabaseDenied", &["CONNECT"]),
            ),
        ];
        for (sql, case) in steps {
            env.psql("postgres", &sql).await?;
            check(&source, &case).await.context(sql)?;
        }
        Ok(())
    })
}

#[test]
fn an_error_of_a_foreign_server_is_not_attributed_to_the_source() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "foreign").await?;
        let socket = env.state.join("postgres");
        let sql = format!(
            "create extension postgres_fdw; \
             create server far foreign data wrapper postgres_fdw options (host '{}', dbname '{}'); \
             create user mapping for current_user server far options (user 'postgres', password_required 'false'); \
             create foreign table f_gone (i int) server far options (schema_name 'public', table_name 'gone'); \
             create server nowhere foreign data wrapper postgres_fdw options (host '/nowhere', dbname 'x'); \
             create user mapping for current_user server nowhere options (user 'postgres'); \
             create foreign table f_nowhere (i int) server nowhere",
            socket.display(),
            source.database
        );
        env.psql(&source.database, &sql).await?;
        check(&source, &stops("public.f_gone", "QueryFailed", &["42P01", "foreign server"])).await?;
        let nowhere = Case {
            relation: "public.f_nowhere",
            code: 75,
            reason: "DatabaseFailed",
            says: &["nowhere", "foreign server"],
        };
        check(&source, &nowhere).await
    })
}

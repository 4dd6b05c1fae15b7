//! Dynamic SQL that functions build from row values: no message contains the value.

use anyhow::{Context as _, Result, ensure};
use harness::{SourceFixture, TestEnv};

use crate::{CANARY, job};

/// Statement texts; `%s` is replaced by a row value.
const TEXTS: [&str; 20] = [
    "select %s",
    "select * from public.%s",
    "select * from %s.x",
    "select * from %s.%s.%s",
    "select %s.x.y.z from public.t",
    "select public.%s()",
    "select 1 operator(%s.=) 1",
    "select 1::public.%s",
    "select %s from",
    "select 1 order by id collate public.%s",
    "load ''%s''",
    "copy public.t to ''%s''",
    "copy public.t to ''/nowhere/%s''",
    "set role %s",
    "set %s.x.y to 1",
    "execute %s",
    "lock table public.%s",
    "close %s",
    ";select * from public.%s",
    "/* x */ ; ((select * from public.%s))",
];

/// Functions that run a text (`%s`), each with the extension that it needs.
const FORMS: [(&str, &str); 18] = [
    ("", "$$ declare n text; begin execute %s into n; return n; end $$"),
    (
        "",
        "$$ declare n text; r record; begin for r in execute %s loop n := 1; end loop; return n; end $$",
    ),
    ("", "$$ declare c refcursor; begin open c for execute %s; return 1; end $$"),
    ("", "$$ declare n xml := query_to_xml(%s, true, true, ''); begin return n; end $$"),
    ("", "$$ declare n xml; begin n := query_to_xml(%s, true, true, ''); return n; end $$"),
    ("", "$$ begin return query_to_xml(%s, true, true, ''); end $$"),
    ("", "$$ begin perform query_to_xml(%s, true, true, ''); return 1; end $$"),
    (
        "",
        "$$ begin if query_to_xml(%s, true, true, '') is null then return 1; end if; return 2; end $$",
    ),
    (
        "",
        "$$ declare n text; begin select query_to_xml(%s, true, true, '') into n; return n; end $$",
    ),
    (
        "",
        "$$ declare n text; r record; begin for r in select query_to_xml(%s, true, true, '') loop n := 1; \
       end loop; return n; end $$",
    ),
    ("", "$$ begin return (select string_agg(f, '') from public.run_all(%s) f); end $$"),
    ("", "sql: select query_to_xml(%s, true, true, '')::text"),
    ("", "sql: select string_agg(f, '') from public.run_all(%s) f"),
    ("tablefunc", "sql: select max(a) from public.crosstab(%s) as (a text, b text)"),
    (
        "tablefunc",
        "sql: select max(k) from public.connectby('public.' || word, 'id', 'id', '1', 0) as (k int, p int, l int)",
    ),
    (
        "dblink",
        "sql: select max(a) from public.dblink('host={socket} dbname={database} user=postgres', %s) as (a text)",
    ),
    ("plperl", "perl: my $n = spi_exec_query($_[1]); return 1;"),
    ("plpython3u", "python: plpy.execute(text); return 1"),
];

const SCHEMA: &str = "
create table t (id int primary key, v text);
insert into t values (1, 'canary');
create function run_all(text text) returns setof text language plpgsql as
  $$ begin return query execute text; end $$;
create view names as select id, (v || '.' || v || '.' || v)::regclass from t;
create view types as select id, v::regtype from t;
create view three_parts as select id, (v || '.' || v || '.' || v)::regtype from t;
create view functions as select id, (v || '.' || v || '.' || v)::regproc from t;
create view objects as select id, pg_get_object_address('table', array[v], '{}') is null from t;
create view folders as select id, pg_ls_dir(v) from t;
create view files as select id, pg_read_file(v) from t;
create view sequences as select id, pg_get_serial_sequence('public.t', v) from t;
create view rights as select id, has_table_privilege(v, 'select') from t;
create view settings as select id, current_setting(v) from t;
create view configurations as select id, to_tsvector(v::regconfig, 'x') from t;
create view xml as select id, query_to_xml('select ' || v, true, true, '')::text from t;
";

/// The statement that makes a function of this form.
fn form(name: &str, form: &str) -> String {
    let (language, body) = match form.split_once(": ") {
        Some(("sql", body)) => ("sql volatile", format!("$$ {} $$", body.replace("%s", "text"))),
        Some(("perl", body)) => ("plperl", format!("$$ {body} $$")),
        Some(("python", body)) => ("plpython3u", format!("$$ {body} $$")),
        _ => ("plpgsql", form.replace("%s", "text")),
    };
    format!(
        "create function {name}(word text, text text) returns text language {language} as {body}"
    )
}

/// Checks that a run fails and its messages contain no row value.
async fn fails_without_the_value(source: &SourceFixture, relation: &str) -> Result<()> {
    let output = source.try_run(&job(source, &format!("public.{relation}"))).await?;
    ensure!(output.code.is_some_and(|code| code != 0), "{relation} was read");
    ensure!(!output.stderr.contains(CANARY), "{relation}: {}", output.stderr);
    ensure!(output.stderr.contains("SQLSTATE"), "{relation}: {}", output.stderr);
    Ok(())
}

#[test]
fn row_value_in_dynamic_sql_or_name_lookup_is_in_no_message() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "built").await?;
        env.psql(&source.database, SCHEMA).await?;
        for view in [
            "names", "types", "three_parts", "functions", "objects", "folders", "files", "sequences",
            "rights", "settings", "configurations", "xml",
        ] {
            fails_without_the_value(&source, view).await?;
        }
        let first = form("f_0", FORMS[0].1);
        env.psql(&source.database, &first).await?;
        for (at, text) in TEXTS.iter().enumerate() {
            let sql = format!(
                "create view text_{at} as select id, public.f_0(v, replace('{text}', '%s', v)) from t"
            );
            env.psql(&source.database, &sql).await.context(*text)?;
            fails_without_the_value(&source, &format!("text_{at}")).await.context(*text)?;
        }
        Ok(())
    })
}

#[test]
fn function_with_dynamic_sql_reports_no_row_value_in_any_language() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "forms").await?;
        env.psql(&source.database, SCHEMA).await?;
        let has = "select string_agg(name, ' ') from pg_available_extensions";
        let available = env.psql(&source.database, has).await?;
        let socket = env.state.join("postgres").display().to_string();
        let mut tried = 0;
        for (at, (extension, body)) in FORMS.iter().enumerate() {
            if !extension.is_empty() {
                if !available.split_whitespace().any(|name| name == *extension) {
                    continue;
                }
                let sql = format!("create extension if not exists {extension}");
                env.psql(&source.database, &sql).await?;
            }
            let name = format!("f_{at}");
            let body = body.replace("{socket}", &socket).replace("{database}", &source.database);
            let sql = format!(
                "{}; create view form_{at} as select id, public.{name}(v, 'select ' || v) from t",
                form(&name, &body)
            );
            env.psql(&source.database, &sql).await.context(body.clone())?;
            fails_without_the_value(&source, &format!("form_{at}")).await.context(body)?;
            tried += 1;
        }
        ensure!(tried >= 13, "{tried} forms");
        Ok(())
    })
}

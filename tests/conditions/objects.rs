//! Casts, operators, functions, types and search paths of a user's own.

use super::*;

/// A table with a column of many types that are written as text, each with a cast of a user's to text.
const TYPES: &str = "create type comp as (a int, b text); create type mood as enum ('sad', 'ok'); \
    create type span as range (subtype = int4); create domain short as comp; \
    create table t (id int primary key, c comp, cs comp[], m mood, r span, ip inet, b bit(3), i interval, \
        n numeric, p point, x xml, d short, mo money); \
    insert into t values \
        (1, row(1, 'x,y'), array[row(1, 'x,y')::comp], 'ok', '[1,4)', '10.0.0.1', b'101', '1 day', 1.50, '(1,2)', \
            '<a/>', row(3, 'z')::comp, 1), \
        (2, row(null, null), null, null, null, null, null, null, null, null, null, null, null); \
    insert into t (id) values (3)";

/// Casts that lie, to text and implicit where it may be.
const CASTS: &str = "create function liar(comp) returns text language sql as $$ select 'comp:1' $$; \
    create function liar(mood) returns text language sql as $$ select 'mood:1' $$; \
    create function liar(span) returns text language sql as $$ select 'span:1' $$; \
    create function liar(comp[]) returns text language sql as $$ select 'comps:1' $$; \
    create function liar(point) returns text language sql as $$ select 'point:1' $$; \
    create function liar(interval) returns text language sql as $$ select 'interval:1' $$; \
    create function liar(numeric) returns text language sql as $$ select 'numeric:1' $$; \
    create cast (comp as text) with function liar(comp) as implicit; \
    create cast (mood as text) with function liar(mood) as implicit; \
    create cast (span as text) with function liar(span) as implicit; \
    create cast (comp[] as text) with function liar(comp[]) as assignment; \
    create cast (point as text) with function liar(point) as assignment; \
    create cast (interval as text) with function liar(interval) as assignment; \
    create cast (numeric as text) with function liar(numeric) as assignment";

const COLUMNS: [&str; 12] = ["c", "cs", "m", "r", "ip", "b", "i", "n", "p", "x", "d", "mo"];

#[test]
fn text_of_a_value_comes_from_the_output_function_of_its_type() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "casts").await?;
        env.psql(&source.database, TYPES).await?;
        // psql prints by output functions alone
        let mut expected = Vec::new();
        for column in COLUMNS {
            let sql = format!(
                "\\pset null NULL\nset timezone to 'UTC'; select {column} from t order by id"
            );
            expected.push(
                env.psql(&source.database, &sql).await?.replace("Null display is \"NULL\".\n", ""),
            );
        }
        for casts in ["", CASTS] {
            env.psql(&source.database, casts).await?;
            source.run(&source.job("public.t", "FE")).await?;
            for (column, expected) in COLUMNS.iter().zip(&expected) {
                let found: Vec<String> = published(&source, "public.t", column)
                    .await?
                    .iter()
                    .map(|value| value.as_str().unwrap_or("NULL").to_owned())
                    .collect();
                ensure!(found.join("\n") == *expected, "{column}: {found:?}, not {expected:?}");
            }
        }
        for (strategy, column) in
            [("quantile", "c"), ("quantile", "m"), ("hash", "cs"), ("hash", "p")]
        {
            let mut job = source.job("public.t", "FE");
            job["spec"]["extract"]["partition"] =
                json!({ "strategy": strategy, "column": column, "count": 3 });
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 3, "{strategy} {column}: {said}");
        }
        // each session reads the table by itself: the spelling of a column is not a change of it
        let mut job = source.job("public.t", "FE");
        job["spec"]["extract"]["types"] = json!({ "i": "string", "n": "string" });
        job["spec"]["extract"]["consistency"] = json!("perPartition");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 3, "{said}");
        let mut job = source.job("public.t", "FE");
        job["spec"]["output"]["partitionBy"] = json!(["m"]);
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 3, "{said}");
        Ok(())
    })
}

/// Operators, functions, aggregates and types of the names that our statements use, in a schema that is
/// searched before the server's own. Each answers wrongly, or fails.
fn hostile() -> String {
    [
        "create schema evil; grant usage on schema evil to public; ".to_owned(),
        comparisons(),
        arithmetic(),
        functions(),
    ]
    .concat()
}

/// Comparisons of each type with itself, and of both integers: none holds.
fn comparisons() -> String {
    let types = [
        "int4",
        "int8",
        "text",
        "name",
        "timestamp",
        "timestamptz",
        "numeric",
        "oid",
        "bool",
        "tid",
        "uuid",
        "\"char\"",
    ];
    let pairs =
        types.map(|name| (name, name)).into_iter().chain([("int4", "int8"), ("int8", "int4")]);
    let one = |(number, (left, right)): (usize, (&str, &str))| {
        ["=", "<>", "<", ">", "<=", ">=", "~", "!~"].map(|operator| {
            format!(
                "create function evil.\"{operator}{number}\"({left}, {right}) returns bool \
                 language sql as 'select false'; create operator evil.{operator} \
                 (leftarg = {left}, rightarg = {right}, function = evil.\"{operator}{number}\"); "
            )
        })
    };
    pairs.enumerate().flat_map(one).collect::<Vec<_>>().concat()
}

/// Arithmetic of integers: all results are zero.
fn arithmetic() -> String {
    let one = |operator: &str| {
        ["int8", "int4"].map(|right| {
            format!(
                "create function evil.\"{operator}{right}\"(int8, {right}) returns int8 \
                 language sql as 'select 0::int8'; create operator evil.{operator} \
                 (leftarg = int8, rightarg = {right}, function = evil.\"{operator}{right}\"); "
            )
        })
    };
    ["+", "-", "*", "/", "%", "&"].into_iter().flat_map(one).collect::<Vec<_>>().concat()
}

/// Functions, aggregates and types.
fn functions() -> String {
    let functions = [
        ("random", "", "float8", "select 2.0::float8"),
        ("octet_length", "text", "int", "select 1000000"),
        ("current_setting", "text", "text", "select ''1''::text"),
        ("lower", "text", "text", "select ''taken''::text"),
        ("substr", "text, int", "text", "select ''taken''::text"),
        ("length", "text", "int", "select 0"),
        ("split_part", "text, text, int", "text", "select ''taken''::text"),
        ("quote_literal", "text", "text", "select ''taken''::text"),
        ("statement_timestamp", "", "timestamptz", "select ''infinity''::timestamptz"),
        ("unnest", "anyarray", "setof anyelement", "select $1[1] where false"),
    ];
    let functions = functions.map(|(name, arguments, returns, body)| {
        format!(
            "create function evil.{name}({arguments}) returns {returns} language sql as '{body}'; "
        )
    });
    let types = [
        "int8",
        "text",
        "timestamp",
        "timestamptz",
        "numeric",
        "date",
        "uuid",
        "oid",
        "regclass",
        "interval",
    ];
    let types = types.map(|name| format!("create domain evil.{name} as pg_catalog.int4; "));
    let aggregates = "create aggregate evil.max(int4) \
            (sfunc = pg_catalog.int4larger, stype = int4, initcond = '-1'); \
        create aggregate evil.count(\"any\") \
            (sfunc = pg_catalog.int8inc_any, stype = int8, initcond = '1000'); ";
    [functions.concat(), aggregates.to_owned(), types.concat()].concat()
}

/// With a condition the user's own path holds for the statement: all that is ours says its schema.
#[test]
fn objects_on_the_users_path_change_nothing_that_is_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let table = "create table t (id int primary key, at timestamptz not null default now(), u uuid, c point, \
                name text); \
            insert into t select i, '2024-01-01'::timestamptz + make_interval(hours => i), \
                ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, point(i, i), 'n' || i \
            from generate_series(1, 3000) i; analyze t";
        let source = with_role(env, "hostile", table).await?;
        env.psql(&source.database, &hostile()).await?;
        let role = &source.database;
        let sql = format!("alter role {role} set search_path = evil, pg_catalog, public");
        env.psql(&source.database, &sql).await?;
        let taken = as_role(&source, "select 1 where 1::int4 operator(pg_catalog.=) 1 and not 2 = 2").await?;
        ensure!(taken == "1", "the user's own operators are taken in its session: {taken:?}");
        for partition in [
            Value::Null,
            json!({ "column": "id", "count": 3 }),
            json!({ "column": "id", "count": 3, "strategy": "quantile" }),
            json!({ "column": "at", "count": 3, "strategy": "quantile" }),
            json!({ "column": "u", "count": 3, "strategy": "quantile" }),
            json!({ "column": "name", "count": 3, "strategy": "quantile" }),
            json!({ "column": "id", "count": 3, "strategy": "hash" }),
            json!({ "count": 3, "strategy": "ctid" }),
            json!({ "count": 3, "strategy": "auto" }),
        ] {
            for kind in ["FE", "PE"] {
                if kind == "PE" && partition["strategy"] == "ctid" {
                    continue;
                }
                let mut job = filtered(&source, "name is not null");
                job["metadata"]["name"] = json!("t");
                job["spec"]["extract"]["type"] = json!(kind);
                job["spec"]["extract"]["partition"] = partition.clone();
                let uri = format!("s3://{}/{}-{kind}", source.bucket, harness::unique("u"));
                job["spec"]["output"]["uri"] = json!(uri);
                job["spec"]["tracking"]["key"] = json!(harness::unique("key"));
                job["spec"]["extract"]["watermark"] =
                    json!({ "column": "at", "type": "timestamp", "stampedBy": "database" });
                let said = source.run(&job).await?;
                ensure!(said["rows"] == 3000, "{kind} {partition}: {said}");
                let counted = command(&source, "verify --recount", &job).await?;
                ensure!(counted.code == Some(0), "{} {}", counted.stdout, counted.stderr);
            }
        }
        Ok(())
    })
}

/// Operators that name their schema are those of the column's index.
#[test]
fn window_with_a_condition_is_read_by_the_index_of_its_column() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let table = "create table t (id int primary key, at timestamptz not null, name text); \
            insert into t select i, '2024-01-01'::timestamptz + make_interval(secs => i), 'n' || i \
            from generate_series(1, 50000) i; analyze t";
        let source = with_role(env, "indexed", table).await?;
        let mut job = filtered(&source, "name is not null");
        job["spec"]["extract"]["type"] = json!("PE");
        job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
        job["spec"]["extract"]["watermark"] =
            json!({ "column": "at", "type": "timestamp", "low": "2024-01-01 13:45:00" });
        for (change, indexed) in [("select 1", false), ("create index on t (at)", true)] {
            env.psql(&source.database, change).await?;
            let planned = command(&source, "plan --json", &job).await?;
            ensure!(planned.code == Some(0), "{}", planned.stderr);
            let plan: Value = serde_json::from_str(planned.stdout.trim())?;
            let statement = plan["statement"].as_str().context("a statement")?;
            let statement = statement.strip_prefix("COPY (").context("COPY")?;
            let (statement, _) = statement.rsplit_once(") TO STDOUT").context("TO STDOUT")?;
            let way = as_role(&source, &format!("explain {statement}")).await?;
            ensure!(way.contains("t_at_idx") == indexed, "{change}: {way}");
        }
        Ok(())
    })
}

/// Types whose text depends on the `search_path`, or on how names are quoted.
const NAMES: [&str; 11] = [
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regclass",
    "regtype",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regrole",
    "regcollation",
];

/// Types that contain `NAME`, each after those that it is made of.
const CONTAINERS: [(&str, &str); 8] = [
    ("NAME_array", "create domain NAME_array as NAME[]"),
    ("NAME_domain", "create domain NAME_domain as NAME"),
    ("NAME_comp", "create type NAME_comp as (a int, b NAME)"),
    ("NAME_comp[]", ""),
    ("NAME_nested", "create type NAME_nested as (a text, b NAME_comp[])"),
    ("NAME_deep", "create type NAME_deep as (a NAME_array, b int)"),
    ("NAME_over", "create domain NAME_over as NAME_nested"),
    ("NAME[]", ""),
];

#[test]
fn column_with_nested_reg_type_is_refused_with_a_condition() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let (mut columns, mut sql) = (Vec::new(), Vec::new());
        for name in NAMES {
            for (column, make) in CONTAINERS {
                sql.push(make.replace("NAME", name));
                columns.push(column.replace("NAME", name));
            }
            columns.push(name.to_owned());
        }
        sql.push(
            "create type names as range (subtype = regclass, subtype_opclass = oid_ops)".to_owned(),
        );
        sql.push("create type plain as (a int, b text[])".to_owned());
        columns.extend(["names", "names[]", "plain[]"].map(str::to_owned));
        let list: Vec<_> =
            columns.iter().enumerate().map(|(at, it)| format!("c{at} {it}")).collect();
        sql.push(format!("create table t (id int primary key, {})", list.join(", ")));
        sql.push("insert into t (id) values (1)".to_owned());
        let sql = sql.join("; ");
        let source = with_role(env, "names", &sql).await?;
        let mut job = source.job("public.t", "FE");
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 1, "{said}");
        job["spec"]["extract"]["where"] = json!("id > 0");
        for (at, column) in columns.iter().enumerate() {
            job["spec"]["extract"]["columns"] = json!(["id", format!("c{at}")]);
            let output = command(&source, "plan", &job).await?;
            let plain = column == "plain[]";
            let code = if plain { 0 } else { 10 };
            ensure!(output.code == Some(code), "{column}: {:?} {}", output.code, output.stderr);
            let named =
                output.stderr.contains(&format!("c{at}")) && output.stderr.contains("search_path");
            ensure!(plain || named, "{column}: {}", output.stderr);
        }
        Ok(())
    })
}

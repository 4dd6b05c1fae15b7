//! Odd names, wide tables, long rows.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

/// As wide as a table of Postgres can be.
const COLUMNS_MAX: usize = 1600;

#[test]
fn names_arrive_unchanged() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "names").await?;
        let long = "ß".repeat(31) + "x";
        let names = [
            "select",
            "a.b",
            "say \"hi\"",
            "it's; --",
            "Ünï 🧀",
            " ",
            "\\t",
            long.as_str(),
            "xmin2",
        ];
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let columns: Vec<_> = names.iter().map(|name| format!("{} int", quoted(name))).collect();
        let table = "Order \"x\".y ß";
        env.psql(
            &source.database,
            &format!(
                "create schema \"from\"; create table \"from\".{} ({});
                 insert into \"from\".{} select {} from generate_series(1, 100) i",
                quoted(table),
                columns.join(", "),
                quoted(table),
                (0..names.len()).map(|n| format!("i * {}", n + 1)).collect::<Vec<_>>().join(", "),
            ),
        )
        .await?;
        let mut job = source.job("t", "PE");
        job["spec"]["extract"]["table"] = json!(format!("\"from\".{}", quoted(table)));
        job["spec"]["extract"]["watermark"] = json!({ "column": "say \"hi\"", "type": "int" });
        job["spec"]["extract"]["partition"] = json!({ "column": long, "count": 3 });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 100 && said["watermark"] == "300", "{said}");
        let sums: Vec<_> =
            names.iter().map(|name| format!("sum({}) as {0}", quoted(name))).collect();
        let sql = format!("select {} from t", sums.join(", "));
        let rows = env.read_parquet(&source.bucket, "t", &sql).await?;
        for (n, name) in names.iter().enumerate() {
            ensure!(rows[0][*name] == json!(5050 * (n + 1)), "{name}: {}", rows[0]);
        }
        let files = env.parquet_files(&source.bucket, "t").await?;
        ensure!(files.len() == 3, "{} files", files.len());
        for name in names {
            ensure!(files[0].schema.contains_key(name), "pyarrow has no {name:?}");
        }
        Ok(())
    })
}

#[test]
fn columns_that_differ_by_case_alone_arrive_as_two_with_a_warning() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "case").await?;
        env.psql(
            &source.database,
            "create table t (a int, \"A\" int, \"Ä\" text, \"ä\" text); insert into t values (1, 2, 'x', 'y')",
        )
        .await?;
        let mut job = source.job("public.t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "column": "A", "count": 1 });
        let output = env.output(source.command("plan", &job)?, "", Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{}", output.stderr);
        let warning = "warning    many readers treat these columns as one because their names differ only in case";
        let told = output.stdout.lines().any(|line| line.starts_with(warning) && line.ends_with(": A, a, Ä, ä"));
        ensure!(told, "{}", output.stdout);
        source.run(&job).await?;
        let rows = env.parquet_values(&source.bucket, "public.t").await?;
        let expected = json!([{ "a": "1", "A": "2", "Ä": "x", "ä": "y" }]);
        ensure!(json!(rows) == expected, "{}", json!(rows));
        // DuckDB has one case: it gives the later one a name of its own
        let rows = env.read_parquet(&source.bucket, "public.t", "select a, \"A_1\" from t").await?;
        ensure!(rows[0] == json!({ "a": 1, "A_1": 2 }), "{}", rows[0]);
        Ok(())
    })
}

#[test]
fn the_widest_table_arrives_whole() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "wide").await?;
        let kinds = ["int", "text", "bool", "date"];
        let kind = |i: usize| kinds[i % kinds.len()];
        let columns: Vec<_> = (0..COLUMNS_MAX).map(|i| format!("c{i} {}", kind(i))).collect();
        let values: Vec<_> = (0..COLUMNS_MAX)
            .map(|i| match kind(i) {
                "int" => format!("n + {i}"),
                "text" => "chr(65 + n % 26)".to_owned(),
                "bool" => "n % 2 = 0".to_owned(),
                _ => format!("date '2020-01-01' + n % {}", i + 1),
            })
            .collect();
        let sql = format!(
            "create table t ({}); insert into t select {} from generate_series(1, 2000) n",
            columns.join(", "),
            values.join(", ")
        );
        env.psql(&source.database, &sql).await?;
        let job = source.job("public.t", "FE");
        planned_in_short(&source, &job).await?;
        let said = source.run_within(&job, 128 << 20).await?;
        ensure!(said["rows"] == 2000 && said["fidelity"]["exact"] == COLUMNS_MAX, "{said}");
        let sums: Vec<_> = (0..COLUMNS_MAX)
            .map(|i| match kind(i) {
                "int" => format!("sum(c{i})::bigint as s{i}"),
                "text" => format!("count(distinct c{i})::bigint as s{i}"),
                "bool" => format!("sum(c{i}::int)::bigint as s{i}"),
                _ => format!("sum(c{i} - date '2020-01-01')::bigint as s{i}"),
            })
            .collect();
        let all = format!("select {} from", sums.join(", "));
        let rows = env.read_parquet(&source.bucket, "public.t", &format!("{all} t")).await?;
        let expected = env.psql(&source.database, &format!("{all} public.t")).await?;
        for (i, expected) in expected.split('|').enumerate() {
            let found = &rows[0][format!("s{i}")];
            ensure!(found.as_i64() == expected.parse().ok(), "c{i}: {found} instead of {expected}");
        }
        // zstd would hold twice as much
        let files = env.parquet_files(&source.bucket, "public.t").await?;
        ensure!(files.iter().all(|file| file.codecs == ["LZ4"]), "{:?}", files[0].codecs);
        Ok(())
    })
}

/// What `tidemark plan` prints for people has room on a screen, and all of it is there as JSON.
async fn planned_in_short(source: &SourceFixture, job: &Value) -> Result<()> {
    let minute = Duration::from_mins(1);
    let output = source.env.output(source.command("plan", job)?, "", minute).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    let lines: Vec<_> = output.stdout.lines().collect();
    ensure!(lines.len() < 30 && output.stdout.len() < 4_000, "{}", output.stdout);
    for line in [
        "columns    1600: 1600 exact, 0 widened, 0 string, 0 lossy",
        "    400 of boolean                        BOOLEAN                  exact",
        "           c2, c6, c10, c14, c18, c22, c26, c30 and 392 more",
        "  all columns: tidemark plan --json",
    ] {
        ensure!(lines.contains(&line), "no {line:?} in\n{}", output.stdout);
    }
    let output = source.env.output(source.command("plan --json", job)?, "", minute).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    let said: Value = serde_json::from_str(&output.stdout)?;
    let columns = said["columns"].as_array().map_or(0, Vec::len);
    ensure!(columns == COLUMNS_MAX && said["columns"][1599]["typeName"] == "date", "{columns}");
    let statement = said["statement"].as_str().unwrap_or_default();
    ensure!(statement.contains("\"c0\"") && statement.contains("\"c1599\""), "{statement}");
    Ok(())
}

#[test]
fn rows_of_a_megabyte_arrive_whole() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "long").await?;
        env.psql(
            &source.database,
            "create table t (id int primary key, words text, raw bytea, doc jsonb);
             insert into t select i, repeat(md5(i::text), 32768), decode(repeat(md5((-i)::text), 16384), 'hex'),
                 jsonb_build_object('words', repeat(md5(i::text), 16384))
             from generate_series(1, 60) i",
        )
        .await?;
        let said = source.run_within(&source.job("public.t", "FE"), 128 << 20).await?;
        ensure!(said["rows"] == 60, "{said}");
        let sql = "select id, md5(words) words, md5(raw) raw, md5(json_extract_string(doc, '$.words')) doc from t order by id";
        let found = env.read_parquet(&source.bucket, "public.t", sql).await?;
        let expected = env
            .psql(
                &source.database,
                "select json_build_object('id', id, 'words', md5(words), 'raw', md5(raw), 'doc', md5(doc ->> 'words'))
                 from t order by id",
            )
            .await?;
        let expected: Vec<Value> = expected.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(found == expected, "{found:?}");
        Ok(())
    })
}

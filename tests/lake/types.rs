//! `extract.types: {column: string}`: every type of both engines as the database's own text.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Map, Value, json};

use crate::{all_read, changed, manifest, plan, refused, said};

/// Types of Postgres, and values: ordinary ones, and such as fail without `types`.
const POSTGRES: [(&str, &[&str]); 23] = [
    ("boolean", &["true"]),
    ("smallint", &["-32768"]),
    ("integer", &["2147483647"]),
    ("bigint", &["-9223372036854775808"]),
    ("real", &["0.1", "'NaN'"]),
    ("double precision", &["0.1", "'-Infinity'", "5e-324"]),
    ("numeric(12,2)", &["-1.50", "'NaN'"]),
    ("numeric", &["1e400"]),
    ("text", &["'a'"]),
    ("char(5)", &["'a'"]),
    ("bytea", &["'\\x00ff'"]),
    ("bit(4)", &["b'0101'"]),
    ("date", &["'2024-02-29'", "'infinity'", "'0044-03-15 BC'", "'5874897-12-31'"]),
    ("time", &["'23:59:59.999999'", "'24:00:00'"]),
    ("timetz", &["'24:00:00+02'"]),
    ("timestamp", &["'2024-02-29 10:00:00.5'", "'-infinity'", "'294276-12-31'"]),
    ("timestamptz", &["'2024-02-29 10:00:00+02'", "'infinity'"]),
    ("interval", &["'-1 year 2 days'"]),
    ("uuid", &["'123e4567-e89b-12d3-a456-426655440000'"]),
    ("json", &["'[\"\\ud83d\"]'", "' {\"a\":1, \"a\":2}'"]),
    ("jsonb", &["'{\"b\": 1e400}'"]),
    ("int[]", &["'{1,NULL}'"]),
    ("inet", &["'10.0.0.1/8'"]),
];

#[test]
fn every_type_of_postgres_is_written_as_its_own_text() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "texts").await?;
        let rows = 4;
        let mut make = "create table t (id int primary key".to_owned();
        let (mut types, mut texts) = (Map::new(), Vec::new());
        for (number, (name, _)) in POSTGRES.iter().enumerate() {
            write!(make, ", c{number} {name}")?;
            types.insert(format!("c{number}"), json!("string"));
            texts.push(format!("c{number}::text"));
        }
        make += ")";
        for row in 0..rows {
            let values: Vec<_> = POSTGRES
                .iter()
                .map(|(_, values)| values.get(row).copied().unwrap_or("null"))
                .collect();
            write!(make, "; insert into t values ({row}, {})", values.join(", "))?;
        }
        env.psql(&source.database, &make).await?;
        let job = changed(&source.job("public.t", "FE"), &json!({ "extract": { "types": types } }));
        let run = source.run(&job).await?;
        all_read(&source, "public.t", rows as u64).await?;
        let columns = manifest(&source, "public.t", &run).await?["columns"].clone();
        for column in
            columns.as_array().into_iter().flatten().filter(|column| column["name"] != "id")
        {
            ensure!(column["target"] == "text" || column["target"] == "asText", "{column}");
            let text = column["typeName"] == "text" || column["typeName"] == "character(5)";
            ensure!((column["fidelity"] == "exact") == text, "{column}");
        }
        // char(5) stays the padded text that it was without
        let own = env
            .psql(
                &source.database,
                &format!("select json_build_array({}) from t order by id", texts.join(", "))
                    .replace("c9::text", "c9"),
            )
            .await?;
        let names: Vec<_> = (0..POSTGRES.len()).map(|number| format!("c{number}")).collect();
        let sql = format!("select {} from t order by id", names.join(", "));
        let read = env.read_parquet(&source.bucket, "public.t", &sql).await?;
        for (own, read) in own.lines().zip(&read) {
            let own: Vec<Value> = serde_json::from_str(own)?;
            for ((name, own), (kind, _)) in names.iter().zip(own).zip(POSTGRES) {
                ensure!(
                    same(kind, &read[name.as_str()], &own),
                    "{kind}: {} is not {own}",
                    read[name.as_str()]
                );
            }
        }
        ensure!(read.len() == rows, "{} rows", read.len());
        Ok(())
    })
}

/// Whether a text is the type's own: its output, or what a cast makes of it.
fn same(kind: &str, read: &Value, cast: &Value) -> bool {
    let output = match (kind, cast.as_str()) {
        ("boolean", Some("true")) => json!("t"),
        _ => cast.clone(),
    };
    *read == *cast || *read == output
}

/// Types of MariaDB, a value, its text.
const MARIADB: [(&str, &str, &str); 26] = [
    ("tinyint", "-128", "-128"),
    ("boolean", "true", "1"),
    ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
    ("int(5) unsigned zerofill", "42", "00042"),
    ("float", "0.5", "0.5"),
    ("float", "16777219", "16777220"),
    ("double", "0.1", "0.1"),
    ("double", "2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("decimal(12,2)", "-1.5", "-1.50"),
    ("decimal(65,30)", "1", "1.000000000000000000000000000000"),
    ("bit(1)", "b'1'", "1"),
    ("bit(12)", "b'101'", "000000000101"),
    ("date", "'0000-00-00'", "0000-00-00"),
    ("datetime(6)", "'2023-00-15 10:00:00.5'", "2023-00-15 10:00:00.500000"),
    ("timestamp null", "'2024-02-29 10:00:00'", "2024-02-29 10:00:00"),
    ("time", "'-838:59:59'", "-838:59:59"),
    ("year", "1999", "1999"),
    ("varchar(9)", "'ä'", "ä"),
    ("enum('a','b')", "'b'", "b"),
    ("set('a','b')", "'a,b'", "a,b"),
    ("json", "'{\"a\": 1}'", "{\"a\": 1}"),
    ("varbinary(9)", "x'00ff'", "00FF"),
    ("blob", "x'00ff'", "00FF"),
    ("uuid", "'123E4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000"),
    ("point", "ST_GeomFromText('POINT(1 0.1)', 4326)", "SRID=4326;POINT(1 0.1)"),
    ("inet6", "'::1'", "::1"),
];

#[test]
fn every_type_of_mariadb_is_written_as_its_own_text() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "texts").await?;
        let (mut columns, mut values, mut types) = (String::new(), String::new(), Map::new());
        for (number, (name, value, _)) in MARIADB.iter().enumerate() {
            write!(columns, ", c{number} {name}")?;
            write!(values, ", {value}")?;
            types.insert(format!("c{number}"), json!("string"));
        }
        let make = format!(
            "set time_zone = '+00:00', sql_mode = ''; create table t (id int primary key{columns}); \
             insert into t values (1{values}); insert into t (id) values (2)"
        );
        env.mariadb(&source.database, &make).await?;
        let job = changed(&source.job("t", "FE"), &json!({ "extract": { "types": types } }));
        source.run(&job).await?;
        all_read(&source, "t", 2).await?;
        let read = env.read_parquet(&source.bucket, "t", "select * from t order by id").await?;
        for (number, (name, _, text)) in MARIADB.iter().enumerate() {
            let found = &read[0][format!("c{number}")];
            ensure!(*found == json!(text), "{name}: {found} is not {text}");
            ensure!(read[1][format!("c{number}")].is_null() || name.starts_with("timestamp"), "{name}: {}", read[1]);
        }
        Ok(())
    })
}

#[test]
fn a_type_for_no_column_or_for_one_that_runs_compare_is_refused_when_planned() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in crate::both(env, "wrong").await? {
            crate::sql(&source, "create table t (id int primary key, a int); insert into t values (1, 1)").await?;
            let watermark = json!({ "column": "id", "type": "int" });
            for (extract, words) in [
                (json!({ "types": { "b": "string" } }), ["ColumnNotFound", "\"b\"", "extract.types"]),
                (
                    json!({ "types": { "a": "string" }, "excludeColumns": ["a"] }),
                    ["ColumnNotFound", "\"a\"", "extract.types"],
                ),
                (
                    // the rule of the CRD refuses `id`, and does not know that `ID` is the same column
                    json!({ "types": { "ID": "string" }, "type": "PE", "watermark": watermark }),
                    ["InvalidSpec", "watermark column \"id\"", "extract.types"],
                ),
                (
                    json!({ "types": { "id": "string" }, "partition": { "column": "id", "count": 2 } }),
                    ["InvalidSpec", "partition column \"id\"", "extract.types"],
                ),
                (json!({ "types": { "a": "text" } }), ["InvalidSpec", "types", "text"]),
            ] {
                let job = changed(&source.job(table, "FE"), &json!({ "extract": extract }));
                refused(&source, &job, &words).await?;
                said(&plan(&source, &job).await?, &words)?;
            }
            // the plan shows what is written
            let job = changed(&source.job(table, "FE"), &json!({ "extract": { "types": { "A": "string" } } }));
            let shown = plan(&source, &job).await?.stdout;
            ensure!(shown.contains("extract.types sets it to string"), "{shown}");
            ensure!(shown.contains("1 exact, 0 widened, 1 string, 0 lossy"), "{shown}");
        }
        Ok(())
    })
}

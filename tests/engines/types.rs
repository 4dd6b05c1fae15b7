//! Every type, value by value, read back by two readers that know nothing of us.

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

/// Column, type, value as SQL, DuckDB's expression for it, what DuckDB must say, pyarrow's type.
type Case = (&'static str, &'static str, &'static str, Value, &'static str);

fn cases() -> Vec<Case> {
    [whole_numbers(), other_numbers(), times(), texts(), bytes_and_names(), geometries()].concat()
}

fn whole_numbers() -> Vec<Case> {
    vec![
        ("tinyint", "-128", "c", json!(-128), "int16"),
        ("tinyint(1)", "2", "c", json!(2), "int16"),
        ("tinyint(1)", "-128", "c", json!(-128), "int16"),
        ("boolean", "true", "c", json!(1), "int16"),
        ("tinyint unsigned", "255", "c", json!(255), "int16"),
        ("smallint", "-32768", "c", json!(-32768), "int16"),
        ("smallint unsigned zerofill", "65535", "c", json!(65535), "int32"),
        ("mediumint", "-8388608", "c", json!(-8_388_608), "int32"),
        ("mediumint unsigned", "16777215", "c", json!(16_777_215), "int32"),
        ("int", "-2147483648", "c", json!(-2_147_483_648_i64), "int32"),
        ("int unsigned", "4294967295", "c", json!(4_294_967_295_i64), "int64"),
        ("bigint", "-9223372036854775808", "c", json!(i64::MIN), "int64"),
        (
            "bigint unsigned",
            "18446744073709551615",
            "c::varchar",
            json!("18446744073709551615"),
            "decimal128(20, 0)",
        ),
    ]
}

fn other_numbers() -> Vec<Case> {
    let text = "string";
    vec![
        ("year", "2155", "c", json!(2155), "int16"),
        ("year", "0", "c", json!(0), "int16"),
        ("float", "0.1", "c::varchar", json!("0.1"), "float"),
        ("double", "2.2250738585072014e-308", "c", json!(2.225_073_858_507_201_4e-308), "double"),
        (
            "decimal(38,10)",
            "-9999999999999999999999999999.9999999999",
            "c::varchar",
            json!("-9999999999999999999999999999.9999999999"),
            "decimal128(38, 10)",
        ),
        ("decimal(5,0)", "-7", "c::varchar", json!("-7"), "decimal128(5, 0)"),
        (
            "decimal(65,30)",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "c",
            json!("-99999999999999999999999999999999999.999999999999999999999999999999"),
            text,
        ),
        ("bit(1)", "b'1'", "c", json!(true), "bool"),
        ("bit(13)", "b'1000000000001'", "c", json!(4097), "int64"),
        ("bit(63)", "0x7FFFFFFFFFFFFFFF", "c", json!(i64::MAX), "int64"),
        (
            "decimal(30,30)",
            "0.000000000000000000000000000001",
            "c::varchar",
            json!(".000000000000000000000000000001"),
            "decimal128(30, 30)",
        ),
        (
            "bit(64)",
            "0xFFFFFFFFFFFFFFFF",
            "c::varchar",
            json!("18446744073709551615"),
            "decimal128(20, 0)",
        ),
    ]
}

fn times() -> Vec<Case> {
    let text = "string";
    let moment = "timestamp[us]";
    vec![
        ("date", "'9999-12-31'", "c::varchar", json!("9999-12-31"), "date32[day]"),
        ("date", "'1000-01-01'", "c::varchar", json!("1000-01-01"), "date32[day]"),
        ("datetime", "'2000-02-29 23:59:59'", "c::varchar", json!("2000-02-29 23:59:59"), moment),
        (
            "datetime(6)",
            "'9999-12-31 23:59:59.999999'",
            "c::varchar",
            json!("9999-12-31 23:59:59.999999"),
            moment,
        ),
        (
            "datetime(3)",
            "'1969-12-31 23:59:59.5'",
            "c::varchar",
            json!("1969-12-31 23:59:59.5"),
            moment,
        ),
        (
            "timestamp(6)",
            "'2038-01-19 03:14:07.999999'",
            "epoch_us(c)",
            json!(2_147_483_647_999_999_i64),
            "timestamp[us, tz=UTC]",
        ),
        (
            "datetime(1)",
            "'2023-01-31 10:00:00.9'",
            "c::varchar",
            json!("2023-01-31 10:00:00.9"),
            moment,
        ),
        (
            "timestamp(2)",
            "'2023-01-31 10:00:00.25'",
            "epoch_us(c)",
            json!(1_675_159_200_250_000_i64),
            "timestamp[us, tz=UTC]",
        ),
        ("time", "'-838:59:59'", "c", json!("-838:59:59"), text),
        ("time(6)", "'838:59:58.000001'", "c", json!("838:59:58.000001"), text),
    ]
}

fn texts() -> Vec<Case> {
    let text = "string";
    vec![
        ("char(5)", "'a '", "c", json!("a"), text),
        ("varchar(20)", "'käse 🧀 '", "c", json!("käse 🧀 "), text),
        ("varchar(20) character set latin1", "'größe'", "c", json!("größe"), text),
        ("varchar(20) character set utf16", "'größe 🧀'", "c", json!("größe 🧀"), text),
        ("varchar(20) character set sjis", "'日本'", "c", json!("日本"), text),
        ("varchar(20) character set utf8mb3", "'größe'", "c", json!("größe"), text),
        ("varchar(20) character set ucs2", "'größe'", "c", json!("größe"), text),
        ("varchar(20) character set utf32", "'größe 🧀'", "c", json!("größe 🧀"), text),
        ("varchar(20) character set cp1251", "'Привет'", "c", json!("Привет"), text),
        ("varchar(20) character set koi8r", "'Привет'", "c", json!("Привет"), text),
        ("varchar(20) character set big5", "'中文'", "c", json!("中文"), text),
        ("varchar(20) character set gbk", "'中文'", "c", json!("中文"), text),
        ("varchar(20) character set euckr", "'한국'", "c", json!("한국"), text),
        ("char(3) character set binary", "x'6100'", "hex(c)", json!("610000"), "binary"),
        ("varchar(20) collate utf8mb4_bin", "'A\\0b'", "c", json!("A\u{0}b"), text),
        ("tinytext", "'t'", "c", json!("t"), text),
        ("text", "repeat('t', 65535)", "length(c)", json!(65535), text),
        ("mediumtext", "repeat('t', 70000)", "length(c)", json!(70000), text),
        ("longtext", "''", "c", json!(""), text),
    ]
}

fn bytes_and_names() -> Vec<Case> {
    let text = "string";
    vec![
        ("binary(4)", "x'00ff'", "hex(c)", json!("00FF0000"), "binary"),
        ("varbinary(4)", "x'00ff'", "hex(c)", json!("00FF"), "binary"),
        ("tinyblob", "x'00'", "hex(c)", json!("00"), "binary"),
        ("blob", "repeat(x'fe', 251)", "octet_length(c)", json!(251), "binary"),
        ("mediumblob", "repeat(x'fe', 65536)", "octet_length(c)", json!(65536), "binary"),
        ("longblob", "''", "hex(c)", json!(""), "binary"),
        ("enum('a','b,c')", "'b,c'", "c", json!("b,c"), text),
        ("set('a','b','c')", "'c,a'", "c", json!("a,c"), text),
        (
            "json",
            "'{\"a\": [1, \"ü\"]}'",
            "json_extract_string(c, '$.a[1]')",
            json!("ü"),
            "extension<arrow.json>",
        ),
        (
            "uuid",
            "'123e4567-e89b-12d3-a456-426655440000'",
            "c::varchar",
            json!("123e4567-e89b-12d3-a456-426655440000"),
            "extension<arrow.uuid>",
        ),
        ("inet6", "'2001:db8::ff00:42:8329'", "c", json!("2001:db8::ff00:42:8329"), text),
        ("inet4", "'192.0.2.146'", "c", json!("192.0.2.146"), text),
    ]
}

fn geometries() -> Vec<Case> {
    vec![
        (
            "point",
            "ST_GeomFromText('POINT(1 2)', 4326)",
            "hex(c)",
            json!("0101000000000000000000F03F0000000000000040"),
            "binary",
        ),
        (
            "linestring",
            "ST_GeomFromText('LINESTRING(0 0,1 1)')",
            "octet_length(c)",
            json!(41),
            "binary",
        ),
        (
            "polygon",
            "ST_GeomFromText('POLYGON((0 0,1 1,1 0,0 0))')",
            "hex(c)[1:26]",
            json!("01030000000100000004000000"),
            "binary",
        ),
        (
            "multipoint",
            "ST_GeomFromText('MULTIPOINT(0 0,1 1)')",
            "hex(c)[1:10]",
            json!("0104000000"),
            "binary",
        ),
        (
            "multilinestring",
            "ST_GeomFromText('MULTILINESTRING((0 0,1 1))')",
            "hex(c)[1:10]",
            json!("0105000000"),
            "binary",
        ),
        (
            "multipolygon",
            "ST_GeomFromText('MULTIPOLYGON(((0 0,1 1,1 0,0 0)))')",
            "hex(c)[1:10]",
            json!("0106000000"),
            "binary",
        ),
        (
            "geometrycollection",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')",
            "hex(c)[1:10]",
            json!("0107000000"),
            "binary",
        ),
    ]
}

/// Holds what pyarrow reads against what DuckDB reads, value by value.
async fn readers_agree(source: &SourceFixture, cases: &[Case]) -> Result<()> {
    let shown = cases.iter().enumerate().map(|(i, case)| {
        let text = match case.4 {
            "bool" => format!("case c{i} when true then 't' when false then 'f' end"),
            "binary" => format!("'\\x' || lower(hex(c{i}))"),
            // it leaves out the zero before a point
            decimal if decimal.starts_with("decimal") => {
                format!("regexp_replace(c{i}::varchar, '^(-?)[.]', '\\10.')")
            }
            _ => format!("c{i}::varchar"),
        };
        format!("{text} as c{i}")
    });
    let sql = format!(
        "select id::varchar as id, {} from t order by id",
        shown.collect::<Vec<_>>().join(", ")
    );
    let by_duckdb = source.env.read_parquet(&source.bucket, "types", &sql).await?;
    let mut by_pyarrow = source.env.parquet_values(&source.bucket, "types").await?;
    by_pyarrow.sort_by_key(|row| row["id"].to_string());
    ensure!(by_duckdb.len() == 2 && by_pyarrow.len() == 2, "{by_duckdb:?} {by_pyarrow:?}");
    for (one, other) in by_duckdb.iter().zip(&by_pyarrow) {
        for (i, (column_type, ..)) in cases.iter().enumerate() {
            let (one, other) = (&one[format!("c{i}")], &other[format!("c{i}")]);
            ensure!(one == other, "{column_type}: DuckDB reads {one}, pyarrow {other}");
        }
    }
    Ok(())
}

#[test]
fn every_type_arrives_with_its_meaning() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-types").await?;
        let cases = cases();
        let columns: Vec<_> =
            cases.iter().enumerate().map(|(i, case)| format!("c{i} {} null", case.0)).collect();
        let values: Vec<_> = cases.iter().map(|case| case.1).collect();
        env.mariadb(
            &source.database,
            &format!(
                "set time_zone = '+00:00', sql_mode = ''; create table types (id int, {}); \
                 insert into types values (1, {}); insert into types (id) values (2)",
                columns.join(", "),
                values.join(", ")
            ),
        )
        .await?;
        let said = source.run(&source.job("types", "FE")).await?;
        ensure!(said["rows"] == 2, "{said}");
        let shown: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(i, case)| {
                // `c` is the column itself; other words of DuckDB have no lone c
                let name = format!("c{i}");
                let shown = match case.2 {
                    "c" => name,
                    "c::varchar" => format!("{name}::varchar"),
                    other => other
                        .replace("(c)", &format!("({name})"))
                        .replace("(c,", &format!("({name},")),
                };
                format!("{shown} as v{i}")
            })
            .collect();
        let nulls: Vec<_> = (0..cases.len()).map(|i| format!("count(c{i}) = 1")).collect();
        let sql = format!("select {} from t where id = 1", shown.join(", "));
        let rows = env.read_parquet(&source.bucket, "types", &sql).await?;
        let files = env.parquet_files(&source.bucket, "types").await?;
        let mut wrong = Vec::new();
        for (i, (column_type, value, _, expected, arrow)) in cases.iter().enumerate() {
            let found = &rows[0][format!("v{i}")];
            if found != expected {
                wrong.push(format!("{column_type} {value}: {found} instead of {expected}"));
            }
            let found =
                files[0].schema.get(&format!("c{i}")).map(String::as_str).unwrap_or_default();
            if found != *arrow {
                wrong.push(format!("{column_type}: pyarrow reads {found} instead of {arrow}"));
            }
        }
        readers_agree(&source, &cases).await?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        let sql = format!("select {} as once from t", nulls.join(" and "));
        let rows = env.read_parquet(&source.bucket, "types", &sql).await?;
        ensure!(rows[0] == json!({ "once": true }), "NULLs are not NULL: {}", rows[0]);
        Ok(())
    })
}

#[test]
fn zero_dates_follow_their_policy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "maria-zero").await?;
        env.mariadb(
            &source.database,
            "set time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES';
             create table t (id int, d date, m datetime(3), s timestamp null);
             insert into t values (1, '2023-01-31', '2023-01-31 10:00:00.5', '2023-01-31 10:00:00'),
                 (2, '0000-00-00', '0000-00-00', '0000-00-00'), (3, '2023-00-15', '2023-02-31 10:00:00', null)",
        )
        .await?;
        let mut job = source.job("t", "FE");
        let output = source.try_run(&job).await?;
        ensure!(output.code == Some(10), "{}", output.stderr);
        for words in ["DecodeFailed", "column d (date) in row 2", "extract.zeroDates"] {
            ensure!(output.stderr.contains(words), "{words}: {}", output.stderr);
        }
        job["spec"]["extract"]["zeroDates"] = json!("null");
        source.run(&job).await?;
        let sql = "select id, d::varchar d, m::varchar m, epoch(s)::bigint s from t order by id";
        let rows = env.read_parquet(&source.bucket, "t", sql).await?;
        let expected = json!([
            { "id": 1, "d": "2023-01-31", "m": "2023-01-31 10:00:00.5", "s": 1_675_159_200 },
            { "id": 2, "d": null, "m": null, "s": null },
            { "id": 3, "d": null, "m": null, "s": null },
        ]);
        ensure!(json!(rows) == expected, "{}", json!(rows));
        job["spec"]["extract"]["zeroDates"] = json!("string");
        source.run(&job).await?;
        let rows = env.read_parquet(&source.bucket, "t", "select * from t order by id").await?;
        let expected = json!([
            { "id": 1, "d": "2023-01-31", "m": "2023-01-31 10:00:00.500", "s": "2023-01-31 10:00:00" },
            { "id": 2, "d": "0000-00-00", "m": "0000-00-00 00:00:00.000", "s": "0000-00-00 00:00:00" },
            { "id": 3, "d": "2023-00-15", "m": "2023-02-31 10:00:00.000", "s": null },
        ]);
        ensure!(json!(rows) == expected, "{}", json!(rows));
        Ok(())
    })
}

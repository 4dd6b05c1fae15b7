//! Types that stand alone.

use anyhow::{Result, ensure};
use harness::TestEnv;
use serde_json::json;

use super::Column;
use super::Show::{Boolean, Bytes, Float, Plain};
use super::compare;

#[test]
fn numbers_arrive_to_the_last_digit() -> Result<()> {
    let env = TestEnv::shared()?;
    // before 15 there is no scale below 0 or above the precision
    let any_scale = env.postgres_release()? >= 15;
    env.run(async {
        let mut columns = vec![
            Column("boolean", Boolean, &["true", "false"]),
            Column("smallint", Plain, &["-32768", "32767", "0"]),
            Column("integer", Plain, &["-2147483648", "2147483647"]),
            Column("bigint", Plain, &["-9223372036854775808", "9223372036854775807"]),
            Column(
                "real",
                Float,
                &["0.1", "'NaN'", "'-Infinity'", "1.5", "-3.4028235e38", "1e-45"],
            ),
            Column(
                "double precision",
                Float,
                &[
                    "0.1",
                    "'NaN'",
                    "'Infinity'",
                    "2.2250738585072014e-308",
                    "1.7976931348623157e308",
                    "5e-324",
                ],
            ),
            Column("numeric(12,2)", Plain, &["-9999999999.99", "0", "0.01", "1234.50"]),
            Column("numeric(5,0)", Plain, &["-99999", "7"]),
            Column(
                "numeric(38,10)",
                Plain,
                &["-9999999999999999999999999999.9999999999", "0.0000000001"],
            ),
            Column("numeric(38,38)", Plain, &["0.99999999999999999999999999999999999999"]),
            Column("numeric(18,4)", Plain, &["99999999999999.9999", "-0.0001"]),
            Column("numeric(39,5)", Plain, &["9999999999999999999999999999999999.99999", "'NaN'"]),
            Column(
                "numeric",
                Plain,
                &[
                    "'NaN'",
                    "'Infinity'",
                    "'-Infinity'",
                    "1e-200",
                    "10::numeric ^ 200 + 0.5",
                    "1.500",
                    "-0.0",
                ],
            ),
            Column("money", Plain, &["1234.56", "-0.01", "'-92233720368547758.08'"]),
            Column("oid", Plain, &["0", "4294967295"]),
            Column("xid", Plain, &["'4294967295'"]),
            Column("cid", Plain, &["'2147483648'"]),
            Column("xid8", Plain, &["'18446744073709551615'"]),
            Column("bit(1)", Plain, &["B'1'", "B'0'"]),
            Column("bit(13)", Plain, &["B'0000000000001'"]),
            Column("bit varying(70)", Plain, &["B''", "B'001'", "repeat('10', 35)"]),
        ];
        if any_scale {
            columns.push(Column("numeric(3,5)", Plain, &["0.00999"]));
            columns.push(Column("numeric(5,-2)", Plain, &["1234567"]));
        }
        let manifest = compare("numbers", "", &columns).await?;
        // the primary key too
        let strings = if any_scale { 9 } else { 7 };
        let counts = json!({ "exact": 12, "widened": 3, "string": strings, "lossy": 0 });
        ensure!(manifest["fidelity"] == counts, "{}", manifest["fidelity"]);
        Ok(())
    })
}

#[test]
fn texts_and_bytes_arrive_unchanged() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let columns = [
            Column(
                "text",
                Plain,
                &["''", "'käse 🧀\n\t\\ \"'", "repeat('ß', 100000)", "E'\\u0001'"],
            ),
            Column("varchar(20)", Plain, &["'a '", "' '"]),
            Column("char(5)", Plain, &["'a'", "'ab 🧀'", "''"]),
            Column("name", Plain, &["'pg_class'", "repeat('x', 63)"]),
            Column("citext", Plain, &["'GROSS klein'", "''"]),
            Column("\"char\"", Plain, &["'r'", "''", "' '", "-100"]),
            Column(
                "bytea",
                Bytes,
                &["'\\x'", "'\\x00ff5c27'", "decode(repeat('fe', 70000), 'hex')"],
            ),
            Column(
                "uuid",
                Plain,
                &[
                    "'123e4567-e89b-12d3-a456-426655440000'",
                    "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                ],
            ),
            Column(
                "json",
                Plain,
                &["'{\"b\" : [1,  2.50, null], \"a\": \"\\u00fc\", \"a\": 2}'", "'null'", "'\"\"'"],
            ),
            Column(
                "jsonb",
                Plain,
                &[
                    "'{\"b\" : [1,  2.50, null], \"a\": \"\\u00fc\"}'",
                    "'null'",
                    "'123456789012345678901234567890'",
                ],
            ),
            Column("jsonpath", Plain, &["'$.a[*] ? (@ > 1)'"]),
            Column(
                "xml",
                Plain,
                &["'<?xml version=\"1.0\"?><a b=\"ü\">x &amp; y</a>'", "'text <b/>'"],
            ),
            Column("tsvector", Plain, &["'a:1A fat:2B,4C cat''s:5'"]),
            Column("tsquery", Plain, &["'fat & !(rat | cat:*)'"]),
            Column("refcursor", Plain, &["'portal'"]),
        ];
        compare("texts", "create extension citext", &columns).await.map(|_| ())
    })
}

#[test]
fn times_arrive_to_the_microsecond() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let columns = [
            Column(
                "date",
                Plain,
                &[
                    "'4713-01-01 BC'",
                    "'0001-01-01'",
                    "'1969-12-31'",
                    "'2000-02-29'",
                    "'9999-12-31'",
                    "'5874897-12-31'",
                ],
            ),
            Column(
                "time",
                Plain,
                &["'00:00'", "'23:59:59.999999'", "'12:34:56.5'", "'10:00:00.000001'"],
            ),
            Column("time(0)", Plain, &["'23:59:58.4'"]),
            Column(
                "time with time zone",
                Plain,
                &[
                    "'10:00+02'",
                    "'24:00-15:59:59'",
                    "'00:00:00.000001+00'",
                    "'23:59:59.999999+05:45'",
                ],
            ),
            Column(
                "timestamp",
                Plain,
                &[
                    "'4713-01-01 00:00:00 BC'",
                    "'0001-01-01'",
                    "'1969-12-31 23:59:59.999999'",
                    "'2023-01-31 10:00:00.5'",
                    "'294246-12-31 23:59:59.999999'",
                ],
            ),
            Column("timestamp(0)", Plain, &["'2023-01-31 10:00:00.4'"]),
            Column("timestamp(3)", Plain, &["'2023-01-31 10:00:00.1234'"]),
            Column(
                "timestamp with time zone",
                Plain,
                &[
                    "'0044-03-15 12:00:00+00 BC'",
                    "'2023-03-26 02:30:00+14'",
                    "'1969-12-31 23:59:59.999999+00'",
                    "'9999-12-31 23:59:59.999999+00'",
                ],
            ),
            Column(
                "interval",
                Plain,
                &[
                    "'1 mon -2 days +03:00:00.5'",
                    "'-1 year 2 mons -3 days'",
                    "'-00:00:00.000001'",
                    "'178000000 years'",
                    "'0'",
                    "'838 hours -1 minute'",
                ],
            ),
            Column("interval day to second(2)", Plain, &["'1 day 00:00:01.239'"]),
        ];
        compare("times", "", &columns).await.map(|_| ())
    })
}

#[test]
fn addresses_figures_and_the_systems_own_types_arrive_as_text() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let columns = [
            Column(
                "inet",
                Plain,
                &["'192.0.2.146'", "'10.0.0.1/8'", "'2001:db8::ff00:42:8329/64'", "'::1'"],
            ),
            Column("cidr", Plain, &["'10.0.0.0/8'", "'2001:db8::/32'"]),
            Column("macaddr", Plain, &["'08:00:2b:01:02:03'"]),
            Column("macaddr8", Plain, &["'08:00:2b:01:02:03:04:05'"]),
            Column("point", Plain, &["'(0.1,-1e300)'", "'(NaN,Infinity)'"]),
            Column("line", Plain, &["'{1,-1,0.3}'"]),
            Column("lseg", Plain, &["'[(0,0),(1,1.5)]'"]),
            Column("box", Plain, &["'(1,1),(0,0)'"]),
            Column("path", Plain, &["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"]),
            Column("polygon", Plain, &["'((0,0),(1,1),(1,0))'"]),
            Column("circle", Plain, &["'<(1,2),0.1>'"]),
            Column(
                "regclass",
                Plain,
                &["'pg_catalog.pg_class'", "'public.\"odd \"\"name\"'", "987654"],
            ),
            Column("regproc", Plain, &["'pg_catalog.now'"]),
            Column("regprocedure", Plain, &["'pg_catalog.abs(int)'"]),
            Column("regoper", Plain, &["'pg_catalog.||/'"]),
            Column("regoperator", Plain, &["'pg_catalog.+(int,int)'"]),
            Column("regtype", Plain, &["'int'", "'timestamptz[]'"]),
            Column("regrole", Plain, &["'postgres'"]),
            Column("regnamespace", Plain, &["'public'"]),
            Column("regconfig", Plain, &["'pg_catalog.english'"]),
            Column("regdictionary", Plain, &["'pg_catalog.simple'"]),
            Column("regcollation", Plain, &["'pg_catalog.\"C\"'"]),
            Column("tid", Plain, &["'(4294967295,65535)'"]),
            Column("pg_lsn", Plain, &["'FFFFFFFF/FFFFFFFF'"]),
            Column("pg_snapshot", Plain, &["'10:20:10,14,15'"]),
            Column("txid_snapshot", Plain, &["'10:20:10,14,15'"]),
            Column("aclitem", Plain, &["'postgres=r/postgres'"]),
            Column("int2vector", Plain, &["'1 2 3'"]),
            Column("oidvector", Plain, &["'1 2 3'"]),
        ];
        compare("system", "create table \"odd \"\"name\" ()", &columns).await.map(|_| ())
    })
}

//! Expressions of views. MySQL sends most whole numbers of them with eight bytes, even if its catalog says otherwise.

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Server, SourceFixture, SupportedRelease, TestEnv};
use serde_json::json;

/// The table below: a row of values, and one of NULLs.
const TABLE: &str = "create table s (id int primary key, ti tinyint, si smallint, mi mediumint, bi bigint, \
    iu int unsigned, bu bigint unsigned, v varchar(20), d date, dt datetime(3), tm time, y year, dc decimal(10,2), \
    b bit(5), e enum('a','b')); \
    insert into s values (1, -3, 4, -5, 6, 7, 18446744073709551615, 'x', '2024-02-29', '2024-02-29 01:02:03.004', \
      '12:34:56', 2024, 12.50, b'101', 'b'); insert into s (id) values (2)";

const EXPRESSIONS: &[&str] = &[
    "id = 1",
    "id is null",
    "not id",
    "id > 1 and v = 'x'",
    "v like 'x%'",
    "v in ('x', 'y')",
    "ti is true",
    "length(v)",
    "char_length(v)",
    "ascii(v)",
    "strcmp(v, 'y')",
    "locate('x', v)",
    "find_in_set(v, 'a,x')",
    "year(d)",
    "month(d)",
    "dayofweek(d)",
    "to_days(d)",
    "quarter(d)",
    "week(d)",
    "datediff(d, '2024-01-01')",
    "hour(tm)",
    "microsecond(dt)",
    "extract(year_month from d)",
    "timestampdiff(second, d, dt)",
    "id div 2",
    "id % 2",
    "id + 1",
    "ti + 1",
    "iu + 1",
    "-ti",
    "abs(ti)",
    "sign(ti)",
    "bit_count(id)",
    "id & 3",
    "id << 1",
    "crc32(v)",
    "floor(dc)",
    "round(id)",
    "greatest(ti, si)",
    "nullif(ti, 1)",
    "interval(id, 1, 2)",
    "if(id = 1, ti, si)",
    "ifnull(ti, 0)",
    "coalesce(mi, si)",
    "case when id = 1 then 1 else 0 end",
    "1",
    "1000000",
    "10000000000",
    "true",
    "cast(id as signed)",
    "cast(iu as unsigned)",
    "exists(select 1 from s s2)",
    "(select count(*) from s s3)",
    "y",
    "y + 0",
    "b + 0",
    "bu",
    "bu - 1",
    "null",
    "concat(v, id)",
    "date(dt)",
    "substr(v, 1, 1)",
    "benchmark(1, sha2(v, 256))",
];

/// A run of the view, and the values that the server itself gives.
async fn arrives(server: &Server, source: &SourceFixture, algorithm: &str) -> Result<()> {
    let named = EXPRESSIONS.iter().enumerate().map(|(at, sql)| format!("{sql} as c{at}"));
    let named = named.collect::<Vec<_>>().join(", ");
    let view =
        format!("create or replace algorithm = {algorithm} view w as select id, {named} from s");
    server.sql(&source.database, &view).await?;
    let mut job = server.job(source, "w", "FE");
    job["spec"]["output"]["uri"] = json!(format!("s3://{}/{algorithm}", source.bucket));
    job["spec"]["tracking"]["key"] = json!(format!("{}.{algorithm}", source.database));
    ensure!(source.run(&job).await?["rows"] == 2, "rows of {algorithm}");
    let columns: Vec<_> = (0..EXPRESSIONS.len()).map(|at| format!("c{at}")).collect();
    let each =
        |sql: &dyn Fn(&String) -> String| columns.iter().map(sql).collect::<Vec<_>>().join(", ");
    let sql = each(&|name| format!("coalesce(cast({name} as char), '-')"));
    let shown = server.sql(&source.database, &format!("select {sql} from w order by id")).await?;
    let shown: Vec<Vec<&str>> = shown.lines().map(|line| line.split('\t').collect()).collect();
    let sql = each(&|name| format!("coalesce({name}::varchar, '-') {name}"));
    let read = format!("select {sql} from t order by id");
    let read = source.env.read_parquet(&source.bucket, algorithm, &read).await?;
    for (row, (shown, read)) in shown.iter().zip(&read).enumerate() {
        for (at, expression) in EXPRESSIONS.iter().enumerate() {
            let (shown, read) = (shown[at], &read[columns[at].as_str()]);
            ensure!(read == shown, "{expression}, row {row}: {read} instead of {shown:?}");
        }
    }
    Ok(())
}

#[test]
fn expression_of_a_view_arrives_as_the_value_that_the_server_shows() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for release in Mysql::ALL {
            let server = Server::start(env, SupportedRelease::Mysql(release))?;
            let source = server.source("views").await?;
            server.sql(&source.database, TABLE).await?;
            for algorithm in ["merge", "temptable"] {
                let arrived = arrives(&server, &source, algorithm).await;
                arrived.with_context(|| format!("{release:?}, {algorithm}"))?;
            }
        }
        Ok(())
    })
}

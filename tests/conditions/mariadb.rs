//! The same of MariaDB, whose settings are those of the server and of `init_connect`.

use harness::MariaDb;

use super::*;

const DATABASE: &str = "shop";

const TABLE: &str = "create database shop character set utf8mb4; use shop; \
    create table t (id int primary key, name varchar(40) character set utf8mb4 collate utf8mb4_bin, \
        fixed char(9), at datetime, a int, b int); \
    insert into t select seq, case seq % 3 when 0 then 'Ada' else concat('bob', seq) end, 'x', \
        '2024-01-01' + interval seq * 29 day, seq % 2, nullif(seq % 4, 0) from seq_1_to_12; \
    grant select on shop.* to app@'%'";

/// What the server or the connection sets, and the places in [`CONDITIONS`] that it bears on.
const SETTINGS: &[(&str, &[usize])] = &[
    ("set global sql_mode = 'PIPES_AS_CONCAT'", &[0, 1]),
    ("set global sql_mode = 'ANSI_QUOTES'", &[2]),
    ("set global sql_mode = ''", &[0, 1, 2, 4]),
    ("set global sql_mode = 'HIGH_NOT_PRECEDENCE,STRICT_TRANS_TABLES'", &[3]),
    ("set global init_connect = 'set sql_mode = ''ANSI'''", &[0, 2]),
    ("set global init_connect = 'set collation_connection = utf8mb4_bin'", &[5]),
    ("set global init_connect = 'set names utf8mb4 collate utf8mb4_general_ci'", &[5]),
    ("set global time_zone = '+05:00'", &[6]),
    ("set global sql_select_limit = 2", &[6]),
];

const CONDITIONS: &[&str] = &[
    "name = 'bo' || 'b1'",
    "a || b",
    "name <> \"name\"",
    "not a between 1 and 5",
    "id > 3 or fixed = 'x '",
    "concat('a', '') = 'A'",
    "at > '2024-06-30' and id < 11",
];

#[test]
fn condition_of_mariadb_selects_the_rows_that_the_users_own_session_selects() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let server = MariaDb::start(env, &[]).await?;
        server.sql("mysql", TABLE).await?;
        let source = of(env, &server).await?;
        let all = std::env::var("TIDEMARK_CONDITIONS").is_ok_and(|which| which == "all");
        let reset = "set global sql_mode = default, init_connect = '', time_zone = 'SYSTEM', \
            sql_select_limit = default";
        for (setting, places) in SETTINGS {
            server.sql("mysql", &format!("{reset}; {setting}")).await?;
            for (place, condition) in CONDITIONS.iter().enumerate() {
                if all || places.contains(&place) {
                    compare(&source, &server, (setting, condition)).await?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn setting_of_mariadb_that_changes_values_is_refused_by_name_and_only_with_a_condition()
-> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let server = MariaDb::start(env, &[]).await?;
        server.sql("mysql", TABLE).await?;
        let source = of(env, &server).await?;
        for (setting, words) in [
            ("set global sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'", "PAD_CHAR_TO_FULL_LENGTH"),
            ("set global sql_mode = 'ORACLE'", "ORACLE"),
            ("set global init_connect = 'set names latin1'", "collation_connection"),
            ("set global div_precision_increment = 9", "div_precision_increment"),
        ] {
            let reset = "set global sql_mode = default, init_connect = '', \
                div_precision_increment = default";
            server.sql("mysql", &format!("{reset}; {setting}")).await?;
            let mut job = job(&source, &server);
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 12, "{setting}: {said}");
            job["spec"]["extract"]["where"] = json!("id > 0");
            refused(&source, &job, &["InvalidSpec", words, "view"]).await?;
        }
        Ok(())
    })
}

async fn of(env: &'static TestEnv, server: &MariaDb) -> Result<SourceFixture> {
    let source = SourceFixture::mariadb(env, "own").await?;
    source.user(MariaDb::USER)?;
    source.password(MariaDb::PASSWORD)?;
    ensure!(server.port > 0, "no port");
    Ok(source)
}

fn job(source: &SourceFixture, server: &MariaDb) -> Value {
    let mut job = source.job("t", "FE");
    job["spec"]["source"]["port"] = json!(server.port);
    job["spec"]["source"]["database"] = json!(DATABASE);
    job
}

async fn compare(
    source: &SourceFixture,
    server: &MariaDb,
    (setting, condition): (&str, &str),
) -> Result<()> {
    let sql = format!(
        "set time_zone = '+00:00'; select id from t where {condition} order by id limit 1000"
    );
    let plain = server.as_user(DATABASE, &sql).await;
    let mut job = job(source, server);
    job["spec"]["extract"]["where"] = json!(condition);
    job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
    let plain = plain.ok().map(|ids| ids.replace('\n', ","));
    let compared = as_plain(source, &job, "t", plain.as_deref()).await;
    compared.with_context(|| format!("{setting}; {condition}"))
}

//! MariaDB: settings of the server, and of the connection (`init_connect`).

use anyhow::{Context, Result, ensure};
use crds::source::Engine;
use harness::{MariaDb, SourceFixture, TestEnv};
use serde_json::json;
use sqlx::{AssertSqlSafe, MySqlConnection};
use worker_core::settings::Rule;
use worker_core::settings::mysql::table;

use super::candidates::{Described, Kind};
use super::server::{admin, say};
use super::{PARTS, SettingTest, Tried, all_have_a_rule, login, pinned};

/// Its database there.
const DATABASE: &str = "shop";

/// A table with every type, a view whose values depend on settings, and one that tells the session that reads it.
const TABLES: &str = r#"
create database elsewhere; create table elsewhere.t (id int); create database shop character set utf8mb4; use shop;
set time_zone = '+00:00', sql_mode = '';
create table t (
    id bigint primary key, tiny tinyint, flag tinyint(1), utiny tinyint unsigned, small smallint zerofill, medium mediumint,
    whole int unsigned, big bigint unsigned, price decimal(12,2), wide decimal(65,30), real_ float, double_ double,
    bits bit(9), y year, d date, h time(3), m datetime(6), s timestamp(3) null, flag_ char(5), name varchar(40),
    old_name varchar(20) character set latin1, sj varchar(20) character set sjis, t1 tinytext, t2 text, t3 mediumtext, t4 longtext,
    b binary(4), vb varbinary(9), b1 tinyblob, b2 blob, b3 mediumblob, b4 longblob, mood enum('calm', 'angry'),
    colours set('red', 'green'), doc json, ident uuid, six inet6, four inet4, p point, g geometry, l linestring,
    made int as (tiny + 1) virtual
);
insert into t (id, tiny, flag, utiny, small, medium, whole, big, price, wide, real_, double_, bits, y, d, h, m, s, flag_, name, old_name, sj,
    t1, t2, t3, t4, b, vb, b1, b2, b3, b4, mood, colours, doc, ident, six, four, p, g, l)
select seq, -seq, seq % 2, 250 + seq % 5, seq, -8388608, 4294967295, 18446744073709551615, seq * 1.25, seq / 3, seq / 3, seq / 7, b'100000001',
    2020 + seq, '2024-01-31' + interval seq day, '-838:59:58.5', '2024-07-01 12:00:00.000001' + interval seq day, '2024-07-01 12:00:00.5' + interval seq day,
    'a ', concat('käse 🧀 ', seq), 'größe', '日本', 't', repeat('t', 2000), 'm', repeat('ß', 3000), x'00ff', x'00ff', x'00', repeat(x'fe', 300), 'b', '',
    'angry', 'red,green', '{"a": [1, "ü"]}', concat('123e4567-e89b-12d3-a456-42665544000', seq), '2001:db8::ff00:42:8329', '192.0.2.146',
    point(seq, 2), st_geomfromtext('POLYGON((0 0,1 1,1 0,0 0))'), st_geomfromtext('LINESTRING(0 0,1 1)') from seq_1_to_6;
insert into t (id) values (7);
create table pairs (a int, b varchar(2000)); insert into pairs select seq, repeat(char(96 + seq), 1500) from seq_1_to_20;
create table history (id int primary key, v int) with system versioning; insert into history values (1, 1), (2, 2);
create table words (id int primary key, w varchar(200)); insert into words select seq, concat(repeat('x', 100), seq) from seq_1_to_20;
create view v as select t.id, t.price / 7 as divided, 1 / 3 as third, week('2024-01-01') as week_, date_format(t.m, '%W %M') as named,
    (select group_concat(b order by a) from pairs) as joined, (select group_concat(w order by w desc) from words) as sorted, cast(t.s as char) as shown,
    cast(t.real_ as char) as real_, length(t.flag_) as length_, concat(t.name, '!') as loud, 'ABC' regexp '^a' as matched, 'a\nb' regexp 'a.b' as dotted,
    (with recursive n as (select 1 as i union all select i + 1 from n where i < 1500) select count(*) from n) as counted,
    (select count(*) from history) as present, hex(t.name) as hex_, '2024-01-31' + interval t.id day as later, t.y - 2020 as years
from t where t.id < 7;
"#;

/// What a session has of these, as a view that a function tells it.
const TOLD: &[&str] = &[
    "time_zone",
    "sql_mode",
    "sql_select_limit",
    "autocommit",
    "completion_type",
    "character_set_client",
    "character_set_results",
    "character_set_connection",
    "collation_connection",
    "lock_wait_timeout",
    "wait_timeout",
    "net_read_timeout",
    "net_write_timeout",
    "max_join_size",
    "sql_big_selects",
    "sql_auto_is_null",
    "standard_compliant_cte",
    "max_recursive_iterations",
    "default_regex_flags",
    "wsrep_dirty_reads",
    "old_mode",
    "div_precision_increment",
    "group_concat_max_len",
    "max_sort_length",
    "default_week_format",
    "lc_time_names",
    "sql_quote_show_create",
    "sql_safe_updates",
    "max_statement_time",
    "idle_transaction_timeout",
    "idle_readonly_transaction_timeout",
    "max_session_mem_used",
    "tmp_disk_table_size",
    "tx_isolation",
    "tx_read_only",
];

/// Values of settings whose type does not say them. Without one for a setting of this kind it is not tried.
const TEXTS: &[(&str, &[&str])] = &[
    ("character_set_client", &["latin1", "sjis"]),
    ("character_set_connection", &["latin1", "utf16"]),
    ("character_set_database", &["latin1"]),
    ("character_set_filesystem", &["latin1"]),
    ("character_set_results", &["latin1", "utf16", "NULL"]),
    ("character_set_server", &["latin1"]),
    ("collation_connection", &["latin1_bin", "utf8mb4_bin"]),
    ("collation_database", &["latin1_bin"]),
    ("collation_server", &["latin1_bin"]),
    ("default_regex_flags", &["EXTENDED", "DOTALL", "MULTILINE,UNGREEDY"]),
    ("default_storage_engine", &["MyISAM"]),
    ("default_tmp_storage_engine", &["MyISAM"]),
    ("enforce_storage_engine", &["MyISAM"]),
    ("init_connect", &[]),
    ("lc_messages", &["de_DE"]),
    ("lc_time_names", &["de_DE", "ja_JP"]),
    ("log_slow_verbosity", &["full"]),
    ("note_verbosity", &[""]),
    ("old_mode", &["", "ZERO_DATE_TIME_CAST", "NO_PROGRESS_INFO"]),
    (
        "optimizer_switch",
        &["derived_merge=off,index_condition_pushdown=off,mrr=on,materialization=off"],
    ),
    ("session_track_system_variables", &["", "*"]),
    (
        "sql_mode",
        &[
            "ANSI",
            "ORACLE",
            "PAD_CHAR_TO_FULL_LENGTH,NO_ZERO_DATE,TRADITIONAL",
            "HIGH_NOT_PRECEDENCE,NO_BACKSLASH_ESCAPES",
        ],
    ),
    ("storage_engine", &["MyISAM"]),
    ("system_versioning_asof", &["2020-01-01 00:00:00"]),
    ("time_zone", &["+05:45", "-11:00"]),
    ("timestamp", &["1", "2000000000"]),
];

/// Settings that would stop or break the test's own server, or of which it says itself that they do nothing there.
const LEFT_OUT: &[&str] =
    &["wsrep_on", "wsrep_osu_method", "wsrep_trx_fragment_size", "wsrep_trx_fragment_unit"];

struct Made {
    server: MariaDb,
    subject: SettingTest,
    admin: MySqlConnection,
}

async fn make(env: &'static TestEnv) -> Result<Made> {
    let server = MariaDb::start(env, &[]).await?;
    let mut admin = admin(&server, "mysql").await?;
    let told: Vec<_> = TOLD.iter().map(|name| format!("'{name}=', @@{name}")).collect();
    let sql = format!(
        "{TABLES} create function told() returns text no sql return concat_ws('|', {}); \
         create view pins as select 1 as id, told() as pins; \
         grant select, execute, process, lock tables on *.* to app@'%'; grant select on {DATABASE}.* to app@'%'",
        told.join(", ")
    );
    say(&mut admin, &sql).await?;
    let subject = SettingTest {
        engine: Engine::Mysql,
        login: login(env, Engine::Mysql, server.port, DATABASE, "app"),
        whole: &["t", "v", "pins", "history"],
        since: "t",
    };
    Ok(Made { server, subject, admin })
}

/// The settings that a session can have: name, type, ends, words, the server's own value; and whether the server
/// has one.
async fn described(admin: &mut MySqlConnection) -> Result<Vec<(Described, bool)>> {
    type Row =
        (String, String, String, Option<String>, Option<String>, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "select lower(variable_name), variable_type, variable_scope, numeric_min_value, numeric_max_value, enum_value_list, \
         coalesce(global_value, session_value) from information_schema.system_variables \
         where variable_scope in ('SESSION', 'SESSION ONLY') and (read_only = 'NO' or variable_name = 'MAX_ALLOWED_PACKET') order by 1",
    )
    .fetch_all(&mut *admin)
    .await?;
    let known = rows.into_iter().map(|(name, kind, scope, min, max, words, value)| {
        let kind = match (kind.as_str(), words) {
            ("BOOLEAN", _) => Kind::Bool,
            ("ENUM" | "SET" | "FLAGSET", Some(words)) => {
                Kind::Words(words.split(',').map(str::to_owned).collect())
            }
            (kind, _) if kind.contains("INT") || kind == "DOUBLE" => {
                Kind::Number { min: min.unwrap_or_default(), max: max.unwrap_or_default() }
            }
            _ => Kind::Text,
        };
        (Described { name, kind, value: value.unwrap_or_default() }, scope == "SESSION")
    });
    Ok(known.collect())
}

/// A value as SQL: quoted unless it is a number or NULL.
fn literal(setting: &Described, value: &str) -> String {
    if matches!(setting.kind, Kind::Number { .. }) || value == "NULL" || setting.name == "timestamp"
    {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// Sets each of one part to each of its values; what was tried, and what was not as it should be.
pub(crate) async fn each(env: &'static TestEnv, part: usize) -> Result<(Tried, Vec<String>)> {
    let mut made = make(env).await?;
    let all = described(&mut made.admin).await?;
    all_have_a_rule(&table(), all.iter().map(|(setting, _)| setting.name.as_str()))?;
    made.subject.whole = &["t", "v"];
    let want = made.subject.take().await??;
    let (mut tried, mut wrong) = (Tried::new(), Vec::new());
    for (setting, of_server) in all.iter().skip(part).step_by(PARTS) {
        let name = &setting.name;
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let mut values = Vec::new();
        for value in setting.values(TEXTS) {
            let set = literal(setting, &value);
            let (there, back) = if *of_server {
                let old: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
                    "select convert(@@global.{name} using utf8mb4)"
                )))
                .fetch_one(&mut made.admin)
                .await?;
                let old = old.map_or_else(|| "NULL".to_owned(), |old| literal(setting, &old));
                let old = if name == "system_versioning_asof" { "default".to_owned() } else { old };
                (format!("set global {name} = {set}"), format!("set global {name} = {old}"))
            } else {
                let text = format!("set session {name} = {set}").replace('\'', "''");
                (
                    format!("set global init_connect = '{text}'"),
                    "set global init_connect = ''".to_owned(),
                )
            };
            // the server says itself which ones it does not take
            if say(&mut made.admin, &there).await.is_err() {
                continue;
            }
            // a statement of the connection fails where the user has no right to set it
            let names: &[&str] = if *of_server { &[name] } else { &[name, "init_connect"] };
            match made.subject.tried(names, &want).await {
                Ok(refused) => values.push((value, refused.is_some())),
                Err(error) => wrong.push(format!("{name} = {value}: {error:#}")),
            }
            made.server.lives()?;
            // an own session may feel it too
            if say(&mut made.admin, &back).await.is_err() {
                made.admin = admin(&made.server, "mysql").await?;
                say(&mut made.admin, &back).await?;
            }
        }
        tried.insert(name.clone(), values);
    }
    Ok((tried, wrong))
}

#[test]
fn settings_of_server_and_connection_change_no_byte_of_an_extract() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut made = make(env).await?;
        let all = described(&mut made.admin).await?;
        let rules = table();
        all_have_a_rule(&rules, all.iter().map(|(setting, _)| setting.name.as_str()))?;
        let want = made.subject.take().await??;
        let mut set = 0;
        for name in pinned(&rules) {
            let Some((setting, true)) = all.iter().find(|(setting, _)| setting.name == *name) else {
                continue;
            };
            let values = setting.values(TEXTS);
            let value = match setting.name.as_str() {
                "sql_select_limit" | "max_join_size" | "lock_wait_timeout" => Some("1"),
                // long enough for a busy machine to set another one
                "max_statement_time" => Some("0.5"),
                "wait_timeout" | "net_read_timeout" | "net_write_timeout" => Some("5"),
                "max_session_mem_used" => Some("1000000"),
                "tx_isolation" => Some("READ-UNCOMMITTED"),
                _ => values.first().map(String::as_str),
            };
            let Some(value) = value else { continue };
            let sql = format!("set global {name} = {}", literal(setting, value));
            if say(&mut made.admin, &sql).await.is_ok() {
                set += 1;
            }
        }
        ensure!(set > 25, "only {set} were set");
        // read as a quoted text by every sql_mode
        let connection = "use elsewhere; set autocommit = 0, completion_type = 2, timestamp = 1000000000; \
            start transaction with consistent snapshot; lock tables elsewhere.t read";
        say(&mut made.admin, &format!("set global init_connect = '{connection}'")).await?;
        let taken = made.subject.take().await??;
        for ((plan, bytes), (want_plan, want_bytes)) in taken.iter().zip(&want) {
            ensure!(plan == want_plan, "another plan: {plan}\ninstead of {want_plan}");
            ensure!(bytes == want_bytes, "other bytes: {:?}", String::from_utf8_lossy(bytes));
        }
        let source = SourceFixture::mariadb(env, "settings-own").await?;
        source.user("app")?;
        let mut job = source.job("t", "PE");
        job["spec"]["source"]["port"] = json!(made.server.port);
        job["spec"]["source"]["database"] = json!(DATABASE);
        job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 7, "{said}");
        let mut verify = source.command("verify --recount", &job)?;
        verify.env("TIDEMARK_GRACE_SECONDS", "0");
        let output = env.output(verify, "", std::time::Duration::from_mins(1)).await?;
        ensure!(output.code == Some(0), "{} {}", output.stdout, output.stderr);
        made.server.lives()
    })
}

#[test]
fn settings_that_the_user_may_not_set_are_refused_by_name() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut made = make(env).await?;
        for (name, value, back) in [
            ("system_versioning_asof", "'2020-01-01'", "default"),
            ("max_allowed_packet", "524288", "16777216"),
        ] {
            let rule = table().get(name).context("a rule")?.rule;
            ensure!(matches!(rule, Rule::Refused(_)), "{rule:?}");
            say(&mut made.admin, &format!("set global {name} = {value}")).await?;
            let Err(failure) = made.subject.take().await? else {
                anyhow::bail!("{name} is not refused");
            };
            ensure!(failure.report.reason == crds::Reason::SettingRefused, "{failure}");
            ensure!(failure.report.message.contains(name), "{failure}");
            say(&mut made.admin, &format!("set global {name} = {back}")).await?;
        }
        made.subject.take().await??;
        Ok(())
    })
}

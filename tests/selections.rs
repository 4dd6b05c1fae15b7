//! Which columns and rows of a table are taken, and what a user may read who does not own it.

use anyhow::{Result, ensure};
use harness::{SourceFixture, TestEnv};
use serde_json::{Value, json};

const TABLE: &str = "create table t (id int primary key, name varchar(20), secret varchar(20), odd int); \
    insert into t values (1, 'a', 's', 1), (2, 'it''s', 's', 2), (3, 'c', 's', 3), (4, 'd', 's', 4)";

/// The same table in both engines.
async fn both(env: &'static TestEnv, name: &str) -> Result<Vec<(SourceFixture, &'static str)>> {
    let postgres = SourceFixture::new(env, name).await?;
    env.psql(&postgres.database, TABLE).await?;
    let mariadb = SourceFixture::mariadb(env, name).await?;
    env.mariadb(&mariadb.database, TABLE).await?;
    Ok(vec![(postgres, "public.t"), (mariadb, "t")])
}

async fn run_sql(source: &SourceFixture, sql: &str) -> Result<String> {
    match source.engine {
        "mysql" => source.env.mariadb(&source.database, sql).await,
        _ => source.env.psql(&source.database, sql).await,
    }
}

/// All that is published, by DuckDB.
async fn read(source: &SourceFixture, table: &str, sql: &str) -> Result<Value> {
    Ok(json!(source.env.read_parquet(&source.bucket, table, sql).await?))
}

/// A run that is refused for good, with these words; never with what the manifest's SQL holds.
async fn refused(source: &SourceFixture, job: &Value, words: &[&str]) -> Result<()> {
    let output = source.try_run(job).await?;
    ensure!(output.code == Some(10), "{words:?}: {:?} {}", output.code, output.stderr);
    for word in words {
        ensure!(output.stderr.contains(word), "{word}: {}", output.stderr);
    }
    ensure!(!output.stderr.contains("canary"), "{}", output.stderr);
    Ok(())
}

#[test]
fn selected_columns_and_rows_are_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "chosen").await? {
            let mut job = source.job(table, "FE");
            job["spec"]["extract"]["columns"] = json!(["odd", "ID", "name"]);
            job["spec"]["extract"]["where"] = json!("(odd % 2 = 0 or id = 3) and name <> 'x; --'");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 3, "{said}");
            let all = read(&source, table, "select * from t order by id").await?;
            let expected = json!([
                { "id": 2, "name": "it's", "odd": 2 },
                { "id": 3, "name": "c", "odd": 3 },
                { "id": 4, "name": "d", "odd": 4 },
            ]);
            ensure!(all == expected, "{all}");
            job["spec"]["extract"]["columns"] = Value::Null;
            job["spec"]["extract"]["excludeColumns"] = json!(["secret", "name", "odd"]);
            job["spec"]["extract"]["where"] = json!("name = 'it''s'");
            source.run(&job).await?;
            let all = read(&source, table, "select * from t").await?;
            ensure!(all == json!([{ "id": 2 }]), "{all}");
        }
        Ok(())
    })
}

#[test]
fn a_window_is_of_the_rows_that_the_condition_leaves() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "windows").await? {
            // a row without watermark that the condition leaves out is no reason to fail
            run_sql(&source, "insert into t values (5, 'gone', 's', null)").await?;
            let mut job = source.job(table, "PE");
            job["spec"]["extract"]["watermark"] = json!({ "column": "odd", "type": "int" });
            job["spec"]["extract"]["partition"] = json!({ "column": "id", "count": 2 });
            job["spec"]["extract"]["where"] = json!("name <> 'gone'");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 4 && said["watermark"] == "4", "{said}");
            run_sql(&source, "insert into t values (6, 'gone', 's', 9), (7, 'new', 's', 7)")
                .await?;
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1 && said["watermark"] == "7", "{said}");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 0 && said["window"]["low"] == "7", "{said}");
            let counted = env.output(source.command("verify --recount", &job)?, "", RUN).await?;
            ensure!(counted.code == Some(0), "{} {}", counted.stdout, counted.stderr);
        }
        Ok(())
    })
}

const RUN: std::time::Duration = std::time::Duration::from_mins(1);

#[test]
fn a_selection_that_cannot_be_made_is_refused() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "wrong").await? {
            for (field, value, words) in [
                ("columns", json!(["id", "nmae"]), ["ColumnNotFound", "nmae"]),
                ("excludeColumns", json!(["secrt"]), ["ColumnNotFound", "secrt"]),
                (
                    "excludeColumns",
                    json!(["id", "name", "secret", "odd"]),
                    ["InvalidSpec", "leaves no column"],
                ),
                ("where", json!("name = 'canary'; drop table t"), ["InvalidSpec", "semicolon"]),
                ("where", json!("name = 'canary') or (1 = 1"), ["InvalidSpec", "parenthesis"]),
                ("where", json!("nmae = 'canary'"), ["InvalidSpec", "Correct extract.where"]),
                ("where", json!("name = = 'canary'"), ["InvalidSpec", "Correct extract.where"]),
            ] {
                let mut job = source.job(table, "FE");
                job["spec"]["extract"][field] = value;
                refused(&source, &job, &words).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_user_with_a_grant_on_some_columns_reads_those() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "granted").await? {
            let user = &source.database;
            let sql = match source.engine {
                "mysql" => format!(
                    "create user {user}@'%' identified by 'secret' require ssl; \
                     grant select (id, name) on {user}.t to {user}@'%'"
                ),
                _ => format!(
                    "create role {user} login password 'secret'; grant select (id, name) on t to {user}"
                ),
            };
            run_sql(&source, &sql).await?;
            source.user(user)?;
            source.password("secret")?;
            let mut job = source.job(table, "FE");
            refused(&source, &job, &["DatabaseDenied", "SELECT"]).await?;
            job["spec"]["extract"]["columns"] = json!(["id", "name"]);
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 4, "{said}");
        }
        Ok(())
    })
}

#[test]
fn json_of_mariadb_is_known_to_one_with_a_grant_on_the_table_alone() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "granted-json").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key, `od``d` json, plain longtext); \
             create user {user}@'%' identified by 'secret' require ssl; \
             grant select on {user}.t to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        let planned = async || {
            let output =
                env.output(source.command("plan", &source.job("t", "FE"))?, "", RUN).await?;
            ensure!(output.code == Some(0), "{}", output.stderr);
            let kinds = ["od`d", "plain"].map(|name| {
                let line = output.stdout.lines().find(|line| line.contains(name));
                line.map(|line| line.contains("JSON"))
            });
            anyhow::Ok(kinds)
        };
        let all = planned().await?;
        source.user(user)?;
        let granted = planned().await?;
        ensure!(all == [Some(true), Some(false)] && granted == all, "{all:?} {granted:?}");
        Ok(())
    })
}

#[test]
fn a_view_of_mariadb_is_read_by_a_user_without_show_view() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "views").await?;
        let user = &source.database;
        let sql = format!(
            "create table below (id int primary key, name varchar(20)); \
             insert into below select seq, concat('n', seq % 7) from seq_1_to_3000; \
             create view t as select * from below where id > 0; \
             create user {user}@'%' identified by 'secret' require ssl; \
             grant select on {user}.t to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        for partition in [
            Value::Null,
            json!({ "strategy": "auto", "column": "id", "count": 3 }),
            json!({ "strategy": "quantile", "column": "name", "count": 3 }),
            json!({ "strategy": "hash", "column": "id", "count": 3 }),
            json!({ "column": "id" }),
        ] {
            let mut job = source.job("t", "FE");
            job["spec"]["extract"]["partition"] = partition;
            job["spec"]["extract"]["where"] = json!("name <> 'n6'");
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 2572, "{job}: {said}");
        }
        Ok(())
    })
}

#[test]
fn a_policy_that_hides_rows_is_an_error_and_not_a_smaller_table() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::new(env, "policy").await?;
        let user = &source.database;
        let sql = format!(
            "{TABLE}; create role {user} login password 'secret'; grant select on t to {user}; \
             alter table t enable row level security; create policy half on t using (id % 2 = 0)"
        );
        env.psql(&source.database, &sql).await?;
        source.user(user)?;
        source.password("secret")?;
        let job = source.job("public.t", "FE");
        refused(&source, &job, &["DatabaseDenied", "row level security"]).await?;
        env.psql(&source.database, &format!("alter role {user} bypassrls")).await?;
        let said = source.run(&job).await?;
        ensure!(said["rows"] == 4, "{said}");
        Ok(())
    })
}

#[test]
fn a_changed_table_is_handled_by_the_policy_before_a_row_is_read() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for (source, table) in both(env, "drift").await? {
            let mut job = source.job(table, "PE");
            job["spec"]["extract"]["watermark"] = json!({ "column": "id", "type": "int" });
            source.run(&job).await?;
            let policy = |name: &str| {
                let mut job = job.clone();
                job["spec"]["extract"]["schemaPolicy"] = json!(name);
                job
            };
            let sql =
                "alter table t add column extra int; insert into t values (5, 'e', 's', 5, 7)";
            run_sql(&source, sql).await?;
            refused(&source, &policy("freeze"), &["SchemaChanged", "extra (int", "was added"])
                .await?;
            let said = source.run(&policy("additiveOnly")).await?;
            ensure!(said["rows"] == 1, "{said}");
            let sql =
                "alter table t drop column odd; insert into t (id, name, extra) values (6, 'f', 8)";
            run_sql(&source, sql).await?;
            for name in ["freeze", "additiveOnly"] {
                refused(&source, &policy(name), &["SchemaChanged", "odd (int", "was removed"])
                    .await?;
                let item = source.run_item(table).await?.unwrap_or_default();
                ensure!(
                    item["state"] == "failed" && item["partitions"].is_null(),
                    "read by then: {item}"
                );
            }
            let planned = env.output(source.command("plan", &job)?, "", RUN).await?;
            ensure!(
                planned.stdout.contains("was removed"),
                "{} {}",
                planned.stdout,
                planned.stderr
            );
            let said = source.run(&job).await?;
            ensure!(said["rows"] == 1 && said["watermark"] == "6", "{said}");
            let said = source.run(&policy("freeze")).await?;
            ensure!(said["rows"] == 0, "{said}");
        }
        Ok(())
    })
}

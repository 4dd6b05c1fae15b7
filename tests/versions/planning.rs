//! Settings of MySQL alone that would change a plan, on real servers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Server, SourceFixture, SupportedRelease, TestEnv};
use serde_json::{Value, json};
use worker_core::settings::mysql;

const PLAN: Duration = Duration::from_mins(1);

async fn planned(source: &SourceFixture, job: &Value) -> Result<Value> {
    let output = source.env.output(source.command("plan --json", job)?, "", PLAN).await?;
    ensure!(output.code == Some(0), "exit {:?}: {}", output.code, output.stderr);
    let mut plan: Value = serde_json::from_str(&output.stdout).context("parse the plan")?;
    plan["run"] = Value::Null;
    Ok(plan)
}

/// The server answers from statistics that it read up to a day ago, unless a session wants them fresh.
#[test]
fn table_that_has_grown_since_mysql_cached_its_statistics_is_planned_by_its_size() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for release in [Mysql::Mysql80, Mysql::Mysql97] {
            let server = Server::start(env, SupportedRelease::Mysql(release))?;
            let source = server.source("grown").await?;
            let name = &source.database;
            let cached = "select table_rows from information_schema.tables \
                where table_schema = database() and table_name = 't'";
            let made = format!(
                "create table t (id int primary key, v varchar(9)) stats_auto_recalc = 0; {cached}"
            );
            let rows = server.sql(name, &made).await?;
            ensure!(rows == "0", "{rows}");
            // as if it had 25 million rows by now
            let grown = format!(
                "insert into t select seq, 'v' from seq_1_to_5000; \
                 update mysql.innodb_table_stats set n_rows = 25000000, clustered_index_size = 20000 \
                   where database_name = '{name}' and table_name = 't'; flush tables t; {cached}"
            );
            let rows = server.sql(name, &grown).await?;
            ensure!(rows == "0", "the server did not cache it: {rows}");
            let mut job = server.job(&source, "t", "FE");
            job["spec"]["extract"]["partition"] = json!({ "strategy": "auto" });
            let plan = planned(&source, &job).await?;
            let partitions = plan["partitions"].as_array().map_or(0, Vec::len);
            ensure!(partitions > 1, "{release:?}: {partitions} partitions of 25 million rows: {plan}");
        }
        Ok(())
    })
}

/// Settings of a server by which EXPLAIN answers otherwise. TREE is the default of MySQL 9.7.
const EXPLAINS: &[&str] = &[
    "explain_format = 'TREE'",
    "explain_format = 'JSON'",
    "explain_format = 'JSON', global explain_json_format_version = 2",
    "explain_format = 'TREE', global explain_json_format_version = 2, global end_markers_in_json = 1",
];

#[test]
fn plan_is_the_same_for_each_explain_format_of_mysql() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let server = Server::start(env, SupportedRelease::Mysql(Mysql::Mysql97))?;
        let source = server.source("explained").await?;
        // half of the rows have keys that are close together
        let made = "create table t (id int primary key, v varchar(9)); \
            insert into t select seq, 'v' from seq_1_to_25000; \
            insert into t select seq * 1000, 'w' from seq_26_to_25000; analyze table t";
        server.sql(&source.database, made).await?;
        let mut jobs = Vec::new();
        for (strategy, condition) in [("auto", None), ("quantile", None), ("range", Some("v = 'v'"))] {
            let mut job = server.job(&source, "t", "FE");
            job["spec"]["extract"]["partition"] =
                json!({ "strategy": strategy, "column": "id", "count": 4 });
            if let Some(condition) = condition {
                job["spec"]["extract"]["where"] = json!(condition);
            }
            let plan = planned(&source, &job).await?;
            ensure!(plan["partitions"].as_array().is_some_and(|partitions| partitions.len() == 4), "{plan}");
            jobs.push((job, plan));
        }
        ensure!(jobs[0].1.to_string().contains("index estimates"), "{}", jobs[0].1);
        let mut tried = Ok(());
        for setting in EXPLAINS {
            server.sql("mysql", &format!("set global {setting}")).await?;
            for (job, plan) in &jobs {
                tried = tried.and(planned(&source, job).await.and_then(|other| {
                    ensure!(other == *plan, "{setting}: {other}\ninstead of {plan}");
                    Ok(())
                }));
            }
        }
        let reset = "set global explain_format = default, global explain_json_format_version = default, \
            global end_markers_in_json = default";
        server.sql("mysql", reset).await?;
        tried
    })
}

/// Of sessions, but nobody can set them.
const READ_ONLY: [&str; 6] =
    ["error_count", "external_user", "gtid_owned", "proxy_user", "statement_id", "warning_count"];

#[test]
fn every_setting_of_a_session_of_the_newest_mysql_has_a_rule() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let server = Server::start(env, SupportedRelease::Mysql(Mysql::Mysql97))?;
        let sql = "select lower(variable_name) from performance_schema.variables_metadata \
            where variable_scope in ('SESSION', 'SESSION_ONLY')";
        let names = server.sql("mysql", sql).await?;
        let names: BTreeSet<&str> = names.lines().collect();
        ensure!(names.len() > 150, "{} settings", names.len());
        let table = mysql::table();
        let without: Vec<_> = names
            .into_iter()
            .filter(|name| !table.contains_key(*name) && !READ_ONLY.contains(name))
            .collect();
        ensure!(without.is_empty(), "no rule for {without:?}");
        Ok(())
    })
}

//! Errors of MariaDB, provoked on the server.

use anyhow::{Context as _, Result};
use harness::{SourceFixture, TestEnv};

use crate::{Case, check, stops};

const TABLES: &str = "
create table t (id int primary key, v varchar(20)); insert into t values (1, 'canary');
create table gone (i int);
create function f_gone() returns int reads sql data return (select count(*) from gone);
create view v_gone as select id, f_gone() n from t;
create function f_lost() returns int deterministic no sql return 1;
create view v_lost as select id, f_lost() n from t;
create table under (id int); create view v_under as select id from under;
drop table gone; drop function f_lost; drop table under;
create view v_range as select id, cast(id as unsigned) - 5 n from t;
create view v_rows as select id, (select 1 union select 2) n from t;
create table log (i int);
delimiter //
create function f_writes() returns int deterministic modifies sql data begin insert into log values (1); return 1; end //
delimiter ;
create view v_writes as select id, f_writes() n from t;
";

#[test]
fn an_error_below_a_view_names_its_object_and_no_value() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "errors").await?;
        env.mariadb(&source.database, TABLES).await?;
        for case in [
            stops("v_gone", "DatabaseDenied", &["v_gone", "Repair the view", "error 1356"]),
            stops("v_lost", "DatabaseDenied", &["v_lost", "Repair the view"]),
            stops("v_under", "DatabaseDenied", &["v_under", "Repair the view"]),
            stops("v_range", "QueryFailed", &["error 1690"]),
            stops("v_writes", "QueryFailed", &["error 1792", "writes"]),
            stops("v_rows", "QueryFailed", &["error 1242"]),
            stops("nothing", "TableNotFound", &["extract.table"]),
        ] {
            check(&source, &case).await?;
        }
        Ok(())
    })
}

#[test]
fn signals_of_a_function_are_not_shown() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "signals").await?;
        let tables = "create table t (id int primary key, v varchar(20)); insert into t values (1, 'canary')";
        env.mariadb(&source.database, tables).await?;
        for (number, state, code, reason, shown) in [
            (1644, "45000", 10, "QueryFailed", 1644),
            // the server says of some that the view is broken, and names it
            (1146, "42S02", 10, "DatabaseDenied", 1356),
            (1365, "22012", 10, "QueryFailed", 1365),
            (9999, "45000", 10, "QueryFailed", 9999),
            (9998, "HY000", 75, "DatabaseFailed", 9998),
            (1213, "40001", 75, "DatabaseFailed", 1213),
        ] {
            let sql = format!(
                "delimiter //\ncreate function f_{number}(word varchar(20)) returns int deterministic no sql \
                 begin signal sqlstate '{state}' set mysql_errno = {number}, message_text = word; return 1; end //\n\
                 delimiter ;\ncreate view v_{number} as select id, f_{number}(v) n from t"
            );
            env.mariadb(&source.database, &sql).await?;
            let relation: &'static str = Box::leak(format!("v_{number}").into_boxed_str());
            let says: &'static str = Box::leak(format!("error {shown}").into_boxed_str());
            let says: &'static [&'static str] = Box::leak(Box::new([says]));
            check(&source, &Case { relation, code, reason, says }).await?;
        }
        Ok(())
    })
}

#[test]
fn each_connection_limit_and_each_missing_right_has_its_own_message() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let source = SourceFixture::mariadb(env, "limits").await?;
        let user = &source.database;
        let sql = format!(
            "create table t (id int primary key); insert into t values (1); create table hidden (id int primary key); \
             create function f_hidden() returns int reads sql data sql security invoker \
               return (select count(*) from hidden); \
             create sql security invoker view v_denied as select id, f_hidden() n from t; \
             create user {user}@'%' identified by 'secret' require ssl with max_connections_per_hour 1; \
             grant select on {user}.t to {user}@'%'; grant select on {user}.v_denied to {user}@'%'; \
             grant execute on {user}.* to {user}@'%'"
        );
        env.mariadb(&source.database, &sql).await?;
        source.user(user)?;
        source.password("secret")?;
        let limited =
            Case { relation: "t", code: 75, reason: "DatabaseUnreachable", says: &["MAX_CONNECTIONS_PER_HOUR", "1226"] };
        check(&source, &limited).await?;
        let sql = format!("alter user {user}@'%' with max_connections_per_hour 0");
        env.mariadb(&source.database, &sql).await?;
        check(&source, &stops("v_denied", "DatabaseDenied", &[])).await.context("below a view")
    })
}

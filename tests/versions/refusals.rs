//! What real servers of MySQL refuse, and what a run then says: the oldest and the newest supported release.

mod middle;
mod whole;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, stream};
use harness::{Mysql, Output, Server, SourceFixture, SupportedRelease, TestEnv};
use serde_json::{Value, json};

/// The releases of MySQL that it is tried on.
const RELEASES: [Mysql; 2] = [Mysql::Mysql80, Mysql::Mysql97];
/// Runs at the same time.
const AT_ONCE: usize = 4;
/// How long a step of a run may take on a busy machine.
const STEP: Duration = Duration::from_mins(1);

/// How a run must end.
#[derive(Debug, Clone, Copy)]
struct Ends {
    code: i32,
    reason: &'static str,
    /// Words of message and remedy.
    says: &'static [&'static str],
}

const GOOD: Ends = Ends { code: 0, reason: "", says: &[] };

/// For good, until somebody does what the remedy says.
const fn stops(reason: &'static str, says: &'static [&'static str]) -> Ends {
    Ends { code: 10, reason, says }
}

/// Until the next attempt.
const fn fails(reason: &'static str, says: &'static [&'static str]) -> Ends {
    Ends { code: 75, reason, says }
}

impl Ends {
    fn check(self, output: &Output) -> Result<()> {
        ensure!(output.code == Some(self.code), "exit {:?}: {}", output.code, output.stderr);
        ensure!(!output.stderr.contains("canary"), "a value is shown: {}", output.stderr);
        if self.code == 0 {
            return Ok(());
        }
        let last = output.stderr.lines().last().context("no last line")?;
        let said: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
        let fields = &said["fields"];
        ensure!(fields["reason"] == self.reason, "{fields}, not {}", self.reason);
        for words in self.says {
            ensure!(fields.to_string().contains(words), "{words}: {fields}");
        }
        Ok(())
    }
}

/// A table of one row, an account that has no right yet, and a job that reads the table as this account.
struct Account {
    server: Server,
    source: SourceFixture,
    job: Value,
}

impl Account {
    async fn new(server: &Server) -> Result<Self> {
        let source = server.source("refused").await?;
        let mut job = server.job(&source, "t", "FE");
        job["spec"]["extract"]["partition"] = json!({ "strategy": "none" });
        let account = Self { server: server.clone(), source, job };
        account
            .sql(
                "create table t (id int primary key, v varchar(20)); insert into t values (1, 'canary'); \
                 create user USER@'%' identified by 'secret'",
            )
            .await?;
        account.source.user(&account.source.database)?;
        Ok(account)
    }

    /// SQL of the superuser: `USER` is the account, `DB` its database.
    async fn sql(&self, sql: &str) -> Result<String> {
        let name = &self.source.database;
        let sql = sql.replace("USER", name).replace("DB", name);
        self.server.sql(name, &sql).await
    }

    async fn ends(&self, ends: Ends) -> Result<()> {
        ends.check(&self.source.try_run(&self.job).await?)
    }
}

/// A state of the account, and how a run then ends.
struct Case {
    what: &'static str,
    sql: &'static str,
    /// The manifest's database and table, where they are others.
    names: (Option<&'static str>, &'static str),
    ends: Ends,
    /// Other releases do not have it.
    only: Option<Mysql>,
}

const fn case(what: &'static str, sql: &'static str, ends: Ends) -> Case {
    Case { what, sql, names: (None, "t"), ends, only: None }
}

impl Case {
    const fn of(self, names: (Option<&'static str>, &'static str)) -> Self {
        Self { names, ..self }
    }

    const fn only(self, release: Mysql) -> Self {
        Self { only: Some(release), ..self }
    }
}

const NO_RIGHT: Ends =
    stops("DatabaseDenied", &["error 1044", "GRANT SELECT", "SET DEFAULT ROLE", "source.database"]);

const CASES: &[Case] = &[
    case("no right", "select 1", NO_RIGHT),
    case(
        "right in another database",
        "create database DB_b; grant select on DB_b.* to USER@'%'",
        NO_RIGHT,
    ),
    case(
        "role that is not active",
        "create role USER_r; grant select on DB.* to USER_r; grant USER_r to USER@'%'",
        NO_RIGHT,
    ),
    case(
        "default role",
        "create role USER_r; grant select on DB.* to USER_r; grant USER_r to USER@'%'; \
         set default role USER_r to USER@'%'",
        GOOD,
    ),
    case("no such database, without a right", "select 1", NO_RIGHT).of((Some("nowhere"), "t")),
    case(
        "no such database",
        "grant select on *.* to USER@'%'",
        stops("DatabaseNotFound", &["error 1049", "source.database"]),
    )
    .of((Some("nowhere"), "t")),
    case(
        "no such table",
        "grant select on DB.* to USER@'%'",
        stops("TableNotFound", &["extract.table"]),
    )
    .of((None, "missing")),
    case(
        "right on another table",
        "create table other (id int); grant select on DB.other to USER@'%'",
        stops("TableNotFound", &["extract.table", "SELECT"]),
    ),
    case(
        "right to write",
        "grant insert on DB.t to USER@'%'",
        stops("DatabaseDenied", &["error 1142", "GRANT SELECT on the table"]),
    ),
    case(
        "right on one column",
        "grant select (id) on DB.t to USER@'%'",
        stops("DatabaseDenied", &["columns", "extract.columns"]),
    ),
    case(
        "locked account",
        "alter user USER@'%' account lock",
        stops("CredentialsRejected", &["error 3118", "ACCOUNT UNLOCK"]),
    ),
    case(
        "expired password",
        "alter user USER@'%' password expire",
        stops("CredentialsRejected", &["error 1862", "Set a new password"]),
    ),
    case(
        "client certificate required",
        "alter user USER@'%' require x509",
        stops("CredentialsRejected", &["error 1045", "REQUIRE"]),
    ),
    case(
        "TLS required of the account",
        "alter user USER@'%' REQUIRE SSL",
        stops("CredentialsRejected", &["error 1045", "REQUIRE", "source.tls"]),
    )
    .only(Mysql::Mysql80),
    case(
        "account of another host",
        "rename user USER@'%' to USER@'10.0.0.1'",
        stops("CredentialsRejected", &["error 1045", "host"]),
    ),
    case(
        "max_connections_per_hour",
        "grant select on DB.* to USER@'%'; alter user USER@'%' with max_connections_per_hour 1",
        fails("DatabaseUnreachable", &["error 1226", "MAX_CONNECTIONS_PER_HOUR", "Raise the limit"]),
    ),
    case(
        "max_queries_per_hour",
        "grant select on DB.* to USER@'%'; alter user USER@'%' with max_queries_per_hour 3",
        fails("DatabaseUnreachable", &["error 1226", "MAX_QUERIES_PER_HOUR"]),
    ),
    case(
        "table of a view is gone",
        "create view v as select id from t; drop table t; grant select on DB.* to USER@'%'",
        stops("DatabaseDenied", &["error 1356", "Repair the view"]),
    )
    .of((None, "v")),
    case(
        "table of a view's function is gone",
        "create table gone (i int); \
         create function f() returns int deterministic reads sql data return (select count(*) from gone); \
         create view v as select id, f() n from t; drop table gone; grant select, execute on DB.* to USER@'%'",
        stops("DatabaseDenied", &["names an object that does not exist", "Repair the view"]),
    )
    .of((None, "v")),
    case(
        "function of a view is gone",
        "create function f() returns int deterministic no sql return 1; \
         create view v as select id, f() n from t; drop function f; grant select, execute on DB.* to USER@'%'",
        stops("DatabaseDenied", &["error 1356", "Repair the view"]),
    )
    .of((None, "v")),
    case(
        "function of a view may not be called",
        "create function f() returns int deterministic no sql return 1; \
         create sql security invoker view v as select id, f() n from t; grant select on DB.* to USER@'%'",
        stops("DatabaseDenied", &["error 1356", "SQL SECURITY INVOKER"]),
    )
    .of((None, "v")),
    case(
        "function of a view signals",
        "\ndelimiter //\n\
         create function f() returns int deterministic no sql \
           begin signal sqlstate '45000' set message_text = 'canary'; return 1; end //\n\
         delimiter ;\n\
         create view v as select id, f() n from t; grant select, execute on DB.* to USER@'%'",
        stops("QueryFailed", &["error 1644", "SIGNAL"]),
    )
    .of((None, "v")),
    case(
        "function of a view writes",
        "create table log (i int);\ndelimiter //\n\
         create function f() returns int deterministic modifies sql data \
           begin insert into log values (1); return 1; end //\n\
         delimiter ;\n\
         create view v as select id, f() n from t; grant select, execute on DB.* to USER@'%'",
        stops("QueryFailed", &["error 1792", "writes"]),
    )
    .of((None, "v")),
    case(
        "value of a view is out of range",
        "create view v as select id, cast(id as unsigned) - 5 n from t; grant select on DB.v to USER@'%'",
        stops("QueryFailed", &["error 1690"]),
    )
    .of((None, "v")),
    case(
        "definer of a view is gone",
        "create user USER_d@'%'; grant select on DB.* to USER_d@'%'; \
         create definer = USER_d@'%' view v as select id from t; drop user USER_d@'%'; \
         grant select on DB.v to USER@'%'",
        stops("DatabaseDenied", &["definer of the view", "with a definer that exists"]),
    )
    .of((None, "v")),
];

async fn tried(server: &Server, case: &Case) -> Result<()> {
    let mut account = Account::new(server).await?;
    account.sql(case.sql).await?;
    if let Some(database) = case.names.0 {
        account.job["spec"]["source"]["database"] = json!(database);
    }
    account.job["spec"]["extract"]["table"] = json!(case.names.1);
    account.ends(case.ends).await
}

/// An account that is locked after a wrong password.
async fn blocked(server: &Server) -> Result<()> {
    let account = Account::new(server).await?;
    account
        .sql("alter user USER@'%' failed_login_attempts 1 password_lock_time 1; grant select on DB.* to USER@'%'")
        .await?;
    account.source.password("wrong")?;
    account.ends(stops("CredentialsRejected", &["error "])).await?;
    account.source.password("secret")?;
    let ends = stops(
        "CredentialsRejected",
        &["error 3955", "FAILED_LOGIN_ATTEMPTS", "source.credentials", "ACCOUNT UNLOCK"],
    );
    account.ends(ends).await
}

/// A table that another session holds: `lock_wait_timeout` of our own ends the wait.
async fn held(server: &Server) -> Result<()> {
    let account = Account::new(server).await?;
    account.sql("grant select on DB.* to USER@'%'").await?;
    let (server, database) = (server.clone(), account.source.database.clone());
    let snapshot_session = tokio::spawn(async move {
        server.sql(&database, "lock tables t write; select sleep(600)").await
    });
    let id = sleeper(&account).await?;
    let ended = account.ends(fails("DatabaseFailed", &["error 1205", "another session"])).await;
    account.sql(&format!("kill {id}")).await?;
    let _ = snapshot_session.await;
    ended
}

/// The superuser's session in the account's database that sleeps.
async fn sleeper(account: &Account) -> Result<String> {
    harness::wait_until("the session that sleeps", STEP, async || {
        let sql = "select id from information_schema.processlist where db = 'DB' and state = 'User sleep'";
        let id = account.sql(sql).await?;
        ensure!(!id.is_empty(), "none");
        Ok(id)
    })
    .await
}

/// What went wrong, of all that was tried.
fn all_good(tried: Vec<Result<()>>) -> Result<()> {
    let wrong: Vec<_> =
        tried.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn run_refused_by_mysql_is_reported_with_a_remedy() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        let mut all = Vec::new();
        for release in RELEASES {
            let server = &Server::start(env, SupportedRelease::Mysql(release))?;
            let cases = CASES.iter().filter(|case| case.only.is_none_or(|only| only == release));
            let tried = cases.map(async |case| {
                let tried = tried(server, case).await;
                tried.with_context(|| format!("{release:?}: {}", case.what))
            });
            let (tried, held) = tokio::join!(
                stream::iter(tried).buffer_unordered(AT_ONCE).collect::<Vec<_>>(),
                held(server)
            );
            all.extend(tried);
            all.push(
                held.with_context(|| format!("{release:?}: a table that another session holds")),
            );
            if release == Mysql::Mysql97 {
                all.push(blocked(server).await.context("an account that is blocked"));
            }
        }
        all_good(all)
    })
}

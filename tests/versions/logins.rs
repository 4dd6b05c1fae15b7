//! Which accounts of MySQL and MariaDB can connect. The table in docs/mysql.md has the same lines.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use harness::{Mysql, Server, SupportedRelease, TestEnv, tests_dir};
use serde_json::json;

use Mysql::{MariaDb118, MariaDb1011, Mysql80, Mysql97};

/// How an account connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Tls,
    /// Without TLS.
    Plain,
    /// Without TLS, when the server has the password in its cache from an earlier login.
    Cached,
}

impl Over {
    const fn words(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Plain => "no TLS",
            Self::Cached => "no TLS, password in the server's cache",
        }
    }
}

/// A way to connect, whether it works, and the releases that have it.
#[derive(Debug, Clone, Copy)]
struct Login {
    plugin: &'static str,
    over: Over,
    works: bool,
    on: &'static [Mysql],
}

const fn login(plugin: &'static str, over: Over, works: bool, on: &'static [Mysql]) -> Login {
    Login { plugin, over, works, on }
}

/// Everything that is tried. A test checks that no release has a plugin of these that it is not listed with.
const LOGINS: &[Login] = &[
    login("mysql_native_password", Over::Tls, true, &[MariaDb1011, MariaDb118]),
    login("mysql_native_password", Over::Plain, true, &[Mysql80, MariaDb1011, MariaDb118]),
    login("caching_sha2_password", Over::Tls, true, &[Mysql97]),
    login("caching_sha2_password", Over::Cached, true, &[Mysql80, Mysql97]),
    login("caching_sha2_password", Over::Plain, false, &[Mysql80, Mysql97]),
    login("sha256_password", Over::Tls, true, &[Mysql97]),
    login("sha256_password", Over::Plain, false, &[Mysql80, Mysql97]),
    login("unix_socket", Over::Tls, false, &[MariaDb1011, MariaDb118]),
    login("auth_socket", Over::Tls, false, &[Mysql97]),
];

/// What other tests show: plugin, connection, whether it works, on what it was tried, and the test.
const ELSEWHERE: &[(&str, &str, bool, &str, &str)] = &[
    (
        "`mysql_clear_password` (RDS: `AWSAuthenticationPlugin`)",
        "TLS, with `source.credentials.rdsIam`",
        true,
        "a server that checks tokens as RDS does; not RDS",
        "tests/faults/tokens.rs: fn each_connection_has_its_own",
    ),
    (
        "`mysql_clear_password`",
        "any other",
        false,
        "a server that asks for the password",
        "tests/faults/logins.rs: fn t60_a_password_is_never_sent_in_clear_text_to_a_server_of_mysql",
    ),
    (
        "`ed25519`, `parsec`, `gssapi`, `pam` and others",
        "any",
        false,
        "unit tests without a server",
        "worker/src/source/mysql/authentication.rs: fn a_token_of_any_length_is_shown_whole_where_it_may_be",
    ),
];

const HEAD: &str = "| plugin | connection | works | tested on |\n|---|---|---|---|\n";

/// The table of docs/mysql.md.
fn table() -> String {
    let mut table = HEAD.to_owned();
    let mut line = |plugin: &str, over: &str, works: bool, on: &str| {
        let works = if works { "yes" } else { "no: `CredentialsRejected`" };
        let _ = writeln!(table, "| {plugin} | {over} | {works} | {on} |");
    };
    for Login { plugin, over, works, on } in LOGINS {
        let on: Vec<_> = on.iter().map(|release| title(*release)).collect();
        line(&format!("`{plugin}`"), over.words(), *works, &on.join(", "));
    }
    for (plugin, over, works, on, _) in ELSEWHERE {
        line(plugin, over, *works, on);
    }
    table
}

const fn title(release: Mysql) -> &'static str {
    match release {
        MariaDb1011 => "MariaDB 10.11",
        MariaDb118 => "MariaDB 11.8",
        Mysql80 => "MySQL 8.0",
        Mysql97 => "MySQL 9.7",
    }
}

#[test]
fn login_table_of_the_docs_has_the_lines_of_the_tests() -> Result<()> {
    let root = tests_dir().join("..");
    let page = std::fs::read_to_string(root.join("docs/mysql.md"))?;
    let table = table();
    ensure!(page.contains(&format!("\n\n{table}\n")), "docs/mysql.md must have:\n\n{table}");
    for (.., test) in ELSEWHERE {
        let (file, name) = test.split_once(": ").context("a file and a test")?;
        let text = std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        ensure!(text.contains(name), "{file} has no {name}");
    }
    Ok(())
}

/// The account's clause.
fn identified(release: Mysql, plugin: &str) -> String {
    match (release.is_mariadb(), plugin) {
        (_, "unix_socket" | "auth_socket") => format!("identified with {plugin}"),
        (true, _) => format!("identified via {plugin} using password('secret')"),
        (false, _) => format!("identified with {plugin} by 'secret'"),
    }
}

/// One login with the right password, and one with a wrong one.
async fn connects(server: &Server, release: Mysql, number: usize, login: Login) -> Result<()> {
    let source = server.source("logins").await?;
    let user = format!("user_{number}_{}", source.database);
    let user = &user[..user.len().min(32)];
    let (database, how) = (&source.database, identified(release, login.plugin));
    let sql = format!(
        "create table t (id int primary key); insert into t values (1); \
         create user '{user}'@'%' {how}; grant select on {database}.* to '{user}'@'%'"
    );
    server.sql(database, &sql).await?;
    source.user(user)?;
    let mut job = server.job(&source, "t", "FE");
    if login.over != Over::Tls {
        job["spec"]["source"]["tls"] = json!({ "mode": "insecurePlaintext" });
    }
    if login.over == Over::Cached {
        server.log_in(user, "secret").await?;
    }
    let right = source.try_run(&job).await?;
    if login.works {
        ensure!(right.code == Some(0), "{:?} {}", right.code, right.stderr);
    } else {
        ensure!(right.code == Some(10), "{:?} {}", right.code, right.stderr);
        ensure!(right.stderr.contains("CredentialsRejected"), "{}", right.stderr);
        let named = right.stderr.contains("source.tls.mode");
        ensure!(named == (login.over == Over::Plain), "{}", right.stderr);
    }
    source.password("wrong")?;
    let wrong = source.try_run(&job).await?;
    ensure!(wrong.code == Some(10), "{:?} {}", wrong.code, wrong.stderr);
    ensure!(wrong.stderr.contains("CredentialsRejected"), "{}", wrong.stderr);
    Ok(())
}

#[test]
fn account_connects_by_its_plugin_or_is_refused_by_reason() -> Result<()> {
    let env = TestEnv::shared()?;
    env.run(async {
        for release in Mysql::ALL {
            let server = Server::start(env, SupportedRelease::Mysql(release))?;
            if release == Mysql97 {
                let install = "install plugin auth_socket soname 'auth_socket.so'";
                let installed = server.sql("mysql", install).await;
                ensure!(
                    installed.is_ok() || format!("{installed:?}").contains("already exists"),
                    "{installed:?}"
                );
            }
            let plugins = "select group_concat(plugin_name) from information_schema.plugins \
                where plugin_type = 'AUTHENTICATION' and plugin_status = 'ACTIVE'";
            let plugins = server.sql("mysql", plugins).await?;
            for (number, login) in LOGINS.iter().enumerate() {
                let has = plugins.split(',').any(|plugin| plugin == login.plugin)
                    && (login.over != Over::Tls || release.takes_tls());
                let listed = login.on.contains(&release);
                ensure!(
                    has == listed,
                    "{release:?} {login:?}: listed {listed}, in the server {has}"
                );
                if has {
                    let connected = connects(&server, release, number, *login).await;
                    connected.with_context(|| format!("{release:?} {login:?}"))?;
                }
            }
        }
        Ok(())
    })
}

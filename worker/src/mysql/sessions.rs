//! Sessions with MySQL through the driver: how they log in, what is pinned in them, and what the
//! server's errors mean.

use crds::Reason;
use crds::source::{Engine, TlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
use sqlx::{ConnectOptions, MySqlConnection};
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::rows::{self, mysql_statements as statements};

use super::relay;
use crate::bounds::Subject;
use crate::sessions::{CONNECT_TIMEOUT, Login, database_failure, made, no_room, unreachable};

/// Logs in and pins the session.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect(login: &Login) -> Result<MySqlConnection, Failure> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(log_in(login))).await;
    connected.unwrap_or_else(|_| Err(unreachable("the database did not answer within 10 seconds")))
}

async fn log_in(login: &Login) -> Result<MySqlConnection, Failure> {
    let mut options = options(login).password(login.password().await?.reveal());
    if !login.shows_password() {
        options = options.socket(relay::to(login).await?);
    }
    let connected = options.connect().await;
    let mut connection = connected.map_err(|error| database_failure("connect", &error))?;
    for statement in statements::PIN {
        run(&mut connection, "pin the session", statement).await?;
    }
    let version = version(&mut connection).await?;
    run(&mut connection, "pin the session", no_timeout(&version)).await?;
    Ok(connection)
}

async fn version(connection: &mut MySqlConnection) -> Result<String, Failure> {
    let asked = sqlx::query_scalar(statements::VERSION).fetch_one(connection).await;
    asked.map_err(|error| database_failure("ask for the version", &error))
}

/// Limits how long each statement of a session that plans may take.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn limit(connection: &mut MySqlConnection, seconds: i64) -> Result<(), Failure> {
    let limit = made(statements::limit_planning(&version(connection).await?, seconds));
    let set = sqlx::raw_sql(limit).execute(connection).await;
    set.map(|_| ()).map_err(|error| database_failure("pin the session", &error))
}

/// The statement that lets a statement take as long as it takes, by the server's version.
pub(super) fn no_timeout(version: &str) -> &'static str {
    if statements::is_mariadb(version) {
        statements::NO_TIMEOUT_MARIADB
    } else {
        statements::NO_TIMEOUT_MYSQL
    }
}

fn options(login: &Login) -> MySqlConnectOptions {
    let mode = match login.tls {
        Tls::Mode(TlsMode::VerifyFull) => MySqlSslMode::VerifyIdentity,
        Tls::Mode(TlsMode::VerifyCa) => MySqlSslMode::VerifyCa,
        Tls::Mode(TlsMode::InsecurePlaintext) => MySqlSslMode::Disabled,
        Tls::Prefer => MySqlSslMode::Preferred,
    };
    let options = MySqlConnectOptions::new()
        .host(&login.host)
        .port(login.port)
        .database(&login.database)
        .username(&login.username)
        .ssl_mode(mode)
        .enable_cleartext_plugin(login.shows_password())
        // all that is set is set by our own pins
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        // the log would have the bounds as literals
        .disable_statement_logging();
    match &login.ca {
        Some(file) => options.ssl_ca(file),
        None => options,
    }
}

pub(super) async fn run(
    connection: &mut MySqlConnection,
    action: &str,
    statement: &'static str,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// Begins the transaction in which the window is planned, by a query on all columns.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn take_snapshot(
    connection: &mut MySqlConnection,
    subject: &Subject,
) -> Result<(), Failure> {
    begin_snapshot(connection).await?;
    let hold =
        rows::hold_statement(Engine::Mysql, &subject.columns, subject.table(), subject.named);
    let opened = sqlx::query(made(hold)).fetch_optional(&mut *connection).await;
    opened.map(|_| ()).map_err(|error| database_failure("open the table", &error))
}

/// Begins a transaction whose reads see one snapshot.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<(), Failure> {
    run(connection, "begin a transaction", statements::BEGIN_SNAPSHOT).await
}

/// Error of a statement that needs a privilege of the whole server.
pub(super) const ACCESS_DENIED: u16 = 1227;

/// The number of a server's error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}

/// Ends a transaction.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn commit(connection: &mut MySqlConnection) -> Result<(), Failure> {
    run(connection, "end a transaction", statements::COMMIT).await
}

/// How the driver says that it does not follow a server which asks for the password as it is.
pub(crate) const DRIVER_REFUSES: &str = "mysql_cleartext_plugin disabled";

/// Of a server that asks for the password as it is, which it is not given.
pub(crate) fn asks_for_password() -> Failure {
    Failure::permanent(
        Reason::CredentialsRejected,
        "connect: the server asks for the password as it is (mysql_clear_password), which is given for \
         tokens of RDS alone, under verified TLS",
        "for an account of RDS with AWSAuthenticationPlugin use source.credentials.rdsIam, for another one \
         mysql_native_password or caching_sha2_password; if neither is meant, find out who answers at \
         source.host",
    )
}

/// What a server's error means, by its number.
pub(crate) fn server_failure(action: &str, number: u16) -> Failure {
    let permanent = |reason, what: &str, remedy: &str| {
        Failure::permanent(reason, format!("{action}: {what}"), remedy)
    };
    match number {
        1820 | 1862 => permanent(
            Reason::CredentialsRejected,
            "the password of the database user has expired",
            "set a new password for the user, and write it into the Secret of source.credentials",
        ),
        1130 => permanent(
            Reason::CredentialsRejected,
            "no user of the server may log in from the pod's address",
            "create the database user for that address, such as 'name'@'%'",
        ),
        // no such user or password; TLS demanded; account locked
        1045 | 1698 | 3118 | 4151 | 3159 => permanent(
            Reason::CredentialsRejected,
            "the database refuses the user, its password, or this kind of connection",
            "check the Secret of source.credentials (of rdsIam: rds-db:connect, the account's \
             AWSAuthenticationPlugin, the region), the account's host and REQUIRE clause, and source.tls",
        ),
        1251 | 2059 => permanent(
            Reason::CredentialsRejected,
            "the account logs in by a method that is not supported",
            "use an account with mysql_native_password or caching_sha2_password",
        ),
        1049 => permanent(
            Reason::DatabaseNotFound,
            "there is no such database",
            "correct source.database",
        ),
        1146 => permanent(Reason::TableNotFound, "there is no such table", "correct extract.table"),
        1054 => permanent(
            Reason::ColumnNotFound,
            "a column is gone",
            "check the table's columns, then start another run",
        ),
        1044 | 1142 | 1143 | 1227 => permanent(
            Reason::DatabaseDenied,
            "the database user may not read the table or one of its columns",
            "GRANT SELECT on the table (all of its columns) to the database user",
        ),
        1356 => permanent(
            Reason::DatabaseDenied,
            "the view refers to what is not there, or to what its definer may not read",
            "repair the view",
        ),
        1040 | 1203 | 1226 | 1053 | 1129 => unreachable(&format!(
            "{action}: the server takes no further connection now (error {number})"
        )),
        1205 => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: another session holds the table exclusively"),
            "wait until it has ended, or end it",
        ),
        // of MariaDB, then of MySQL
        1969 | 3024 => Failure::transient(
            Reason::DatabaseFailed,
            format!(
                "{action}: the statement took longer than half of activeDeadlineSeconds (one hour where it is not set)"
            ),
            "Raise activeDeadlineSeconds, or index the watermark and partition columns, or set \
             extract.partition.strategy: none.",
        ),
        // a full file or disk; no memory to sort in
        3 | 1021 | 1038 | 1114 => no_room(action),
        1412 => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the table was altered after the snapshot was taken"),
            "the next attempt plans with its new columns",
        ),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the database answered with error {number}"),
            "look into the server's log",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Minter;
    use crate::mysql::login::tests::{CLEAR, NATIVE, hostile};
    use crate::sessions::tests::login;

    #[test]
    fn every_tls_mode_is_one_that_the_driver_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }).get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), MySqlSslMode::VerifyIdentity));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), MySqlSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), MySqlSslMode::Disabled));
        assert!(matches!(mode(Tls::Prefer), MySqlSslMode::Preferred));
    }

    #[tokio::test]
    async fn the_driver_never_sends_a_password_as_it_is_to_a_server_that_asks_for_it_so() {
        for way in [NATIVE, CLEAR] {
            let (port, serving) = hostile(way);
            let tls = Tls::Mode(TlsMode::InsecurePlaintext);
            let login = Login { host: "127.0.0.1".to_owned(), port, tls, ..login() };
            let failure = connect(&login).await.expect_err("refused");
            assert_eq!(failure.report.reason, Reason::CredentialsRejected, "{failure}");
            assert!(failure.report.message.contains("mysql_clear_password"), "{failure}");
            let said = tokio::task::spawn_blocking(|| serving.join()).await;
            let said = said.expect("no panic").expect("served");
            let password = login.password.reveal().as_bytes();
            assert!(!said.windows(password.len()).any(|part| part == password), "{said:?}");
            assert_eq!(said.is_empty(), way == CLEAR, "{said:?}");
        }
    }

    #[test]
    fn the_driver_shows_a_token_alone() {
        // it keeps the setting to itself, and prints it
        let shows = |login: &Login| {
            format!("{:?}", options(login)).contains("enable_cleartext_plugin: true")
        };
        let token = Login { minter: Some(Minter::of_tests()), ..login() };
        assert!(shows(&token) && !shows(&login()));
        assert!(!shows(&Login { tls: Tls::Mode(TlsMode::InsecurePlaintext), ..token }));
    }

    #[test]
    fn an_error_is_known_by_its_number() {
        let reason = |number| server_failure("read", number).report.reason;
        assert_eq!(reason(1045), Reason::CredentialsRejected);
        assert_eq!(reason(1820), Reason::CredentialsRejected);
        assert_eq!(reason(1130), Reason::CredentialsRejected);
        assert_eq!(reason(1143), Reason::DatabaseDenied);
        assert_eq!(reason(1040), Reason::DatabaseUnreachable);
        assert_eq!(reason(1412), Reason::DatabaseFailed);
    }
}

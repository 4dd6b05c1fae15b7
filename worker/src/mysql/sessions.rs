//! Sessions with MySQL through the driver: how they log in, what is pinned in them, and what the
//! server's errors mean.

use crds::Reason;
use crds::source::{Engine, TlsMode};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
use sqlx::{ConnectOptions, MySqlConnection};
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::rows::{self, mysql_statements as statements};

use crate::bounds::Subject;
use crate::sessions::{CONNECT_TIMEOUT, Login, database_failure, made, unreachable};

/// Logs in and pins the session.
///
/// # Errors
/// As [`database_failure`].
pub(crate) async fn connect(login: &Login) -> Result<MySqlConnection, Failure> {
    let options = options(login);
    let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(database_failure("connect", &error)),
        Err(_) => return Err(unreachable("the database did not answer within 10 seconds")),
    };
    for statement in statements::PIN {
        run(&mut connection, "pin the session", statement).await?;
    }
    let version: String = sqlx::query_scalar(statements::VERSION)
        .fetch_one(&mut connection)
        .await
        .map_err(|error| database_failure("ask for the version", &error))?;
    run(&mut connection, "pin the session", no_timeout(&version)).await?;
    Ok(connection)
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
        .password(login.password.reveal())
        .ssl_mode(mode)
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
            "check the Secret of source.credentials, the account's host and REQUIRE clause, and source.tls",
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
    use crate::sessions::tests::login;

    #[test]
    fn every_tls_mode_is_one_that_the_driver_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }).get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), MySqlSslMode::VerifyIdentity));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), MySqlSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), MySqlSslMode::Disabled));
        assert!(matches!(mode(Tls::Prefer), MySqlSslMode::Preferred));
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

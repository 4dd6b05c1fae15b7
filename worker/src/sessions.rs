//! Sessions with the source database: how they log in, what is pinned in them, and what their
//! errors mean to people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crds::Reason;
use crds::source::TlsMode;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::rows::statements;

use crate::credentials::Secret;

/// How long a log-in may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session may be silent, unless told otherwise.
pub const SILENCE: Duration = Duration::from_mins(1);

/// Where the database is and how to log in.
#[derive(Clone)]
pub struct Login {
    /// Host name, address, or folder of a socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub username: String,
    /// Password; empty where the server asks for none.
    pub password: Secret,
    /// How the connection is protected.
    pub tls: Tls,
    /// File with certificate authorities to trust beside the public ones.
    pub ca: Option<PathBuf>,
    /// How long a session may be silent before the server is asked what it does.
    pub silence: Duration,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Logs in. `application_name` is `tidemark/<run>/<index>` or `tidemark/<run>/coordinator`: the
/// guard leaves sessions of such names out.
///
/// # Errors
/// As [`database_failure`].
pub async fn connect(login: &Login, application_name: &str) -> Result<PgConnection, Failure> {
    let options = options(login, application_name);
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(database_failure("connect", &error)),
        Err(_) => Err(unreachable("the database did not answer within 10 seconds")),
    }
}

fn options(login: &Login, application_name: &str) -> PgConnectOptions {
    let mode = match login.tls {
        Tls::Mode(TlsMode::VerifyFull) => PgSslMode::VerifyFull,
        Tls::Mode(TlsMode::VerifyCa) => PgSslMode::VerifyCa,
        Tls::Mode(TlsMode::InsecurePlaintext) => PgSslMode::Disable,
        Tls::Prefer => PgSslMode::Prefer,
    };
    let options = PgConnectOptions::new_without_pgpass()
        .host(&login.host)
        .port(login.port)
        .database(&login.database)
        .username(&login.username)
        .password(login.password.reveal())
        .ssl_mode(mode)
        .application_name(application_name)
        // a pooler may refuse start-up settings that it does not know; ours are pinned later
        .extra_float_digits(None::<i8>)
        // the log would have the bounds as literals
        .disable_statement_logging();
    match &login.ca {
        Some(file) => options.ssl_root_cert(file),
        None => options,
    }
}

/// The one place where made text is passed on as SQL: every such text comes from
/// [`worker_core::rows`].
pub(crate) fn made(statement: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement)
}

/// Begins a pinned transaction in which each statement sees what is committed by then.
///
/// # Errors
/// As [`database_failure`].
pub async fn begin(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "begin a transaction", statements::BEGIN).await?;
    run(connection, "pin the session", statements::PIN).await
}

/// Begins a pinned transaction that sees one snapshot, from its first query on.
///
/// # Errors
/// As [`database_failure`].
pub async fn begin_snapshot(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "begin a transaction", statements::BEGIN_SNAPSHOT).await?;
    run(connection, "pin the session", statements::PIN).await
}

/// Begins a pinned transaction that sees the snapshot `id` of another session.
///
/// # Errors
/// `SnapshotLost`, and as [`database_failure`].
pub async fn import(connection: &mut PgConnection, id: &str) -> Result<(), Failure> {
    let statement = statements::import_snapshot(id).ok_or_else(|| {
        Failure::permanent(
            Reason::InvalidSpec,
            "the plan's snapshot id is malformed",
            "do not edit plan.json; start another run",
        )
    })?;
    run(connection, "begin a transaction", statements::BEGIN_SNAPSHOT).await?;
    sqlx::raw_sql(made(statement))
        .execute(&mut *connection)
        .await
        .map_err(|error| import_failure(&error))?;
    run(connection, "pin the session", statements::PIN).await
}

/// Ends a transaction.
///
/// # Errors
/// As [`database_failure`].
pub async fn commit(connection: &mut PgConnection) -> Result<(), Failure> {
    run(connection, "end a transaction", statements::COMMIT).await
}

async fn run(
    connection: &mut PgConnection,
    action: &str,
    statement: &'static str,
) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(|_| ()).map_err(|error| database_failure(action, &error))
}

/// `22023` and `0A000` of an import: the exporter is gone, or is on another node or database.
fn import_failure(error: &sqlx::Error) -> Failure {
    match code(error).as_deref() {
        Some("22023" | "0A000") => Failure::transient(
            Reason::SnapshotLost,
            "the snapshot that all ranges share is gone",
            "the next attempt takes a new one; if it happens again, make sure that source.host \
             always leads to the same server and that nothing ends idle sessions",
        ),
        _ => database_failure("import the snapshot", error),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

/// What an error of the driver means, and what to do about it. The server's own message is never
/// passed on: it may hold values.
pub fn database_failure(action: &str, error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(answer) => server_failure(action, answer.as_ref()),
        sqlx::Error::Tls(source) => {
            tls_failure(source.downcast_ref::<rustls::Error>(), &source.to_string())
        }
        sqlx::Error::Io(source) => match rustls_error(source) {
            Some(tls) => tls_failure(Some(tls), ""),
            None => {
                unreachable(&format!("{action}: no connection to the database ({})", source.kind()))
            }
        },
        sqlx::Error::Configuration(_) => Failure::permanent(
            Reason::InvalidSpec,
            format!("{action}: the connection settings cannot be used"),
            "check source.host, source.tls and the CA file",
        ),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the database's answer was not understood"),
            "check that source.host leads to a Postgres server of version 14 or newer",
        ),
    }
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>())
}

fn unreachable(message: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseUnreachable,
        message,
        "check source.host and source.port, that the server runs, and that the network lets the pods reach it",
    )
}

fn tls_failure(error: Option<&rustls::Error>, text: &str) -> Failure {
    use rustls::CertificateError as Bad;
    let (message, remedy) = match error {
        Some(rustls::Error::InvalidCertificate(bad)) => match bad {
            Bad::UnknownIssuer => (
                "the database's certificate is not signed by an authority that is trusted",
                "name the right certificate authority in source.tls.caRef",
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => (
                "the database's certificate is for another host name",
                "set source.host to a name that the certificate has, or source.tls.mode: verifyCa",
            ),
            Bad::Expired | Bad::ExpiredContext { .. } => (
                "the database's certificate has expired",
                "renew the certificate of the database server",
            ),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => (
                "the database's certificate is not valid yet",
                "check the clocks, and the certificate of the database server",
            ),
            _ => (
                "the database's certificate is not accepted",
                "check the certificate of the database server and source.tls.caRef",
            ),
        },
        None if text.contains("does not support TLS") => (
            "the database server does not offer TLS",
            "turn TLS on in the server (ssl = on), or use source.tls.mode: insecurePlaintext where the operator allows it",
        ),
        _ => (
            "the TLS handshake with the database failed",
            "check source.tls, the CA file, and that the server offers TLS 1.2 or newer",
        ),
    };
    Failure::permanent(Reason::TlsFailed, message, remedy)
}

fn server_failure(action: &str, answer: &dyn sqlx::error::DatabaseError) -> Failure {
    let code = answer.code().unwrap_or_default().into_owned();
    let permanent = |reason, what: &str, remedy: &str| {
        Failure::permanent(reason, format!("{action}: {what}"), remedy)
    };
    match code.as_str() {
        "28P01" | "28000" => permanent(
            Reason::CredentialsRejected,
            "the database refuses the user, its password, or this kind of connection",
            "check the Secret of source.credentials.secretRef, the server's pg_hba.conf and source.tls",
        ),
        "3D000" => permanent(
            Reason::DatabaseNotFound,
            "there is no such database",
            "correct source.database",
        ),
        "42P01" => {
            permanent(Reason::TableNotFound, "there is no such table", "correct extract.table")
        }
        "42703" => permanent(
            Reason::ColumnNotFound,
            "a column is gone",
            "check the table's columns, then start another run",
        ),
        "42501" if hides_rows(answer) => permanent(
            Reason::DatabaseDenied,
            "row level security would hide rows from the database user",
            "use a user with BYPASSRLS, or one that no policy of the table applies to",
        ),
        "42501" => permanent(
            Reason::DatabaseDenied,
            "the database user may not read the table or one of its columns",
            "GRANT USAGE on the schema and SELECT on the table to the database user",
        ),
        "55P03" => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: another session holds the table exclusively"),
            "wait until it has ended, or end it",
        ),
        "53300" | "57P03" => unreachable(&format!(
            "{action}: the server takes no further connection now (SQLSTATE {code})"
        )),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the database answered with SQLSTATE {code}"),
            "look into the server's log",
        ),
    }
}

/// Whether a denial is that of `row_security = off`; by the function that raised it, since the
/// message is translated.
fn hides_rows(answer: &dyn sqlx::error::DatabaseError) -> bool {
    answer
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|answer| answer.routine() == Some("check_enable_rls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            host: "db.example".to_owned(),
            port: 5432,
            database: "shop".to_owned(),
            username: "canary-user".to_owned(),
            password: Secret::new("canary-password".to_owned()),
            tls: Tls::Mode(TlsMode::VerifyFull),
            ca: None,
            silence: SILENCE,
        }
    }

    #[test]
    fn a_login_prints_nothing_secret() {
        assert!(!format!("{:?}", login()).contains("canary"));
        assert_eq!(format!("{:?}", login().password), "Secret(..)");
    }

    #[test]
    fn every_tls_mode_is_one_that_sqlx_verifies_or_none() {
        let mode = |tls| options(&Login { tls, ..login() }, "tidemark/x/0").get_ssl_mode();
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyFull)), PgSslMode::VerifyFull));
        assert!(matches!(mode(Tls::Mode(TlsMode::VerifyCa)), PgSslMode::VerifyCa));
        assert!(matches!(mode(Tls::Mode(TlsMode::InsecurePlaintext)), PgSslMode::Disable));
        // asked for by calls of the replaced job alone
        assert!(matches!(mode(Tls::Prefer), PgSslMode::Prefer));
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_own_remedy() {
        use rustls::CertificateError as Bad;
        let remedy =
            |bad| tls_failure(Some(&rustls::Error::InvalidCertificate(bad)), "").report.remedy;
        assert!(remedy(Bad::UnknownIssuer).contains("caRef"));
        assert!(remedy(Bad::NotValidForName).contains("source.host"));
        assert!(remedy(Bad::Expired).contains("renew"));
    }

    #[test]
    fn a_handshake_that_failed_inside_io_is_found() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, bad);
        assert_eq!(
            database_failure("connect", &sqlx::Error::Io(io)).report.reason,
            Reason::TlsFailed
        );
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let failure = database_failure("connect", &sqlx::Error::Io(refused));
        assert_eq!(failure.report.reason, Reason::DatabaseUnreachable);
    }
}

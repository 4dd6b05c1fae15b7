//! What an error of a session with the source database means, and what to do about it.

use std::io::ErrorKind;

use crds::Reason;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use worker_core::errors;
use worker_core::errors::failure::Failure;
pub(crate) use worker_core::errors::mysql::Answer;
use worker_core::errors::postgres::{Answer as PgAnswer, Position};

use crate::source::certificates::tls_failure;

/// The one place where made text is passed on as SQL: every such text comes from
/// [`worker_core::sql::rows`].
pub(crate) fn made(statement: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement)
}

/// What an error of the driver means, and what to do about it. The server's own message is passed on only
/// where it cannot hold values ([`worker_core::errors`]).
pub fn database_failure(action: &str, error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(answer) => match answer.try_downcast_ref::<MySqlDatabaseError>() {
            Some(answer) => mysql_failure(action, &mysql_answer(answer)),
            None => postgres_failure(action, answer.as_ref()),
        },
        sqlx::Error::Tls(source) => {
            tls_failure(source.downcast_ref::<rustls::Error>(), &source.to_string())
        }
        sqlx::Error::Io(source) => match rustls_error(source) {
            Some(tls) => tls_failure(Some(tls), ""),
            None => lost(action, source.kind()),
        },
        sqlx::Error::Protocol(text) if text.contains(DRIVER_REFUSES) => asks_for_password(),
        sqlx::Error::Protocol(text) if text.starts_with("unsupported") => Failure::permanent(
            Reason::CredentialsRejected,
            format!("{action}: the server requires an authentication method that is not supported"),
            "Use password authentication for the database user (in pg_hba.conf: scram-sha-256, md5 or \
             password).",
        ),
        // the driver is built without RSA
        sqlx::Error::Configuration(source) if source.to_string().starts_with("RSA") => wants_tls(),
        sqlx::Error::Configuration(_) => Failure::permanent(
            Reason::InvalidSpec,
            format!("{action}: the connection settings are invalid"),
            "Check source.host, source.tls and the CA file.",
        ),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the response of the database is invalid"),
            "Check that source.host is a server of source.engine, and that its version is supported.",
        ),
    }
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>())
}

/// A connection that failed.
pub(crate) fn lost(action: &str, kind: ErrorKind) -> Failure {
    let message = format!("{action}: the connection to the database failed ({kind})");
    match kind {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => closed(&message),
        _ => unreachable(&message),
    }
}

/// A connection that the other end closed.
pub(crate) fn closed(message: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseUnreachable,
        message,
        "Find out whether the server was restarted or the session was ended (KILL), and what drops \
         connections between the pods and the database (a firewall, a proxy). If every attempt fails to \
         connect, check source.host and source.port.",
    )
}

pub(crate) fn unreachable(message: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseUnreachable,
        message,
        "Check source.host and source.port, that the server is running, and that the network allows the \
         pods to connect to it.",
    )
}

/// How the driver says that it does not follow a server which asks for the password as it is.
const DRIVER_REFUSES: &str = "mysql_cleartext_plugin disabled";

/// Of a server that asks for the password as it is, which it is not given.
pub(crate) fn asks_for_password() -> Failure {
    Failure::permanent(
        Reason::CredentialsRejected,
        "connect: the server requests the password in clear text (mysql_clear_password), which Tidemark \
         sends only for RDS tokens over verified TLS",
        "For an RDS account with AWSAuthenticationPlugin, set source.credentials.rdsIam. For other \
         accounts, use mysql_native_password or caching_sha2_password. If neither applies, check which \
         server responds at source.host.",
    )
}

/// Of a server that wants more than a digest of the password, on a connection without TLS.
pub(crate) fn wants_tls() -> Failure {
    Failure::permanent(
        Reason::CredentialsRejected,
        "connect: the server rejects the user or the password, or requests the password itself (caching_sha2_password or sha256_password), which Tidemark sends only over TLS",
        "Check the username and the password. Set source.tls.mode: verifyFull or verifyCa, or use an \
         account with mysql_native_password.",
    )
}

/// What a server's error means.
pub(crate) fn mysql_failure(action: &str, answer: &Answer<'_>) -> Failure {
    errors::mysql::failure(action, answer)
}

/// What a server says, of the driver's error.
fn mysql_answer(error: &MySqlDatabaseError) -> Answer<'_> {
    let state = error.code().unwrap_or_default();
    Answer { number: error.number(), state, message: error.message() }
}

/// What an answer of the server means.
fn postgres_failure(action: &str, answer: &dyn sqlx::error::DatabaseError) -> Failure {
    let answer = match answer.try_downcast_ref::<PgDatabaseError>() {
        Some(answer) => PgAnswer {
            code: answer.code(),
            message: answer.message(),
            context: answer.r#where(),
            position: match answer.position() {
                None => Position::None,
                Some(PgErrorPosition::Original(_)) => Position::Ours,
                Some(PgErrorPosition::Internal { .. }) => Position::Function,
            },
            inner: match answer.position() {
                Some(PgErrorPosition::Internal { query, .. }) => Some(query),
                Some(PgErrorPosition::Original(_)) | None => None,
            },
            file: answer.file(),
            routine: answer.routine(),
            object: [
                answer.schema(),
                answer.table(),
                answer.column(),
                answer.constraint(),
                answer.data_type(),
            ],
        },
        None => PgAnswer::default(),
    };
    errors::postgres::failure(action, &answer)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use worker_core::errors::mysql::CONNECT;

    use super::*;

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

    #[test]
    fn an_error_is_known_by_its_number() {
        let reason =
            |number| mysql_failure(CONNECT, &Answer { number, ..Answer::default() }).report.reason;
        assert_eq!(reason(1045), Reason::CredentialsRejected);
        assert_eq!(reason(1820), Reason::CredentialsRejected);
        assert_eq!(reason(1130), Reason::CredentialsRejected);
        assert_eq!(reason(1143), Reason::DatabaseDenied);
        assert_eq!(reason(1040), Reason::DatabaseUnreachable);
        assert_eq!(reason(1412), Reason::DatabaseFailed);
    }

    fn sources(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// The tests of `worker_core::sql::rows` check every SQL text for Postgres: there must be none here.
    #[test]
    fn no_statement_of_postgres_is_written_here() {
        let mut files = Vec::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        assert!(files.len() > 50, "{}", files.len());
        for file in
            files.iter().filter(|file| !file.components().any(|it| it.as_os_str() == "mysql"))
        {
            let text = std::fs::read_to_string(file).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for begins in [
                "SELECT ",
                "WITH ",
                "SET LOCAL ",
                "SHOW ",
                "COPY ",
                "BEGIN",
                "pg_catalog",
                " FROM ",
            ] {
                let found = code.contains(&format!("\"{begins}"));
                assert!(!found, "{} has a statement that begins with {begins:?}", file.display());
            }
        }
    }
}

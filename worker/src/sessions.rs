//! Sessions with the source database: how they log in, what is pinned in them, and what their
//! errors mean to people.

mod certificates;

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crds::Reason;
use crds::source::{Engine, TlsMode};
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlDatabaseError;
use worker_core::error::Failure;
use worker_core::moving::Tls;

use crate::credentials::{Minter, Secret};
use crate::{mysql, postgres};

pub(crate) use certificates::{authority_failure, tls_failure};

/// How long a log-in may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session may be silent, unless told otherwise.
pub const SILENCE: Duration = Duration::from_mins(1);

/// Where the database is and how to log in.
#[derive(Clone)]
pub struct Login {
    /// The kind of database.
    pub engine: Engine,
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
    /// Mints the password of each connection, where it is a token of RDS.
    pub minter: Option<Minter>,
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

impl Login {
    /// The file with certificate authorities can be used.
    ///
    /// # Errors
    /// `InvalidSpec`, with the cause.
    pub(crate) fn check_authorities(&self) -> Result<(), Failure> {
        mysql::tls::roots(self).map(|_| ())
    }

    /// The password of the next connection.
    ///
    /// # Errors
    /// As [`Minter::mint`].
    pub(crate) async fn password(&self) -> Result<Secret, Failure> {
        match &self.minter {
            Some(minter) => minter.mint(&self.host, self.port).await,
            None => Ok(self.password.clone()),
        }
    }

    /// Whether the password may be shown to a server that asks for it as it is: a token that is good for
    /// one log-in, to a server whose certificate is verified. Never another password.
    pub(crate) const fn shows_password(&self) -> bool {
        self.minter.is_some()
            && matches!(self.tls, Tls::Mode(TlsMode::VerifyFull | TlsMode::VerifyCa))
    }
}

/// The one place where made text is passed on as SQL: every such text comes from
/// [`worker_core::rows`].
pub(crate) fn made(statement: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement)
}

/// What an error of the driver means, and what to do about it. The server's own message is passed on only
/// where it cannot hold values ([`worker_core::errors`]).
pub fn database_failure(action: &str, error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(answer) => match answer.try_downcast_ref::<MySqlDatabaseError>() {
            Some(answer) => {
                mysql::sessions::server_failure(action, &mysql::sessions::answer(answer))
            }
            None => postgres::sessions::server_failure(action, answer.as_ref()),
        },
        sqlx::Error::Tls(source) => {
            tls_failure(source.downcast_ref::<rustls::Error>(), &source.to_string())
        }
        sqlx::Error::Io(source) => match rustls_error(source) {
            Some(tls) => tls_failure(Some(tls), ""),
            None => lost(action, source.kind()),
        },
        sqlx::Error::Protocol(text) if text.contains(mysql::sessions::DRIVER_REFUSES) => {
            mysql::sessions::asks_for_password()
        }
        sqlx::Error::Protocol(text) if text.starts_with("unsupported") => Failure::permanent(
            Reason::CredentialsRejected,
            format!("{action}: the server requires an authentication method that is not supported"),
            "use password authentication for the database user (in pg_hba.conf: scram-sha-256, md5 or password)",
        ),
        // the driver is built without RSA
        sqlx::Error::Configuration(source) if source.to_string().starts_with("RSA") => {
            mysql::sessions::wants_tls()
        }
        sqlx::Error::Configuration(_) => Failure::permanent(
            Reason::InvalidSpec,
            format!("{action}: the connection settings cannot be used"),
            "check source.host, source.tls and the CA file",
        ),
        _ => Failure::transient(
            Reason::DatabaseFailed,
            format!("{action}: the database's answer was not understood"),
            "check that source.host leads to a server of source.engine, and that its version is supported",
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
        "find out whether the server was restarted or the session was ended (KILL), and what drops connections \
         between pods and database (a firewall, a proxy); if no attempt connects, check source.host and source.port",
    )
}

pub(crate) fn unreachable(message: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseUnreachable,
        message,
        "check source.host and source.port, that the server runs, and that the network lets the pods reach it",
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn login() -> Login {
        Login {
            engine: Engine::Postgres,
            host: "db.example".to_owned(),
            port: 5432,
            database: "shop".to_owned(),
            username: "canary-user".to_owned(),
            password: Secret::new("canary-password".to_owned()),
            minter: None,
            tls: Tls::Mode(TlsMode::VerifyFull),
            ca: None,
            silence: SILENCE,
        }
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

    /// The tests of `worker_core::rows` look at each text of Postgres there is: there must be none here.
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

    #[test]
    fn a_login_prints_nothing_secret() {
        assert!(!format!("{:?}", login()).contains("canary"));
        assert_eq!(format!("{:?}", login().password), "Secret(..)");
    }

    #[test]
    fn only_a_token_is_shown_and_only_to_a_server_that_is_verified() {
        let shows = |minter, tls| Login { minter, tls, ..login() }.shows_password();
        let minter = || Some(Minter::of_tests());
        for tls in [TlsMode::VerifyFull, TlsMode::VerifyCa].map(Tls::Mode) {
            assert!(shows(minter(), tls) && !shows(None, tls), "{tls:?}");
        }
        for tls in [Tls::Mode(TlsMode::InsecurePlaintext), Tls::Prefer] {
            assert!(!shows(minter(), tls) && !shows(None, tls), "{tls:?}");
        }
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

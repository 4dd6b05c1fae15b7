//! Where the source database is, and how to connect to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crds::source::{Engine, TlsMode};
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;

use crate::source::secret::Secret;
use crate::source::tokens::TokenSigner;

/// Default time that a session may be silent.
pub const SILENCE: Duration = Duration::from_mins(1);

/// Where the database is and how to connect.
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
    /// Signs the password of each connection if it is a token of RDS.
    pub token_signer: Option<TokenSigner>,
    /// How the connection is protected.
    pub tls: Tls,
    /// File with certificate authorities to trust in addition to the public ones.
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
    /// The password of the next connection.
    ///
    /// # Errors
    /// As [`TokenSigner::sign`].
    pub(crate) async fn password(&self) -> Result<Secret, Failure> {
        match &self.token_signer {
            Some(token_signer) => token_signer.sign(&self.host, self.port).await,
            None => Ok(self.password.clone()),
        }
    }

    /// Whether the password may be shown to a server that asks for it as it is: a token that is good for
    /// one connection, to a server whose certificate is verified. Never another password.
    pub(crate) const fn shows_password(&self) -> bool {
        self.token_signer.is_some()
            && matches!(self.tls, Tls::Mode(TlsMode::VerifyFull | TlsMode::VerifyCa))
    }
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
            token_signer: None,
            tls: Tls::Mode(TlsMode::VerifyFull),
            ca: None,
            silence: SILENCE,
        }
    }

    #[test]
    fn a_login_prints_no_secret() {
        assert!(!format!("{:?}", login()).contains("canary"));
        assert_eq!(format!("{:?}", login().password), "Secret(..)");
    }

    #[test]
    fn only_a_token_is_shown_and_only_to_a_server_that_is_verified() {
        let shows = |token_signer, tls| Login { token_signer, tls, ..login() }.shows_password();
        let token_signer = || Some(TokenSigner::of_tests());
        for tls in [TlsMode::VerifyFull, TlsMode::VerifyCa].map(Tls::Mode) {
            assert!(shows(token_signer(), tls) && !shows(None, tls), "{tls:?}");
        }
        for tls in [Tls::Mode(TlsMode::InsecurePlaintext), Tls::Prefer] {
            assert!(!shows(token_signer(), tls) && !shows(None, tls), "{tls:?}");
        }
    }
}

//! Authentication methods: which ones a server may request, and what the client then sends.

use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin as _, Context};
use mysql_common::packets::AuthPlugin;
use worker_core::errors::failure::Failure;

use super::session::{CONNECT, not_understood};
use crate::source::errors::{Answer, asks_for_password, mysql_failure, wants_tls};

/// What a way to authenticate may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExchangeInput<'a> {
    pub(super) password: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) secured: bool,
}

impl Context for ExchangeInput<'_> {
    fn pass(&self) -> &[u8] {
        self.password
    }

    fn is_ipc_transport(&self) -> bool {
        false
    }

    fn is_tls_transport(&self) -> bool {
        self.secured
    }

    fn scramble(&self) -> &[u8] {
        self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}

/// Answers by which a client without TLS asks for the server's RSA key: of `sha256_password` and of
/// `caching_sha2_password`.
const KEY_REQUESTS: [&[u8]; 2] = [&[1], &[2]];

/// A way that is being gone.
#[derive(Debug)]
pub(super) struct Exchange(AuthProc);

impl Exchange {
    /// The one to begin with, and its name: what the server offers if that is a digest, which has few
    /// bytes and tells nothing; a server that wants another asks for it.
    ///
    /// # Errors
    /// None that can be met.
    pub(super) fn first(
        offered: Option<AuthPlugin<'_>>,
    ) -> Result<(Self, AuthPlugin<'_>), Failure> {
        let digests = |plugin: &AuthPlugin<'_>| {
            matches!(plugin, AuthPlugin::MysqlNativePassword | AuthPlugin::CachingSha2Password)
        };
        let plugin = offered.filter(digests).unwrap_or(AuthPlugin::MysqlNativePassword);
        Ok((Self::asked(&plugin, false)?, plugin))
    }

    /// The one that the server asks for: those that the driver of the other sessions has too.
    /// `shows`: the password may be sent as it is.
    ///
    /// # Errors
    /// `CredentialsRejected`.
    pub(super) fn asked(plugin: &AuthPlugin<'_>, shows: bool) -> Result<Self, Failure> {
        match plugin {
            AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Sha256Password => {}
            AuthPlugin::MysqlClearPassword if shows => {}
            AuthPlugin::MysqlClearPassword => return Err(asks_for_password()),
            _ => return Err(unsupported()),
        }
        AuthProc::init(plugin).map(Self).map_err(|_| unsupported())
    }

    /// What to answer to the server's `challenge`, if anything.
    ///
    /// # Errors
    /// `CredentialsRejected` where the password would be sent under a key that the server names itself;
    /// `DatabaseFailed` where the challenge makes no sense.
    pub(super) fn run(
        &mut self,
        input: ExchangeInput<'_>,
        challenge: &[u8],
    ) -> Result<Option<Vec<u8>>, Failure> {
        let response = self.0.run(input, challenge).map_err(|_| {
            not_understood(
                "the authentication packet of the \
                 database",
            )
        })?;
        let answer = response.data().map(<[u8]>::to_vec);
        // another server could send a key of its own, and decrypt the password with it
        if !input.secured && answer.as_deref().is_some_and(|answer| KEY_REQUESTS.contains(&answer))
        {
            return Err(wants_tls());
        }
        Ok(answer)
    }
}

/// As the servers' own clients say it.
fn unsupported() -> Failure {
    mysql_failure(CONNECT, &Answer { number: 2059, ..Answer::default() })
}

#[cfg(test)]
mod tests {
    use crds::Reason;

    use super::*;

    #[test]
    fn a_token_of_any_length_is_shown_whole_where_it_may_be() {
        let token = "t".repeat(5000);
        let input = ExchangeInput { password: token.as_bytes(), nonce: &[], secured: true };
        let mut exchange = Exchange::asked(&AuthPlugin::MysqlClearPassword, true).expect("it may");
        let sent = exchange.run(input, &[]).expect("an answer").expect("a packet");
        assert_eq!(sent, [token.as_bytes(), &[0]].concat());
        for (refused, shows) in [
            (AuthPlugin::MysqlClearPassword, false),
            (AuthPlugin::MysqlOldPassword, true),
            (AuthPlugin::Ed25519, true),
            (AuthPlugin::Parsec, true),
            (AuthPlugin::Other(b"auth_gssapi_client".as_slice().into()), true),
        ] {
            let failure = Exchange::asked(&refused, shows).expect_err("refused");
            assert_eq!(failure.report.reason, Reason::CredentialsRejected, "{failure}");
            assert!(!failure.report.remedy.is_empty(), "{failure}");
        }
    }

    #[test]
    fn no_password_is_sent_under_a_key_that_the_server_names() {
        let nonce = [b'n'; 20];
        for secured in [false, true] {
            let input = ExchangeInput { password: b"canary", nonce: &nonce, secured };
            let mut exchange =
                Exchange::asked(&AuthPlugin::CachingSha2Password, false).expect("a way");
            exchange.run(input, &nonce).expect("a digest");
            let full = exchange.run(input, &[4]);
            let mut exchange = Exchange::asked(&AuthPlugin::Sha256Password, false).expect("a way");
            for answer in [full, exchange.run(input, &nonce)] {
                if secured {
                    assert_eq!(answer.expect("under TLS"), Some(b"canary\0".to_vec()));
                } else {
                    let failure = answer.expect_err("refused");
                    assert_eq!(failure.report.reason, Reason::CredentialsRejected, "{failure}");
                    assert!(failure.report.remedy.contains("source.tls.mode"), "{failure}");
                }
            }
        }
        // the server knows the password from an earlier connection
        let input = ExchangeInput { password: b"canary", nonce: &nonce, secured: false };
        let mut exchange = Exchange::asked(&AuthPlugin::CachingSha2Password, false).expect("a way");
        exchange.run(input, &nonce).expect("a digest");
        assert_eq!(exchange.run(input, &[3]).expect("let in"), None);
    }

    #[test]
    fn nothing_but_a_digest_is_sent_before_the_server_has_asked() {
        for offered in [
            AuthPlugin::MysqlClearPassword,
            AuthPlugin::Sha256Password,
            AuthPlugin::MysqlOldPassword,
            AuthPlugin::Ed25519,
        ] {
            let (mut exchange, plugin) = Exchange::first(Some(offered)).expect("another");
            assert_eq!(plugin, AuthPlugin::MysqlNativePassword);
            let input = ExchangeInput { password: &[b't'; 5000], nonce: &[1; 20], secured: true };
            assert_eq!(
                exchange.run(input, &[1; 20]).expect("an answer").map(|bytes| bytes.len()),
                Some(20)
            );
        }
    }
}

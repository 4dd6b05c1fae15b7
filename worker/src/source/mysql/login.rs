//! The start of a connection: greeting, TLS, authentication, pinned settings.

use std::net::{TcpStream, ToSocketAddrs as _};

use crds::source::{Engine, TlsMode};
use mysql_common::constants::CapabilityFlags as Can;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize as _;
use socket2::SockRef;
use worker_core::errors::failure::Failure;
use worker_core::migration::Tls;
use worker_core::settings::mysql as settings;
use worker_core::sql::rows::{mysql_statements as statements, quote};

use super::authentication::{Exchange, ExchangeInput};
use super::keepalive::keep_alive;
use super::session::{CONNECT, ERROR, OK, QUERY, Session, Wire, broken, failed, not_understood};
use super::sessions::{PIN, SELECT_DATABASE, clock_is_fixed};
use super::texts::texts;
use crate::source::backend::Backend;
use crate::source::certificates::tls_failure;
use crate::source::errors::unreachable;
use crate::source::login::Login;
use crate::source::stream::Stream;
use crate::source::timeouts::CONNECT_TIMEOUT;
use crate::source::tls::secure;

/// First byte of more to authenticate with.
const MORE: u8 = 1;
/// First byte of the request for another way to authenticate, and of the end of a list.
const SWITCH: u8 = 0xFE;
/// `utf8mb4_general_ci`, until the session is pinned.
const CHARSET: u8 = 45;
/// Where a client's answer to the greeting has the number of its collation.
const COLLATION_AT: usize = 8;
/// Steps of an authentication: two switches, and a key to be asked for.
const STEPS_MAX: usize = 8;

/// Connects and pins the session; its name too. The login's password is the one to use, minted
/// or not. Blocks.
///
/// # Errors
/// A database reason.
pub(super) fn open(login: &Login) -> Result<(Session, Backend), Failure> {
    let mut session = unpinned(login, CHARSET)?;
    session.pin()?;
    // the connection may have been led to another database (init_connect)
    session.query(SELECT_DATABASE, &format!("USE {}", quote(Engine::Mysql, &login.database)))?;
    let backend = session.backend()?;
    session.stream.set_read_timeout(None).map_err(|error| broken(CONNECT, &error))?;
    Ok((session, backend))
}

/// Connects, with all settings as the server has them, and the collation that is asked for by
/// its number. Blocks.
///
/// # Errors
/// A database reason.
pub(super) fn unpinned(login: &Login, collation: u8) -> Result<Session, Failure> {
    let socket = connect(login)?;
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| broken(CONNECT, &error))?;
    let mut wire = Wire { stream: Stream::Plain(socket), number: 0, doing: CONNECT };
    let greeting = wire.receive()?;
    failed(CONNECT, &greeting)?;
    let greeting: HandshakePacket<'_> = ParseBuf(&greeting)
        .parse(())
        .map_err(|_| not_understood("the greeting packet of the database"))?;
    let offers_tls = greeting.capabilities().contains(Can::CLIENT_SSL);
    let mut can = Can::CLIENT_PROTOCOL_41
        | Can::CLIENT_SECURE_CONNECTION
        | Can::CLIENT_PLUGIN_AUTH
        | Can::CLIENT_LONG_FLAG
        | Can::CLIENT_TRANSACTIONS
        | Can::CLIENT_CONNECT_WITH_DB;
    let wants_tls = match login.tls {
        Tls::Mode(TlsMode::InsecurePlaintext) => false,
        Tls::Prefer => offers_tls,
        Tls::Mode(TlsMode::VerifyFull | TlsMode::VerifyCa) if !offers_tls => {
            return Err(tls_failure(None, "server does not support TLS"));
        }
        Tls::Mode(TlsMode::VerifyFull | TlsMode::VerifyCa) => true,
    };
    if wants_tls {
        can |= Can::CLIENT_SSL;
        let mut request = Vec::new();
        SslRequest::new(can, u32::MAX >> 8, collation).serialize(&mut request);
        wire.send(&request)?;
        wire = wire.secured(login)?;
    }
    wire.log_in(login, &greeting, (can, collation))?;
    Ok(Session::new(wire))
}

fn connect(login: &Login) -> Result<TcpStream, Failure> {
    let unknown = |_| unreachable("the host name of source.host cannot be resolved");
    let addresses = (login.host.as_str(), login.port).to_socket_addrs().map_err(unknown)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| broken(CONNECT, &error))?;
                keep_alive(&SockRef::from(&socket)).map_err(|error| broken(CONNECT, &error))?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || unreachable("the host name of source.host has no address"),
        |error| broken(CONNECT, &error),
    ))
}

impl Wire {
    fn secured(self, login: &Login) -> Result<Self, Failure> {
        match self.stream {
            Stream::Plain(socket) => {
                let stream = Stream::Secured(Box::new(secure(socket, login)?));
                Ok(Self { stream, ..self })
            }
            Stream::Secured(_) | Stream::Local(_) => Ok(self),
        }
    }

    fn log_in(
        &mut self,
        login: &Login,
        greeting: &HandshakePacket<'_>,
        (can, collation): (Can, u8),
    ) -> Result<(), Failure> {
        let mut nonce = greeting.nonce();
        let password = login.password.reveal().as_bytes();
        let secured = matches!(self.stream, Stream::Secured(_));
        let shows = secured && login.shows_password();
        let (mut exchange, plugin) = Exchange::first(greeting.auth_plugin())?;
        let response = HandshakeResponse::new(
            Some(
                exchange
                    .run(ExchangeInput { password, nonce: &nonce, secured }, &nonce)?
                    .unwrap_or_default(),
            ),
            greeting.server_version_parsed().unwrap_or((8, 0, 0)),
            Some(login.username.as_bytes()),
            Some(login.database.as_bytes()),
            Some(plugin.borrow()),
            can,
            None,
            u32::MAX >> 8,
        );
        let mut bytes = Vec::new();
        response.serialize(&mut bytes);
        if let Some(byte) = bytes.get_mut(COLLATION_AT) {
            *byte = collation;
        }
        self.send(&bytes)?;
        for _ in 0..STEPS_MAX {
            let answer = self.receive()?;
            failed(CONNECT, &answer)?;
            let reply = match answer.first() {
                Some(&OK) => return Ok(()),
                Some(&MORE) => exchange
                    .run(ExchangeInput { password, nonce: &nonce, secured }, &answer[1..])?,
                Some(&SWITCH) => {
                    let request: AuthSwitchRequest<'_> = ParseBuf(&answer)
                        .parse(())
                        .map_err(|_| not_understood("the authentication packet of the database"))?;
                    exchange = Exchange::asked(&request.auth_plugin(), shows)?;
                    nonce = request.plugin_data().to_vec();
                    let input = ExchangeInput { password, nonce: &nonce, secured };
                    Some(exchange.run(input, &nonce)?.unwrap_or_default())
                }
                _ => return Err(not_understood("the authentication packet of the database")),
            };
            if let Some(reply) = reply {
                self.send(&reply)?;
            }
        }
        Err(not_understood("the authentication packet of the database"))
    }
}

impl Session {
    /// Pins what the session has inherited.
    fn pin(&mut self) -> Result<(), Failure> {
        self.query(PIN, &settings::first())?;
        for statement in settings::BEGUN {
            self.query(PIN, statement)?;
        }
        let shown = texts(self, PIN, &settings::show())?.into_iter();
        let known = shown.filter_map(|row| match row.as_slice() {
            [Some(name), Some(value)] => Some((name.to_lowercase(), value.clone())),
            _ => None,
        });
        self.query(PIN, &settings::then(&known.collect())?)?;
        self.ask(PIN, QUERY, settings::CLOCK.as_bytes())?;
        let answer = self.receive()?;
        match answer.as_slice() {
            [ERROR, low, high, ..] if clock_is_fixed(u16::from_le_bytes([*low, *high])) => Ok(()),
            _ => failed(PIN, &answer),
        }
    }

    /// The server's name for this session.
    fn backend(&mut self) -> Result<Backend, Failure> {
        let rows = texts(self, "read the session's id", statements::BACKEND)?;
        let named = match rows.first().map(Vec::as_slice) {
            Some([Some(number), Some(server)]) => number.parse().ok().zip(Some(server.clone())),
            _ => None,
        };
        let (number, server) =
            named.ok_or_else(|| not_understood("the session id that the database returned"))?;
        Ok(Backend::Mysql { number, server })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use crds::Reason;

    use super::*;
    use crate::source::login::tests::login;
    use crate::source::tokens::TokenSigner;

    /// MariaDB 10.11, with the name of a way to log in at its end.
    const GREETING: &[u8] =
        b"\x0a5.5.5-10.11.6-MariaDB\0\x01\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15\
        \0\0\0\0\0\0\x1d\0\0\0ijklmnopqrst\0";
    pub(in crate::source::mysql) const CLEAR: &[u8] = b"mysql_clear_password\0";
    pub(in crate::source::mysql) const NATIVE: &[u8] = b"mysql_native_password\0";

    /// A server in plaintext, whose greeting names a way, and which then asks for the password as it is:
    /// its port, and what the client has sent.
    pub(in crate::source::mysql) fn hostile(exchange: &'static [u8]) -> (u16, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut session = Wire { stream: Stream::Plain(stream), number: 0, doing: CONNECT };
            session.send(&[GREETING, exchange].concat()).expect("greet");
            // a client may have left by then
            let mut said = session.receive().unwrap_or_default();
            if session.send(&[&[SWITCH], CLEAR].concat()).is_ok() {
                let _ = session.stream.read_to_end(&mut said);
            }
            said
        });
        (port, serving)
    }

    /// A server that answers each command with an error, then goes.
    fn refusing(commands: usize) -> Session {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut session = Wire { stream: Stream::Plain(stream), number: 0, doing: CONNECT };
            for _ in 0..commands {
                session.receive().expect("a command");
                session.send(b"\xff\x69\x04#HY000Unknown error").expect("an answer");
            }
        });
        let stream = TcpStream::connect(address).expect("connected");
        Session::new(Wire { stream: Stream::Plain(stream), number: 0, doing: CONNECT })
    }

    #[test]
    fn each_error_names_the_failed_step() {
        let mut session = refusing(3);
        let says = |failure: Failure, doing: &str| {
            let message = failure.report.message;
            assert!(message.starts_with(&format!("{doing}: ")), "{message}");
        };
        says(session.query("set the zone", "SET x").expect_err("refused"), "set the zone");
        let rows = texts(&mut session, "ask for the name", "SELECT 1");
        says(rows.expect_err("refused"), "ask for the name");
        let prepared = session.command("read the rows", QUERY, b"SELECT 1");
        says(prepared.expect_err("refused"), "read the rows");
        // the server has gone: by the second command at the latest
        let lost = (0..2).find_map(|_| session.query("end a transaction", "COMMIT").err());
        says(lost.expect("gone"), "end a transaction");
    }

    #[test]
    fn a_password_is_never_sent_in_clear_text() {
        for token_signer in [None, Some(TokenSigner::of_tests())] {
            for exchange in [NATIVE, CLEAR] {
                let (port, serving) = hostile(exchange);
                let login = Login {
                    host: "127.0.0.1".to_owned(),
                    port,
                    token_signer: token_signer.clone(),
                    tls: Tls::Mode(TlsMode::InsecurePlaintext),
                    ..login()
                };
                let failure = open(&login).expect_err("refused");
                assert_eq!(failure.report.reason, Reason::CredentialsRejected, "{failure}");
                assert!(failure.report.message.contains("mysql_clear_password"), "{failure}");
                assert!(failure.report.remedy.contains("source.host"), "{failure}");
                let said = serving.join().expect("served");
                let password = login.password.reveal().as_bytes();
                assert!(!said.windows(password.len()).any(|part| part == password), "{said:?}");
                assert!(said.windows(11).any(|part| part == b"canary-user"), "{said:?}");
            }
        }
    }
}

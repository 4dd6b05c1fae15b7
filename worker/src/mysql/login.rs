//! Our own connection: greeting, TLS, log-in, and commands whose answer is short.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};

use crds::Reason;
use crds::source::{Engine, TlsMode};
use mysql_common::constants::CapabilityFlags as Can;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize as _;
use socket2::SockRef;
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::rows::{mysql_statements as statements, quote};
use worker_core::settings::mysql as settings;

use super::authentication::{Told, Way};
use super::keepalive::keep_alive;
use super::rows::texts;
use super::sessions::{Answer, PIN, clock_is_fixed, server_failure};
use super::tls::{Secured, secure};
use crate::sessions::{CONNECT_TIMEOUT, Login, tls_failure, unreachable};
use crate::watch::{Backend, GOODBYE_TIMEOUT};

/// First byte of an answer that all is well.
const OK: u8 = 0;
/// First byte of more to authenticate with.
const MORE: u8 = 1;
/// First byte of the wish for another way to authenticate, and of the end of a list.
const SWITCH: u8 = 0xFE;
/// First byte of an error, after which its number comes.
const ERROR: u8 = 0xFF;
/// Command: a statement as text.
pub(super) const QUERY: u8 = 3;
/// Command: the client leaves.
const QUIT: u8 = 1;
/// `utf8mb4_general_ci`, until the session is pinned.
const CHARSET: u8 = 45;
/// Where a client's answer to the greeting has the number of its collation.
const COLLATION_AT: usize = 8;
/// What is done first.
const CONNECT: &str = "connect";
/// Longest answer that is read whole: a column's description has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Steps of a log-in: two switches, and a key to be asked for.
const STEPS_MAX: usize = 8;

/// The bytes' way.
#[derive(Debug)]
pub(super) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Under TLS.
    Secured(Box<Secured>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secured(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secured(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: Stream,
    /// Number of the next packet.
    number: u8,
    /// What the last command is for; errors say it.
    doing: &'static str,
}

/// Connects, logs in and pins the session; its name too. The login's password is the one to use, minted
/// or not. Blocks.
///
/// # Errors
/// A database reason.
pub(super) fn open(login: &Login) -> Result<(Session, Backend), Failure> {
    let mut session = unpinned(login, CHARSET)?;
    session.pin()?;
    // the connection may have been led to another database (init_connect)
    session.query(PIN, &format!("USE {}", quote(Engine::Mysql, &login.database)))?;
    let backend = session.backend()?;
    session.socket().set_read_timeout(None).map_err(|error| broken(CONNECT, &error))?;
    Ok((session, backend))
}

/// Connects and logs in, with everything as the server gives it, and the collation that is asked for by
/// its number. Blocks.
///
/// # Errors
/// A database reason.
pub(super) fn unpinned(login: &Login, collation: u8) -> Result<Session, Failure> {
    let socket = connect(login)?;
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| broken(CONNECT, &error))?;
    let mut session = Session { stream: Stream::Plain(socket), number: 0, doing: CONNECT };
    let greeting = session.receive()?;
    failed(CONNECT, &greeting)?;
    let greeting: HandshakePacket<'_> =
        ParseBuf(&greeting).parse(()).map_err(|_| not_understood("the database's greeting"))?;
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
        session.send(&request)?;
        session = session.secured(login)?;
    }
    session.log_in(login, &greeting, (can, collation))?;
    Ok(session)
}

fn connect(login: &Login) -> Result<TcpStream, Failure> {
    let unknown = |_| unreachable("the name of source.host is not known");
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
        || unreachable("the name of source.host has no address"),
        |error| broken(CONNECT, &error),
    ))
}

/// What became of a connection.
pub(super) fn broken(doing: &str, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(Some(error), ""),
        None => unreachable(&format!("{doing}: no connection to the database ({})", error.kind())),
    }
}

pub(super) fn not_understood(what: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        format!("{what} was not understood"),
        "check that source.host leads to a MySQL or MariaDB server",
    )
}

/// An error packet as a failure.
fn failed(action: &str, answer: &[u8]) -> Result<(), Failure> {
    match answer {
        [ERROR, ..] => Err(server_failure(action, &Answer::of_packet(answer))),
        _ => Ok(()),
    }
}

impl Session {
    /// The socket below.
    pub(super) fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Secured(stream) => &stream.sock,
        }
    }

    fn secured(self, login: &Login) -> Result<Self, Failure> {
        match self.stream {
            Stream::Plain(socket) => {
                let stream = Stream::Secured(Box::new(secure(socket, login)?));
                Ok(Self { stream, ..self })
            }
            Stream::Secured(_) => Ok(self),
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
        let (mut way, plugin) = Way::first(greeting.auth_plugin())?;
        let response = HandshakeResponse::new(
            Some(way.run(Told { password, nonce: &nonce, secured }, &nonce)?.unwrap_or_default()),
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
                Some(&MORE) => way.run(Told { password, nonce: &nonce, secured }, &answer[1..])?,
                Some(&SWITCH) => {
                    let request: AuthSwitchRequest<'_> = ParseBuf(&answer)
                        .parse(())
                        .map_err(|_| not_understood("the database's log-in"))?;
                    way = Way::asked(&request.auth_plugin(), shows)?;
                    nonce = request.plugin_data().to_vec();
                    let told = Told { password, nonce: &nonce, secured };
                    Some(way.run(told, &nonce)?.unwrap_or_default())
                }
                _ => return Err(not_understood("the database's log-in")),
            };
            if let Some(reply) = reply {
                self.send(&reply)?;
            }
        }
        Err(not_understood("the database's log-in"))
    }

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

    /// A statement whose answer is OK.
    pub(super) fn query(&mut self, doing: &'static str, statement: &str) -> Result<(), Failure> {
        let answer = self.command(doing, QUERY, statement.as_bytes())?;
        match answer.first() {
            Some(&OK) => Ok(()),
            _ => Err(not_understood("the database's answer")),
        }
    }

    /// Ends the transaction, if there is one, and says goodbye.
    pub(super) fn quit(&mut self) -> Result<(), Failure> {
        let socket = self.socket();
        let timed = socket
            .set_read_timeout(Some(GOODBYE_TIMEOUT))
            .and_then(|()| socket.set_write_timeout(Some(GOODBYE_TIMEOUT)));
        timed.map_err(|error| broken("end the session", &error))?;
        self.query("end a transaction", statements::COMMIT)?;
        self.ask("end the session", QUIT, &[])
    }

    /// The server's name for this session.
    fn backend(&mut self) -> Result<Backend, Failure> {
        let rows = texts(self, "ask for the session's name", statements::BACKEND)?;
        let named = match rows.first().map(Vec::as_slice) {
            Some([Some(number), Some(server)]) => number.parse().ok().zip(Some(server.clone())),
            _ => None,
        };
        let (number, server) =
            named.ok_or_else(|| not_understood("the database's name for the session"))?;
        Ok(Backend::Mysql { number, server })
    }

    /// Sends a command, and takes the first packet of its answer.
    pub(super) fn command(
        &mut self,
        doing: &'static str,
        command: u8,
        rest: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        self.ask(doing, command, rest)?;
        self.answer()
    }

    /// Sends a command. `doing`: what it is for, for errors.
    pub(super) fn ask(
        &mut self,
        doing: &'static str,
        command: u8,
        rest: &[u8],
    ) -> Result<(), Failure> {
        self.doing = doing;
        self.number = 0;
        let mut payload = Vec::with_capacity(rest.len() + 1);
        payload.push(command);
        payload.extend_from_slice(rest);
        self.send(&payload)
    }

    /// The first packet of an answer, which is no error.
    pub(super) fn answer(&mut self) -> Result<Vec<u8>, Failure> {
        let answer = self.receive()?;
        failed(self.doing, &answer)?;
        Ok(answer)
    }

    /// Takes a packet.
    pub(super) fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(|error| broken(self.doing, &error))?;
        let [low, middle, high, number] = header;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if length > ANSWER_BYTES_MAX {
            return Err(not_understood("the database's answer"));
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).map_err(|error| broken(self.doing, &error))?;
        self.number = number.wrapping_add(1);
        Ok(payload)
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let [low, middle, high, rest] = length.to_le_bytes();
        if rest != 0 || length == 0xFF_FFFF {
            return Err(Failure::permanent(
                Reason::InvalidSpec,
                "the statement is longer than a packet of the protocol",
                "give fewer columns",
            ));
        }
        let mut packet = vec![low, middle, high, self.number];
        packet.extend_from_slice(payload);
        self.number = self.number.wrapping_add(1);
        self.stream.write_all(&packet).map_err(|error| broken(self.doing, &error))?;
        self.stream.flush().map_err(|error| broken(self.doing, &error))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::credentials::Minter;
    use crate::sessions::tests::login;

    /// MariaDB 10.11, with the name of a way to log in at its end.
    const GREETING: &[u8] =
        b"\x0a5.5.5-10.11.6-MariaDB\0\x01\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15\
        \0\0\0\0\0\0\x1d\0\0\0ijklmnopqrst\0";
    pub(in crate::mysql) const CLEAR: &[u8] = b"mysql_clear_password\0";
    pub(in crate::mysql) const NATIVE: &[u8] = b"mysql_native_password\0";

    /// A server in plaintext, whose greeting names a way, and which then asks for the password as it is:
    /// its port, and what the client has sent.
    pub(in crate::mysql) fn hostile(way: &'static [u8]) -> (u16, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut session = Session { stream: Stream::Plain(stream), number: 0, doing: CONNECT };
            session.send(&[GREETING, way].concat()).expect("greet");
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
            let mut session = Session { stream: Stream::Plain(stream), number: 0, doing: CONNECT };
            for _ in 0..commands {
                session.receive().expect("a command");
                session.send(b"\xff\x69\x04#HY000Unknown error").expect("an answer");
            }
        });
        let stream = TcpStream::connect(address).expect("connected");
        Session { stream: Stream::Plain(stream), number: 0, doing: CONNECT }
    }

    #[test]
    fn each_error_says_what_was_being_done() {
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
    fn a_password_is_never_sent_as_it_is_to_a_server_that_asks_for_it_so() {
        for minter in [None, Some(Minter::of_tests())] {
            for way in [NATIVE, CLEAR] {
                let (port, serving) = hostile(way);
                let login = Login {
                    host: "127.0.0.1".to_owned(),
                    port,
                    minter: minter.clone(),
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

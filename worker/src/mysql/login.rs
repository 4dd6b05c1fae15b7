//! Our own connection: greeting, TLS, log-in, and commands whose answer is short.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};

use crds::Reason;
use crds::source::TlsMode;
use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin as _, Context};
use mysql_common::constants::CapabilityFlags as Can;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize as _;
use worker_core::error::Failure;
use worker_core::moving::Tls;
use worker_core::rows::mysql_statements as statements;

use super::sessions::{no_timeout, server_failure};
use super::tls::{Secured, secure};
use crate::sessions::{CONNECT_TIMEOUT, Login, tls_failure, unreachable};

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
/// `utf8mb4_general_ci`, until the session is pinned.
const CHARSET: u8 = 45;
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
}

/// What a way to authenticate may ask for.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    password: &'a [u8],
    nonce: &'a [u8],
    secured: bool,
}

impl Context for Told<'_> {
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

/// Connects, logs in and pins the session. Blocks.
///
/// # Errors
/// A database reason.
pub(super) fn open(login: &Login) -> Result<Session, Failure> {
    let socket = connect(login)?;
    socket.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| broken(&error))?;
    let mut session = Session { stream: Stream::Plain(socket), number: 0 };
    let greeting = session.receive()?;
    failed("connect", &greeting)?;
    let greeting: HandshakePacket<'_> =
        ParseBuf(&greeting).parse(()).map_err(|_| not_understood("its greeting"))?;
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
        SslRequest::new(can, u32::MAX >> 8, CHARSET).serialize(&mut request);
        session.send(&request)?;
        session = session.secured(login)?;
    }
    session.log_in(login, &greeting, can)?;
    for statement in statements::PIN {
        session.query(statement)?;
    }
    session.query(no_timeout(&greeting.server_version_str()))?;
    session.socket().set_read_timeout(None).map_err(|error| broken(&error))?;
    Ok(session)
}

fn connect(login: &Login) -> Result<TcpStream, Failure> {
    let unknown = |_| unreachable("the name of source.host is not known");
    let addresses = (login.host.as_str(), login.port).to_socket_addrs().map_err(unknown)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| broken(&error))?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || unreachable("the name of source.host has no address"),
        |error| broken(&error),
    ))
}

/// What became of a connection.
pub(super) fn broken(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(Some(error), ""),
        None => unreachable(&format!("no connection to the database ({})", error.kind())),
    }
}

fn not_understood(what: &str) -> Failure {
    Failure::transient(
        Reason::DatabaseFailed,
        format!("{what} was not understood"),
        "check that source.host leads to a MySQL or MariaDB server",
    )
}

/// An error packet as a failure.
fn failed(action: &str, answer: &[u8]) -> Result<(), Failure> {
    match answer {
        [ERROR, low, high, ..] => Err(server_failure(action, u16::from_le_bytes([*low, *high]))),
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
        can: Can,
    ) -> Result<(), Failure> {
        let mut nonce = greeting.nonce();
        let password = login.password.reveal().as_bytes();
        let secured = matches!(self.stream, Stream::Secured(_));
        let offered = greeting.auth_plugin();
        let plugin = offered.filter(is_supported).unwrap_or(AuthPlugin::MysqlNativePassword);
        let mut way = way(&plugin)?;
        let first =
            run(&mut way, Told { password, nonce: &nonce, secured }, &nonce)?.unwrap_or_default();
        let response = HandshakeResponse::new(
            Some(first),
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
        self.send(&bytes)?;
        for _ in 0..STEPS_MAX {
            let answer = self.receive()?;
            failed("connect", &answer)?;
            let reply = match answer.first() {
                Some(&OK) => return Ok(()),
                Some(&MORE) => {
                    run(&mut way, Told { password, nonce: &nonce, secured }, &answer[1..])?
                }
                Some(&SWITCH) => {
                    let request: AuthSwitchRequest<'_> =
                        ParseBuf(&answer).parse(()).map_err(|_| not_understood("its log-in"))?;
                    way = self::way(&request.auth_plugin())?;
                    nonce = request.plugin_data().to_vec();
                    let told = Told { password, nonce: &nonce, secured };
                    let data = run(&mut way, told, &nonce)?;
                    Some(data.unwrap_or_default())
                }
                _ => return Err(not_understood("the database's log-in")),
            };
            if let Some(reply) = reply {
                self.send(&reply)?;
            }
        }
        Err(not_understood("the database's log-in"))
    }

    /// A statement whose answer is OK.
    pub(super) fn query(&mut self, statement: &str) -> Result<(), Failure> {
        let answer = self.command(QUERY, statement.as_bytes())?;
        match answer.first() {
            Some(&OK) => Ok(()),
            _ => Err(not_understood("the database's answer")),
        }
    }

    /// Sends a command, and takes the first packet of its answer.
    pub(super) fn command(&mut self, command: u8, rest: &[u8]) -> Result<Vec<u8>, Failure> {
        self.ask(command, rest)?;
        self.answer()
    }

    /// Sends a command.
    pub(super) fn ask(&mut self, command: u8, rest: &[u8]) -> Result<(), Failure> {
        self.number = 0;
        let mut payload = Vec::with_capacity(rest.len() + 1);
        payload.push(command);
        payload.extend_from_slice(rest);
        self.send(&payload)
    }

    /// The first packet of an answer, which is no error.
    pub(super) fn answer(&mut self) -> Result<Vec<u8>, Failure> {
        let answer = self.receive()?;
        failed("read the rows", &answer)?;
        Ok(answer)
    }

    /// Takes a packet.
    pub(super) fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(|error| broken(&error))?;
        let [low, middle, high, number] = header;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if length > ANSWER_BYTES_MAX {
            return Err(not_understood("the database's answer"));
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).map_err(|error| broken(&error))?;
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
        self.stream.write_all(&packet).map_err(|error| broken(&error))?;
        self.stream.flush().map_err(|error| broken(&error))
    }
}

/// Those that the driver of the other sessions has too, and that send no password in the clear.
fn is_supported(plugin: &AuthPlugin<'_>) -> bool {
    matches!(
        plugin,
        AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Sha256Password
    )
}

fn way(plugin: &AuthPlugin<'_>) -> Result<AuthProc, Failure> {
    let refused = || server_failure("connect", 2059);
    if !is_supported(plugin) {
        return Err(refused());
    }
    AuthProc::init(plugin).map_err(|_| refused())
}

fn run(way: &mut AuthProc, told: Told<'_>, challenge: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let response = way.run(told, challenge).map_err(|_| not_understood("the database's log-in"))?;
    Ok(response.data().map(<[u8]>::to_vec))
}

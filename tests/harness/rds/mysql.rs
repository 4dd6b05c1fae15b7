//! Authentication of MariaDB, with the password in clear text.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a client's request for TLS has, and the head of its response.
const HEAD_BYTES: usize = 32;
/// The capability to speak TLS: the second byte's.
const SPEAKS_TLS: u8 = 0x08;
/// Asks for the password as it is; as Aurora does, without a challenge.
pub(crate) const PASSWORD_WANTED: &[u8] = b"\xfemysql_clear_password\0";
/// First byte of a challenge, and of a switch to another plugin: the client answers.
const MORE: u8 = 1;
const SWITCH: u8 = 0xFE;
/// The server has the password in its cache; its verdict follows.
const CACHED: &[u8] = &[MORE, 3];
/// Access is denied.
const DENIED: &[u8] = b"\xff\x15\x04#28000no";

/// A client that has sent its response under TLS.
pub(crate) struct Client {
    pub(crate) near: TlsStream<TcpStream>,
    /// The server that is to go on with it.
    pub(crate) far: UnixStream,
    /// The response, as the server takes it where there is no TLS.
    pub(crate) response: Vec<u8>,
    /// Number of the next packet to the client.
    pub(crate) number: u8,
}

impl Client {
    /// Greets a client with what `greeting` makes of the real server's words.
    pub(crate) async fn meet(
        mut near: TcpStream,
        acceptor: &TlsAcceptor,
        socket: &Path,
        greeting: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> Result<Self> {
        let mut far = UnixStream::connect(socket).await.context("the server's socket")?;
        let (_, words) = packet(&mut far).await?;
        put(&mut near, 0, &greeting(words)).await?;
        let (_, tls_request) = packet(&mut near).await?;
        ensure!(tls_request.len() == HEAD_BYTES, "a client without TLS");
        let mut near = acceptor.accept(near).await?;
        let (number, mut response) = packet(&mut near).await?;
        response[1] &= !SPEAKS_TLS;
        Ok(Self { near, far, response, number: number.wrapping_add(1) })
    }

    /// Asks for the password as it is.
    pub(crate) async fn password(&mut self) -> Result<String> {
        put(&mut self.near, self.number, PASSWORD_WANTED).await?;
        let (number, said) = packet(&mut self.near).await?;
        self.number = number.wrapping_add(1);
        let password = said.strip_suffix(&[0]).context("no end")?;
        Ok(String::from_utf8(password.to_vec())?)
    }

    /// Lets it log in to the real server, and everything pass after that. The server counts one packet less, as it
    /// sees no TLS.
    pub(crate) async fn go_on(mut self) -> Result<()> {
        let mut number = 1;
        loop {
            put(&mut self.far, number, &self.response).await?;
            let answer = loop {
                let (last, answer) = packet(&mut self.far).await?;
                number = last.wrapping_add(1);
                put(&mut self.near, self.number, &answer).await?;
                self.number = self.number.wrapping_add(1);
                if answer != CACHED {
                    break answer;
                }
            };
            if !matches!(answer.first(), Some(&(MORE | SWITCH))) {
                break;
            }
            (self.number, self.response) = packet(&mut self.near).await?;
            self.number = self.number.wrapping_add(1);
        }
        let _ = copy_bidirectional(&mut self.near, &mut self.far).await;
        Ok(())
    }
}

/// The real server's user has no password.
pub(super) async fn serve(
    near: TcpStream,
    acceptor: &TlsAcceptor,
    socket: &Path,
    check: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let mut client = Client::meet(near, acceptor, socket, |words| words).await?;
    if let Err(why) = check(&client.password().await?) {
        put(&mut client.near, client.number, DENIED).await?;
        client.near.shutdown().await?;
        return Err(why);
    }
    client.response = without_digest(&client.response)?;
    client.go_on().await
}

/// The response with an empty password: the digest and its length, of one byte, stand after the user.
fn without_digest(response: &[u8]) -> Result<Vec<u8>> {
    let user = response[HEAD_BYTES..].iter().position(|byte| *byte == 0).context("no user")?;
    let at = HEAD_BYTES + user + 1;
    let length = usize::from(*response.get(at).context("no digest")?);
    let rest = response.get(at + 1 + length..).context("a short digest")?;
    Ok([&response[..at], &[0], rest].concat())
}

/// A packet's number and payload.
async fn packet(from: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let [low, middle, high, number] = head;
    let length = u32::from_le_bytes([low, middle, high, 0]);
    ensure!(length < 65_536, "a packet of {length} bytes");
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await?;
    Ok((number, payload))
}

async fn put(to: &mut (impl AsyncWrite + Unpin), number: u8, payload: &[u8]) -> Result<()> {
    let mut bytes = u32::try_from(payload.len())?.to_le_bytes();
    bytes[3] = number;
    to.write_all(&[&bytes, payload].concat()).await?;
    Ok(to.flush().await?)
}

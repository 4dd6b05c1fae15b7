//! A Postgres that takes tokens for passwords, as RDS does: it checks the signature with code of its own, and how old
//! the token is; what is logged in goes on to the bed's server.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::Bed;

/// What a client sends to ask for TLS.
const TLS_WANTED: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Asks for the password as it is.
const PASSWORD_WANTED: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// One server of a test's own. It ends when dropped.
#[derive(Debug)]
pub struct Rds {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    region: String,
    key: (String, String),
    socket: std::path::PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Tokens of this time and of earlier ones are not taken any more.
    expired: String,
    latest: String,
    taken: BTreeSet<String>,
    refused: Vec<String>,
}

impl Rds {
    /// Starts it on a loopback port of the bed. Tokens must be signed by this key, for that region.
    ///
    /// # Errors
    /// If no port is free, or the bed's certificate cannot be read.
    pub async fn start(bed: &Bed, region: &str, key: (&str, &str)) -> Result<Self> {
        let acceptor = acceptor(&bed.state.join("pki"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            region: region.to_owned(),
            key: (key.0.to_owned(), key.1.to_owned()),
            socket: bed.state.join(format!("postgres/.s.PGSQL.{}", Bed::POSTGRES_PORT)),
            state: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared), port));
        Ok(Self { port, shared, accepting })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// No token that was seen so far, nor one made in the same second, is taken any more.
    pub fn expire(&self) {
        let mut state = self.shared.lock();
        let latest = state.latest.clone();
        state.expired = latest;
    }

    /// The time of the latest token, as `20230131T100000Z`.
    pub fn latest(&self) -> String {
        self.shared.lock().latest.clone()
    }

    /// Different tokens that were taken.
    pub fn taken(&self) -> usize {
        self.shared.lock().taken.len()
    }

    /// Why tokens were refused.
    pub fn refused(&self) -> Vec<String> {
        self.shared.lock().refused.clone()
    }
}

impl Drop for Rds {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn acceptor(pki: &Path) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(pki.join("postgres.crt"))?;
    let key = PrivateKeyDer::from_pem_file(pki.join("postgres.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, port: u16) {
    while let Ok((near, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            if let Err(error) = shared.serve(near, acceptor, port).await {
                shared.lock().refused.push(format!("{error:#}"));
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut near: TcpStream, acceptor: TlsAcceptor, port: u16) -> Result<()> {
        let mut wanted = [0; 8];
        near.read_exact(&mut wanted).await?;
        ensure!(wanted == TLS_WANTED, "a client without TLS");
        near.write_all(b"S").await?;
        let mut near = acceptor.accept(near).await?;
        let startup = packet(&mut near, 0).await?;
        near.write_all(&PASSWORD_WANTED).await?;
        let said = packet(&mut near, 1).await?;
        ensure!(said.first() == Some(&b'p'), "no password");
        let token = String::from_utf8(said[5..said.len() - 1].to_vec())?;
        if let Err(why) = self.check(&token, port) {
            let mut answer = b"SFATAL\0C28P01\0Mno\0\0".to_vec();
            let length = u32::try_from(answer.len() + 4)?.to_be_bytes();
            answer.splice(0..0, std::iter::once(b'E').chain(length));
            near.write_all(&answer).await?;
            near.shutdown().await?;
            return Err(why);
        }
        let mut far = UnixStream::connect(&self.socket).await.context("the server's socket")?;
        far.write_all(&startup).await?;
        let _ = copy_bidirectional(&mut near, &mut far).await;
        Ok(())
    }

    fn check(&self, token: &str, port: u16) -> Result<()> {
        let url = Url::parse(&format!("https://{token}"))?;
        ensure!(url.host_str() == Some("127.0.0.1") && url.port() == Some(port), "another server");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let get = |name: &str| {
            let found = pairs.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).with_context(|| format!("no {name}"))
        };
        ensure!(get("Action")? == "connect" && get("X-Amz-Expires")? == "900", "of another kind");
        let at = get("X-Amz-Date")?;
        let scope = format!("{}/{}/rds-db/aws4_request", &at[..8], self.region);
        ensure!(get("X-Amz-Credential")? == format!("{}/{scope}", self.key.0), "another signer");
        if get("X-Amz-Signature")? != self.signature(&url, &pairs, &at, &scope)? {
            bail!("a wrong signature");
        }
        let mut state = self.lock();
        ensure!(at > state.expired, "an expired token");
        state.latest = state.latest.clone().max(at);
        state.taken.insert(token.to_owned());
        Ok(())
    }

    /// Signature version 4, as AWS documents it.
    fn signature(
        &self,
        url: &Url,
        pairs: &[(String, String)],
        at: &str,
        scope: &str,
    ) -> Result<String> {
        let mut query: Vec<String> = pairs
            .iter()
            .filter(|(name, _)| name != "X-Amz-Signature")
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        query.sort();
        let host = format!("{}:{}", url.host_str().context("host")?, url.port().context("port")?);
        let canonical = format!(
            "GET\n/\n{}\nhost:{host}\n\nhost\n{}",
            query.join("&"),
            hex(&Sha256::digest(b""))
        );
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.key.1).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes())?;
        }
        Ok(hex(&mac(&key, text.as_bytes())?))
    }
}

/// A packet whose length stands after `before` bytes.
async fn packet(from: &mut (impl AsyncReadExt + Unpin), before: usize) -> Result<Vec<u8>> {
    let mut head = vec![0; before + 4];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes(head[before..].try_into()?) as usize;
    ensure!((4..65_536).contains(&length), "a packet of {length} bytes");
    let mut rest = vec![0; length - 4];
    from.read_exact(&mut rest).await?;
    head.extend(rest);
    Ok(head)
}

fn mac(key: &[u8], text: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text + &char::from(byte).to_string()
        } else {
            text + &format!("%{byte:02X}")
        }
    })
}

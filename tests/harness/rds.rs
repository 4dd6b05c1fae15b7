//! A Postgres or MariaDB that takes tokens for passwords, as RDS does: it checks the signature with code of its own, and
//! how old the token is; authenticated connections go on to the test environment's server.

pub(crate) mod mysql;
mod postgres;
mod tokens;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use self::tokens::Signer;
use crate::TestEnv;

/// One server of a test's own. It ends when dropped.
#[derive(Debug)]
pub struct Rds {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    engine: &'static str,
    signer: Signer,
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
    /// Starts it on a loopback port of the test environment, `engine` being `postgres` or `mysql`. Tokens must be signed by this key,
    /// for that region.
    ///
    /// # Errors
    /// If no port is free, or the test environment's certificate cannot be read.
    pub async fn start(
        env: &TestEnv,
        engine: &'static str,
        region: &str,
        key: (&str, &str),
    ) -> Result<Self> {
        let acceptor = acceptor(&env.state.join("pki"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            engine,
            signer: Signer {
                region: region.to_owned(),
                key: (key.0.to_owned(), key.1.to_owned()),
                port,
            },
            socket: match engine {
                "mysql" => env.state.join("mariadb/socket"),
                _ => env.state.join(format!("postgres/.s.PGSQL.{}", TestEnv::POSTGRES_PORT)),
            },
            state: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
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

pub(crate) fn acceptor(pki: &Path) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(pki.join("postgres.crt"))?;
    let key = PrivateKeyDer::from_pem_file(pki.join("postgres.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            if let Err(error) = shared.serve(near, &acceptor).await {
                shared.lock().refused.push(format!("{error:#}"));
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, near: TcpStream, acceptor: &TlsAcceptor) -> Result<()> {
        let check = |token: &str| self.check(token);
        match self.engine {
            "mysql" => mysql::serve(near, acceptor, &self.socket, check).await,
            _ => postgres::serve(near, acceptor, &self.socket, check).await,
        }
    }

    fn check(&self, token: &str) -> Result<()> {
        let at = self.signer.check(token)?;
        let mut state = self.lock();
        ensure!(at > state.expired, "an expired token");
        state.latest = state.latest.clone().max(at);
        state.taken.insert(token.to_owned());
        Ok(())
    }
}

//! A MariaDB that asks every account for its password as it is.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::TestEnv;
use crate::rds::acceptor;
use crate::rds::mysql::Client;

/// When an impostor asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// In its greeting already.
    Greeting,
    /// In reply to the authentication.
    Answer,
    /// In answer to all log-ins but the first, which goes on to the real server.
    Later,
}

/// One server of a test's own, with the test environment's certificate. It ends when dropped.
#[derive(Debug)]
pub struct Impostor {
    port: u16,
    heard: Arc<Mutex<Heard>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Heard {
    clients: usize,
    passwords: Vec<String>,
}

impl Impostor {
    /// Starts it on a loopback port of the test environment.
    ///
    /// # Errors
    /// If no port is free, or the test environment's certificate cannot be read.
    pub async fn start(env: &TestEnv, asks: Asks) -> Result<Self> {
        let acceptor = acceptor(&env.state.join("pki"))?;
        let socket = env.state.join("mariadb/socket");
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let all = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (acceptor, socket, heard) =
                    (acceptor.clone(), socket.clone(), Arc::clone(&all));
                let clients = {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.clients += 1;
                    heard.clients
                };
                let asks = (asks != Asks::Later || clients > 1).then_some(asks);
                tokio::spawn(async move {
                    // a client that leaves has not been fooled
                    if let Ok(Some(password)) = serve(near, &acceptor, &socket, asks).await {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        heard.passwords.push(password);
                    }
                });
            }
        });
        Ok(Self { port, heard, accepting })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many clients came, and the passwords that they have shown.
    pub fn heard(&self) -> (usize, Vec<String>) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard.clients, heard.passwords.clone())
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    near: TcpStream,
    acceptor: &TlsAcceptor,
    socket: &Path,
    asks: Option<Asks>,
) -> Result<Option<String>> {
    let greeting = |mut words: Vec<u8>| {
        // the plugin is the last word, with a zero before and after it
        let before = words.iter().rev().skip(1).position(|byte| *byte == 0);
        if let Some(length) = before.filter(|_| asks == Some(Asks::Greeting)) {
            words.truncate(words.len() - length - 1);
            words.extend(b"mysql_clear_password\0");
        }
        words
    };
    let mut client = Client::meet(near, acceptor, socket, greeting).await?;
    match asks {
        None => client.go_on().await.map(|()| None),
        // the driver's answer to such a greeting has the password in its middle
        Some(Asks::Greeting) => Ok(Some(String::from_utf8_lossy(&client.response).into_owned())),
        Some(Asks::Answer | Asks::Later) => client.password().await.map(Some),
    }
}

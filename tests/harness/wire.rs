//! A wire to the database that a test cuts or stalls: bytes only, since what passes is encrypted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::TestEnv;

/// A wire to a database server of one test's own. It ends when dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    counted: Arc<AtomicU64>,
    ports: Arc<Mutex<Vec<u16>>>,
    accepting: JoinHandle<()>,
}

/// Connections are numbered from 0 as they come.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Those below are closed.
    cut: u64,
    /// Those below are silent.
    stalled: u64,
    /// The next one to come.
    next: u64,
    /// Bytes from the server after which everything that is open is silent.
    stalls_after: Option<u64>,
    /// Words of a client before which everything that is open is silent.
    stalls_before: Option<&'static str>,
    /// Bytes from the server after which everything that is open is closed.
    cuts_after: Option<u64>,
}

impl Wire {
    /// Starts one on a loopback port of the test environment.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> Result<Self> {
        Self::to(TestEnv::POSTGRES_PORT).await
    }

    /// Starts one to that port of the test environment instead of Postgres'.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn to(port: u16) -> Result<Self> {
        Self::between(&[port]).await
    }

    /// Starts one to several ports of the test environment, as a name that leads to several servers: each connection goes
    /// to the next of them.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn between(ports: &[u16]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind a wire")?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let counted = Arc::new(AtomicU64::new(0));
        let ports = Arc::new(Mutex::new(ports.to_vec()));
        let told = (Arc::clone(&ports), Arc::clone(&state), Arc::clone(&counted));
        let accepting = tokio::spawn(accept(listener, told));
        Ok(Self { address, state, counted, ports, accepting })
    }

    /// Where connections lead that come from now on, one after the other.
    pub fn lead(&self, ports: &[u16]) {
        *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = ports.to_vec();
    }

    /// Its port on 127.0.0.1, a name that the server's certificate has.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections that came so far.
    pub fn connections(&self) -> u64 {
        self.state.borrow().next
    }

    /// After so many more bytes from the server, all connections of then are closed; later ones pass.
    pub fn cut_after(&self, bytes: u64) {
        let at = self.counted.load(Ordering::Relaxed) + bytes;
        self.state.send_modify(|state| state.cuts_after = Some(at));
    }

    /// After so many more bytes from the server, all connections of then are silent, and stay open; later ones
    /// pass.
    pub fn stall_after(&self, bytes: u64) {
        let at = self.counted.load(Ordering::Relaxed) + bytes;
        self.state.send_modify(|state| state.stalls_after = Some(at));
    }

    /// Before a client sends these words, which needs a connection without TLS, all connections of then are silent,
    /// and stay open; later ones pass.
    pub fn stall_before(&self, words: &'static str) {
        self.state.send_modify(|state| state.stalls_before = Some(words));
    }

    /// All connections are silent, those that come later too.
    pub fn unplug(&self) {
        self.state.send_modify(|state| state.stalled = u64::MAX);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What the wire and its test share: where it leads, whether it is whole, and how many bytes have passed.
type Shared = (Arc<Mutex<Vec<u16>>>, Arc<watch::Sender<State>>, Arc<AtomicU64>);

async fn accept(listener: TcpListener, (ports, state, counted): Shared) {
    let mut turn = 0;
    while let Ok((near, _)) = listener.accept().await {
        let mut number = 0;
        state.send_modify(|state| {
            number = state.next;
            state.next += 1;
        });
        let (state, counted) = (Arc::clone(&state), Arc::clone(&counted));
        let port = {
            let ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
            turn = (turn + 1) % ports.len().max(1);
            ports.get(turn).copied().unwrap_or_default()
        };
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect((TestEnv::IP, port)).await else { return };
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            let mut ended = state.subscribe();
            tokio::select! {
                // at the end of one direction all is said
                () = carry(near_in, far_out, number, &state, None) => {}
                () = carry(far_in, near_out, number, &state, Some(&counted)) => {}
                _ = ended.wait_for(|state| number < state.cut) => {}
            }
        });
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    state: &watch::Sender<State>,
    counted: Option<&AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut state_now = state.subscribe();
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        if let Some(counted) = counted {
            let total = counted.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
            state.send_if_modified(|state| due(state, total));
        } else {
            state.send_if_modified(|state| said(state, &buffer[..size]));
        }
        // silent, and not closed
        let _ = state_now.wait_for(|state| number >= state.stalled).await;
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}

/// What a client's words set off.
fn said(state: &mut State, bytes: &[u8]) -> bool {
    let awaited = state.stalls_before.map(str::as_bytes);
    let stalls = awaited.is_some_and(|words| bytes.windows(words.len()).any(|part| part == words));
    if stalls {
        (state.stalled, state.stalls_before) = (state.next, None);
    }
    stalls
}

/// What the count of bytes sets off.
fn due(state: &mut State, total: u64) -> bool {
    let cuts = state.cuts_after.is_some_and(|at| total >= at);
    let stalls = state.stalls_after.is_some_and(|at| total >= at);
    if cuts {
        (state.cut, state.cuts_after) = (state.next, None);
    }
    if stalls {
        (state.stalled, state.stalls_after) = (state.next, None);
    }
    cuts || stalls
}

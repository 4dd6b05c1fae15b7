//! A fault proxy in front of S3 or DynamoDB: it does to one request what a bad day does.
//!
//! In this process and of HTTP, where toxiproxy sees bytes only: most of what is to be played (a lost
//! reply of the second CompleteMultipartUpload, a 200 with an error in its body, throttled writes) is of
//! one operation, and what went through is asserted afterwards. `Host` header and body pass untouched,
//! so that signatures hold.

mod checksums;
mod forward;
mod operations;
mod rules;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::rules::Rule;
pub use self::rules::{Calls, Fault, Gate};
use crate::TestEnv;

/// What stands behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// The S3 server.
    S3,
    /// DynamoDB Local.
    DynamoDb,
    /// An API server, by [`crate::PlainApi`]. Operations are `GET jobs`, `PATCH extractjobs/status`,
    /// `WATCH pods` ..
    Kubernetes(SocketAddr),
}

impl Speaks {
    fn upstream(self) -> String {
        let url = match self {
            Self::S3 => TestEnv::S3,
            Self::DynamoDb => TestEnv::DYNAMODB,
            Self::Kubernetes(address) => return address.to_string(),
        };
        url.trim_start_matches("http://").to_owned()
    }
}

/// One request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `UploadPart`, `TransactWriteItems`, ..
    pub operation: String,
    /// Path and query of S3; empty for DynamoDB.
    pub target: String,
    /// Body of DynamoDB; null for S3.
    pub body: Value,
    /// What was answered; absent where nothing was.
    pub status: Option<u16>,
    /// When it came.
    pub at: Instant,
}

/// A proxy of one test's own. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    speaks: Speaks,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Asked>>,
    checks: Mutex<Option<checksums::Checks>>,
    twin: Mutex<Option<Twin>>,
}

/// Answers in place of the server: from operation, target and body of a request to status and body; what
/// it has no answer for passes.
pub type Twin = Arc<dyn Fn(&str, &str, &Bytes) -> Option<(u16, Bytes)> + Send + Sync>;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("speaks", &self.speaks).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Starts one on a loopback port of the test environment.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(speaks: Speaks) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            speaks,
            rules: Mutex::default(),
            log: Mutex::default(),
            checks: Mutex::default(),
            twin: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// What to name as endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Does `fault` to these calls of `operation`; `*` is every operation. The first rule that fits holds.
    pub fn on(&self, operation: &str, call: Calls, fault: Fault) {
        self.on_some(operation, "", call, fault);
    }

    /// As [`Self::on`], for those alone whose path (S3) or body (DynamoDB) has this text in it.
    pub fn on_some(&self, operation: &str, holds: &str, call: Calls, fault: Fault) {
        lock(&self.shared.rules).push(Rule::new(operation, holds, call, fault));
    }

    /// From now on lets `twin` answer what it can, unlogged.
    pub fn answer(&self, twin: Twin) {
        *lock(&self.shared.twin) = Some(twin);
    }

    /// From now on refuses bytes of an object that come without a checksum that fits them, as S3 does
    /// for a bucket that locks its objects.
    pub fn demand_checksums(&self) {
        *lock(&self.shared.checks) = Some(checksums::Checks::default());
    }

    /// How many times bytes came with a checksum that fits them.
    pub fn checked(&self) -> usize {
        lock(&self.shared.checks).as_ref().map_or(0, |checks| checks.taken)
    }

    /// Forgets all rules: everything passes.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// The requests of an operation so far; `*` is every one.
    pub fn asked(&self, operation: &str) -> Vec<Asked> {
        let log = lock(&self.shared.log);
        log.iter()
            .filter(|asked| operation == "*" || asked.operation == operation)
            .cloned()
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| forward::serve(Arc::clone(&shared), request));
            // a fault that cuts the connection is an error of the service
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

//! Where a pod of EKS gets its AWS identity: the agent of Pod Identity, and the token service that IRSA asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The token that a pod has in a file.
pub const POD_TOKEN: &str = "token-of-the-pod";

/// Both, at one loopback port. It ends when dropped.
#[derive(Debug)]
pub struct Identity {
    port: u16,
    handed_out: Arc<AtomicU32>,
    serving: JoinHandle<()>,
}

impl Identity {
    /// Starts it; who shows [`POD_TOKEN`] gets this key.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(key: (&'static str, &'static str)) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind")?;
        let port = listener.local_addr()?.port();
        let handed_out = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&handed_out);
        let serving = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if answer(&mut near, key).await.unwrap_or(false) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { port, handed_out, serving })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often it has returned the key.
    pub fn handed_out(&self) -> u32 {
        self.handed_out.load(Ordering::Relaxed)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers one request; whether that was with the key.
async fn answer(near: &mut TcpStream, (id, secret): (&str, &str)) -> Result<bool> {
    let mut asked = Vec::new();
    let mut some = [0; 4096];
    // the token is in a header of the one, and the body of the other
    while !String::from_utf8_lossy(&asked).contains(POD_TOKEN) {
        let read = near.read(&mut some).await?;
        if read == 0 {
            break;
        }
        asked.extend_from_slice(&some[..read]);
    }
    let asked = String::from_utf8_lossy(&asked);
    let (kind, body) = if asked.starts_with("GET ") {
        let body = format!(
            r#"{{"AccessKeyId":"{id}","SecretAccessKey":"{secret}","Token":"","Expiration":"2099-01-01T00:00:00Z"}}"#
        );
        ("application/json", body)
    } else {
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>"
        );
        ("text/xml", body)
    };
    let known = asked.contains(POD_TOKEN);
    let status = if known { "200 OK" } else { "403 Forbidden" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    near.write_all(head.as_bytes()).await?;
    near.write_all(body.as_bytes()).await?;
    near.shutdown().await?;
    Ok(known)
}

//! An operator outside of the cluster, so that a proxy can stand between it and the API server.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::{Access, Release, binary, unique, wait_until};

/// How long a program may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The API server without TLS and authentication, on a loopback port of the test environment. It ends when dropped.
#[derive(Debug)]
pub struct PlainApi {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
}

/// An operator of a test's own. It is killed when dropped.
#[derive(Debug)]
pub struct LocalOperator {
    child: Child,
    log: PathBuf,
}

impl Release {
    /// Starts `kubectl proxy`.
    ///
    /// # Errors
    /// With its words, where it does not start.
    pub async fn plain_api(&self) -> Result<PlainApi> {
        let env = self.source.env;
        let said = self.source.file(&unique("api"));
        let mut command = env.command(env.tool("kubectl")?);
        command
            .env("KUBECONFIG", env.kubeconfig())
            .args(["proxy", "--port=0"])
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(Stdio::null());
        let child = command.spawn().context("start kubectl proxy")?;
        let address = wait_until("kubectl proxy", START, async || {
            let text = fs::read_to_string(&said)?;
            let address = text.trim().rsplit(' ').next().unwrap_or_default();
            address.parse().with_context(|| format!("it said {text:?}"))
        })
        .await?;
        Ok(PlainApi { address, _child: child })
    }

    /// Starts an operator with the flags that the chart gave the release's own, which must have no
    /// replicas, against the API server at `url`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn operator_at(&self, url: &str, args: &[&str]) -> Result<LocalOperator> {
        let deployment = self.get(&["deployment", "tidemark"]).await?;
        ensure!(deployment["spec"]["replicas"] == 0, "the release runs an operator itself");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let given: Vec<String> = serde_json::from_value(container["args"].clone())?;
        let name = unique("operator");
        let (config, log) = (self.source.file(&format!("{name}.json")), self.source.file(&name));
        fs::write(&config, kubeconfig(url).to_string())?;
        let (id, secret) = Access::Admin.keys();
        let mut command = self.source.env.command(binary("tidemark-operator")?);
        command
            .args(given.iter().filter(|arg| !arg.starts_with("--health-address")))
            .arg("--health-address=127.0.0.1:0")
            .args(args)
            .env("KUBECONFIG", config)
            .env("RUST_LOG", "info,kube=warn")
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = command.spawn().context("start the operator")?;
        Ok(LocalOperator { child, log })
    }
}

impl LocalOperator {
    /// What it has logged so far.
    ///
    /// # Errors
    /// If it has ended, with that.
    pub fn log(&mut self) -> Result<String> {
        let log = fs::read_to_string(&self.log)?;
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the operator ended: {ended:?}\n{log}");
        Ok(log)
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn die(mut self) -> Result<()> {
        self.child.kill().await.context("kill the operator")
    }
}

fn kubeconfig(url: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it", "users": [],
        "clusters": [{ "name": "it", "cluster": { "server": url } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "" } }],
    })
}
